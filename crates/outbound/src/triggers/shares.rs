//! How many calls of one function may be under way, so that one that hangs leaves places to all others.

use std::collections::HashMap;

use parking_lot::Mutex;

/// Counts calls by function, and remembers nothing of a function without calls.
pub(super) struct Shares {
    each: usize,
    under_way: Mutex<HashMap<String, usize>>,
}

/// A call that is under way.
pub(super) struct Share<'a> {
    of: &'a Shares,
    function: &'a str,
}

impl Shares {
    /// So many calls of each function.
    pub(super) fn new(each: usize) -> Self {
        Self { each, under_way: Mutex::default() }
    }

    /// `None` when as many calls of this function are under way.
    pub(super) fn take<'a>(&'a self, function: &'a str) -> Option<Share<'a>> {
        let mut under_way = self.under_way.lock();
        match under_way.get_mut(function) {
            Some(calls) if *calls >= self.each => return None,
            Some(calls) => *calls += 1,
            None => {
                under_way.insert(function.to_owned(), 1);
            }
        }
        Some(Share { of: self, function })
    }
}

impl Drop for Share<'_> {
    fn drop(&mut self) {
        let mut under_way = self.of.under_way.lock();
        if let Some(calls) = under_way.get_mut(self.function) {
            *calls -= 1;
            if *calls == 0 {
                under_way.remove(self.function);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_function_has_its_share_and_no_more() {
        let shares = Shares::new(2);
        let first = shares.take("a").expect("is free");
        let second = shares.take("a").expect("is free");
        assert!(shares.take("a").is_none());
        assert!(shares.take("b").is_some(), "another one has a share of its own");
        drop(first);
        let third = shares.take("a").expect("is free again");
        drop((second, third));
        assert!(shares.under_way.lock().is_empty());
    }
}
