//! The cluster, its load and the tools: what a fault is given.

use std::{path::PathBuf, sync::Arc, time::Duration};

use anyhow::{Context, Result, ensure};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep},
};

use super::{
    acks::Acks,
    cluster::{Cluster, ClusterOptions},
    command::until,
    gate::Gate,
    network::Network,
    objects::Objects,
    proxy::Proxy,
    sandbox::Tools,
};
use crate::dice::Dice;

/// Gateways of the harness's own, each with connections and a memory of leaders of its own.
const STORES: usize = 4;
const FIRST_ACK_WITHIN: Duration = Duration::from_secs(60);
const CONVERGED_WITHIN: Duration = Duration::from_secs(60);
/// The operations whose first acknowledgement after a fault is looked for: those that never rest.
const STEADY: [&str; 2] = ["read", "commit"];

/// What a lab is made of.
#[derive(Debug, Clone)]
pub struct LabOptions {
    /// The server.
    pub binary: PathBuf,
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
    /// The choices of the present round.
    pub dice: Dice,
    /// The seed of the run.
    pub seed: u64,
    gate: Arc<Gate>,
    clients: JoinSet<()>,
}

/// How the cluster came back after a fault.
#[derive(Debug, Clone, Copy, Default)]
pub struct Recovery {
    /// Until every class of operations had an acknowledgement of one that began after the heal.
    pub first_ack: Duration,
    /// Until all replicas had applied the same entries.
    pub converged: Duration,
}

impl Lab {
    /// Makes the cluster and starts the load.
    ///
    /// # Errors
    /// The cluster does not become ready.
    pub async fn start(options: LabOptions) -> Result<Self> {
        let LabOptions { binary, dir, seed, clients, nodes, pool_groups, tools } = options;
        let network = Arc::new(Network::create(tools.namespaces, nodes)?);
        let proxy = Proxy::start(Arc::clone(&network), Dice::new(seed, 0x9a0c_0001)).await?;
        let made =
            ClusterOptions { binary, dir: dir.clone(), nodes, pool_groups, images: tools.disks };
        let cluster = Cluster::start(made, network, proxy).await?;
        let (acks, gate) = (Arc::new(Acks::default()), Arc::new(Gate::default()));
        let stores = (0..STORES).map(|_| cluster.store()).collect::<Result<Vec<_>>>()?;
        let groups: Vec<u32> = (1..=pool_groups).collect();
        let objects =
            Objects::create(stores, &groups, Arc::clone(&acks), Arc::clone(&gate), seed).await?;
        let clients = objects.start(clients, seed);
        let dice = Dice::new(seed, 0);
        let lab = Self { tools, dir, cluster, acks, objects, dice, seed, gate, clients };
        lab.wait_for_first().await.context("no operation is acknowledged")?;
        Ok(lab)
    }

    /// One of the groups that hold registers.
    pub fn some_group(&self) -> u32 {
        1 + self.dice.below(u64::from(self.cluster.pool_groups)) as u32
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

    /// Waits, for the time that a fault lasts.
    pub async fn hold(&self, duration: Duration) {
        sleep(duration).await;
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
        Ok(Recovery { first_ack, converged: healed.elapsed() })
    }

    /// Holds the load up, waits until all replicas have applied the same, and judges the histories
    /// that are full (with `all`, all of them). Returns how long the replicas took.
    ///
    /// # Errors
    /// Operations do not end, replicas stay apart, or an object cannot be read.
    pub async fn settle(&mut self, all: bool) -> Result<Duration> {
        let result = self.settle_closed(all).await;
        self.acks.forgive_pause();
        self.gate.open();
        result
    }

    async fn settle_closed(&mut self, all: bool) -> Result<Duration> {
        self.gate.close().await?;
        let what = "all replicas have applied the same entries";
        let took = until(what, CONVERGED_WITHIN, async || self.is_converged().await).await?;
        self.objects.settle(all).await?;
        Ok(took)
    }

    async fn is_converged(&self) -> bool {
        let readings = self.cluster.readings().await;
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
            let node = self.cluster.node_mut(id);
            if let Some(status) = node.stop().await? {
                ensure!(status.success(), "node {id} ended with {status}:\n{}", node.log_tail());
            }
        }
        Ok(())
    }
}
