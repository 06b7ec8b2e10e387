//! The time as a parameter.

use std::time::Duration;

use parking_lot::Mutex;

/// What time it is. The binary has the real one; tests have [`ManualClock`].
pub trait Clock: Send + Sync {
    /// Milliseconds since the Unix epoch.
    fn now_ms(&self) -> i64;

    /// Time since some fixed moment. Never goes back, so it measures durations.
    fn monotonic(&self) -> Duration;
}

/// A clock that moves when it is told to.
#[derive(Debug)]
pub struct ManualClock(Mutex<(i64, Duration)>);

impl ManualClock {
    /// Starts at this many milliseconds since the epoch.
    pub fn at(now_ms: i64) -> Self {
        ManualClock(Mutex::new((now_ms, Duration::ZERO)))
    }

    /// Moves both readings on.
    pub fn advance(&self, by: Duration) {
        let mut now = self.0.lock();
        now.0 = now.0.saturating_add(i64::try_from(by.as_millis()).unwrap_or(i64::MAX));
        now.1 = now.1.saturating_add(by);
    }
}

impl Clock for ManualClock {
    fn now_ms(&self) -> i64 {
        self.0.lock().0
    }

    fn monotonic(&self) -> Duration {
        self.0.lock().1
    }
}
