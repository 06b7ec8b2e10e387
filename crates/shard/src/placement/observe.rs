//! What nodes say of themselves and of their replicas, as `plan` takes it.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

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
    /// Entries of the leader's log that each member lacks.
    pub lag: BTreeMap<u64, u64>,
}

/// The nodes. `away`: for how long each has not been reached; absent where it has been just now.
pub(crate) fn nodes(
    registered: &Nodes,
    answers: &BTreeMap<u64, proto::NodeStatus>,
    away: &BTreeMap<u64, Duration>,
    heard_by_leaders: &BTreeSet<u64>,
    dead_after: Duration,
) -> BTreeMap<u64, NodeView> {
    let view = |node: &crate::registry::RegisteredNode| {
        let answer = answers.get(&node.node_id);
        let away = away.get(&node.node_id).copied();
        let standing = match node.state {
            NodeState::Joining => Standing::Keeps,
            NodeState::Active if answer.is_some() => Standing::Takes,
            // one that others reach is not dead, only cut off from here
            NodeState::Active
                if away.is_some_and(|away| away >= dead_after)
                    && !heard_by_leaders.contains(&node.node_id) =>
            {
                Standing::Dead
            }
            NodeState::Active => Standing::Keeps,
            NodeState::Dead => Standing::Dead,
            NodeState::Draining | NodeState::Drained | NodeState::Removed => Standing::Leaves,
        };
        let sheds_leaders = answer.is_none_or(|answer| answer.sheds_leaders);
        NodeView { standing, sheds_leaders, replaced_by: node.replaced_by }
    };
    registered.nodes.iter().map(|node| (node.node_id, view(node))).collect()
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
        let mut observed =
            Observed { view: GroupView::default(), membership: None, lag: BTreeMap::new() };
        observed.view.open = replicas.iter().map(|(id, _)| *id).collect();
        let Some((_, source)) = source else { return observed };
        let members = Members::of(source);
        observed.membership = membership_of(source);
        let view = &mut observed.view;
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
