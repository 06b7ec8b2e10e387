//! Connections: accepting, encrypting, limiting and draining them. What is said on them is the
//! service's business.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use axum::body::Body;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tower::{Service, ServiceExt as _};

use crate::fronts::Connection;
use crate::metrics::Metrics;

mod tls;

/// A byte stream in both directions.
pub trait Io: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// Turns an accepted connection into an encrypted one.
#[async_trait::async_trait]
pub trait TlsAcceptor: Send + Sync {
    /// Does the handshake.
    ///
    /// # Errors
    /// When the client does not do its part.
    async fn accept(&self, stream: TcpStream) -> io::Result<Box<dyn Io>>;
}

/// Limits on connections.
#[derive(Clone, Debug)]
pub struct Options {
    /// Connections at once; beyond that new ones wait in the system's queue.
    pub max_connections: usize,
    /// How long the headers of a request, or a TLS handshake, may take.
    pub header_timeout: Duration,
    /// How long a connection may be without a request.
    pub idle_timeout: Duration,
    /// How long requests may still run after the order to stop.
    pub drain_timeout: Duration,
    /// Bytes of a request's headers.
    pub max_header_bytes: usize,
    /// Headers of a request.
    pub max_headers: usize,
    /// Requests at once on one HTTP/2 connection.
    pub max_streams: u32,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            max_connections: 10_000,
            header_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(120),
            drain_timeout: Duration::from_secs(30),
            max_header_bytes: 32 * 1024,
            max_headers: 100,
            max_streams: 128,
        }
    }
}

/// How a server ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drained {
    /// Connections that were cut because their requests did not end in time.
    pub cut: usize,
}

/// Serves a listener until `shutdown` completes, then lets requests under way finish.
///
/// Both HTTP versions are spoken on the one port, with and without TLS.
pub async fn serve<S>(
    listener: TcpListener,
    tls: Option<Arc<dyn TlsAcceptor>>,
    service: S,
    options: Options,
    metrics: Metrics,
    shutdown: impl Future<Output = ()>,
) -> Drained
where
    S: Service<Request<Body>, Response = Response<Body>, Error = std::convert::Infallible>
        + Clone
        + Send
        + Sync
        + 'static,
    S::Future: Send,
{
    let places = Arc::new(Semaphore::new(options.max_connections.clamp(1, Semaphore::MAX_PERMITS)));
    let (stop, stopped) = watch::channel(false);
    let options = Arc::new(options);
    let mut tasks = JoinSet::new();
    let mut shutdown = pin!(shutdown);
    loop {
        let accepted = tokio::select! {
            () = &mut shutdown => break,
            // Finished connections are taken out, so that the set does not grow.
            Some(_) = tasks.join_next(), if !tasks.is_empty() => continue,
            accepted = accept(&listener, &places) => accepted,
        };
        let (stream, peer, place) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of file handles, mostly: trying again at once would only burn the processor.
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        let guard = metrics.connection();
        let connection = connect(
            stream,
            peer,
            tls.clone(),
            service.clone(),
            Arc::clone(&options),
            stopped.clone(),
        );
        tasks.spawn(async move {
            connection.await;
            drop((place, guard));
        });
    }
    drop(listener);
    // Receivers are gone only when every connection is.
    let _ = stop.send(true);
    let drained = async { while tasks.join_next().await.is_some() {} };
    if tokio::time::timeout(options.drain_timeout, drained).await.is_ok() {
        return Drained { cut: 0 };
    }
    let cut = tasks.len();
    tasks.shutdown().await;
    tracing::warn!(cut, "connections were cut at the end of the drain time");
    Drained { cut }
}

async fn accept(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
) -> io::Result<(TcpStream, SocketAddr, tokio::sync::OwnedSemaphorePermit)> {
    let place = Arc::clone(places).acquire_owned().await.map_err(io::Error::other)?;
    let (stream, peer) = listener.accept().await?;
    stream.set_nodelay(true)?;
    Ok((stream, peer, place))
}

async fn connect<S>(
    stream: TcpStream,
    peer: SocketAddr,
    tls: Option<Arc<dyn TlsAcceptor>>,
    service: S,
    options: Arc<Options>,
    stopped: watch::Receiver<bool>,
) where
    S: Service<Request<Body>, Response = Response<Body>, Error = std::convert::Infallible>
        + Clone
        + Send
        + Sync
        + 'static,
    S::Future: Send,
{
    match tls {
        None => converse(stream, Connection { peer, tls: false }, service, &options, stopped).await,
        Some(tls) => match tokio::time::timeout(options.header_timeout, tls.accept(stream)).await {
            Ok(Ok(stream)) => {
                converse(stream, Connection { peer, tls: true }, service, &options, stopped).await
            }
            Ok(Err(error)) => tracing::debug!(%error, "a TLS handshake failed"),
            Err(_) => tracing::debug!("a TLS handshake took too long"),
        },
    }
}

/// What happens on a connection, for the watch over idle ones.
#[derive(Default)]
struct Activity {
    running: AtomicUsize,
    started: AtomicU64,
}

/// Counts a request as running until it is dropped.
struct Running(Arc<Activity>);

impl Running {
    fn start(activity: &Arc<Activity>) -> Self {
        activity.running.fetch_add(1, Ordering::Relaxed);
        activity.started.fetch_add(1, Ordering::Relaxed);
        Running(Arc::clone(activity))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::Relaxed);
    }
}

async fn converse<I, S>(
    stream: I,
    connection: Connection,
    service: S,
    options: &Options,
    mut stopped: watch::Receiver<bool>,
) where
    I: Io + 'static,
    S: Service<Request<Body>, Response = Response<Body>, Error = std::convert::Infallible>
        + Clone
        + Send
        + Sync
        + 'static,
    S::Future: Send,
{
    let activity = Arc::new(Activity::default());
    let seen = Arc::clone(&activity);
    let service = hyper::service::service_fn(move |request: Request<Incoming>| {
        let running = Running::start(&seen);
        let service = service.clone();
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(connection);
        async move {
            let response = service.oneshot(request).await;
            drop(running);
            response
        }
    });
    let builder = builder(options);
    let mut conversation = pin!(builder.serve_connection(TokioIo::new(stream), service));
    // The first look comes early: it ends connections that never said anything, which no other
    // timer watches.
    let mut look = Box::pin(tokio::time::sleep(options.header_timeout));
    let mut known = 0;
    let mut stopping = false;
    loop {
        tokio::select! {
            outcome = conversation.as_mut() => {
                if let Err(error) = outcome {
                    tracing::debug!(%error, "a connection ended with an error");
                }
                return;
            }
            changed = stopped.wait_for(|stop| *stop), if !stopping => {
                // An error means that the server itself is gone, which is an order to stop as well.
                drop(changed);
                stopping = true;
                conversation.as_mut().graceful_shutdown();
            }
            () = &mut look => {
                let started = activity.started.load(Ordering::Relaxed);
                if activity.running.load(Ordering::Relaxed) == 0 && started == known {
                    if stopping {
                        // Asked to end and nothing under way, but the other side does not close.
                        return;
                    }
                    stopping = true;
                    conversation.as_mut().graceful_shutdown();
                    look = Box::pin(tokio::time::sleep(options.header_timeout));
                } else {
                    known = started;
                    look = Box::pin(tokio::time::sleep(options.idle_timeout));
                }
            }
        }
    }
}

fn builder(options: &Options) -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(options.header_timeout)
        .max_headers(options.max_headers)
        // hyper refuses less than 8 KiB.
        .max_buf_size(options.max_header_bytes.max(8 * 1024))
        .half_close(false);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(options.max_streams)
        .max_header_list_size(u32::try_from(options.max_header_bytes).unwrap_or(u32::MAX))
        // Rapid reset (CVE-2023-44487): a client that opens and resets streams faster than they are
        // answered is cut.
        .max_pending_accept_reset_streams(20)
        .max_local_error_reset_streams(100)
        .keep_alive_interval(Duration::from_secs(30))
        .keep_alive_timeout(Duration::from_secs(20));
    builder
}
