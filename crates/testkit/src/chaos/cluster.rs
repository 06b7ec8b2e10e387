//! Three nodes, their certificates and their supervisor.

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
use conclave_store::{DIRECTORY_GROUP, DIRECTORY_SCOPE, Placement, Store};
use conclave_tls::{Mutual, MutualFiles};
use tokio::time::{Instant, sleep};

use super::{
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
    /// The nodes, the first is node 1.
    pub nodes: Vec<Node>,
    /// Their data.
    pub disks: Vec<Disk>,
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
    binary: PathBuf,
}

/// What a cluster is made of.
#[derive(Debug, Clone)]
pub struct ClusterOptions {
    /// The server.
    pub binary: PathBuf,
    /// An empty directory.
    pub dir: PathBuf,
    /// How many nodes.
    pub nodes: u32,
    /// How many groups of pools.
    pub pool_groups: u32,
    /// Whether each node has a file system of its own.
    pub images: bool,
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
        let ClusterOptions { binary, dir, nodes, pool_groups, images, settings, environment } =
            options;
        let pki = dir.join("pki");
        let init = ["pki", "init", "--dir", text(&pki)?, "--cluster-id", CLUSTER];
        conclave(&binary, &init)?;
        issue(&binary, &pki, "client", 0, &["localhost".to_owned()])?;
        fs::write(dir.join("kek"), hex::encode(bytes::<32>(&SystemEntropy)))?;
        let mut cluster = Self {
            dir: dir.clone(),
            nodes: Vec::new(),
            disks: Vec::new(),
            network: Arc::clone(&network),
            proxy,
            pool_groups,
            access_key: AccessKey {
                id: String::new(),
                secret: String::new(),
                region: REGION.to_owned(),
            },
            targets: Targets::default(),
            binary: binary.clone(),
        };
        for id in 1..=nodes {
            let name = format!("node-{id}");
            let disk = Disk::usual(&dir, &name, images)?;
            let addresses = &network.addresses[id as usize - 1];
            let hosts = [addresses.known.ip().to_string(), addresses.internal.ip().to_string()];
            issue(&binary, &pki, &name, id, &hosts)?;
            let config = dir.join(format!("{name}.toml"));
            let text = cluster.config_text(id, &disk.mount_point.join("data")) + &settings;
            fs::write(&config, text)?;
            let launch = Launch {
                binary: binary.clone(),
                prefix: network.prefix(id),
                config,
                log: dir.join(format!("{name}.log")),
                always: environment.clone(),
                environment: Vec::new(),
            };
            cluster.nodes.push(Node::new(id, launch, addresses.management));
            cluster.disks.push(disk);
        }
        for id in 1..=nodes {
            cluster.start_node(id)?;
        }
        cluster.wait_ready().await?;
        cluster.make_access_key()?;
        Ok(cluster)
    }

    fn config_text(&self, id: u32, data: &Path) -> String {
        let members: Vec<String> = (1..)
            .zip(&self.network.addresses)
            .map(|(id, a): (u32, _)| format!("{{ node_id = {id}, address = \"{}\" }}", a.known))
            .collect();
        let own = &self.network.addresses[id as usize - 1];
        let (dir, public_url) = (self.dir.display(), self.network.addresses[0].public);
        format!(
            "cluster_id = \"{CLUSTER}\"\nnode_id = {id}\ndata_dir = \"{}\"\n\
             public_url = \"http://{public_url}\"\npool_groups = {}\nmembers = [{}]\n\n[listen]\n\
             public = \"{}\"\ninternal = \"{}\"\nmanagement = \"{}\"\n\n[kek]\n\
             file = \"{dir}/kek\"\n\n[internal_tls]\nca = \"{dir}/pki/ca.pem\"\n\
             certificate = \"{dir}/pki/node-{id}.pem\"\nkey = \"{dir}/pki/node-{id}-key.pem\"\n",
            data.display(),
            self.pool_groups,
            members.join(", "),
            own.public,
            own.internal,
            own.management,
        )
    }

    fn make_access_key(&mut self) -> Result<()> {
        let config = text(&self.nodes[0].launch.config)?.to_owned();
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
        self.nodes.iter().map(|node| node.id).collect()
    }

    /// All groups, the directory among them.
    pub fn groups(&self) -> Vec<u32> {
        (0..=self.pool_groups).collect()
    }

    /// A node by its number.
    pub fn node(&self, id: u32) -> &Node {
        &self.nodes[id as usize - 1]
    }

    /// The same, to change it.
    pub fn node_mut(&mut self, id: u32) -> &mut Node {
        &mut self.nodes[id as usize - 1]
    }

    /// Starts a node's process.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn start_node(&mut self, id: u32) -> Result<()> {
        let pid = self.node_mut(id).start()?;
        self.proxy.learn(pid, id);
        let management = self.node(id).management;
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
            let node = self.node_mut(id);
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
        for node in &mut self.nodes {
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
        for node in &self.nodes {
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
    pub fn store(&self) -> Result<Arc<dyn Store>> {
        let pki = self.dir.join("pki");
        let files = MutualFiles {
            ca: pki.join("ca.pem"),
            certificate: pki.join("client.pem"),
            key: pki.join("client-key.pem"),
            server_name: None,
        };
        let options = RoutingOptions {
            cluster_id: CLUSTER.to_owned(),
            seeds: self.network.addresses.iter().map(|a| a.known.to_string()).collect(),
            tls: Some(Mutual::load(&files, conclave_tls::system_time())?),
            groups: self.pool_groups + 1,
            placement: Arc::new(ByName),
            local: None,
            limits: RoutingLimits::default(),
        };
        Ok(Arc::new(RoutingStore::new(options)?))
    }

    /// `host:port` of every public port.
    pub fn gateways(&self) -> Vec<String> {
        self.network.addresses.iter().map(|addresses| addresses.public.to_string()).collect()
    }

    /// Power fails on all of `ids` at once, and comes back; their processes are not started.
    ///
    /// # Errors
    /// What `cp` and `mount` say.
    pub async fn cut_power(&mut self, ids: &[u32]) -> Result<()> {
        for id in ids {
            self.node(*id).freeze().await?;
        }
        let mut before = Vec::new();
        for id in ids {
            before.push(self.disks[*id as usize - 1].copy()?);
        }
        for id in ids {
            self.node_mut(*id).kill();
        }
        for (id, image) in ids.iter().zip(before) {
            self.disks[*id as usize - 1].go_on_with_copy(&image)?;
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

fn issue(binary: &Path, pki: &Path, name: &str, id: u32, hosts: &[String]) -> Result<()> {
    let id = id.to_string();
    let mut arguments = vec!["pki", "issue", "--dir", text(pki)?, "--cluster-id", CLUSTER];
    arguments.extend(["--node-id", &id, "--name", name]);
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
