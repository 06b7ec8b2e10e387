//! The state machine that openraft drives: entries become rows.

use std::{io, path::Path, sync::Arc};

use futures::{Stream, TryStreamExt};
use openraft::{
    EntryPayload, OptionalSend, RaftSnapshotBuilder, Snapshot,
    storage::{EntryResponder, RaftStateMachine},
};
use parking_lot::RwLock;
use prost::Message;
use tokio::{
    sync::{OwnedMutexGuard, watch},
    task::spawn_blocking,
};

use crate::{
    snapshot::{SnapshotDir, SnapshotStore},
    state_db::{SharedMemory, StateBatch, StateDb, applied_of_files},
    types::{LogEntry, LogId, Reply, SnapshotMeta, StoredMembers, Types, corrupt},
};

/// The state of a group, shared by who applies and who reads.
pub(crate) struct State {
    db: RwLock<Arc<StateDb>>,
    pub(crate) snapshots: SnapshotStore,
    memory: SharedMemory,
    /// One more than the index of the last applied entry; 0 at the start.
    applied: watch::Sender<u64>,
}

impl State {
    /// Opens the state and the snapshots of a group in `dir`.
    ///
    /// # Errors
    /// From the disk or RocksDB.
    pub(crate) fn open(
        cluster_id: &str,
        group: u32,
        dir: &Path,
        memory: SharedMemory,
    ) -> io::Result<Arc<Self>> {
        let db = StateDb::open(dir, &memory)?;
        let snapshots = SnapshotStore::open(cluster_id, group, dir.join("snapshots"))?;
        let applied = watch::Sender::new(next_index(db.applied()?.0.as_ref()));
        Ok(Arc::new(Self { db: RwLock::new(db), snapshots, memory, applied }))
    }

    /// The state as it is now; it stays readable while a snapshot takes its place.
    pub(crate) fn db(&self) -> Arc<StateDb> {
        self.db.read().clone()
    }

    /// One more than the index of the last applied entry.
    pub(crate) fn applied(&self) -> watch::Receiver<u64> {
        self.applied.subscribe()
    }

    /// Copies the state, so that logs can be purged and followers can be brought up.
    pub(crate) fn build_snapshot(&self) -> io::Result<Arc<SnapshotDir>> {
        self.snapshots.build(&self.db())
    }

    fn install(&self, meta: &SnapshotMeta, received: &SnapshotDir) -> io::Result<()> {
        let (applied, _) = applied_of_files(received.path())?;
        if applied != meta.last_log_id {
            return Err(corrupt("a snapshot does not hold what it says"));
        }
        let next = self.db().replace(received.path(), &self.memory)?;
        received.keep();
        *self.db.write() = next;
        self.applied.send_replace(next_index(meta.last_log_id.as_ref()));
        self.build_snapshot()?;
        Ok(())
    }
}

fn next_index(log_id: Option<&LogId>) -> u64 {
    log_id.map_or(0, |id| id.index + 1)
}

/// What openraft drives.
pub(crate) struct StateMachine {
    state: Arc<State>,
    /// There is one state machine at a time over a state.
    _applier: OwnedMutexGuard<()>,
}

impl StateMachine {
    pub(crate) fn new(state: Arc<State>, applier: OwnedMutexGuard<()>) -> Self {
        Self { state, _applier: applier }
    }
}

/// Applies one entry: everything that it changes is one batch.
fn apply_entry(db: &StateDb, entry: &LogEntry) -> io::Result<Reply> {
    let mut batch = StateBatch::default();
    let reply = match &entry.payload {
        EntryPayload::Blank => None,
        EntryPayload::Normal(command) => {
            let command = conclave_store::proto::Entry::decode(command.0.clone())
                .map_err(|error| corrupt(format!("log entry {}: {error}", entry.log_id)))?;
            Some(Arc::new(conclave_store::apply(db, &command, &mut batch)?))
        }
        EntryPayload::Membership(membership) => {
            let stored = StoredMembers::new(Some(entry.log_id), membership.clone());
            batch.set_membership(&stored);
            None
        }
    };
    batch.set_applied(&entry.log_id);
    db.write(batch.0)?;
    Ok(reply)
}

impl RaftStateMachine<Types> for StateMachine {
    type SnapshotData = Arc<SnapshotDir>;
    type SnapshotBuilder = SnapshotBuilder;

    async fn applied_state(&mut self) -> Result<(Option<LogId>, StoredMembers), io::Error> {
        self.state.db().applied()
    }

    async fn apply<Strm>(&mut self, mut entries: Strm) -> Result<(), io::Error>
    where
        Strm: Stream<Item = Result<EntryResponder<Types>, io::Error>> + Unpin + OptionalSend,
    {
        let db = self.state.db();
        while let Some((entry, responder)) = entries.try_next().await? {
            let reply = apply_entry(&db, &entry)?;
            self.state.applied.send_replace(next_index(Some(&entry.log_id)));
            if let Some(responder) = responder {
                responder.send(reply);
            }
        }
        Ok(())
    }

    async fn get_snapshot_builder(&mut self) -> SnapshotBuilder {
        SnapshotBuilder { state: self.state.clone() }
    }

    async fn install_snapshot(
        &mut self,
        meta: &SnapshotMeta,
        snapshot: Arc<SnapshotDir>,
    ) -> Result<(), io::Error> {
        let (state, meta) = (self.state.clone(), meta.clone());
        blocking(move || state.install(&meta, &snapshot)).await
    }

    async fn get_current_snapshot(
        &mut self,
    ) -> Result<Option<openraft::type_config::alias::SnapshotOf<Types, Arc<SnapshotDir>>>, io::Error>
    {
        let current = self.state.snapshots.current();
        Ok(current.map(|dir| Snapshot { meta: dir.meta().clone(), snapshot: dir }))
    }
}

/// Copies the state in the background.
pub(crate) struct SnapshotBuilder {
    state: Arc<State>,
}

impl RaftSnapshotBuilder<Types> for SnapshotBuilder {
    type SnapshotData = Arc<SnapshotDir>;

    async fn build_snapshot(
        &mut self,
    ) -> Result<openraft::type_config::alias::SnapshotOf<Types, Arc<SnapshotDir>>, io::Error> {
        let state = self.state.clone();
        let built = blocking(move || state.build_snapshot()).await?;
        Ok(Snapshot { meta: built.meta().clone(), snapshot: built })
    }
}

/// Runs what waits for the disk on a thread that may wait.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    spawn_blocking(work).await.map_err(io::Error::other)?
}
