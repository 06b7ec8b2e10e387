//! The log database of a node, and the one thread that makes its writes durable.
//!
//! Every group appends to one RocksDB: a write goes to its log file unsynced, on the caller's thread,
//! and then waits here. The thread takes all that waits, syncs once for all of it, and only then
//! tells each of them, in order. So the number of syncs does not grow with the number of groups.
//!
//! After an error of a write or a sync nothing is acknowledged again: what the disk then holds is not
//! known, and a second sync that succeeds proves nothing (the kernel has dropped the dirty pages).

use std::{
    collections::BTreeMap,
    io,
    path::Path,
    sync::{Arc, OnceLock},
    thread::{Builder, JoinHandle},
    time::Duration,
};

use conclave_fault as fault;
use openraft::storage::IOFlushed;
use parking_lot::{Condvar, Mutex};
use rocksdb::{DB, DBRecoveryMode, Options, WriteBatch, WriteOptions};
use tokio::{
    sync::{oneshot, watch},
    time::Instant,
};

use crate::{
    high_water::{HighWater, Mark, SYNC_INTERVAL},
    types::{LogId, Types, Vote},
};

/// What waits for a sync.
enum Waiting {
    Append {
        group: u32,
        last_log_id: LogId,
        done: IOFlushed<Types>,
    },
    Vote {
        group: u32,
        vote: Vote,
        done: oneshot::Sender<io::Result<()>>,
    },
    /// The end of the log is about to be cut off: the mark is lowered first.
    Lower {
        group: u32,
        last_log_id: Option<LogId>,
        done: oneshot::Sender<io::Result<()>>,
    },
}

#[derive(Default)]
struct Queue {
    waiting: Vec<Waiting>,
    closed: bool,
}

struct Shared {
    db: DB,
    queue: Mutex<Queue>,
    arrived: Condvar,
    failed: OnceLock<String>,
    failure: watch::Sender<Option<String>>,
    /// Since when the thread waits for the disk.
    syncing_since: Mutex<Option<Instant>>,
}

/// The log database. Dropping it ends the thread, after what waits.
pub(crate) struct LogWriter {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
    marks_at_open: Mutex<BTreeMap<u32, Mark>>,
}

impl LogWriter {
    /// Opens the log database in `dir/log` and the high-water file beside it.
    ///
    /// # Errors
    /// From the disk or RocksDB.
    pub(crate) fn open(dir: &Path) -> io::Result<Arc<Self>> {
        let db = DB::open(&options(), dir.join("log")).map_err(io::Error::other)?;
        let mut high_water = HighWater::open(&dir.join("high-water"))?;
        warn_of_slow_syncs(&mut high_water)?;
        let marks_at_open = Mutex::new(high_water.marks().clone());
        let shared = Arc::new(Shared {
            db,
            queue: Mutex::default(),
            arrived: Condvar::new(),
            failed: OnceLock::new(),
            failure: watch::Sender::new(None),
            syncing_since: Mutex::default(),
        });
        let thread = Builder::new().name("log-sync".to_owned()).spawn({
            let shared = shared.clone();
            move || shared.run(high_water)
        })?;
        Ok(Arc::new(Self { shared, thread: Some(thread), marks_at_open }))
    }

    /// What of a group's log was on disk for certain when the database was opened, without what has been cut off since.
    pub(crate) fn mark_at_open(&self, group: u32) -> Mark {
        self.marks_at_open.lock().get(&group).copied().unwrap_or_default()
    }

    pub(crate) fn db(&self) -> &DB {
        &self.shared.db
    }

    /// Becomes `Some` when the log cannot be trusted any more.
    pub(crate) fn failure(&self) -> watch::Receiver<Option<String>> {
        self.shared.failure.subscribe()
    }

    /// How long the sync that is under way has taken so far.
    pub(crate) fn syncing_for(&self) -> Option<Duration> {
        self.shared.syncing_since.lock().map(|since| since.elapsed())
    }

    /// Writes without waiting for the disk.
    pub(crate) fn write(&self, batch: WriteBatch) -> io::Result<()> {
        self.shared.check()?;
        self.shared.db.write_opt(batch, &WriteOptions::default()).map_err(|error| {
            self.shared.fail("write of the log", &error);
            io::Error::other(error)
        })
    }

    /// Calls `done` when everything that was written before this call is on disk.
    pub(crate) fn sync_append(&self, group: u32, last_log_id: LogId, done: IOFlushed<Types>) {
        if fault::bug("ack-before-sync") {
            done.io_completed(Ok(()));
            let done = IOFlushed::noop();
            return self.shared.push(Waiting::Append { group, last_log_id, done });
        }
        self.shared.push(Waiting::Append { group, last_log_id, done });
    }

    /// Returns when everything that was written before this call, `vote` with it, is on disk.
    pub(crate) async fn sync_vote(&self, group: u32, vote: Vote) -> io::Result<()> {
        if fault::bug("unsynced-vote") {
            return Ok(());
        }
        let (done, synced) = oneshot::channel();
        self.shared.push(Waiting::Vote { group, vote, done });
        synced.await.map_err(|_| io::Error::other("the log is closed"))?
    }

    /// Returns when the note that the log reaches further than `last_log_id` is gone from the disk.
    pub(crate) async fn lower_mark(
        &self,
        group: u32,
        last_log_id: Option<LogId>,
    ) -> io::Result<()> {
        let (done, synced) = oneshot::channel();
        self.shared.push(Waiting::Lower { group, last_log_id, done });
        synced.await.map_err(|_| io::Error::other("the log is closed"))??;
        // the group may be closed, and opened again by the same process
        if let Some(mark) = self.marks_at_open.lock().get_mut(&group) {
            mark.last_log_id = mark.last_log_id.min(last_log_id);
        }
        Ok(())
    }
}

impl Drop for LogWriter {
    fn drop(&mut self) {
        self.shared.queue.lock().closed = true;
        self.shared.arrived.notify_one();
        if let Some(thread) = self.thread.take() {
            // a thread that panicked has acknowledged nothing
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn check(&self) -> io::Result<()> {
        match self.failed.get() {
            Some(reason) => Err(io::Error::other(reason.clone())),
            None => Ok(()),
        }
    }

    fn fail(&self, what: &str, error: &dyn std::fmt::Display) {
        let reason = format!("{what} failed, nothing is acknowledged any more: {error}");
        tracing::error!(reason, "log failed");
        let reason = self.failed.get_or_init(|| reason).clone();
        self.failure.send_replace(Some(reason));
    }

    fn push(&self, waiting: Waiting) {
        let mut queue = self.queue.lock();
        if queue.closed {
            drop(queue);
            return waiting.finish(&Err("the log is closed".to_owned()));
        }
        queue.waiting.push(waiting);
        drop(queue);
        self.arrived.notify_one();
    }

    fn run(&self, mut high_water: HighWater) {
        loop {
            let mut queue = self.queue.lock();
            let mut quiet = false;
            while queue.waiting.is_empty() && !queue.closed && !quiet {
                if high_water.is_dirty() {
                    quiet = self.arrived.wait_for(&mut queue, SYNC_INTERVAL).timed_out();
                } else {
                    self.arrived.wait(&mut queue);
                }
            }
            let batch = std::mem::take(&mut queue.waiting);
            let closed = queue.closed;
            drop(queue);

            *self.syncing_since.lock() = Some(Instant::now());
            let result = if batch.is_empty() {
                self.sync_mark(&mut high_water)
            } else {
                self.sync_batch(&batch, &mut high_water)
            };
            *self.syncing_since.lock() = None;
            for waiting in batch {
                waiting.finish(&result);
            }
            if closed && self.queue.lock().waiting.is_empty() {
                return;
            }
        }
    }

    /// Makes one batch durable; only then may it be acknowledged.
    fn sync_batch(&self, batch: &[Waiting], high_water: &mut HighWater) -> Result<(), String> {
        self.sync_batch_inner(batch, high_water).map_err(|error| {
            if self.failed.get().is_none() {
                self.fail("sync of the log", &error);
            }
            error.to_string()
        })
    }

    fn sync_batch_inner(&self, batch: &[Waiting], high_water: &mut HighWater) -> io::Result<()> {
        self.check()?;
        let mut sync_log = false;
        let mut sync_mark = false;
        let (mut appends, mut votes) = (false, false);
        for waiting in batch {
            match waiting {
                Waiting::Append { .. } => (sync_log, appends) = (true, true),
                Waiting::Vote { .. } => (sync_log, sync_mark, votes) = (true, true, true),
                Waiting::Lower { .. } => sync_mark = true,
            }
        }
        if appends {
            fault::io("raft.before_append_sync")?;
        }
        if votes {
            fault::io("vote.before_sync")?;
        }
        if sync_log {
            self.db.flush_wal(true).map_err(io::Error::other)?;
        }
        for waiting in batch {
            match waiting {
                Waiting::Append { group, last_log_id, .. } => {
                    high_water.set_last_log_id(*group, Some(*last_log_id));
                }
                Waiting::Vote { group, vote, .. } => high_water.set_vote(*group, *vote),
                Waiting::Lower { group, last_log_id, .. } => {
                    high_water.set_last_log_id(*group, *last_log_id);
                }
            }
        }
        high_water.write()?;
        if sync_mark {
            high_water.sync()?;
        }
        if appends {
            fault::point("raft.after_append_before_callback");
        }
        if votes {
            fault::point("vote.after_sync");
        }
        Ok(())
    }

    fn sync_mark(&self, high_water: &mut HighWater) -> Result<(), String> {
        if !high_water.is_dirty() || self.failed.get().is_some() {
            return Ok(());
        }
        high_water.sync().map_err(|error| {
            self.fail("sync of the high-water file", &error);
            error.to_string()
        })
    }
}

impl Waiting {
    fn finish(self, result: &Result<(), String>) {
        let result = result.clone().map_err(io::Error::other);
        match self {
            Self::Append { done, .. } => done.io_completed(result),
            // a receiver that is gone has stopped waiting
            Self::Vote { done, .. } | Self::Lower { done, .. } => drop(done.send(result)),
        }
    }
}

/// Followers that wait for a sync longer than a part of the election timeout make elections likely.
fn warn_of_slow_syncs(high_water: &mut HighWater) -> io::Result<()> {
    const SYNCS: usize = 5;
    /// A tenth of the shortest election timeout.
    const SLOW: Duration = Duration::from_millis(20);
    let mut took = [Duration::ZERO; SYNCS];
    for took in &mut took {
        let started = Instant::now();
        high_water.write()?;
        high_water.sync()?;
        *took = started.elapsed();
    }
    took.sort();
    let median_ms = u64::try_from(took[SYNCS / 2].as_millis()).unwrap_or(u64::MAX);
    if took[SYNCS / 2] > SLOW {
        tracing::warn!(median_ms, "syncs of this disk are slow: writes wait for them");
    }
    Ok(())
}

fn options() -> Options {
    let mut options = Options::default();
    options.create_if_missing(true);
    // what recovery drops is compared with the high-water file, see there
    options.set_wal_recovery_mode(DBRecoveryMode::PointInTime);
    options.set_paranoid_checks(true);
    options.set_write_buffer_size(32 << 20);
    options.set_max_write_buffer_number(4);
    options.set_max_total_wal_size(256 << 20);
    options.set_max_open_files(256);
    options.set_max_background_jobs(2);
    options.set_compression_type(rocksdb::DBCompressionType::Lz4);
    options.set_keep_log_file_num(4);
    options.set_max_log_file_size(8 << 20);
    options
}
