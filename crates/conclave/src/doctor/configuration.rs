//! What stands in the configuration, and in the files that it names.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path};

use conclave_store::Clock as _;
use conclave_tls::Reload as _;

use super::findings::Findings;
use crate::{
    certificates,
    clock::SystemClock,
    config::{InternalTls, Role, ServeConfig},
};

/// From here on a certificate's end is worth a warning, in seconds.
const EXPIRES_SOON_S: i64 = 30 * 86_400;
const DAY_S: i64 = 86_400;

/// Reads the file; says where it is wrong.
pub fn read(path: &Path, findings: &mut Findings) -> Option<ServeConfig> {
    const ABOUT: &str = "configuration";
    match ServeConfig::read(path) {
        Ok(config) => {
            findings.ok(ABOUT, format!("{} can be used", path.display()));
            Some(config)
        }
        Err(error) => {
            let said = format!("{error:#}");
            let text = fs::read_to_string(path).unwrap_or_default();
            // what the parser says has a line in it already
            let line = (!said.contains("at line")).then(|| line_of(&text, &said)).flatten();
            let place = line.map_or_else(String::new, |line| format!(" (line {line})"));
            findings.error(
                ABOUT,
                format!("{}{place}", said.trim_end()),
                "correct it; deploy/conclave.toml explains every setting",
            );
            None
        }
    }
}

/// The line of the setting that a text speaks of: the first word in it that is one.
fn line_of(config: &str, said: &str) -> Option<usize> {
    let words = said.split(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '_' | '.')));
    let names = words.filter_map(|word| word.trim_matches('.').rsplit('.').next());
    let is_setting = |line: &str, name: &str| {
        let line = line.trim_start();
        let table =
            line.strip_prefix('[').is_some_and(|rest| rest.starts_with(&format!("{name}]")));
        let rest = line.strip_prefix(name).map(str::trim_start);
        table || rest.is_some_and(|rest| rest.starts_with('='))
    };
    let mut names = names.filter(|name| name.len() > 2);
    names.find_map(|name| config.lines().position(|line| is_setting(line, name))).map(|at| at + 1)
}

/// What it names.
pub fn look(config: &ServeConfig, findings: &mut Findings) {
    kek(config, findings);
    internal(config, findings);
    public(config, findings);
    if config.has(Role::Shard) && config.backup.recipients.is_empty() {
        findings.warning(
            "backup",
            "there are no backups: backup.recipients is empty",
            "make an identity with conclave backup keygen, and give every node its recipient",
        );
    }
}

fn kek(config: &ServeConfig, findings: &mut Findings) {
    const ABOUT: &str = "kek";
    let Some(kek) = &config.kek else {
        findings.ok(ABOUT, "none is needed without the role gateway");
        return;
    };
    if let Err(error) = kek.open() {
        findings.error(
            ABOUT,
            format!("the key-encryption key cannot be used: {error:#}"),
            "put the key there that the cluster was made with; nothing opens the data without it",
        );
        return;
    }
    findings
        .ok(ABOUT, "the key-encryption key is one; whether it is the cluster's shows at the start");
    if let Some(file) = &kek.file {
        readable_by_others(ABOUT, file, findings);
    }
}

fn readable_by_others(about: &'static str, file: &Path, findings: &mut Findings) {
    let mode = fs::metadata(file).map(|metadata| metadata.permissions().mode()).unwrap_or(0);
    if mode & 0o007 != 0 {
        findings.warning(
            about,
            format!("{} can be read by everybody on this machine", file.display()),
            format!("chmod o= {}", file.display()),
        );
    }
}

fn internal(config: &ServeConfig, findings: &mut Findings) {
    const ABOUT: &str = "certificates";
    let Some(tls) = &config.internal_tls else {
        findings.warning(
            ABOUT,
            "the internal port has no certificates, and works on this machine only",
            "make them with conclave pki, and name them in [internal_tls]",
        );
        return;
    };
    match certificates::internal(tls) {
        Ok(mutual) => {
            identity(config, mutual.identity(), findings);
            for expiry in mutual.expiries() {
                expires(expiry.certificate, expiry.not_before_s, expiry.not_after_s, findings);
            }
            readable_by_others(ABOUT, &tls.key, findings);
        }
        Err(error) => findings.error(ABOUT, format!("{error:#}"), files(tls)),
    }
}

fn files(tls: &InternalTls) -> String {
    format!("look at {}, {} and {}", tls.ca.display(), tls.certificate.display(), tls.key.display())
}

fn identity(
    config: &ServeConfig,
    identity: Option<conclave_tls::Identity>,
    findings: &mut Findings,
) {
    const ABOUT: &str = "certificates";
    let role = if config.has(Role::Shard) { "node" } else { "gateway" };
    let wanted = format!("conclave://{}/{role}/{}", config.cluster_id, config.node_id);
    let advice = format!(
        "issue one: conclave pki issue --cluster-id {} --role {role}{} --name NAME --host HOST",
        config.cluster_id,
        match config.node_id {
            0 => String::new(),
            id => format!(" --node-id {id}"),
        }
    );
    match identity {
        Some(found)
            if found.cluster_id == config.cluster_id
                && found.role.as_str() == role
                && found.node_id == config.node_id =>
        {
            findings.ok(ABOUT, format!("the certificate of the internal port is that of {found}"));
        }
        Some(found) => {
            let what = format!("the certificate is that of {found}, and {wanted} is needed");
            findings.error(ABOUT, what, advice);
        }
        None => findings.error(
            ABOUT,
            format!("the certificate names no cluster and role; {wanted} is needed"),
            advice,
        ),
    }
}

fn public(config: &ServeConfig, findings: &mut Findings) {
    let Some(tls) = &config.public_tls else { return };
    match certificates::public(tls) {
        Ok(public) => {
            for expiry in public.expiries() {
                expires(expiry.certificate, expiry.not_before_s, expiry.not_after_s, findings);
            }
            readable_by_others("certificates", &tls.key, findings);
        }
        Err(error) => findings.error(
            "certificates",
            format!("{error:#}"),
            format!("look at {} and {}", tls.certificate.display(), tls.key.display()),
        ),
    }
}

fn expires(name: &str, not_before_s: u64, not_after_s: u64, findings: &mut Findings) {
    let now_s = SystemClock::start().now_ms().div_euclid(1_000);
    expires_at(name, not_before_s, not_after_s, now_s, findings);
}

fn expires_at(
    name: &str,
    not_before_s: u64,
    not_after_s: u64,
    now_s: i64,
    findings: &mut Findings,
) {
    const ABOUT: &str = "certificates";
    const RENEW: &str = "renew it: docs/runbooks/replace-certificates.md";
    let seconds = |time: u64| i64::try_from(time).unwrap_or(i64::MAX);
    let left_s = seconds(not_after_s).saturating_sub(now_s);
    if seconds(not_before_s) > now_s {
        findings.error(
            ABOUT,
            format!("the certificate {name} is not good yet"),
            "compare this machine's clock with others'",
        );
    } else if left_s <= 0 {
        findings.error(ABOUT, format!("the certificate {name} has expired"), RENEW);
    } else if left_s < EXPIRES_SOON_S {
        let days = left_s / DAY_S;
        findings.warning(ABOUT, format!("the certificate {name} expires in {days} days"), RENEW);
    } else {
        findings.ok(ABOUT, format!("the certificate {name} is good for {} days", left_s / DAY_S));
    }
}

#[cfg(test)]
mod tests {
    use super::{super::findings::Level, *};

    #[test]
    fn the_line_of_what_is_wrong_is_found() {
        let config =
            "cluster_id = \"\"\nreplication_factor = 2\n\n[snapshots]\nentries = 0\n[email]\n";
        for (said, line) in [
            ("conclave.toml cannot be used: cluster_id is empty", Some(1)),
            ("conclave.toml cannot be used: replication_factor is not odd", Some(2)),
            ("conclave.toml cannot be used: snapshots.entries is 0", Some(5)),
            ("conclave.toml cannot be used: email: a password is not sent", Some(6)),
            ("conclave.toml cannot be used: node_id is needed", None),
        ] {
            assert_eq!(line_of(config, said), line, "{said}");
        }
    }

    #[test]
    fn a_certificate_that_ends_soon_is_a_warning_and_one_that_has_is_an_error() {
        let level = |not_before_s, not_after_s, now_s| {
            let mut findings = Findings::default();
            expires_at("internal", not_before_s, not_after_s, now_s, &mut findings);
            findings.0[0].level
        };
        let day = 86_400;
        assert_eq!(level(0, 100 * day, 0), Level::Ok);
        assert_eq!(level(0, 29 * day, 0), Level::Warning);
        assert_eq!(level(0, 29 * day, 30 * 86_400), Level::Error);
        assert_eq!(level(50, 100 * day, 49), Level::Error);
    }
}
