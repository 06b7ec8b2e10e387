//! The certificate of `conclave dev --tls`: of an authority that is made in the data directory once, so that trusting
//! it once is enough.

use std::{
    fs,
    io::{ErrorKind, Write as _},
    net::IpAddr,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context, Result};
use conclave_tls::Public;

use crate::{certificates, config::PublicTls, pki};

/// The certificate and who has signed it.
pub struct DevCertificate {
    /// For the public port.
    pub public: Arc<Public>,
    /// The certificate of the authority, which clients have to trust.
    pub authority: PathBuf,
}

/// Makes what is missing. The certificate itself is made at every start, for the hosts of the moment.
pub fn open(
    data_dir: &Path,
    listen: IpAddr,
    public_url: Option<&str>,
    now_ms: i64,
) -> Result<DevCertificate> {
    let dir = data_dir.join("tls");
    let authority = dir.join("ca.pem");
    if !authority.exists() {
        // the key of an authority that was never finished
        match fs::remove_file(dir.join("ca-key.pem")) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
        pki::init(&dir, "Conclave development", now_ms)?;
    }
    let (certificate, key) = pki::server(&dir, "conclave dev", &hosts(listen, public_url), now_ms)?;
    let files = PublicTls { certificate: dir.join("server.pem"), key: dir.join("server-key.pem") };
    replace(&files.key, &key, 0o600)?;
    replace(&files.certificate, &certificate, 0o644)?;
    let authority = fs::canonicalize(&authority)
        .with_context(|| format!("cannot find {}", authority.display()))?;
    Ok(DevCertificate { public: certificates::public(&files)?, authority })
}

/// Under which names clients may reach the process.
fn hosts(listen: IpAddr, public_url: Option<&str>) -> Vec<String> {
    let mut hosts: Vec<String> = ["localhost", "127.0.0.1", "::1"].map(str::to_owned).to_vec();
    let listen = (!listen.is_unspecified()).then(|| listen.to_string());
    for host in listen.into_iter().chain(public_url.and_then(host_of)) {
        if !hosts.contains(&host) {
            hosts.push(host);
        }
    }
    hosts
}

fn host_of(url: &str) -> Option<String> {
    let (_, rest) = url.split_once("://")?;
    let authority = rest.split('/').next()?;
    if let Some(rest) = authority.strip_prefix('[') {
        return Some(rest.split_once(']')?.0.to_owned());
    }
    Some(authority.split(':').next()?.to_owned())
}

fn replace(path: &Path, text: &str, mode: u32) -> Result<()> {
    let draft = path.with_extension("new");
    let _ = fs::remove_file(&draft);
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(&draft)?;
    file.write_all(text.as_bytes())?;
    fs::rename(&draft, path)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_certificate_is_for_this_machine_and_the_public_url() {
        let local = IpAddr::from([127, 0, 0, 1]);
        assert_eq!(hosts(local, None), ["localhost", "127.0.0.1", "::1"]);
        let of = |url| hosts(IpAddr::from([0, 0, 0, 0]), Some(url)).pop();
        assert_eq!(of("https://id.test:9229/x").as_deref(), Some("id.test"));
        assert_eq!(of("https://[2001:db8::1]:9229").as_deref(), Some("2001:db8::1"));
        assert_eq!(of("https://localhost:9229").as_deref(), Some("::1"));
    }
}
