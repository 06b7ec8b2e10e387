//! When a snapshot is made, and how much of the log is kept.
//!
//! A snapshot makes the state durable up to an entry; only then can the log before it go. More is
//! kept: a follower that is only slow, or was away for a moment, must find the entries that it lacks,
//! and never need a snapshot.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::group::Group;

/// When to make snapshots, and what to keep of the log behind them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// A snapshot after so many entries,
    pub snapshot_entries: u64,
    /// or after so many bytes of log.
    pub snapshot_bytes: u64,
    /// Entries that are kept although a snapshot holds them,
    pub keep_entries: u64,
    /// and entries that are younger than this.
    pub keep_for: Duration,
    /// How often all of this is looked at.
    pub interval: Duration,
}

impl Default for Retention {
    fn default() -> Self {
        Self {
            snapshot_entries: 50_000,
            snapshot_bytes: 64 << 20,
            keep_entries: 5_000,
            keep_for: Duration::from_secs(60),
            interval: Duration::from_secs(2),
        }
    }
}

/// Looks after the log of one group.
pub(crate) async fn run(group: Arc<Group>) {
    let retention = group.shared.limits.retention;
    let mut ticks = interval(retention.interval.max(Duration::from_millis(1)));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // (when, the last index then)
    let mut seen: VecDeque<(Instant, u64)> = VecDeque::new();
    let mut old_enough = 0;
    let mut bytes_at_snapshot = group.log.appended_bytes();
    loop {
        ticks.tick().await;
        let status = group.status();
        let now = Instant::now();
        let bytes = group.log.appended_bytes();
        let Some(raft) = group.raft() else { continue };

        let entries = status.applied_index.saturating_sub(status.snapshot_index);
        let grown = bytes.saturating_sub(bytes_at_snapshot) >= retention.snapshot_bytes;
        if entries >= retention.snapshot_entries || (entries > 0 && grown) {
            bytes_at_snapshot = bytes;
            // openraft makes one at a time; an error means that the replica has stopped
            let _ = raft.trigger().snapshot().await;
        }

        seen.push_back((now, status.last_log_index));
        while let Some(&(at, index)) = seen.front()
            && now.duration_since(at) >= retention.keep_for
        {
            old_enough = index;
            seen.pop_front();
        }
        let upto = old_enough
            .min(status.snapshot_index)
            .min(status.last_log_index.saturating_sub(retention.keep_entries));
        if upto > status.purged_index {
            let _ = raft.trigger().purge_log(upto).await;
        }
    }
}
