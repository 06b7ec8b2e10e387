//! What nodes say of their replicas, as placement reads it.

use std::collections::BTreeSet;

use crate::proto;

/// The members of a group, in one replica's membership.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Members {
    /// Of both configurations while there are two.
    pub voters: BTreeSet<u64>,
    /// Those who vote when the change is done.
    pub next: BTreeSet<u64>,
    pub learners: BTreeSet<u64>,
    /// Whether there are two configurations.
    pub joint: bool,
}

impl Members {
    pub(crate) fn of(replica: &proto::ReplicaStatus) -> Self {
        let Some(membership) = replica.membership.as_ref().and_then(|m| m.membership.as_ref())
        else {
            return Self::default();
        };
        let mut sets = membership.configs.iter().map(|set| &set.node_ids);
        let voters: BTreeSet<u64> = sets.clone().flatten().copied().collect();
        let next = sets.next_back().into_iter().flatten().copied().collect();
        let learners = membership.nodes.iter().map(|node| node.node_id);
        let learners = learners.filter(|id| !voters.contains(id)).collect();
        Self { next, learners, joint: membership.configs.len() > 1, voters }
    }
}
