//! The calling end of the internal port.

use std::{
    future::Future,
    io,
    net::IpAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use http::Uri;
use hyper_util::{client::legacy::connect::HttpConnector, rt::TokioIo};
use tokio::{net::TcpStream, time::timeout};
use tokio_rustls::{TlsConnector, client::TlsStream};
use tonic::transport::{Channel, Endpoint};
use tower::Service;

use crate::{
    Mutual, Role,
    live::{Live, until_distrusted},
    material::{Facts, facts},
    mutual::trusts_server,
};

const CONNECT_TIMEOUT: Duration = Duration::from_millis(500);
/// A node under load takes its time for the handshake; one that is stopped never answers.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(3);
/// A connection whose node says nothing for the sum of both is given up.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_millis(500);
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_millis(1_000);

/// A connection to the internal port at `host:port`, made when it is first used and again when it has ended. With
/// `node_id`, only the node of that number is spoken to.
///
/// # Errors
/// The address is none, or is another machine and there are no certificates.
pub fn channel(
    address: &str,
    certificates: Option<&Arc<Mutual>>,
    node_id: Option<u64>,
) -> io::Result<Channel> {
    if certificates.is_none() && !is_loopback(address) {
        return Err(io::Error::other(format!("plain text to {address}: only to this machine")));
    }
    let endpoint = endpoint(address)?;
    let Some(certificates) = certificates else {
        return Ok(endpoint.connect_timeout(CONNECT_TIMEOUT).connect_lazy());
    };
    let mut tcp = HttpConnector::new();
    tcp.set_nodelay(true);
    tcp.set_connect_timeout(Some(CONNECT_TIMEOUT));
    let connector = Connector { tcp, certificates: certificates.clone(), node_id };
    Ok(endpoint.connect_with_connector_lazy(connector))
}

/// How the internal port at `host:port` is spoken to, whatever makes the connection.
///
/// # Errors
/// The address is none.
pub fn endpoint(address: &str) -> io::Result<Endpoint> {
    // `http` with certificates too: encryption is the connector's business, not that of the endpoint
    let endpoint = Endpoint::from_shared(format!("http://{address}")).map_err(io::Error::other)?;
    Ok(endpoint
        .tcp_nodelay(true)
        .http2_keep_alive_interval(KEEP_ALIVE_INTERVAL)
        .keep_alive_timeout(KEEP_ALIVE_TIMEOUT)
        .keep_alive_while_idle(true)
        .initial_stream_window_size(4 << 20)
        .initial_connection_window_size(8 << 20))
}

/// Whether `host:port` is this machine: the only place where plain text may go.
pub fn is_loopback(address: &str) -> bool {
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// Encrypts with the certificates of the moment at which a connection begins.
#[derive(Clone)]
struct Connector {
    tcp: HttpConnector,
    certificates: Arc<Mutual>,
    node_id: Option<u64>,
}

type Encrypted = TokioIo<Live<TlsStream<TcpStream>>>;

impl Service<Uri> for Connector {
    type Response = Encrypted;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Encrypted>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.tcp.poll_ready(cx).map_err(io::Error::other)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let connecting = self.tcp.call(uri.clone());
        let (certificates, node_id) = (self.certificates.clone(), self.node_id);
        Box::pin(async move {
            let stream = connecting.await.map_err(io::Error::other)?.into_inner();
            let begun = encrypt(stream, uri.host().unwrap_or_default(), &certificates, node_id);
            match timeout(HANDSHAKE_TIMEOUT, begun).await {
                Ok(outcome) => outcome.map(TokioIo::new).inspect_err(|error| {
                    tracing::debug!(%uri, %error, "an internal handshake failed");
                }),
                Err(_) => {
                    Err(io::Error::new(io::ErrorKind::TimedOut, "the handshake took too long"))
                }
            }
        })
    }
}

async fn encrypt(
    stream: TcpStream,
    host: &str,
    certificates: &Mutual,
    node_id: Option<u64>,
) -> io::Result<Live<TlsStream<TcpStream>>> {
    let name = certificates.server_name(host).map_err(io::Error::other)?;
    // subscribed before the handshake, so that no change is missed
    let present = certificates.present();
    let client = present.borrow().client.clone();
    let stream = TlsConnector::from(client).connect(name.clone(), stream).await?;
    let session = stream.get_ref().1;
    if session.alpn_protocol() != Some(b"h2") {
        return Err(io::Error::other("the other end does not speak HTTP/2"));
    }
    let chain: Vec<_> = session
        .peer_certificates()
        .ok_or_else(|| io::Error::other("no certificate"))?
        .iter()
        .map(|certificate| certificate.clone().into_owned())
        .collect();
    let facts = facts(&chain).ok_or_else(|| io::Error::other("no X.509 certificate"))?;
    check_node(&facts, certificates, node_id)?;
    let watch = until_distrusted(
        present,
        certificates.time(),
        chain,
        facts.not_after_s,
        trusts_server(name),
    );
    Ok(Live::new(stream, watch))
}

/// Whoever answers must be a node of our cluster: a gateway's certificate serves nobody.
fn check_node(facts: &Facts, certificates: &Mutual, node_id: Option<u64>) -> io::Result<()> {
    let own = certificates.identity().map(|own| own.cluster_id);
    match &facts.identity {
        Some(peer)
            if peer.role == Role::Node
                && own.is_none_or(|cluster_id| cluster_id == peer.cluster_id)
                && node_id.is_none_or(|node_id| node_id == peer.node_id) =>
        {
            Ok(())
        }
        Some(peer) => Err(io::Error::other(format!("the certificate is that of {peer}"))),
        None => Err(io::Error::other("the certificate names no cluster")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_text_goes_to_this_machine_only() {
        for address in ["127.0.0.1:9230", "[::1]:9230", "localhost:9230", "127.8.8.8:1"] {
            assert!(is_loopback(address), "{address}");
        }
        for address in ["10.0.0.1:9230", "localhost.example.com:9230", "0.0.0.0:9230", ""] {
            assert!(!is_loopback(address), "{address}");
        }
    }
}
