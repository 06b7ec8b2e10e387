//! Admission of work that takes the processor for milliseconds: as many at once as there are cores,
//! a bounded queue behind them, and a quick refusal beyond. Without this, a burst of sign-ins would
//! stop everything else (Argon2id takes about 20 ms a call).
//!
//! Hashing queues by itself, in front of the one queue for all: of that it never takes more than as
//! many places as there are cores. So what takes a millisecond (SRP, signatures) waits for some hashes,
//! and not for a flood of them, and a sign-in whose password has been hashed gets its tokens.

use std::{sync::Arc, time::Duration};

use tokio::sync::Semaphore;

/// Capped threads for processor-heavy work.
#[derive(Clone)]
pub struct CpuPool {
    running: Arc<Semaphore>,
    queued: Arc<Semaphore>,
    long_admitted: Arc<Semaphore>,
    long_queued: Arc<Semaphore>,
    wait_max: Duration,
}

/// The work was refused, or died; nothing was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CpuError {
    /// The queue is full, or the work waited longer than it may.
    #[error("too much processor-heavy work is waiting")]
    Overloaded,
    /// The work panicked. Our fault.
    #[error("processor-heavy work panicked")]
    Panicked,
}

impl CpuPool {
    /// At most `parallel` at once, and `queue_max` waiting for at most `wait_max`.
    pub fn new(parallel: usize, queue_max: usize, wait_max: Duration) -> Self {
        Self {
            running: Arc::new(Semaphore::new(parallel)),
            queued: Arc::new(Semaphore::new(parallel + queue_max)),
            long_admitted: Arc::new(Semaphore::new(parallel)),
            long_queued: Arc::new(Semaphore::new(parallel + queue_max)),
            wait_max,
        }
    }

    /// Runs work that takes ten milliseconds and more, such as hashing a password.
    ///
    /// # Errors
    /// See [`CpuError`].
    pub async fn run_long<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, CpuError> {
        let _queued = self.long_queued.try_acquire().map_err(|_| CpuError::Overloaded)?;
        let admitted = Arc::clone(&self.long_admitted).acquire_owned();
        let permit = tokio::time::timeout(self.wait_max, admitted)
            .await
            .map_err(|_| CpuError::Overloaded)?
            .map_err(|_| CpuError::Overloaded)?;
        self.run(move || {
            let _permit = permit;
            work()
        })
        .await
    }

    /// Runs `work` on a thread of its own.
    ///
    /// # Errors
    /// See [`CpuError`].
    pub async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, CpuError> {
        let _queued = self.queued.try_acquire().map_err(|_| CpuError::Overloaded)?;
        let running = Arc::clone(&self.running).acquire_owned();
        let permit = tokio::time::timeout(self.wait_max, running)
            .await
            .map_err(|_| CpuError::Overloaded)?
            .map_err(|_| CpuError::Overloaded)?;
        let work = move || {
            // released when the work ends, even where the caller has gone away
            let _permit = permit;
            work()
        };
        tokio::task::spawn_blocking(work).await.map_err(|_| CpuError::Panicked)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[tokio::test]
    async fn a_flood_of_long_work_leaves_places_for_short_work() {
        let pool = CpuPool::new(1, 3, Duration::from_secs(60));
        let (release, wait) = mpsc::channel::<()>();
        let wait = Arc::new(parking_lot::Mutex::new(wait));
        let mut flood = Vec::new();
        for _ in 0..4 {
            let (pool, wait) = (pool.clone(), Arc::clone(&wait));
            flood.push(tokio::spawn(async move {
                pool.run_long(move || wait.lock().recv()).await.is_ok()
            }));
        }
        while pool.long_queued.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
        assert_eq!(pool.run_long(|| ()).await, Err(CpuError::Overloaded));
        let short = tokio::spawn({
            let pool = pool.clone();
            async move { pool.run(|| 7).await }
        });
        // one piece of long work goes on at a time, and the short one does not wait for all
        release.send(()).expect("the flood waits");
        assert_eq!(short.await.expect("no panic"), Ok(7));
        for _ in 0..3 {
            release.send(()).expect("the flood waits");
        }
        for long in flood {
            assert!(long.await.expect("no panic"));
        }
    }

    #[tokio::test]
    async fn work_beyond_the_queue_is_refused_at_once() {
        let pool = CpuPool::new(1, 0, Duration::from_secs(60));
        let (release, wait) = mpsc::channel::<()>();
        let (started, has_started) = tokio::sync::oneshot::channel();
        let busy = tokio::spawn({
            let pool = pool.clone();
            async move {
                pool.run(move || {
                    let _ = started.send(());
                    let _ = wait.recv();
                })
                .await
            }
        });
        has_started.await.expect("the first work runs");
        assert_eq!(pool.run(|| ()).await, Err(CpuError::Overloaded));
        release.send(()).expect("the first work waits");
        assert_eq!(busy.await.expect("no panic"), Ok(()));
        assert_eq!(pool.run(|| 7).await, Ok(7));
    }
}
