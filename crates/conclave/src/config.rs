//! The configuration file of `conclave serve`, in TOML. What is not known is refused.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail, ensure};
use conclave_crypto::{
    seal::{StaticKek, parse_key},
    secret::SecretString,
};
use serde::Deserialize;

/// One node.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServeConfig {
    /// The same on all nodes of a cluster, and on no other cluster's.
    pub cluster_id: String,
    /// This node's number: not 0, and never that of another node, not even of one that is gone.
    pub node_id: u64,
    /// Where data is kept.
    pub data_dir: PathBuf,
    /// Groups that hold pools; fixed when the cluster is made.
    #[serde(default = "default_pool_groups")]
    pub pool_groups: u32,
    /// The nodes of the cluster as it is first made: the same on all of them.
    pub members: Vec<Member>,
    /// Ports.
    pub listen: Listen,
    /// The URL under which clients reach the gateways: the first part of `iss`.
    pub public_url: String,
    /// The key-encryption key.
    pub kek: Kek,
    /// Certificates of the internal port.
    pub internal_tls: Option<Tls>,
    /// Snapshots, and what of the log is kept.
    #[serde(default)]
    pub snapshots: Snapshots,
    /// How much there may be of what administrators make.
    #[serde(default)]
    pub limits: Limits,
}

/// How much there may be of what administrators make. Defaults are Cognito's quotas. The same on all nodes.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Pools of one account.
    pub pools_per_account: i64,
    /// Custom domains of one account.
    pub custom_domains_per_account: i64,
    /// App clients of one pool.
    pub clients_per_pool: i64,
    /// Custom attributes of one pool.
    pub custom_attributes_per_pool: usize,
    /// Resource servers of one pool.
    pub resource_servers_per_pool: i64,
    /// Identity providers of one pool.
    pub identity_providers_per_pool: i64,
}

impl Default for Limits {
    fn default() -> Self {
        let domain = conclave_identity::limits::Limits::default();
        Self {
            pools_per_account: 1_000,
            custom_domains_per_account: domain.custom_domains_per_account,
            clients_per_pool: 1_000,
            custom_attributes_per_pool: domain.custom_attributes_per_pool,
            resource_servers_per_pool: domain.resource_servers_per_pool,
            identity_providers_per_pool: domain.identity_providers_per_pool,
        }
    }
}

impl Limits {
    /// As the domain takes them.
    pub fn domain(&self) -> conclave_identity::limits::Limits {
        conclave_identity::limits::Limits {
            custom_attributes_per_pool: self.custom_attributes_per_pool,
            resource_servers_per_pool: self.resource_servers_per_pool,
            custom_domains_per_account: self.custom_domains_per_account,
            identity_providers_per_pool: self.identity_providers_per_pool,
            ..Default::default()
        }
    }
}

/// A node, as others reach it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Member {
    /// Its number.
    pub node_id: u64,
    /// `host:port` of its internal port.
    pub address: String,
}

/// Ports.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Listen {
    /// AWS JSON, gRPC, JWKS and pages.
    #[serde(default = "default_public")]
    pub public: SocketAddr,
    /// Other nodes and gateways.
    #[serde(default = "default_internal")]
    pub internal: SocketAddr,
    /// Health and metrics.
    #[serde(default = "default_management")]
    pub management: SocketAddr,
}

/// When a group's state is written out, and how much of the log is kept behind it.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Snapshots {
    /// After so many entries,
    pub entries: u64,
    /// or after so many mebibytes of log.
    pub mebibytes: u64,
    /// Entries that are kept for followers that are behind,
    pub keep_entries: u64,
    /// and for how many seconds all are kept.
    pub keep_seconds: u64,
}

impl Default for Snapshots {
    fn default() -> Self {
        let retention = conclave_shard::Retention::default();
        Self {
            entries: retention.snapshot_entries,
            mebibytes: retention.snapshot_bytes >> 20,
            keep_entries: retention.keep_entries,
            keep_seconds: retention.keep_for.as_secs(),
        }
    }
}

/// Where the key-encryption key is: 64 hexadecimal digits, or base64 of 32 bytes.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Kek {
    /// A file that holds the key.
    pub file: Option<PathBuf>,
    /// An environment variable that holds the key.
    pub env: Option<String>,
    /// Files with earlier keys, for the time of a rotation.
    #[serde(default)]
    pub previous_files: Vec<PathBuf>,
}

/// Certificates, in PEM.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    /// The authority that all nodes' certificates are of.
    pub ca: PathBuf,
    /// This node's certificate.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
}

fn default_pool_groups() -> u32 {
    8
}

fn default_public() -> SocketAddr {
    SocketAddr::from(([0, 0, 0, 0], 9229))
}

fn default_internal() -> SocketAddr {
    SocketAddr::from(([0, 0, 0, 0], 9230))
}

fn default_management() -> SocketAddr {
    SocketAddr::from(([0, 0, 0, 0], 9000))
}

impl ServeConfig {
    /// Reads and checks the file.
    pub fn read(path: &Path) -> Result<Self> {
        let text =
            fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        let config: Self =
            toml::from_str(&text).with_context(|| format!("{} cannot be used", path.display()))?;
        config.check().with_context(|| format!("{} cannot be used", path.display()))?;
        Ok(config)
    }

    fn check(&self) -> Result<()> {
        ensure!(!self.cluster_id.is_empty(), "cluster_id is empty");
        ensure!(self.node_id != 0, "node_id is 0");
        ensure!((1..=62).contains(&self.pool_groups), "pool_groups is not between 1 and 62");
        ensure!(!self.members.is_empty(), "members is empty");
        ensure!(self.snapshots.entries > 0, "snapshots.entries is 0");
        ensure!(
            (1..=1 << 20).contains(&self.snapshots.mebibytes),
            "snapshots.mebibytes is not between 1 and 1048576"
        );
        check_public_url(&self.public_url).context("public_url")
    }
}

/// A public URL is the first part of `iss`, which verifiers compare byte for byte.
pub fn check_public_url(url: &str) -> Result<()> {
    let rest = url.strip_prefix("http://").or_else(|| url.strip_prefix("https://"));
    let rest = rest.context("does not begin with http:// or https://")?;
    ensure!(!rest.is_empty() && !rest.starts_with('/'), "names no host");
    ensure!(!url.ends_with('/'), "ends with a slash");
    ensure!(
        url.bytes()
            .all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'?' | b'#' | b'"' | b'\\')),
        "holds a character that a URL of a service cannot have"
    );
    Ok(())
}

impl Kek {
    /// Reads the keys.
    pub fn open(&self) -> Result<StaticKek> {
        let current = match (&self.file, &self.env) {
            (Some(file), None) => read_key(file)?,
            (None, Some(name)) => {
                #[expect(
                    clippy::disallowed_methods,
                    reason = "the configuration names the variable"
                )]
                let text = std::env::var(name).with_context(|| format!("{name} is not set"))?;
                SecretString::new(text)
            }
            _ => bail!("kek takes one of file and env"),
        };
        let parse = |text: SecretString| {
            parse_key(text.expose())
                .context("a key-encryption key is 64 hexadecimal digits or base64 of 32 bytes")
        };
        let mut previous = Vec::with_capacity(self.previous_files.len());
        for file in &self.previous_files {
            previous.push(parse(read_key(file)?)?);
        }
        Ok(StaticKek::new(parse(current)?, previous))
    }
}

fn read_key(path: &Path) -> Result<SecretString> {
    let text =
        fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(SecretString::new(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXAMPLE: &str = r#"
        cluster_id = "example"
        node_id = 1
        data_dir = "/var/lib/conclave"
        public_url = "https://login.example.com"
        members = [{ node_id = 1, address = "node-1:9230" }]
        [listen]
        [kek]
        file = "/etc/conclave/kek"
    "#;

    #[test]
    fn a_minimal_file_takes_the_default_ports() {
        let config: ServeConfig = toml::from_str(EXAMPLE).expect("parses");
        config.check().expect("is complete");
        assert_eq!(config.listen.public.port(), 9229);
        assert_eq!(config.listen.internal.port(), 9230);
        assert_eq!(config.listen.management.port(), 9000);
        assert_eq!(config.pool_groups, 8);
    }

    #[test]
    fn an_unknown_setting_is_refused_by_name() {
        let error = toml::from_str::<ServeConfig>(&format!("nodeid = 1\n{EXAMPLE}")).unwrap_err();
        assert!(error.to_string().contains("nodeid"), "{error}");
    }
}
