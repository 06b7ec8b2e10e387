//! How much room the disk has, and what is still taken on when there is little.
//!
//! RocksDB goes on writing until the disk is really full, and then the log cannot be written: the
//! process would have to end, and could not start again. So it stops earlier. Below a first mark a leader
//! takes on nothing but deletions, and gives leadership away; below a second one a follower takes no more
//! entries, as if it could not be reached. Votes, heartbeats and everything that frees space go on. When
//! there is room again, all of it comes back by itself.
//!
//! A disk can fill up from one moment to the next, by what others write. So a node keeps a file that holds nothing but
//! room: below the first mark it is given up, and what is under way, elections and deletions have its bytes. It counts as
//! used until it is there again.

use std::{
    fmt,
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU8, AtomicU64, Ordering},
    },
    time::Duration,
};

use conclave_store::proto::{Commit, write::Action};
use parking_lot::Mutex;

/// A sync that takes longer than this has met a disk that hangs.
const HANGS_AFTER: Duration = Duration::from_secs(3);
/// Percentages are of at most 40 GiB: on a large disk 2 GiB are room enough, and a twentieth of it is not always free.
const COUNTED_MAX: u64 = 40 << 30;
/// How much room above a mark there must be before it counts as passed again, in percent of the disk.
const HYSTERESIS: u64 = 1;
/// The file that holds room.
const RESERVE: &str = "RESERVE";
/// The reserve takes no more of a small disk, in percent.
const RESERVE_PERCENT_MAX: u64 = 10;

/// Whether the disk hangs, by how long a sync has been under way.
pub(crate) fn hangs(syncing_for: Option<Duration>) -> bool {
    syncing_for.is_some_and(|syncing_for| syncing_for >= HANGS_AFTER)
}

/// How large a disk is, and what is free of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Space {
    /// Of the whole file system, in bytes.
    pub total: u64,
    /// What this process may still use of it, in bytes.
    pub free: u64,
}

impl Space {
    /// Of the file system that a path is on.
    ///
    /// # Errors
    /// What the system says.
    pub fn of(path: &Path) -> io::Result<Self> {
        let found = rustix::fs::statvfs(path)?;
        let bytes = |blocks: u64| blocks.saturating_mul(found.f_frsize);
        Ok(Self { total: bytes(found.f_blocks), free: bytes(found.f_bavail) })
    }
}

type Probe = dyn Fn(&Path) -> io::Result<Space> + Send + Sync;

/// What of the disk is kept free, in percent of the disk, or of 40 GiB where it is larger.
#[derive(Clone)]
pub struct DiskLimits {
    /// Below this, a leader takes on deletions only.
    pub commits_percent: u64,
    /// Below this, a follower takes no entries.
    pub entries_percent: u64,
    /// Bytes of a file that is given up when the disk is nearly full; 0: there is none.
    pub reserve_bytes: u64,
    /// How often the disk is looked at.
    pub interval: Duration,
    /// Looks at the disk that a directory is on.
    pub probe: Arc<Probe>,
}

impl fmt::Debug for DiskLimits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DiskLimits")
            .field("commits_percent", &self.commits_percent)
            .field("entries_percent", &self.entries_percent)
            .field("reserve_bytes", &self.reserve_bytes)
            .field("interval", &self.interval)
            .finish_non_exhaustive()
    }
}

impl Default for DiskLimits {
    fn default() -> Self {
        Self {
            commits_percent: 5,
            entries_percent: 2,
            reserve_bytes: 0,
            // what others write can fill a disk in a moment
            interval: Duration::from_millis(100),
            probe: Arc::new(Space::of),
        }
    }
}

const ROOM: u8 = 0;
const NO_COMMITS: u8 = 1;
const NO_ENTRIES: u8 = 2;

/// What was seen when the disk was last looked at.
pub(crate) struct DiskWatch {
    dir: PathBuf,
    limits: DiskLimits,
    level: AtomicU8,
    space: Mutex<Option<Space>>,
    /// Bytes of the reserve that are there.
    reserved: AtomicU64,
}

impl DiskWatch {
    /// Looks at the disk of `dir`, which is made if it is not there, before anything is written to it.
    ///
    /// # Errors
    /// From the disk.
    pub(crate) fn new(dir: &Path, limits: DiskLimits) -> io::Result<Self> {
        fs::create_dir_all(dir)?;
        let reserved = fs::metadata(dir.join(RESERVE)).map_or(0, |reserve| reserve.len());
        let watch = Self {
            dir: dir.to_owned(),
            limits,
            level: AtomicU8::new(ROOM),
            space: Mutex::default(),
            reserved: AtomicU64::new(reserved),
        };
        watch.look();
        Ok(watch)
    }

    /// What was last seen; `None` when the disk has never said.
    pub(crate) fn space(&self) -> Option<Space> {
        *self.space.lock()
    }

    pub(crate) fn interval(&self) -> Duration {
        self.limits.interval
    }

    /// Looks again; true when the disk has just become too full to lead.
    pub(crate) fn look(&self) -> bool {
        let space = match (self.limits.probe)(&self.dir) {
            Ok(space) => space,
            Err(error) => {
                // says nothing of the room; writes tell what else is wrong
                tracing::warn!(%error, "the disk could not be looked at");
                return false;
            }
        };
        *self.space.lock() = Some(space);
        let before = self.level.load(Ordering::Acquire);
        let level = self.level_of(space, before);
        self.level.store(level, Ordering::Release);
        self.keep_reserve(space, level);
        if before != level && level == ROOM {
            tracing::info!("the disk has room again");
        }
        before == ROOM && level != ROOM
    }

    /// How large the reserve is to be.
    fn reserve_of(&self, space: Space) -> u64 {
        self.limits.reserve_bytes.min(space.total / 100 * RESERVE_PERCENT_MAX)
    }

    /// A mark that has been passed downwards is passed upwards a little higher: no flapping. The first mark is of what is
    /// free when the reserve is whole, the second of what can be written.
    fn level_of(&self, space: Space, before: u8) -> u8 {
        let reserved = self.reserved.load(Ordering::Acquire);
        let missing = self.reserve_of(space).saturating_sub(reserved);
        let counted = space.total.min(COUNTED_MAX);
        let is_below = |free: u64, percent: u64, was_below: bool| {
            let percent = if was_below { percent + HYSTERESIS } else { percent };
            u128::from(free) * 100 < u128::from(counted) * u128::from(percent)
        };
        let (writable, spare) =
            (space.free.saturating_add(reserved), space.free.saturating_sub(missing));
        if is_below(writable, self.limits.entries_percent, before >= NO_ENTRIES) {
            NO_ENTRIES
        } else if is_below(spare, self.limits.commits_percent, before >= NO_COMMITS) {
            NO_COMMITS
        } else {
            ROOM
        }
    }

    /// Gives the reserve up while there is little room, and makes it again afterwards.
    fn keep_reserve(&self, space: Space, level: u8) {
        let reserved = self.reserved.load(Ordering::Acquire);
        let path = self.dir.join(RESERVE);
        if level != ROOM && reserved > 0 {
            match fs::remove_file(&path) {
                Ok(()) => tracing::warn!(bytes = reserved, "the reserve on the disk is given up"),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => {
                    tracing::error!(%error, "the reserve on the disk cannot be given up");
                    return;
                }
            }
            self.reserved.store(0, Ordering::Release);
        }
        let wanted = self.reserve_of(space);
        if level == ROOM && reserved < wanted {
            match make_reserve(&path, wanted) {
                Ok(()) => self.reserved.store(wanted, Ordering::Release),
                Err(error) => {
                    // some file systems cannot keep room: then there is none to give up
                    let _ = fs::remove_file(&path);
                    tracing::debug!(%error, "there is no reserve on the disk");
                }
            }
        }
    }

    pub(crate) fn is_full(&self) -> bool {
        self.level.load(Ordering::Acquire) != ROOM
    }

    pub(crate) fn takes_entries(&self) -> bool {
        self.level.load(Ordering::Acquire) != NO_ENTRIES
    }

    /// Whether a commit may be proposed.
    ///
    /// # Errors
    /// Why not, in words.
    pub(crate) fn check(&self, commit: &Commit) -> Result<(), String> {
        if !self.is_full() || frees_space(commit) {
            return Ok(());
        }
        Err("the disk is nearly full: only deletions are taken on".to_owned())
    }
}

/// A file of so many bytes that are there but have never been written.
fn make_reserve(path: &Path, bytes: u64) -> io::Result<()> {
    let file = File::create(path)?;
    rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, bytes)?;
    file.sync_all()
}

/// Deletions, and the counters that go with them.
fn frees_space(commit: &Commit) -> bool {
    let deletes = |action: &Option<Action>| {
        matches!(action, Some(Action::Delete(_) | Action::DeletePrefix(_)))
    };
    commit.writes.iter().any(|write| deletes(&write.action))
        && commit
            .writes
            .iter()
            .all(|write| deletes(&write.action) || matches!(write.action, Some(Action::Add(_))))
}

#[cfg(test)]
mod tests {
    use conclave_store::proto::{Add, Delete, Put, Write};

    use super::*;

    fn watch(dir: &Path) -> (DiskWatch, Arc<AtomicU64>) {
        let free = Arc::new(AtomicU64::new(50));
        let probed = free.clone();
        let probe: Arc<Probe> =
            Arc::new(move |_| Ok(Space { total: 1_000, free: probed.load(Ordering::Relaxed) }));
        let limits = DiskLimits { probe, ..DiskLimits::default() };
        (DiskWatch::new(dir, limits).expect("looks"), free)
    }

    fn commit(actions: &[Action]) -> Commit {
        let writes = actions
            .iter()
            .map(|action| Write { key: vec![1].into(), action: Some(action.clone()) });
        Commit { writes: writes.collect(), ..Commit::default() }
    }

    #[test]
    fn marks_are_passed_downwards_at_once_and_upwards_with_some_room() {
        let dir = tempfile::tempdir().expect("a directory");
        let (watch, free) = watch(dir.path());
        let mut seen = Vec::new();
        for now in [50, 49, 55, 60, 19, 29, 30, 60] {
            free.store(now, Ordering::Relaxed);
            seen.push((watch.look(), watch.is_full(), watch.takes_entries()));
        }
        assert_eq!(
            seen,
            [
                (false, false, true),
                (true, true, true),
                (false, true, true),
                (false, false, true),
                (true, true, false),
                (false, true, false),
                (false, true, true),
                (false, false, true),
            ]
        );
    }

    #[test]
    fn a_full_disk_takes_deletions_only() {
        let dir = tempfile::tempdir().expect("a directory");
        let (watch, free) = watch(dir.path());
        let (delete, put) = (Action::Delete(Delete {}), Action::Put(Put::default()));
        let add = Action::Add(Add::default());
        assert!(watch.check(&commit(std::slice::from_ref(&put))).is_ok());
        free.store(10, Ordering::Relaxed);
        watch.look();
        assert!(watch.check(&commit(&[delete.clone(), add.clone()])).is_ok());
        for actions in [&[put.clone()][..], &[delete, put], &[add], &[]] {
            assert!(watch.check(&commit(actions)).is_err(), "{actions:?}");
        }
    }

    #[test]
    fn the_reserve_is_given_up_when_there_is_little_room_and_comes_back_with_it() {
        const TOTAL: u64 = 1 << 20;
        const RESERVE_BYTES: u64 = 100_000;
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join(RESERVE);
        // of what is free, the reserve has taken its part
        let free = Arc::new(AtomicU64::new(300_000));
        let (probed, there) = (free.clone(), path.clone());
        let probe: Arc<Probe> = Arc::new(move |_| {
            let reserved = fs::metadata(&there).map_or(0, |reserve| reserve.len());
            let free = probed.load(Ordering::Relaxed).saturating_sub(reserved);
            Ok(Space { total: TOTAL, free })
        });
        let limits = DiskLimits { probe, reserve_bytes: RESERVE_BYTES, ..DiskLimits::default() };
        let watch = DiskWatch::new(dir.path(), limits.clone()).expect("looks");
        assert!(!watch.is_full());
        assert_eq!(fs::metadata(&path).expect("is there").len(), RESERVE_BYTES);

        // others have written all that was left
        free.store(RESERVE_BYTES, Ordering::Relaxed);
        assert!(watch.look());
        assert!(!path.exists(), "its bytes can be used");
        for _ in 0..2 {
            assert!(!watch.look());
            assert!(
                watch.is_full() && watch.takes_entries(),
                "there is room for what is under way"
            );
        }
        // one that starts then finds the same
        let started = DiskWatch::new(dir.path(), limits).expect("looks");
        assert!(started.is_full() && started.takes_entries() && !path.exists());
        // and those bytes have been used too
        free.store(10_000, Ordering::Relaxed);
        watch.look();
        assert!(!watch.takes_entries());

        free.store(300_000, Ordering::Relaxed);
        watch.look();
        assert!(!watch.is_full() && watch.takes_entries());
        assert_eq!(fs::metadata(&path).expect("is there").len(), RESERVE_BYTES);
    }

    #[test]
    fn a_large_disk_has_room_as_long_as_some_gibibytes_are_free() {
        let dir = tempfile::tempdir().expect("a directory");
        let free = Arc::new(AtomicU64::new(3 << 30));
        let probed = free.clone();
        let probe: Arc<Probe> =
            Arc::new(move |_| Ok(Space { total: 1 << 40, free: probed.load(Ordering::Relaxed) }));
        let watch = DiskWatch::new(dir.path(), DiskLimits { probe, ..DiskLimits::default() });
        let watch = watch.expect("looks");
        assert!(!watch.is_full(), "three thousandths of the disk, and 3 GiB");
        free.store(2_000 << 20, Ordering::Relaxed);
        watch.look();
        assert!(watch.is_full() && watch.takes_entries());
        free.store(800 << 20, Ordering::Relaxed);
        watch.look();
        assert!(!watch.takes_entries());
    }

    #[test]
    fn the_disk_of_a_directory_has_a_size() {
        let dir = tempfile::tempdir().expect("a directory");
        let space = (DiskLimits::default().probe)(dir.path()).expect("looks");
        assert!(space.total > 0 && space.free <= space.total, "{space:?}");
    }
}
