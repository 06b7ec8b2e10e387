//! A group's rows as they stood at one log entry, for a backup: a checkpoint of the leader's state, which stays as it is
//! while the group goes on.

use std::{
    fs, io,
    ops::ControlFlow,
    path::{Path, PathBuf},
};

use rocksdb::{DB, Direction, IteratorMode, Options, ReadOptions};
use tokio::task::spawn_blocking;

use crate::{
    GroupHost,
    group::{Group, GroupError},
    state_db::{FIRST_ROW_BYTE, InUse, applied_of_files},
    types::LogId,
};

/// Why a group has not been cut.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CutError {
    /// Another node leads the group; where it is, if that is known.
    #[error("this node does not lead the group")]
    NotLeader(Option<(u64, String)>),
    /// Nobody leads, or not in time.
    #[error("{0}")]
    Unavailable(String),
    /// From the disk.
    #[error("the state could not be copied: {0}")]
    Disk(String),
}

impl From<GroupError> for CutError {
    fn from(error: GroupError) -> Self {
        match error {
            GroupError::NotLeader(leader) => Self::NotLeader(leader),
            GroupError::Overloaded { .. } => Self::Unavailable("the group is overloaded".into()),
            GroupError::Unavailable(why) | GroupError::Unknown(why) => Self::Unavailable(why),
            GroupError::Full(why) | GroupError::Invalid(why) => Self::Unavailable(why),
        }
    }
}

/// Takes a row, its key first, and says whether to go on.
pub type VisitRow<'a> = &'a mut dyn FnMut(&[u8], &[u8]) -> ControlFlow<()>;

/// The rows of a group as they stood at one entry of its log. Its files go when it is dropped.
pub struct GroupCut {
    group: u32,
    log_id: Option<LogId>,
    // before `dir`: closed before its files go
    db: DB,
    _dir: CutDir,
}

impl GroupCut {
    /// The group.
    pub fn group(&self) -> u32 {
        self.group
    }

    /// The term of the last entry that the rows hold.
    pub fn term(&self) -> u64 {
        self.log_id.map_or(0, |id| id.leader_id.term)
    }

    /// The index of the last entry that the rows hold.
    pub fn index(&self) -> u64 {
        self.log_id.map_or(0, |id| id.index)
    }

    /// Every row in order, by physical key. Blocks.
    ///
    /// # Errors
    /// From the disk.
    pub fn rows(&self, visit: VisitRow<'_>) -> io::Result<()> {
        visit_all(&self.db, visit)
    }

    /// The rows whose physical keys begin with `prefix`, in order. Blocks.
    ///
    /// # Errors
    /// From the disk.
    pub fn rows_under(&self, prefix: &[u8], visit: VisitRow<'_>) -> io::Result<()> {
        visit_from(&self.db, prefix, &mut |key, value| match key.starts_with(prefix) {
            true => visit(key, value),
            false => ControlFlow::Break(()),
        })
    }
}

/// Rows of a database that is read once, from its beginning to its end.
pub(crate) fn visit_all(db: &DB, visit: VisitRow<'_>) -> io::Result<()> {
    visit_from(db, &[FIRST_ROW_BYTE], visit)
}

fn visit_from(db: &DB, from: &[u8], visit: VisitRow<'_>) -> io::Result<()> {
    let mut options = ReadOptions::default();
    // what is read once must not push out what is read often
    options.fill_cache(false);
    options.set_readahead_size(1 << 20);
    for row in db.iterator_opt(IteratorMode::From(from, Direction::Forward), options) {
        let (key, value) = row.map_err(io::Error::other)?;
        if visit(&key, &value).is_break() {
            break;
        }
    }
    Ok(())
}

/// Files of a cut.
pub(crate) struct CutDir {
    path: PathBuf,
    _in_use: InUse,
}

impl CutDir {
    pub(crate) fn new(path: PathBuf, in_use: InUse) -> Self {
        Self { path, _in_use: in_use }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for CutDir {
    fn drop(&mut self) {
        // what stays is removed at the next start
        let _ = fs::remove_dir_all(&self.path);
    }
}

impl Group {
    /// The rows as they are now, linearizably: whatever has been acknowledged before the call is in them.
    async fn cut(&self) -> Result<GroupCut, CutError> {
        let index = self.read_index().await?;
        self.wait_applied(index).await?;
        let (state, group) = (self.state.clone(), self.id);
        let cut = spawn_blocking(move || {
            let dir = state.snapshots.cut(&state.db())?;
            let (log_id, _) = applied_of_files(dir.path())?;
            let mut options = Options::default();
            options.set_max_open_files(64);
            let db =
                DB::open_for_read_only(&options, dir.path(), true).map_err(io::Error::other)?;
            Ok::<_, io::Error>(GroupCut { group, log_id, db, _dir: dir })
        });
        match cut.await {
            Ok(Ok(cut)) => Ok(cut),
            Ok(Err(error)) => Err(CutError::Disk(error.to_string())),
            Err(error) => Err(CutError::Disk(error.to_string())),
        }
    }
}

impl GroupHost {
    /// The rows of a group that this node leads, as they are now.
    ///
    /// # Errors
    /// See [`CutError`].
    pub async fn cut(&self, group: u32) -> Result<GroupCut, CutError> {
        match self.inner().group(group) {
            Some(group) => group.cut().await,
            None => Err(CutError::NotLeader(None)),
        }
    }
}
