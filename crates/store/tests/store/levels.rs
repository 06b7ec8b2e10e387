//! Feature levels: the rule by which a group is raised, and what apply makes of it.

use conclave_store::{
    levels::{FIRST, KNOWN, check, common, entry, needed_by, of_group},
    proto::{self, entry::Command, outcome::Result as Answer},
};
use proptest::prelude::*;
use prost::Message;

use crate::group::{Group, stale, txn};

fn raise(level: u32) -> Command {
    Command::Raise(proto::Raise { level, members: None })
}

#[test]
fn a_group_that_nobody_has_raised_has_the_first_level_and_the_bytes_of_before_levels() {
    let mut group = Group::with_pool();
    group.must(txn("p").put("k", "v"));
    assert_eq!(of_group(&group.kv).expect("reads"), FIRST);
    let state = proto::GroupState::decode(&group.kv.rows()[conclave_store::keys::GROUP_STATE][..]);
    assert_eq!(state.expect("decodes").level, 0);
    let commit = group.finish(txn("p").put("k", "v"));
    assert_eq!(entry(1, Command::Commit(commit)).level, 0);
}

#[test]
fn a_level_stays_and_never_goes_down() {
    let mut group = Group::with_pool();
    for (to, has) in [(1, 1), (3, 3), (2, 3), (0, 3), (7, 7)] {
        group.apply(Some(raise(to)));
        assert_eq!(of_group(&group.kv).expect("reads"), has);
        group.must(txn("p").put("k", "v"));
        assert_eq!(of_group(&group.restored()).expect("reads"), has);
    }
}

#[test]
fn an_entry_that_needs_more_than_the_group_has_does_nothing() {
    let mut group = Group::with_pool();
    let commit = group.finish(txn("p").put("k", "v"));
    let early =
        proto::Entry { stamp_ms: group.now_ms, command: Some(Command::Commit(commit)), level: 2 };
    assert_eq!(group.kv.apply(&early).expect("applies").result, Some(stale()));
    assert_eq!(group.value("k"), None);
    group.apply(Some(raise(2)));
    let answer = group.kv.apply(&early).expect("applies").result;
    assert!(matches!(answer, Some(Answer::Committed(_))), "{answer:?}");
}

#[test]
fn whoever_is_raised_must_know_the_level() {
    let raised = entry(1, raise(KNOWN + 1));
    assert_eq!(needed_by(&raise(KNOWN + 1)), KNOWN + 1);
    let unknown = check(raised.level, KNOWN).expect_err("is not known").to_string();
    assert!(unknown.contains(&format!("needs feature level {}", KNOWN + 1)), "{unknown}");
    assert_eq!(check(raised.level, KNOWN + 1), Ok(()));
}

proptest! {
    /// Nodes restart with other versions in any order, and the leader raises the group whenever it may: at no moment does the
    /// group need more than the members knew when it was raised, nor less than before.
    #[test]
    fn a_group_has_what_all_members_have_known_at_one_moment(
        changes in prop::collection::vec((0..5_usize, prop::option::of(1..6_u32)), 1..60),
    ) {
        let mut group = Group::new();
        let mut members = [Some(FIRST); 5];
        let mut best = FIRST;
        for (member, level) in changes {
            members[member] = level;
            let before = of_group(&group.kv).expect("reads");
            let all = common(members);
            let lowest = members.iter().copied().min().flatten();
            prop_assert_eq!(all, if members.contains(&None) { None } else { lowest });
            if let Some(level) = all.filter(|level| *level > before) {
                group.apply(Some(raise(level)));
            }
            best = best.max(all.unwrap_or(FIRST));
            let after = of_group(&group.kv).expect("reads");
            prop_assert!(after >= before);
            prop_assert_eq!(after, best);
        }
    }
}
