//! Changes of a group's members and leader, at the replica that leads it.
//!
//! openraft makes one change at a time, and a change of voters goes through a joint membership. What
//! is added here: every change names the membership that it was decided on, and is refused when
//! there is another by now, or when that one is not committed yet.

use std::{collections::BTreeSet, time::Duration};

use openraft::{
    BasicNode, ChangeMembers, Instant as _, Precondition,
    async_runtime::watch::WatchReceiver as _,
    errors::{ClientWriteError, RaftError},
    raft::ChangeMembershipRequest,
};
use tokio::time::timeout;

use crate::{
    group::Group,
    proto,
    types::{LogId, Types, stored_membership_out},
};

/// How long a change waits for a quorum.
const CHANGE_TIMEOUT: Duration = Duration::from_secs(8);
/// How long the next leader has to take over.
const TAKE_OVER_WITHIN: Duration = Duration::from_millis(1_500);
/// Who has answered within this time can take over.
const ANSWERED_LATELY: Duration = Duration::from_secs(1);

/// A change of a group's members.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum MemberChange {
    AddLearner(u64, String),
    RemoveLearner(u64),
    /// All who vote afterwards; who voted before and is not among them is no member any more.
    Voters(BTreeSet<u64>),
}

impl Group {
    /// Makes one change on top of `membership`, and returns when it is committed.
    ///
    /// # Errors
    /// Why not, for people. It may be half done: a later change completes it.
    pub(crate) async fn change_members(
        &self,
        membership: LogId,
        change: MemberChange,
    ) -> Result<(), String> {
        let raft = self.raft().ok_or("the replica does not run")?;
        let waited = timeout(CHANGE_TIMEOUT, self.members_or_level.lock()).await;
        let _one = waited.map_err(|_| "the last change has not ended in time".to_owned())?;
        let leader = self.leader_id().ok_or("this node does not lead the group")?;
        {
            let metrics = raft.metrics();
            let metrics = metrics.borrow_watched();
            if *metrics.membership_config.log_id() != Some(membership) {
                return Err("the group has other members by now".to_owned());
            }
            if metrics.committed_membership_config.log_id() != metrics.membership_config.log_id() {
                return Err("the last change of members is not committed yet".to_owned());
            }
        }
        let (change, retain) = match change {
            MemberChange::AddLearner(id, address) => {
                self.check_new_member(id, &address).await?;
                // what it had acknowledged before it was a member is nobody's concern any more
                self.shared.peers.forget_acknowledged(self.id, id);
                (ChangeMembers::AddNodes([(id, BasicNode::new(address))].into()), true)
            }
            MemberChange::RemoveLearner(id) => (ChangeMembers::RemoveNodes([id].into()), true),
            MemberChange::Voters(ids) => (ChangeMembers::ReplaceAllVoters(ids), false),
        };
        let on_top_of =
            Precondition::<Types>::LastMembershipLogId { last_membership_log_id: Some(membership) };
        // another leader may have raised the level since
        let by = Precondition::<Types>::CommittedLeaderId { committed_leader_id: leader };
        let request =
            ChangeMembershipRequest::new(change, retain).with_preconditions([on_top_of, by]);
        match timeout(CHANGE_TIMEOUT, raft.change_membership_with_payload(request)).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(RaftError::APIError(ClientWriteError::ForwardToLeader(_)))) => {
                Err("this node does not lead the group".to_owned())
            }
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err("no quorum has committed the change in time".to_owned()),
        }
    }

    /// Asks a voter to take over, and waits until this node leads no more.
    ///
    /// # Errors
    /// It has not taken over in time.
    pub(crate) async fn move_leader(&self, to: u64) -> Result<(), String> {
        if !self.leads() {
            return Err("this node does not lead the group".to_owned());
        }
        self.transfer_leadership(to).await;
        let moved = async {
            while self.leads() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        let moved = timeout(TAKE_OVER_WITHIN, moved).await;
        moved.map_err(|_| format!("node {to} has not taken over"))
    }

    /// The voter that can take over best: one that has answered lately and has most of the log; the
    /// next one in order among equals.
    pub(crate) fn successor(&self) -> Option<u64> {
        let status = self.replica_status();
        let own = self.shared.node_id;
        let voters = crate::view::Members::of(&status).next;
        let others = voters.into_iter().filter(|id| *id != own);
        others.max_by_key(|id| {
            let follower = status.followers.iter().find(|follower| follower.node_id == *id);
            let lately = u64::try_from(ANSWERED_LATELY.as_millis()).unwrap_or(u64::MAX);
            let answers = follower.is_some_and(|f| f.answered_ms_ago.is_some_and(|ms| ms < lately));
            let matched = follower.and_then(|follower| follower.matched_index);
            // a few entries more or less are sent before it is asked
            let behind = status.last_log_index.saturating_sub(matched.unwrap_or(0)) / 1_000;
            (answers, u64::MAX - behind, *id > own, std::cmp::Reverse(*id))
        })
    }

    /// What the replica says to the controller.
    pub(crate) fn replica_status(&self) -> proto::ReplicaStatus {
        let status = self.status();
        let mut replica = proto::ReplicaStatus {
            group: self.id,
            healthy: status.healthy,
            term: status.term,
            leader: status.leader,
            leads: status.is_leader,
            last_log_index: status.last_log_index,
            committed_index: status.committed_index,
            applied_index: status.applied_index,
            state_bytes: self.state.db().bytes(),
            feature_level: status.feature_level,
            ..proto::ReplicaStatus::default()
        };
        let Some(raft) = self.raft() else { return replica };
        let metrics = raft.metrics();
        let metrics = metrics.borrow_watched();
        let effective = &metrics.membership_config;
        replica.membership = Some(stored_membership_out(effective));
        replica.membership_committed =
            effective.log_id() == metrics.committed_membership_config.log_id();
        if let Some(replication) = &metrics.replication {
            let answered = |id: &u64| {
                let at = metrics.heartbeat.as_ref()?.get(id).copied().flatten()?;
                Some(u64::try_from(at.elapsed().as_millis()).unwrap_or(u64::MAX))
            };
            replica.followers = replication
                .iter()
                .filter(|(id, _)| **id != self.shared.node_id)
                .map(|(id, matched)| proto::FollowerStatus {
                    node_id: *id,
                    matched_index: matched.as_ref().map(|matched| matched.index),
                    answered_ms_ago: answered(id),
                })
                .collect();
        }
        replica
    }
}
