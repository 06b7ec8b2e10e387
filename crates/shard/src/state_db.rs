//! The state of one group in RocksDB: rows, the applied log id and the membership.
//!
//! Nothing here is synced by a write: the log is the redo log. One batch holds all that an entry
//! changes, its log id with it, so that whatever a crash leaves is the state after some entry. Keys
//! below [`FIRST_ROW_BYTE`] belong to this module, the others to `conclave_store::apply`.
//!
//! The files are in `state-<generation>`; installing a snapshot makes the next generation. The file
//! `ACTIVE` names the one that counts.

use std::{
    fs, io,
    ops::ControlFlow,
    path::{Path, PathBuf},
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
};

use conclave_fault as fault;
use conclave_store::{Batch, Kv, keys};
use parking_lot::Mutex;
use prost::Message;
use rocksdb::{
    BlockBasedIndexType, BlockBasedOptions, BlockBasedTablePinningTier, Cache, CompactOptions, DB,
    DBRecoveryMode, Direction, ErrorKind, FlushOptions, IteratorMode, Options, ReadOptions,
    WriteBatch, WriteBufferManager, WriteOptions,
};

use crate::{
    proto,
    types::{LogId, StoredMembers, corrupt, stored_membership_in, stored_membership_out},
};

/// Keys of the rows begin with this byte or a higher one.
pub(crate) const FIRST_ROW_BYTE: u8 = 0x10;
const APPLIED: &[u8] = &[0x01];
const MEMBERSHIP: &[u8] = &[0x02];
const HISTORY: &[u8] = &[0x03];

/// Memory that all state databases of a node share.
#[derive(Clone)]
pub(crate) struct SharedMemory {
    cache: Cache,
    write_buffers: WriteBufferManager,
}

impl SharedMemory {
    /// `cache_bytes` for blocks, `write_buffer_bytes` for memtables; the latter counts in the former.
    pub(crate) fn new(cache_bytes: usize, write_buffer_bytes: usize) -> Self {
        let cache = Cache::new_lru_cache(cache_bytes);
        let write_buffers = WriteBufferManager::new_write_buffer_manager_with_cache(
            write_buffer_bytes,
            false,
            cache.clone(),
        );
        Self { cache, write_buffers }
    }

    pub(crate) fn options(&self) -> Options {
        let mut table = BlockBasedOptions::default();
        table.set_block_cache(&self.cache);
        table.set_bloom_filter(10.0, false);
        table.set_whole_key_filtering(true);
        table.set_cache_index_and_filter_blocks(true);
        // in parts: whole ones have a megabyte and more for each large file, and push each other out of a small cache
        table.set_index_type(BlockBasedIndexType::TwoLevelIndexSearch);
        table.set_partition_filters(true);
        table.set_metadata_block_size(4_096);
        table.set_pin_top_level_index_and_filter(true);
        table.set_pin_l0_filter_and_index_blocks_in_cache(true);
        table.set_checksum_type(rocksdb::ChecksumType::XXH3);
        let mut options = Options::default();
        options.create_if_missing(true);
        options.set_block_based_table_factory(&table);
        options.set_write_buffer_manager(&self.write_buffers);
        options.set_write_buffer_size(8 << 20);
        options.set_max_write_buffer_number(3);
        options.set_compression_type(rocksdb::DBCompressionType::Lz4);
        options.set_wal_recovery_mode(DBRecoveryMode::PointInTime);
        options.set_paranoid_checks(true);
        options.set_max_open_files(128);
        options.set_max_background_jobs(2);
        options.set_keep_log_file_num(2);
        options.set_max_log_file_size(4 << 20);
        options.set_level_compaction_dynamic_level_bytes(true);
        options
    }
}

/// Kept by everything that has files of a group open, in this process. The count of an `Arc` of a database
/// reaches zero when its destructor begins; of this, the last clone goes when the destructor has ended.
#[derive(Debug, Clone, Default)]
pub(crate) struct InUse(Arc<()>);

impl InUse {
    pub(crate) fn watch(&self) -> Weak<()> {
        Arc::downgrade(&self.0)
    }
}

/// The first key, and the first one behind the others.
pub(crate) type KeyRange = (Vec<u8>, Vec<u8>);

/// Ranges that are remembered for [`StateDb::take_freed`], at most.
const FREED_MAX: usize = 1_024;

/// One opened generation. Closed when the last reader is gone; its files go then too when it has been
/// replaced.
pub(crate) struct StateDb {
    // before `files`: a database whose directory is gone waits for a flush that cannot succeed
    db: DB,
    files: Files,
    /// See [`StateDb::history`].
    history: AtomicU32,
    /// See [`StateDb::take_freed`].
    freed: Mutex<Vec<KeyRange>>,
    // after all that touches files
    in_use: InUse,
}

struct Files {
    path: PathBuf,
    /// Set when the next generation counts.
    replaced: AtomicBool,
}

impl Drop for Files {
    fn drop(&mut self) {
        if self.replaced.load(Ordering::Acquire) {
            // what stays is removed at the next start
            let _ = fs::remove_dir_all(&self.path);
        }
    }
}

impl StateDb {
    /// Opens the generation that counts, or makes the first one. Removes what a crash has left.
    ///
    /// # Errors
    /// From the disk or RocksDB.
    pub(crate) fn open(dir: &Path, memory: &SharedMemory) -> io::Result<Arc<Self>> {
        fs::create_dir_all(dir)?;
        let active = match read_small_file(&dir.join("ACTIVE")) {
            Ok(name) => String::from_utf8(name).map_err(corrupt)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let name = generation_name(1);
                set_active(dir, &name)?;
                name
            }
            Err(error) => return Err(error),
        };
        if parse_generation(&active).is_none() {
            return Err(corrupt("the file ACTIVE names no generation"));
        }
        for entry in fs::read_dir(dir)? {
            let name = entry?.file_name();
            let name = name.to_string_lossy();
            if name.starts_with("state-") && name != active {
                fs::remove_dir_all(dir.join(&*name))?;
            }
        }
        Self::open_generation(dir.join(&active), memory, InUse::default())
    }

    fn open_generation(
        path: PathBuf,
        memory: &SharedMemory,
        in_use: InUse,
    ) -> io::Result<Arc<Self>> {
        let db = DB::open(&memory.options(), &path).map_err(io::Error::other)?;
        let history = match db.get_pinned(HISTORY).map_err(io::Error::other)? {
            Some(bytes) => u32::from_be_bytes((*bytes).try_into().map_err(corrupt)?),
            None => 0,
        };
        let files = Files { path, replaced: AtomicBool::new(false) };
        let (history, freed) = (AtomicU32::new(history), Mutex::default());
        Ok(Arc::new(Self { db, files, history, freed, in_use }))
    }

    /// Makes the files in `received` the next generation, and opens it.
    ///
    /// # Errors
    /// From the disk or RocksDB; the present generation still counts then.
    pub(crate) fn replace(
        self: &Arc<Self>,
        received: &Path,
        memory: &SharedMemory,
    ) -> io::Result<Arc<Self>> {
        let dir = self
            .files
            .path
            .parent()
            .ok_or_else(|| io::Error::other("a state without a directory"))?;
        let current = self.files.path.file_name().and_then(|name| parse_generation(name.to_str()?));
        let name = generation_name(current.unwrap_or(0) + 1);
        let path = dir.join(&name);
        if path.exists() {
            fs::remove_dir_all(&path)?;
        }
        fs::rename(received, &path)?;
        sync_dir(dir)?;
        fault::io("install.after_rename_before_active")?;
        let next = Self::open_generation(path, memory, self.in_use.clone())?;
        set_active(dir, &name)?;
        self.files.replaced.store(true, Ordering::Release);
        Ok(next)
    }

    /// Shared by all generations of a group.
    pub(crate) fn in_use(&self) -> &InUse {
        &self.in_use
    }

    /// The last applied log id, and the membership.
    pub(crate) fn applied(&self) -> io::Result<(Option<LogId>, StoredMembers)> {
        read_applied(&self.db)
    }

    /// A checksum over all that has been applied, in order. Replicas that have applied the same entry
    /// have the same one, or their states differ.
    pub(crate) fn history(&self) -> u32 {
        self.history.load(Ordering::Acquire)
    }

    /// Writes what one entry changes, and that it has been applied, without the disk. One at a time.
    pub(crate) fn apply(&self, mut batch: StateBatch, log_id: &LogId) -> io::Result<()> {
        if fault::bug("applied-apart") {
            self.apply_apart(batch, log_id)?;
            return Ok(());
        }
        batch.set_applied(log_id);
        let history = self.next_history(&batch);
        batch.0.put(HISTORY, history.to_be_bytes());
        self.write(batch.0)?;
        self.history.store(history, Ordering::Release);
        if !batch.1.is_empty() {
            let mut freed = self.freed.lock();
            let room = FREED_MAX.saturating_sub(freed.len());
            freed.extend(batch.1.into_iter().take(room));
        }
        Ok(())
    }

    /// The large ranges that were deleted since the last call.
    pub(crate) fn take_freed(&self) -> Vec<KeyRange> {
        std::mem::take(&mut *self.freed.lock())
    }

    /// Rewrites the files that hold keys of these ranges, without what has been deleted. Takes as long as
    /// reading those files.
    pub(crate) fn compact(&self, ranges: &[KeyRange]) {
        let mut options = CompactOptions::default();
        // others go on meanwhile
        options.set_exclusive_manual_compaction(false);
        for (from, to) in ranges {
            self.db.compact_range_opt(Some(from), Some(to), &options);
        }
    }

    fn next_history(&self, batch: &StateBatch) -> u32 {
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(&self.history().to_be_bytes());
        hasher.update(batch.0.data());
        hasher.finalize()
    }

    /// A bug on purpose.
    fn apply_apart(&self, mut batch: StateBatch, log_id: &LogId) -> io::Result<()> {
        let history = self.next_history(&batch);
        batch.0.put(HISTORY, history.to_be_bytes());
        self.write(batch.0)?;
        self.history.store(history, Ordering::Release);
        let mut applied = StateBatch::default();
        applied.set_applied(log_id);
        self.write(applied.0)
    }

    /// Writes one batch, without the disk.
    pub(crate) fn write(&self, batch: WriteBatch) -> io::Result<()> {
        let mut options = WriteOptions::default();
        options.disable_wal(true);
        self.db.write_opt(batch, &options).map_err(io::Error::other)
    }

    /// Makes all that has been applied durable.
    pub(crate) fn flush(&self) -> io::Result<()> {
        let mut options = FlushOptions::default();
        options.set_wait(true);
        self.db.flush_opt(&options).map_err(io::Error::other)
    }

    /// Bytes of the files that count; 0 when the disk does not say.
    pub(crate) fn bytes(&self) -> u64 {
        let bytes = self.db.property_int_value("rocksdb.live-sst-files-size");
        bytes.ok().flatten().unwrap_or(0)
    }

    /// Makes a copy of the files (hard links) in `path`, which must not exist.
    pub(crate) fn checkpoint(&self, path: &Path) -> io::Result<()> {
        rocksdb::checkpoint::Checkpoint::new(&self.db)
            .and_then(|checkpoint| checkpoint.create_checkpoint(path))
            .map_err(io::Error::other)
    }

    /// Every row in order, as it is when this begins.
    pub(crate) fn visit_all(&self, visit: Visitor<'_>) -> io::Result<()> {
        crate::cut::visit_all(&self.db, visit)
    }

    /// One state of all rows, whatever is applied meanwhile.
    pub(crate) fn view(&self) -> View<'_> {
        View(self.db.snapshot())
    }
}

/// An error of RocksDB. Only where it has found damage, or the disk cannot read what it holds (`EIO`), it is `InvalidData`:
/// that there is no room, no file descriptor or no memory says nothing of what is stored.
pub(crate) fn failed(error: rocksdb::Error) -> io::Error {
    match error.kind() {
        ErrorKind::Corruption => io::Error::new(io::ErrorKind::InvalidData, error),
        ErrorKind::IOError if error.as_ref().contains("Input/output error") => {
            io::Error::new(io::ErrorKind::InvalidData, error)
        }
        _ => io::Error::other(error),
    }
}

/// The applied log id and membership that the files in `path` hold.
///
/// # Errors
/// From the disk or RocksDB, or that they cannot be decoded.
pub(crate) fn applied_of_files(path: &Path) -> io::Result<(Option<LogId>, StoredMembers)> {
    let mut options = Options::default();
    options.set_max_open_files(64);
    let db = DB::open_for_read_only(&options, path, true).map_err(failed)?;
    read_applied(&db)
}

/// The feature level of the group whose state the files in `path` hold.
///
/// # Errors
/// From the disk or RocksDB, or that it cannot be decoded.
pub(crate) fn level_of_files(path: &Path) -> io::Result<u32> {
    let mut options = Options::default();
    options.set_max_open_files(64);
    let db = DB::open_for_read_only(&options, path, true).map_err(failed)?;
    let state = db.get_pinned(keys::GROUP_STATE).map_err(failed)?;
    conclave_store::levels::of_state(state.as_deref())
}

/// Rows after which [`check_files`] looks whether it is to stop.
const CHECK_STOP_ROWS: u64 = 1_024;

/// Reads every row that the files in `path` hold, past all caches, or those `from` a key. When it is stopped, `from` is where to go on.
///
/// # Errors
/// `InvalidData` when something is damaged, and no other error says so; `Interrupted` when it was told to `stop`; what
/// else RocksDB and the system say.
pub(crate) fn check_files(
    path: &Path,
    stop: &AtomicBool,
    from: &mut Option<Vec<u8>>,
) -> io::Result<()> {
    let mut table = BlockBasedOptions::default();
    // No scan looks at filters, and a file with a damaged part of one does not open elsewhere. So each file's are read when it
    // is opened, which only those are that are pinned.
    table.set_bloom_filter(10.0, false);
    table.set_partition_pinning_tier(BlockBasedTablePinningTier::All);
    let mut options = Options::default();
    options.set_block_based_table_factory(&table);
    // for each there is a filter and an index in memory
    options.set_max_open_files(20);
    let db = DB::open_for_read_only(&options, path, true).map_err(failed)?;
    let mut reading = ReadOptions::default();
    reading.fill_cache(false);
    reading.set_verify_checksums(true);
    reading.set_readahead_size(1 << 20);
    let mut rows = db.raw_iterator_opt(reading);
    match from {
        Some(key) => rows.seek(key),
        None => rows.seek_to_first(),
    }
    let mut read = 0_u64;
    while rows.valid() {
        if read.is_multiple_of(CHECK_STOP_ROWS) && stop.load(Ordering::Acquire) {
            *from = rows.key().map(<[u8]>::to_vec);
            return Err(io::ErrorKind::Interrupted.into());
        }
        rows.next();
        read += 1;
    }
    rows.status().map_err(failed)
}

/// Opens files as a group does, and looks every row up that a scan finds.
#[cfg(test)]
pub(crate) fn look_everything_up(path: &Path) -> io::Result<()> {
    let options = SharedMemory::new(8 << 20, 4 << 20).options();
    let db = DB::open_for_read_only(&options, path, true).map_err(failed)?;
    for row in db.iterator(IteratorMode::Start) {
        let (key, value) = row.map_err(failed)?;
        if db.get(&key).map_err(failed)?.as_deref() != Some(&value[..]) {
            return Err(io::Error::other("a row is not found"));
        }
    }
    Ok(())
}

fn read_applied(db: &DB) -> io::Result<(Option<LogId>, StoredMembers)> {
    let applied = match db.get_pinned(APPLIED).map_err(failed)? {
        Some(bytes) => Some(proto::LogId::decode(&bytes[..]).map_err(corrupt)?.into()),
        None => None,
    };
    let membership = match db.get_pinned(MEMBERSHIP).map_err(failed)? {
        Some(bytes) => {
            stored_membership_in(proto::StoredMembership::decode(&bytes[..]).map_err(corrupt)?)?
        }
        None => StoredMembers::default(),
    };
    Ok((applied, membership))
}

fn generation_name(generation: u64) -> String {
    format!("state-{generation}")
}

fn parse_generation(name: &str) -> Option<u64> {
    name.strip_prefix("state-")?.parse().ok()
}

fn set_active(dir: &Path, name: &str) -> io::Result<()> {
    write_file_atomically(dir, "ACTIVE", name.as_bytes())
}

/// Begins the end of a small file, before its checksum. No message goes on like this: there is no field 0, and no wire
/// type 7.
const CHECKED: &[u8; 4] = b"\x07CRC";

/// Writes a small file, with a checksum, so that after a crash it is there wholly or not at all.
pub(crate) fn write_file_atomically(dir: &Path, name: &str, content: &[u8]) -> io::Result<()> {
    let temporary = dir.join(format!("{name}.tmp"));
    let checksum = crc32fast::hash(content).to_be_bytes();
    fs::write(&temporary, [content, CHECKED, &checksum].concat())?;
    fs::File::open(&temporary)?.sync_all()?;
    fs::rename(&temporary, dir.join(name))?;
    sync_dir(dir)
}

/// Reads what [`write_file_atomically`] has written, or an earlier version, which added no checksum.
///
/// # Errors
/// From the disk, or that the file is not what was written.
pub(crate) fn read_small_file(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = fs::read(path)?;
    let Some(end) = bytes.len().checked_sub(CHECKED.len() + 4) else { return Ok(bytes) };
    let Some(checksum) = bytes[end..].strip_prefix(CHECKED) else { return Ok(bytes) };
    if crc32fast::hash(&bytes[..end]).to_be_bytes() != *checksum {
        return Err(corrupt(format!("{} is damaged: its checksum is wrong", path.display())));
    }
    bytes.truncate(end);
    Ok(bytes)
}

/// Makes the names in a directory durable.
pub(crate) fn sync_dir(dir: &Path) -> io::Result<()> {
    fs::File::open(dir)?.sync_all()
}

/// What one entry changes, and the large ranges among what it deletes.
#[derive(Default)]
pub(crate) struct StateBatch(pub(crate) WriteBatch, Vec<KeyRange>);

impl StateBatch {
    pub(crate) fn set_applied(&mut self, log_id: &LogId) {
        self.0.put(APPLIED, proto::LogId::from(log_id).encode_to_vec());
    }

    pub(crate) fn set_membership(&mut self, membership: &StoredMembers) {
        self.0.put(MEMBERSHIP, stored_membership_out(membership).encode_to_vec());
    }
}

impl Batch for StateBatch {
    fn put(&mut self, key: &[u8], value: &[u8]) {
        debug_assert!(key.first().is_some_and(|first| *first >= FIRST_ROW_BYTE));
        self.0.put(key, value);
    }

    fn delete(&mut self, key: &[u8]) {
        self.0.delete(key);
    }

    fn delete_range(&mut self, from: &[u8], to: &[u8]) {
        // RocksDB refuses a range that ends before it begins, and with it the whole batch
        if from < to {
            self.0.delete_range(from, to);
            if keys::is_large_range(from) {
                self.1.push((from.to_vec(), to.to_vec()));
            }
        }
    }
}

impl Kv for StateDb {
    fn get(&self, key: &[u8]) -> io::Result<Option<Vec<u8>>> {
        self.db.get(key).map_err(io::Error::other)
    }

    fn scan(
        &self,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
        visit: &mut dyn FnMut(&[u8], &[u8]) -> ControlFlow<()>,
    ) -> io::Result<()> {
        let start = scan_start(prefix, after);
        let mode = IteratorMode::From(&start, Direction::Forward);
        let rows = self.db.iterator_opt(mode, scan_options(prefix));
        visit_rows(rows, prefix, after, limit, visit)
    }
}

/// A RocksDB snapshot of the rows.
pub(crate) struct View<'a>(rocksdb::Snapshot<'a>);

impl Kv for View<'_> {
    fn get(&self, key: &[u8]) -> io::Result<Option<Vec<u8>>> {
        self.0.get(key).map_err(io::Error::other)
    }

    fn scan(
        &self,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
        visit: &mut dyn FnMut(&[u8], &[u8]) -> ControlFlow<()>,
    ) -> io::Result<()> {
        let start = scan_start(prefix, after);
        let mode = IteratorMode::From(&start, Direction::Forward);
        let rows = self.0.iterator_opt(mode, scan_options(prefix));
        visit_rows(rows, prefix, after, limit, visit)
    }
}

fn scan_start(prefix: &[u8], after: Option<&[u8]>) -> Vec<u8> {
    match after {
        Some(after) if after >= prefix => after.to_vec(),
        _ => prefix.to_vec(),
    }
}

fn scan_options(prefix: &[u8]) -> ReadOptions {
    let mut options = ReadOptions::default();
    if let Some(end) = conclave_store::keys::prefix_end(prefix) {
        options.set_iterate_upper_bound(end);
    }
    options
}

type Visitor<'a> = &'a mut dyn FnMut(&[u8], &[u8]) -> ControlFlow<()>;
type Row = (Box<[u8]>, Box<[u8]>);

fn visit_rows(
    rows: impl Iterator<Item = Result<Row, rocksdb::Error>>,
    prefix: &[u8],
    after: Option<&[u8]>,
    limit: usize,
    visit: Visitor<'_>,
) -> io::Result<()> {
    let mut left = limit;
    for row in rows {
        let (key, value) = row.map_err(io::Error::other)?;
        if left == 0 || !key.starts_with(prefix) {
            break;
        }
        if after.is_some_and(|after| &*key <= after) {
            continue;
        }
        left -= 1;
        if visit(&key, &value).is_break() {
            break;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::log_id;

    fn scan(kv: &dyn Kv, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Vec<Vec<u8>> {
        let mut keys = Vec::new();
        kv.scan(prefix, after, limit, &mut |key, _| {
            keys.push(key.to_vec());
            ControlFlow::Continue(())
        })
        .expect("scans");
        keys
    }

    #[test]
    fn a_view_does_not_see_what_is_written_later() {
        let dir = tempfile::tempdir().expect("a directory");
        let memory = SharedMemory::new(8 << 20, 4 << 20);
        let db = StateDb::open(dir.path(), &memory).expect("opens");
        let put = |key: &[u8]| {
            let mut batch = StateBatch::default();
            batch.put(key, b"v");
            batch.set_applied(&log_id(1, 1, 1));
            db.write(batch.0).expect("writes");
        };
        put(&[0x20, 1]);
        put(&[0x20, 2]);
        let view = db.view();
        put(&[0x20, 3]);
        put(&[0x21]);
        assert_eq!(scan(&view, &[0x20], None, 9), [[0x20, 1], [0x20, 2]]);
        assert_eq!(scan(&*db, &[0x20], Some(&[0x20, 1]), 9), [[0x20, 2], [0x20, 3]]);
        assert_eq!(scan(&*db, &[0x20], None, 1), [[0x20, 1]]);
    }

    /// The rows, the applied index and the history go together, whenever a crash or a copy comes.
    #[test]
    fn a_copy_made_at_any_moment_is_the_state_after_some_entry() {
        let dir = tempfile::tempdir().expect("a directory");
        let memory = SharedMemory::new(8 << 20, 4 << 20);
        let db = StateDb::open(&dir.path().join("state"), &memory).expect("opens");
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let mut index = 0_u64;
                while !stop.load(Ordering::Relaxed) {
                    index += 1;
                    let mut batch = StateBatch::default();
                    batch.put(&[0x20], &index.to_be_bytes());
                    db.apply(batch, &log_id(1, 1, index)).expect("applies");
                }
            });
            for copy in 0..40 {
                let path = dir.path().join(format!("copy-{copy}"));
                db.checkpoint(&path).expect("copies");
                let copied =
                    StateDb::open_generation(path, &memory, InUse::default()).expect("opens");
                let row = copied.get(&[0x20]).expect("reads").unwrap_or(vec![0; 8]);
                let applied = copied.applied().expect("reads").0.map_or(0, |id| id.index);
                let matches = row == applied.to_be_bytes();
                if !matches {
                    stop.store(true, Ordering::Relaxed);
                }
                assert!(matches, "a state between two entries: {row:?} at {applied}");
            }
            stop.store(true, Ordering::Relaxed);
        });
    }

    #[test]
    fn the_space_of_a_deleted_scope_is_freed() {
        let dir = tempfile::tempdir().expect("a directory");
        let memory = SharedMemory::new(8 << 20, 4 << 20);
        let db = StateDb::open(dir.path(), &memory).expect("opens");
        let row = |scope: &str, number: u64| keys::row(scope, &number.to_be_bytes());
        for number in 0..2_000_u64 {
            let mut batch = StateBatch::default();
            // what cannot be compressed
            let words = (0..64).map(|i| (64 * number + i).wrapping_mul(0x9e37_79b9_7f4a_7c15));
            let value: Vec<u8> = words.flat_map(u64::to_be_bytes).collect();
            batch.put(&row("gone", number), &value);
            batch.put(&row("kept", number), b"kept");
            db.apply(batch, &log_id(1, 1, number + 1)).expect("applies");
        }
        db.flush().expect("flushes");
        let before = db.bytes();
        let mut batch = StateBatch::default();
        batch.delete_prefix(&keys::row("gone", &[]));
        batch.delete_prefix(&row("kept", 7));
        db.apply(batch, &log_id(1, 1, 2_001)).expect("applies");
        let freed = db.take_freed();
        assert_eq!(freed.len(), 1, "the deletion of one row is none");
        assert!(db.take_freed().is_empty());
        db.compact(&freed);
        assert!(db.bytes() < before / 4, "{} of {before} bytes are left", db.bytes());
        assert_eq!(scan(&*db, &keys::row("gone", &[]), None, 9), Vec::<Vec<u8>>::new());
        assert_eq!(scan(&*db, &keys::row("kept", &[]), None, 5_000).len(), 1_999);
    }

    #[test]
    fn a_history_depends_on_every_entry_and_survives_a_restart() {
        let dir = tempfile::tempdir().expect("a directory");
        let memory = SharedMemory::new(8 << 20, 4 << 20);
        let history = |name: &str, values: &[u8]| {
            let db = StateDb::open(&dir.path().join(name), &memory).expect("opens");
            for (value, index) in values.iter().zip(1..) {
                let mut batch = StateBatch::default();
                batch.put(&[0x20], &[*value]);
                db.apply(batch, &log_id(1, 1, index)).expect("applies");
            }
            db.flush().expect("flushes");
            db.history()
        };
        let first = history("a", &[1, 2, 3]);
        assert_eq!(history("b", &[1, 2, 3]), first);
        assert_ne!(history("c", &[1, 9, 3]), first);
        assert_eq!(history("a", &[]), first);
    }

    #[test]
    fn a_replaced_state_keeps_answering_its_readers_and_then_its_files_go() {
        let dir = tempfile::tempdir().expect("a directory");
        let memory = SharedMemory::new(8 << 20, 4 << 20);
        let db = StateDb::open(dir.path(), &memory).expect("opens");
        let mut batch = StateBatch::default();
        batch.put(&[0x20], b"old");
        db.write(batch.0).expect("writes");
        let copy = dir.path().join("received");
        db.checkpoint(&copy).expect("copies");
        let mut batch = StateBatch::default();
        batch.put(&[0x20], b"newer");
        db.write(batch.0).expect("writes");

        let next = db.replace(&copy, &memory).expect("replaces");
        assert_eq!(db.get(&[0x20]).expect("reads"), Some(b"newer".to_vec()));
        assert_eq!(next.get(&[0x20]).expect("reads"), Some(b"old".to_vec()));
        drop((db, next));
        assert!(!dir.path().join("state-1").exists());
        let again = StateDb::open(dir.path(), &memory).expect("opens");
        assert_eq!(again.get(&[0x20]).expect("reads"), Some(b"old".to_vec()));
    }

    #[test]
    fn a_small_file_in_which_a_bit_has_flipped_is_refused() {
        let dir = tempfile::tempdir().expect("a directory");
        let message =
            proto::HeldGroups { groups: vec![proto::HeldGroup { group: 7, ..Default::default() }] };
        let content = message.encode_to_vec();
        write_file_atomically(dir.path(), "FILE", &content).expect("writes");
        let path = dir.path().join("FILE");
        assert_eq!(read_small_file(&path).expect("reads"), content);
        let good = fs::read(&path).expect("reads");
        for bit in 0..good.len() * 8 {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            fs::write(&path, &bad).expect("writes");
            let read = read_small_file(&path);
            let decoded = read.map(|bytes| proto::HeldGroups::decode(&bytes[..]).is_ok());
            assert!(!decoded.unwrap_or(false), "bit {bit}");
        }
        // of an earlier version
        fs::write(&path, &content).expect("writes");
        assert_eq!(read_small_file(&path).expect("reads"), content);
    }
}
