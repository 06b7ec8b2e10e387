//! What a read answers: one snapshot of one scope.

use bytes::Bytes;
use conclave_store::{keys, limits, proto};

use crate::group::{Group, txn};

fn scan(prefix: &str, after: &str, limit: u32) -> proto::Read {
    let scan = proto::Scan {
        prefix: Bytes::copy_from_slice(prefix.as_bytes()),
        after: Bytes::copy_from_slice(after.as_bytes()),
        limit,
    };
    proto::Read { scope: "p".to_owned(), scans: vec![scan], ..Default::default() }
}

fn keys_of(result: &proto::ReadResult) -> Vec<&str> {
    result.rows.iter().map(|row| std::str::from_utf8(&row.key).expect("text")).collect()
}

#[test]
fn gets_are_answered_in_their_order_absent_ones_included() {
    let mut group = Group::with_pool();
    let version = group.must(txn("p").put("b", "2"));
    let gets = ["c", "b", "b"].map(Bytes::from).to_vec();
    let result = group.read(&proto::Read { scope: "p".to_owned(), gets, ..Default::default() });
    assert_eq!(keys_of(&result), ["c", "b", "b"]);
    let versions: Vec<_> = result.rows.iter().map(|row| row.version).collect();
    assert_eq!(versions, [0, version, version]);
    assert_eq!(result.rows[0].value, None);
    assert_eq!(result.seq, version);
}

#[test]
fn a_read_tells_whether_its_scope_exists() {
    let group = Group::with_pool();
    assert!(group.read(&scan("", "", 1)).scope_exists);
    let other = proto::Read { scope: "q".to_owned(), ..Default::default() };
    assert!(!group.read(&other).scope_exists);
}

#[test]
fn a_follow_reads_what_lives_under_the_id_in_the_index() {
    let mut group = Group::with_pool();
    group.must(txn("p").put("name/bob", "7").put("user/7", "bob").put("child/7/a", "1"));
    group.must(txn("p").put("child/7/b", "2").put("child/7/c", "3").put("child/8/a", "4"));
    let hop = |before: &'static str, after: &'static str, prefix_limit| proto::Hop {
        before: before.into(),
        after: after.into(),
        prefix_limit,
    };
    let follow = |index: &'static str| proto::Follow {
        index: index.into(),
        hops: vec![hop("user/", "", 0), hop("child/", "/z", 0), hop("child/", "/", 2)],
    };
    let request = |index| proto::Read {
        scope: "p".to_owned(),
        follows: vec![follow(index)],
        ..Default::default()
    };
    let found = group.read(&request("name/bob"));
    assert_eq!(keys_of(&found), ["name/bob", "user/7", "child/7/z", "child/7/a", "child/7/b"]);
    let missing = group.read(&request("name/eve"));
    assert_eq!(keys_of(&missing), ["name/eve"]);
    assert!(found.scan_ends.is_empty());
}

#[test]
fn an_index_that_has_expired_is_not_followed() {
    let mut group = Group::with_pool();
    group.must(txn("p").put_until("name/bob", "7", group.now_ms + 1).put("user/7", "bob"));
    group.now_ms += 1;
    let hops = vec![proto::Hop { before: "user/".into(), ..Default::default() }];
    let follows = vec![proto::Follow { index: "name/bob".into(), hops }];
    let result = group.read(&proto::Read { scope: "p".to_owned(), follows, ..Default::default() });
    assert_eq!(keys_of(&result), ["name/bob"]);
}

#[test]
fn a_scan_begins_after_the_key_it_is_given_and_says_whether_there_is_more() {
    let mut group = Group::with_pool();
    group.must(txn("p").put("a", "").put("k1", "").put("k2", "").put("k3", "").put("l", ""));
    let page = |after, limit| {
        let result = group.read(&scan("k", after, limit));
        let more = result.scan_ends[0].more;
        assert_eq!(result.scan_ends[0].count as usize, result.rows.len());
        (keys_of(&result).join(" "), more)
    };
    assert_eq!(page("", 2), ("k1 k2".to_owned(), true));
    assert_eq!(page("k2", 2), ("k3".to_owned(), false));
    assert_eq!(page("", 3), ("k1 k2 k3".to_owned(), false));
    assert_eq!(page("a", 9), ("k1 k2 k3".to_owned(), false));
    assert_eq!(page("k3", 9), (String::new(), false));
    assert_eq!(page("z", 9), (String::new(), false));
}

#[test]
fn a_scan_stays_in_its_scope() {
    let mut group = Group::with_pool();
    group.must(txn("pq").put(keys::ROOT, "other").put("k", "other"));
    group.must(txn("q").put(keys::ROOT, "other").put("k", "other"));
    let result = group.read(&scan("", "", 100));
    assert_eq!(result.rows.len(), 1);
    assert_eq!(&result.rows[0].key[..], keys::ROOT);
}

#[test]
fn rows_of_several_scans_stand_at_the_end_scan_by_scan() {
    let mut group = Group::with_pool();
    group.must(txn("p").put("a1", "").put("a2", "").put("b1", ""));
    let mut request = scan("a", "", 10);
    request.scans.extend([scan("x", "", 10).scans, scan("b", "", 10).scans].concat());
    request.gets.push("b1".into());
    let result = group.read(&request);
    assert_eq!(keys_of(&result), ["b1", "a1", "a2", "b1"]);
    let counts: Vec<_> = result.scan_ends.iter().map(|end| end.count).collect();
    assert_eq!(counts, [2, 0, 1]);
}

#[test]
fn an_expired_row_in_a_scan_has_no_value() {
    let mut group = Group::with_pool();
    group.must(txn("p").put_until("k1", "secret", group.now_ms + 1).put("k2", "v"));
    group.now_ms += 1;
    let result = group.read(&scan("k", "", 10));
    assert_eq!(result.rows[0].value, None);
    assert_eq!(result.rows[0].version, 0);
    assert!(result.rows[1].value.is_some());
}

#[test]
fn paging_reaches_the_end_although_an_answer_holds_few_of_the_rows() {
    let mut group = Group::with_pool();
    for number in 0..60 {
        group.must(txn("p").put(format!("k{number:02}"), vec![7; limits::VALUE_BYTES_MAX]));
    }
    let mut after = String::new();
    let mut seen = Vec::new();
    let mut pages = 0;
    loop {
        let mut request = scan("k", &after, 1_000);
        // gets that fill the answer before the scan begins
        request.gets = (0..20).map(|number| format!("k{number:02}").into()).collect();
        let result = group.read(&request);
        let end = result.scan_ends[0];
        let page = &keys_of(&result)[20..];
        assert_eq!(page.len(), end.count as usize);
        seen.extend(page.iter().map(|key| (*key).to_owned()));
        pages += 1;
        if !end.more {
            break;
        }
        after = seen.last().expect("a page that is not the last one has rows").clone();
        assert!(pages < 1_000);
    }
    let expected: Vec<_> = (0..60).map(|number| format!("k{number:02}")).collect();
    assert_eq!(seen, expected);
}

#[test]
fn a_long_scan_is_cut_at_the_size_of_an_answer() {
    let mut group = Group::with_pool();
    for number in 0..60 {
        group.must(txn("p").put(format!("k{number:02}"), vec![7; limits::VALUE_BYTES_MAX]));
    }
    let result = group.read(&scan("k", "", 1_000));
    let bytes: usize =
        result.rows.iter().filter_map(|row| row.value.as_ref()).map(Bytes::len).sum();
    assert!(bytes <= limits::READ_BYTES_MAX + limits::VALUE_BYTES_MAX);
    assert!(result.scan_ends[0].more);
}

#[test]
fn debug_output_shows_neither_keys_nor_values() {
    let mut group = Group::with_pool();
    let commit = txn("p")
        .at("alias/bob@example.com", 0)
        .put("alias/bob@example.com", "hunter2")
        .add_up_to("rate/bob@example.com", 1, 0)
        .0;
    let mut request = scan("alias/bob@example.com", "alias/bob@example.com", 1);
    request.gets.push("alias/bob@example.com".into());
    let hop = proto::Hop { before: "bob@example.com".into(), ..Default::default() };
    request.follows.push(proto::Follow { index: "bob@example.com".into(), hops: vec![hop] });
    let swept = proto::SweptRow { key: "bob@example.com".into(), ..Default::default() };
    group.must(txn("p").put("alias/bob@example.com", "hunter2"));
    let texts = [
        format!("{commit:?}"),
        format!("{request:?}"),
        format!("{swept:?}"),
        format!("{:?}", group.read(&request)),
        format!("{:?}", group.commit(txn("p").absent("alias/bob@example.com"))),
        format!("{:?}", group.commit(txn("p").add_up_to("rate/bob@example.com", 1, 0))),
    ];
    let bytes_of_name = format!("{:?}", b"bob").replace(['[', ']'], "");
    for text in texts {
        assert!(!text.contains("bob") && !text.contains("hunter"), "{text}");
        assert!(!text.contains(&bytes_of_name), "{text}");
    }
}
