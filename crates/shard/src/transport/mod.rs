//! What shard nodes say to each other: openraft's messages over gRPC, on the internal port.
//!
//! Each pair of nodes has three connections, so that entries, heartbeats and snapshots do not wait
//! for one another. Every request says which cluster, group, nodes and data it is meant for, and the
//! receiver checks all of it.

mod client;
mod control;
mod control_service;
mod peer;
mod server;

use std::{fs, io, net::IpAddr, path::PathBuf, time::Duration};

pub(crate) use client::Peers;
pub(crate) use control::ControlClient;
pub(crate) use control_service::ControlService;
pub(crate) use peer::CheckPeer;
pub(crate) use server::{GroupDirectory, RaftService, ReplicaHandles};
use tonic::transport::{
    Certificate, Channel, ClientTlsConfig, Endpoint, Identity, ServerTlsConfig,
};

/// The response header in which a node says which data it has.
const INCARNATION_HEADER: &str = "conclave-incarnation-bin";

/// The response header with a node's wall clock, milliseconds since 1970.
const CLOCK_HEADER: &str = "conclave-clock-ms";

/// Bytes of one message between nodes: a batch is cut at 1 MiB, a single entry may be larger.
const MESSAGE_BYTES_MAX: usize = 8 << 20;

const CONNECT_TIMEOUT: Duration = Duration::from_millis(500);
/// A connection whose peer says nothing for the sum of both is given up.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_millis(500);
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_millis(1_000);

/// Certificates for mutual TLS on the internal port, PEM files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// Issuers of the certificates that peers and gateways show.
    pub ca: PathBuf,
    /// This node's certificate chain.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
    /// The name that every node's certificate has; `None`: the host part of its address.
    pub server_name: Option<String>,
}

/// What [`TlsFiles`] hold.
#[derive(Clone)]
pub(crate) struct Tls {
    ca: Certificate,
    identity: Identity,
    server_name: Option<String>,
}

impl Tls {
    /// # Errors
    /// A file cannot be read.
    pub(crate) fn load(files: &TlsFiles) -> io::Result<Self> {
        let read = |path: &PathBuf| {
            fs::read(path).map_err(|e| io::Error::new(e.kind(), format!("{}: {e}", path.display())))
        };
        Ok(Self {
            ca: Certificate::from_pem(read(&files.ca)?),
            identity: Identity::from_pem(read(&files.certificate)?, read(&files.key)?),
            server_name: files.server_name.clone(),
        })
    }

    pub(crate) fn server(&self) -> ServerTlsConfig {
        ServerTlsConfig::new()
            .identity(self.identity.clone())
            .client_ca_root(self.ca.clone())
            .timeout(Duration::from_secs(5))
    }

    pub(crate) fn client(&self) -> ClientTlsConfig {
        let config =
            ClientTlsConfig::new().ca_certificate(self.ca.clone()).identity(self.identity.clone());
        match &self.server_name {
            Some(name) => config.domain_name(name.clone()),
            None => config,
        }
    }
}

/// A connection to an internal port, made when it is first used.
///
/// # Errors
/// The address is none, or is another machine and there are no certificates.
fn connect_lazily(tls: Option<&Tls>, address: &str) -> io::Result<Channel> {
    if tls.is_none() && !is_loopback(address) {
        return Err(io::Error::other(format!("plain text to {address}: only to this machine")));
    }
    let scheme = if tls.is_some() { "https" } else { "http" };
    let mut endpoint = Endpoint::from_shared(format!("{scheme}://{address}"))
        .map_err(io::Error::other)?
        .connect_timeout(CONNECT_TIMEOUT)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(KEEP_ALIVE_INTERVAL)
        .keep_alive_timeout(KEEP_ALIVE_TIMEOUT)
        .keep_alive_while_idle(true)
        .initial_stream_window_size(4 << 20)
        .initial_connection_window_size(8 << 20);
    if let Some(tls) = tls {
        endpoint = endpoint.tls_config(tls.client()).map_err(io::Error::other)?;
    }
    Ok(endpoint.connect_lazy())
}

/// Whether `host:port` is this machine: the only place where plain text may go.
pub(crate) fn is_loopback(address: &str) -> bool {
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_machine_is_loopback() {
        for address in ["127.0.0.1:9230", "[::1]:9230", "localhost:9230", "127.8.8.8:1"] {
            assert!(is_loopback(address), "{address}");
        }
        for address in ["10.0.0.1:9230", "localhost.example.com:9230", "0.0.0.0:9230", ""] {
            assert!(!is_loopback(address), "{address}");
        }
    }
}
