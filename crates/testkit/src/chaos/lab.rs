//! The cluster, its load and the tools: what a fault is given.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{Arc, Weak, atomic::Ordering},
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use conclave_cluster::RoutingStore;
use conclave_store::Store;
use tokio::{
    task::JoinSet,
    time::{Instant, sleep},
};

use super::{
    acks::{Acks, Class},
    api::{Api, Pool},
    cluster::{Cluster, ClusterOptions},
    command::{signal, until},
    disk::IMAGE_BYTES,
    gate::Gate,
    guesses::Guesses,
    names::Names,
    network::Network,
    node::Reading,
    objects::Objects,
    people::People,
    proxy::{Flow, Proxy},
    rows::{points, signing_keys},
    run::say,
    sandbox::Tools,
    watcher::Watcher,
};
use crate::dice::Dice;

/// Gateways of the harness's own, each with connections and a memory of leaders of its own.
const STORES: usize = 4;
/// Pools, over all groups.
const POOLS: usize = 8;
/// Clients of users as registers.
const NAME_CLIENTS: u32 = 4;
/// Users that are lived with at a time.
const PEOPLE: u32 = 3;
/// Users whose passwords are guessed at a time.
const GUESSES: u32 = 2;
/// How often the harness's gateways look which nodes there are.
const LOOK_FOR_NODES_EVERY: Duration = Duration::from_secs(1);
const FIRST_ACK_WITHIN: Duration = Duration::from_secs(60);
const CONVERGED_WITHIN: Duration = Duration::from_secs(60);
/// Names a bug that the server has on purpose.
const BUG_VARIABLE: &str = "CONCLAVE_SEEDED_BUG";
/// The operations whose first acknowledgement after a fault is looked for: those that never rest.
const STEADY: [&str; 2] = ["read", "commit"];

/// What a lab is made of.
#[derive(Debug, Clone)]
pub struct LabOptions {
    /// The server.
    pub binary: PathBuf,
    /// Another version of it, which the nodes begin with.
    pub previous: Option<PathBuf>,
    /// A directory for all that is made.
    pub dir: PathBuf,
    /// Decides everything that is left to chance.
    pub seed: u64,
    /// Clients of registers.
    pub clients: u32,
    /// Nodes of the cluster.
    pub nodes: u32,
    /// Groups of pools.
    pub pool_groups: u32,
    /// What the machine lets us do.
    pub tools: Tools,
    /// Limits of time are so many times as long as the matrix says.
    pub patience: u32,
    /// Faults that have a length last as long as the matrix says, instead of a part of it.
    pub long_holds: bool,
    /// A bug that the server is to have, of those that it was built with.
    pub bug: Option<String>,
}

/// A running cluster under load.
pub struct Lab {
    /// What the machine lets us do.
    pub tools: Tools,
    /// A directory for what faults write down.
    pub dir: PathBuf,
    /// The cluster.
    pub cluster: Cluster,
    /// Acknowledgements.
    pub acks: Arc<Acks>,
    /// Registers.
    pub objects: Arc<Objects>,
    /// Users as registers.
    pub names: Arc<Names>,
    /// Users from beginning to end.
    pub people: Arc<People>,
    /// Users whose passwords are guessed.
    pub guesses: Arc<Guesses>,
    /// The public API.
    pub api: Api,
    /// What the nodes say and use all the time.
    pub watcher: Watcher,
    /// The choices of the present round,
    pub dice: Dice,
    /// and its number.
    pub round: u64,
    /// The versions that F26 goes to and fro between: that which runs, and the other.
    pub versions: Option<(PathBuf, PathBuf)>,
    /// Limits of time are so many times as long as the matrix says.
    pub patience: u32,
    /// Faults that have a length last as long as the matrix says.
    pub long_holds: bool,
    /// Tokens that F27 has had issued.
    pub issued: signing_keys::Issued,
    /// Clients of registers, each with one operation under way.
    pub register_clients: u32,
    pools: Vec<Pool>,
    gate: Arc<Gate>,
    clients: JoinSet<()>,
}

/// How the cluster came back after a fault.
#[derive(Debug, Clone, Copy)]
pub struct Recovery {
    /// When the fault was over.
    pub healed: Instant,
    /// Until every class of operations had an acknowledgement of one that began after the heal.
    pub first_ack: Duration,
}

impl Lab {
    /// Makes the cluster and starts the load.
    ///
    /// # Errors
    /// The cluster does not become ready.
    pub async fn start(options: LabOptions) -> Result<Self> {
        let versions = options.previous.clone().map(|previous| (previous, options.binary.clone()));
        let binary = options.previous.clone().unwrap_or_else(|| options.binary.clone());
        let LabOptions { dir, seed, clients, nodes, pool_groups, tools, bug, .. } = options;
        let network = Arc::new(Network::create(tools.namespaces)?);
        let proxy = Proxy::new(Arc::clone(&network), Dice::new(seed, 0x9a0c_0001));
        let made = ClusterOptions {
            binary,
            dir: dir.clone(),
            nodes,
            pool_groups,
            images: tools.disks,
            disk_bytes: IMAGE_BYTES,
            settings: match tools.failpoints {
                true => [points::SNAPSHOTS, signing_keys::SETTINGS].concat(),
                false => signing_keys::SETTINGS.to_owned(),
            },
            environment: bug.into_iter().map(|bug| (BUG_VARIABLE.to_owned(), bug)).collect(),
        };
        let cluster = Cluster::start(made, network, proxy).await?;
        let (acks, gate) = (Arc::new(Acks::default()), Arc::new(Gate::default()));
        let mut stores: Vec<Arc<dyn Store>> = Vec::new();
        for _ in 0..STORES {
            let store = cluster.store()?;
            tokio::spawn(look_for_nodes(Arc::downgrade(&store)));
            stores.push(store);
        }
        let groups: Vec<u32> = (1..=pool_groups).collect();
        let objects =
            Objects::create(stores, &groups, Arc::clone(&acks), Arc::clone(&gate), seed).await?;
        let mut tasks = objects.start(clients, seed);
        let api = Api::new(Arc::clone(&cluster.gateways), cluster.access_key.clone());
        let mut pools = Vec::new();
        for number in 0..POOLS {
            pools.push(api.make_pool(&format!("chaos-{number}")).await?);
        }
        let names =
            Names::create(api.clone(), pools.clone(), Arc::clone(&acks), Arc::clone(&gate), seed);
        names.start(NAME_CLIENTS, seed, &mut tasks);
        let people =
            People::create(api.clone(), pools.clone(), Arc::clone(&acks), Arc::clone(&gate));
        people.start(PEOPLE, seed, &mut tasks);
        let guesses =
            Guesses::create(api.clone(), pools.clone(), Arc::clone(&acks), Arc::clone(&gate));
        guesses.start(GUESSES, seed, &mut tasks);
        let watcher = Watcher::start(Arc::clone(&cluster.targets));
        let lab = Self {
            tools,
            dir,
            cluster,
            acks,
            objects,
            names,
            people,
            guesses,
            api,
            watcher,
            dice: Dice::new(seed, 0),
            round: 0,
            versions,
            patience: options.patience,
            long_holds: options.long_holds,
            issued: signing_keys::Issued::default(),
            register_clients: clients,
            pools,
            gate,
            clients: tasks,
        };
        lab.wait_for_first().await.context("no operation is acknowledged")?;
        Ok(lab)
    }

    /// One of the groups that hold registers.
    pub fn some_group(&self) -> u32 {
        1 + self.dice.below(u64::from(self.cluster.pool_groups)) as u32
    }

    /// The place of a node's gateway among those that calls go to.
    pub fn gateway(&self, node: u32) -> usize {
        self.api.place(node)
    }

    /// A group with its leader.
    ///
    /// # Errors
    /// It has none.
    pub async fn some_leader(&self) -> Result<(u32, u32)> {
        let group = self.some_group();
        let leader = self.cluster.leader(group, &self.cluster.ids()).await?;
        Ok((group, leader))
    }

    /// All nodes but one.
    pub fn others(&self, node: u32) -> Vec<u32> {
        self.cluster.ids().into_iter().filter(|id| *id != node).collect()
    }

    /// One of the nodes but this one.
    ///
    /// # Errors
    /// There is only this one.
    pub fn some_other(&self, node: u32) -> Result<u32> {
        self.dice.pick(&self.others(node)).copied().context("one node only")
    }

    /// One of the pools.
    ///
    /// # Errors
    /// There is none.
    pub fn some_pool(&self) -> Result<Pool> {
        self.dice.pick(&self.pools).cloned().context("no pools")
    }

    /// What holds the load up: for clients of a fault's own.
    pub fn gate(&self) -> Arc<Gate> {
        Arc::clone(&self.gate)
    }

    /// A limit of time, as long as this machine needs.
    pub fn patient(&self, limit: Duration) -> Duration {
        limit * self.patience
    }

    /// Whether a class of operations is one that never rests.
    pub fn is_steady(class: &Class) -> bool {
        STEADY.contains(&class.kind)
    }

    /// Whether a node says that it leads a group.
    pub async fn leads_anything(&self, node: u32) -> bool {
        let Ok(node) = self.cluster.node(node) else { return false };
        node.reading()
            .await
            .is_some_and(|reading| reading.groups.values().any(|of_group| of_group.leads))
    }

    /// Whether a node has applied less of a group than another.
    pub async fn is_behind(&self, node: u32, group: u32) -> bool {
        let readings = self.cluster.readings().await;
        let applied = |id: u32| readings.get(&id)?.groups.get(&group).map(|g| g.applied);
        let most = self.others(node).into_iter().filter_map(applied).max();
        most > applied(node)
    }

    /// Whether the others have gone on in a group while a node is away.
    pub async fn is_behind_without(&self, node: u32, group: u32) -> bool {
        let before = self.cluster.readings().await;
        sleep(Duration::from_millis(200)).await;
        let after = self.cluster.readings().await;
        let most = |readings: &BTreeMap<u32, Reading>| {
            readings.values().filter_map(|r| r.groups.get(&group)).map(|g| g.applied).max()
        };
        !after.contains_key(&node) && most(&after) > most(&before)
    }

    /// Operations of a group that have failed since the window began.
    pub fn failed_in(&self, group: u32) -> u64 {
        let tallies = self.acks.tallies();
        let of_group = tallies.iter().filter(|(class, _)| class.group == group);
        of_group.map(|(_, tally)| tally.failed).sum()
    }

    /// Acknowledgements a second, over the next `window`.
    pub async fn rate(&self, window: Duration) -> f64 {
        let all = || self.acks.tallies().values().map(|tally| tally.acknowledged).sum::<u64>();
        let before = all();
        sleep(window).await;
        all().saturating_sub(before) as f64 / window.as_secs_f64()
    }

    /// Nothing passes between a node and all others, or everything does again.
    pub fn cut_off(&self, node: u32, cut: bool) {
        let flow = Flow { silent: cut, ..Flow::default() };
        for other in self.others(node) {
            self.cluster.proxy.set_both(node, other, flow);
        }
    }

    /// Waits, for the time that a fault lasts.
    pub async fn hold(&self, duration: Duration) {
        sleep(duration).await;
    }

    /// Undoes what a fault may have left behind when it could not be brought to its end.
    pub fn heal(&mut self) {
        self.guesses.suspended.store(false, Ordering::Relaxed);
        self.cluster.proxy.heal();
        self.cluster.network.heal();
        for node in self.cluster.nodes.values_mut() {
            node.launch.environment.clear();
            // what does not stand still does not mind
            let _ = node.pid().map(|pid| signal(pid, "CONT"));
        }
        for disk in self.cluster.disks.values() {
            let _ = disk.clear();
        }
        if let Err(error) = self.cluster.restart_ended() {
            say(&format!("a node cannot be started: {error:#}"));
        }
    }

    async fn wait_for_first(&self) -> Result<Duration> {
        let began = Instant::now();
        if self.acks.tallies().is_empty() {
            let any = async || !self.acks.tallies().is_empty();
            until("operations have begun", FIRST_ACK_WITHIN, any).await?;
        }
        self.acks.watch_for_first(&STEADY);
        let what = "every class of operations is acknowledged";
        until(what, FIRST_ACK_WITHIN, async || self.acks.slowest_first().is_some()).await?;
        Ok(self.acks.slowest_first().unwrap_or(began.elapsed()))
    }

    /// The fault is over: waits until everything works again, and says how long it took.
    ///
    /// # Errors
    /// It does not.
    pub async fn recover(&mut self) -> Result<Recovery> {
        let healed = Instant::now();
        let first_ack = self.wait_for_first().await?;
        self.cluster.wait_ready().await?;
        Ok(Recovery { healed, first_ack })
    }

    /// Holds the load up, waits until all replicas have applied the same, and judges the histories
    /// that are full (with `all`, all of them). Returns when the replicas were the same.
    ///
    /// # Errors
    /// Operations do not end, replicas stay apart, or an object cannot be read.
    pub async fn settle(&mut self, all: bool) -> Result<Instant> {
        let result = self.settle_closed(all).await;
        self.acks.forgive_pause();
        self.gate.open();
        result
    }

    async fn settle_closed(&mut self, all: bool) -> Result<Instant> {
        self.gate.close().await?;
        let what = "all replicas have applied the same entries";
        let mut apart = None;
        let converged = async || {
            let readings = self.cluster.readings().await;
            apart = self.differs(&readings);
            apart.is_some() || self.is_converged(&readings)
        };
        until(what, CONVERGED_WITHIN, converged).await?;
        if let Some(apart) = apart {
            bail!("{apart}");
        }
        let took = Instant::now();
        self.objects.settle(all).await?;
        self.names.settle(all).await?;
        Ok(took)
    }

    /// Replicas that have applied as much, to another effect.
    fn differs(&self, readings: &BTreeMap<u32, Reading>) -> Option<String> {
        self.cluster.groups().into_iter().find_map(|group| {
            let of = |(id, reading): (&u32, &Reading)| {
                let of_group = reading.groups.get(&group)?;
                Some((of_group.applied, (*id, of_group.history)))
            };
            let mut by_entry: BTreeMap<u64, Vec<(u32, u64)>> = BTreeMap::new();
            for (applied, replica) in readings.iter().filter_map(of) {
                by_entry.entry(applied).or_default().push(replica);
            }
            by_entry.into_iter().find_map(|(applied, replicas)| {
                let (_, first) = *replicas.first()?;
                let same = replicas.iter().all(|(_, history)| *history == first);
                let what = format!(
                    "the replicas of group {group} differ after entry {applied}: {replicas:x?}"
                );
                (!same).then_some(what)
            })
        })
    }

    fn is_converged(&self, readings: &BTreeMap<u32, Reading>) -> bool {
        let applied = |group: u32| {
            let mut all = readings.values().filter_map(move |r| r.groups.get(&group));
            let first = all.next().map(|of_group| (of_group.applied, of_group.last));
            first.is_some_and(|(applied, last)| applied == last)
                && all.all(|of_group| Some((of_group.applied, of_group.last)) == first)
        };
        readings.len() == self.cluster.nodes.len() && self.cluster.groups().into_iter().all(applied)
    }

    /// Ends the load, judges what is left, and stops the servers in order.
    ///
    /// # Errors
    /// As with [`Lab::settle`], or a server does not stop.
    pub async fn finish(mut self) -> Result<()> {
        self.settle(true).await?;
        self.gate.stop();
        while self.clients.join_next().await.is_some() {}
        for id in self.cluster.ids() {
            let node = self.cluster.node_mut(id)?;
            if let Some(status) = node.stop().await? {
                ensure!(status.success(), "node {id} ended with {status}:\n{}", node.log_tail());
            }
        }
        Ok(())
    }
}

/// As the server does, for as long as somebody uses the store.
async fn look_for_nodes(store: Weak<RoutingStore>) {
    while let Some(store) = store.upgrade() {
        // a cluster without a leader is asked again
        let _ = store.look_for_nodes().await;
        drop(store);
        sleep(LOOK_FOR_NODES_EVERY).await;
    }
}
