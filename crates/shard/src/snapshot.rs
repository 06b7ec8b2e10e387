//! Snapshots of a group: copies of the state's files, made with hard links.
//!
//! There is at most one current snapshot for each group. It is reference-counted: one that is being
//! streamed keeps its files although a newer one has taken its place.

use std::{
    fs,
    io::{self, Read as _, Write as _},
    path::{Path, PathBuf},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use conclave_fault as fault;
use parking_lot::Mutex;
use prost::Message;

use crate::{
    cut::CutDir,
    proto::{self, snapshot_chunk::Part},
    state_db::{
        InUse, StateDb, applied_of_files, check_files, read_small_file, sync_dir,
        write_file_atomically,
    },
    types::{SnapshotMeta, corrupt, snapshot_meta_in, snapshot_meta_out},
};

/// Holds the meta data, beside the files of the state.
const META_FILE: &str = "SNAPSHOT";
/// How soon one that waits for a check of others sees that it is to stop.
const CHECK_STOPS_WITHIN: Duration = Duration::from_millis(100);
/// Bytes of a file that travel in one message.
const CHUNK_BYTES: usize = 256 << 10;
/// Files of one snapshot. RocksDB writes far fewer; more is not a snapshot.
const FILES_MAX: u32 = 100_000;

/// A directory with the files of one state.
#[derive(Debug)]
pub struct SnapshotDir {
    path: PathBuf,
    meta: SnapshotMeta,
    delete_on_drop: AtomicBool,
    check: Check,
    _in_use: InUse,
}

/// Of [`SnapshotDir::check`].
#[derive(Debug, Default)]
struct Check {
    /// That it has found nothing.
    found_good: OnceLock<()>,
    /// Whose turn it is holds the key to go on from.
    turn: Mutex<Option<Vec<u8>>>,
}

impl SnapshotDir {
    /// Reads all of it, once: what RocksDB has not read for long may have been damaged on the disk since, and
    /// the checksums of a transfer would only say that the damage has arrived. Others that ask meanwhile wait for
    /// the first one. A transfer that is given up, as when a leader is replaced, must `stop` it: reading a large
    /// state takes long, and one more for every attempt would leave the machine no time for anything else. The next one goes on where
    /// it was stopped, so that attempts which are given up often come to an end as well.
    ///
    /// # Errors
    /// As [`check_files`]: only `InvalidData` is damage.
    pub(crate) fn check(&self, stop: &AtomicBool) -> io::Result<()> {
        while self.check.found_good.get().is_none() {
            if stop.load(Ordering::Acquire) {
                return Err(io::ErrorKind::Interrupted.into());
            }
            let Some(mut from) = self.check.turn.try_lock_for(CHECK_STOPS_WITHIN) else { continue };
            if self.check.found_good.get().is_none() {
                check_files(&self.path, stop, &mut from)?;
                self.check.found_good.get_or_init(|| ());
            }
        }
        Ok(())
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn meta(&self) -> &SnapshotMeta {
        &self.meta
    }

    /// The files have been moved, or are to stay.
    pub(crate) fn keep(&self) {
        self.delete_on_drop.store(false, Ordering::Release);
    }

    fn forget(&self) {
        self.delete_on_drop.store(true, Ordering::Release);
    }
}

impl Drop for SnapshotDir {
    fn drop(&mut self) {
        if self.delete_on_drop.load(Ordering::Acquire) {
            // what stays is removed at the next start
            let _ = fs::remove_dir_all(&self.path);
        }
    }
}

/// The snapshots of one group.
pub(crate) struct SnapshotStore {
    cluster_id: String,
    group: u32,
    dir: PathBuf,
    current: Mutex<Option<Arc<SnapshotDir>>>,
    next_name: AtomicU64,
    in_use: InUse,
}

impl SnapshotStore {
    /// Opens the directory, takes up the newest complete snapshot and removes everything else.
    ///
    /// # Errors
    /// From the disk.
    pub(crate) fn open(
        cluster_id: &str,
        group: u32,
        dir: PathBuf,
        in_use: &InUse,
    ) -> io::Result<Self> {
        fs::create_dir_all(&dir)?;
        let mut newest: Option<SnapshotDir> = None;
        for entry in fs::read_dir(&dir)? {
            let path = entry?.path();
            let complete = path
                .file_name()
                .is_some_and(|name| name.to_string_lossy().starts_with("snapshot-"));
            let found = if complete { read_meta(&path, cluster_id, group)? } else { None };
            match found {
                Some(meta) => {
                    let delete_on_drop = AtomicBool::new(true);
                    let found = SnapshotDir {
                        path,
                        meta,
                        delete_on_drop,
                        check: Check::default(),
                        _in_use: in_use.clone(),
                    };
                    let older = newest
                        .as_ref()
                        .is_some_and(|newest| newest.meta.last_log_id >= found.meta.last_log_id);
                    if !older {
                        newest = Some(found);
                    }
                }
                None => fs::remove_dir_all(&path)?,
            }
        }
        if let Some(newest) = &newest {
            newest.keep();
        }
        Ok(Self {
            cluster_id: cluster_id.to_owned(),
            group,
            dir,
            current: Mutex::new(newest.map(Arc::new)),
            next_name: AtomicU64::new(1),
            in_use: in_use.clone(),
        })
    }

    pub(crate) fn current(&self) -> Option<Arc<SnapshotDir>> {
        self.current.lock().clone()
    }

    fn temporary(&self, kind: &str) -> PathBuf {
        let number = self.next_name.fetch_add(1, Ordering::Relaxed);
        self.dir.join(format!("{kind}-{number}"))
    }

    /// Copies the state as it is now, and makes the copy the current snapshot.
    ///
    /// # Errors
    /// From the disk or RocksDB.
    pub(crate) fn build(&self, state: &StateDb) -> io::Result<Arc<SnapshotDir>> {
        let path = self.temporary("building");
        let guard = RemoveOnDrop(path.clone());
        state.checkpoint(&path)?;
        fault::io("snapshot.after_checkpoint_before_meta")?;
        // what the copy holds, not what has been applied meanwhile
        let (last_log_id, last_membership) = applied_of_files(&path)?;
        let meta = SnapshotMeta { last_log_id, last_membership };
        let stored = snapshot_meta_out(&self.cluster_id, self.group, &meta).encode_to_vec();
        if fault::bug("snapshot-renamed-before-sync") {
            fs::write(path.join(META_FILE), &stored)?;
        } else {
            write_file_atomically(&path, META_FILE, &stored)?;
            sync_files(&path)?;
        }
        fault::io("snapshot.after_temp_before_rename")?;

        let mut current = self.current.lock();
        if let Some(current) = &*current
            && current.meta.last_log_id >= meta.last_log_id
        {
            return Ok(current.clone());
        }
        let name = match &meta.last_log_id {
            Some(id) => {
                format!("snapshot-{}-{}-{}", id.leader_id.term, id.leader_id.node_id, id.index)
            }
            None => "snapshot-empty".to_owned(),
        };
        let final_path = self.dir.join(name);
        fs::rename(&path, &final_path)?;
        fault::io("snapshot.after_rename")?;
        sync_dir(&self.dir)?;
        guard.disarm();
        let built = Arc::new(SnapshotDir {
            path: final_path,
            meta,
            delete_on_drop: AtomicBool::new(false),
            check: Check::default(),
            _in_use: self.in_use.clone(),
        });
        if let Some(old) = current.replace(built.clone()) {
            old.forget();
        }
        Ok(built)
    }

    /// Copies the state as it is now, for somebody else.
    ///
    /// # Errors
    /// From the disk or RocksDB.
    pub(crate) fn cut(&self, state: &StateDb) -> io::Result<CutDir> {
        let dir = CutDir::new(self.temporary("cut"), self.in_use.clone());
        state.checkpoint(dir.path())?;
        Ok(dir)
    }

    /// Starts to receive a snapshot.
    ///
    /// # Errors
    /// From the disk, or that it is a snapshot of something else.
    pub(crate) fn receive(&self, meta: proto::SnapshotMeta) -> io::Result<Receiver> {
        if meta.cluster_id != self.cluster_id || meta.group != self.group {
            return Err(corrupt("a snapshot of another cluster or group"));
        }
        let path = self.temporary("received");
        fs::create_dir_all(&path)?;
        Ok(Receiver {
            dir: SnapshotDir {
                path,
                meta: snapshot_meta_in(meta)?,
                delete_on_drop: AtomicBool::new(true),
                check: Check::default(),
                _in_use: self.in_use.clone(),
            },
            file: None,
            files: 0,
            complete: false,
        })
    }
}

struct RemoveOnDrop(PathBuf);

impl RemoveOnDrop {
    fn disarm(mut self) {
        self.0 = PathBuf::new();
    }
}

impl Drop for RemoveOnDrop {
    fn drop(&mut self) {
        if !self.0.as_os_str().is_empty() {
            let _ = fs::remove_dir_all(&self.0);
        }
    }
}

fn read_meta(path: &Path, cluster_id: &str, group: u32) -> io::Result<Option<SnapshotMeta>> {
    let bytes = match read_small_file(&path.join(META_FILE)) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let meta = proto::SnapshotMeta::decode(&bytes[..]).map_err(corrupt)?;
    if meta.cluster_id != cluster_id || meta.group != group {
        return Err(corrupt("a snapshot of another cluster or group"));
    }
    snapshot_meta_in(meta).map(Some)
}

fn sync_files(dir: &Path) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        // table files are hard links to what RocksDB has synced
        if path.is_file() && path.extension().is_none_or(|extension| extension != "sst") {
            fs::File::open(path)?.sync_all()?;
        }
    }
    sync_dir(dir)
}

/// Reads the files of a snapshot as messages, one chunk in memory at a time.
pub(crate) struct Sender {
    /// Holds the files as long as they are read.
    snapshot: Arc<SnapshotDir>,
    names: Vec<String>,
    next: usize,
    file: Option<OpenFile>,
    sent_files: u32,
    ended: bool,
}

struct OpenFile {
    file: fs::File,
    bytes: u64,
    crc: crc32fast::Hasher,
}

impl Sender {
    /// # Errors
    /// From the disk.
    pub(crate) fn new(snapshot: Arc<SnapshotDir>) -> io::Result<Self> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&snapshot.path)? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if name != META_FILE && name != "LOCK" && entry.file_type()?.is_file() {
                names.push(name);
            }
        }
        names.sort();
        Ok(Self { snapshot, names, next: 0, file: None, sent_files: 0, ended: false })
    }

    /// The next message; `None` after the last one.
    ///
    /// # Errors
    /// From the disk.
    pub(crate) fn next(&mut self) -> io::Result<Option<Part>> {
        if let Some(open) = &mut self.file {
            let mut buffer = Vec::with_capacity(CHUNK_BYTES);
            (&mut open.file).take(CHUNK_BYTES as u64).read_to_end(&mut buffer)?;
            if buffer.is_empty() {
                let end = proto::FileEnd { bytes: open.bytes, crc32: open.crc.clone().finalize() };
                self.file = None;
                self.sent_files += 1;
                return Ok(Some(Part::FileEnd(end)));
            }
            open.bytes += buffer.len() as u64;
            open.crc.update(&buffer);
            let crc32 = crc32fast::hash(&buffer);
            return Ok(Some(Part::Data(proto::FileData { data: Bytes::from(buffer), crc32 })));
        }
        if let Some(name) = self.names.get(self.next).cloned() {
            self.next += 1;
            let file = fs::File::open(self.snapshot.path.join(&name))?;
            self.file = Some(OpenFile { file, bytes: 0, crc: crc32fast::Hasher::new() });
            return Ok(Some(Part::File(proto::FileBegin { name })));
        }
        if self.ended {
            return Ok(None);
        }
        self.ended = true;
        Ok(Some(Part::End(proto::SnapshotEnd { files: self.sent_files })))
    }
}

/// Writes the messages of a [`Sender`] to files. Dropped early, it leaves nothing behind.
pub(crate) struct Receiver {
    dir: SnapshotDir,
    file: Option<OpenFile>,
    files: u32,
    complete: bool,
}

impl Receiver {
    /// Takes the next message.
    ///
    /// # Errors
    /// From the disk, or that the messages make no snapshot.
    pub(crate) fn take(&mut self, part: Part) -> io::Result<()> {
        if self.complete {
            return Err(corrupt("a message after the end of a snapshot"));
        }
        match part {
            Part::Begin(_) => Err(corrupt("a snapshot begins twice")),
            Part::File(begin) => self.begin_file(&begin.name),
            Part::Data(data) => {
                let open = self.file.as_mut().ok_or_else(|| corrupt("data without a file"))?;
                if crc32fast::hash(&data.data) != data.crc32 {
                    return Err(corrupt("a chunk was damaged on the way"));
                }
                open.bytes += data.data.len() as u64;
                open.crc.update(&data.data);
                open.file.write_all(&data.data)
            }
            Part::FileEnd(end) => {
                let open = self.file.take().ok_or_else(|| corrupt("the end of no file"))?;
                if open.bytes != end.bytes || open.crc.finalize() != end.crc32 {
                    return Err(corrupt("a file was damaged on the way"));
                }
                self.files += 1;
                open.file.sync_all()
            }
            Part::End(end) => {
                if self.file.is_some() || end.files != self.files || self.files == 0 {
                    return Err(corrupt("a snapshot ends too early"));
                }
                self.complete = true;
                sync_dir(&self.dir.path)
            }
        }
    }

    fn begin_file(&mut self, name: &str) -> io::Result<()> {
        let plain =
            name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_'));
        if !plain || name.is_empty() || name.starts_with('.') || name.len() > 255 {
            return Err(corrupt("a snapshot file with a strange name"));
        }
        if self.file.is_some() || self.files >= FILES_MAX {
            return Err(corrupt(
                "a file begins before the last one has ended, or there are too many",
            ));
        }
        let file = fs::File::create_new(self.dir.path.join(name))?;
        self.file = Some(OpenFile { file, bytes: 0, crc: crc32fast::Hasher::new() });
        Ok(())
    }

    /// The snapshot, when all of it has arrived.
    ///
    /// # Errors
    /// That it has not.
    pub(crate) fn finish(self) -> io::Result<Arc<SnapshotDir>> {
        if !self.complete {
            return Err(corrupt("a snapshot without an end"));
        }
        Ok(Arc::new(self.dir))
    }
}

#[cfg(test)]
mod tests {
    use conclave_store::{Batch as _, Kv as _};

    use super::*;
    use crate::{
        state_db::{SharedMemory, StateBatch},
        types::log_id,
    };

    struct Fixture {
        _dir: tempfile::TempDir,
        state: Arc<StateDb>,
        snapshots: SnapshotStore,
    }

    fn fixture() -> Fixture {
        let dir = tempfile::tempdir().expect("a directory");
        let memory = SharedMemory::new(8 << 20, 4 << 20);
        let state = StateDb::open(&dir.path().join("state"), &memory).expect("opens");
        let snapshots = SnapshotStore::open("c", 1, dir.path().join("snapshots"), state.in_use())
            .expect("opens");
        Fixture { _dir: dir, state, snapshots }
    }

    fn write(state: &StateDb, index: u64) {
        let mut batch = StateBatch::default();
        batch.put(&[0x20], &index.to_be_bytes());
        batch.set_applied(&log_id(1, 1, index));
        state.write(batch.0).expect("writes");
    }

    fn parts(snapshot: Arc<SnapshotDir>) -> Vec<Part> {
        let mut sender = Sender::new(snapshot).expect("opens");
        std::iter::from_fn(|| sender.next().expect("reads")).collect()
    }

    #[test]
    fn a_snapshot_arrives_as_it_was_sent() {
        let f = fixture();
        write(&f.state, 7);
        let built = f.snapshots.build(&f.state).expect("builds");
        write(&f.state, 8);
        assert_eq!(built.meta().last_log_id, Some(log_id(1, 1, 7)));

        let meta = snapshot_meta_out("c", 1, built.meta());
        let mut receiver = f.snapshots.receive(meta).expect("begins");
        for part in parts(built) {
            receiver.take(part).expect("takes");
        }
        let received = receiver.finish().expect("is complete");
        let memory = SharedMemory::new(8 << 20, 4 << 20);
        let next = f.state.replace(received.path(), &memory).expect("replaces");
        received.keep();
        assert_eq!(next.get(&[0x20]).expect("reads"), Some(7u64.to_be_bytes().to_vec()));
        assert_eq!(next.applied().expect("reads").0, Some(log_id(1, 1, 7)));
    }

    #[test]
    fn a_damaged_or_incomplete_snapshot_is_refused_and_leaves_nothing() {
        let f = fixture();
        write(&f.state, 7);
        let built = f.snapshots.build(&f.state).expect("builds");
        let meta = snapshot_meta_out("c", 1, built.meta());

        let mut receiver = f.snapshots.receive(meta.clone()).expect("begins");
        let mut damaged = parts(built.clone());
        for part in &mut damaged {
            if let Part::FileEnd(end) = part {
                end.crc32 ^= 1;
            }
        }
        assert!(damaged.into_iter().any(|part| receiver.take(part).is_err()));
        let path = receiver.dir.path().to_owned();
        assert!(receiver.finish().is_err());
        assert!(!path.exists());

        let mut receiver = f.snapshots.receive(meta.clone()).expect("begins");
        let mut all = parts(built);
        all.truncate(all.len() - 1);
        for part in all {
            receiver.take(part).expect("takes");
        }
        assert!(receiver.finish().is_err());

        let mut receiver = f.snapshots.receive(meta).expect("begins");
        let escape = Part::File(proto::FileBegin { name: "../x".to_owned() });
        assert!(receiver.take(escape).is_err());
    }

    #[test]
    fn what_was_damaged_on_the_disk_since_it_was_written_is_not_sent() {
        let fixture = fixture();
        let built = fixture.snapshots.build(&fixture.state).expect("builds");
        let go_on = AtomicBool::new(false);
        built.check(&go_on).expect("nothing is damaged");
        for index in 1..=500 {
            write(&fixture.state, index);
        }
        let built = fixture.snapshots.build(&fixture.state).expect("builds");
        let mut tables =
            fs::read_dir(built.path()).expect("reads").flatten().map(|entry| entry.path());
        let table = tables.find(|path| path.extension().is_some_and(|kind| kind == "sst"));
        let table = table.expect("a table");
        let mut bytes = fs::read(&table).expect("reads");
        bytes[10] ^= 1;
        fs::write(&table, bytes).expect("writes");
        let error = built.check(&go_on).expect_err("is damaged");
        assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{error}");
        assert!(error.to_string().contains("Corruption"), "{error}");
    }

    /// Of a file that a scan reads through, another part may be damaged: then it does not open where somebody looks a row up.
    #[test]
    fn whatever_passes_the_check_opens_and_finds_every_row() {
        let fixture = fixture();
        for index in 1..=500 {
            write(&fixture.state, index);
        }
        let built = fixture.snapshots.build(&fixture.state).expect("builds");
        let tables = fs::read_dir(built.path()).expect("reads").flatten().map(|entry| entry.path());
        let mut tables: Vec<_> =
            tables.filter(|path| path.extension().is_some_and(|kind| kind == "sst")).collect();
        tables.sort_by_key(|path| fs::metadata(path).map_or(0, |of| of.len()));
        let table = tables.pop().expect("a table");
        let whole = fs::read(&table).expect("reads");
        let go_on = AtomicBool::new(false);
        let (mut found, mut passed) = (0, 0);
        for at in (0..whole.len()).step_by(61) {
            let mut bytes = whole.clone();
            bytes[at] ^= 1;
            // a file of its own: what is built shares it with the state
            fs::remove_file(&table).expect("removes");
            fs::write(&table, &bytes).expect("writes");
            match built.check(&go_on) {
                Err(_) => found += 1,
                Ok(()) => {
                    crate::state_db::look_everything_up(built.path())
                        .unwrap_or_else(|error| panic!("byte {at} passes: {error}"));
                    passed += 1;
                }
            }
        }
        assert!(found > passed, "{found} found, {passed} passed");
    }

    /// Set in the process that [`a_check_that_cannot_open_files_finds_no_damage`] starts.
    const FEW_FILES: &str = "CONCLAVE_TEST_FEW_FILES";

    /// In a process of its own: others need their file descriptors.
    #[test]
    fn a_check_that_cannot_open_files_finds_no_damage() {
        if std::env::var_os(FEW_FILES).is_some() {
            return check_with_few_files();
        }
        let this = "snapshot::tests::a_check_that_cannot_open_files_finds_no_damage";
        let script = "ulimit -n 256 && exec \"$0\" --exact \"$1\" --nocapture";
        let binary = std::env::current_exe().expect("a path");
        let mut process = std::process::Command::new("sh");
        process.args(["-c", script]).arg(binary).arg(this).env(FEW_FILES, "1");
        let done = process.output().expect("runs");
        let told = String::from_utf8_lossy(&done.stdout);
        let why = String::from_utf8_lossy(&done.stderr);
        assert!(done.status.success() && told.contains("1 passed"), "{told}{why}");
    }

    fn check_with_few_files() {
        let fixture = fixture();
        for index in 1..=500 {
            write(&fixture.state, index);
        }
        let built = fixture.snapshots.build(&fixture.state).expect("builds");
        let mut taken = Vec::new();
        while let Ok(file) = fs::File::open("/dev/null") {
            taken.push(file);
        }
        let go_on = AtomicBool::new(false);
        let mut failures = 0;
        // with one more each time, it fails at every file that it opens
        while let Err(error) = built.check(&go_on) {
            assert_ne!(error.kind(), io::ErrorKind::InvalidData, "{error}");
            assert!(error.to_string().contains("Too many open files"), "{error}");
            failures += 1;
            drop(taken.pop().expect("a file to close"));
        }
        assert!(failures > 1, "{failures}");
    }

    #[test]
    fn a_check_for_a_transfer_that_was_given_up_ends() {
        let fixture = fixture();
        for index in 1..=500 {
            write(&fixture.state, index);
        }
        let built = fixture.snapshots.build(&fixture.state).expect("builds");
        let (go_on, stop) = (AtomicBool::new(false), AtomicBool::new(true));
        let interrupted = |stop| built.check(stop).expect_err("ends").kind();
        assert_eq!(interrupted(&stop), io::ErrorKind::Interrupted);
        let mut from = None;
        let error = check_files(built.path(), &stop, &mut from).expect_err("ends");
        assert_eq!(error.kind(), io::ErrorKind::Interrupted);
        let first = from.clone().expect("a key to go on from");
        from = Some([&first[..], &[0]].concat());
        check_files(built.path(), &stop, &mut from).expect_err("ends");
        assert!(from.as_ref().is_some_and(|from| *from > first), "goes on behind the first row");
        check_files(built.path(), &go_on, &mut from).expect("nothing is damaged");
        // also one that waits for another's check
        let turn = built.check.turn.lock();
        let late = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| interrupted(&late));
            late.store(true, Ordering::Release);
            assert_eq!(waiting.join().expect("ends"), io::ErrorKind::Interrupted);
        });
        drop(turn);
        built.check(&go_on).expect("nothing is damaged");
        built.check(&stop).expect("is known to be good");
    }

    #[test]
    fn a_newer_snapshot_removes_the_older_one_when_nobody_reads_it() {
        let f = fixture();
        write(&f.state, 1);
        let first = f.snapshots.build(&f.state).expect("builds");
        write(&f.state, 2);
        f.snapshots.build(&f.state).expect("builds");
        assert!(first.path().exists(), "it is still read");
        let path = first.path().to_owned();
        drop(first);
        assert!(!path.exists());
        let again =
            SnapshotStore::open("c", 1, f.snapshots.dir.clone(), f.state.in_use()).expect("opens");
        let current = again.current().expect("a snapshot");
        assert_eq!(current.meta().last_log_id, Some(log_id(1, 1, 2)));
        assert!(
            SnapshotStore::open("other", 1, f.snapshots.dir.clone(), f.state.in_use()).is_err()
        );
    }
}
