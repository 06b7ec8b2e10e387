//! Looks for new files, takes them over, and says in time when a certificate expires.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{sync::Notify, time::Instant};

use crate::{TimeProvider, TlsError, now_s};

/// Certificates that can be read again.
pub trait Reload: Send + Sync + 'static {
    /// `internal` or `public`.
    fn name(&self) -> &'static str;

    /// Looks at the files. Answers what has changed or has newly become wrong; what is wrong is not used.
    /// Reads files: not for threads that must not wait.
    fn reload(&self) -> Vec<Reloaded>;

    /// Until when the present certificates are good.
    fn expiries(&self) -> Vec<Expiry>;

    /// What is counted.
    fn tally(&self) -> &Tally;
}

/// What has become of a new file.
#[derive(Debug)]
pub struct Reloaded {
    /// Which file.
    pub what: &'static str,
    /// Whether it is in use now.
    pub outcome: Result<(), TlsError>,
}

/// Until when a certificate is good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Expiry {
    /// `internal`, `internal_authority` or `public`.
    pub certificate: &'static str,
    /// Since when, seconds since 1970; 0 where it does not matter.
    pub not_before_s: u64,
    /// Until when, seconds since 1970.
    pub not_after_s: u64,
}

/// What is counted, for metrics.
#[derive(Debug, Default)]
pub struct Tally {
    reloads: AtomicU64,
    reloads_refused: AtomicU64,
    handshakes_failed: AtomicU64,
    handshakes_shed: AtomicU64,
}

impl Tally {
    pub(crate) fn reloaded(&self, used: bool) {
        let counter = if used { &self.reloads } else { &self.reloads_refused };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn handshake_failed(&self) {
        self.handshakes_failed.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn handshake_shed(&self) {
        self.handshakes_shed.fetch_add(1, Ordering::Relaxed);
    }

    /// New files that were taken over.
    pub fn reloads(&self) -> u64 {
        self.reloads.load(Ordering::Relaxed)
    }

    /// New files that could not be used.
    pub fn reloads_refused(&self) -> u64 {
        self.reloads_refused.load(Ordering::Relaxed)
    }

    /// Connections that ended in the handshake.
    pub fn handshakes_failed(&self) -> u64 {
        self.handshakes_failed.load(Ordering::Relaxed)
    }

    /// Connections that were closed because too many were in the handshake.
    pub fn handshakes_shed(&self) -> u64 {
        self.handshakes_shed.load(Ordering::Relaxed)
    }
}

/// Before this a certificate's end is nobody's concern, however long it is good for.
const WARN_BEFORE_MAX_S: u64 = 30 * 86_400;
/// A certificate that is renewed automatically has a third of its life left then, so a fifth is late.
const WARN_LIFE_SHARE: u64 = 5;
const WARN_EVERY: Duration = Duration::from_secs(86_400);

/// Looks at the files every `interval`, and at once whenever `order` is notified. Runs until it is dropped.
pub async fn watch(
    sources: Vec<Arc<dyn Reload>>,
    interval: Duration,
    time: Arc<dyn TimeProvider>,
    order: Arc<Notify>,
) {
    let mut warned = HashMap::new();
    loop {
        for source in &sources {
            for expiry in source.expiries() {
                warn(&expiry, now_s(&*time), &mut warned);
            }
        }
        tokio::select! {
            () = tokio::time::sleep(interval) => {}
            () = order.notified() => tracing::info!("told to look at the certificates"),
        }
        for source in &sources {
            let (reading, name) = (source.clone(), source.name());
            let reloaded = tokio::task::spawn_blocking(move || reading.reload()).await;
            for Reloaded { what, outcome } in reloaded.unwrap_or_default() {
                match outcome {
                    Ok(()) => tracing::info!(port = name, what, "new certificates are in use"),
                    Err(error) => tracing::error!(
                        port = name, what, %error,
                        "new certificates cannot be used, the old ones stay"
                    ),
                }
            }
        }
    }
}

fn warn(expiry: &Expiry, now_s: u64, warned: &mut HashMap<(&'static str, u64), Instant>) {
    let Some(text) = concern(expiry, now_s) else { return };
    let key = (expiry.certificate, expiry.not_after_s);
    let now = Instant::now();
    if warned.get(&key).is_some_and(|at| now.duration_since(*at) < WARN_EVERY) {
        return;
    }
    warned.retain(|(certificate, _), _| *certificate != expiry.certificate);
    warned.insert(key, now);
    let hours_left = expiry.not_after_s.saturating_sub(now_s) / 3_600;
    match text {
        Concern::Expired => {
            tracing::error!(certificate = expiry.certificate, "the certificate has expired");
        }
        Concern::Soon => {
            tracing::warn!(
                certificate = expiry.certificate,
                hours_left,
                "the certificate expires soon"
            );
        }
        Concern::TooEarly => {
            tracing::error!(certificate = expiry.certificate, "the certificate is not good yet");
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Concern {
    TooEarly,
    Soon,
    Expired,
}

fn concern(expiry: &Expiry, now_s: u64) -> Option<Concern> {
    let life_s = expiry.not_after_s.saturating_sub(expiry.not_before_s);
    let left_s = expiry.not_after_s.saturating_sub(now_s);
    if now_s > expiry.not_after_s {
        Some(Concern::Expired)
    } else if now_s < expiry.not_before_s {
        Some(Concern::TooEarly)
    } else if left_s < (life_s / WARN_LIFE_SHARE).min(WARN_BEFORE_MAX_S) {
        Some(Concern::Soon)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY_S: u64 = 86_400;

    #[test]
    fn a_certificate_is_a_concern_before_it_expires_and_not_while_it_is_fresh() {
        let year =
            Expiry { certificate: "internal", not_before_s: DAY_S, not_after_s: 366 * DAY_S };
        assert_eq!(concern(&year, 0), Some(Concern::TooEarly));
        assert_eq!(concern(&year, 300 * DAY_S), None);
        assert_eq!(concern(&year, 337 * DAY_S), Some(Concern::Soon));
        assert_eq!(concern(&year, 366 * DAY_S + 1), Some(Concern::Expired));
        let day = Expiry { certificate: "internal", not_before_s: DAY_S, not_after_s: 2 * DAY_S };
        assert_eq!(concern(&day, DAY_S + DAY_S / 2), None, "renewed every day, as it should be");
        assert_eq!(concern(&day, DAY_S + DAY_S * 9 / 10), Some(Concern::Soon));
    }
}
