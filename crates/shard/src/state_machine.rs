//! The state machine that openraft drives: entries become rows.

use std::{
    io,
    path::Path,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU32, Ordering},
    },
};

use conclave_fault as fault;
use conclave_store::{levels, proto::entry::Command};
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
use tracing::Span;

use crate::{
    feature_level::members_at,
    proposals::Proposals,
    snapshot::{SnapshotDir, SnapshotStore},
    state_db::{SharedMemory, StateBatch, StateDb, applied_of_files, level_of_files},
    types::{LogEntry, LogId, Reply, SnapshotMeta, StoredMembers, Types, corrupt},
};

/// A snapshot as openraft hands it about.
type FilesSnapshot = openraft::type_config::alias::SnapshotOf<Types, Arc<SnapshotDir>>;

/// The feature level of a group, as far as a replica has applied.
#[derive(Clone)]
pub(crate) struct AppliedLevel(Arc<AtomicU32>);

impl AppliedLevel {
    pub(crate) fn get(&self) -> u32 {
        self.0.load(Ordering::Acquire)
    }
}

/// The state of a group, shared by who applies and who reads.
pub(crate) struct State {
    db: RwLock<Arc<StateDb>>,
    pub(crate) snapshots: SnapshotStore,
    memory: SharedMemory,
    group: u32,
    /// The highest feature level that this node knows.
    known_level: u32,
    /// See [`State::level`].
    level: AppliedLevel,
    /// Why it does not go on: it has been given what it does not know.
    refused: OnceLock<String>,
    /// What is proposed here and not applied yet.
    pub(crate) proposals: Proposals,
    applied: watch::Sender<Applied>,
}

/// How far a state has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Applied {
    /// One more than the index of the last applied entry; 0 at the start.
    pub(crate) next: u64,
    /// [`StateDb::history`] then.
    pub(crate) history: u32,
}

impl Applied {
    fn of(db: &StateDb, last: Option<&LogId>) -> Self {
        Self { next: last.map_or(0, |id| id.index + 1), history: db.history() }
    }
}

impl State {
    /// Opens the state and the snapshots of a group in `dir`.
    ///
    /// # Errors
    /// From the disk or RocksDB; or that a later version has written the state.
    pub(crate) fn open(
        cluster_id: &str,
        group: u32,
        dir: &Path,
        memory: SharedMemory,
        known_level: u32,
    ) -> io::Result<Arc<Self>> {
        let db = StateDb::open(dir, &memory)?;
        let level = levels::of_group(&*db)?;
        levels::check(level, known_level)
            .map_err(|unknown| io::Error::other(format!("group {group} {unknown}")))?;
        let snapshots = SnapshotStore::open(cluster_id, group, dir.join("snapshots"), db.in_use())?;
        let applied = watch::Sender::new(Applied::of(&db, db.applied()?.0.as_ref()));
        Ok(Arc::new(Self {
            db: RwLock::new(db),
            snapshots,
            memory,
            group,
            known_level,
            level: AppliedLevel(Arc::new(AtomicU32::new(level))),
            refused: OnceLock::new(),
            proposals: Proposals::default(),
            applied,
        }))
    }

    /// Why the process must end: an entry or a snapshot needs more than this version knows.
    pub(crate) fn refused(&self) -> Option<String> {
        self.refused.get().cloned()
    }

    /// The feature level of the group, as far as this replica has applied.
    pub(crate) fn level(&self) -> u32 {
        self.level.get()
    }

    /// [`Self::level`], for those that must not keep the group's files open.
    pub(crate) fn applied_level(&self) -> AppliedLevel {
        self.level.clone()
    }

    /// Refuses what needs a level that this node does not know.
    fn check_level(&self, what: impl FnOnce() -> String, needed: u32) -> io::Result<()> {
        levels::check(needed, self.known_level).map_err(|unknown| {
            let reason = format!("group {}: {} {unknown}", self.group, what());
            // the first reason stays
            let _ = self.refused.set(reason.clone());
            io::Error::other(reason)
        })
    }

    /// The state as it is now; it stays readable while a snapshot takes its place.
    pub(crate) fn db(&self) -> Arc<StateDb> {
        self.db.read().clone()
    }

    /// How far the state has come.
    pub(crate) fn applied(&self) -> watch::Receiver<Applied> {
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
        let level = level_of_files(received.path())?;
        self.check_level(|| "a snapshot".to_owned(), level)?;
        fault::io("install.after_receive")?;
        let next = self.db().replace(received.path(), &self.memory)?;
        received.keep();
        let applied = Applied::of(&next, meta.last_log_id.as_ref());
        *self.db.write() = next;
        self.level.0.store(level, Ordering::Release);
        self.applied.send_replace(applied);
        fault::io("install.after_active")?;
        self.build_snapshot()?;
        Ok(())
    }
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

/// The span of applying a commit that was proposed here, in its request's trace. Elsewhere there is
/// none: a log entry carries no trace.
fn span_of(state: &State, entry: &conclave_store::proto::Entry, index: u64) -> Span {
    let Some(Command::Commit(commit)) = &entry.command else { return Span::none() };
    let Some(parent) = state.proposals.take(&commit.id) else { return Span::none() };
    let writes = commit.writes.len();
    tracing::info_span!(parent: &parent, "apply", group = i64::from(state.group), index, writes)
}

/// Raises nothing where the members are others than those that were asked: one of them may not know the level. The members
/// are part of the state, and the same wherever this entry is applied.
fn make_void(db: &StateDb, entry: &mut conclave_store::proto::Entry) -> io::Result<()> {
    let Some(Command::Raise(raise)) = &mut entry.command else { return Ok(()) };
    let Some(asked) = &raise.members else { return Ok(()) };
    let (_, members) = db.applied()?;
    if members.log_id().as_ref().map(members_at).as_ref() != Some(asked) {
        raise.level = levels::FIRST;
        entry.level = 0;
    }
    Ok(())
}

/// Applies one entry: everything that it changes is one batch.
fn apply_entry(state: &State, db: &StateDb, entry: &LogEntry) -> io::Result<Reply> {
    let mut batch = StateBatch::default();
    let mut span = Span::none();
    let mut raises = false;
    let reply = match &entry.payload {
        EntryPayload::Blank => None,
        EntryPayload::Normal(command) => {
            let mut command = conclave_store::proto::Entry::decode(command.0.clone())
                .map_err(|error| corrupt(format!("log entry {}: {error}", entry.log_id)))?;
            raises = matches!(command.command, Some(Command::Raise(_)));
            make_void(db, &mut command)?;
            state.check_level(|| format!("log entry {}", entry.log_id), command.level)?;
            span = span_of(state, &command, entry.log_id.index);
            let outcome = span.in_scope(|| conclave_store::apply(db, &command, &mut batch))?;
            Some(Arc::new(outcome))
        }
        EntryPayload::Membership(membership) => {
            let stored = StoredMembers::new(Some(entry.log_id), membership.clone());
            fault::io("membership.before_batch")?;
            batch.set_membership(&stored);
            None
        }
    };
    fault::io("apply.before_batch")?;
    span.in_scope(|| db.apply(batch, &entry.log_id))?;
    if raises {
        state.level.0.store(levels::of_group(db)?, Ordering::Release);
    }
    fault::point("apply.after_batch");
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
        let mut applied = 0_u32;
        while let Some((entry, responder)) = entries.try_next().await? {
            let reply = apply_entry(&self.state, &db, &entry)?;
            applied += 1;
            self.state.applied.send_replace(Applied::of(&db, Some(&entry.log_id)));
            if let Some(responder) = responder {
                responder.send(reply);
            }
        }
        tracing::debug!(group = self.state.group, entries = applied, "applied");
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

    async fn get_current_snapshot(&mut self) -> Result<Option<FilesSnapshot>, io::Error> {
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

    async fn build_snapshot(&mut self) -> Result<FilesSnapshot, io::Error> {
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

#[cfg(test)]
mod tests {
    use conclave_store::proto::{MembersAt, Raise};

    use super::*;
    use crate::types::{self, log_id};

    fn raise_to(level: u32, members: Option<MembersAt>) -> Command {
        Command::Raise(Raise { level, members })
    }

    #[test]
    fn a_level_is_raised_for_the_members_that_were_asked_and_for_no_others() {
        let dir = tempfile::tempdir().expect("a directory");
        let memory = SharedMemory::new(8 << 20, 4 << 20);
        let open = |name: &str, known| {
            State::open("c", 1, &dir.path().join(name), memory.clone(), known).expect("opens")
        };
        let members = |term, index, nodes: std::ops::RangeInclusive<u64>| {
            let nodes: std::collections::BTreeMap<_, _> =
                nodes.map(|id| (id, openraft::BasicNode::new("a:1"))).collect();
            let members = openraft::Membership::new(vec![[1].into()], nodes).expect("is valid");
            let payload = EntryPayload::Membership(members);
            LogEntry { log_id: log_id(term, 1, index), payload }
        };
        let raise = |index, asked: LogId| {
            let command = raise_to(2, Some(members_at(&asked)));
            let command = types::Command::new(&levels::entry(1, command));
            LogEntry { log_id: log_id(3, 1, index), payload: EntryPayload::Normal(command) }
        };
        let entries = [
            members(1, 1, 1..=1),
            // another leader has added node 2 since
            members(2, 2, 1..=2),
            raise(3, log_id(1, 1, 1)),
            // a leader whose entry was overwritten has asked others
            raise(4, log_id(1, 1, 2)),
        ];
        let (later, earlier) = (open("later", 2), open("earlier", 1));
        for entry in &entries {
            for state in [&later, &earlier] {
                apply_entry(state, &state.db(), entry).expect("applies");
                assert_eq!(state.level(), levels::FIRST, "{}", entry.log_id);
            }
        }
        assert_eq!(earlier.refused(), None, "who knows less goes on");
        assert_eq!(later.db().history(), earlier.db().history());
        let valid = raise(5, log_id(2, 1, 2));
        apply_entry(&later, &later.db(), &valid).expect("applies");
        assert_eq!(later.level(), 2);
        assert!(apply_entry(&earlier, &earlier.db(), &valid).is_err());
        drop(later);
        assert_eq!(open("later", 2).level(), 2, "as before it was closed");
    }

    #[test]
    fn what_needs_a_level_that_is_not_known_is_neither_applied_nor_installed_nor_opened() {
        let dir = tempfile::tempdir().expect("a directory");
        let memory = SharedMemory::new(8 << 20, 4 << 20);
        let open =
            |name: &str, known| State::open("c", 1, &dir.path().join(name), memory.clone(), known);
        let command = types::Command::new(&levels::entry(1, raise_to(2, None)));
        let raise = LogEntry { log_id: log_id(1, 1, 1), payload: EntryPayload::Normal(command) };
        let later = open("later", 2).expect("opens");
        apply_entry(&later, &later.db(), &raise).expect("applies");
        let snapshot = later.build_snapshot().expect("copies");

        let earlier = open("earlier", 1).expect("opens");
        let applied = apply_entry(&earlier, &earlier.db(), &raise).map(drop);
        assert_eq!(earlier.refused(), applied.as_ref().err().map(ToString::to_string));
        let installed = earlier.install(snapshot.meta(), &snapshot);
        assert_eq!(earlier.db().applied().expect("reads").0, None, "nothing is changed");
        drop((later, snapshot));
        let opened = open("later", 1).map(drop);
        for refused in [applied, installed, opened] {
            let error = refused.expect_err("is refused").to_string();
            assert!(error.contains("needs feature level 2"), "{error}");
        }
    }
}
