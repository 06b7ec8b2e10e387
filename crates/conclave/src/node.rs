//! A running process: its ports, and how it stops.

use std::{net::SocketAddr, sync::Arc};

use anyhow::{Context, Result};
use async_trait::async_trait;
use conclave_gateway::{
    gateway::Gateway,
    management::{self, Management, Readiness},
    metrics::Metrics,
    server,
};
use conclave_shard::{GroupHost, RegisteredNode};
use conclave_tls::Public;
use tokio::{net::TcpListener, signal::unix, sync::watch, task::JoinHandle};

/// Ready when every group in which this node votes has recovered and knows a leader, and clock and disk can be used.
pub struct GroupsReady(pub Arc<GroupHost>);

#[async_trait]
impl Readiness for GroupsReady {
    async fn check(&self) -> Result<(), String> {
        self.0.status().why_not_ready().map_or(Ok(()), Err)
    }
}

/// Ready when the cluster knows this node.
pub struct Registered(pub watch::Receiver<Option<RegisteredNode>>);

#[async_trait]
impl Readiness for Registered {
    async fn check(&self) -> Result<(), String> {
        match &*self.0.borrow() {
            Some(_) => Ok(()),
            None => Err("the node is not registered yet".to_owned()),
        }
    }
}

/// Ready while the directory is reached.
pub struct ClusterReached(pub watch::Receiver<bool>);

#[async_trait]
impl Readiness for ClusterReached {
    async fn check(&self) -> Result<(), String> {
        match *self.0.borrow() {
            true => Ok(()),
            false => Err("the directory is not reached".to_owned()),
        }
    }
}

/// Opens a port.
pub async fn listen(address: SocketAddr, what: &str) -> Result<TcpListener> {
    TcpListener::bind(address)
        .await
        .with_context(|| format!("the {what} port {address} cannot be opened"))
}

/// Serves health and metrics until `stopped` turns true. It starts first, so that a start can be watched.
pub fn serve_management(
    listener: TcpListener,
    metrics: Metrics,
    readiness: Arc<dyn Readiness>,
    mut stopped: watch::Receiver<bool>,
) -> JoinHandle<()> {
    let router = management::router(Management { metrics, readiness });
    tokio::spawn(async move {
        let until = async move {
            // an error means that the sender is gone: the process ends
            let _ = stopped.wait_for(|stopped| *stopped).await;
        };
        if let Err(error) = axum::serve(listener, router).with_graceful_shutdown(until).await {
            tracing::error!(%error, "the management port failed");
        }
    })
}

/// Why a process stops.
pub enum Stop {
    /// It was told to.
    Signal,
    /// A group cannot go on: the process must end, and say so.
    Fatal(String),
}

/// SIGTERM and SIGINT, from the moment that this is made.
pub struct Signals {
    terminate: unix::Signal,
    interrupt: unix::Signal,
}

impl Signals {
    /// From here on the process ends in order, whatever it is doing.
    pub fn install() -> Result<Self> {
        Ok(Self {
            terminate: unix::signal(unix::SignalKind::terminate())?,
            interrupt: unix::signal(unix::SignalKind::interrupt())?,
        })
    }

    /// Waits for a signal, or for a group that cannot go on.
    pub async fn wait(&mut self, fatal: &mut watch::Receiver<Option<String>>) -> Stop {
        tokio::select! {
            _ = self.terminate.recv() => Stop::Signal,
            _ = self.interrupt.recv() => Stop::Signal,
            reason = fatal.wait_for(Option::is_some) => match reason {
                Ok(reason) => Stop::Fatal(reason.clone().unwrap_or_default()),
                Err(_) => Stop::Fatal("the groups ended".to_owned()),
            },
        }
    }
}

/// Serves the public port, with TLS where there is a certificate, until `stopping` turns true, then lets requests
/// finish.
pub fn serve_public(
    listener: TcpListener,
    certificate: Option<Arc<Public>>,
    gateway: Gateway,
    metrics: Metrics,
    mut stopping: watch::Receiver<bool>,
) -> JoinHandle<()> {
    tokio::spawn(async move {
        let until = async move {
            let _ = stopping.wait_for(|stopping| *stopping).await;
        };
        let tls = certificate.map(|certificate| certificate as Arc<dyn server::TlsAcceptor>);
        let drained =
            server::serve(listener, tls, gateway, server::Options::default(), metrics, until).await;
        if drained.cut > 0 {
            tracing::warn!(connections = drained.cut, "requests did not end in time");
        }
    })
}
