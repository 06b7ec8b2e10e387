//! Looks after signing keys in the background, on one gateway at a time.

use std::{sync::Arc, time::Duration};

use conclave_crypto::entropy;
use conclave_identity::{signing_keys::worker::Worker, world::World};
use tokio::{sync::watch, task::JoinHandle};

/// From one look for orders to the next.
const EVERY: Duration = Duration::from_secs(1);

/// Looks until `stopping`. What is cut short goes on elsewhere, or at the next start.
pub fn start(world: Arc<World>, mut stopping: watch::Receiver<bool>) -> JoinHandle<()> {
    tokio::spawn(async move {
        let timing = world.settings.signing_keys;
        if timing.retires_too_early() {
            tracing::warn!(
                retire_seconds = timing.retire.as_secs(),
                "signing keys are removed before their last tokens have expired"
            );
        }
        let mut worker = Worker::new(entropy::bytes(&*world.entropy), timing);
        loop {
            tokio::select! {
                _ = stopping.wait_for(|stopping| *stopping) => return,
                () = tokio::time::sleep(EVERY) => {}
            }
            let look = tokio::select! {
                _ = stopping.wait_for(|stopping| *stopping) => return,
                look = worker.look(&world) => look,
            };
            match look {
                Ok(report) if report.changed > 0 => tracing::info!(
                    pools = report.pools,
                    changed = report.changed,
                    "signing keys were made, rotated or removed"
                ),
                Ok(_) => {}
                Err(error) => {
                    tracing::debug!(
                        code = error.code.as_str(),
                        "signing keys could not be looked at"
                    );
                }
            }
        }
    })
}
