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
    node::{self, GroupsReady, Stop},
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
    /// Serves until it is told to stop. `opened` runs when the directory is open and before the public
    /// port is served.
    pub async fn run<F>(self, parts: Parts, opened: impl FnOnce(Arc<World>) -> F) -> Result<()>
    where
        F: Future<Output = Result<()>>,
    {
        let Self { clock, host, ports, inbox, ready_within } = self;
        let metrics = Metrics::new(env!("CARGO_PKG_VERSION"), option_env!("CONCLAVE_COMMIT").unwrap_or("unknown"));
        metrics::register_groups(&metrics, &host);
        let (stop, stopping) = watch::channel(false);
        let (opening, open) = watch::channel(false);
        let readiness = Arc::new(ProcessReadiness {
            parts: vec![Arc::new(GroupsReady(Arc::clone(&host)))],
            open,
            stopping: stopping.clone(),
        });
        let management = node::serve_management(
            ports.management,
            metrics.clone(),
            readiness.clone(),
            stopping.clone(),
        );
        if !host.wait_ready(ready_within).await {
            bail!("the groups were not ready within {} s", ready_within.as_secs());
        }
        let world = compose::world(&parts).await?;
        let gateway = compose::gateway(&world, &clock, &metrics, readiness, inbox)?;
        let serving = node::serve_public(ports.public, gateway, metrics, stopping);
        opening.send_replace(true);
        opened(Arc::clone(&world)).await?;

        let why = node::wait_for_stop(host.fatal()).await?;
        stop.send_replace(true);
        serving.await?;
        management.await?;
        drop((world, parts));
        match Arc::try_unwrap(host) {
            Ok(host) => host.shutdown().await,
            Err(_) => tracing::warn!("the groups are still in use and are not stopped in order"),
        }
        match why {
            Stop::Signal => Ok(()),
            Stop::Fatal(reason) => bail!("{reason}"),
        }
    }
}
