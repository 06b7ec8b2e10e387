//! Looks after keys in the background. Every gateway learns of other versions of the cluster's key; one of them at a time
//! looks after signing keys, and carries rotations out.

use std::{sync::Arc, time::Duration};

use conclave_crypto::{entropy, seal::KekProvider};
use conclave_identity::{cluster_key, pool_keys, signing_keys::worker::Worker, world::World};
use tokio::{sync::watch, task::JoinHandle, time::Instant};

use crate::{compose::Parts, kek::KekTiming};

/// From one look for orders to the next.
const EVERY: Duration = Duration::from_secs(1);

/// Looks until `stopping`. What is cut short goes on elsewhere, or at the next start.
pub fn start(
    world: Arc<World>,
    parts: &Parts,
    mut stopping: watch::Receiver<bool>,
) -> JoinHandle<()> {
    keep_fresh(Arc::clone(&world), Arc::clone(&parts.kek));
    let (kek, timing) = (Arc::clone(&parts.kek), parts.kek_timing);
    tokio::spawn(async move {
        if world.settings.signing_keys.retires_too_early() {
            tracing::warn!(
                retire_seconds = world.settings.signing_keys.retire.as_secs(),
                "signing keys are removed before their last tokens have expired"
            );
        }
        let worker = Worker::new(entropy::bytes(&*world.entropy), world.settings.signing_keys);
        let mut work = Work { world, kek, timing, worker, rewrapped_at: None };
        loop {
            tokio::select! {
                _ = stopping.wait_for(|stopping| *stopping) => return,
                () = tokio::time::sleep(EVERY) => {}
            }
            tokio::select! {
                _ = stopping.wait_for(|stopping| *stopping) => return,
                () = work.look() => {}
            }
        }
    })
}

/// Learns of other versions of the cluster's key, for as long as the process runs.
pub fn keep_fresh(world: Arc<World>, kek: Arc<dyn KekProvider>) {
    tokio::spawn(async move {
        loop {
            if let Err(error) = cluster_key::refresh(&world, &*kek).await {
                tracing::debug!(code = error.code.as_str(), "the cluster's keys could not be read");
            }
            tokio::time::sleep(EVERY).await;
        }
    });
}

struct Work {
    world: Arc<World>,
    kek: Arc<dyn KekProvider>,
    timing: KekTiming,
    worker: Worker,
    rewrapped_at: Option<Instant>,
}

impl Work {
    async fn look(&mut self) {
        match self.worker.look(&self.world).await {
            Ok(report) if !report.works => return,
            Ok(report) if report.changed > 0 => tracing::info!(
                pools = report.pools,
                changed = report.changed,
                "signing keys were made, rotated or removed"
            ),
            Ok(_) => {}
            Err(error) => {
                tracing::debug!(code = error.code.as_str(), "signing keys could not be looked at");
                return;
            }
        }
        let is_due = self.rewrapped_at.is_none_or(|at| at.elapsed() >= self.timing.check);
        match cluster_key::rewrap(&self.world, &*self.kek, is_due).await {
            Ok(rewrapped) => {
                if is_due {
                    self.rewrapped_at = Some(Instant::now());
                }
                if rewrapped {
                    tracing::info!("the cluster's keys are wrapped by another key-encryption key");
                }
            }
            Err(error) => {
                tracing::warn!(
                    code = error.code.as_str(),
                    "the cluster's keys could not be wrapped"
                );
            }
        }
        if let Err(error) = cluster_key::advance(&self.world, &*self.kek, self.timing.settle).await
        {
            tracing::warn!(code = error.code.as_str(), "the cluster's key could not be rotated");
        }
        let timing = pool_keys::Timing { settle: self.timing.settle, keep: self.timing.keep };
        if let Err(error) = pool_keys::advance(&self.world, timing).await {
            tracing::warn!(code = error.code.as_str(), "pools could not be sealed again");
        }
    }
}
