//! The machine's clocks. This is the one place that reads them; everything else takes them as parameters.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// The wall clock and the monotonic clock of this machine.
pub struct SystemClock {
    started: Instant,
}

impl SystemClock {
    /// Begins to count.
    #[expect(
        clippy::disallowed_methods,
        reason = "the composition root reads the clock for everybody"
    )]
    pub fn start() -> Self {
        Self { started: Instant::now() }
    }

    /// Waits until another second of the wall clock has begun.
    pub async fn rest_of_second(&self) {
        let rest_ms = 1_000 - Self::wall_ms().rem_euclid(1_000);
        tokio::time::sleep(Duration::from_millis(rest_ms.unsigned_abs())).await;
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "the composition root reads the clock for everybody"
    )]
    fn wall_ms() -> i64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
    }
}

impl conclave_store::Clock for SystemClock {
    fn now_ms(&self) -> i64 {
        Self::wall_ms()
    }
}

impl conclave_outbound::Clock for SystemClock {
    fn now_ms(&self) -> i64 {
        Self::wall_ms()
    }

    fn monotonic(&self) -> Duration {
        self.started.elapsed()
    }
}
