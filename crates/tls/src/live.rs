//! A connection that ends when the certificate of its other end is no longer good: connections between nodes
//! live for months, and a certificate is checked only when they begin.

use std::{
    future::Future,
    io::{self, IoSlice},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use rustls_pki_types::{CertificateDer, UnixTime};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    sync::watch,
};

use crate::{TimeProvider, now_s};

/// How often the wall clock is looked at, which may be set.
const CLOCK_CHECK_MAX: Duration = Duration::from_secs(60);

/// Completes when the certificate has expired, or `verify` says that it is not good by what is present.
pub(crate) async fn until_distrusted<P>(
    mut present: watch::Receiver<Arc<P>>,
    time: Arc<dyn TimeProvider>,
    chain: Vec<CertificateDer<'static>>,
    not_after_s: u64,
    verify: impl Fn(&P, &[CertificateDer<'static>], UnixTime) -> bool,
) -> &'static str {
    loop {
        let now = now_s(&*time);
        if now > not_after_s {
            return "the peer's certificate has expired";
        }
        let left = Duration::from_secs(not_after_s - now + 1).min(CLOCK_CHECK_MAX);
        tokio::select! {
            changed = present.changed() => {
                if changed.is_err() {
                    // nobody can change it any more
                    std::future::pending::<()>().await;
                }
                let current = present.borrow_and_update().clone();
                let now = UnixTime::since_unix_epoch(Duration::from_secs(now_s(&*time)));
                if !verify(&current, &chain, now) {
                    return "the authority of the peer's certificate is trusted no more";
                }
            }
            () = tokio::time::sleep(left) => {}
        }
    }
}

/// A stream that fails once its watch is over.
pub(crate) struct Live<S> {
    stream: S,
    watch: Pin<Box<dyn Future<Output = &'static str> + Send>>,
    over: Option<&'static str>,
}

impl<S> Live<S> {
    pub(crate) fn new(
        stream: S,
        watch: impl Future<Output = &'static str> + Send + 'static,
    ) -> Self {
        Self { stream, watch: Box::pin(watch), over: None }
    }

    fn check(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        if self.over.is_none()
            && let Poll::Ready(why) = self.watch.as_mut().poll(cx)
        {
            tracing::warn!(why, "an internal connection is ended");
            self.over = Some(why);
        }
        match self.over {
            Some(why) => Err(io::Error::new(io::ErrorKind::ConnectionAborted, why)),
            None => Ok(()),
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Live<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        // who serves a connection always waits to read, so the watch wakes it
        self.check(cx)?;
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Live<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    #[derive(Debug)]
    struct Clock(AtomicU64);

    impl TimeProvider for Clock {
        fn current_time(&self) -> Option<UnixTime> {
            Some(UnixTime::since_unix_epoch(Duration::from_secs(self.0.load(Ordering::SeqCst))))
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_ends_with_its_certificate_or_with_the_trust_in_it() {
        let clock = Arc::new(Clock(AtomicU64::new(1_000)));
        let trusted = watch::Sender::new(Arc::new(true));
        let watching = || {
            let (receiver, clock) = (trusted.subscribe(), clock.clone());
            tokio::spawn(until_distrusted(receiver, clock, Vec::new(), 2_000, |ok, _, _| *ok))
        };
        let expires = watching();
        tokio::time::sleep(Duration::from_secs(1_000)).await;
        assert!(!expires.is_finished(), "the wall clock counts");
        clock.0.store(2_001, Ordering::SeqCst);
        assert_eq!(expires.await.expect("ends"), "the peer's certificate has expired");

        clock.0.store(1_000, Ordering::SeqCst);
        let withdrawn = watching();
        trusted.send_replace(Arc::new(true));
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert!(!withdrawn.is_finished());
        trusted.send_replace(Arc::new(false));
        withdrawn.await.expect("ends");
    }
}
