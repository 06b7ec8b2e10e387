//! What `dev` and `serve` share: a node's groups, its ports, and the order in which they start and stop.

use std::{sync::Arc, time::Duration};

use anyhow::{Result, bail};
use conclave_gateway::{management::Readiness, metrics::Metrics};
use conclave_identity::{directory::OpenError, world::World};
use conclave_outbound::inbox::DevInbox;
use conclave_shard::GroupHost;
use conclave_store::StoreError;
use tokio::{net::TcpListener, sync::watch, task::JoinHandle};

use crate::{
    adapters::ProcessReadiness,
    certificates::{Certificates, Watching},
    clock::SystemClock,
    compose::{self, Parts},
    delivery_metrics, key_work, metrics,
    node::{self, Signals, Stop},
    output, reconcile, trigger_metrics, user_imports,
};

/// Between two attempts to reach the cluster at the start.
const TRY_AGAIN_AFTER: Duration = Duration::from_secs(1);

/// The ports of a process, open already, so that a port in use is found before anything is touched.
pub struct Ports {
    /// AWS JSON, gRPC, JWKS and pages; `None` without a gateway.
    pub public: Option<TcpListener>,
    /// Health and metrics.
    pub management: TcpListener,
}

/// A process from its groups to its ports.
pub struct Process {
    /// The machine's clocks.
    pub clock: Arc<SystemClock>,
    /// This node's groups; `None` on a gateway without data.
    pub host: Option<Arc<GroupHost>>,
    /// Ports.
    pub ports: Ports,
    /// Their certificates.
    pub certificates: Certificates,
    /// Where messages can be read, in `dev`.
    pub inbox: Option<Arc<DevInbox>>,
    /// How long the groups may take until they know a leader.
    pub ready_within: Duration,
    /// What has to be ready.
    pub ready: Vec<Arc<dyn Readiness>>,
}

/// What runs from the start to the end, with or without a gateway.
struct Running {
    signals: Signals,
    fatal: watch::Receiver<Option<String>>,
    /// Without groups nothing is ever sent.
    _never: watch::Sender<Option<String>>,
    _watching: Watching,
    metrics: Metrics,
    stop: watch::Sender<bool>,
    open: watch::Sender<bool>,
    readiness: Arc<ProcessReadiness>,
    management: JoinHandle<()>,
}

impl Process {
    /// Serves until it is told to stop. `prepare` runs when the directory is open and before the public
    /// port is served; what it answers is printed when everything is ready.
    pub async fn run<F>(self, mut parts: Parts, prepare: impl FnOnce(Arc<World>) -> F) -> Result<()>
    where
        F: Future<Output = Result<String>>,
    {
        let (clock, inbox, ready_within) =
            (self.clock.clone(), self.inbox.clone(), self.ready_within);
        let (host, certificate) = (self.host.clone(), self.certificates.public.clone());
        let (mut running, public) = self.start()?;
        delivery_metrics::register(&running.metrics, parts.deliveries.clone());
        parts.triggers = trigger_metrics::metered(&running.metrics, parts.triggers);
        let opened = tokio::select! {
            opened = open_directory(host.as_deref(), ready_within, &parts, prepare) => Some(opened?),
            stop = running.signals.wait(&mut running.fatal) => {
                if let Stop::Fatal(reason) = stop {
                    bail!("{reason}");
                }
                None
            }
        };
        if let (Some((world, ready)), Some(public)) = (opened, public) {
            let (readiness, metrics) = (running.readiness.clone(), running.metrics.clone());
            let reconciling = reconcile::start(Arc::clone(&world), running.stop.subscribe());
            let importing = user_imports::start(Arc::clone(&world), running.stop.subscribe());
            let keys = key_work::start(Arc::clone(&world), &parts, running.stop.subscribe());
            let audit = parts.audit.clone();
            let gateway = compose::gateway(&world, &clock, &metrics, readiness, inbox, audit)?;
            let stopping = running.stop.subscribe();
            let serving = node::serve_public(public, certificate, gateway, metrics, stopping);
            running.open.send_replace(true);
            output::line(&ready)?;
            if let Stop::Fatal(reason) = running.signals.wait(&mut running.fatal).await {
                // nothing can be acknowledged any more: there is nothing to wait for
                bail!("{reason}");
            }
            running.stop.send_replace(true);
            serving.await?;
            reconciling.await?;
            importing.await?;
            keys.await?;
        }
        running.stop.send_replace(true);
        running.management.await?;
        drop(parts);
        if let Some(host) = host {
            host.stop().await;
        }
        Ok(())
    }

    /// Holds groups until it is told to stop, and serves nothing but the internal port. What `ready`
    /// answers is printed when the groups are ready.
    pub async fn run_without_gateway(self, ready: impl FnOnce() -> String) -> Result<()> {
        let ready_within = self.ready_within;
        let host = self.host.clone();
        let (mut running, _) = self.start()?;
        let started = async {
            match &host {
                Some(host) => wait_ready(host, ready_within).await,
                None => Ok(()),
            }
        };
        let stopped = tokio::select! {
            started = started => {
                started?;
                running.open.send_replace(true);
                output::line(&ready())?;
                running.signals.wait(&mut running.fatal).await
            }
            stop = running.signals.wait(&mut running.fatal) => stop,
        };
        if let Stop::Fatal(reason) = stopped {
            bail!("{reason}");
        }
        running.stop.send_replace(true);
        running.management.await?;
        if let Some(host) = host {
            host.stop().await;
        }
        Ok(())
    }

    /// Serves health and metrics, so that the rest of the start can be watched.
    fn start(self) -> Result<(Running, Option<TcpListener>)> {
        let signals = Signals::install()?;
        let metrics = Metrics::new(
            env!("CARGO_PKG_VERSION"),
            option_env!("CONCLAVE_COMMIT").unwrap_or("unknown"),
        );
        let (never, silent) = watch::channel(None);
        let fatal = self.host.as_ref().map_or(silent, |host| host.fatal());
        if let Some(host) = &self.host {
            metrics::register_groups(&metrics, host);
        }
        metrics::register_certificates(&metrics, self.certificates.sources());
        let watching = self.certificates.watch()?;
        let (stop, stopping) = watch::channel(false);
        let (open, opened) = watch::channel(false);
        let parts = self.ready;
        let readiness =
            Arc::new(ProcessReadiness { parts, open: opened, stopping: stopping.clone() });
        let management = node::serve_management(
            self.ports.management,
            metrics.clone(),
            readiness.clone(),
            stopping,
        );
        let _never = never;
        let running = Running {
            signals,
            fatal,
            _never,
            _watching: watching,
            metrics,
            stop,
            open,
            readiness,
            management,
        };
        Ok((running, self.ports.public))
    }
}

async fn wait_ready(host: &GroupHost, within: Duration) -> Result<()> {
    if !host.wait_ready(within).await {
        let reason = host.status().why_not_ready().unwrap_or_default();
        bail!("the groups were not ready within {} s: {reason}", within.as_secs());
    }
    Ok(())
}

async fn open_directory<F>(
    host: Option<&GroupHost>,
    ready_within: Duration,
    parts: &Parts,
    prepare: impl FnOnce(Arc<World>) -> F,
) -> Result<(Arc<World>, String)>
where
    F: Future<Output = Result<String>>,
{
    if let Some(host) = host {
        wait_ready(host, ready_within).await?;
    }
    let world = reach_world(parts, ready_within).await?;
    let ready = prepare(Arc::clone(&world)).await?;
    Ok((world, ready))
}

/// A gateway, or a node that joins, can be there before the cluster is: nodes start in any order.
async fn reach_world(parts: &Parts, within: Duration) -> Result<Arc<World>> {
    let trying = async {
        loop {
            match compose::world(parts).await {
                Err(error) if has_no_answer(&error) => {
                    tracing::warn!(error = format!("{error:#}"), "the cluster is waited for");
                    tokio::time::sleep(TRY_AGAIN_AFTER).await;
                }
                done => return done,
            }
        }
    };
    match tokio::time::timeout(within, trying).await {
        Ok(done) => done,
        Err(_) => compose::world(parts).await,
    }
}

fn has_no_answer(error: &anyhow::Error) -> bool {
    let store = match error.downcast_ref() {
        Some(OpenError::Store(error)) => error,
        _ => return false,
    };
    !matches!(store, StoreError::Invalid { .. })
}
