//! How much room the disk has, and what is still taken on when there is little.
//!
//! RocksDB goes on writing until the disk is really full, and then the log cannot be written: the
//! process would have to end, and could not start again. So it stops earlier. Below a first mark a leader
//! takes on nothing but deletions, and gives leadership away; below a second one a follower takes no more
//! entries, as if it could not be reached. Votes, heartbeats and everything that frees space go on. When
//! there is room again, all of it comes back by itself.

use std::{
    fmt, io,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    time::Duration,
};

use conclave_store::proto::{Commit, write::Action};

/// A sync that takes longer than this has met a disk that hangs.
const HANGS_AFTER: Duration = Duration::from_secs(3);
/// How much room above a mark there must be before it counts as passed again, in percent of the disk.
const HYSTERESIS: u64 = 1;

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

type Probe = dyn Fn(&Path) -> io::Result<Space> + Send + Sync;

/// What of the disk is kept free, in percent.
#[derive(Clone)]
pub struct DiskLimits {
    /// Below this, a leader takes on deletions only.
    pub commits_percent: u64,
    /// Below this, a follower takes no entries.
    pub entries_percent: u64,
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
            .field("interval", &self.interval)
            .finish_non_exhaustive()
    }
}

impl Default for DiskLimits {
    fn default() -> Self {
        Self {
            commits_percent: 5,
            entries_percent: 2,
            interval: Duration::from_secs(1),
            probe: Arc::new(|path| {
                let found = rustix::fs::statvfs(path)?;
                let bytes = |blocks: u64| blocks.saturating_mul(found.f_frsize);
                Ok(Space { total: bytes(found.f_blocks), free: bytes(found.f_bavail) })
            }),
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
}

impl DiskWatch {
    /// Looks at the disk of `dir`, which is made if it is not there.
    ///
    /// # Errors
    /// From the disk.
    pub(crate) fn new(dir: &Path, limits: DiskLimits) -> io::Result<Self> {
        std::fs::create_dir_all(dir)?;
        let watch = Self { dir: dir.to_owned(), limits, level: AtomicU8::new(ROOM) };
        watch.look();
        Ok(watch)
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
        let before = self.level.load(Ordering::Acquire);
        let level = self.level_of(space, before);
        self.level.store(level, Ordering::Release);
        if before != level && level == ROOM {
            tracing::info!("the disk has room again");
        }
        before == ROOM && level != ROOM
    }

    /// A mark that has been passed downwards is passed upwards a little higher: no flapping.
    fn level_of(&self, space: Space, before: u8) -> u8 {
        let is_below = |percent: u64, was_below: bool| {
            let percent = if was_below { percent + HYSTERESIS } else { percent };
            u128::from(space.free) * 100 < u128::from(space.total) * u128::from(percent)
        };
        if is_below(self.limits.entries_percent, before >= NO_ENTRIES) {
            NO_ENTRIES
        } else if is_below(self.limits.commits_percent, before >= NO_COMMITS) {
            NO_COMMITS
        } else {
            ROOM
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
    use std::sync::atomic::AtomicU64;

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
    fn the_disk_of_a_directory_has_a_size() {
        let dir = tempfile::tempdir().expect("a directory");
        let space = (DiskLimits::default().probe)(dir.path()).expect("looks");
        assert!(space.total > 0 && space.free <= space.total, "{space:?}");
    }
}
