//! Connections to shard nodes, one for each address.

use std::{collections::HashMap, fs, io, net::IpAddr, path::PathBuf, time::Duration};

use conclave_store::proto::shard_client::ShardClient;
use parking_lot::Mutex;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};

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

pub(crate) struct Channels {
    tls: Option<ClientTlsConfig>,
    open: Mutex<HashMap<String, Channel>>,
}

impl Channels {
    /// # Errors
    /// A certificate file cannot be read.
    pub(crate) fn new(tls: Option<&TlsFiles>) -> io::Result<Self> {
        let tls = tls.map(TlsFiles::load).transpose()?;
        Ok(Self { tls, open: Mutex::default() })
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
        if self.tls.is_none() && !is_loopback(address) {
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
        Ok(endpoint.connect_lazy())
    }
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
