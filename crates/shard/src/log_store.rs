//! The log and vote of one group, in the log database of the node.
//!
//! Keys: the group, then a kind, then (for entries) the index, all big-endian, so that a group's
//! entries stand together and in order. What has just been appended is kept in memory too, because
//! it is read again at once: by replication, and when it is applied.

use std::{
    collections::VecDeque,
    fmt::Debug,
    io,
    ops::{Bound, RangeBounds},
    sync::Arc,
};

use futures::{Stream, TryStreamExt, stream};
use openraft::{
    LogState, OptionalSend, RaftLogReader,
    storage::{IOFlushed, RaftLogStorage},
};
use parking_lot::Mutex;
use prost::Message;
use rocksdb::{Direction, IteratorMode, ReadOptions, WriteBatch};

use crate::{
    log_writer::LogWriter,
    proto,
    types::{LogEntry, LogId, Types, Vote, corrupt, entry_bytes, entry_in, entry_out},
};

const KIND_VOTE: u8 = 1;
const KIND_COMMITTED: u8 = 2;
const KIND_PURGED: u8 = 3;
const KIND_ENTRY: u8 = 4;

/// Bytes of entries that one replication request carries; the first entry always goes.
const REPLICATION_BATCH_BYTES: usize = 1 << 20;
/// Bytes of entries that are read at once to be applied.
const APPLY_PIECE_BYTES: usize = 4 << 20;
/// Bytes of recent entries kept in memory, for each group.
const TAIL_BYTES_MAX: usize = 4 << 20;
/// Recent entries kept in memory, for each group.
const TAIL_ENTRIES_MAX: usize = 8_192;

/// The log of one group. Clones are the same log.
#[derive(Clone)]
pub(crate) struct LogStore {
    group: u32,
    writer: Arc<LogWriter>,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    vote: Option<Vote>,
    last_purged: Option<LogId>,
    last: Option<LogId>,
    /// The end of the log: consecutive, and up to `last`.
    tail: VecDeque<LogEntry>,
    tail_bytes: usize,
    /// Bytes appended since the process started: what the snapshot trigger looks at.
    appended_bytes: u64,
}

impl LogStore {
    /// Opens the log of a group.
    ///
    /// # Errors
    /// From the disk; or that the log holds less than what is known to have been synced.
    pub(crate) fn open(writer: Arc<LogWriter>, group: u32) -> io::Result<Self> {
        let store = Self { group, writer, state: Arc::default() };
        let vote = store.get_meta::<proto::Vote>(KIND_VOTE)?.map(Vote::from);
        let last_purged = store.get_meta::<proto::LogId>(KIND_PURGED)?.map(LogId::from);
        let last = store.last_entry_id()?.max(last_purged);
        *store.state.lock() = State { vote, last_purged, last, ..State::default() };
        store.check_high_water()?;
        Ok(store)
    }

    /// Refuses a log from which something synced is missing.
    fn check_high_water(&self) -> io::Result<()> {
        let mark = self.writer.mark_at_open(self.group);
        let state = self.state.lock();
        let lost = |what: String| {
            Err(corrupt(format!(
                "the log of group {} has lost {what} that was on disk; this replica must not vote: \
                 replace the node under a new node id",
                self.group
            )))
        };
        if let Some(vote) = mark.vote
            && !state.vote.is_some_and(|found| found >= vote)
        {
            return lost(format!("the vote {vote}"));
        }
        let Some(marked) = mark.last_log_id else { return Ok(()) };
        if state.last_purged.is_some_and(|purged| purged.index >= marked.index) {
            return Ok(());
        }
        drop(state);
        match self.read_entries(marked.index, marked.index + 1, usize::MAX)?.first() {
            // an entry of a later leader in its place was written after a truncation
            Some(entry) if entry.log_id >= marked => Ok(()),
            _ => lost(format!("entries up to {marked}")),
        }
    }

    /// Bytes appended since the process started.
    pub(crate) fn appended_bytes(&self) -> u64 {
        self.state.lock().appended_bytes
    }

    /// The last entry's id, or the last purged one's.
    pub(crate) fn last_log_id(&self) -> Option<LogId> {
        self.state.lock().last
    }

    /// The id up to which entries have been purged.
    pub(crate) fn last_purged(&self) -> Option<LogId> {
        self.state.lock().last_purged
    }

    /// Deletes everything but the vote, and returns when that is on disk. Nobody may use the log any
    /// more. Can be begun again after a crash.
    pub(crate) async fn delete_entries(&self) -> io::Result<()> {
        // before the entries go: a mark above the end of the log would stop the next start
        self.writer.lower_mark(self.group, None).await?;
        self.writer.forget_entries_at_open(self.group);
        let mut batch = WriteBatch::default();
        batch.delete(self.meta_key(KIND_COMMITTED));
        batch.delete(self.meta_key(KIND_PURGED));
        batch.delete_range(&self.entry_key(0)[..], &self.meta_key(KIND_ENTRY + 1)[..]);
        self.writer.write(batch)?;
        let vote = self.state.lock().vote;
        if let Some(vote) = vote {
            self.writer.sync_vote(self.group, vote).await?;
        }
        *self.state.lock() = State { vote, ..State::default() };
        Ok(())
    }

    fn meta_key(&self, kind: u8) -> [u8; 5] {
        let [a, b, c, d] = self.group.to_be_bytes();
        [a, b, c, d, kind]
    }

    fn entry_key(&self, index: u64) -> [u8; 13] {
        let mut key = [0; 13];
        key[..5].copy_from_slice(&self.meta_key(KIND_ENTRY));
        key[5..].copy_from_slice(&index.to_be_bytes());
        key
    }

    fn get_meta<M: Message + Default>(&self, kind: u8) -> io::Result<Option<M>> {
        let bytes = self.writer.db().get_pinned(self.meta_key(kind)).map_err(io::Error::other)?;
        bytes.map(|bytes| M::decode(&bytes[..]).map_err(corrupt)).transpose()
    }

    fn last_entry_id(&self) -> io::Result<Option<LogId>> {
        let mut options = ReadOptions::default();
        options.set_iterate_lower_bound(self.meta_key(KIND_ENTRY));
        options.set_iterate_upper_bound(self.meta_key(KIND_ENTRY + 1));
        let mut rows = self.writer.db().iterator_opt(IteratorMode::End, options);
        match rows.next() {
            None => Ok(None),
            Some(row) => Ok(Some(decode(&row.map_err(io::Error::other)?.1)?.log_id)),
        }
    }

    /// Entries from `start` (inclusive) to `end` (exclusive), until `bytes_max` is reached.
    fn read_entries(&self, start: u64, end: u64, bytes_max: usize) -> io::Result<Vec<LogEntry>> {
        if start >= end {
            return Ok(Vec::new());
        }
        let mut found = Vec::new();
        let mut bytes = 0;
        let mut take = |entry: LogEntry| {
            bytes += entry_bytes(&entry);
            if found.is_empty() || bytes <= bytes_max {
                found.push(entry);
            }
            bytes < bytes_max
        };
        {
            let state = self.state.lock();
            if let Some(first) = state.tail.front().map(|entry| entry.log_id.index)
                && first <= start
            {
                let skip = usize::try_from(start - first).unwrap_or(usize::MAX);
                for entry in state.tail.iter().skip(skip) {
                    if entry.log_id.index >= end || !take(entry.clone()) {
                        break;
                    }
                }
                return Ok(found);
            }
        }
        let mut options = ReadOptions::default();
        options.set_iterate_upper_bound(self.entry_key(end));
        let start = self.entry_key(start);
        let mode = IteratorMode::From(&start, Direction::Forward);
        for row in self.writer.db().iterator_opt(mode, options) {
            let entry = decode(&row.map_err(io::Error::other)?.1)?;
            if !take(entry) {
                break;
            }
        }
        Ok(found)
    }

    fn append_batch(&self, entries: Vec<LogEntry>) -> io::Result<Option<LogId>> {
        let mut batch = WriteBatch::default();
        for entry in &entries {
            batch.put(self.entry_key(entry.log_id.index), entry_out(entry).encode_to_vec());
        }
        self.writer.write(batch)?;
        let mut state = self.state.lock();
        for entry in entries {
            let follows =
                state.tail.back().is_none_or(|last| last.log_id.index + 1 == entry.log_id.index);
            if !follows {
                state.clear_tail();
            }
            state.last = Some(entry.log_id);
            let bytes = entry_bytes(&entry);
            state.tail_bytes += bytes;
            state.appended_bytes += bytes as u64;
            state.tail.push_back(entry);
        }
        state.bound_tail();
        Ok(state.last)
    }
}

impl State {
    fn clear_tail(&mut self) {
        self.tail.clear();
        self.tail_bytes = 0;
    }

    fn bound_tail(&mut self) {
        while self.tail.len() > 1
            && (self.tail_bytes > TAIL_BYTES_MAX || self.tail.len() > TAIL_ENTRIES_MAX)
        {
            self.pop_front();
        }
    }

    fn pop_front(&mut self) {
        if let Some(entry) = self.tail.pop_front() {
            self.tail_bytes = self.tail_bytes.saturating_sub(entry_bytes(&entry));
        }
    }

    fn truncate_tail(&mut self, keep_below: u64) {
        while self.tail.back().is_some_and(|entry| entry.log_id.index >= keep_below) {
            if let Some(entry) = self.tail.pop_back() {
                self.tail_bytes = self.tail_bytes.saturating_sub(entry_bytes(&entry));
            }
        }
    }
}

fn decode(bytes: &[u8]) -> io::Result<LogEntry> {
    entry_in(proto::LogEntry::decode(bytes).map_err(corrupt)?)
}

fn bounds(range: &impl RangeBounds<u64>) -> (u64, u64) {
    let start = match range.start_bound() {
        Bound::Included(start) => *start,
        Bound::Excluded(start) => start.saturating_add(1),
        Bound::Unbounded => 0,
    };
    let end = match range.end_bound() {
        Bound::Included(end) => end.saturating_add(1),
        Bound::Excluded(end) => *end,
        Bound::Unbounded => u64::MAX,
    };
    (start, end)
}

impl RaftLogReader<Types> for LogStore {
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: RB,
    ) -> Result<Vec<LogEntry>, io::Error> {
        let (start, end) = bounds(&range);
        self.read_entries(start, end, usize::MAX)
    }

    async fn read_vote(&mut self) -> Result<Option<Vote>, io::Error> {
        Ok(self.state.lock().vote)
    }

    /// In pieces: what is applied at once after a long absence may be large.
    async fn entries_stream<RB>(
        &mut self,
        range: RB,
    ) -> impl Stream<Item = Result<LogEntry, io::Error>> + OptionalSend
    where
        RB: RangeBounds<u64> + Clone + Debug + OptionalSend,
    {
        let (start, end) = bounds(&range);
        let log = self.clone();
        stream::try_unfold((log, start, end), |(log, start, end)| async move {
            let piece = log.read_entries(start, end, APPLY_PIECE_BYTES)?;
            let Some(last) = piece.last() else { return Ok::<_, io::Error>(None) };
            let next = last.log_id.index + 1;
            Ok(Some((stream::iter(piece.into_iter().map(Ok)), (log, next, end))))
        })
        .try_flatten()
    }

    async fn limited_get_log_entries(
        &mut self,
        start: u64,
        end: u64,
    ) -> Result<Vec<LogEntry>, io::Error> {
        self.read_entries(start, end, REPLICATION_BATCH_BYTES)
    }
}

impl RaftLogStorage<Types> for LogStore {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> Result<LogState<Types>, io::Error> {
        let state = self.state.lock();
        Ok(LogState { last_purged_log_id: state.last_purged, last_log_id: state.last })
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> Result<(), io::Error> {
        let mut batch = WriteBatch::default();
        batch.put(self.meta_key(KIND_VOTE), proto::Vote::from(vote).encode_to_vec());
        self.writer.write(batch)?;
        self.writer.sync_vote(self.group, *vote).await?;
        self.state.lock().vote = Some(*vote);
        Ok(())
    }

    async fn save_committed(&mut self, committed: Option<LogId>) -> Result<(), io::Error> {
        let mut batch = WriteBatch::default();
        match &committed {
            Some(id) => {
                batch.put(self.meta_key(KIND_COMMITTED), proto::LogId::from(id).encode_to_vec());
            }
            None => batch.delete(self.meta_key(KIND_COMMITTED)),
        }
        // unsynced: it stands in the same log file behind the entries that it speaks of
        self.writer.write(batch)
    }

    async fn read_committed(&mut self) -> Result<Option<LogId>, io::Error> {
        Ok(self.get_meta::<proto::LogId>(KIND_COMMITTED)?.map(Into::into))
    }

    async fn append<I>(&mut self, entries: I, callback: IOFlushed<Types>) -> Result<(), io::Error>
    where
        I: IntoIterator<Item = LogEntry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let entries: Vec<LogEntry> = entries.into_iter().collect();
        match self.append_batch(entries) {
            Ok(Some(last)) => self.writer.sync_append(self.group, last, callback),
            Ok(None) => callback.io_completed(Ok(())),
            Err(error) => {
                callback.io_completed(Err(io::Error::other(error.to_string())));
                return Err(error);
            }
        }
        Ok(())
    }

    async fn truncate_after(&mut self, last_log_id: Option<LogId>) -> Result<(), io::Error> {
        if last_log_id >= self.last_log_id() {
            return Ok(());
        }
        let keep_below = last_log_id.map_or(0, |id| id.index + 1);
        // before the entries go: a mark above the end of the log would stop the next start
        self.writer.lower_mark(self.group, last_log_id).await?;
        let mut batch = WriteBatch::default();
        batch.delete_range(&self.entry_key(keep_below)[..], &self.meta_key(KIND_ENTRY + 1)[..]);
        self.writer.write(batch)?;
        let mut state = self.state.lock();
        state.truncate_tail(keep_below);
        state.last = last_log_id.max(state.last_purged);
        Ok(())
    }

    async fn purge(&mut self, log_id: LogId) -> Result<(), io::Error> {
        let from = self.last_purged().map_or(0, |purged| purged.index + 1);
        let mut batch = WriteBatch::default();
        // one batch: the mark is never behind the deletion, whatever a crash leaves
        batch.put(self.meta_key(KIND_PURGED), proto::LogId::from(&log_id).encode_to_vec());
        if from <= log_id.index {
            batch.delete_range(&self.entry_key(from)[..], &self.entry_key(log_id.index + 1)[..]);
        }
        self.writer.write(batch)?;
        let mut state = self.state.lock();
        while state.tail.front().is_some_and(|entry| entry.log_id.index <= log_id.index) {
            state.pop_front();
        }
        state.last_purged = Some(log_id);
        state.last = state.last.max(Some(log_id));
        Ok(())
    }
}

#[cfg(test)]
mod tests;
