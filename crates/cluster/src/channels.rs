//! Connections to shard nodes, one for each address.

use std::{collections::HashMap, io, sync::Arc};

use async_trait::async_trait;
use conclave_store::proto::shard_client::ShardClient;
use conclave_tls::Mutual;
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite};
use tonic::transport::{Channel, Uri};
use tower::{Service, service_fn};

/// Addresses that are known at a time; a cluster has fewer.
const ADDRESSES_MAX: usize = 256;
/// Bytes of one answer.
const MESSAGE_BYTES_MAX: usize = 8 << 20;

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
    tls: Option<Arc<Mutual>>,
    connect: Option<Arc<dyn Connect>>,
    open: Mutex<HashMap<String, Channel>>,
}

impl Channels {
    pub(crate) fn new(tls: Option<Arc<Mutual>>, connect: Option<Arc<dyn Connect>>) -> Self {
        Self { tls, connect, open: Mutex::default() }
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
        match self.connect.clone() {
            Some(connect) => {
                let endpoint = conclave_tls::endpoint(address)?;
                Ok(endpoint.connect_with_connector_lazy(connector(connect)))
            }
            None => conclave_tls::channel(address, self.tls.as_ref(), None),
        }
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
