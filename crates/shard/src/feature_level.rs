//! Feature levels of the groups of a node ([`conclave_store::levels`]): what peers know, and raising a group's.

use std::{collections::HashMap, sync::Arc, time::Duration};

use conclave_store::{levels, proto as store};
use openraft::async_runtime::watch::WatchReceiver as _;
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::{
    group::{Group, GroupError},
    types::{LeaderId, LogId},
};

/// How often a leader looks whether its group can be raised.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// What has been heard longer ago may be of a process that is not there any more; leaders hear their members many times
/// a second.
const FRESH: Duration = Duration::from_secs(2);
/// How often a node that knows too little is named in the log.
const NAME_EVERY: Duration = Duration::from_secs(10);

/// The highest levels that this node and its peers know. Peers say theirs with every answer.
pub(crate) struct Announced {
    own: u32,
    heard: Mutex<HashMap<u64, (u32, Instant)>>,
    named: Mutex<HashMap<(u32, u64), Instant>>,
}

impl Announced {
    pub(crate) fn new(own: u32) -> Self {
        Self { own, heard: Mutex::default(), named: Mutex::default() }
    }

    /// What this node knows.
    pub(crate) fn own(&self) -> u32 {
        self.own
    }

    /// A peer has said what it knows.
    pub(crate) fn heard(&self, node_id: u64, level: u32, now: Instant) {
        self.heard.lock().insert(node_id, (level, now));
    }

    /// Whether a peer may take part in a group that `has` a level, by what it has said last: nobody knows less than
    /// [`levels::FIRST`], and who has said nothing is of a version that knows no more.
    ///
    /// # Errors
    /// It knows less: why, for people. From time to time the log of this node says so too.
    pub(crate) fn check(
        &self,
        node_id: u64,
        said: Option<u32>,
        group: u32,
        has: u32,
        now: Instant,
    ) -> Result<(), String> {
        let known = said.map_or(levels::FIRST, |said| said.max(levels::FIRST));
        if levels::check(has, known).is_ok() {
            return Ok(());
        }
        let reason = too_old(node_id, known, group, has);
        let mut named = self.named.lock();
        let last = named.get(&(group, node_id));
        if last.is_none_or(|last| now.saturating_duration_since(*last) >= NAME_EVERY) {
            tracing::error!(reason, "a node is refused");
            named.insert((group, node_id), now);
        }
        Err(reason)
    }

    /// What a peer has said last.
    pub(crate) fn said(&self, node_id: u64) -> Option<u32> {
        self.heard.lock().get(&node_id).map(|(level, _)| *level)
    }

    /// The level that this node and all `peers` know; `None` while one of them has not been heard lately.
    pub(crate) fn common(&self, peers: impl Iterator<Item = u64>, now: Instant) -> Option<u32> {
        let heard = self.heard.lock();
        let of_peer = |id| {
            let (level, at) = heard.get(&id)?;
            (now.saturating_duration_since(*at) < FRESH).then_some(*level)
        };
        levels::common([Some(self.own)].into_iter().chain(peers.map(of_peer)))
    }
}

/// Why a node has no part in a group.
pub(crate) fn too_old(node_id: u64, known: u32, group: u32, has: u32) -> String {
    format!(
        "node {node_id} knows feature levels up to {known}, and group {group} has {has}: start a later version of \
         Conclave on it"
    )
}

/// Raises the group while this node leads it.
pub(crate) async fn run(group: Arc<Group>) {
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        raise(&group).await;
    }
}

async fn raise(group: &Group) {
    // members that this leader adds meanwhile have not been asked
    let _one = group.members_or_level.lock().await;
    let Some((members, common)) = known_by_all(group) else { return };
    match group.level() {
        Ok(level) if level < common => {}
        // a state that cannot be read is noticed by who reads it
        _ => return,
    }
    // and those that another leader adds make it void
    let members = Some(members_at(&members));
    let command = store::entry::Command::Raise(store::Raise { level: common, members });
    match group.propose(command).await {
        Ok(_) => match group.level() {
            Ok(level) if level >= common => {
                tracing::info!(group = group.id, level, "the feature level is raised");
            }
            // looked at again
            _ => tracing::info!(group = group.id, "the members have changed while it was raised"),
        },
        // looked at again
        Err(error) => tracing::debug!(group = group.id, ?error, "the feature level is not raised"),
    }
}

/// How a log entry names the members that another one has made.
pub(crate) fn members_at(entry: &LogId) -> store::MembersAt {
    let leader = entry.leader_id;
    store::MembersAt { term: leader.term, index: entry.index, node_id: leader.node_id }
}

/// The members, those that are being brought up among them, and the level that all of them know; `None` on a node that does not lead.
fn known_by_all(group: &Group) -> Option<(LogId, u32)> {
    let raft = group.raft().filter(|raft| raft.is_leader())?;
    let own = group.shared.node_id;
    let (entry, members): (LogId, Vec<u64>) = {
        let metrics = raft.metrics();
        let metrics = metrics.borrow_watched();
        let config = &metrics.membership_config;
        let others = config.nodes().map(|(id, _)| *id).filter(|id| *id != own);
        ((*config.log_id())?, others.collect())
    };
    let common = group.shared.peers.levels.common(members.into_iter(), Instant::now())?;
    Some((entry, common))
}

impl Group {
    /// The level of the group, as far as this replica has applied.
    ///
    /// # Errors
    /// The state cannot be read.
    pub(crate) fn level(&self) -> std::io::Result<u32> {
        levels::of_group(&*self.state.db())
    }

    /// Whether a node may become a member, for as long as this node leads without a break: it must know what the group has.
    /// Nothing is raised meanwhile; see [`Group::members_or_level`].
    ///
    /// # Errors
    /// Why not, for people.
    pub(crate) async fn check_new_member(&self, id: u64, address: &str) -> Result<(), String> {
        // leaders of before may have raised it by an entry that is not applied here yet
        let failed = |error: GroupError| format!("its level is not known: {error:?}");
        let index = self.read_index().await.map_err(failed)?;
        let last = self.log.last_log_id().map_or(0, |last| last.index);
        self.wait_applied(index.max(last)).await.map_err(failed)?;
        let has = self.level().map_err(|error| error.to_string())?;
        if has <= levels::FIRST {
            return Ok(());
        }
        let peers = &self.shared.peers;
        // now: what was heard before may be of a process that is not there any more
        let said = peers.hello(id, address).await;
        said.map_err(|error| format!("node {id} does not say what it knows: {error}"))?;
        peers.levels.check(id, peers.levels.said(id), self.id, has, Instant::now())
    }

    /// As whom this node leads the group; `None` when it does not.
    pub(crate) fn leader_id(&self) -> Option<LeaderId> {
        let raft = self.raft().filter(|raft| raft.is_leader())?;
        let vote = raft.metrics().borrow_watched().vote;
        (vote.committed && vote.leader_id.node_id == self.shared.node_id).then_some(vote.leader_id)
    }

    /// Whether an entry may be proposed: not before the group has its level.
    pub(crate) fn check_level(&self, command: &store::entry::Command) -> Result<(), GroupError> {
        let needed = levels::needed_by(command);
        if needed <= levels::FIRST || matches!(command, store::entry::Command::Raise(_)) {
            return Ok(());
        }
        match self.level() {
            Ok(level) if needed <= level => Ok(()),
            Ok(level) => Err(GroupError::Unavailable(format!(
                "the write needs feature level {needed}, and group {} has {level}",
                self.id
            ))),
            Err(error) => Err(GroupError::Unavailable(error.to_string())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_is_common_when_every_peer_has_said_so_lately() {
        let announced = Announced::new(3);
        let now = Instant::now();
        let common = |now| announced.common([2, 3].into_iter(), now);
        announced.heard(2, 4, now);
        assert_eq!(common(now), None, "node 3 has not been heard");
        announced.heard(3, 2, now);
        assert_eq!(common(now), Some(2));
        announced.heard(3, 5, now);
        assert_eq!(common(now), Some(3), "this node knows no more");
        announced.heard(3, 5, now + FRESH);
        assert_eq!(common(now + FRESH), None, "node 2 may be another version by now");
        assert_eq!(announced.common(std::iter::empty(), now), Some(3));
    }
}
