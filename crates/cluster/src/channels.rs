//! Connections to shard nodes, one for each address.

use std::{collections::HashMap, fs, io, net::IpAddr, path::PathBuf, sync::Arc, time::Duration};

use async_trait::async_trait;
use conclave_store::proto::shard_client::ShardClient;
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite};
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity, Uri};
use tower::{Service, service_fn};

/// Addresses that are known at a time; a cluster has fewer.
const ADDRESSES_MAX: usize = 256;
/// Bytes of one answer.
const MESSAGE_BYTES_MAX: usize = 8 << 20;
const CONNECT_TIMEOUT: Duration = Duration::from_millis(500);
/// A connection whose node says nothing for the sum of both is given up.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_millis(500);
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_millis(1_000);

/// Certificates for mutual TLS with shard nodes, PEM files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// Issuers of the certificates that shard nodes show.
    pub ca: PathBuf,
    /// This gateway's certificate chain.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
    /// The name that every node's certificate has; `None`: the host part of its address.
    pub server_name: Option<String>,
}

impl TlsFiles {
    fn load(&self) -> io::Result<ClientTlsConfig> {
        let read = |path: &PathBuf| {
            fs::read(path).map_err(|e| io::Error::new(e.kind(), format!("{}: {e}", path.display())))
        };
        let config = ClientTlsConfig::new()
            .ca_certificate(Certificate::from_pem(read(&self.ca)?))
            .identity(Identity::from_pem(read(&self.certificate)?, read(&self.key)?));
        Ok(match &self.server_name {
            Some(name) => config.domain_name(name.clone()),
            None => config,
        })
    }
}

/// A connection that a [`Connect`] has made.
pub trait Connection: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Connection for T {}

/// Makes the connections instead of TCP: the network of a simulation.
#[async_trait]
pub trait Connect: Send + Sync + 'static {
    /// # Errors
    /// There is nobody at `address`, a `host:port`.
    async fn connect(&self, address: &str) -> io::Result<Box<dyn Connection>>;
}

pub(crate) struct Channels {
    tls: Option<ClientTlsConfig>,
    connect: Option<Arc<dyn Connect>>,
    open: Mutex<HashMap<String, Channel>>,
}

impl Channels {
    /// # Errors
    /// A certificate file cannot be read.
    pub(crate) fn new(
        tls: Option<&TlsFiles>,
        connect: Option<Arc<dyn Connect>>,
    ) -> io::Result<Self> {
        let tls = tls.map(TlsFiles::load).transpose()?;
        Ok(Self { tls, connect, open: Mutex::default() })
    }

    /// A client for the node at `address`. The connection is made when it is first used.
    ///
    /// # Errors
    /// The address is none, or is another machine and there are no certificates.
    pub(crate) fn client(&self, address: &str) -> io::Result<ShardClient<Channel>> {
        let mut open = self.open.lock();
        let channel = match open.get(address) {
            Some(channel) => channel.clone(),
            None => {
                let channel = self.connect_lazily(address)?;
                if open.len() >= ADDRESSES_MAX {
                    open.clear();
                }
                open.insert(address.to_owned(), channel.clone());
                channel
            }
        };
        Ok(ShardClient::new(channel)
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .max_encoding_message_size(MESSAGE_BYTES_MAX))
    }

    fn connect_lazily(&self, address: &str) -> io::Result<Channel> {
        if self.tls.is_none() && self.connect.is_none() && !is_loopback(address) {
            return Err(io::Error::other(format!("plain text to {address}: only to this machine")));
        }
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        let mut endpoint = Endpoint::from_shared(format!("{scheme}://{address}"))
            .map_err(io::Error::other)?
            .connect_timeout(CONNECT_TIMEOUT)
            .tcp_nodelay(true)
            .http2_keep_alive_interval(KEEP_ALIVE_INTERVAL)
            .keep_alive_timeout(KEEP_ALIVE_TIMEOUT)
            .keep_alive_while_idle(true)
            .initial_stream_window_size(4 << 20)
            .initial_connection_window_size(8 << 20);
        if let Some(tls) = &self.tls {
            endpoint = endpoint.tls_config(tls.clone()).map_err(io::Error::other)?;
        }
        Ok(match self.connect.clone() {
            Some(connect) => endpoint.connect_with_connector_lazy(connector(connect)),
            None => endpoint.connect_lazy(),
        })
    }
}

/// In the form that tonic takes.
fn connector(
    connect: Arc<dyn Connect>,
) -> impl Service<Uri, Response = TokioIo<Box<dyn Connection>>, Error = io::Error, Future: Send> {
    service_fn(move |uri: Uri| {
        let connect = connect.clone();
        async move {
            let address = uri.authority().map_or("", |authority| authority.as_str());
            connect.connect(address).await.map(TokioIo::new)
        }
    })
}

/// Whether `host:port` is this machine: the only place where plain text may go.
fn is_loopback(address: &str) -> bool {
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_text_goes_to_this_machine_only() {
        for address in ["127.0.0.1:9230", "[::1]:9230", "localhost:9230"] {
            assert!(is_loopback(address), "{address}");
        }
        for address in ["10.0.0.1:9230", "localhost.example.com:9230", "0.0.0.0:9230", ""] {
            assert!(!is_loopback(address), "{address}");
        }
    }
}
