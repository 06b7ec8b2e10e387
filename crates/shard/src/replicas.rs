//! The replicas of a node: they open and close while it runs.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::{Path, PathBuf},
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use conclave_store::levels;
use openraft::{BasicNode, async_runtime::watch::WatchReceiver as _};
use parking_lot::{Mutex, RwLock};
use tokio::time::{Instant, timeout};

use crate::{
    disk, feature_level,
    group::{Group, Shared},
    held::{Held, HeldGroup},
    host::Member,
    log_store::LogStore,
    proto::{self, held_group::State},
    reclaim, retention,
    state_db::sync_dir,
    status::HostStatus,
    sweeper,
    transport::{ControlClient, GroupDirectory, ReplicaHandles},
    types::LogId,
};

/// How long the data of a closed group waits for those who still read it.
const UNUSED_WITHIN: Duration = Duration::from_secs(10);
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// Who votes in a group when the cluster is made: all groups together are spread over the members.
pub(crate) fn first_voters(
    group: u32,
    members: &[Member],
    replication_factor: u32,
) -> BTreeMap<u64, BasicNode> {
    let mut members: Vec<_> = members.iter().collect();
    members.sort_by_key(|member| member.node_id);
    let wanted = voters_wanted(replication_factor, members.len());
    let rotated = members.iter().cycle().skip(group as usize % members.len().max(1));
    rotated.take(wanted).map(|m| (m.node_id, BasicNode::new(&m.address))).collect()
}

/// How many vote in a group of a cluster with so many nodes: an odd number, because one more node
/// than an odd number survives no more failures.
pub(crate) fn voters_wanted(replication_factor: u32, nodes: usize) -> usize {
    let most = nodes.min(replication_factor.max(1) as usize);
    most.saturating_sub(usize::from(most.is_multiple_of(2)))
}

/// What the services of a node share.
pub(crate) struct HostInner {
    pub(crate) shared: Arc<Shared>,
    data_dir: PathBuf,
    held: Held,
    groups: RwLock<BTreeMap<u32, Arc<Group>>>,
    /// Groups whose data is being deleted.
    closing: Mutex<BTreeMap<u32, Closing>>,
    /// One group is opened or closed at a time.
    changing: tokio::sync::Mutex<()>,
    pub(crate) control: ControlClient,
    /// The highest term in which the directory's leader has asked for something.
    directory_term: AtomicU64,
    /// The node is about to stop: it leads nothing that it is not leading.
    pub(crate) stepping_back: AtomicBool,
    /// What the controller of this node is doing, while it leads the directory.
    pub(crate) placement: Mutex<Option<proto::PlacementStatus>>,
}

/// What may still use the files of a closed group.
struct Closing {
    log: LogStore,
    in_use: Weak<()>,
}

impl HostInner {
    pub(crate) fn new(
        shared: Arc<Shared>,
        data_dir: &Path,
        held: Held,
        control: ControlClient,
    ) -> Arc<Self> {
        Arc::new(Self {
            shared,
            data_dir: data_dir.to_owned(),
            held,
            groups: RwLock::default(),
            closing: Mutex::default(),
            changing: tokio::sync::Mutex::default(),
            control,
            directory_term: AtomicU64::new(0),
            stepping_back: AtomicBool::new(false),
            placement: Mutex::default(),
        })
    }

    pub(crate) fn group(&self, number: u32) -> Option<Arc<Group>> {
        self.groups.read().get(&number).cloned()
    }

    pub(crate) fn groups(&self) -> Vec<Arc<Group>> {
        self.groups.read().values().cloned().collect()
    }

    pub(crate) fn status(&self) -> HostStatus {
        let groups: Vec<_> = self.groups().iter().map(|group| group.status()).collect();
        let voters = groups.iter().flat_map(|group| group.voters.iter().map(|(id, _)| *id));
        let others: BTreeSet<u64> = voters.filter(|id| *id != self.shared.node_id).collect();
        let clock_is_off = self.shared.peers.clock_skew.is_off(others.into_iter(), Instant::now());
        HostStatus {
            node_id: self.shared.node_id,
            clock_is_off,
            disk_is_full: self.shared.disk.is_full(),
            disk: self.shared.disk.space(),
            disk_hangs: disk::hangs(self.shared.log.syncing_for()),
            groups,
        }
    }

    /// What the node says to the controller and to operators.
    pub(crate) fn node_status(&self) -> proto::NodeStatus {
        let clock_is_off = self.status().clock_is_off;
        proto::NodeStatus {
            node_id: self.shared.node_id,
            incarnation: self.shared.peers.incarnation().clone(),
            clock_ms: self.shared.clock.now_ms(),
            sheds_leaders: clock_is_off || self.stepping_back.load(Ordering::Relaxed),
            clock_is_off,
            replicas: self.groups().iter().map(|group| group.replica_status()).collect(),
            placement: self.placement.lock().clone(),
            feature_level: self.shared.peers.levels.own(),
        }
    }

    /// Whether a controller of this term of the directory is the newest that has been heard of.
    pub(crate) fn hear_controller(&self, term: u64) -> bool {
        self.directory_term.fetch_max(term, Ordering::AcqRel) <= term
    }

    /// Opens every group that the directory holds, and ends the deletions that were under way.
    ///
    /// # Errors
    /// From the disk, or what openraft finds wrong with it.
    pub(crate) async fn open_held(
        self: &Arc<Self>,
        first: impl Fn(u32) -> BTreeMap<u64, BasicNode>,
    ) -> io::Result<()> {
        for (number, held) in self.held.all() {
            match held.state {
                State::Open => {
                    // who was given the group later never makes its first membership
                    let made_with_it = held.opened_with.is_none();
                    let first = if made_with_it { first(number) } else { BTreeMap::new() };
                    self.start(number, held, first).await?;
                }
                State::Closing => {
                    let log = LogStore::open(self.shared.log.clone(), number)?;
                    self.delete(number, held, &log).await?;
                }
                State::Closed | State::Unspecified => {}
            }
        }
        Ok(())
    }

    async fn start(
        self: &Arc<Self>,
        number: u32,
        held: HeldGroup,
        first: BTreeMap<u64, BasicNode>,
    ) -> io::Result<()> {
        let dir = self.group_dir(number);
        let shared = self.shared.clone();
        let group = Group::start(shared, number, &dir, first, held).await?;
        sync_dir(&dir)?;
        sync_dir(&self.data_dir)?;
        let (sweeping, keeping, ending) = (group.clone(), group.clone(), group.clone());
        let (freeing, raising) = (group.clone(), group.clone());
        self.shared.runtime.spawn(async move {
            tokio::select! {
                () = sweeper::run(sweeping) => {}
                () = retention::run(keeping) => {}
                () = reclaim::run(freeing) => {}
                () = feature_level::run(raising) => {}
                () = ending.ended() => {}
            }
        });
        self.groups.write().insert(number, group);
        Ok(())
    }

    fn group_dir(&self, number: u32) -> PathBuf {
        self.data_dir.join(format!("group-{number}"))
    }

    /// Opens an empty replica of a group, to be brought up by the group's leader. The group has `level`.
    ///
    /// # Errors
    /// Why not, for people.
    pub(crate) async fn open_group(
        self: &Arc<Self>,
        number: u32,
        membership: LogId,
        level: u32,
    ) -> Result<(), String> {
        levels::check(level, self.shared.peers.levels.own())
            .map_err(|unknown| format!("group {number} {unknown}"))?;
        let _one = self.changing.lock().await;
        if *self.shared.stopping.borrow() {
            return Err("the node is stopping".to_owned());
        }
        let before = self.held.get(number);
        match before.map(|held| held.state) {
            Some(State::Open) if self.group(number).is_some() => return Ok(()),
            Some(State::Closing) => {
                return Err(format!("what was here of group {number} is being deleted"));
            }
            _ => {}
        }
        let held = HeldGroup {
            state: State::Open,
            opened_with: Some(membership),
            vote_floor: before.and_then(|before| before.vote_floor),
        };
        tracing::info!(group = number, "a replica is opened");
        self.held.set(number, held).map_err(|error| error.to_string())?;
        let started = self.start(number, held, BTreeMap::new()).await;
        started.map_err(|error| format!("group {number} cannot be opened: {error}"))
    }

    /// Closes a replica and deletes its data. `membership` is a committed one that the node has no
    /// part in; everything of it is therefore on a quorum of others.
    ///
    /// # Errors
    /// Why not, for people.
    pub(crate) async fn close_group(
        self: &Arc<Self>,
        number: u32,
        membership: LogId,
    ) -> Result<(), String> {
        let _one = self.changing.lock().await;
        let Some(mut held) = self.held.get(number) else { return Ok(()) };
        let failed = |error: io::Error| error.to_string();
        match held.state {
            State::Closed | State::Unspecified => return Ok(()),
            State::Closing => {}
            State::Open => {
                if let Some(group) = self.group(number) {
                    check_left(&group, held, membership)?;
                    held.state = State::Closing;
                    tracing::info!(group = number, "a replica is closed");
                    self.held.set(number, held).map_err(failed)?;
                    self.groups.write().remove(&number);
                    group.end().await;
                    let closing = Closing {
                        log: group.log.clone(),
                        in_use: group.state.db().in_use().watch(),
                    };
                    self.closing.lock().insert(number, closing);
                } else {
                    return Err(format!("group {number} could not be opened: restart the node"));
                }
            }
        }
        let unused = async {
            while self.closing.lock().get(&number).is_some_and(Closing::is_used) {
                tokio::time::sleep(LOOK_EVERY).await;
            }
        };
        if timeout(UNUSED_WITHIN, unused).await.is_err() {
            return Err(format!("group {number} is still being read"));
        }
        let Some(log) = self.closing.lock().get(&number).map(|closing| closing.log.clone()) else {
            return Err(format!("group {number} is being deleted"));
        };
        self.delete(number, held, &log).await.map_err(failed)?;
        self.closing.lock().remove(&number);
        Ok(())
    }

    /// Deletes the log and the state of a group, but not its vote. Begun again after a crash.
    async fn delete(&self, number: u32, mut held: HeldGroup, log: &LogStore) -> io::Result<()> {
        held.vote_floor = held.vote_floor.max(log.last_log_id());
        self.held.set(number, held)?;
        log.delete_entries().await?;
        match fs::remove_dir_all(self.group_dir(number)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        sync_dir(&self.data_dir)?;
        held.state = State::Closed;
        self.held.set(number, held)
    }

    /// Asks another voter to lead what this node leads, and waits a moment for it.
    pub(crate) async fn hand_over(&self) {
        const WAIT: Duration = Duration::from_millis(1_500);
        let mut asked = Vec::new();
        for group in self.groups().into_iter().filter(|group| group.leads()) {
            if let Some(next) = group.successor() {
                group.transfer_leadership(next).await;
                asked.push(group);
            }
        }
        let handed_over = async {
            while asked.iter().any(|group| group.leads()) {
                tokio::time::sleep(LOOK_EVERY).await;
            }
        };
        // who does not take over in time is elected later
        let _ = timeout(WAIT, handed_over).await;
    }
}

impl Closing {
    fn is_used(&self) -> bool {
        self.in_use.strong_count() > 0
    }
}

/// Whether a replica has no part in the group any more, as of `membership`.
fn check_left(group: &Group, held: HeldGroup, membership: LogId) -> Result<(), String> {
    let number = group.id;
    if held.opened_with > Some(membership) {
        return Err(format!("group {number} was opened again since"));
    }
    if held.opened_with == Some(membership) && group.log.last_log_id().is_some() {
        return Err(format!("group {number} is being brought up here"));
    }
    let Some(raft) = group.raft() else {
        return Err(format!("group {number} is being reopened"));
    };
    let metrics = raft.metrics();
    let metrics = metrics.borrow_watched();
    let own = group.shared.node_id;
    let known = &metrics.membership_config;
    let is_member = known.get_node(&own).is_some();
    if is_member && *known.log_id() >= Some(membership) {
        return Err(format!("the node is a member of group {number}"));
    }
    if metrics.current_leader == Some(own) {
        return Err(format!("the node leads group {number}"));
    }
    Ok(())
}

impl GroupDirectory for HostInner {
    fn replica(&self, group: u32) -> Option<ReplicaHandles> {
        self.groups.read().get(&group)?.handles()
    }

    fn data_is_gone(&self, peer: u64) {
        self.shared.report_fatal(format!(
            "node {peer} knows node {} with other data: this node has lost its data and must not \
             come back under its id; start it with a new node id and remove the old one",
            self.shared.node_id
        ));
    }

    fn now_ms(&self) -> i64 {
        self.shared.clock.now_ms()
    }

    fn takes_entries(&self) -> bool {
        self.shared.disk.takes_entries()
    }

    fn feature_level(&self) -> u32 {
        self.shared.peers.levels.own()
    }

    fn check_level(
        &self,
        peer: u64,
        said: Option<u32>,
        group: u32,
        has: u32,
    ) -> Result<(), String> {
        self.shared.peers.levels.check(peer, said, group, has, Instant::now())
    }

    fn heard_clock(&self, peer: u64, clock_ms: i64) {
        self.shared.peers.clock_skew.heard(peer, clock_ms, self.now_ms(), Instant::now());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_spread_over_the_members_with_an_odd_number_of_voters() {
        let members: Vec<_> =
            (1..=5).map(|node_id| Member { node_id, address: String::new() }).collect();
        let voters = |group, nodes: usize| {
            first_voters(group, &members[..nodes], 3).into_keys().collect::<Vec<_>>()
        };
        assert_eq!(voters(0, 5), [1, 2, 3]);
        assert_eq!(voters(4, 5), [1, 2, 5]);
        assert_eq!(voters(7, 3), [1, 2, 3]);
        assert_eq!(voters(1, 2), [2]);
        assert_eq!(voters(1, 1), [1]);
        assert_eq!(voters_wanted(5, 4), 3);
        assert_eq!(voters_wanted(0, 4), 1);
    }
}
