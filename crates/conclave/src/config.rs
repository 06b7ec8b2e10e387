//! The configuration file of `conclave serve`, in TOML. What is not known is refused.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use conclave_crypto::{
    age::{RECIPIENTS_MAX, Recipient},
    secret::SecretString,
};
use conclave_outbound::{
    sms::{Gateway, SmsSettings},
    smtp::{Security, SmtpSettings},
};
use serde::Deserialize;

pub use crate::kek::Kek;
pub use signing_keys::SigningKeys;
pub use threat_protection::ThreatProtection;

use crate::triggers::Triggers;

mod exports;
mod signing_keys;
mod threat_protection;

/// One node.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServeConfig {
    /// The same on all nodes of a cluster, and on no other cluster's.
    pub cluster_id: String,
    /// What the process does: it holds groups, serves the public API, or both.
    #[serde(default = "default_roles")]
    pub roles: Vec<Role>,
    /// The number of a node with the role `shard`: not 0, and never that of another node, not even of one
    /// that is gone.
    #[serde(default)]
    pub node_id: u64,
    /// Where a node with the role `shard` keeps its data.
    pub data_dir: Option<PathBuf>,
    /// `host:port` under which others reach the internal port of a node that joins; by default what
    /// `members` say.
    pub address: Option<String>,
    /// Groups that hold pools; fixed when the cluster is made.
    #[serde(default = "default_pool_groups")]
    pub pool_groups: u32,
    /// The nodes of the cluster as it is first made: the same on all of them.
    #[serde(default)]
    pub members: Vec<Member>,
    /// `host:port` of internal ports of a cluster that there is: on nodes that are added to it, and on
    /// gateways without data. One that answers is enough.
    #[serde(default)]
    pub join: Vec<String>,
    /// How many nodes have each group, where there are as many; odd. Counts when the cluster is made.
    #[serde(default = "default_replication_factor")]
    pub replication_factor: u32,
    /// A node that has not been reached for so long is replaced, where another one can take its place.
    #[serde(default = "default_dead_after_seconds")]
    pub dead_after_seconds: u64,
    /// Ports.
    pub listen: Listen,
    /// The URL under which clients reach the gateways: the first part of `iss`.
    pub public_url: Option<String>,
    /// The key-encryption key. Nodes without the role `gateway` need none.
    pub kek: Option<Kek>,
    /// Certificates of the internal port.
    pub internal_tls: Option<InternalTls>,
    /// The certificate of the public port; without it, TLS ends before it.
    pub public_tls: Option<PublicTls>,
    /// How often the files of all certificates are looked at, in seconds. SIGHUP does it at once.
    #[serde(default = "default_certificate_check_s")]
    pub certificate_check_s: u64,
    /// Snapshots, and what of the log is kept.
    #[serde(default)]
    pub snapshots: Snapshots,
    /// Memory for what a node keeps.
    #[serde(default)]
    pub memory: Memory,
    /// Whom backups are for.
    #[serde(default)]
    pub backup: Backup,
    /// Whom exported pools are for.
    #[serde(default)]
    pub export: exports::Export,
    /// Where it is put on record what administrators have done; without, nowhere.
    pub audit: Option<Audit>,
    /// How e-mail is sent; without, nothing is.
    pub email: Option<Email>,
    /// How text messages are sent; without, nothing is.
    pub sms: Option<SmsGateway>,
    /// Where the functions are that pools name in LambdaConfig; without, none of them is called.
    #[serde(default)]
    pub triggers: Triggers,
    /// How much there may be of what administrators make.
    #[serde(default)]
    pub limits: Limits,
    /// How long things take in the life of a signing key.
    #[serde(default)]
    pub signing_keys: SigningKeys,
    /// What pools with threat protection are looked after with.
    #[serde(default)]
    pub threat_protection: ThreatProtection,
}

/// What administrators have done: each signed operation, and each change of the cluster.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Audit {
    /// A file that lines of JSON are added to, or `stdout`.
    pub output: String,
}

/// Backups. The same on all nodes.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Backup {
    /// age recipients, each of whom can open every backup: `conclave backup keygen` makes an identity and prints its
    /// recipient. Without any there are no backups.
    pub recipients: Vec<String>,
}

impl Backup {
    /// The recipients.
    pub fn recipients(&self) -> Result<Vec<Recipient>> {
        recipients(&self.recipients, "backup.recipients")
    }
}

fn recipients(texts: &[String], setting: &str) -> Result<Vec<Recipient>> {
    ensure!(texts.len() <= RECIPIENTS_MAX, "{setting} has more than 32");
    let parse =
        |text: &String| text.parse().with_context(|| format!("{setting}: {text} cannot be used"));
    texts.iter().map(parse).collect()
}

/// What a process does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Serves the public API.
    Gateway,
    /// Holds groups.
    Shard,
}

/// A gateway that takes text messages over HTTP.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SmsGateway {
    /// What it understands: `webhook`, `twilio` or `sns`.
    pub gateway: Gateway,
    /// Where requests go.
    pub url: String,
    /// Twilio's account, or the access key id for SNS.
    pub account: Option<String>,
    /// Twilio's sender; with SNS the sender's name, which can be left out.
    pub from: Option<String>,
    /// The region of SNS.
    pub region: Option<String>,
    /// A file that holds the bearer token, Twilio's auth token, or the secret access key for SNS.
    pub token_file: Option<PathBuf>,
    /// An environment variable that holds it.
    pub token_env: Option<String>,
    /// How long one message may take, in seconds.
    #[serde(default = "default_email_timeout")]
    pub timeout_seconds: u64,
    /// Messages at a time.
    #[serde(default = "default_email_connections")]
    pub connections: u32,
}

/// A mail server that takes messages over SMTP.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Email {
    /// Its name, which its certificate has to have.
    pub host: String,
    /// 587 with `starttls`, 465 with `tls`, 25 with `none` by default.
    pub port: Option<u16>,
    /// How the connection is encrypted: `starttls`, `tls` from the start, or `none`.
    #[serde(default)]
    pub security: Security,
    /// Authorities of the server's certificate in PEM, in place of the system's.
    pub ca: Option<PathBuf>,
    /// Who signs in; nobody by default.
    pub username: Option<String>,
    /// A file that holds the password.
    pub password_file: Option<PathBuf>,
    /// An environment variable that holds the password.
    pub password_env: Option<String>,
    /// `From`: `name <address>`, or an address.
    pub from: String,
    /// `Reply-To`.
    pub reply_to: Option<String>,
    /// Domains, with what is below them, that pools may send from by EmailConfiguration; none by default.
    #[serde(default)]
    pub sender_domains: Vec<String>,
    /// How long one message may take, in seconds.
    #[serde(default = "default_email_timeout")]
    pub timeout_seconds: u64,
    /// Connections at a time.
    #[serde(default = "default_email_connections")]
    pub connections: u32,
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
    /// Managed login styles of one pool.
    pub branding_styles_per_pool: i64,
    /// Terms documents of one pool.
    pub terms_per_pool: i64,
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
            branding_styles_per_pool: domain.branding_styles_per_pool,
            terms_per_pool: domain.terms_per_pool,
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
            branding_styles_per_pool: self.branding_styles_per_pool,
            terms_per_pool: self.terms_per_pool,
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

/// Memory for the states of all groups of a node.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Memory {
    /// Mebibytes for blocks that have been read and for what is not written out yet. Where all rows of the users that are
    /// often asked for have room, a request costs the same in a large pool as in a small one.
    pub cache_mebibytes: usize,
}

impl Default for Memory {
    fn default() -> Self {
        Self { cache_mebibytes: conclave_shard::Limits::default().cache_bytes >> 20 }
    }
}

impl Memory {
    /// Less would not hold what is not written out yet.
    pub const CACHE_MEBIBYTES_MIN: usize = 64;
    /// More than a machine has.
    pub const CACHE_MEBIBYTES_MAX: usize = 1 << 20;
}

/// Certificates of the internal port, in PEM.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InternalTls {
    /// The authorities that all nodes' certificates are of: one, or two while it is replaced.
    pub ca: PathBuf,
    /// This node's certificate.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
}

/// The certificate of the public port, in PEM.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PublicTls {
    /// The certificate chain, leaf first.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
}

fn default_certificate_check_s() -> u64 {
    10
}

fn default_roles() -> Vec<Role> {
    vec![Role::Gateway, Role::Shard]
}

fn default_replication_factor() -> u32 {
    3
}

fn default_dead_after_seconds() -> u64 {
    300
}

fn default_email_timeout() -> u64 {
    10
}

fn default_email_connections() -> u32 {
    4
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
        ensure!((1..=62).contains(&self.pool_groups), "pool_groups is not between 1 and 62");
        ensure!(self.snapshots.entries > 0, "snapshots.entries is 0");
        ensure!(
            (1..=1 << 20).contains(&self.snapshots.mebibytes),
            "snapshots.mebibytes is not between 1 and 1048576"
        );
        ensure!(
            (Memory::CACHE_MEBIBYTES_MIN..=Memory::CACHE_MEBIBYTES_MAX)
                .contains(&self.memory.cache_mebibytes),
            "memory.cache_mebibytes is not between 64 and 1048576"
        );
        ensure!(!self.roles.is_empty(), "roles is empty");
        ensure!(self.replication_factor % 2 == 1, "replication_factor is not odd");
        ensure!(self.dead_after_seconds > 0, "dead_after_seconds is 0");
        ensure!(
            self.members.is_empty() != self.join.is_empty(),
            "one of members and join is needed: members makes a cluster, join adds to one"
        );
        if self.has(Role::Shard) {
            ensure!(self.node_id != 0, "node_id is needed with the role shard, and is not 0");
            ensure!(self.data_dir.is_some(), "data_dir is needed with the role shard");
            ensure!(
                self.members.is_empty() || self.members.iter().any(|m| m.node_id == self.node_id),
                "members does not hold this node"
            );
            self.own_address()?;
        } else {
            ensure!(self.node_id == 0, "node_id is for the role shard");
            ensure!(self.data_dir.is_none(), "data_dir is for the role shard");
        }
        if self.has(Role::Gateway) {
            ensure!(self.kek.is_some(), "kek is needed with the role gateway");
            self.gateway_url()?;
        }
        ensure!(
            (1..=3_600).contains(&self.certificate_check_s),
            "certificate_check_s is not between 1 and 3600"
        );
        if let Some(kek) = &self.kek {
            kek.check()?;
        }
        self.signing_keys.check().context("signing_keys")?;
        self.export_recipients()?;
        if let Some(email) = &self.email {
            email.check().context("email")?;
        }
        if let Some(sms) = &self.sms {
            check_effort(sms.timeout_seconds, sms.connections).context("sms")?;
        }
        self.triggers.check().context("triggers")?;
        if let Some(url) = &self.public_url {
            check_public_url(url).context("public_url")?;
        }
        Ok(())
    }

    /// Whether the process has a role.
    pub fn has(&self, role: Role) -> bool {
        self.roles.contains(&role)
    }

    /// The first part of `iss`.
    pub fn gateway_url(&self) -> Result<&str> {
        self.public_url.as_deref().context("public_url is needed with the role gateway")
    }

    /// Where others reach the internal port.
    pub fn own_address(&self) -> Result<&str> {
        let member = self.members.iter().find(|member| member.node_id == self.node_id);
        let address = self.address.as_deref().or(member.map(|member| member.address.as_str()));
        address.context("address is needed on a node that joins: where others reach it")
    }

    /// Internal ports to ask first.
    pub fn seeds(&self) -> Vec<String> {
        let members = self.members.iter().map(|member| member.address.clone());
        members.chain(self.join.iter().cloned()).collect()
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

fn check_effort(timeout_seconds: u64, connections: u32) -> Result<()> {
    ensure!((1..=300).contains(&timeout_seconds), "timeout_seconds is not between 1 and 300");
    ensure!((1..=64).contains(&connections), "connections is not between 1 and 64");
    Ok(())
}

impl SmsGateway {
    /// The settings, with the secret read.
    pub fn open(&self) -> Result<SmsSettings> {
        let token = match (&self.token_file, &self.token_env) {
            (None, None) => None,
            (Some(file), None) => Some(read_key(file)?.expose().trim_end().to_owned()),
            (None, Some(name)) => Some(variable(name)?.expose().clone()),
            _ => bail!("sms takes one of token_file and token_env"),
        };
        Ok(SmsSettings {
            gateway: self.gateway,
            url: self.url.clone(),
            account: self.account.clone(),
            token,
            from: self.from.clone(),
            region: self.region.clone(),
        })
    }
}

impl Email {
    fn check(&self) -> Result<()> {
        check_effort(self.timeout_seconds, self.connections)?;
        let password = self.password_file.is_some() || self.password_env.is_some();
        ensure!(
            password == self.username.is_some(),
            "username goes with one of password_file and password_env"
        );
        let local = matches!(self.host.as_str(), "localhost" | "127.0.0.1" | "::1");
        ensure!(
            self.username.is_none() || self.security != Security::None || local,
            "a password is not sent without encryption"
        );
        Ok(())
    }

    /// The settings, with the secrets read.
    pub fn open(&self) -> Result<SmtpSettings> {
        let credentials = match &self.username {
            None => None,
            Some(username) => {
                let password = match (&self.password_file, &self.password_env) {
                    (Some(file), None) => read_key(file)?.expose().trim_end().to_owned(),
                    (None, Some(name)) => variable(name)?.expose().clone(),
                    _ => bail!("email takes one of password_file and password_env"),
                };
                Some((username.clone(), password))
            }
        };
        let ca = match &self.ca {
            None => None,
            Some(path) => {
                Some(fs::read(path).with_context(|| format!("cannot read {}", path.display()))?)
            }
        };
        Ok(SmtpSettings {
            host: self.host.clone(),
            port: self.port,
            security: self.security,
            ca,
            credentials,
            from: self.from.clone(),
            reply_to: self.reply_to.clone(),
            timeout: Duration::from_secs(self.timeout_seconds),
            connections: self.connections,
            sender_domains: Some(self.sender_domains.clone()),
        })
    }
}

pub(crate) fn variable(name: &str) -> Result<SecretString> {
    #[expect(clippy::disallowed_methods, reason = "the configuration names the variable")]
    let text = std::env::var(name).with_context(|| format!("{name} is not set"))?;
    Ok(SecretString::new(text))
}

pub(crate) fn read_key(path: &Path) -> Result<SecretString> {
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
    fn what_a_role_needs_is_asked_for_by_name() {
        let check = |text: &str| {
            let config: ServeConfig = toml::from_str(text).expect("parses");
            config.check().map_err(|error| format!("{error:#}"))
        };
        let gateway = r#"
            cluster_id = "example"
            roles = ["gateway"]
            join = ["node-1:9230"]
            public_url = "https://login.example.com"
            [listen]
            [kek]
            file = "/etc/conclave/kek"
        "#;
        check(gateway).expect("is complete");
        assert!(check(&format!("node_id = 1\n{gateway}")).unwrap_err().contains("node_id"));
        let shard = r#"
            cluster_id = "example"
            roles = ["shard"]
            node_id = 4
            address = "node-4:9230"
            join = ["node-1:9230"]
            data_dir = "/var/lib/conclave"
            [listen]
        "#;
        check(shard).expect("is complete");
        for (without, named) in [("address", "address"), ("join", "members and join")] {
            let text: Vec<_> =
                shard.lines().filter(|line| !line.trim().starts_with(without)).collect();
            assert!(check(&text.join("\n")).unwrap_err().contains(named), "{without}");
        }
        let both = EXAMPLE.replace("[listen]", "join = [\"a:1\"]\n[listen]");
        assert!(check(&both).unwrap_err().contains("members and join"));
    }

    #[test]
    fn recipients_of_backups_are_checked_before_anything_starts() {
        let check = |recipients: &str| {
            let text = format!("{EXAMPLE}\n[backup]\nrecipients = [{recipients}]");
            let config: ServeConfig = toml::from_str(&text).expect("parses");
            config.check().map_err(|error| format!("{error:#}"))
        };
        assert_eq!(check(""), Ok(()));
        let recipient = "age1t7rxyev2z3rw82stdlrrepyc39nvn86l5078zqkf5uasdy86jp6svpy7pa";
        assert_eq!(check(&format!("\"{recipient}\"")), Ok(()));
        let refused = check(&format!("\"{}\"", recipient.replace('t', "q"))).unwrap_err();
        assert!(refused.contains("backup.recipients"), "{refused}");
    }

    #[test]
    fn a_mail_server_is_checked_before_anything_starts() {
        let check = |email: &str| {
            let text = format!("{EXAMPLE}\n[email]\nhost = \"mail.example.com\"\n{email}");
            let config: ServeConfig = toml::from_str(&text).map_err(anyhow::Error::from)?;
            config.check()
        };
        let from = "from = \"Example <no-reply@example.com>\"\n";
        assert!(check(from).is_ok());
        assert!(check("").is_err(), "from is missing");
        let refused = |more: &str| format!("{:#}", check(&format!("{from}{more}")).unwrap_err());
        assert!(refused("username = \"a\"").contains("username goes with one of"));
        assert!(refused("password_env = \"A\"").contains("username goes with one of"));
        assert!(
            refused("security = \"none\"\nusername = \"a\"\npassword_env = \"A\"")
                .contains("without encryption")
        );
        assert!(refused("connections = 0").contains("connections"));
        assert!(refused("security = \"maybe\"").contains("maybe"));
    }

    #[tokio::test]
    async fn a_list_of_passwords_is_read_and_a_line_that_is_none_is_named() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("passwords.txt");
        let open = async |text: &str| {
            fs::write(&path, text).expect("is written");
            let text = format!("{EXAMPLE}\n[threat_protection]\ncompromised_passwords = {path:?}");
            let config: ServeConfig = toml::from_str(&text).expect("parses");
            config.threat_protection.open().await.map_err(|error| format!("{error:#}"))
        };
        let line = "5BAA61E4C9B93F3F0682250B6CF8331B7EE68FD8:10434004";
        let list = open(&format!("{line}\r\n{line}\r\n")).await.unwrap().expect("a list");
        assert!(list.contains("password") && !list.contains("passwort"));
        let refused = open(&format!("{line}\nhunter2\n")).await.unwrap_err();
        assert!(refused.contains("passwords.txt") && refused.contains("line 2"), "{refused}");
        assert!(!refused.contains("hunter2"), "{refused}");
        let refused = open("").await.unwrap_err();
        assert!(refused.contains("holds no hash"), "{refused}");
        let nowhere = ThreatProtection { compromised_passwords: Some(folder.path().into()) };
        assert!(format!("{:#}", nowhere.open().await.unwrap_err()).contains("regular file"));
        assert!(ThreatProtection::default().open().await.unwrap().is_none());
    }

    #[test]
    fn an_unknown_setting_is_refused_by_name() {
        let error = toml::from_str::<ServeConfig>(&format!("nodeid = 1\n{EXAMPLE}")).unwrap_err();
        assert!(error.to_string().contains("nodeid"), "{error}");
    }
}
