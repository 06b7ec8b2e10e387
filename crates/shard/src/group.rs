//! One group at work: proposals, reads, and the openraft instance behind them.

use std::{
    collections::{BTreeMap, VecDeque},
    io,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
    time::Duration,
};

use conclave_fault as fault;
use conclave_store::{Clock, levels, limits, proto as store};
use openraft::{
    BasicNode, Config, Raft,
    async_runtime::watch::WatchReceiver as _,
    errors::{ClientWriteError, Fatal, ForwardToLeader, InitializeError, RaftError},
};
use parking_lot::RwLock;
use tokio::{
    sync::{Mutex, Semaphore, watch},
    time::{Instant, timeout},
};
use tracing::Instrument as _;

use crate::{
    disk::DiskWatch,
    held::HeldGroup,
    host::Limits,
    log_store::LogStore,
    log_writer::LogWriter,
    read_index::ReadIndex,
    state_db::SharedMemory,
    state_machine::{State, StateMachine},
    status::{Counters, GroupStatus},
    transport::{Peers, ReplicaHandles},
    types::{Command, LogId, Types},
};

/// How often a group may be reopened in [`REOPEN_WINDOW`] before the node gives up.
const REOPENS_MAX: usize = 3;
const REOPEN_WINDOW: Duration = Duration::from_secs(600);
/// What an overloaded group tells its callers to wait.
const RETRY_AFTER_MS: u32 = 50;

/// Why a group gave no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum GroupError {
    /// Another node leads, perhaps this one. Nothing was done.
    NotLeader(Option<(u64, String)>),
    /// Too much is in flight. Nothing was done.
    Overloaded { retry_after_ms: u32 },
    /// No quorum in time, or the replica does not run. Nothing was done.
    Unavailable(String),
    /// The disk has no room for it. Nothing was done.
    Full(String),
    /// It was proposed, and its fate is not known.
    Unknown(String),
    /// It breaks a limit. Nothing was done.
    Invalid(String),
}

impl GroupError {
    pub(crate) fn not_leader(forward: ForwardToLeader<Types>) -> Self {
        Self::NotLeader(forward.leader_id.zip(forward.leader_node.map(|node| node.addr)))
    }
}

/// What all groups of a node share.
pub(crate) struct Shared {
    pub cluster_id: String,
    pub node_id: u64,
    pub clock: Arc<dyn Clock>,
    pub limits: Limits,
    pub config: Arc<Config>,
    pub peers: Arc<Peers>,
    pub log: Arc<LogWriter>,
    pub memory: SharedMemory,
    pub disk: DiskWatch,
    /// Whether the cluster is made with this node alone.
    pub alone: bool,
    /// Where openraft runs.
    pub runtime: tokio::runtime::Handle,
    pub fatal: MustEnd,
    /// Becomes true when the node is shutting down.
    pub stopping: watch::Sender<bool>,
}

/// Why the process has to end, as soon as there is a reason.
#[derive(Debug, Clone, Default)]
pub(crate) struct MustEnd(watch::Sender<Option<String>>);

impl MustEnd {
    pub(crate) fn report(&self, reason: String) {
        self.0.send_if_modified(|fatal| {
            let first = fatal.is_none();
            if first {
                // once: the peers of a node that has lost its data say so many times a second
                tracing::error!(reason, "this node must stop");
                *fatal = Some(reason);
            }
            first
        });
    }

    pub(crate) fn subscribe(&self) -> watch::Receiver<Option<String>> {
        self.0.subscribe()
    }
}

impl Shared {
    pub(crate) fn report_fatal(&self, reason: String) {
        self.fatal.report(reason);
    }

    /// Returns when the node is shutting down.
    pub(crate) async fn stopped(&self) {
        // the sender lives in this struct
        let _ = self.stopping.subscribe().wait_for(|stopping| *stopping).await;
    }
}

#[derive(Clone)]
struct Replica {
    raft: Raft<Types, StateMachine>,
    read_index: ReadIndex,
}

pub(crate) struct Group {
    pub id: u32,
    pub shared: Arc<Shared>,
    pub state: Arc<State>,
    pub log: LogStore,
    /// Those who vote when the cluster is made; empty on a node that is given the group later.
    first_voters: BTreeMap<u64, BasicNode>,
    /// Whether the first membership may be written; see [`Group::initialize`].
    may_initialize: AtomicBool,
    /// No candidate with less gets this replica's vote.
    vote_floor: Option<LogId>,
    /// This replica is no candidate as long as its log has less. It was a voter before its data was deleted, and while
    /// it is brought up again its log passes through the memberships of then: in one that has it alone it would elect
    /// itself, and take back what the voters of later have acknowledged.
    candidate_floor: Option<LogId>,
    replica: RwLock<Option<Replica>>,
    recovered: watch::Sender<bool>,
    /// Becomes true when the node has no part in the group any more.
    closed: watch::Sender<bool>,
    /// Held by the state machine that applies: never two, also while a replica is reopened.
    applier: Arc<Mutex<()>>,
    /// Held while a leader changes the members or raises the level: it adds nobody who has not been asked.
    pub members_or_level: Mutex<()>,
    commits: Semaphore,
    reads: Semaphore,
    last_stamp_ms: AtomicI64,
    counters: Counters,
}

impl Group {
    /// Opens the group's log and state, and starts its replica.
    ///
    /// # Errors
    /// From the disk, or what openraft finds wrong with it.
    pub(crate) async fn start(
        shared: Arc<Shared>,
        id: u32,
        dir: &Path,
        first_voters: BTreeMap<u64, BasicNode>,
        held: HeldGroup,
    ) -> io::Result<Arc<Self>> {
        let HeldGroup { vote_floor, opened_with, .. } = held;
        let log = LogStore::open(shared.log.clone(), id)?;
        let state = State::open(
            &shared.cluster_id,
            id,
            dir,
            shared.memory.clone(),
            shared.peers.levels.own(),
        )?;
        fault::io("group.after_open")?;
        let group = Arc::new(Self {
            id,
            state,
            log,
            // nobody has to be asked
            may_initialize: AtomicBool::new(shared.alone),
            first_voters,
            vote_floor,
            candidate_floor: if vote_floor.is_some() { vote_floor.max(opened_with) } else { None },
            replica: RwLock::default(),
            recovered: watch::Sender::new(false),
            closed: watch::Sender::new(false),
            applier: Arc::default(),
            members_or_level: Mutex::default(),
            commits: Semaphore::new(shared.limits.commits_in_flight_max),
            reads: Semaphore::new(shared.limits.reads_in_flight_max),
            last_stamp_ms: AtomicI64::new(0),
            counters: Counters::default(),
            shared,
        });
        group.snapshot_what_the_log_lacks()?;
        let raft = group.open_replica().await.map_err(|error| match group.state.refused() {
            Some(reason) => io::Error::other(reason),
            None => io::Error::other(error),
        })?;
        let supervised = group.clone();
        let ending = group.clone();
        group.shared.runtime.spawn(async move {
            tokio::select! {
                // first: a replica that has been closed has stopped too
                biased;
                () = ending.ended() => {}
                () = supervised.supervise(raft) => {}
            }
        });
        Ok(group)
    }

    /// A follower applies what the leader says is committed, perhaps before its own log is on disk.
    /// After a power cut the state can be ahead of the log, which then continues behind the state: a
    /// snapshot has to hold what the log does not.
    fn snapshot_what_the_log_lacks(&self) -> io::Result<()> {
        let (applied, _) = self.state.db().applied()?;
        let held = self.state.snapshots.current().and_then(|current| current.meta().last_log_id);
        if applied > self.log.last_log_id() || self.log.last_purged() > held {
            self.state.build_snapshot()?;
        }
        Ok(())
    }

    /// Starts openraft, once what it replaces is gone.
    async fn open_replica(self: &Arc<Self>) -> Result<Raft<Types, StateMachine>, Fatal<Types>> {
        let applier = self.applier.clone().lock_owned().await;
        if *self.closed.borrow() {
            return Err(Fatal::Stopped);
        }
        let is_candidate = self.log.last_log_id() >= self.candidate_floor;
        let config = match is_candidate {
            true => self.shared.config.clone(),
            false => Arc::new(Config { enable_elect: false, ..(*self.shared.config).clone() }),
        };
        let raft = Raft::new(
            self.shared.node_id,
            config,
            self.shared.peers.of_group(self.id, self.state.applied_level()),
            self.log.clone(),
            StateMachine::new(self.state.clone(), applier),
        )
        .await?;
        let first_start = self.initialize(&raft).await?;
        let read_index = ReadIndex::new(
            raft.clone(),
            self.shared.limits.read_round_timeout,
            self.shared.clock.clone(),
            self.shared.runtime.clone(),
        );
        *self.replica.write() = Some(Replica { raft: raft.clone(), read_index });
        if !is_candidate {
            let (group, waiting) = (self.clone(), raft.clone());
            self.shared.runtime.spawn(async move {
                tokio::select! {
                    () = group.become_candidate(&waiting) => {}
                    () = group.ended() => {}
                }
            });
        }
        if is_candidate && !first_start && self.only_voter(&raft) {
            // nobody else can have been elected: no need to wait for a time-out
            raft.trigger().elect(false).await?;
        }
        let (group, recovering) = (self.clone(), raft.clone());
        self.shared.runtime.spawn(async move {
            tokio::select! {
                () = group.wait_for_recovery(&recovering) => {}
                () = group.ended() => {}
            }
        });
        Ok(raft)
    }

    /// Whether the first membership has yet to be written here.
    pub(crate) async fn is_new(&self) -> bool {
        let Some(raft) = self.raft() else { return false };
        !self.first_voters.is_empty() && raft.is_initialized().await.is_ok_and(|is| !is)
    }

    /// The other first voters have been asked, and know nothing against it: writes the first
    /// membership, now and should the replica be reopened before that has happened.
    pub(crate) async fn allow_initialize(&self) {
        self.may_initialize.store(true, Ordering::Release);
        if let Some(raft) = self.raft() {
            // an error means that the replica has stopped, and is reopened
            let _ = self.initialize(&raft).await;
        }
    }

    /// Writes the first membership, once, and says whether it has. Every first voter does, with the
    /// same members.
    async fn initialize(&self, raft: &Raft<Types, StateMachine>) -> Result<bool, Fatal<Types>> {
        if self.first_voters.is_empty()
            || !self.may_initialize.load(Ordering::Acquire)
            || raft.is_initialized().await?
        {
            return Ok(false);
        }
        match raft.initialize(self.first_voters.clone()).await {
            Ok(()) => Ok(true),
            // a leader has brought the log already
            Err(RaftError::APIError(InitializeError::NotAllowed(_))) => Ok(false),
            Err(RaftError::APIError(error)) => {
                self.shared.report_fatal(format!("group {} cannot be made: {error}", self.id));
                Ok(false)
            }
            Err(RaftError::Fatal(fatal)) => Err(fatal),
        }
    }

    /// Lets the replica be elected once its log has what was deleted here; see [`Group::candidate_floor`].
    async fn become_candidate(&self, raft: &Raft<Types, StateMachine>) {
        let mut metrics = raft.metrics();
        while self.log.last_log_id() < self.candidate_floor {
            if metrics.changed().await.is_err() {
                return;
            }
        }
        raft.runtime_config().elect(true);
    }

    fn only_voter(&self, raft: &Raft<Types, StateMachine>) -> bool {
        let metrics = raft.metrics();
        let metrics = metrics.borrow_watched();
        metrics.membership_config.voter_ids().eq([self.shared.node_id])
    }

    async fn wait_for_recovery(&self, raft: &Raft<Types, StateMachine>) {
        if raft.wait_for_recovery(None).await.is_ok() {
            self.recovered.send_replace(true);
        }
    }

    /// Watches the replica, and reopens it when it has stopped by an error.
    async fn supervise(self: Arc<Self>, mut raft: Raft<Types, StateMachine>) {
        let mut reopened: VecDeque<Instant> = VecDeque::new();
        loop {
            let reason = self.watch(&raft).await;
            self.recovered.send_replace(false);
            *self.replica.write() = None;
            let failure = self.shared.log.failure().borrow().clone();
            if let Some(failure) = failure.or_else(|| self.state.refused()) {
                self.shared.report_fatal(failure);
                // an error means that it has stopped already
                let _ = raft.shutdown().await;
                return;
            }
            let now = Instant::now();
            while reopened.front().is_some_and(|at| now.duration_since(*at) > REOPEN_WINDOW) {
                reopened.pop_front();
            }
            if reopened.len() >= REOPENS_MAX {
                let id = self.id;
                return self
                    .shared
                    .report_fatal(format!("group {id} stops again and again: {reason}"));
            }
            reopened.push_back(now);
            Counters::count(&self.counters.reopened);
            tracing::error!(group = self.id, reason, "the replica has stopped, and is reopened");
            // waits until the stopped one is gone
            let _ = raft.shutdown().await;
            match self.open_replica().await {
                Ok(next) => raft = next,
                Err(error) => {
                    let id = self.id;
                    return self
                        .shared
                        .report_fatal(format!("group {id} cannot be reopened: {error}"));
                }
            }
        }
    }

    /// Returns why the replica has stopped; counts changes of leader meanwhile.
    async fn watch(&self, raft: &Raft<Types, StateMachine>) -> String {
        let mut metrics = raft.metrics();
        let mut log_failure = self.shared.log.failure();
        let mut leader = None;
        loop {
            {
                let now = metrics.borrow_watched();
                if let Err(fatal) = &now.running_state {
                    return fatal.to_string();
                }
                if now.current_leader.is_some() && now.current_leader != leader {
                    leader = now.current_leader;
                    Counters::count(&self.counters.leader_changes);
                }
            }
            tokio::select! {
                changed = metrics.changed() => {
                    if changed.is_err() {
                        return "its task has ended".to_owned();
                    }
                }
                // a group without writes would go on leading over a log that it cannot write
                _ = log_failure.wait_for(Option::is_some) => return "the log has failed".to_owned(),
            }
        }
    }

    fn replica(&self) -> Result<Replica, GroupError> {
        let replica = self.replica.read().clone();
        replica.ok_or_else(|| GroupError::Unavailable(format!("group {} does not run", self.id)))
    }

    /// What the transport needs; `None` while the replica does not run.
    pub(crate) fn handles(&self) -> Option<ReplicaHandles> {
        let raft = self.replica.read().as_ref()?.raft.clone();
        Some(ReplicaHandles { raft, state: self.state.clone(), vote_floor: self.vote_floor })
    }

    /// The openraft instance; `None` while it does not run.
    pub(crate) fn raft(&self) -> Option<Raft<Types, StateMachine>> {
        Some(self.replica.read().as_ref()?.raft.clone())
    }

    /// Whether this node leads the group, as far as it knows.
    pub(crate) fn leads(&self) -> bool {
        self.raft().is_some_and(|raft| raft.is_leader())
    }

    /// A linearizable read.
    pub(crate) async fn read(&self, read: &store::Read) -> Result<store::ReadResult, GroupError> {
        let span = tracing::info_span!(
            "shard.read",
            group = i64::from(self.id),
            node = self.shared.node_id
        );
        self.read_now(read).instrument(span).await
    }

    async fn read_now(&self, read: &store::Read) -> Result<store::ReadResult, GroupError> {
        limits::check_read(read).map_err(GroupError::Invalid)?;
        let _permit = self.reads.try_acquire().map_err(|_| overloaded())?;
        let replica = self.replica()?;
        if !fault::bug("follower-read") {
            let index = replica.read_index.get().await?;
            self.wait_applied(index).await?;
        }
        let db = self.state.db();
        let result = conclave_store::read(&db.view(), read, self.shared.clock.now_ms());
        Counters::count(&self.counters.reads);
        result.map_err(|error| {
            self.shared
                .report_fatal(format!("group {}: the state cannot be read: {error}", self.id));
            GroupError::Unavailable(error.to_string())
        })
    }

    /// The index that a state must have applied so that it holds whatever has been acknowledged by now.
    pub(crate) async fn read_index(&self) -> Result<u64, GroupError> {
        self.replica()?.read_index.get().await
    }

    pub(crate) async fn wait_applied(&self, index: u64) -> Result<(), GroupError> {
        let mut applied = self.state.applied();
        let wait = applied.wait_for(|applied| applied.next > index);
        match timeout(self.shared.limits.read_timeout, wait).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(_)) => Err(GroupError::Unavailable("the replica has stopped".into())),
            Err(_) => Err(GroupError::Unavailable("the state has not caught up in time".into())),
        }
    }

    /// Commits one transaction.
    pub(crate) async fn commit(&self, commit: store::Commit) -> Result<store::Outcome, GroupError> {
        let span = tracing::info_span!(
            "shard.commit",
            group = i64::from(self.id),
            node = self.shared.node_id
        );
        self.commit_now(commit).instrument(span).await
    }

    async fn commit_now(&self, commit: store::Commit) -> Result<store::Outcome, GroupError> {
        limits::check_commit(&commit).map_err(GroupError::Invalid)?;
        // who does not lead says who does
        if self.leads() {
            self.shared.disk.check(&commit).map_err(GroupError::Full)?;
        }
        let Ok(_permit) = self.commits.try_acquire() else {
            Counters::count(&self.counters.commits_overloaded);
            return Err(overloaded());
        };
        let started = Instant::now();
        let _proposal = self.state.proposals.remember(commit.id.clone());
        let result = self.propose(store::entry::Command::Commit(commit)).await;
        match &result {
            Ok(_) => self.counters.committed(started.elapsed()),
            Err(GroupError::Unknown(_)) => Counters::count(&self.counters.commits_unknown),
            Err(_) => {}
        }
        result
    }

    /// Proposes an entry and waits for its outcome. Who calls limits how many are in flight.
    pub(crate) async fn propose(
        &self,
        command: store::entry::Command,
    ) -> Result<store::Outcome, GroupError> {
        let replica = self.replica()?;
        self.check_level(&command)?;
        let entry = levels::entry(self.stamp_ms(), command);
        let write = replica.raft.client_write(Command::new(&entry));
        let limit = match fault::bug("ack-before-quorum") {
            true => Duration::from_millis(200),
            false => self.shared.limits.commit_timeout,
        };
        let answer = match timeout(limit, write).await {
            Ok(answer) => answer,
            Err(_) if fault::bug("ack-before-quorum") => {
                let committed = store::outcome::Result::Committed(store::Committed { seq: 1 });
                return Ok(store::Outcome { result: Some(committed) });
            }
            Err(_) => return Err(GroupError::Unknown("not applied in time".into())),
        };
        match answer {
            Ok(response) => match response.data {
                Some(outcome) => Ok(Arc::unwrap_or_clone(outcome)),
                None => Err(GroupError::Unknown("an entry without an outcome".into())),
            },
            Err(RaftError::APIError(ClientWriteError::ForwardToLeader(forward))) => {
                Err(GroupError::not_leader(forward))
            }
            // it was in a log, and may still be in that of the next leader
            Err(RaftError::APIError(error)) => Err(GroupError::Unknown(error.to_string())),
            Err(RaftError::Fatal(fatal)) => Err(GroupError::Unknown(fatal.to_string())),
        }
    }

    /// The time that goes into an entry: the wall clock, never going back on this node. `apply` takes
    /// the later of it and the group clock.
    fn stamp_ms(&self) -> i64 {
        let now_ms = self.shared.clock.now_ms();
        self.last_stamp_ms.fetch_max(now_ms, Ordering::Relaxed).max(now_ms)
    }

    /// Asks another voter to take over, when this node leads.
    pub(crate) async fn transfer_leadership(&self, to: u64) {
        if let Some(raft) = self.raft() {
            // a replica that has stopped leads nothing
            let _ = raft.trigger().transfer_leader(to).await;
        }
    }

    pub(crate) fn status(&self) -> GroupStatus {
        let mut status = GroupStatus { group: self.id, ..GroupStatus::default() };
        self.counters.fill(&mut status);
        status.is_new = !self.first_voters.is_empty();
        status.feature_level = self.level().unwrap_or(0);
        let Some(raft) = self.raft() else { return status };
        let metrics = raft.metrics();
        let metrics = metrics.borrow_watched();
        let index = |id: &Option<LogId>| id.map_or(0, |id| id.index);
        status.healthy = *self.recovered.borrow() && metrics.running_state.is_ok();
        status.term = metrics.current_term;
        status.leader = metrics.current_leader;
        status.is_leader = metrics.current_leader == Some(self.shared.node_id);
        status.last_log_index = metrics.last_log_index.unwrap_or(0);
        status.committed_index = index(&metrics.local_committed);
        let applied = *self.state.applied().borrow();
        status.applied_index = applied.next.saturating_sub(1);
        status.history = applied.history;
        status.snapshot_index = index(&metrics.snapshot);
        status.purged_index = index(&metrics.purged);
        status.is_new &= metrics.membership_config.log_id().is_none();
        status.is_voter = metrics.membership_config.voter_ids().any(|id| id == self.shared.node_id);
        status.voters = metrics
            .membership_config
            .voter_ids()
            .map(|id| {
                let node = metrics.membership_config.get_node(&id);
                (id, node.map(|node| node.addr.clone()).unwrap_or_default())
            })
            .collect();
        status
    }

    /// Returns when the group is closed here, or the node is shutting down.
    pub(crate) async fn ended(&self) {
        let mut closed = self.closed.subscribe();
        tokio::select! {
            // the sender lives in this struct
            _ = closed.wait_for(|closed| *closed) => {}
            () = self.shared.stopped() => {}
        }
    }

    /// Ends the replica, whose data is not needed any more.
    pub(crate) async fn end(&self) {
        self.closed.send_replace(true);
        let replica = self.replica.write().take();
        if let Some(replica) = replica {
            // an error means that it has stopped already
            let _ = replica.raft.shutdown().await;
        }
        // one that is being reopened may come after
        let _applier = self.applier.lock().await;
    }

    /// Stops the replica; what has been applied is on disk afterwards.
    pub(crate) async fn stop(&self) {
        let replica = self.replica.write().take();
        if let Some(replica) = replica {
            // an error means that it has stopped already
            let _ = replica.raft.shutdown().await;
        }
        fault::point("stop.before_flush");
        // without it, the log would be applied again at the next start
        if let Err(error) = self.state.db().flush() {
            tracing::warn!(group = self.id, %error, "the state could not be flushed");
        }
    }
}

fn overloaded() -> GroupError {
    GroupError::Overloaded { retry_after_ms: RETRY_AFTER_MS }
}

#[cfg(test)]
mod tests {
    use conclave_store::{Placement, StoreError};

    use super::*;
    use crate::{GroupHost, GroupHostOptions};

    struct Fixed;

    impl Clock for Fixed {
        fn now_ms(&self) -> i64 {
            1_000
        }
    }

    impl Placement for Fixed {
        fn group_of(&self, _: &str) -> Option<u32> {
            Some(1)
        }
    }

    async fn host(dir: &Path) -> GroupHost {
        let options = GroupHostOptions::alone("c".to_owned(), dir.to_owned(), 2, [1; 16]);
        let host = GroupHost::start(options, Arc::new(Fixed), Arc::new(Fixed)).await;
        crate::exit::without_destructors();
        let host = host.expect("starts");
        assert!(host.wait_ready(Duration::from_secs(10)).await);
        host
    }

    fn nothing() -> store::Read {
        store::Read { scope: "pool".to_owned(), ..store::Read::default() }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_replica_that_stops_is_reopened_three_times_and_then_the_node_gives_up() {
        let dir = tempfile::tempdir().expect("a directory");
        let host = host(dir.path()).await;
        let group = host.inner().group(1).expect("is there");
        for reopened in 1..=REOPENS_MAX as u64 {
            let raft = group.raft().expect("runs");
            raft.shutdown().await.expect("stops");
            drop(raft);
            let answered = async {
                while group.status().reopened < reopened || group.read(&nothing()).await.is_err() {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            };
            timeout(Duration::from_secs(10), answered).await.expect("answers again");
        }
        assert_eq!(*host.fatal().borrow(), None);
        group.raft().expect("runs").shutdown().await.expect("stops");
        let mut fatal = host.fatal();
        let told = timeout(Duration::from_secs(10), fatal.wait_for(Option::is_some)).await;
        assert!(told.is_ok(), "the process is told to end");
        let read = host.store().read(nothing()).await;
        assert!(matches!(read, Err(StoreError::Unavailable { .. })), "{read:?}");
        drop(group);
        host.kill().await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn who_lacks_what_was_deleted_here_gets_no_vote() {
        use crate::{
            held::Held,
            proto::held_group::State,
            transport::GroupDirectory as _,
            types::{Vote, VoteRequest, log_id},
        };
        let dir = tempfile::tempdir().expect("a directory");
        let floor = Some(log_id(4, 2, 9));
        let held = Held::open(dir.path(), &[0]).expect("opens");
        let opened_with = Some(log_id(5, 2, 10));
        let again = HeldGroup { state: State::Open, opened_with, vote_floor: floor };
        held.set(1, again).expect("writes");
        drop(held);
        let options = GroupHostOptions::alone("c".to_owned(), dir.path().to_owned(), 2, [1; 16]);
        let host = GroupHost::start(options, Arc::new(Fixed), Arc::new(Fixed)).await;
        crate::exit::without_destructors();
        let host = host.expect("starts");
        let replica = host.inner().replica(1).expect("runs");
        let ask = |last| replica.refuse_vote(&VoteRequest::new(Vote::new(7, 3), last));
        for less in [None, Some(log_id(3, 1, 40)), Some(log_id(4, 2, 8))] {
            let answer = ask(less).expect("is refused");
            assert!(!answer.vote_granted, "{less:?}");
            assert_eq!(answer.last_log_id, floor);
        }
        assert!(ask(floor).is_none());
        assert!(ask(Some(log_id(5, 1, 2))).is_none());
        drop(replica);
        host.kill().await;
    }

    /// Its log ends where it was the only voter, and others have voted since.
    #[tokio::test(flavor = "multi_thread")]
    async fn who_lacks_what_was_deleted_here_does_not_elect_itself() {
        use crate::{held::Held, proto::held_group::State, types::log_id};
        /// Several times as long as an election takes.
        const LONG: Duration = Duration::from_secs(3);
        let dir = tempfile::tempdir().expect("a directory");
        let first = host(dir.path()).await;
        first.shutdown().await;
        let start = async |floor| {
            let held = Held::open(dir.path(), &[0]).expect("opens");
            let again = HeldGroup { state: State::Open, opened_with: floor, vote_floor: floor };
            held.set(1, again).expect("writes");
            drop(held);
            let options =
                GroupHostOptions::alone("c".to_owned(), dir.path().to_owned(), 2, [1; 16]);
            GroupHost::start(options, Arc::new(Fixed), Arc::new(Fixed)).await.expect("starts")
        };
        let lacking = start(Some(log_id(40, 2, 900))).await;
        assert!(!lacking.wait_ready(LONG).await, "group 1 leads");
        let status = lacking.status();
        assert!(status.groups[0].is_leader && !status.groups[1].is_leader);
        lacking.shutdown().await;
        let whole = start(Some(log_id(1, 1, 1))).await;
        assert!(whole.wait_ready(Duration::from_secs(10)).await, "it has what was deleted");
        whole.shutdown().await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn reads_at_the_same_time_share_rounds() {
        let dir = tempfile::tempdir().expect("a directory");
        let host = host(dir.path()).await;
        let store = host.store();
        let reads = (0..500).map(|_| store.read(nothing()));
        let answers = futures::future::join_all(reads).await;
        assert!(answers.iter().all(Result::is_ok));
        assert_eq!(host.status().groups[1].reads, 500);
        host.shutdown().await;
    }
}
