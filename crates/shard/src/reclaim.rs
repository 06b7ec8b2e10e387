//! Frees the space of what was deleted as one large range: a whole pool, an uploaded file. The deletion itself
//! is one mark in the state, whatever it covers, and is answered at once; the rows under it take their space
//! until files are compacted, and a snapshot keeps the files of its time until the next one.
//!
//! Each replica does this for itself. What a restart forgets is compacted when RocksDB comes by.

use std::{sync::Arc, time::Duration};

use tokio::{
    task::spawn_blocking,
    time::{MissedTickBehavior, interval},
};

use crate::group::Group;

const INTERVAL: Duration = Duration::from_secs(2);

/// Looks after the state of one group.
pub(crate) async fn run(group: Arc<Group>) {
    let mut ticks = interval(INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let db = group.state.db();
        let freed = db.take_freed();
        if freed.is_empty() {
            continue;
        }
        let ranges = freed.len();
        let compacted = spawn_blocking(move || db.compact(&freed)).await;
        if compacted.is_err() {
            // the space is freed later
            tracing::warn!(group = group.id, "deleted ranges could not be compacted");
            continue;
        }
        tracing::debug!(group = group.id, ranges, "compacted what was deleted");
        if let Some(raft) = group.raft() {
            // openraft makes one at a time; an error means that the replica has stopped
            let _ = raft.trigger().snapshot().await;
        }
    }
}
