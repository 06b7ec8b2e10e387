//! What a node says of its groups: for readiness, metrics and operators.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use crate::disk::Space;

/// The groups of a node.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HostStatus {
    /// This node.
    pub node_id: u64,
    /// Whether this node's wall clock is off that of most others. It gives leadership away then.
    pub clock_is_off: bool,
    /// Whether the disk is so full that nothing new is taken on. Leadership is given away then.
    pub disk_is_full: bool,
    /// How large the disk is, and what is free of it.
    pub disk: Option<Space>,
    /// Whether a sync of the log has been under way for seconds: the disk hangs.
    pub disk_hangs: bool,
    /// Every group, by number.
    pub groups: Vec<GroupStatus>,
}

impl HostStatus {
    /// Whether every group in which this node votes has recovered and knows a leader, and clock and
    /// disk can be used. A node without groups is ready: as a node.
    pub fn is_ready(&self) -> bool {
        self.why_not_ready().is_none()
    }

    /// Why the node is not ready; `None` when it is.
    pub fn why_not_ready(&self) -> Option<String> {
        if self.clock_is_off {
            return Some("the clock is off that of most other nodes".to_owned());
        }
        if self.disk_hangs {
            return Some("the disk hangs: a sync of the log has not returned".to_owned());
        }
        if self.disk_is_full {
            return Some("the disk is nearly full: only deletions are taken on".to_owned());
        }
        self.groups.iter().find_map(|group| {
            let number = group.group;
            if group.is_new {
                return Some(format!("group {number} waits for its first voters"));
            }
            match (group.is_voter, group.healthy, group.leader) {
                (true, false, _) => Some(format!("group {number} has not recovered")),
                (true, true, None) => Some(format!("group {number} has no leader")),
                _ => None,
            }
        })
    }
}

/// One group, as this node sees it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GroupStatus {
    /// The group.
    pub group: u32,
    /// Whether the replica runs and has recovered.
    pub healthy: bool,
    /// The present term.
    pub term: u64,
    /// The leader, where one is known.
    pub leader: Option<u64>,
    /// Whether it is this node.
    pub is_leader: bool,
    /// The last entry of the log.
    pub last_log_index: u64,
    /// The last entry that a quorum has.
    pub committed_index: u64,
    /// The last entry that has been applied.
    pub applied_index: u64,
    /// A checksum over everything up to it: two replicas with the same index and another checksum have
    /// different states.
    pub history: u32,
    /// The feature level of the group, as of the last applied entry; 0 when the state cannot be read.
    pub feature_level: u32,
    /// The last entry that the newest snapshot holds.
    pub snapshot_index: u64,
    /// The last entry that has been removed from the log.
    pub purged_index: u64,
    /// Whether it is made here, and has no members yet.
    pub is_new: bool,
    /// Whether this node votes; one that does not is being brought up, or has left.
    pub is_voter: bool,
    /// Those who vote, with their addresses.
    pub voters: Vec<(u64, String)>,
    /// How often this node has seen another leader than before.
    pub leader_changes: u64,
    /// How often the replica has been reopened after an error.
    pub reopened: u64,
    /// Commits that this node has proposed and seen applied.
    pub commits: u64,
    /// What those took together, in microseconds.
    pub commit_micros: u64,
    /// How many of those took at most each of [`COMMIT_BUCKETS_MS`], cumulative; the last is all.
    pub commit_buckets: [u64; COMMIT_BUCKETS_MS.len() + 1],
    /// Commits that were refused because too many were in flight.
    pub commits_overloaded: u64,
    /// Commits whose outcome this node does not know.
    pub commits_unknown: u64,
    /// Reads that were answered.
    pub reads: u64,
}

/// Upper bounds of the buckets of commit durations, in milliseconds.
pub const COMMIT_BUCKETS_MS: [u64; 10] = [1, 2, 5, 10, 20, 50, 100, 250, 1_000, 5_000];

/// What is counted while a group works.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub leader_changes: AtomicU64,
    pub reopened: AtomicU64,
    pub commits: AtomicU64,
    pub commit_micros: AtomicU64,
    pub commit_buckets: [AtomicU64; COMMIT_BUCKETS_MS.len() + 1],
    pub commits_overloaded: AtomicU64,
    pub commits_unknown: AtomicU64,
    pub reads: AtomicU64,
}

impl Counters {
    pub(crate) fn count(counter: &AtomicU64) {
        counter.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn committed(&self, took: Duration) {
        Self::count(&self.commits);
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.commit_micros.fetch_add(micros, Ordering::Relaxed);
        for (bucket, counter) in self.commit_buckets.iter().enumerate() {
            let fits = COMMIT_BUCKETS_MS.get(bucket).is_none_or(|ms| micros <= ms * 1_000);
            if fits {
                Self::count(counter);
            }
        }
    }

    pub(crate) fn fill(&self, status: &mut GroupStatus) {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        status.leader_changes = load(&self.leader_changes);
        status.reopened = load(&self.reopened);
        status.commits = load(&self.commits);
        status.commit_micros = load(&self.commit_micros);
        status.commit_buckets = std::array::from_fn(|bucket| load(&self.commit_buckets[bucket]));
        status.commits_overloaded = load(&self.commits_overloaded);
        status.commits_unknown = load(&self.commits_unknown);
        status.reads = load(&self.reads);
    }
}
