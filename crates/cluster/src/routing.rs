//! The store contract over the network.

use std::{
    collections::HashMap,
    future::Future,
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use conclave_store::{
    DIRECTORY_GROUP, Placement, Store, StoreError, limits,
    proto::{self, refused::Reason, shard_server::Shard},
};
use conclave_tls::Mutual;
use parking_lot::Mutex;
use tokio::{
    sync::{OnceCell, Semaphore},
    time::{Instant, sleep, timeout},
};
use tonic::{Code, Request, Status};
use tracing::{Instrument as _, field::Empty};

use crate::{
    channels::{Channels, Connect},
    location::{LOOKUP_RETRY_MS, LOOKUPS_MAX, Locations, question},
    nodes, trace_context,
};

/// How long a [`RoutingStore`] tries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RoutingLimits {
    /// A read as a whole.
    pub read_deadline: Duration,
    /// One attempt of it.
    pub read_attempt: Duration,
    /// A commit as a whole.
    pub commit_deadline: Duration,
    /// One attempt of it; repeated with the same id.
    pub commit_attempt: Duration,
    /// The wait after a first failed attempt; doubled each time,
    pub backoff_min: Duration,
    /// up to this.
    pub backoff_max: Duration,
    /// How long a node that has not answered is asked last. Doubled each time that it was asked again in vain,
    pub suspicion: Duration,
    /// up to this: some of the first nodes of a cluster are gone for good.
    pub suspicion_max: Duration,
}

impl Default for RoutingLimits {
    fn default() -> Self {
        Self {
            read_deadline: Duration::from_secs(3),
            read_attempt: Duration::from_millis(1_000),
            commit_deadline: Duration::from_secs(5),
            commit_attempt: Duration::from_millis(1_500),
            backoff_min: Duration::from_millis(5),
            backoff_max: Duration::from_millis(80),
            suspicion: Duration::from_millis(500),
            suspicion_max: Duration::from_secs(15),
        }
    }
}

/// What a [`RoutingStore`] needs to know.
pub struct RoutingOptions {
    /// The cluster; nodes of another one refuse.
    pub cluster_id: String,
    /// `host:port` of the internal ports of shard nodes. One that answers is enough.
    pub seeds: Vec<String>,
    /// Mutual TLS; without it, only this machine is spoken to.
    pub tls: Option<Arc<Mutual>>,
    /// Groups of the cluster, the directory among them.
    pub groups: u32,
    /// Which group a scope's name tells.
    pub placement: Arc<dyn Placement>,
    /// The shard of this process, where there is one: asked first, and without the network.
    pub local: Option<Arc<dyn Shard>>,
    /// How long to try.
    pub limits: RoutingLimits,
}

/// A node that can be asked.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Node {
    Local,
    At(String),
}

/// A node has not answered.
#[derive(Debug, Clone, Copy)]
struct Suspicion {
    /// When that was, the last time.
    failed: Instant,
    /// How long it is asked last from there.
    length: Duration,
}

impl Suspicion {
    fn is_over(&self, now: Instant) -> bool {
        now >= self.failed + self.length
    }
}

/// What one attempt has come to.
enum Attempt<T> {
    Done(T),
    /// Another node leads. Nothing was done.
    Moved(Option<proto::Member>),
    /// The leader takes on no more. Nothing was done.
    Busy {
        retry_after_ms: u32,
    },
    /// Nothing was done: the leader's disk is full. It answers everything else.
    Full(String),
    /// Nothing was done.
    Failed(String),
    /// Nothing was done: the node has no such group.
    NotHere {
        detail: String,
        others: Vec<proto::Member>,
    },
    /// Nothing was done: the node serves another cluster.
    Misrouted(String),
    /// A commit may have been done.
    Unknown(String),
    /// It can never be done.
    Invalid(String),
}

/// The store contract for gateways, over the groups of a cluster.
pub struct RoutingStore {
    options: RoutingOptions,
    channels: Channels,
    locations: Locations,
    lookups: Semaphore,
    /// The leader of each group, as far as is known.
    leaders: Mutex<HashMap<u32, Node>>,
    /// Nodes that have not answered.
    suspects: Mutex<HashMap<Node, Suspicion>>,
    /// Nodes that do not hold a group, and when they may be asked for it again.
    elsewhere: Mutex<HashMap<(u32, Node), Instant>>,
    /// Nodes that answers have named, beside the seeds.
    named: Mutex<Vec<String>>,
    turn: AtomicUsize,
    local_id: OnceCell<u64>,
}

/// How long a commit waits for a leader whose disk has room: longer than a transfer of leadership takes.
const FULL_FOR: Duration = Duration::from_secs(1);
/// Addresses that answers may add to the seeds.
const NAMED_MAX: usize = 64;

impl RoutingStore {
    /// # Errors
    /// There is no node to ask.
    pub fn new(options: RoutingOptions) -> io::Result<Self> {
        Self::open(options, None)
    }

    /// [`RoutingStore::new`], over a network of the caller's.
    ///
    /// # Errors
    /// As there.
    pub fn with_network(options: RoutingOptions, connect: Arc<dyn Connect>) -> io::Result<Self> {
        Self::open(options, Some(connect))
    }

    fn open(options: RoutingOptions, connect: Option<Arc<dyn Connect>>) -> io::Result<Self> {
        if options.seeds.is_empty() && options.local.is_none() {
            return Err(io::Error::other("neither a seed nor a shard in this process"));
        }
        let channels = Channels::new(options.tls.clone(), connect);
        Ok(Self {
            options,
            channels,
            locations: Locations::default(),
            lookups: Semaphore::new(LOOKUPS_MAX),
            leaders: Mutex::default(),
            suspects: Mutex::default(),
            elsewhere: Mutex::default(),
            named: Mutex::default(),
            turn: AtomicUsize::new(0),
            local_id: OnceCell::new(),
        })
    }

    /// Learns from the directory which nodes the cluster has, and returns their addresses; seeds are
    /// asked as before. To be called from time to time: the nodes that are known now may all be gone
    /// one day.
    ///
    /// # Errors
    /// The directory does not answer.
    pub async fn look_for_nodes(&self) -> Result<Vec<String>, StoreError> {
        let found = nodes::read(self).await?;
        let is_new = |address: &&String| !self.options.seeds.contains(address);
        *self.named.lock() = found.iter().filter(is_new).take(NAMED_MAX).cloned().collect();
        Ok(found)
    }

    /// The group of a scope; `None` when the directory does not know the scope.
    async fn group_of(&self, scope: &str) -> Result<Option<u32>, StoreError> {
        let known = conclave_store::fixed_group(scope)
            .or_else(|| self.options.placement.group_of(scope))
            .or_else(|| self.locations.get(scope));
        match known {
            Some(group) if group < self.options.groups => Ok(Some(group)),
            Some(group) => Err(StoreError::Unavailable { detail: format!("no group {group}") }),
            None => {
                let busy = |_| StoreError::Overloaded { retry_after_ms: LOOKUP_RETRY_MS };
                let _place = self.lookups.try_acquire().map_err(busy)?;
                let answer = self.read_in(DIRECTORY_GROUP, &question(scope)).await?;
                self.locations.learn(scope, answer)
            }
        }
    }

    fn route(&self, group: u32) -> Option<proto::Route> {
        Some(proto::Route { cluster_id: self.options.cluster_id.clone(), group })
    }

    async fn read_in(
        &self,
        group: u32,
        read: &proto::Read,
    ) -> Result<proto::ReadResult, StoreError> {
        let limits = self.options.limits;
        self.until(group, limits.read_deadline, |node| async move {
            let request = proto::ReadRequest { route: self.route(group), read: Some(read.clone()) };
            match timeout(limits.read_attempt, self.call_read(node, request)).await {
                Ok(attempt) => attempt,
                Err(_) => Attempt::Failed("no answer in time".to_owned()),
            }
        })
        .await
    }

    async fn call_read(
        &self,
        node: Node,
        request: proto::ReadRequest,
    ) -> Attempt<proto::ReadResult> {
        use proto::read_reply::Result as Reply;
        let answer = match self.service(&node) {
            Ok(Service::Local(shard)) => shard.read(Request::new(request)).await,
            Ok(Service::Remote(mut client)) => client.read(trace_context::request(request)).await,
            Err(error) => return Attempt::Failed(error.to_string()),
        };
        match answer.map(|reply| reply.into_inner().result) {
            Ok(Some(Reply::Read(result))) => Attempt::Done(result),
            Ok(Some(Reply::NotLeader(not_leader))) => Attempt::Moved(not_leader.leader),
            Ok(Some(Reply::Refused(refused))) => from_refused(refused),
            Ok(None) => Attempt::Failed("an answer that this version does not know".to_owned()),
            Err(status) => Attempt::Failed(describe(&status)),
        }
    }

    async fn call_commit(
        &self,
        node: Node,
        request: proto::CommitRequest,
    ) -> Attempt<proto::Outcome> {
        use proto::commit_reply::Result as Reply;
        let answer = match self.service(&node) {
            Ok(Service::Local(shard)) => shard.commit(Request::new(request)).await,
            Ok(Service::Remote(mut client)) => client.commit(trace_context::request(request)).await,
            Err(error) => return Attempt::Failed(error.to_string()),
        };
        match answer.map(|reply| reply.into_inner().result) {
            Ok(Some(Reply::Outcome(outcome))) => Attempt::Done(outcome),
            Ok(Some(Reply::NotLeader(not_leader))) => Attempt::Moved(not_leader.leader),
            Ok(Some(Reply::Refused(refused))) => from_refused(refused),
            Ok(None) => Attempt::Unknown("an answer that this version does not know".to_owned()),
            Err(status) if was_not_sent(&status) => Attempt::Failed(describe(&status)),
            Err(status) => Attempt::Unknown(describe(&status)),
        }
    }

    fn service(&self, node: &Node) -> io::Result<Service> {
        match node {
            Node::Local => match &self.options.local {
                Some(shard) => Ok(Service::Local(shard.clone())),
                None => Err(io::Error::other("there is no shard in this process")),
            },
            Node::At(address) => self.channels.client(address).map(Service::Remote),
        }
    }

    /// [`Self::try_until`] in a span that says how often it was tried.
    async fn until<T, F: Future<Output = Attempt<T>>>(
        &self,
        group: u32,
        limit: Duration,
        mut attempt: impl FnMut(Node) -> F,
    ) -> Result<T, StoreError> {
        let span = tracing::info_span!("store.route", group = i64::from(group), attempts = Empty);
        let mut attempts = 0_u32;
        let counted = |node| {
            attempts += 1;
            attempt(node)
        };
        let result = self.try_until(group, limit, counted).instrument(span.clone()).await;
        span.record("attempts", i64::from(attempts));
        result
    }

    /// Attempts until one succeeds, a repetition cannot help, or the deadline has come.
    async fn try_until<T, F: Future<Output = Attempt<T>>>(
        &self,
        group: u32,
        limit: Duration,
        mut attempt: impl FnMut(Node) -> F,
    ) -> Result<T, StoreError> {
        let limits = self.options.limits;
        let deadline = Instant::now() + limit;
        let mut backoff = limits.backoff_min;
        let mut unknown = None;
        // says more of what is wrong than that other nodes cannot be reached
        let mut misrouted = None;
        let mut hints_followed = 0;
        let mut full_since = None;
        loop {
            let node = self.pick(group);
            let failure = match attempt(node.clone()).await {
                Attempt::Done(value) => {
                    self.suspects.lock().remove(&node);
                    self.leaders.lock().insert(group, node);
                    return Ok(value);
                }
                Attempt::Invalid(detail) => return Err(StoreError::Invalid { detail }),
                Attempt::Busy { retry_after_ms } if unknown.is_none() => {
                    return Err(StoreError::Overloaded { retry_after_ms });
                }
                Attempt::Busy { .. } => "overloaded".to_owned(),
                Attempt::Moved(leader) => {
                    let followed = self.follow(group, &node, leader).await;
                    // a hint is worth an attempt at once; two nodes that name each other are not
                    if followed && hints_followed < 2 {
                        hints_followed += 1;
                        continue;
                    }
                    "no leader is known".to_owned()
                }
                Attempt::NotHere { detail, others } => {
                    others.iter().for_each(|other| self.name(&other.address));
                    // the next node is asked at once, as long as there is one
                    if self.is_elsewhere(group, node) {
                        continue;
                    }
                    detail
                }
                Attempt::Full(detail) => {
                    let since = *full_since.get_or_insert_with(Instant::now);
                    // another one may lead in a moment, whose disk has room
                    if unknown.is_none() && since.elapsed() >= FULL_FOR {
                        return Err(StoreError::Unavailable { detail });
                    }
                    self.leaders.lock().insert(group, node);
                    detail
                }
                Attempt::Failed(detail) => {
                    self.suspect(group, node);
                    detail
                }
                Attempt::Misrouted(detail) => {
                    self.suspect(group, node);
                    misrouted = Some(detail.clone());
                    detail
                }
                Attempt::Unknown(detail) => {
                    self.suspect(group, node);
                    unknown = Some(detail.clone());
                    detail
                }
            };
            hints_followed = 0;
            if Instant::now() + backoff >= deadline {
                tracing::debug!(group, failure, "the deadline has come");
                return Err(match unknown {
                    Some(detail) => StoreError::Unknown { detail },
                    None => StoreError::Unavailable { detail: misrouted.unwrap_or(failure) },
                });
            }
            sleep(backoff).await;
            backoff = (backoff * 2).min(limits.backoff_max);
        }
    }

    /// Whom to ask: the leader that is known, else the next node in turn that is not suspected.
    fn pick(&self, group: u32) -> Node {
        if let Some(leader) = self.leaders.lock().get(&group) {
            return leader.clone();
        }
        let mut nodes: Vec<Node> = self.options.local.iter().map(|_| Node::Local).collect();
        nodes.extend(self.options.seeds.iter().cloned().map(Node::At));
        nodes.extend(self.named.lock().iter().cloned().map(Node::At));
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let count = nodes.len().max(1);
        nodes.rotate_left(turn % count);
        let now = Instant::now();
        let suspects = self.suspects.lock();
        let elsewhere = self.elsewhere.lock();
        let suspected = |node: &Node| suspects.get(node).is_some_and(|of| !of.is_over(now));
        let holds_it =
            |node: &Node| elsewhere.get(&(group, node.clone())).is_none_or(|until| *until <= now);
        let best = nodes.iter().min_by_key(|node| (!holds_it(node), suspected(node)));
        // `new` has seen that there is at least one
        best.cloned().unwrap_or(Node::Local)
    }

    /// A node does not hold a group; true when another one may, and has not been asked lately.
    fn is_elsewhere(&self, group: u32, node: Node) -> bool {
        let mut leaders = self.leaders.lock();
        if leaders.get(&group) == Some(&node) {
            leaders.remove(&group);
        }
        drop(leaders);
        let now = Instant::now();
        let known = self.options.seeds.len() + self.named.lock().len();
        let nodes = known + usize::from(self.options.local.is_some());
        let mut elsewhere = self.elsewhere.lock();
        elsewhere.retain(|_, until| *until > now);
        let again = elsewhere.insert((group, node), now + self.options.limits.suspicion).is_some();
        !again && elsewhere.keys().filter(|(of, _)| *of == group).count() < nodes
    }

    /// Remembers whom a node has named as the leader; false when that does not help.
    async fn follow(&self, group: u32, from: &Node, leader: Option<proto::Member>) -> bool {
        let Some(leader) = leader else {
            self.leaders.lock().remove(&group);
            return false;
        };
        let named = if Some(leader.node_id) == self.local_id().await {
            Node::Local
        } else {
            self.name(&leader.address);
            Node::At(leader.address)
        };
        // who leads has been heard by others: one failure ago is long ago
        let lately = |of: &Suspicion| of.failed.elapsed() < self.options.limits.suspicion;
        let suspected = self.suspects.lock().get(&named).is_some_and(lately);
        if named == *from || suspected {
            self.leaders.lock().remove(&group);
            return false;
        }
        self.leaders.lock().insert(group, named);
        true
    }

    fn name(&self, address: &str) {
        let mut named = self.named.lock();
        let known = self.options.seeds.iter().chain(named.iter()).any(|known| known == address);
        if !known {
            if named.len() >= NAMED_MAX {
                named.remove(0);
            }
            named.push(address.to_owned());
        }
    }

    /// The node of this process.
    async fn local_id(&self) -> Option<u64> {
        let local = self.options.local.as_ref()?;
        let request = proto::GroupsRequest { cluster_id: self.options.cluster_id.clone() };
        let id = self.local_id.get_or_try_init(|| async {
            local.groups(Request::new(request)).await.map(|reply| reply.into_inner().node_id)
        });
        id.await.ok().copied()
    }

    /// A node has not answered: it is not asked again soon.
    fn suspect(&self, group: u32, node: Node) {
        let mut leaders = self.leaders.lock();
        if leaders.get(&group) == Some(&node) {
            leaders.remove(&group);
        }
        drop(leaders);
        let (now, limits) = (Instant::now(), self.options.limits);
        let mut suspects = self.suspects.lock();
        // who has not failed for long begins anew
        suspects.retain(|_, of| now < of.failed + of.length + limits.suspicion_max);
        let length = match suspects.get(&node) {
            // what was under way at the same time says nothing new
            Some(before) if !before.is_over(now) => before.length,
            Some(before) => (before.length * 2).min(limits.suspicion_max),
            None => limits.suspicion,
        };
        suspects.insert(node, Suspicion { failed: now, length });
    }
}

enum Service {
    Local(Arc<dyn Shard>),
    Remote(proto::shard_client::ShardClient<tonic::transport::Channel>),
}

fn from_refused<T>(refused: proto::Refused) -> Attempt<T> {
    match refused.reason() {
        Reason::Overloaded => Attempt::Busy { retry_after_ms: refused.retry_after_ms },
        Reason::Invalid => Attempt::Invalid(refused.detail),
        Reason::Full => Attempt::Full(refused.detail),
        Reason::Unknown => Attempt::Unknown(refused.detail),
        Reason::Misrouted => Attempt::Misrouted(refused.detail),
        Reason::NotHere => Attempt::NotHere { detail: refused.detail, others: refused.others },
        Reason::Unavailable | Reason::Unspecified => Attempt::Failed(refused.detail),
    }
}

fn describe(status: &Status) -> String {
    format!("{:?}: {}", status.code(), status.message())
}

/// Whether a call has failed before anything of it went out: there was no connection.
fn was_not_sent(status: &Status) -> bool {
    // tonic says so only in the text
    status.code() == Code::Unavailable && status.message().contains("connect error")
}

#[async_trait]
impl Store for RoutingStore {
    async fn read(&self, read: proto::Read) -> Result<proto::ReadResult, StoreError> {
        limits::check_read(&read).map_err(|detail| StoreError::Invalid { detail })?;
        // a scope that the directory does not know has no rows; the time is the directory's
        let group = self.group_of(&read.scope).await?.unwrap_or(DIRECTORY_GROUP);
        self.read_in(group, &read).await
    }

    async fn commit(&self, commit: proto::Commit) -> Result<proto::Outcome, StoreError> {
        limits::check_commit(&commit).map_err(|detail| StoreError::Invalid { detail })?;
        let Some(group) = self.group_of(&commit.scope).await? else {
            let gone = proto::outcome::Result::ScopeGone(proto::ScopeGone {});
            return Ok(proto::Outcome { result: Some(gone) });
        };
        let limits = self.options.limits;
        let commit = &commit;
        let may_have_happened = &AtomicBool::new(false);
        let attempt = |node| async move {
            let request =
                proto::CommitRequest { route: self.route(group), commit: Some(commit.clone()) };
            let attempt =
                match timeout(limits.commit_attempt, self.call_commit(node, request)).await {
                    Ok(attempt) => attempt,
                    Err(_) => Attempt::Unknown("no answer in time".to_owned()),
                };
            if matches!(attempt, Attempt::Unknown(_)) {
                may_have_happened.store(true, Ordering::Relaxed);
            }
            attempt
        };
        let outcome = self.until(group, limits.commit_deadline, attempt).await?;
        // the group has forgotten the ids of that time: it cannot say what became of an earlier copy
        let is_stale = matches!(outcome.result, Some(proto::outcome::Result::Stale(_)));
        if is_stale && may_have_happened.load(Ordering::Relaxed) {
            return Err(StoreError::Unknown { detail: "stale after a repetition".to_owned() });
        }
        Ok(outcome)
    }
}

#[cfg(test)]
mod tests;
