//! Admission of work that takes the processor for milliseconds: as many at once as there are cores,
//! a bounded queue behind them, and a quick refusal beyond. Without this, a burst of sign-ins would
//! stop everything else (Argon2id takes about 20 ms a call).

use std::{sync::Arc, time::Duration};

use tokio::sync::Semaphore;

/// Capped threads for processor-heavy work.
#[derive(Clone)]
pub struct CpuPool {
    running: Arc<Semaphore>,
    queued: Arc<Semaphore>,
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
            wait_max,
        }
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
