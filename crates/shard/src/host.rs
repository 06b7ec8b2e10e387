//! The node: opens the data directory, runs its groups, and serves them.

use std::{
    collections::BTreeMap,
    io,
    net::{SocketAddr, TcpListener},
    path::PathBuf,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use conclave_store::{
    Clock, Placement, Store, levels,
    proto::shard_server::{Shard, ShardServer},
};
use conclave_tls::Mutual;
use openraft::{Config, SnapshotPolicy};
use parking_lot::Mutex;
use tokio::{runtime::Runtime, sync::watch, task::JoinHandle, time::timeout};
use tonic::{
    service::{Routes, interceptor::InterceptedService},
    transport::Server,
};

pub use crate::{disk::DiskLimits, retention::Retention};
use crate::{
    disk::DiskWatch,
    group::{MustEnd, Shared},
    held::Held,
    high_water::GROUPS_MAX,
    identity::{self, Incarnations},
    local_store::LocalStore,
    log_writer::LogWriter,
    manage::{self, ManageOptions},
    proto::node_control_server::NodeControlServer,
    registry::RegisteredNode,
    replicas::{HostInner, first_voters},
    service::ShardService,
    state_db::{SharedMemory, sync_dir},
    status::HostStatus,
    transport::{CheckPeer, ControlClient, ControlService, Peers, RaftService},
};

/// One node of the cluster as it is first made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Never used for another node, not even when this one is gone.
    pub node_id: u64,
    /// Where its internal port is: `host:port`.
    pub address: String,
}

/// Where the internal port listens.
#[derive(Debug)]
pub enum Listen {
    /// At this address.
    Address(SocketAddr),
    /// On a socket that listens already.
    Socket(TcpListener),
}

/// What a node takes on, and how long it waits.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Commits of one group that wait for their outcome; more are refused at once.
    pub commits_in_flight_max: usize,
    /// Reads of one group that wait for their answer; more are refused at once.
    pub reads_in_flight_max: usize,
    /// After this, the outcome of a commit is unknown.
    pub commit_timeout: Duration,
    /// After this, a read whose index is known gives up.
    pub read_timeout: Duration,
    /// How long a quorum has to confirm that this node leads.
    pub read_round_timeout: Duration,
    /// Bytes of blocks and memtables of all groups' states.
    pub cache_bytes: usize,
    /// Bytes of memtables in it.
    pub write_buffer_bytes: usize,
    /// Threads for openraft, apart from those of the rest of the process.
    pub raft_threads: usize,
    /// Snapshots, and what is kept of the log.
    pub retention: Retention,
    /// What of the disk is kept free.
    pub disk: DiskLimits,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            commits_in_flight_max: 1_024,
            reads_in_flight_max: 8_192,
            commit_timeout: Duration::from_secs(3),
            read_timeout: Duration::from_secs(2),
            read_round_timeout: Duration::from_millis(700),
            cache_bytes: 128 << 20,
            write_buffer_bytes: 32 << 20,
            raft_threads: 4,
            retention: Retention::default(),
            disk: DiskLimits::default(),
        }
    }
}

/// When a leader is missed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    /// How often a leader shows that it lives.
    pub heartbeat: Duration,
    /// Who hears nothing for a random time between this
    pub election_min: Duration,
    /// and this stands for election.
    pub election_max: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            heartbeat: Duration::from_millis(60),
            election_min: Duration::from_millis(200),
            election_max: Duration::from_millis(350),
        }
    }
}

/// What a node needs to know.
#[derive(Debug)]
pub struct GroupHostOptions {
    /// Random, and the same on all nodes of a cluster.
    pub cluster_id: String,
    /// This node; not 0.
    pub node_id: u64,
    /// Where all of its data is.
    pub data_dir: PathBuf,
    /// Groups of the cluster, the directory among them. Fixed when the cluster is made.
    pub groups: u32,
    /// The nodes with which the cluster is made, this node among them: the same on all of them, and
    /// not read again afterwards. Empty on a node that is added later.
    pub members: Vec<Member>,
    /// How many of them vote in a group when the cluster is made, where there are as many.
    pub replication_factor: u32,
    /// The internal port; `None` on a node that is alone.
    pub listen: Option<Listen>,
    /// Mutual TLS on the internal port; without it, only this machine is spoken to.
    pub tls: Option<Arc<Mutual>>,
    /// Services beside those of nodes and groups, on the internal port. They check who asks by themselves.
    pub services: Routes,
    /// Fresh random bytes. Used when the data directory is new: they tell it from one that is lost.
    pub incarnation: [u8; 16],
    /// See there.
    pub limits: Limits,
    /// See there.
    pub timing: Timing,
    /// The highest feature level that this node knows: [`levels::KNOWN`], and another one in tests.
    pub feature_level: u32,
}

impl GroupHostOptions {
    /// A node that is alone: every group has one voter, and nothing listens.
    pub fn alone(
        cluster_id: String,
        data_dir: PathBuf,
        groups: u32,
        incarnation: [u8; 16],
    ) -> Self {
        Self {
            cluster_id,
            node_id: 1,
            data_dir,
            groups,
            members: vec![Member { node_id: 1, address: "localhost:0".to_owned() }],
            replication_factor: 1,
            listen: None,
            tls: None,
            services: Routes::default(),
            incarnation,
            limits: Limits::default(),
            timing: Timing::default(),
            feature_level: levels::KNOWN,
        }
    }

    fn check(&self) -> Result<(), StartError> {
        let invalid = |what: &str| Err(StartError::Options(what.to_owned()));
        if self.cluster_id.is_empty() || self.cluster_id.len() > 64 {
            return invalid("the cluster id must have 1 to 64 bytes");
        }
        if self.node_id == 0 {
            return invalid("the node id must not be 0");
        }
        if self.groups == 0 || self.groups > GROUPS_MAX {
            return invalid("the number of groups is out of range");
        }
        if !self.members.is_empty() && !self.members.iter().any(|m| m.node_id == self.node_id) {
            return invalid("the node is not among the members");
        }
        if self.listen.is_none() && self.members.len() != 1 {
            return invalid("a node with peers needs an address to listen at");
        }
        Ok(())
    }

    fn raft_config(&self) -> Result<Config, StartError> {
        let millis = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        Config {
            cluster_name: self.cluster_id.clone(),
            heartbeat_interval: millis(self.timing.heartbeat),
            // replication that a follower has answered says what a heartbeat would
            heartbeat_min_interval: Some(millis(self.timing.heartbeat)),
            election_timeout_min: millis(self.timing.election_min),
            election_timeout_max: millis(self.timing.election_max),
            enable_pre_vote: Some(true),
            // a leader that comes back is a follower first: its state may be behind
            enable_leader_restore: Some(false),
            // `retention` makes snapshots and purges logs
            snapshot_policy: SnapshotPolicy::Never,
            max_in_snapshot_log_to_keep: u64::MAX,
            replication_lag_threshold: u64::MAX / 4,
            install_snapshot_timeout: 600_000,
            max_payload_entries: 1_024,
            max_append_entries: Some(1_024),
            api_channel_size: Some(8_192),
            backoff: "20ms 50ms 100ms ...250ms".to_owned(),
            ..Config::default()
        }
        .validate()
        .map_err(|error| StartError::Options(error.to_string()))
    }
}

/// Why a node does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The options contradict themselves.
    #[error("invalid options: {0}")]
    Options(String),
    /// From the disk or the network; or the data is not what it must be.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// A running node. [`GroupHost::shutdown`] ends it.
pub struct GroupHost {
    inner: Arc<HostInner>,
    registered: watch::Sender<Option<RegisteredNode>>,
    placement: Arc<dyn Placement>,
    local_address: Option<SocketAddr>,
    server: Mutex<Option<JoinHandle<()>>>,
    runtime: Mutex<Option<Runtime>>,
}

impl GroupHost {
    /// Opens the data directory and starts every group. Returns before leaders are elected: see
    /// [`GroupHost::wait_ready`].
    ///
    /// # Errors
    /// The options are wrong, the data directory cannot be used, or the port cannot be opened.
    pub async fn start(
        options: GroupHostOptions,
        clock: Arc<dyn Clock>,
        placement: Arc<dyn Placement>,
    ) -> Result<Self, StartError> {
        options.check()?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(options.limits.raft_threads.max(1))
            .thread_name("raft")
            .enable_all()
            .build()?;
        let clients = tokio::runtime::Handle::current();
        let handle = runtime.handle().clone();
        let mut starting = Starting { runtime: Some(runtime) };
        let (inner, server, local_address) = handle
            .spawn(start_groups(options, clock, handle.clone(), clients))
            .await
            .map_err(io::Error::other)??;
        Ok(Self {
            inner,
            registered: watch::Sender::new(None),
            placement,
            local_address,
            server: Mutex::new(server),
            runtime: Mutex::new(starting.runtime.take()),
        })
    }

    /// The store contract over this node's groups: for a node that is alone.
    pub fn store(&self) -> Arc<dyn Store> {
        Arc::new(LocalStore::new(self.inner.clone(), self.placement.clone()))
    }

    /// The service that gateways call, for those in this process: the same answers, without a network.
    pub fn shard(&self) -> Arc<dyn Shard> {
        Arc::new(ShardService::new(self.inner.clone(), None))
    }

    /// Where the internal port listens.
    pub fn local_address(&self) -> Option<SocketAddr> {
        self.local_address
    }

    /// What this node knows of its groups.
    pub fn status(&self) -> HostStatus {
        self.inner.status()
    }

    /// Waits until every group has recovered and knows a leader; false when it takes longer.
    pub async fn wait_ready(&self, limit: Duration) -> bool {
        const LOOK_EVERY: Duration = Duration::from_millis(10);
        let ready = async {
            while !self.status().is_ready() {
                tokio::time::sleep(LOOK_EVERY).await;
            }
        };
        timeout(limit, ready).await.is_ok()
    }

    /// Becomes `Some` with the reason when the process must end: there is never a live process with
    /// a dead group.
    pub fn fatal(&self) -> watch::Receiver<Option<String>> {
        self.inner.shared.fatal.subscribe()
    }

    /// Asks a voter to lead a group instead of this node. It may refuse, or another may win.
    pub async fn transfer_leadership(&self, group: u32, to: u64) {
        if let Some(group) = self.inner.group(group) {
            group.transfer_leadership(to).await;
        }
    }

    /// Keeps this node in the cluster's registry, and places groups while it leads the directory.
    /// `store` is the way to the directory. Once.
    pub fn manage(&self, store: Arc<dyn Store>, options: ManageOptions) {
        manage::start(&self.inner, store, options, self.registered.clone());
    }

    /// What the registry knows of this node; `None` until it is registered.
    pub fn registered(&self) -> watch::Receiver<Option<RegisteredNode>> {
        self.registered.subscribe()
    }

    /// Hands leadership over, stops the groups and makes their state durable. Nothing is served
    /// afterwards.
    pub async fn stop(&self) {
        self.inner.stepping_back.store(true, Ordering::Relaxed);
        self.inner.hand_over().await;
        self.inner.shared.stopping.send_replace(true);
        for group in self.inner.groups() {
            group.stop().await;
        }
        let server = self.server.lock().take();
        if let Some(server) = server {
            const DRAIN: Duration = Duration::from_secs(2);
            // connections of peers and gateways stay open by themselves
            let _ = timeout(DRAIN, server).await;
        }
        self.close().await;
    }

    /// [`GroupHost::stop`], and closes the data directory, unless a store or service of the host is
    /// still held.
    pub async fn shutdown(self) {
        self.stop().await;
    }

    /// Ends at once, as after a crash: nothing is handed over, flushed or answered.
    pub async fn kill(self) {
        self.inner.shared.stopping.send_replace(true);
        self.close().await;
    }

    pub(crate) fn inner(&self) -> &Arc<HostInner> {
        &self.inner
    }

    async fn close(&self) {
        let runtime = self.runtime.lock().take();
        if let Some(runtime) = runtime {
            const CLOSE: Duration = Duration::from_secs(5);
            let closed = tokio::task::spawn_blocking(move || runtime.shutdown_timeout(CLOSE));
            // only a panic in a destructor can make this an error
            let _ = closed.await;
        }
    }
}

impl Drop for GroupHost {
    fn drop(&mut self) {
        self.inner.shared.stopping.send_replace(true);
        if let Some(runtime) = self.runtime.get_mut().take() {
            runtime.shutdown_background();
        }
    }
}

/// Ends the threads when the start fails: a runtime must not be dropped where others wait.
struct Starting {
    runtime: Option<Runtime>,
}

impl Drop for Starting {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

async fn start_groups(
    options: GroupHostOptions,
    clock: Arc<dyn Clock>,
    runtime: tokio::runtime::Handle,
    clients: tokio::runtime::Handle,
) -> Result<(Arc<HostInner>, Option<JoinHandle<()>>, Option<SocketAddr>), StartError> {
    let config = Arc::new(options.raft_config()?);
    let tls = options.tls.clone();
    let identity = identity::open(
        &options.data_dir,
        &options.cluster_id,
        options.node_id,
        options.groups,
        options.incarnation,
    )?;
    let incarnations = Arc::new(Incarnations::open(&options.data_dir, identity.incarnation)?);
    let fatal = MustEnd::default();
    let peers = Peers::new(
        options.cluster_id.clone(),
        options.node_id,
        tls.clone(),
        incarnations.clone(),
        clock.clone(),
        fatal.clone(),
        options.feature_level,
    );
    let control = ControlClient::new(options.cluster_id.clone(), options.node_id, tls.clone());
    let first = |group| first_voters(group, &options.members, options.replication_factor);
    let made_here: Vec<u32> =
        (0..options.groups).filter(|group| first(*group).contains_key(&options.node_id)).collect();
    let held = Held::open(&options.data_dir, &made_here)?;
    let memory = SharedMemory::new(options.limits.cache_bytes, options.limits.write_buffer_bytes);
    let shared = Arc::new(Shared {
        cluster_id: options.cluster_id.clone(),
        node_id: options.node_id,
        clock,
        disk: DiskWatch::new(&options.data_dir, options.limits.disk.clone())?,
        limits: options.limits,
        config,
        peers,
        log: LogWriter::open(&options.data_dir)?,
        memory,
        alone: options.members.len() == 1,
        runtime,
        fatal,
        stopping: watch::Sender::new(false),
    });
    let listener = options.listen.map(|listen| bind(listen, tls.is_some())).transpose()?;
    let inner = HostInner::new(shared.clone(), &options.data_dir, held, control);
    inner.open_held(first).await?;
    // the names of what is new, before anything is acknowledged
    sync_dir(&options.data_dir)?;
    let parent = options.data_dir.parent().filter(|parent| !parent.as_os_str().is_empty());
    match parent.map(sync_dir) {
        // whoever may not open it has not made the directory in it either
        Some(Err(error)) if error.kind() != io::ErrorKind::PermissionDenied => {
            return Err(error.into());
        }
        _ => {}
    }
    tokio::spawn(watch_log(shared.clone()));
    tokio::spawn(watch_clock(inner.clone()));
    tokio::spawn(watch_disk(inner.clone()));
    tokio::spawn(make_groups(inner.clone(), options.members));
    let Some(listener) = listener else { return Ok((inner, None, None)) };
    let local_address = listener.local_addr()?;
    let raft =
        RaftService::server(options.cluster_id, options.node_id, incarnations, inner.clone());
    let shard = ShardService::new(inner.clone(), Some(clients));
    let control = ControlService::server(inner.clone());
    let services = options.services;
    let server = tokio::spawn(serve(listener, tls, services, raft, shard, control, shared));
    Ok((inner, Some(server), Some(local_address)))
}

/// Writes the first members of new groups, once most of the cluster's first nodes have been reached and
/// know nothing against it: a node that has lost its data must not make the cluster a second time.
async fn make_groups(inner: Arc<HostInner>, members: Vec<Member>) {
    const LOOK_EVERY: Duration = Duration::from_millis(100);
    const LOOKS_PER_LINE: u32 = 20;
    let make = async {
        let mut looks: u32 = 0;
        let mut new = Vec::new();
        for group in inner.groups() {
            if group.is_new().await {
                new.push(group);
            }
        }
        let own = inner.shared.node_id;
        while !new.is_empty() {
            let others: Vec<_> = members.iter().filter(|member| member.node_id != own).collect();
            let hellos = others.iter().map(|m| inner.shared.peers.hello(m.node_id, &m.address));
            let mut agreed = 1;
            for (other, heard) in others.iter().zip(futures::future::join_all(hellos).await) {
                match heard {
                    Ok(()) => agreed += 1,
                    Err(error) if looks.is_multiple_of(LOOKS_PER_LINE) => {
                        let target = other.node_id;
                        tracing::warn!("waiting for a first node: {error}; target={target}");
                    }
                    Err(_) => {}
                }
            }
            looks += 1;
            if agreed > members.len() / 2 {
                break;
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
        for group in new {
            group.allow_initialize().await;
        }
    };
    tokio::select! {
        () = make => {}
        () = inner.shared.stopped() => {}
    }
}

/// Ends the process when the log has failed, whatever the groups make of it.
async fn watch_log(shared: Arc<Shared>) {
    let mut failure = shared.log.failure();
    tokio::select! {
        failed = failure.wait_for(Option::is_some) => {
            if let Ok(Some(reason)) = failed.map(|reason| reason.clone()) {
                shared.report_fatal(reason);
            }
        }
        () = shared.stopped() => {}
    }
}

/// Asks every voter for its data and clock from time to time, and gives leadership away while this node's clock is off: the leader's clock is the group's.
async fn watch_clock(inner: Arc<HostInner>) {
    const INTERVAL: Duration = Duration::from_secs(1);
    let watch = async {
        loop {
            tokio::time::sleep(INTERVAL).await;
            let voters: BTreeMap<u64, String> =
                inner.status().groups.into_iter().flat_map(|group| group.voters).collect();
            let own = inner.shared.node_id;
            let hellos = voters
                .iter()
                .filter(|(id, _)| **id != own)
                .map(|(id, address)| inner.shared.peers.hello(*id, address));
            // who does not answer is noted by those who need it
            futures::future::join_all(hellos).await;
            if inner.status().clock_is_off {
                tracing::error!("this node's clock is off that of the others; it does not lead");
                inner.hand_over().await;
            }
        }
    };
    tokio::select! {
        () = watch => {}
        () = inner.shared.stopped() => {}
    }
}

/// Looks how much of the disk is free, and gives leadership away when it is nearly full: once, since the others may be
/// no better off.
async fn watch_disk(inner: Arc<HostInner>) {
    let watch = async {
        loop {
            tokio::time::sleep(inner.shared.disk.interval()).await;
            if inner.shared.disk.look() {
                tracing::error!("the disk is nearly full; only deletions are taken on");
                inner.hand_over().await;
            }
        }
    };
    tokio::select! {
        () = watch => {}
        () = inner.shared.stopped() => {}
    }
}

fn bind(listen: Listen, tls: bool) -> Result<TcpListener, StartError> {
    let listener = match listen {
        Listen::Address(address) => TcpListener::bind(address)?,
        Listen::Socket(listener) => listener,
    };
    if !tls && !listener.local_addr()?.ip().is_loopback() {
        return Err(StartError::Options(
            "the internal port needs certificates: without them it listens on loopback only"
                .to_owned(),
        ));
    }
    listener.set_nonblocking(true)?;
    Ok(listener)
}

async fn serve(
    listener: TcpListener,
    tls: Option<Arc<Mutual>>,
    services: Routes,
    raft: crate::proto::raft_transport_server::RaftTransportServer<RaftService<HostInner>>,
    shard: ShardService,
    control: NodeControlServer<ControlService>,
    shared: Arc<Shared>,
) {
    /// One commit or read is at most this large, encoded.
    const MESSAGE_BYTES_MAX: usize = 8 << 20;
    let served = async {
        let listener = tokio::net::TcpListener::from_std(listener)?;
        let check = CheckPeer::new(&shared.cluster_id, tls.is_some());
        let incoming = conclave_tls::incoming(listener, tls, conclave_tls::Limits::default());
        let mut server = Server::builder()
            .http2_keepalive_interval(Some(Duration::from_secs(2)))
            .http2_keepalive_timeout(Some(Duration::from_secs(4)))
            .initial_stream_window_size(4 << 20)
            .initial_connection_window_size(16 << 20)
            .max_concurrent_streams(4_096);
        let shard = ShardServer::new(shard)
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .max_encoding_message_size(MESSAGE_BYTES_MAX);
        server
            .add_routes(services)
            .add_service(InterceptedService::new(raft, check.clone()))
            .add_service(InterceptedService::new(shard, check.clone()))
            .add_service(InterceptedService::new(control, check))
            .serve_with_incoming_shutdown(incoming, shared.stopped())
            .await
            .map_err(io::Error::other)
    };
    if let Err(error) = served.await {
        shared.report_fatal(format!("the internal port has failed: {error}"));
    }
}
