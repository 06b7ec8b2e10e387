//! `conclave pki`: a small certificate authority for clusters that have none. Every certificate names
//! its cluster, role and node, and the internal port accepts no other.

use std::{fs, io::Write, os::unix::fs::OpenOptionsExt, path::Path};

use anyhow::{Context, Result, bail};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType,
};
use time::{Duration, OffsetDateTime};

/// How long a node's certificate is good.
const NODE_DAYS: i64 = 365;
/// How long the authority's certificate is good.
const AUTHORITY_DAYS: i64 = 3_650;

/// Makes `ca.pem` and `ca-key.pem` in `dir`, unless they are there.
pub fn init(dir: &Path, cluster_id: &str, now_ms: i64) -> Result<()> {
    fs::create_dir_all(dir).with_context(|| format!("cannot create {}", dir.display()))?;
    let certificate = dir.join("ca.pem");
    if certificate.exists() {
        bail!("{} exists: an authority is not made twice", certificate.display());
    }
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, format!("{cluster_id} internal authority"));
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    validity(&mut params, now_ms, AUTHORITY_DAYS)?;
    let signed = params.self_signed(&key)?;
    write_new(&dir.join("ca-key.pem"), &key.serialize_pem(), 0o600)?;
    write_new(&certificate, &signed.pem(), 0o644)
}

/// Whose certificate it is.
pub struct Subject<'a> {
    /// The cluster.
    pub cluster_id: &'a str,
    /// `node` or `gateway`.
    pub role: &'a str,
    /// The node's number.
    pub node_id: u64,
    /// Names and addresses under which others reach the node.
    pub hosts: &'a [String],
}

/// Makes `<name>.pem` and `<name>-key.pem` in `dir`, signed by the authority there.
pub fn issue(dir: &Path, name: &str, subject: &Subject<'_>, now_ms: i64) -> Result<()> {
    let authority_key = KeyPair::from_pem(&read(&dir.join("ca-key.pem"))?)?;
    let issuer = Issuer::from_ca_cert_pem(&read(&dir.join("ca.pem"))?, authority_key)?;
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::new(subject.hosts.to_vec())?;
    params.distinguished_name.push(DnType::CommonName, name);
    let identity =
        format!("conclave://{}/{}/{}", subject.cluster_id, subject.role, subject.node_id);
    params.subject_alt_names.push(SanType::URI(identity.try_into()?));
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    validity(&mut params, now_ms, NODE_DAYS)?;
    let signed = params.signed_by(&key, &issuer)?;
    write_new(&dir.join(format!("{name}-key.pem")), &key.serialize_pem(), 0o600)?;
    write_new(&dir.join(format!("{name}.pem")), &signed.pem(), 0o644)
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
