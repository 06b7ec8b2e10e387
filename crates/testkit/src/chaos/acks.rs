//! Acknowledgements of each class of operations, and the gaps between them.

use std::{collections::BTreeMap, time::Duration};

use parking_lot::Mutex;
use tokio::time::Instant;

/// What is done, and in which group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Class {
    /// Such as `read`.
    pub kind: &'static str,
    /// The group.
    pub group: u32,
}

/// How an operation ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// With an answer.
    Acknowledged,
    /// It certainly had no effect.
    Failed,
    /// Nobody knows.
    Unknown,
}

/// What is counted of a class.
#[derive(Debug, Clone, Copy)]
pub struct Tally {
    /// Since the beginning of the window:
    pub acknowledged: u64,
    /// without effect.
    pub failed: u64,
    /// of unknown fate.
    pub unknown: u64,
    /// The longest time between two acknowledgements.
    pub gap: Duration,
    last: Instant,
    /// The first acknowledgement of an operation that began after a moment that was set.
    first_after: Option<(Instant, Option<Instant>)>,
}

impl Tally {
    fn new(now: Instant) -> Self {
        Self {
            acknowledged: 0,
            failed: 0,
            unknown: 0,
            gap: Duration::ZERO,
            last: now,
            first_after: None,
        }
    }
}

/// All of them, shared by the clients.
#[derive(Debug, Default)]
pub struct Acks(Mutex<BTreeMap<Class, Tally>>);

impl Acks {
    /// An operation that began at `began` has ended.
    pub fn ended(&self, class: Class, began: Instant, end: End) {
        let now = Instant::now();
        let mut classes = self.0.lock();
        let tally = classes.entry(class).or_insert_with(|| Tally::new(now));
        match end {
            End::Failed => tally.failed += 1,
            End::Unknown => tally.unknown += 1,
            End::Acknowledged => {
                tally.acknowledged += 1;
                tally.gap = tally.gap.max(now.duration_since(tally.last));
                tally.last = now;
                if let Some((after, first @ None)) = &mut tally.first_after
                    && began >= *after
                {
                    *first = Some(now);
                }
            }
        }
    }

    /// Begins a window: what came before is forgotten. Also when the load goes on after a pause.
    pub fn begin(&self) {
        let now = Instant::now();
        for tally in self.0.lock().values_mut() {
            *tally = Tally::new(now);
        }
    }

    /// Nothing is asked for a while: the time does not count as a gap.
    pub fn forgive_pause(&self) {
        let now = Instant::now();
        for tally in self.0.lock().values_mut() {
            tally.last = now;
        }
    }

    /// What has been counted since the window began. A gap that is still open counts.
    pub fn tallies(&self) -> BTreeMap<Class, Tally> {
        let now = Instant::now();
        let mut tallies = self.0.lock().clone();
        for tally in tallies.values_mut() {
            tally.gap = tally.gap.max(now.duration_since(tally.last));
        }
        tallies
    }

    /// From now on the first acknowledgement of each class of one of `kinds` is looked for.
    pub fn watch_for_first(&self, kinds: &[&str]) {
        let now = Instant::now();
        for (class, tally) in self.0.lock().iter_mut() {
            tally.first_after = kinds.contains(&class.kind).then_some((now, None));
        }
    }

    /// How long each class took to its first acknowledgement; `None` while one has none.
    pub fn slowest_first(&self) -> Option<Duration> {
        let classes = self.0.lock();
        let firsts = classes.values().filter_map(|tally| tally.first_after);
        firsts
            .map(|(after, first)| Some(first?.duration_since(after)))
            .try_fold(Duration::ZERO, |slowest, first| Some(slowest.max(first?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const READ: Class = Class { kind: "read", group: 1 };

    #[tokio::test(start_paused = true)]
    async fn a_gap_is_the_time_between_two_acknowledgements_of_a_class() {
        let acks = Acks::default();
        acks.ended(READ, Instant::now(), End::Acknowledged);
        acks.begin();
        for seconds in [1, 3, 2] {
            tokio::time::advance(Duration::from_secs(seconds)).await;
            acks.ended(READ, Instant::now(), End::Acknowledged);
        }
        assert_eq!(acks.tallies()[&READ].gap, Duration::from_secs(3));
        tokio::time::advance(Duration::from_secs(7)).await;
        acks.ended(READ, Instant::now(), End::Failed);
        assert_eq!(acks.tallies()[&READ].gap, Duration::from_secs(7));
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_acknowledgement_is_of_what_was_asked_after_the_moment() {
        let acks = Acks::default();
        let before = Instant::now();
        acks.ended(READ, before, End::Acknowledged);
        tokio::time::advance(Duration::from_secs(1)).await;
        acks.watch_for_first(&["read"]);
        acks.ended(READ, before, End::Acknowledged);
        assert_eq!(acks.slowest_first(), None);
        tokio::time::advance(Duration::from_secs(2)).await;
        acks.ended(READ, Instant::now(), End::Acknowledged);
        assert_eq!(acks.slowest_first(), Some(Duration::from_secs(2)));
    }
}
