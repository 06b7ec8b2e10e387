//! What `dev` and `serve` share: a node's groups, its ports, and the order in which they start and stop.

use std::{sync::Arc, time::Duration};

use anyhow::{Result, bail};
use conclave_gateway::metrics::Metrics;
use conclave_identity::world::World;
use conclave_outbound::inbox::DevInbox;
use conclave_shard::GroupHost;
use tokio::{net::TcpListener, sync::watch};

use crate::{
    adapters::ProcessReadiness,
    clock::SystemClock,
    compose::{self, Parts},
    metrics,
    node::{self, GroupsReady, Signals, Stop},
    output, reconcile,
};

/// The ports of a process, open already, so that a port in use is found before anything is touched.
pub struct Ports {
    /// AWS JSON, gRPC, JWKS and pages.
    pub public: TcpListener,
    /// Health and metrics.
    pub management: TcpListener,
}

/// A process from its groups to its ports.
pub struct Process {
    /// The machine's clocks.
    pub clock: Arc<SystemClock>,
    /// This node's groups.
    pub host: Arc<GroupHost>,
    /// Ports.
    pub ports: Ports,
    /// Where messages can be read, in `dev`.
    pub inbox: Option<Arc<DevInbox>>,
    /// How long the groups may take until they know a leader.
    pub ready_within: Duration,
}

impl Process {
    /// Serves until it is told to stop. `prepare` runs when the directory is open and before the public
    /// port is served; what it answers is printed when everything is ready.
    pub async fn run<F>(self, parts: Parts, prepare: impl FnOnce(Arc<World>) -> F) -> Result<()>
    where
        F: Future<Output = Result<String>>,
    {
        let mut signals = Signals::install()?;
        let mut fatal = self.host.fatal();
        let metrics = Metrics::new(
            env!("CARGO_PKG_VERSION"),
            option_env!("CONCLAVE_COMMIT").unwrap_or("unknown"),
        );
        metrics::register_groups(&metrics, &self.host);
        let (stop, stopping) = watch::channel(false);
        let (opening, open) = watch::channel(false);
        let readiness = Arc::new(ProcessReadiness {
            parts: vec![Arc::new(GroupsReady(Arc::clone(&self.host)))],
            open,
            stopping: stopping.clone(),
        });
        let management = node::serve_management(
            self.ports.management,
            metrics.clone(),
            readiness.clone(),
            stopping.clone(),
        );

        let opened = tokio::select! {
            opened = open_directory(&self.host, self.ready_within, &parts, prepare) => Some(opened?),
            stop = signals.wait(&mut fatal) => {
                if let Stop::Fatal(reason) = stop {
                    bail!("{reason}");
                }
                None
            }
        };
        if let Some((world, ready)) = opened {
            let reconciling = reconcile::start(Arc::clone(&world), stopping.clone());
            let gateway = compose::gateway(&world, &self.clock, &metrics, readiness, self.inbox)?;
            let serving = node::serve_public(self.ports.public, gateway, metrics, stopping);
            opening.send_replace(true);
            output::line(&ready)?;
            if let Stop::Fatal(reason) = signals.wait(&mut fatal).await {
                // nothing can be acknowledged any more: there is nothing to wait for
                bail!("{reason}");
            }
            stop.send_replace(true);
            serving.await?;
            reconciling.await?;
        }
        stop.send_replace(true);
        management.await?;
        drop(parts);
        self.host.stop().await;
        Ok(())
    }
}

async fn open_directory<F>(
    host: &GroupHost,
    ready_within: Duration,
    parts: &Parts,
    prepare: impl FnOnce(Arc<World>) -> F,
) -> Result<(Arc<World>, String)>
where
    F: Future<Output = Result<String>>,
{
    if !host.wait_ready(ready_within).await {
        bail!("the groups were not ready within {} s", ready_within.as_secs());
    }
    let world = compose::world(parts).await?;
    let ready = prepare(Arc::clone(&world)).await?;
    Ok((world, ready))
}
