//! How many calls of one function may be under way, so that one that hangs leaves places to all others.

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::Arc,
    time::Duration,
};

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Counts calls by function, and remembers nothing of a function without calls.
pub(super) struct Shares {
    each: usize,
    of: Arc<Mutex<HashMap<String, Of>>>,
}

/// One function, and how many look at it: calls that are under way, and such that wait.
struct Of {
    places: Arc<Semaphore>,
    users: usize,
}

/// A call that is under way.
pub(super) struct Share {
    // before the seat, which may forget the function
    _place: OwnedSemaphorePermit,
    _seat: Seat,
}

/// Keeps a function from being forgotten.
struct Seat {
    of: Arc<Mutex<HashMap<String, Of>>>,
    function: String,
}

impl Shares {
    /// So many calls of each function.
    pub(super) fn new(each: usize) -> Self {
        Self { each, of: Arc::default() }
    }

    /// `None` when as many calls of this function are under way, or others wait for that.
    pub(super) fn try_take(&self, function: &str) -> Option<Share> {
        let (places, seat) = self.seat(function);
        let place = places.try_acquire_owned().ok()?;
        Some(Share { _place: place, _seat: seat })
    }

    /// [`Self::try_take`], after as long as `patience` at most: who has come first goes first. How many wait is bounded by
    /// the caller.
    pub(super) async fn take(&self, function: &str, patience: Duration) -> Option<Share> {
        if patience.is_zero() {
            return self.try_take(function);
        }
        let (places, seat) = self.seat(function);
        let place = tokio::time::timeout(patience, places.acquire_owned()).await.ok()?.ok()?;
        Some(Share { _place: place, _seat: seat })
    }

    fn seat(&self, function: &str) -> (Arc<Semaphore>, Seat) {
        let mut of = self.of.lock();
        let entry = of
            .entry(function.to_owned())
            .or_insert_with(|| Of { places: Arc::new(Semaphore::new(self.each)), users: 0 });
        entry.users += 1;
        let places = Arc::clone(&entry.places);
        drop(of);
        (places, Seat { of: Arc::clone(&self.of), function: function.to_owned() })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut of = self.of.lock();
        if let Entry::Occupied(mut entry) = of.entry(std::mem::take(&mut self.function)) {
            entry.get_mut().users -= 1;
            if entry.get().users == 0 {
                entry.remove();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{future::poll_fn, task::Poll};

    use super::*;

    #[test]
    fn a_function_has_its_share_and_no_more() {
        let shares = Shares::new(2);
        let first = shares.try_take("a").expect("is free");
        let second = shares.try_take("a").expect("is free");
        assert!(shares.try_take("a").is_none());
        assert!(shares.try_take("b").is_some(), "another one has a share of its own");
        drop(first);
        let third = shares.try_take("a").expect("is free again");
        drop((second, third));
        assert!(shares.of.lock().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_comes_in_turn_and_not_for_ever() {
        let shares = Shares::new(1);
        let first = shares.try_take("a").expect("is free");
        assert!(shares.take("a", Duration::from_secs(5)).await.is_none());
        let mut waits = Box::pin(shares.take("a", Duration::from_secs(5)));
        let is_pending = poll_fn(|context| Poll::Ready(waits.as_mut().poll(context).is_pending()));
        assert!(is_pending.await);
        drop(first);
        assert!(shares.try_take("a").is_none(), "it is the turn of the one who waits");
        drop(waits.await.expect("has waited"));
        assert!(shares.of.lock().is_empty());
    }
}
