//! The servers under load: one `conclave dev`, or three `conclave serve` with mutual TLS between
//! them, on loopback and with data of their own. They end when this is dropped.

use std::{
    fs::{self, File},
    io::{Read, Seek, SeekFrom},
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use conclave_crypto::entropy::{SystemEntropy, bytes};
use conclave_testkit::{http::Connection, request::AccessKey};
use tokio::time::{Instant, sleep};

const CLUSTER: &str = "bench";
const REGION: &str = "us-east-1";
const READY_WITHIN: Duration = Duration::from_secs(90);
const STOPPED_WITHIN: Duration = Duration::from_secs(15);
const POLL: Duration = Duration::from_millis(50);
const LOG_TAIL: u64 = 4_000;

/// Running servers.
pub struct Servers {
    /// `dev` or `serve`
    pub nodes: Vec<Node>,
    /// Calls for an administrator are signed with it.
    pub access_key: AccessKey,
}

/// One process.
pub struct Node {
    child: Child,
    /// `host:port` of the public port.
    pub authority: String,
    management: String,
    log: PathBuf,
}

struct Ports {
    public: u16,
    internal: u16,
    management: u16,
}

impl Servers {
    /// One process with everything in it.
    pub async fn dev(binary: &Path, dir: &Path, more: &[&str]) -> Result<Self> {
        let ports = free_ports(1)?.remove(0);
        let (public, management) = (local(ports.public), local(ports.management));
        let data = path_text(&dir.join("data"))?;
        let always = ["dev", "--listen", &public, "--management", &management, "--data-dir", &data];
        let arguments = [&always[..], more].concat();
        let node = Node::start(binary, &arguments, dir, "dev", &ports)?;
        let access_key = AccessKey {
            id: "test".to_owned(),
            secret: "test".to_owned(),
            region: REGION.to_owned(),
        };
        let mut servers = Self { nodes: vec![node], access_key };
        servers.wait_ready().await?;
        Ok(servers)
    }

    /// Three nodes, each of them a gateway too.
    pub async fn cluster(binary: &Path, dir: &Path) -> Result<Self> {
        let ports = free_ports(3)?;
        let pki = path_text(&dir.join("pki"))?;
        run(binary, &["pki", "init", "--dir", &pki, "--cluster-id", CLUSTER])?;
        fs::write(dir.join("kek"), hex::encode(bytes::<32>(&SystemEntropy)))?;
        let mut configs = Vec::new();
        for (index, own) in ports.iter().enumerate() {
            let id = (index + 1).to_string();
            let name = format!("node-{id}");
            let issue = ["pki", "issue", "--dir", &pki, "--cluster-id", CLUSTER, "--node-id", &id];
            run(binary, &[&issue[..], &["--name", &name, "--host", "127.0.0.1"]].concat())?;
            let config = dir.join(format!("{name}.toml"));
            fs::write(&config, config_text(dir, index, &ports, own))?;
            configs.push(path_text(&config)?);
        }
        let mut nodes = Vec::new();
        for (index, (config, own)) in configs.iter().zip(&ports).enumerate() {
            let name = format!("node-{}", index + 1);
            nodes.push(Node::start(binary, &["serve", "--config", config], dir, &name, own)?);
        }
        let nobody =
            AccessKey { id: String::new(), secret: String::new(), region: REGION.to_owned() };
        let mut servers = Self { nodes, access_key: nobody };
        servers.wait_ready().await?;
        let config = configs.first().context("no nodes")?;
        let account = run(binary, &["account", "create", "--config", config, "--name", "bench"])?;
        let create = ["credentials", "create", "--config", config, "--account", account.trim()];
        let printed = run(binary, &[&create[..], &["--user", "bench"]].concat())?;
        let value = |name: &str| {
            let line = printed.lines().find_map(|l| l.strip_prefix(name)?.strip_prefix('='));
            line.map(str::to_owned).with_context(|| format!("{name} was not printed"))
        };
        servers.access_key.id = value("AWS_ACCESS_KEY_ID")?;
        servers.access_key.secret = value("AWS_SECRET_ACCESS_KEY")?;
        Ok(servers)
    }

    /// The processes.
    pub fn pids(&self) -> Vec<u32> {
        self.nodes.iter().map(|node| node.child.id()).collect()
    }

    /// Where requests go.
    pub fn authorities(&self) -> Vec<String> {
        self.nodes.iter().map(|node| node.authority.clone()).collect()
    }

    async fn wait_ready(&mut self) -> Result<()> {
        let deadline = Instant::now() + READY_WITHIN;
        for node in &mut self.nodes {
            while !node.is_ready().await {
                if let Some(status) = node.child.try_wait()? {
                    bail!("a server ended with {status} before it was ready:\n{}", node.log_tail());
                }
                ensure!(Instant::now() < deadline, "a server is not ready:\n{}", node.log_tail());
                sleep(POLL).await;
            }
        }
        Ok(())
    }

    /// Stops them as an operator would; an exit code other than 0 is an error.
    pub async fn stop(mut self) -> Result<()> {
        for node in &self.nodes {
            let pid = node.child.id().to_string();
            Command::new("kill").args(["-TERM", &pid]).status().context("cannot run kill")?;
        }
        let deadline = Instant::now() + STOPPED_WITHIN;
        for node in &mut self.nodes {
            let status = loop {
                if let Some(status) = node.child.try_wait()? {
                    break status;
                }
                ensure!(Instant::now() < deadline, "a server did not stop:\n{}", node.log_tail());
                sleep(POLL).await;
            };
            ensure!(status.success(), "a server ended with {status}:\n{}", node.log_tail());
        }
        Ok(())
    }
}

impl Node {
    fn start(
        binary: &Path,
        arguments: &[&str],
        dir: &Path,
        name: &str,
        ports: &Ports,
    ) -> Result<Self> {
        let path = dir.join(format!("{name}.log"));
        let log = File::create(&path)?;
        let child = Command::new(binary)
            .args(arguments)
            .current_dir(dir)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("cannot start {}", binary.display()))?;
        Ok(Self {
            child,
            authority: local(ports.public),
            management: local(ports.management),
            log: path,
        })
    }

    async fn is_ready(&self) -> bool {
        let Ok(mut connection) = Connection::open(&self.management).await else { return false };
        let request = format!("GET /readyz HTTP/1.1\r\nhost: {}\r\n\r\n", self.management);
        connection.send(request.as_bytes()).await.is_ok_and(|answer| answer.status == 200)
    }

    fn log_tail(&self) -> String {
        let read = || -> std::io::Result<String> {
            let mut file = File::open(&self.log)?;
            let len = file.metadata()?.len();
            file.seek(SeekFrom::Start(len.saturating_sub(LOG_TAIL)))?;
            let mut bytes = Vec::new();
            file.take(LOG_TAIL).read_to_end(&mut bytes)?;
            Ok(String::from_utf8_lossy(&bytes).into_owned())
        };
        read().unwrap_or_else(|error| error.to_string())
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // nothing happens to one that was stopped
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Ports that nothing listens on; all are held at once, so that they differ.
fn free_ports(nodes: usize) -> Result<Vec<Ports>> {
    let listeners =
        (0..nodes * 3).map(|_| TcpListener::bind("127.0.0.1:0")).collect::<Result<Vec<_>, _>>()?;
    let ports = listeners
        .iter()
        .map(|listener| Ok(listener.local_addr()?.port()))
        .collect::<Result<Vec<u16>>>()?;
    let triple = |three: &[u16]| match *three {
        [public, internal, management] => Ok(Ports { public, internal, management }),
        _ => bail!("three ports for each node"),
    };
    ports.chunks(3).map(triple).collect()
}

fn local(port: u16) -> String {
    format!("127.0.0.1:{port}")
}

fn path_text(path: &Path) -> Result<String> {
    Ok(path.to_str().context("the path is not text")?.to_owned())
}

fn config_text(dir: &Path, index: usize, ports: &[Ports], own: &Ports) -> String {
    let id = index + 1;
    let members: Vec<String> = (1..)
        .zip(ports)
        .map(|(id, ports)| format!("{{ node_id = {id}, address = \"{}\" }}", local(ports.internal)))
        .collect();
    let dir = dir.display();
    let url = ports.first().map_or_else(String::new, |first| local(first.public));
    format!(
        "cluster_id = \"{CLUSTER}\"\nnode_id = {id}\ndata_dir = \"{dir}/data-{id}\"\n\
         public_url = \"http://{url}\"\nmembers = [{}]\n\n[listen]\npublic = \"{}\"\n\
         internal = \"{}\"\nmanagement = \"{}\"\n\n[kek]\nfile = \"{dir}/kek\"\n\n[internal_tls]\n\
         ca = \"{dir}/pki/ca.pem\"\ncertificate = \"{dir}/pki/node-{id}.pem\"\n\
         key = \"{dir}/pki/node-{id}-key.pem\"\n",
        members.join(", "),
        local(own.public),
        local(own.internal),
        local(own.management),
    )
}

/// Runs a command of the binary to its end and returns what it printed.
fn run(binary: &Path, arguments: &[&str]) -> Result<String> {
    let output = Command::new(binary)
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot run {}", binary.display()))?;
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "conclave {arguments:?} failed:\n{errors}");
    Ok(String::from_utf8(output.stdout)?)
}
