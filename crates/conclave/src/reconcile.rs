//! Runs the reconciler in the background, on every node: what one clears away is no longer there for the
//! others.

use std::{sync::Arc, time::Duration};

use conclave_identity::{reconciler::Reconciler, world::World};
use tokio::{sync::watch, task::JoinHandle};

/// From one look to the next. What a crash has left is gone after two of them; until then it does no harm.
fn every() -> Duration {
    Duration::from_millis(conclave_fault::time_ms("reconcile.every", 300_000).into())
}

/// Looks until `stopping`.
pub fn start(world: Arc<World>, mut stopping: watch::Receiver<bool>) -> JoinHandle<()> {
    tokio::spawn(async move {
        let mut reconciler = Reconciler::default();
        loop {
            tokio::select! {
                _ = stopping.wait_for(|stopping| *stopping) => return,
                () = tokio::time::sleep(every()) => {}
            }
            let look = tokio::select! {
                _ = stopping.wait_for(|stopping| *stopping) => return,
                look = reconciler.look(&world) => look,
            };
            match look {
                Ok(report) if report.removed + report.renamed > 0 => tracing::info!(
                    rows = report.rows,
                    removed = report.removed,
                    renamed = report.renamed,
                    "cleared away what a crash has left"
                ),
                Ok(_) => {}
                Err(error) => {
                    tracing::warn!(code = error.code.as_str(), "the reconciler could not look");
                }
            }
        }
    })
}
