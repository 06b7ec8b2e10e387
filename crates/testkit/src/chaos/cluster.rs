//! Nodes, their certificates and their supervisor. Three at first; they come and go.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use conclave_cluster::{RoutingLimits, RoutingOptions, RoutingStore};
use conclave_crypto::entropy::{SystemEntropy, bytes};
use conclave_store::{DIRECTORY_GROUP, DIRECTORY_SCOPE, Placement};
use conclave_tls::{Mutual, MutualFiles};
use tokio::time::{Instant, sleep};

use super::{
    api::Gateways,
    command::{text, until},
    disk::Disk,
    network::Network,
    node::{Launch, Node, Reading},
    proxy::Proxy,
    watcher::Targets,
};
use crate::request::AccessKey;

const CLUSTER: &str = "chaos";
const REGION: &str = "us-east-1";
/// A machine that others use too may be slow.
const READY_WITHIN: Duration = Duration::from_secs(90);
const LEADERS_WITHIN: Duration = Duration::from_secs(60);

/// A cluster whose nodes can be hurt one by one.
pub struct Cluster {
    /// Where it is.
    pub dir: PathBuf,
    /// The nodes by their numbers: those that have been taken away are not among them.
    pub nodes: BTreeMap<u32, Node>,
    /// Their data.
    pub disks: BTreeMap<u32, Disk>,
    /// Their network.
    pub network: Arc<Network>,
    /// What happens between them.
    pub proxy: Arc<Proxy>,
    /// Groups of pools; the directory is not among them.
    pub pool_groups: u32,
    /// Calls for an administrator are signed with it.
    pub access_key: AccessKey,
    /// Where each node can be asked, and which process it is.
    pub targets: Targets,
    /// The public ports.
    pub gateways: Gateways,
    pub(super) binary: PathBuf,
    /// With which the cluster was made.
    first: Vec<u32>,
    next: u32,
    images: bool,
    disk_bytes: u64,
    settings: String,
    environment: Vec<(String, String)>,
}

/// What a cluster is made of.
#[derive(Debug, Clone)]
pub struct ClusterOptions {
    /// The server.
    pub binary: PathBuf,
    /// An empty directory.
    pub dir: PathBuf,
    /// How many nodes at first.
    pub nodes: u32,
    /// How many groups of pools.
    pub pool_groups: u32,
    /// Whether each node has a file system of its own.
    pub images: bool,
    /// How large that is; what is not written takes no room.
    pub disk_bytes: u64,
    /// What is added to the configuration of every node.
    pub settings: String,
    /// Variables of the environment of every node.
    pub environment: Vec<(String, String)>,
}

impl Cluster {
    /// Makes and starts it, and an account with an access key.
    ///
    /// # Errors
    /// A node does not become ready, and why.
    pub async fn start(
        options: ClusterOptions,
        network: Arc<Network>,
        proxy: Arc<Proxy>,
    ) -> Result<Self> {
        let ClusterOptions { binary, dir, nodes, pool_groups, images, .. } = options;
        let ClusterOptions { disk_bytes, settings, environment, .. } = options;
        let pki = dir.join("pki");
        let init = ["pki", "init", "--dir", text(&pki)?, "--cluster-id", CLUSTER];
        conclave(&binary, &init)?;
        issue(&binary, &pki, "client", "gateway", 0, &["localhost".to_owned()])?;
        issue(&binary, &pki, "admin", "admin", 0, &[])?;
        fs::write(dir.join("kek"), hex::encode(bytes::<32>(&SystemEntropy)))?;
        let mut cluster = Self {
            dir,
            nodes: BTreeMap::new(),
            disks: BTreeMap::new(),
            network,
            proxy,
            pool_groups,
            access_key: AccessKey {
                id: String::new(),
                secret: String::new(),
                region: REGION.to_owned(),
            },
            targets: Targets::default(),
            gateways: Gateways::default(),
            binary,
            first: (1..=nodes).collect(),
            next: nodes + 1,
            images,
            disk_bytes,
            settings,
            environment,
        };
        for id in 1..=nodes {
            cluster.network.add(id)?;
            cluster.proxy.add(id).await?;
        }
        for id in 1..=nodes {
            cluster.make_node(id)?;
            cluster.open_gateway(id)?;
        }
        for id in 1..=nodes {
            cluster.start_node(id)?;
        }
        cluster.wait_ready().await?;
        cluster.make_access_key()?;
        Ok(cluster)
    }

    /// Everything of a node but its process.
    fn make_node(&mut self, id: u32) -> Result<()> {
        let name = format!("node-{id}");
        let disk = Disk::create(&self.dir, &name, self.images, self.disk_bytes)?;
        let addresses = self.network.of(id)?;
        let hosts = [addresses.known.ip().to_string(), addresses.internal.ip().to_string()];
        issue(&self.binary, &self.dir.join("pki"), &name, "node", id, &hosts)?;
        let config = self.dir.join(format!("{name}.toml"));
        let text = self.config_text(id, &disk.mount_point.join("data"))? + &self.settings;
        fs::write(&config, text)?;
        let launch = Launch {
            binary: self.binary.clone(),
            prefix: self.network.prefix(id),
            config,
            log: self.dir.join(format!("{name}.log")),
            always: self.environment.clone(),
            environment: Vec::new(),
        };
        self.nodes.insert(id, Node::new(id, launch, addresses.management));
        self.disks.insert(id, disk);
        Ok(())
    }

    /// Clients call a node's gateway from here on.
    ///
    /// # Errors
    /// There is no such node.
    pub fn open_gateway(&self, id: u32) -> Result<()> {
        let public = self.network.of(id)?.public;
        self.gateways.write().insert(id, public.to_string());
        Ok(())
    }

    fn config_text(&self, id: u32, data: &Path) -> Result<String> {
        let own = self.network.of(id)?;
        let members = if self.first.contains(&id) {
            let of = |id: &u32| {
                let known = self.network.of(*id)?.known;
                Ok(format!("{{ node_id = {id}, address = \"{known}\" }}"))
            };
            let members = self.first.iter().map(of).collect::<Result<Vec<_>>>()?;
            format!("members = [{}]", members.join(", "))
        } else {
            let known = |id: &u32| Ok(format!("\"{}\"", self.network.of(*id)?.known));
            let seeds = self.nodes.keys().map(known).collect::<Result<Vec<_>>>()?;
            format!("address = \"{}\"\njoin = [{}]", own.known, seeds.join(", "))
        };
        let dir = self.dir.display();
        Ok(format!(
            "cluster_id = \"{CLUSTER}\"\nnode_id = {id}\ndata_dir = \"{}\"\n\
             public_url = \"http://login.test\"\npool_groups = {}\n{members}\n\n[listen]\n\
             public = \"{}\"\ninternal = \"{}\"\nmanagement = \"{}\"\n\n[kek]\n\
             file = \"{dir}/kek\"\n\n[internal_tls]\nca = \"{dir}/pki/ca.pem\"\n\
             certificate = \"{dir}/pki/node-{id}.pem\"\nkey = \"{dir}/pki/node-{id}-key.pem\"\n",
            data.display(),
            self.pool_groups,
            own.public,
            own.internal,
            own.management,
        ))
    }

    /// Starts one more node, with a number that none has had, no data, and the others to join. Clients do not call it yet.
    ///
    /// # Errors
    /// It cannot be made or started.
    pub async fn add_node(&mut self) -> Result<u32> {
        let id = self.next;
        self.next += 1;
        self.network.add(id)?;
        self.proxy.add(id).await?;
        self.make_node(id)?;
        self.start_node(id)?;
        Ok(id)
    }

    /// Takes a node away for good, with its data.
    pub fn take_away(&mut self, id: u32) {
        self.gateways.write().remove(&id);
        self.targets.lock().remove(&id);
        // in this order: the process, the disk that it has open, the network that it is in
        self.nodes.remove(&id);
        self.disks.remove(&id);
        self.proxy.remove(id);
        self.network.remove(id);
    }

    fn make_access_key(&mut self) -> Result<()> {
        let first = self.nodes.values().next().context("no nodes")?;
        let config = text(&first.launch.config)?.to_owned();
        let create = ["account", "create", "--config", &config, "--name", "chaos"];
        let account = conclave(&self.binary, &create)?;
        let create = ["credentials", "create", "--config", &config, "--user", "chaos", "--account"];
        let printed = conclave(&self.binary, &[&create[..], &[account.trim()]].concat())?;
        let value = |name: &str| {
            let line = printed.lines().find_map(|l| l.strip_prefix(name)?.strip_prefix('='));
            line.map(str::to_owned).with_context(|| format!("{name} was not printed"))
        };
        self.access_key.id = value("AWS_ACCESS_KEY_ID")?;
        self.access_key.secret = value("AWS_SECRET_ACCESS_KEY")?;
        Ok(())
    }

    /// The numbers of all nodes.
    pub fn ids(&self) -> Vec<u32> {
        self.nodes.keys().copied().collect()
    }

    /// All groups, the directory among them.
    pub fn groups(&self) -> Vec<u32> {
        (0..=self.pool_groups).collect()
    }

    /// A node by its number.
    ///
    /// # Errors
    /// There is no such node.
    pub fn node(&self, id: u32) -> Result<&Node> {
        self.nodes.get(&id).with_context(|| format!("no node {id}"))
    }

    /// The same, to change it.
    ///
    /// # Errors
    /// There is no such node.
    pub fn node_mut(&mut self, id: u32) -> Result<&mut Node> {
        self.nodes.get_mut(&id).with_context(|| format!("no node {id}"))
    }

    /// The disk of a node.
    ///
    /// # Errors
    /// There is no such node.
    pub fn disk(&self, id: u32) -> Result<&Disk> {
        self.disks.get(&id).with_context(|| format!("no node {id}"))
    }

    fn disk_mut(&mut self, id: u32) -> Result<&mut Disk> {
        self.disks.get_mut(&id).with_context(|| format!("no node {id}"))
    }

    /// Starts a node's process.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn start_node(&mut self, id: u32) -> Result<()> {
        let node = self.node_mut(id)?;
        let (pid, management) = (node.start()?, node.management);
        self.proxy.learn(pid, id);
        self.targets.lock().insert(id, (management, Some(pid)));
        Ok(())
    }

    /// Starts again whoever has ended, as a supervisor would. Returns who it was, with its last words.
    ///
    /// # Errors
    /// A process cannot be started.
    pub fn restart_ended(&mut self) -> Result<Vec<(u32, String)>> {
        let mut ended = Vec::new();
        for id in self.ids() {
            let node = self.node_mut(id)?;
            if node.ended().is_some() || node.pid().is_none() {
                ended.push((id, node.log_tail()));
                self.start_node(id)?;
            }
        }
        Ok(ended)
    }

    /// Waits until every node says that it is ready. One that ends meanwhile is an error.
    ///
    /// # Errors
    /// Who is not ready.
    pub async fn wait_ready(&mut self) -> Result<()> {
        let deadline = Instant::now() + READY_WITHIN;
        for node in self.nodes.values_mut() {
            while !node.is_ready().await {
                if let Some(status) = node.ended() {
                    bail!("node {} ended with {status}:\n{}", node.id, node.log_tail());
                }
                let late = Instant::now() >= deadline;
                ensure!(!late, "node {} is not ready:\n{}", node.id, node.log_tail());
                sleep(Duration::from_millis(20)).await;
            }
        }
        Ok(())
    }

    /// What each node says of its groups, as far as it answers.
    pub async fn readings(&self) -> BTreeMap<u32, Reading> {
        let mut readings = BTreeMap::new();
        for node in self.nodes.values() {
            if node.pid().is_some()
                && let Some(reading) = node.reading().await
            {
                readings.insert(node.id, reading);
            }
        }
        readings
    }

    /// Who leads a group: of those that say so, the one with the highest term.
    pub async fn leader_now(&self, group: u32) -> Option<u32> {
        leader_in(&self.readings().await, group)
    }

    /// Waits until a group has a leader among `among`.
    ///
    /// # Errors
    /// It has none for a long time.
    pub async fn leader(&self, group: u32, among: &[u32]) -> Result<u32> {
        let mut found = None;
        until(&format!("group {group} has a leader"), LEADERS_WITHIN, async || {
            let mut readings = self.readings().await;
            readings.retain(|id, _| among.contains(id));
            found = leader_in(&readings, group);
            found.is_some()
        })
        .await?;
        found.context("no leader")
    }

    /// How many leaders each group has had, as the node says that has seen most changes.
    pub async fn terms(&self) -> BTreeMap<u32, u64> {
        let mut terms = BTreeMap::new();
        for reading in self.readings().await.values() {
            for (group, of_group) in &reading.groups {
                let term = terms.entry(*group).or_insert(0);
                *term = of_group.term.max(*term);
            }
        }
        terms
    }

    /// A client of the store's contract, with the certificate of a gateway.
    ///
    /// # Errors
    /// A certificate cannot be read.
    pub fn store(&self) -> Result<Arc<RoutingStore>> {
        let pki = self.dir.join("pki");
        let files = MutualFiles {
            ca: pki.join("ca.pem"),
            certificate: pki.join("client.pem"),
            key: pki.join("client-key.pem"),
            server_name: None,
        };
        let options = RoutingOptions {
            cluster_id: CLUSTER.to_owned(),
            seeds: self.network.all().values().map(|a| a.known.to_string()).collect(),
            tls: Some(Mutual::load(&files, conclave_tls::system_time())?),
            groups: self.pool_groups + 1,
            placement: Arc::new(ByName),
            local: None,
            limits: RoutingLimits::default(),
        };
        Ok(Arc::new(RoutingStore::new(options)?))
    }

    /// Power fails on all of `ids` at once, and comes back; their processes are not started.
    ///
    /// # Errors
    /// What `cp` and `mount` say.
    pub async fn cut_power(&mut self, ids: &[u32]) -> Result<()> {
        for id in ids {
            self.node(*id)?.freeze().await?;
        }
        let mut before = Vec::new();
        for id in ids {
            before.push(self.disk_mut(*id)?.copy()?);
        }
        for id in ids {
            self.node_mut(*id)?.kill();
        }
        for (id, image) in ids.iter().zip(before) {
            self.disk_mut(*id)?.go_on_with_copy(&image)?;
        }
        Ok(())
    }
}

/// Who leads a group, as nodes say.
pub fn leader_in(readings: &BTreeMap<u32, Reading>, group: u32) -> Option<u32> {
    let leads = |(id, reading): (&u32, &Reading)| {
        let of_group = reading.groups.get(&group).filter(|of_group| of_group.leads)?;
        Some((of_group.term, *id))
    };
    readings.iter().filter_map(leads).max().map(|(_, id)| id)
}

/// The scopes of the registers say where they live; everything else the directory knows.
struct ByName;

impl Placement for ByName {
    fn group_of(&self, scope: &str) -> Option<u32> {
        if scope == DIRECTORY_SCOPE {
            return Some(DIRECTORY_GROUP);
        }
        scope.strip_prefix("chaos-")?.parse().ok()
    }
}

fn issue(
    binary: &Path,
    pki: &Path,
    name: &str,
    role: &str,
    id: u32,
    hosts: &[String],
) -> Result<()> {
    let id = id.to_string();
    let mut arguments = vec!["pki", "issue", "--dir", text(pki)?, "--cluster-id", CLUSTER];
    arguments.extend(["--node-id", &id, "--name", name, "--role", role]);
    for host in hosts {
        arguments.extend(["--host", host]);
    }
    conclave(binary, &arguments).map(|_| ())
}

/// Runs a command of the server to its end and returns what it printed.
fn conclave(binary: &Path, arguments: &[&str]) -> Result<String> {
    let output = Command::new(binary)
        .args(arguments)
        .output()
        .with_context(|| format!("cannot run {}", binary.display()))?;
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "conclave {arguments:?} failed:\n{errors}");
    Ok(String::from_utf8(output.stdout)?)
}
