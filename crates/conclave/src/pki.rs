//! `conclave pki`: a small certificate authority for clusters that have none. Every certificate names
//! its cluster, role and node, and the internal port accepts no other.

use std::{fs, io::Write, os::unix::fs::OpenOptionsExt, path::Path};

use anyhow::{Context, Result, bail, ensure};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, SanType,
};
use time::{Duration, OffsetDateTime};

/// How long a certificate is good.
const LEAF_DAYS: i64 = 365;
/// How long the authority's certificate is good.
const AUTHORITY_DAYS: i64 = 3_650;

/// Makes `ca.pem` and `ca-key.pem` in `dir`, unless they are there.
pub fn init(dir: &Path, cluster_id: &str, now_ms: i64) -> Result<()> {
    ensure!(!cluster_id.is_empty() && !cluster_id.contains('/'), "a cluster id has no slash");
    fs::create_dir_all(dir).with_context(|| format!("cannot create {}", dir.display()))?;
    let certificate = dir.join("ca.pem");
    if certificate.exists() {
        bail!("{} exists: an authority is not made twice", certificate.display());
    }
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, format!("{cluster_id} authority"));
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    validity(&mut params, now_ms, AUTHORITY_DAYS)?;
    let signed = params.self_signed(&key)?;
    write_new(&dir.join("ca-key.pem"), &key.serialize_pem(), 0o600)?;
    write_new(&certificate, &signed.pem(), 0o644)
}

/// What a certificate allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Role {
    /// Holds data: replicates, votes, reads and commits.
    Node,
    /// Reads and commits.
    Gateway,
    /// Administers the cluster.
    Admin,
}

impl Role {
    fn as_str(self) -> &'static str {
        match self {
            Self::Node => "node",
            Self::Gateway => "gateway",
            Self::Admin => "admin",
        }
    }
}

/// Whose certificate it is.
pub struct Subject<'a> {
    /// The cluster.
    pub cluster_id: &'a str,
    /// What it may do.
    pub role: Role,
    /// The node's number; 0 for what is no node.
    pub node_id: u64,
    /// Names and addresses under which others reach the node.
    pub hosts: &'a [String],
}

impl Subject<'_> {
    fn check(&self) -> Result<()> {
        ensure!(!self.cluster_id.contains('/'), "a cluster id has no slash");
        match self.role {
            Role::Node => ensure!(self.node_id != 0, "the role node needs --node-id"),
            _ => ensure!(self.node_id == 0, "--node-id is for the role node"),
        }
        match self.role {
            Role::Admin => {
                ensure!(self.hosts.is_empty(), "nobody reaches an administrator: --host")
            }
            _ => ensure!(!self.hosts.is_empty(), "others reach it under a name: --host is needed"),
        }
        Ok(())
    }
}

/// Makes `<name>.pem` and `<name>-key.pem` in `dir`, signed by the authority there.
pub fn issue(dir: &Path, name: &str, subject: &Subject<'_>, now_ms: i64) -> Result<()> {
    subject.check()?;
    let mut params = leaf(name, subject.hosts, now_ms)?;
    let role = subject.role.as_str();
    let identity = format!("conclave://{}/{role}/{}", subject.cluster_id, subject.node_id);
    params.subject_alt_names.push(SanType::URI(identity.try_into()?));
    params.extended_key_usages = match subject.role {
        Role::Node | Role::Gateway => {
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth]
        }
        Role::Admin => vec![ExtendedKeyUsagePurpose::ClientAuth],
    };
    let (certificate, key) = sign(dir, &params)?;
    write_new(&dir.join(format!("{name}-key.pem")), &key, 0o600)?;
    write_new(&dir.join(format!("{name}.pem")), &certificate, 0o644)
}

/// A certificate for a server that clients outside of the cluster speak to, signed by the authority in `dir`: the
/// certificate and its key, in PEM.
pub fn server(dir: &Path, name: &str, hosts: &[String], now_ms: i64) -> Result<(String, String)> {
    let mut params = leaf(name, hosts, now_ms)?;
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    sign(dir, &params)
}

fn leaf(name: &str, hosts: &[String], now_ms: i64) -> Result<CertificateParams> {
    let mut params = CertificateParams::new(hosts.to_vec()).context("a host cannot be used")?;
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    // strict verifiers ask for it (RFC 5280, section 4.2.1.1)
    params.use_authority_key_identifier_extension = true;
    validity(&mut params, now_ms, LEAF_DAYS)?;
    Ok(params)
}

fn sign(dir: &Path, params: &CertificateParams) -> Result<(String, String)> {
    let authority_key = KeyPair::from_pem(&read(&dir.join("ca-key.pem"))?)?;
    let issuer = Issuer::from_ca_cert_pem(&read(&dir.join("ca.pem"))?, authority_key)?;
    let key = KeyPair::generate()?;
    let signed = params.signed_by(&key, &issuer)?;
    Ok((signed.pem(), key.serialize_pem()))
}

fn validity(params: &mut CertificateParams, now_ms: i64, days: i64) -> Result<()> {
    let now = OffsetDateTime::from_unix_timestamp(now_ms.div_euclid(1_000))?;
    // an hour back, for machines whose clocks are behind
    params.not_before = now - Duration::hours(1);
    params.not_after = now + Duration::days(days);
    Ok(())
}

fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}

fn write_new(path: &Path, text: &str, mode: u32) -> Result<()> {
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(path)
        .with_context(|| format!("cannot create {}", path.display()))?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    Ok(())
}
