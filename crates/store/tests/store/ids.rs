//! A commit may be repeated: what its id is good for, and for how long.

use conclave_store::{
    ID_MEMORY_MS, keys,
    proto::{entry::Command, outcome::Result as Answer},
};

use crate::group::{Group, committed, out_of_bounds, scope_gone, stale, txn};

#[test]
fn a_repeated_commit_answers_what_it_answered_and_takes_effect_once() {
    let mut group = Group::with_pool();
    let commit = group.finish(txn("p").add("n", 1).put("k", "mine"));
    let first = group.apply(Some(Command::Commit(commit.clone())));
    group.must(txn("p").put("k", "newer"));
    assert_eq!(group.apply(Some(Command::Commit(commit.clone()))), first);
    assert_eq!(group.apply(Some(Command::Commit(commit))), first);
    assert_eq!(group.counter("n"), Some(1));
    assert_eq!(group.value("k").as_deref(), Some(&b"newer"[..]));
}

#[test]
fn a_repeated_commit_succeeds_although_its_own_first_try_has_changed_what_it_checks() {
    let mut group = Group::with_pool();
    let commit = group.finish(txn("p").absent("bob").put("bob", "user"));
    let first = group.apply(Some(Command::Commit(commit.clone())));
    assert_eq!(group.apply(Some(Command::Commit(commit))), first);
}

#[test]
fn an_id_is_remembered_for_two_minutes_and_then_the_answer_is_stale() {
    let mut group = Group::with_pool();
    let commit = group.finish(txn("p").put("k", "v"));
    let first = group.apply(Some(Command::Commit(commit.clone())));
    group.now_ms += ID_MEMORY_MS - 1;
    assert_eq!(group.apply(Some(Command::Commit(commit.clone()))), first);
    group.now_ms += 1;
    assert_eq!(group.apply(Some(Command::Commit(commit.clone()))), stale());
    group.now_ms += 10 * ID_MEMORY_MS;
    assert_eq!(group.apply(Some(Command::Commit(commit))), stale());
}

#[test]
fn a_commit_that_arrives_two_minutes_after_its_decision_does_nothing() {
    let mut group = Group::with_pool();
    let commit = group.finish(txn("p").put("k", "v"));
    group.now_ms += ID_MEMORY_MS;
    assert_eq!(group.apply(Some(Command::Commit(commit))), stale());
    assert_eq!(group.value("k"), None);
}

#[test]
fn an_id_is_remembered_whatever_minute_the_decision_fell_in() {
    for offset_ms in [0, 1, 30_000, 59_999, 60_000, 60_001, 119_999] {
        let mut group = Group::with_pool();
        group.now_ms = group.now_ms - group.now_ms.rem_euclid(60_000) + 600_000;
        let decided_ms = group.now_ms + offset_ms;
        group.now_ms = decided_ms;
        let commit = group.finish(txn("p").add("n", 1));
        let first = group.apply(Some(Command::Commit(commit.clone())));
        for _ in 0..11 {
            group.now_ms += 10_000;
            // others go on, and drop the ids of the minutes that have passed
            group.must(txn("p").put("other", "v"));
            assert_eq!(group.apply(Some(Command::Commit(commit.clone()))), first, "{offset_ms}");
        }
        assert_eq!(group.counter("n"), Some(1));
    }
}

#[test]
fn the_ids_of_minutes_that_have_passed_take_up_no_space() {
    let mut group = Group::with_pool();
    for minute in 0..60 {
        group.now_ms += 60_000;
        for _ in 0..5 {
            group.must(txn("p").put("k", "v"));
        }
        if minute > 5 {
            // the row, the scope's root, the group's state, and the ids of four minutes at most
            assert!(group.kv.rows().len() <= 3 + 4 * 5, "{}", group.kv.rows().len());
        }
    }
}

#[test]
fn an_id_is_remembered_across_a_restore() {
    let mut group = Group::with_pool();
    let commit = group.finish(txn("p").add("n", 1));
    let first = group.apply(Some(Command::Commit(commit.clone())));
    group.kv = group.restored();
    assert_eq!(group.apply(Some(Command::Commit(commit))), first);
    assert_eq!(group.counter("n"), Some(1));
}

/// The first copy of a request may come after the second one, which was refused and whose sender has
/// told the user so.
#[test]
fn a_commit_that_met_a_conflict_stays_refused_when_a_late_copy_would_succeed() {
    let mut group = Group::with_pool();
    group.must(txn("p").put("bob", "somebody"));
    let sign_up = group.finish(txn("p").absent("bob").put("bob", "late"));
    let first = group.apply(Some(Command::Commit(sign_up.clone())));
    assert!(matches!(first, Answer::Conflict(_)), "{first:?}");
    group.must(txn("p").delete("bob"));
    let late = group.apply(Some(Command::Commit(sign_up)));
    let Answer::Conflict(conflict) = late else { panic!("{late:?}") };
    assert!(conflict.rows.is_empty());
    assert_eq!(group.value("bob"), None);
}

#[test]
fn a_commit_that_left_its_bounds_stays_refused() {
    let mut group = Group::with_pool();
    group.must(txn("p").add("n", 3));
    let create = group.finish(txn("p").add_up_to("n", 1, 3).put("client", "v"));
    assert_eq!(group.apply(Some(Command::Commit(create.clone()))), out_of_bounds("n", 3));
    assert_eq!(group.apply(Some(Command::Commit(create.clone()))), out_of_bounds("n", 3));
    group.must(txn("p").add("n", -1));
    assert!(matches!(group.apply(Some(Command::Commit(create))), Answer::Conflict(_)));
    assert_eq!(group.value("client"), None);
    assert_eq!(group.counter("n"), Some(2));
}

#[test]
fn a_commit_to_a_scope_that_was_gone_stays_refused_when_the_scope_is_made() {
    let mut group = Group::new();
    let commit = group.finish(txn("p").put("k", "v"));
    assert_eq!(group.apply(Some(Command::Commit(commit.clone()))), scope_gone());
    group.must(txn("p").put(keys::ROOT, "pool"));
    assert!(matches!(group.apply(Some(Command::Commit(commit))), Answer::Conflict(_)));
    assert_eq!(group.value("k"), None);
}

#[test]
fn a_new_id_may_succeed_where_another_was_refused() {
    let mut group = Group::with_pool();
    let version = group.must(txn("p").put("k", "1"));
    group.conflict(txn("p").id(900).absent("k").put("k", "2"));
    assert_eq!(
        group.commit(txn("p").id(901).at("k", version).put("k", "2")),
        committed(version + 1)
    );
}
