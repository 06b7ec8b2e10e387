//! A store in memory, for tests and simulations: the same [`apply`](crate::apply) over a `BTreeMap`.

use std::{
    collections::BTreeMap,
    io,
    ops::ControlFlow,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use async_trait::async_trait;
use parking_lot::Mutex;

use crate::{Batch, Clock, Kv, Store, StoreError, apply, limits, proto, read};

/// A sorted map that applies batches at once.
#[derive(Default, Clone)]
pub struct MemoryKv {
    rows: BTreeMap<Vec<u8>, Vec<u8>>,
}

impl MemoryKv {
    /// Every row, in order: for comparing two states.
    pub fn rows(&self) -> &BTreeMap<Vec<u8>, Vec<u8>> {
        &self.rows
    }

    /// Applies an entry, as a shard does.
    ///
    /// # Errors
    /// Never for this map; the signature is that of [`apply`].
    pub fn apply(&mut self, entry: &proto::Entry) -> io::Result<proto::Outcome> {
        let mut batch = MemoryBatch::default();
        let outcome = apply(&*self, entry, &mut batch)?;
        self.write(batch);
        Ok(outcome)
    }

    fn write(&mut self, batch: MemoryBatch) {
        for write in batch.0 {
            match write {
                BatchWrite::Put(key, value) => {
                    self.rows.insert(key, value);
                }
                BatchWrite::Delete(key) => {
                    self.rows.remove(&key);
                }
                BatchWrite::DeleteRange(from, to) if from < to => {
                    let doomed: Vec<_> =
                        self.rows.range(from..to).map(|(key, _)| key.clone()).collect();
                    for key in doomed {
                        self.rows.remove(&key);
                    }
                }
                BatchWrite::DeleteRange(..) => {}
            }
        }
    }
}

/// A state that was taken with [`MemoryKv::rows`], as a node restores it.
impl FromIterator<(Vec<u8>, Vec<u8>)> for MemoryKv {
    fn from_iter<I: IntoIterator<Item = (Vec<u8>, Vec<u8>)>>(rows: I) -> Self {
        Self { rows: rows.into_iter().collect() }
    }
}

impl Kv for MemoryKv {
    fn get(&self, key: &[u8]) -> io::Result<Option<Vec<u8>>> {
        Ok(self.rows.get(key).cloned())
    }

    fn scan(
        &self,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
        visit: &mut dyn FnMut(&[u8], &[u8]) -> ControlFlow<()>,
    ) -> io::Result<()> {
        use std::ops::Bound;
        let from = match after {
            Some(after) if after >= prefix => Bound::Excluded(after.to_vec()),
            _ => Bound::Included(prefix.to_vec()),
        };
        let rows = self.rows.range((from, Bound::Unbounded));
        for (key, value) in rows.take_while(|(key, _)| key.starts_with(prefix)).take(limit) {
            if visit(key, value).is_break() {
                break;
            }
        }
        Ok(())
    }
}

enum BatchWrite {
    Put(Vec<u8>, Vec<u8>),
    Delete(Vec<u8>),
    DeleteRange(Vec<u8>, Vec<u8>),
}

#[derive(Default)]
struct MemoryBatch(Vec<BatchWrite>);

impl Batch for MemoryBatch {
    fn put(&mut self, key: &[u8], value: &[u8]) {
        self.0.push(BatchWrite::Put(key.to_vec(), value.to_vec()));
    }
    fn delete(&mut self, key: &[u8]) {
        self.0.push(BatchWrite::Delete(key.to_vec()));
    }
    fn delete_range(&mut self, from: &[u8], to: &[u8]) {
        self.0.push(BatchWrite::DeleteRange(from.to_vec(), to.to_vec()));
    }
}

/// One group in memory that holds every scope. It counts round trips, so that tests can hold
/// operations to their budget.
pub struct MemoryStore {
    clock: Arc<dyn Clock>,
    state: Mutex<MemoryKv>,
    trips: Mutex<Trips>,
    rows_read: AtomicU64,
}

/// Counts the rows that are looked at, whether they are answered or not.
struct Counting<'a> {
    kv: &'a MemoryKv,
    rows: &'a AtomicU64,
}

impl Kv for Counting<'_> {
    fn get(&self, key: &[u8]) -> io::Result<Option<Vec<u8>>> {
        self.rows.fetch_add(1, Ordering::Relaxed);
        self.kv.get(key)
    }

    fn scan(
        &self,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
        visit: &mut dyn FnMut(&[u8], &[u8]) -> ControlFlow<()>,
    ) -> io::Result<()> {
        self.kv.scan(prefix, after, limit, &mut |key, value| {
            self.rows.fetch_add(1, Ordering::Relaxed);
            visit(key, value)
        })
    }
}

/// How many requests a store has answered.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Trips {
    /// Linearizable reads.
    pub reads: u64,
    /// Commits, whatever their outcome.
    pub commits: u64,
}

impl MemoryStore {
    /// An empty store on `clock`.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            clock,
            state: Mutex::default(),
            trips: Mutex::default(),
            rows_read: AtomicU64::new(0),
        }
    }

    /// Rows that reads have looked at since the last call.
    pub fn take_rows_read(&self) -> u64 {
        self.rows_read.swap(0, Ordering::Relaxed)
    }

    /// Every key of the store, as it lies there: for tests of what is left.
    pub fn physical_keys(&self) -> Vec<Vec<u8>> {
        self.state.lock().rows().keys().cloned().collect()
    }

    /// Every row of the store, as it lies there.
    pub fn physical_rows(&self) -> Vec<(Vec<u8>, Vec<u8>)> {
        self.state.lock().rows().iter().map(|(key, row)| (key.clone(), row.clone())).collect()
    }

    /// Requests answered since the last call.
    pub fn take_trips(&self) -> Trips {
        std::mem::take(&mut self.trips.lock())
    }
}

#[async_trait]
impl Store for MemoryStore {
    async fn read(&self, request: proto::Read) -> Result<proto::ReadResult, StoreError> {
        limits::check_read(&request).map_err(|detail| StoreError::Invalid { detail })?;
        self.trips.lock().reads += 1;
        let state = self.state.lock();
        let counting = Counting { kv: &state, rows: &self.rows_read };
        read(&counting, &request, self.clock.now_ms()).map_err(broken)
    }

    async fn commit(&self, commit: proto::Commit) -> Result<proto::Outcome, StoreError> {
        limits::check_commit(&commit).map_err(|detail| StoreError::Invalid { detail })?;
        self.trips.lock().commits += 1;
        let command = proto::entry::Command::Commit(commit);
        let entry = crate::levels::entry(self.clock.now_ms(), command);
        self.state.lock().apply(&entry).map_err(broken)
    }
}

fn broken(error: io::Error) -> StoreError {
    StoreError::Unavailable { detail: error.to_string() }
}
