//! What makes "gateways decide, shards commit" sound, one promise after the other.

use conclave_store::{
    DECIDED_AHEAD_MS_MAX, find_expired, keys,
    proto::{self, entry::Command},
};

use crate::group::{Group, committed, out_of_bounds, scope_gone, stale, txn};

// ---- one clock ------------------------------------------------------------------------------

#[test]
fn now_is_the_later_one_of_the_group_clock_and_the_leaders_clock() {
    let mut group = Group::with_pool();
    let request = proto::Read { scope: "p".to_owned(), ..Default::default() };
    group.now_ms += 500;
    assert_eq!(group.read(&request).now_ms, group.now_ms);
    let committed_at = group.now_ms;
    group.must(txn("p").put("k", "v"));
    group.now_ms -= 10_000;
    assert_eq!(group.read(&request).now_ms, committed_at);
}

#[test]
fn the_group_clock_advances_with_a_conflict_too() {
    let mut group = Group::with_pool();
    group.now_ms += 5_000;
    let conflict = group.conflict(txn("p").exists("missing"));
    assert_eq!(conflict.now_ms, group.now_ms);
    let advanced_to = group.now_ms;
    group.now_ms -= 5_000;
    let conflict = group.conflict(txn("p").exists("missing"));
    assert_eq!(conflict.now_ms, advanced_to);
}

#[test]
fn the_code_of_an_idle_group_expires() {
    let mut group = Group::with_pool();
    group.must(txn("p").put_until("code", "123456", group.now_ms + 1_000));
    group.now_ms += 999;
    assert!(group.value("code").is_some());
    group.now_ms += 1;
    assert_eq!(group.value("code"), None);
    assert_eq!(group.get("p", "code").version, 0);
}

#[test]
fn an_expired_row_is_absent_to_every_check() {
    let mut group = Group::with_pool();
    let version = group.must(txn("p").put_until("code", "1", group.now_ms + 1_000));
    group.now_ms += 1_000;
    assert_eq!(group.conflict(txn("p").exists("code")).rows[0].value, None);
    assert_eq!(group.conflict(txn("p").at("code", version)).rows[0].version, 0);
    group.must(txn("p").absent("code").at("code", 0).put("code", "2"));
    assert_eq!(group.value("code").as_deref(), Some(&b"2"[..]));
}

#[test]
fn a_decision_that_is_too_far_ahead_of_the_group_clock_is_refused() {
    let mut group = Group::with_pool();
    let allowed = group.now_ms + DECIDED_AHEAD_MS_MAX;
    assert_eq!(group.commit(txn("p").decided_ms(allowed + 1).put("k", "v")), stale());
    assert_eq!(group.value("k"), None);
    group.must(txn("p").decided_ms(allowed).put("k", "v"));
}

#[test]
fn a_new_leader_whose_clock_is_behind_does_not_turn_time_back() {
    let mut group = Group::with_pool();
    group.must(txn("p").put_until("code", "1", group.now_ms + 1_000));
    group.now_ms += 1_000;
    group.must(txn("p").put("other", "1"));
    group.now_ms -= 30_000;
    assert_eq!(group.value("code"), None);
    group.must(txn("p").absent("code"));
}

#[test]
fn a_sweep_removes_what_has_expired_and_nothing_else() {
    let mut group = Group::with_pool();
    let soon = group.now_ms + 1_000;
    group.must(txn("p").put_until("soon", "1", soon).put_until("later", "1", soon + 1));
    group.must(txn("p").put("never", "1"));
    assert_eq!(group.sweep(), 0);
    group.now_ms = soon;
    assert_eq!(group.sweep(), 1);
    assert!(!group.is_stored("p", b"soon"));
    assert!(group.is_stored("p", b"later"));
    assert!(group.is_stored("p", b"never"));
    assert_eq!(group.sweep(), 0);
    group.now_ms += 1;
    assert_eq!(group.sweep(), 1);
    assert_eq!(group.sweep(), 0);
}

#[test]
fn a_row_that_was_renewed_after_the_sweeper_found_it_stays() {
    let mut group = Group::with_pool();
    let first = group.now_ms + 1_000;
    group.must(txn("p").put_until("session", "1", first).put_until("lasting", "1", first));
    group.must(txn("p").put_until("session", "2", first + 1_000).put("lasting", "2"));
    group.now_ms = first;
    let rows = ["session", "lasting"].map(|key| proto::SweptRow {
        scope: "p".to_owned(),
        key: key.as_bytes().into(),
        expires_at_ms: first,
    });
    group.apply(Some(Command::Sweep(proto::Sweep { rows: rows.to_vec() })));
    assert!(group.value("session").is_some());
    assert!(group.value("lasting").is_some());
}

#[test]
fn a_sweep_that_a_leader_with_a_fast_clock_proposed_removes_nothing_that_lives() {
    let mut group = Group::with_pool();
    let expires_at_ms = group.now_ms + 1_000;
    group.must(txn("p").put_until("code", "1", expires_at_ms));
    let row = |expires_at_ms| proto::SweptRow {
        scope: "p".to_owned(),
        key: "code".into(),
        expires_at_ms,
    };
    let rows = vec![row(expires_at_ms), row(0), row(-1), row(i64::MAX)];
    group.apply(Some(Command::Sweep(proto::Sweep { rows })));
    assert!(group.value("code").is_some());
}

#[test]
fn a_row_that_expired_before_1970_is_never_read_and_is_swept() {
    let mut group = Group::with_pool();
    group.must(txn("p").put_until("zero", "1", 0).put_until("negative", "1", -5));
    group.must(txn("p").put_until("lowest", "1", i64::MIN));
    for key in ["zero", "negative", "lowest"] {
        assert_eq!(group.value(key), None, "{key}");
    }
    assert_eq!(group.sweep(), 3);
    assert_eq!(group.sweep(), 0);
    assert!(!group.is_stored("p", b"negative"));
}

#[test]
fn a_row_that_is_renewed_often_leaves_one_expiry_and_none_when_it_is_deleted() {
    let mut group = Group::with_pool();
    let all = |group: &Group| find_expired(&group.kv, i64::MAX, 100).expect("reads").len();
    for second in 0..50 {
        let expires_at_ms = group.now_ms + 1_000 * second;
        group.must(txn("p").put_until("session", "s", expires_at_ms));
        assert_eq!(all(&group), 1);
    }
    group.must(txn("p").delete("session"));
    assert_eq!(all(&group), 0);
    group.must(txn("p").put_until("session", "s", group.now_ms + 1_000));
    group.must(txn("p").put("session", "lasting"));
    assert_eq!(all(&group), 0);
}

#[test]
fn a_sweep_changes_nothing_that_anybody_can_read() {
    let mut group = Group::with_pool();
    group.must(txn("p").put_until("code", "1", group.now_ms + 1).add_until(
        "rate",
        1,
        group.now_ms + 1,
    ));
    group.now_ms += 1;
    let before = (group.get("p", "code"), group.get("p", "rate"));
    let seq = group.conflict(txn("p").exists("code")).seq;
    group.sweep();
    assert_eq!((group.get("p", "code"), group.get("p", "rate")), before);
    assert_eq!(group.conflict(txn("p").exists("code")).seq, seq);
}

// ---- scope ----------------------------------------------------------------------------------

#[test]
fn a_commit_reaches_its_own_scope_only() {
    let mut group = Group::with_pool();
    group.must(txn("pq").put(keys::ROOT, "other").put("k", "other"));
    group.must(txn("p").put("k", "mine").put("qk", "mine"));
    group.must(txn("p").delete_prefix(""));
    assert_eq!(group.get("pq", "k").value.as_deref(), Some(&b"other"[..]));
    assert_eq!(group.get("p", "k").value, None);
    assert_eq!(group.get("p", "qk").value, None);
}

#[test]
fn a_commit_to_a_scope_without_a_root_is_refused() {
    let mut group = Group::new();
    assert_eq!(group.commit(txn("p").put("k", "v")), scope_gone());
    assert!(!group.is_stored("p", b"k"));
}

#[test]
fn a_sign_up_that_was_decided_before_its_pool_was_deleted_leaves_nothing() {
    let mut group = Group::with_pool();
    let sign_up = txn("p").absent("bob").put("bob", "user");
    let sign_up = group.finish(sign_up);
    group.must(txn("p").exists(keys::ROOT).delete(keys::ROOT).delete_prefix(""));
    assert_eq!(group.apply(Some(Command::Commit(sign_up))), scope_gone());
    assert_eq!(group.sweep(), 0);
    assert!(!group.is_stored("p", b"bob"));
}

#[test]
fn an_update_of_a_root_does_not_bring_a_deleted_scope_back() {
    let mut group = Group::with_pool();
    let version = group.get("p", keys::ROOT).version;
    group.must(txn("p").delete(keys::ROOT).delete_prefix(""));
    let by_version = txn("p").at(keys::ROOT, version).put(keys::ROOT, "updated");
    let by_existence = txn("p").exists(keys::ROOT).put(keys::ROOT, "updated");
    assert_eq!(group.commit(by_version), scope_gone());
    assert_eq!(group.commit(by_existence), scope_gone());
    assert_eq!(group.value(keys::ROOT), None);
}

#[test]
fn a_scope_whose_name_does_not_fit_in_a_key_never_exists() {
    let mut group = Group::with_pool();
    let rows = group.kv.rows().len();
    for name in ["s".repeat(256), "p".repeat(256 + 1), "\u{e9}".repeat(128)] {
        assert_eq!(group.commit(txn(&name).put(keys::ROOT, "pool").put("k", "v")), stale());
    }
    assert_eq!(group.kv.rows().len(), rows);
    group.must(txn(&"s".repeat(255)).put(keys::ROOT, "pool"));
}

#[test]
fn a_scope_is_made_once() {
    let mut group = Group::with_pool();
    let conflict = group.conflict(txn("p").absent(keys::ROOT).put(keys::ROOT, "again"));
    assert_eq!(conflict.rows[0].value.as_deref(), Some(&b"pool"[..]));
}

// ---- roots ----------------------------------------------------------------------------------

#[test]
fn nothing_is_added_to_a_user_who_has_just_been_deleted() {
    let mut group = Group::with_pool();
    group.must(txn("p").put("user/1", "u"));
    group.must(txn("p").exists("user/1").delete("user/1").delete_prefix("child/1/"));
    let conflict = group.conflict(txn("p").exists("user/1").put("child/1/session", "s"));
    assert_eq!(conflict.rows[0].version, 0);
    assert_eq!(group.value("child/1/session"), None);
}

#[test]
fn deleting_a_root_takes_its_children_and_nobody_elses() {
    let mut group = Group::with_pool();
    group.must(txn("p").put("user/1", "u").put("child/1/", "a").put("child/1/\u{ff}x", "b"));
    group.must(txn("p").put("child/0/z", "c").put("child/10", "d").put("child/1", "e"));
    group.must(txn("p").delete("user/1").delete_prefix("child/1/"));
    for gone in ["user/1", "child/1/", "child/1/\u{ff}x"] {
        assert_eq!(group.value(gone), None, "{gone}");
    }
    for kept in ["child/0/z", "child/10", "child/1"] {
        assert!(group.value(kept).is_some(), "{kept}");
    }
}

#[test]
fn a_prefix_of_the_highest_bytes_deletes_to_the_end_of_its_scope_only() {
    let mut group = Group::with_pool();
    group.must(txn("q").put(keys::ROOT, "other"));
    group.must(txn("p").put([0xff, 0xff], "a").put([0xff, 0xff, 1], "b").put([0xff, 0xfe], "c"));
    group.must(txn("p").delete_prefix([0xff, 0xff]));
    assert_eq!(group.value([0xff, 0xff]), None);
    assert_eq!(group.value([0xff, 0xff, 1]), None);
    assert!(group.value([0xff, 0xfe]).is_some());
    assert!(group.get("q", keys::ROOT).value.is_some());
}

#[test]
fn a_prefix_is_deleted_before_the_other_writes_wherever_it_stands() {
    let mut group = Group::with_pool();
    group.must(txn("p").put("child/a", "old").put("child/b", "old").add("child/n", 7));
    group.must(txn("p").put("child/a", "new").add("child/n", 1).delete_prefix("child/"));
    assert_eq!(group.value("child/a").as_deref(), Some(&b"new"[..]));
    assert_eq!(group.value("child/b"), None);
    assert_eq!(group.counter("child/n"), Some(1));
}

#[test]
fn what_is_left_of_a_deleted_child_does_not_sweep_the_one_that_came_after_it() {
    let mut group = Group::with_pool();
    let expires_at_ms = group.now_ms + 1_000;
    group.must(txn("p").put_until("child/a", "old", expires_at_ms));
    group.must(txn("p").put_until("child/b", "old", expires_at_ms));
    group.must(txn("p").delete_prefix("child/"));
    group.must(txn("p").put("child/a", "new").put_until("child/b", "new", expires_at_ms + 1));
    group.now_ms = expires_at_ms;
    group.sweep();
    assert!(group.value("child/a").is_some());
    assert!(group.value("child/b").is_some());
    group.now_ms += 1;
    assert_eq!(group.sweep(), 1);
    assert!(!group.is_stored("p", b"child/b"));
}

// ---- epoch ----------------------------------------------------------------------------------

#[test]
fn every_read_tells_the_epoch_and_only_configuration_writes_change_it() {
    let mut group = Group::with_pool();
    let request = proto::Read { scope: "p".to_owned(), ..Default::default() };
    let first = group.read(&request).epoch;
    group.must(txn("p").put("user", "v"));
    assert_eq!(group.read(&request).epoch, first);
    group.must(txn("p").put("client", "v").add(keys::EPOCH, 1));
    assert_ne!(group.read(&request).epoch, first);
}

#[test]
fn a_sign_in_under_a_configuration_that_has_just_changed_does_not_complete() {
    let mut group = Group::with_pool();
    let request = proto::Read { scope: "p".to_owned(), ..Default::default() };
    let known = group.read(&request).epoch;
    group.must(txn("p").epoch(known).put("session/1", "s"));
    group.must(txn("p").put("client", "v").add(keys::EPOCH, 1));
    let conflict = group.conflict(txn("p").epoch(known).put("session/2", "s"));
    assert!(conflict.epoch_changed);
    assert!(conflict.rows.is_empty());
    assert_eq!(group.value("session/2"), None);
    group.must(txn("p").epoch(conflict.epoch).put("session/2", "s"));
}

#[test]
fn one_scopes_epoch_is_not_anothers() {
    let mut group = Group::with_pool();
    group.must(txn("q").put(keys::ROOT, "other").add(keys::EPOCH, 5));
    group.must(txn("p").epoch(0).put("k", "v"));
}

// ---- checks ---------------------------------------------------------------------------------

#[test]
fn a_hundred_guesses_decided_on_one_record_count_as_a_hundred() {
    let mut group = Group::with_pool();
    let mut version = group.must(txn("p").put("attempts", 0_u32.to_be_bytes()));
    let mut waiting = vec![(0_u32, version); 100];
    let mut counted = 0;
    while let Some((seen, at_version)) = waiting.pop() {
        let guess = txn("p").at("attempts", at_version).put("attempts", (seen + 1).to_be_bytes());
        match group.commit(guess) {
            proto::outcome::Result::Committed(committed) => {
                counted += 1;
                version = committed.seq;
            }
            proto::outcome::Result::Conflict(conflict) => {
                let row = &conflict.rows[0];
                let seen = row.value.as_deref().expect("a record").try_into().expect("a number");
                assert_eq!(row.version, version);
                waiting.push((u32::from_be_bytes(seen), row.version));
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(counted, 100);
    assert_eq!(group.value("attempts").as_deref(), Some(&100_u32.to_be_bytes()[..]));
}

#[test]
fn a_conflict_tells_the_present_row_of_each_check_that_failed_and_of_no_other() {
    let mut group = Group::with_pool();
    let held = group.must(txn("p").put("held", "1"));
    let changed = group.must(txn("p").put("changed", "2"));
    let answer = group.conflict(
        txn("p").at("held", held).at("changed", changed - 1).exists("missing").absent("changed"),
    );
    let rows: Vec<_> = answer.rows.iter().map(|row| (&row.key[..], row.version)).collect();
    let expected: [(&[u8], u64); 3] =
        [(b"changed", changed), (b"missing", 0), (b"changed", changed)];
    assert_eq!(rows, expected);
    assert_eq!(answer.seq, changed);
}

#[test]
fn a_conflict_over_more_than_an_answer_holds_names_some_of_the_rows() {
    let mut group = Group::with_pool();
    let mut all = txn("p");
    for number in 0..100_u8 {
        group.must(txn("p").put([b'k', number], vec![0; 200 << 10]));
        all = all.absent([b'k', number]);
    }
    let conflict = group.conflict(all);
    let bytes: usize =
        conflict.rows.iter().filter_map(|row| row.value.as_ref()).map(|v| v.len()).sum();
    assert!(!conflict.rows.is_empty());
    assert!(bytes < conclave_store::limits::READ_BYTES_MAX + (256 << 10), "{bytes}");
}

#[test]
fn a_refused_commit_writes_nothing_at_all() {
    let mut group = Group::with_pool();
    group.must(txn("p").put("k", "old").add("n", 5));
    let rows_of_scope = |group: &Group| -> Vec<_> {
        let physical = keys::row("p", b"");
        group.kv.rows().range(physical..).map(|(k, v)| (k.clone(), v.clone())).collect()
    };
    let before = rows_of_scope(&group);
    group.conflict(txn("p").absent("k").put("k", "new").put("j", "new").delete_prefix("n"));
    let refused = txn("p").put("k", "new").delete_prefix("k").add("m", 1).add_up_to("n", 1, 5);
    assert_eq!(group.commit(refused), out_of_bounds("n", 5));
    assert_eq!(rows_of_scope(&group), before);
}

#[test]
fn a_command_check_or_write_of_a_later_version_does_nothing() {
    let mut group = Group::with_pool();
    assert_eq!(group.apply(None), stale());
    let mut unknown_check = group.finish(txn("p").put("k", "v"));
    unknown_check.checks.push(proto::Check { key: "k".into(), expect: None });
    assert_eq!(group.apply(Some(Command::Commit(unknown_check))), stale());
    let mut unknown_write = group.finish(txn("p").put("k", "v"));
    unknown_write.writes.push(proto::Write { key: "j".into(), action: None });
    assert_eq!(group.apply(Some(Command::Commit(unknown_write))), stale());
    assert_eq!(group.value("k"), None);
}

// ---- counters -------------------------------------------------------------------------------

#[test]
fn at_most_n_holds_however_many_are_tried() {
    let mut group = Group::with_pool();
    let mut made = 0;
    for number in 0..10_u8 {
        let create = txn("p").add_up_to("count", 1, 4).put([b'c', number], "client");
        match group.commit(create) {
            proto::outcome::Result::Committed(_) => made += 1,
            other => assert_eq!(other, out_of_bounds("count", 4)),
        }
    }
    assert_eq!(made, 4);
    assert_eq!(group.counter("count"), Some(4));
    assert!(group.value([b'c', 3]).is_some());
    assert_eq!(group.value([b'c', 4]), None);
}

#[test]
fn a_counter_does_not_sink_below_its_lower_bound() {
    let mut group = Group::with_pool();
    group.must(txn("p").add("n", 2));
    group.must(txn("p").add_down_to("n", -2, 0));
    assert_eq!(group.commit(txn("p").add_down_to("n", -1, 0)), out_of_bounds("n", 0));
    assert_eq!(group.counter("n"), Some(0));
}

#[test]
fn a_counter_does_not_wrap_around() {
    let mut group = Group::with_pool();
    group.must(txn("p").add("high", i64::MAX).add("low", i64::MIN));
    assert_eq!(group.commit(txn("p").add("high", 1)), out_of_bounds("high", i64::MAX));
    assert_eq!(group.commit(txn("p").add("low", -1)), out_of_bounds("low", i64::MIN));
}

#[test]
fn what_is_no_counter_is_not_added_to() {
    let mut group = Group::with_pool();
    group.must(txn("p").put("text", "seven b"));
    assert_eq!(group.commit(txn("p").add("text", 1)), out_of_bounds("text", 0));
    assert_eq!(group.value("text").as_deref(), Some(&b"seven b"[..]));
}

#[test]
fn counters_never_conflict() {
    let mut group = Group::with_pool();
    let first = group.finish(txn("p").add("n", 1));
    let second = group.finish(txn("p").add("n", 1));
    for commit in [first, second] {
        let answer = group.apply(Some(Command::Commit(commit)));
        assert!(matches!(answer, proto::outcome::Result::Committed(_)), "{answer:?}");
    }
    assert_eq!(group.counter("n"), Some(2));
}

#[test]
fn a_counter_begins_again_when_it_has_expired() {
    let mut group = Group::with_pool();
    let hour = group.now_ms + 3_600_000;
    group.must(txn("p").add_until("rate", 3, hour));
    group.must(txn("p").add_until("rate", 2, hour));
    assert_eq!(group.counter("rate"), Some(5));
    group.now_ms = hour;
    group.must(txn("p").add_until("rate", 1, hour + 3_600_000));
    assert_eq!(group.counter("rate"), Some(1));
    group.sweep();
    assert_eq!(group.counter("rate"), Some(1));
}

// ---- versions -------------------------------------------------------------------------------

#[test]
fn a_row_that_was_deleted_and_made_again_has_another_version() {
    let mut group = Group::with_pool();
    let first = group.must(txn("p").put("k", "same"));
    group.must(txn("p").delete("k"));
    let second = group.must(txn("p").put("k", "same"));
    assert!(second > first);
    let conflict = group.conflict(txn("p").at("k", first).put("k", "late"));
    assert_eq!(conflict.rows[0].version, second);
}

#[test]
fn versions_go_on_after_a_restore() {
    let mut group = Group::with_pool();
    let before = group.must(txn("p").put("k", "1"));
    group.kv = group.restored();
    assert_eq!(group.must(txn("p").at("k", before).put("k", "2")), before + 1);
}

#[test]
fn refused_commits_use_no_version() {
    let mut group = Group::with_pool();
    let before = group.must(txn("p").put("k", "1"));
    group.conflict(txn("p").absent("k"));
    group.commit(txn("p").add_up_to("n", 2, 1));
    group.commit(txn("gone").put("k", "1"));
    assert_eq!(group.commit(txn("p").put("k", "2")), committed(before + 1));
}

// ---- one-time things ------------------------------------------------------------------------

#[test]
fn a_one_time_thing_is_consumed_once() {
    let mut group = Group::with_pool();
    let until = group.now_ms + 300_000;
    let redeem =
        |by: &str| txn("p").absent("used/code").put_until("used/code", "", until).put(by, "token");
    group.must(redeem("first"));
    group.now_ms += 299_999;
    let conflict = group.conflict(redeem("second"));
    assert_eq!(conflict.rows[0].value.as_deref(), Some(&b""[..]));
    assert_eq!(group.value("second"), None);
    group.sweep();
    group.conflict(redeem("third"));
}
