//! Deletes expired rows. They read as absent from their time on; this only frees the space.

use std::{sync::Arc, time::Duration};

use conclave_store::proto as store;
use tokio::time::{MissedTickBehavior, interval};

use crate::group::Group;

const INTERVAL: Duration = Duration::from_secs(1);
/// Rows that one entry deletes.
const ROWS_PER_ENTRY: usize = 256;
/// Entries that one turn proposes, one after the other.
const ENTRIES_PER_TURN: usize = 8;

/// Sweeps while this node leads the group.
pub(crate) async fn run(group: Arc<Group>) {
    let mut ticks = interval(INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        for _ in 0..ENTRIES_PER_TURN {
            if !group.leads() || !sweep_once(&group).await {
                break;
            }
        }
    }
}

/// Proposes one entry; true when there may be more to sweep.
async fn sweep_once(group: &Group) -> bool {
    let now_ms = group.shared.clock.now_ms();
    let db = group.state.db();
    let rows = match conclave_store::find_expired(&*db, now_ms, ROWS_PER_ENTRY) {
        Ok(rows) if rows.is_empty() => return false,
        Ok(rows) => rows,
        Err(error) => {
            group.shared.report_fatal(format!("group {}: cannot be read: {error}", group.id));
            return false;
        }
    };
    let full = rows.len() == ROWS_PER_ENTRY;
    let sweep = store::entry::Command::Sweep(store::Sweep { rows });
    // rows that were not deleted are found again
    group.propose(sweep).await.is_ok() && full
}
