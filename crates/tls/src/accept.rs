//! The accepting end of the internal port.

use std::{
    io::{self, IoSlice},
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore, mpsc},
    time::{sleep, timeout},
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::server::Connected;

use crate::{
    Identity, Mutual,
    live::{Live, until_distrusted},
    material::facts,
    mutual::trusts_client,
};

/// Limits on connections of the internal port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Connections at once; more are closed.
    pub connections_max: usize,
    /// Connections at once that are in the handshake; more are closed.
    pub handshakes_max: usize,
    /// How long a handshake may take.
    pub handshake_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections_max: 4_096,
            handshakes_max: 256,
            handshake_timeout: Duration::from_secs(5),
        }
    }
}

/// Who is at the other end of an internal connection. In the extensions of every request on it.
#[derive(Debug, Clone)]
pub struct PeerInfo {
    /// From where it comes.
    pub address: SocketAddr,
    /// Whether it is encrypted; if not, it is of this machine.
    pub encrypted: bool,
    /// Whom the certificate speaks for; `None` when it does not say, or without encryption.
    pub identity: Option<Identity>,
}

/// A connection whose handshake is done.
pub struct Accepted {
    io: Io,
    peer: PeerInfo,
    _place: OwnedSemaphorePermit,
}

enum Io {
    Plain(TcpStream),
    Encrypted(Box<Live<TlsStream<TcpStream>>>),
}

/// Accepts connections until the stream is dropped; an error of one of them, or of accepting, ends nothing.
/// Without certificates the listener must be on loopback.
pub fn incoming(
    listener: TcpListener,
    certificates: Option<Arc<Mutual>>,
    limits: Limits,
) -> ReceiverStream<io::Result<Accepted>> {
    let (ready, accepted) = mpsc::channel(16);
    tokio::spawn(accept_all(listener, certificates, limits, ready));
    ReceiverStream::new(accepted)
}

async fn accept_all(
    listener: TcpListener,
    certificates: Option<Arc<Mutual>>,
    limits: Limits,
    ready: mpsc::Sender<io::Result<Accepted>>,
) {
    const PAUSE: Duration = Duration::from_millis(50);
    let places = Arc::new(Semaphore::new(limits.connections_max));
    let handshakes = Arc::new(Semaphore::new(limits.handshakes_max));
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = ready.closed() => return,
        };
        let (stream, address) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // out of file handles, mostly: trying again at once would only burn the processor
                tracing::warn!(%error, "an internal connection could not be accepted");
                sleep(PAUSE).await;
                continue;
            }
        };
        let shed = || {
            if let Some(certificates) = &certificates {
                certificates.tally().handshake_shed();
            }
            tracing::warn!(%address, "too many internal connections: one was closed");
        };
        let Ok(place) = places.clone().try_acquire_owned() else {
            shed();
            continue;
        };
        let Ok(handshake) = handshakes.clone().try_acquire_owned() else {
            shed();
            continue;
        };
        let (ready, certificates) = (ready.clone(), certificates.clone());
        tokio::spawn(async move {
            let began = begin(stream, address, certificates.as_deref(), place);
            match timeout(limits.handshake_timeout, began).await {
                Ok(Ok(accepted)) => {
                    drop(handshake);
                    // a server that has stopped takes no more
                    let _ = ready.send(Ok(accepted)).await;
                    return;
                }
                Ok(Err(error)) => {
                    tracing::debug!(%address, %error, "an internal handshake failed");
                }
                Err(_) => tracing::debug!(%address, "an internal handshake took too long"),
            }
            if let Some(certificates) = &certificates {
                certificates.tally().handshake_failed();
            }
        });
    }
}

async fn begin(
    stream: TcpStream,
    address: SocketAddr,
    certificates: Option<&Mutual>,
    place: OwnedSemaphorePermit,
) -> io::Result<Accepted> {
    stream.set_nodelay(true)?;
    let Some(certificates) = certificates else {
        let peer = PeerInfo { address, encrypted: false, identity: None };
        return Ok(Accepted { io: Io::Plain(stream), peer, _place: place });
    };
    // subscribed before the handshake, so that no change is missed
    let present = certificates.present();
    let server = present.borrow().server.clone();
    let stream = TlsAcceptor::from(server).accept(stream).await?;
    let chain: Vec<_> = stream
        .get_ref()
        .1
        .peer_certificates()
        .ok_or_else(|| io::Error::other("no certificate"))?
        .iter()
        .map(|certificate| certificate.clone().into_owned())
        .collect();
    let facts = facts(&chain).ok_or_else(|| io::Error::other("no X.509 certificate"))?;
    let watch =
        until_distrusted(present, certificates.time(), chain, facts.not_after_s, trusts_client);
    let io = Io::Encrypted(Box::new(Live::new(stream, watch)));
    let peer = PeerInfo { address, encrypted: true, identity: facts.identity };
    Ok(Accepted { io, peer, _place: place })
}

impl Connected for Accepted {
    type ConnectInfo = PeerInfo;

    fn connect_info(&self) -> PeerInfo {
        self.peer.clone()
    }
}

impl AsyncRead for Accepted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match &mut self.io {
            Io::Plain(io) => Pin::new(io).poll_read(cx, buffer),
            Io::Encrypted(io) => Pin::new(io).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Accepted {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match &mut self.io {
            Io::Plain(io) => Pin::new(io).poll_write(cx, bytes),
            Io::Encrypted(io) => Pin::new(io).poll_write(cx, bytes),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut self.io {
            Io::Plain(io) => Pin::new(io).poll_write_vectored(cx, slices),
            Io::Encrypted(io) => Pin::new(io).poll_write_vectored(cx, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match &self.io {
            Io::Plain(io) => io.is_write_vectored(),
            Io::Encrypted(io) => io.is_write_vectored(),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.io {
            Io::Plain(io) => Pin::new(io).poll_flush(cx),
            Io::Encrypted(io) => Pin::new(io).poll_flush(cx),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.io {
            Io::Plain(io) => Pin::new(io).poll_shutdown(cx),
            Io::Encrypted(io) => Pin::new(io).poll_shutdown(cx),
        }
    }
}
