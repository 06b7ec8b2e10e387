//! The small key-value interface that [`apply`](crate::apply) and [`read`](crate::read) run over.

use std::{io, ops::ControlFlow};

/// An ordered map of bytes, as one consistent state.
pub trait Kv {
    /// The value of `key`.
    ///
    /// # Errors
    /// What the disk says. The caller must stop using the store.
    fn get(&self, key: &[u8]) -> io::Result<Option<Vec<u8>>>;

    /// Visits the rows that begin with `prefix` and come after `after` (a whole key, exclusive), in
    /// order, at most `limit`, until the visitor breaks.
    ///
    /// # Errors
    /// What the disk says. The caller must stop using the store.
    #[allow(clippy::type_complexity, reason = "a visitor of key and value, read more easily here")]
    fn scan(
        &self,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
        visit: &mut dyn FnMut(&[u8], &[u8]) -> ControlFlow<()>,
    ) -> io::Result<()>;
}

/// Writes that take effect together, in the order in which they were added.
pub trait Batch {
    /// Sets `key` to `value`.
    fn put(&mut self, key: &[u8], value: &[u8]);

    /// Removes `key`, whether it is there or not.
    fn delete(&mut self, key: &[u8]);

    /// Removes every key from `from` (inclusive) to `to` (exclusive).
    fn delete_range(&mut self, from: &[u8], to: &[u8]);

    /// Removes every key that begins with `prefix`, which must not be made of 0xff bytes alone.
    fn delete_prefix(&mut self, prefix: &[u8]) {
        if let Some(end) = crate::keys::prefix_end(prefix) {
            self.delete_range(prefix, &end);
        }
    }
}
