//! Whether this node's wall clock can be trusted.
//!
//! The leader's clock is the one that counts in a group. A node whose clock is off would have codes
//! expire too early or too late, so it must not lead. Every message between nodes carries the
//! sender's clock; a node that differs from most of the others gives leadership away and is not ready.

use std::{collections::HashMap, time::Duration};

use parking_lot::Mutex;
use tokio::time::Instant;

/// Clocks may differ by this: delays of messages are far below.
pub(crate) const SKEW_MS_MAX: i64 = 2_000;
/// What has been heard longer ago says nothing any more.
const FRESH: Duration = Duration::from_secs(10);

/// How far the clocks of the other nodes are from this one's.
#[derive(Default)]
pub(crate) struct ClockSkew(Mutex<HashMap<u64, (i64, Instant)>>);

impl ClockSkew {
    /// A node's clock was at `theirs_ms` when this node's was at `ours_ms`.
    pub(crate) fn heard(&self, node_id: u64, theirs_ms: i64, ours_ms: i64, now: Instant) {
        let skew_ms = theirs_ms.saturating_sub(ours_ms);
        self.0.lock().insert(node_id, (skew_ms, now));
    }

    /// Whether this node's clock is off that of most of the `others`.
    pub(crate) fn is_off(&self, others: impl Iterator<Item = u64>, now: Instant) -> bool {
        let heard = self.0.lock();
        let (mut count, mut differ) = (0, 0);
        for node_id in others {
            count += 1;
            let fresh = heard.get(&node_id).filter(|(_, at)| now.duration_since(*at) < FRESH);
            if fresh.is_some_and(|(skew_ms, _)| skew_ms.saturating_abs() > SKEW_MS_MAX) {
                differ += 1;
            }
        }
        differ * 2 > count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_is_off_when_most_others_differ_and_were_heard_lately() {
        let skew = ClockSkew::default();
        let now = Instant::now();
        let is_off = |now| skew.is_off([2, 3].into_iter(), now);
        assert!(!is_off(now));
        skew.heard(2, 10_000, 1_000, now);
        assert!(!is_off(now), "the other one may be wrong");
        skew.heard(3, 1_100, 1_000, now);
        assert!(!is_off(now));
        skew.heard(3, 9_500, 1_000, now);
        assert!(is_off(now));
        assert!(!is_off(now + FRESH));
    }
}
