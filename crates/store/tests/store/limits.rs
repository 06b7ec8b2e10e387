//! What one request may hold: the limit itself is accepted, one more is not.

use std::sync::Arc;

use bytes::Bytes;
use conclave_store::{
    Clock, Store, StoreError, keys, limits,
    memory::{MemoryStore, Trips},
    proto,
};

use crate::group::{START_MS, Txn, txn};

fn commit_is_valid(txn: Txn) -> bool {
    let mut commit = txn.0;
    if commit.id.is_empty() {
        commit.id = Bytes::from_static(&[1; 16]);
    }
    limits::check_commit(&commit).is_ok()
}

fn many(count: usize, add: impl Fn(Txn, [u8; 2]) -> Txn) -> Txn {
    (0..count).fold(txn("p"), |txn, number| add(txn, [(number >> 8) as u8, number as u8]))
}

#[test]
fn a_commit_has_an_id_of_sixteen_bytes() {
    for (length, valid) in [(0, false), (15, false), (16, true), (17, false)] {
        let commit = proto::Commit {
            id: vec![1; length].into(),
            scope: "p".to_owned(),
            ..Default::default()
        };
        assert_eq!(limits::check_commit(&commit).is_ok(), valid, "{length}");
    }
}

#[test]
fn a_scope_has_a_name_of_limited_length() {
    assert!(!commit_is_valid(txn("")));
    assert!(commit_is_valid(txn(&"s".repeat(limits::SCOPE_BYTES_MAX))));
    assert!(!commit_is_valid(txn(&"s".repeat(limits::SCOPE_BYTES_MAX + 1))));
    let read = |length| proto::Read { scope: "s".repeat(length), ..Default::default() };
    assert!(limits::check_read(&read(limits::SCOPE_BYTES_MAX)).is_ok());
    assert!(limits::check_read(&read(limits::SCOPE_BYTES_MAX + 1)).is_err());
    assert!(limits::check_read(&read(0)).is_err());
}

#[test]
fn a_commit_has_a_limited_number_of_checks_and_writes() {
    let checks = |count| many(count, |txn, key| txn.exists(key));
    assert!(commit_is_valid(checks(limits::CHECKS_MAX)));
    assert!(!commit_is_valid(checks(limits::CHECKS_MAX + 1)));
    let writes = |count| many(count, |txn, key| txn.put(key, ""));
    assert!(commit_is_valid(writes(limits::WRITES_MAX)));
    assert!(!commit_is_valid(writes(limits::WRITES_MAX + 1)));
}

#[test]
fn a_commit_has_a_limited_size() {
    let with_values =
        |count| many(count, |txn, key| txn.put(key, vec![0; limits::VALUE_BYTES_MAX]));
    assert!(commit_is_valid(with_values(3)));
    assert!(!commit_is_valid(with_values(4)));
    assert!(!commit_is_valid(txn("p").put("k", vec![0; limits::VALUE_BYTES_MAX + 1])));
}

#[test]
fn a_key_has_a_limited_length() {
    let longest = vec![b'k'; limits::KEY_BYTES_MAX];
    let too_long = vec![b'k'; limits::KEY_BYTES_MAX + 1];
    assert!(commit_is_valid(txn("p").exists(&longest).put(&longest, "")));
    assert!(!commit_is_valid(txn("p").exists(&too_long)));
    assert!(!commit_is_valid(txn("p").delete(&too_long)));
    assert!(!commit_is_valid(txn("p").delete_prefix(&too_long)));
}

#[test]
fn a_key_is_written_once_in_a_commit() {
    assert!(commit_is_valid(txn("p").put("a", "1").delete("b")));
    assert!(!commit_is_valid(txn("p").put("a", "1").delete("a")));
    assert!(!commit_is_valid(txn("p").add("a", 1).add("a", 1)));
}

#[test]
fn a_check_and_a_write_say_what_they_are() {
    let mut commit = txn("p").id(1).0;
    commit.checks.push(proto::Check { key: "k".into(), expect: None });
    assert!(limits::check_commit(&commit).is_err());
    let mut commit = txn("p").id(1).0;
    commit.writes.push(proto::Write { key: "k".into(), action: None });
    assert!(limits::check_commit(&commit).is_err());
}

#[test]
fn a_read_is_limited_in_every_part() {
    let base = || proto::Read { scope: "p".to_owned(), ..Default::default() };
    let valid = |read: proto::Read| limits::check_read(&read).is_ok();
    let long_key = || Bytes::from(vec![b'k'; limits::KEY_BYTES_MAX + 1]);

    let gets = |count| proto::Read { gets: vec!["k".into(); count], ..base() };
    assert!(valid(gets(limits::GETS_MAX)));
    assert!(!valid(gets(limits::GETS_MAX + 1)));
    assert!(!valid(proto::Read { gets: vec![long_key()], ..base() }));

    let scan = |limit| proto::Scan { limit, ..Default::default() };
    let scans = |count, limit| proto::Read { scans: vec![scan(limit); count], ..base() };
    assert!(valid(scans(limits::SCANS_MAX, limits::SCAN_ROWS_MAX)));
    assert!(!valid(scans(limits::SCANS_MAX + 1, 1)));
    assert!(!valid(scans(1, limits::SCAN_ROWS_MAX + 1)));
    assert!(!valid(scans(1, 0)));
    let long_scan = proto::Scan { prefix: long_key(), ..scan(1) };
    assert!(!valid(proto::Read { scans: vec![long_scan], ..base() }));

    let follow = |hops| proto::Follow { index: "k".into(), hops };
    let follows = |count, hops: usize| proto::Read {
        follows: vec![follow(vec![proto::Hop::default(); hops]); count],
        ..base()
    };
    assert!(valid(follows(limits::FOLLOWS_MAX, limits::HOPS_MAX / limits::FOLLOWS_MAX)));
    assert!(!valid(follows(limits::FOLLOWS_MAX + 1, 0)));
    assert!(valid(follows(1, limits::HOPS_MAX)));
    assert!(!valid(follows(1, limits::HOPS_MAX + 1)));
    assert!(!valid(follows(2, limits::HOPS_MAX / 2 + 1)));
    let wide = proto::Hop { prefix_limit: limits::SCAN_ROWS_MAX + 1, ..Default::default() };
    assert!(!valid(proto::Read { follows: vec![follow(vec![wide])], ..base() }));
}

struct Fixed;

impl Clock for Fixed {
    fn now_ms(&self) -> i64 {
        START_MS
    }
}

#[tokio::test]
async fn the_memory_store_refuses_what_breaks_a_limit_and_counts_round_trips() {
    let store = MemoryStore::new(Arc::new(Fixed));
    let create = txn("p").id(1).decided_ms(START_MS).put(keys::ROOT, "pool");
    store.commit(create.0).await.expect("commits");
    let read = proto::Read { scope: "p".to_owned(), ..Default::default() };
    assert!(store.read(read).await.expect("reads").scope_exists);
    assert_eq!(store.take_trips(), Trips { reads: 1, commits: 1 });

    let invalid = store.commit(txn("p").put("k", "v").0).await;
    assert!(matches!(invalid, Err(StoreError::Invalid { .. })), "{invalid:?}");
    let invalid = store.read(proto::Read::default()).await;
    assert!(matches!(invalid, Err(StoreError::Invalid { .. })), "{invalid:?}");
    assert_eq!(store.take_trips(), Trips::default());
}
