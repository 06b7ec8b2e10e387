//! Feature levels of the groups of a node ([`conclave_store::levels`]): what peers know, and raising a group's.

use std::{collections::HashMap, sync::Arc, time::Duration};

use conclave_store::{levels, proto as store};
use openraft::async_runtime::watch::WatchReceiver as _;
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::group::{Group, GroupError};

/// How often a leader looks whether its group can be raised.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// What has been heard longer ago may be of a process that is not there any more; leaders hear their members many times
/// a second.
const FRESH: Duration = Duration::from_secs(2);

/// The highest levels that this node and its peers know. Peers say theirs with every answer.
pub(crate) struct Announced {
    own: u32,
    heard: Mutex<HashMap<u64, (u32, Instant)>>,
}

impl Announced {
    pub(crate) fn new(own: u32) -> Self {
        Self { own, heard: Mutex::default() }
    }

    /// What this node knows.
    pub(crate) fn own(&self) -> u32 {
        self.own
    }

    /// A peer has said what it knows.
    pub(crate) fn heard(&self, node_id: u64, level: u32, now: Instant) {
        self.heard.lock().insert(node_id, (level, now));
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

/// Raises the group while this node leads it.
pub(crate) async fn run(group: Arc<Group>) {
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        raise(&group).await;
    }
}

async fn raise(group: &Group) {
    let Some(common) = known_by_all(group) else { return };
    match group.level() {
        Ok(level) if level < common => {}
        // a state that cannot be read is noticed by who reads it
        _ => return,
    }
    match group.propose(store::entry::Command::Raise(store::Raise { level: common })).await {
        Ok(_) => tracing::info!(group = group.id, level = common, "the feature level is raised"),
        // looked at again
        Err(error) => tracing::debug!(group = group.id, ?error, "the feature level is not raised"),
    }
}

/// The level that all members know, those that are being brought up among them; `None` on a node that does not lead.
fn known_by_all(group: &Group) -> Option<u32> {
    let raft = group.raft().filter(|raft| raft.is_leader())?;
    let own = group.shared.node_id;
    let members: Vec<u64> = {
        let metrics = raft.metrics();
        let metrics = metrics.borrow_watched();
        metrics.membership_config.nodes().map(|(id, _)| *id).filter(|id| *id != own).collect()
    };
    group.shared.peers.levels.common(members.into_iter(), Instant::now())
}

impl Group {
    /// The level of the group, as far as this replica has applied.
    ///
    /// # Errors
    /// The state cannot be read.
    pub(crate) fn level(&self) -> std::io::Result<u32> {
        levels::of_group(&*self.state.db())
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
