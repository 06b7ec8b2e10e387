//! Nodes to test with, and the words to speak to them.

use std::{
    net::TcpListener,
    path::Path,
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering},
    },
    time::Duration,
};

use crate::exit;
use conclave_cluster::{RoutingLimits, RoutingOptions, RoutingStore};
use conclave_shard::{
    Admin, AdminOptions, DiskLimits, GroupHost, GroupHostOptions, Limits, Listen, ManageOptions,
    Member, NewId, Retention, Space, Timing,
};
use conclave_store::{
    Clock, Placement, Store, StoreError, keys, levels,
    proto::{self, check::Expect, outcome::Result as Answer, write::Action},
};
use conclave_tls::{Mutual, MutualFiles};
use tempfile::TempDir;
use tokio::task::JoinHandle;

pub const CLUSTER: &str = "test-cluster";
pub const GROUPS: u32 = 3;
/// A scope of group 1.
pub const POOL: &str = "pool-1";
pub const READY: Duration = Duration::from_secs(15);

/// A clock that stands still until it is moved.
pub struct TestClock(AtomicI64);

impl TestClock {
    pub fn new() -> Arc<Self> {
        Arc::new(Self(AtomicI64::new(1_000_000)))
    }

    pub fn advance(&self, ms: i64) {
        self.0.fetch_add(ms, Ordering::Relaxed);
    }
}

impl Clock for TestClock {
    fn now_ms(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A pool's group is the number in its name.
pub struct ByName;

impl Placement for ByName {
    fn group_of(&self, scope: &str) -> Option<u32> {
        scope.strip_prefix("pool-")?.parse().ok()
    }
}

pub fn alone(dir: &Path) -> GroupHostOptions {
    GroupHostOptions::alone(CLUSTER.to_owned(), dir.to_owned(), GROUPS, [1; 16])
}

pub async fn start_alone(dir: &Path, clock: &Arc<TestClock>) -> GroupHost {
    let host = GroupHost::start(alone(dir), clock.clone(), Arc::new(ByName)).await.expect("starts");
    exit::without_destructors();
    assert!(host.wait_ready(READY).await, "{:?}", host.status());
    host
}

/// Three nodes over loopback, with their directories.
pub struct Cluster {
    pub clock: Arc<TestClock>,
    /// Of each node; the same one, until a test sets another.
    pub clocks: Vec<Arc<TestClock>>,
    // before `dirs`: a node is closed before its files go
    pub hosts: Vec<Option<GroupHost>>,
    pub dirs: Vec<TempDir>,
    pub members: Vec<Member>,
    pub limits: Limits,
    pub tls: Option<MutualFiles>,
    /// The feature levels that nodes know, by their places; who is not here knows what this version does.
    pub levels: Vec<u32>,
    /// Whether nodes register, and are given groups.
    pub managed: bool,
    /// A node that takes part in its groups and never registers.
    unregistered: Option<usize>,
    /// How long a node may be away before it is replaced.
    pub dead_after: Duration,
    /// What looks for nodes in the process of each node.
    lookers: Vec<Option<JoinHandle<()>>>,
    incarnations: u8,
}

/// The certificates as they are now.
pub fn load(files: &MutualFiles) -> Arc<Mutual> {
    Mutual::load(files, conclave_tls::system_time()).expect("loads")
}

/// The certificate of a node, beside that of a gateway.
pub fn certificate_of(files: &MutualFiles, node_id: u64) -> MutualFiles {
    MutualFiles {
        certificate: files.certificate.with_file_name(format!("node-{node_id}.pem")),
        key: files.key.with_file_name(format!("node-{node_id}.key")),
        ..files.clone()
    }
}

impl Cluster {
    pub async fn start() -> Self {
        Self::start_with(Limits::default()).await
    }

    pub async fn start_with(limits: Limits) -> Self {
        Self::start_all(limits, None).await
    }

    pub async fn start_all(limits: Limits, tls: Option<MutualFiles>) -> Self {
        Self::start_nodes(3, false, limits, tls, None).await
    }

    /// Nodes that register, and are given groups by one another.
    pub async fn start_managed(nodes: usize) -> Self {
        Self::start_nodes(nodes, true, Limits::default(), None, None).await
    }

    /// The same with one that is a voter and never registers, and a time after which who is away is replaced.
    pub async fn start_managed_but(
        nodes: usize,
        unregistered: usize,
        dead_after: Duration,
    ) -> Self {
        let but = Some((unregistered, dead_after));
        Self::start_nodes(nodes, true, Limits::default(), None, but).await
    }

    /// The same, and who is brought up needs a snapshot.
    pub async fn start_managed_with_snapshots(nodes: usize) -> Self {
        let limits = Limits { retention: eager_retention(), ..Limits::default() };
        Self::start_nodes(nodes, true, limits, None, None).await
    }

    async fn start_nodes(
        nodes: usize,
        managed: bool,
        limits: Limits,
        tls: Option<MutualFiles>,
        but: Option<(usize, Duration)>,
    ) -> Self {
        let listeners: Vec<_> =
            (0..nodes).map(|_| TcpListener::bind("127.0.0.1:0").expect("binds")).collect();
        let members = listeners
            .iter()
            .zip(1..)
            .map(|(listener, node_id)| Member {
                node_id,
                address: listener.local_addr().expect("an address").to_string(),
            })
            .collect();
        let dirs = (0..nodes).map(|_| tempfile::tempdir().expect("a directory")).collect();
        let clock = TestClock::new();
        let mut cluster = Self {
            clocks: vec![clock.clone(); nodes],
            clock,
            dirs,
            hosts: (0..nodes).map(|_| None).collect(),
            members,
            limits,
            tls,
            levels: Vec::new(),
            managed,
            unregistered: but.map(|(unregistered, _)| unregistered),
            dead_after: but.map_or(Duration::from_secs(300), |(_, dead_after)| dead_after),
            lookers: Vec::new(),
            incarnations: 0,
        };
        for (index, listener) in listeners.into_iter().enumerate() {
            cluster.start_node_on(index, Listen::Socket(listener)).await;
        }
        cluster.ready().await;
        cluster
    }

    pub fn options(&mut self, index: usize, listen: Listen) -> GroupHostOptions {
        self.incarnations += 1;
        GroupHostOptions {
            cluster_id: CLUSTER.to_owned(),
            node_id: index as u64 + 1,
            data_dir: self.dirs[index].path().to_owned(),
            groups: GROUPS,
            members: self.members.clone(),
            replication_factor: 3,
            listen: Some(listen),
            tls: self.tls.as_ref().map(|files| load(&certificate_of(files, index as u64 + 1))),
            services: Default::default(),
            incarnation: [self.incarnations; 16],
            limits: self.limits.clone(),
            timing: Timing::default(),
            feature_level: self.levels.get(index).copied().unwrap_or(levels::KNOWN),
        }
    }

    async fn start_node_on(&mut self, index: usize, listen: Listen) {
        let mut options = self.options(index, listen);
        let clock = self.clocks[index].clone();
        let deadline = tokio::time::Instant::now() + READY;
        let host = loop {
            let address = match &options.listen {
                Some(Listen::Address(address)) => Some(*address),
                _ => None,
            };
            match GroupHost::start(options, clock.clone(), Arc::new(ByName)).await {
                Ok(host) => break host,
                // in one process, a request that a killed node was answering holds its files until
                // it is given up
                Err(error)
                    if error.to_string().contains("lock hold by current process")
                        && tokio::time::Instant::now() < deadline =>
                {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    let address = address.expect("a node that was started before has an address");
                    options = self.options(index, Listen::Address(address));
                    // it has one, and this one is not used
                    self.incarnations -= 1;
                }
                Err(error) => panic!("does not start: {error}"),
            }
        };
        exit::without_destructors();
        self.hosts[index] = Some(host);
        self.manage(index);
    }

    fn manage(&mut self, index: usize) {
        if self.managed && self.unregistered != Some(index) {
            let store = Arc::new(self.store_with(Some(index), RoutingLimits::default()));
            self.lookers.resize_with(self.hosts.len(), || None);
            self.lookers[index] = Some(tokio::spawn(look_for_nodes(Arc::downgrade(&store))));
            let options = ManageOptions {
                address: self.members[index].address.clone(),
                gateway: false,
                groups: GROUPS,
                replication_factor: 3,
                dead_after: self.dead_after,
                new_id: new_id(),
            };
            self.host(index).manage(store, options);
        }
    }

    /// What operators see.
    pub fn admin(&self) -> Admin {
        Admin::new(AdminOptions {
            cluster_id: CLUSTER.to_owned(),
            store: Arc::new(self.store()),
            tls: self.tls.as_ref().map(load),
            clock: self.clock.clone(),
            new_id: new_id(),
        })
    }

    /// Starts one more node, which has no part in any group yet.
    pub async fn start_joining(&mut self) -> usize {
        let listener = TcpListener::bind("127.0.0.1:0").expect("binds");
        let index = self.hosts.len();
        let address = listener.local_addr().expect("an address").to_string();
        self.members.push(Member { node_id: index as u64 + 1, address });
        self.dirs.push(tempfile::tempdir().expect("a directory"));
        self.hosts.push(None);
        let mut options = self.options(index, Listen::Socket(listener));
        options.members.clear();
        self.clocks.push(self.clock.clone());
        let host = GroupHost::start(options, self.clock.clone(), Arc::new(ByName)).await;
        exit::without_destructors();
        self.hosts[index] = Some(host.expect("starts"));
        self.manage(index);
        index
    }

    /// Starts a stopped node again, at the address that it had.
    pub async fn start_node(&mut self, index: usize) {
        let address = self.members[index].address.parse().expect("an address");
        self.start_node_on(index, Listen::Address(address)).await;
    }

    /// Starts a stopped node again, as one that was added to the cluster.
    pub async fn start_node_as_joining(&mut self, index: usize) {
        let address = self.members[index].address.parse().expect("an address");
        let mut options = self.options(index, Listen::Address(address));
        options.members.clear();
        let clock = self.clocks[index].clone();
        let host = GroupHost::start(options, clock, Arc::new(ByName)).await.expect("starts");
        exit::without_destructors();
        exit::without_destructors();
        self.hosts[index] = Some(host);
        self.manage(index);
    }

    pub async fn kill(&mut self, index: usize) {
        let host = self.take(index).await;
        host.kill().await;
    }

    /// Ends a node in order.
    pub async fn stop(&mut self, index: usize) {
        let host = self.take(index).await;
        host.shutdown().await;
    }

    async fn take(&mut self, index: usize) -> GroupHost {
        if let Some(looker) = self.lookers.get_mut(index).and_then(Option::take) {
            looker.abort();
            // it ends between two steps, and leaves the node alone then
            let _ = looker.await;
        }
        self.hosts[index].take().expect("runs")
    }

    /// Waits until every running node has recovered and knows the leaders.
    pub async fn ready(&self) {
        for host in self.hosts.iter().flatten() {
            assert!(host.wait_ready(READY).await, "{:?}", host.status());
        }
    }

    /// The node that leads a group, once all running nodes agree.
    pub async fn leader(&self, group: u32) -> usize {
        let running = self.hosts.iter().flatten();
        let agreed = async {
            loop {
                let leaders: Vec<_> = running
                    .clone()
                    .map(|host| host.status().groups[group as usize].leader)
                    .collect();
                let leader = leaders[0].map(|id| id as usize - 1);
                if let Some(leader) = leader
                    && leaders.iter().all(|other| *other == leaders[0])
                    && self.hosts[leader].is_some()
                {
                    return leader;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(READY, agreed).await.expect("a leader")
    }

    pub fn host(&self, index: usize) -> &GroupHost {
        self.hosts[index].as_ref().expect("runs")
    }

    pub fn store(&self) -> RoutingStore {
        self.store_with(None, RoutingLimits::default())
    }

    /// A client that soon gives up.
    pub fn impatient_store(&self) -> RoutingStore {
        let limits = RoutingLimits {
            read_deadline: Duration::from_millis(1_500),
            commit_deadline: Duration::from_millis(1_500),
            ..RoutingLimits::default()
        };
        self.store_with(None, limits)
    }

    /// A routing client, in the process of one of the nodes or apart from them.
    pub fn store_with(&self, local: Option<usize>, limits: RoutingLimits) -> RoutingStore {
        RoutingStore::new(RoutingOptions {
            cluster_id: CLUSTER.to_owned(),
            seeds: self.members.iter().map(|member| member.address.clone()).collect(),
            tls: self.tls.as_ref().map(load),
            groups: GROUPS,
            placement: Arc::new(ByName),
            local: local.map(|index| self.host(index).shard()),
            limits,
        })
        .expect("has nodes to ask")
    }

    /// Waits until a node has applied what the leader of the group has.
    pub async fn caught_up(&self, index: usize, group: u32) {
        let leader = self.leader(group).await;
        let caught_up = async {
            loop {
                let applied =
                    |index: usize| self.host(index).status().groups[group as usize].applied_index;
                if applied(index) >= applied(leader) {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(READY, caught_up).await.expect("catches up");
    }

    /// Waits until all nodes have applied the same entries of a group, to the same effect.
    pub async fn same_history(&self, group: u32) {
        let same = async {
            loop {
                let seen: Vec<_> = self
                    .hosts
                    .iter()
                    .flatten()
                    .map(|host| host.status().groups[group as usize].clone())
                    .map(|group| (group.applied_index, group.history))
                    .collect();
                if seen.iter().all(|(index, _)| *index == seen[0].0) {
                    assert!(
                        seen.iter().all(|found| *found == seen[0]),
                        "histories differ: {seen:?}"
                    );
                    return;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(READY, same).await.expect("catch up");
    }
}

/// On a disk that a test fills.
pub fn on_disk(full: Arc<AtomicBool>) -> Limits {
    let probe = Arc::new(move |_: &Path| {
        let free = if full.load(Ordering::Relaxed) { 1 } else { 50 };
        Ok(Space { total: 100, free })
    });
    let interval = Duration::from_millis(20);
    Limits { disk: DiskLimits { probe, interval, ..DiskLimits::default() }, ..Limits::default() }
}

/// As the server does, for as long as somebody uses the store.
pub async fn look_for_nodes(store: Weak<RoutingStore>) {
    while let Some(store) = store.upgrade() {
        // a cluster without a leader is asked again
        let _ = store.look_for_nodes().await;
        drop(store);
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// Snapshots and purges as often as possible.
pub fn eager_retention() -> Retention {
    Retention {
        snapshot_entries: 20,
        snapshot_bytes: 1 << 30,
        keep_entries: 5,
        keep_for: Duration::ZERO,
        interval: Duration::from_millis(50),
    }
}

static NEXT_ID: AtomicU64 = AtomicU64::new(1);

fn new_id() -> NewId {
    Arc::new(|| {
        let mut id = [0; 16];
        id[8..].copy_from_slice(&NEXT_ID.fetch_add(1, Ordering::Relaxed).to_be_bytes());
        id
    })
}

/// A commit with an id of its own, decided at the clock's time.
pub fn commit(scope: &str, clock: &TestClock, writes: Vec<proto::Write>) -> proto::Commit {
    let id = NEXT_ID.fetch_add(1, Ordering::Relaxed);
    proto::Commit {
        id: [[0; 8], id.to_be_bytes()].concat().into(),
        scope: scope.to_owned(),
        decided_ms: clock.now_ms(),
        epoch: None,
        checks: Vec::new(),
        writes,
    }
}

pub fn put(key: &[u8], value: &[u8]) -> proto::Write {
    put_until(key, value, None)
}

pub fn delete(key: &[u8]) -> proto::Write {
    let action = Some(Action::Delete(proto::Delete {}));
    proto::Write { key: key.to_vec().into(), action }
}

pub fn put_until(key: &[u8], value: &[u8], expires_at_ms: Option<i64>) -> proto::Write {
    let put = proto::Put { value: value.to_vec().into(), expires_at_ms };
    proto::Write { key: key.to_vec().into(), action: Some(Action::Put(put)) }
}

/// The commit that makes a scope.
pub fn root(scope: &str, clock: &TestClock) -> proto::Commit {
    let mut commit = commit(scope, clock, vec![put(keys::ROOT, b"root")]);
    commit
        .checks
        .push(proto::Check { key: keys::ROOT.to_vec().into(), expect: Some(Expect::Absent(true)) });
    commit
}

pub async fn committed(store: &dyn Store, commit: proto::Commit) -> u64 {
    match store.commit(commit).await.expect("answers").result {
        Some(Answer::Committed(committed)) => committed.seq,
        other => panic!("not committed: {other:?}"),
    }
}

pub async fn get(store: &dyn Store, scope: &str, key: &[u8]) -> Option<Vec<u8>> {
    try_get(store, scope, key).await.expect("answers")
}

pub async fn try_get(
    store: &dyn Store,
    scope: &str,
    key: &[u8],
) -> Result<Option<Vec<u8>>, StoreError> {
    let gets = vec![key.to_vec().into()];
    let read = proto::Read { scope: scope.to_owned(), gets, ..proto::Read::default() };
    let result = store.read(read).await?;
    Ok(result.rows.into_iter().next().and_then(|row| row.value).map(|value| value.to_vec()))
}
