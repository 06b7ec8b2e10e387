//! What nodes say of themselves and of their replicas, as `plan` takes it.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use conclave_store::levels;

use crate::{
    placement::plan::{GroupView, NodeView, Standing},
    proto,
    registry::{NodeState, Nodes},
    types::LogId,
    view::Members,
};

/// A member that has answered its leader within this time is there.
const ANSWERED_LATELY_MS: u64 = 2_000;
/// A member that lacks no more entries than this has caught up.
const LAG_ENTRIES_MAX: u64 = 100;

/// A group, and where to ask for changes of it.
#[derive(Debug, Clone)]
pub(crate) struct Observed {
    pub view: GroupView,
    /// The membership that the leader has.
    pub membership: Option<LogId>,
    /// The feature level that the leader has.
    pub level: u32,
    /// Entries of the leader's log that each member lacks.
    pub lag: BTreeMap<u64, u64>,
}

/// What may become of a node. `state`: as the registry knows; `None` for a member that has never registered. `lost`: it has
/// been away for too long.
pub(crate) fn standing(state: Option<NodeState>, answers: bool, lost: bool) -> Standing {
    match state {
        Some(NodeState::Active) if answers => Standing::Takes,
        // one that has just come may die as well, and may be a voter of a group that was made with it
        Some(NodeState::Active | NodeState::Joining) | None => {
            if lost {
                Standing::Dead
            } else {
                Standing::Keeps
            }
        }
        Some(NodeState::Dead) => Standing::Dead,
        Some(NodeState::Draining | NodeState::Drained | NodeState::Removed) => Standing::Leaves,
    }
}

/// The nodes, and members that have never registered. `away`: for how long each has not been reached; absent where it has
/// been just now.
pub(crate) fn nodes(
    registered: &Nodes,
    answers: &BTreeMap<u64, proto::NodeStatus>,
    away: &BTreeMap<u64, Duration>,
    heard_by_leaders: &BTreeSet<u64>,
    dead_after: Duration,
) -> BTreeMap<u64, NodeView> {
    // one that others reach is not dead, only cut off from here
    let lost = |id: u64| {
        away.get(&id).is_some_and(|away| *away >= dead_after) && !heard_by_leaders.contains(&id)
    };
    let view = |node: &crate::registry::RegisteredNode| {
        let (id, answer) = (node.node_id, answers.get(&node.node_id));
        let standing = standing(Some(node.state), answer.is_some(), lost(id));
        let sheds_leaders = answer.is_none_or(|answer| answer.sheds_leaders);
        // a version that says nothing knows the first one
        let level = answer.map(|answer| answer.feature_level.max(levels::FIRST));
        (id, NodeView { standing, sheds_leaders, replaced_by: node.replaced_by, level })
    };
    let unknown = |id: &u64| {
        let standing = standing(None, false, lost(*id));
        (*id, NodeView { standing, sheds_leaders: true, replaced_by: None, level: None })
    };
    let others = away.keys().filter(|id| registered.get(**id).is_none());
    registered.nodes.iter().map(view).chain(others.map(unknown)).collect()
}

/// Members of groups, as far as they are known.
pub(crate) fn members(groups: &BTreeMap<u32, Observed>) -> BTreeSet<u64> {
    let members = |group: &Observed| {
        let view = &group.view;
        view.voters.union(&view.learners).copied().collect::<Vec<_>>()
    };
    groups.values().flat_map(members).collect()
}

/// Members that a leader has heard from lately.
pub(crate) fn heard_by_leaders(answers: &BTreeMap<u64, proto::NodeStatus>) -> BTreeSet<u64> {
    let leaders = answers.values().flat_map(|answer| &answer.replicas).filter(|r| r.leads);
    let followers = leaders.flat_map(|replica| &replica.followers);
    followers.filter(|follower| answers_lately(follower)).map(|f| f.node_id).collect()
}

fn answers_lately(follower: &proto::FollowerStatus) -> bool {
    follower.answered_ms_ago.is_some_and(|ms| ms < ANSWERED_LATELY_MS)
}

/// The groups, as the leader of each in the highest term sees them.
pub(crate) fn groups(
    count: u32,
    answers: &BTreeMap<u64, proto::NodeStatus>,
) -> BTreeMap<u32, Observed> {
    let group = |number: u32| {
        let replicas: Vec<(u64, &proto::ReplicaStatus)> = answers
            .iter()
            .filter_map(|(id, answer)| {
                Some((*id, answer.replicas.iter().find(|replica| replica.group == number)?))
            })
            .collect();
        let leader = replicas.iter().filter(|(_, r)| r.leads).max_by_key(|(_, r)| r.term);
        // without a leader, the newest members that are known count for what its nodes have
        let membership_of = |replica: &proto::ReplicaStatus| {
            replica.membership.as_ref().and_then(|m| m.log_id).map(LogId::from)
        };
        let source =
            leader.or_else(|| replicas.iter().max_by_key(|(_, replica)| membership_of(replica)));
        let mut observed = Observed {
            view: GroupView::default(),
            membership: None,
            level: 0,
            lag: BTreeMap::new(),
        };
        observed.view.open = replicas.iter().map(|(id, _)| *id).collect();
        let Some((_, source)) = source else { return observed };
        let members = Members::of(source);
        observed.membership = membership_of(source);
        observed.level = source.feature_level;
        let view = &mut observed.view;
        view.level = source.feature_level;
        view.voters = members.voters;
        view.next = members.next;
        view.joint = members.joint;
        view.learners = members.learners;
        view.committed = source.membership_committed && observed.membership.is_some();
        let Some((leader, _)) = leader else { return observed };
        view.leader = Some(*leader);
        view.answering.insert(*leader);
        view.up_to_date.insert(*leader);
        for follower in &source.followers {
            let lag = source.last_log_index.saturating_sub(follower.matched_index.unwrap_or(0));
            observed.lag.insert(follower.node_id, lag);
            if answers_lately(follower) {
                view.answering.insert(follower.node_id);
                // it must have the entry that made it a member, too
                let member_since = observed.membership.map_or(0, |id| id.index);
                if follower.matched_index.is_some_and(|matched| matched >= member_since)
                    && lag <= LAG_ENTRIES_MAX
                {
                    view.up_to_date.insert(follower.node_id);
                }
            }
        }
        observed
    };
    (0..count).map(|number| (number, group(number))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::RegisteredNode;

    const DEAD_AFTER: Duration = Duration::from_secs(60);

    fn view_of(state: Option<NodeState>, away: Duration, heard: bool) -> Standing {
        let mut registered = Nodes::default();
        registered.nodes.extend(state.map(|state| {
            let mut node = RegisteredNode::example(2);
            node.state = state;
            node
        }));
        let heard = heard.then_some(2).into_iter().collect();
        let away = [(2, away)].into();
        nodes(&registered, &BTreeMap::new(), &away, &heard, DEAD_AFTER)[&2].standing
    }

    #[test]
    fn who_is_lost_is_dead_also_before_it_has_joined_or_registered() {
        let (short, long) = (DEAD_AFTER / 2, DEAD_AFTER);
        for state in [Some(NodeState::Active), Some(NodeState::Joining), None] {
            assert_eq!(view_of(state, short, false), Standing::Keeps, "{state:?}");
            assert_eq!(view_of(state, long, true), Standing::Keeps, "{state:?} is heard");
            assert_eq!(view_of(state, long, false), Standing::Dead, "{state:?}");
        }
        assert_eq!(view_of(Some(NodeState::Draining), long, false), Standing::Leaves);
        assert_eq!(view_of(Some(NodeState::Dead), short, true), Standing::Dead);
    }
}
