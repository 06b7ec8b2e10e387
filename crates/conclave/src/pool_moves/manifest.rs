//! What is told of an export in the clear. Its file is written last: without it there is no export.

use anyhow::{Context as _, Result, ensure};
use serde::{Deserialize, Serialize};

use crate::{
    backup::{
        destination::{Destination, is_id},
        manifest::{Stored, sha256},
    },
    failure::Failure,
};

/// Its name. Another one than that of backups: the two can lie in one place.
pub const FILE: &str = "pool.json";
/// What this version writes, and the only one that it reads.
pub const FORMAT: u32 = 1;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    pub format: u32,
    pub export_id: String,
    pub pool_id: String,
    /// The cluster that the pool was in.
    pub cluster_id: String,
    /// Whose it was.
    pub account_id: String,
    /// The version of the command that made it.
    pub version: String,
    /// What was acknowledged before is in it; milliseconds since 1970 on the directory's clock.
    pub cut_ms: i64,
    /// Nothing can have been acknowledged in the pool that is not in it: it had been frozen for long enough.
    pub complete: bool,
    /// The rows are the state after this entry of the group's log.
    pub group: u32,
    pub term: u64,
    pub index: u64,
    pub rows: u64,
    pub users: u64,
    pub clients: u64,
    /// See `state_sha256` in `proto/conclave/backup/v1/backup.proto`.
    pub state_sha256: String,
    /// The encrypted rows.
    pub pool: Stored,
    /// The encrypted keys of the pool.
    pub keys: Stored,
    /// age recipients, each of whom can open both.
    pub recipients: Vec<String>,
}

impl Manifest {
    pub fn to_json(&self) -> Result<Vec<u8>> {
        let mut text = serde_json::to_vec_pretty(self)?;
        text.push(b'\n');
        Ok(text)
    }

    pub fn bytes(&self) -> u64 {
        self.pool.bytes + self.keys.bytes
    }

    fn parse(json: &[u8], export_id: &str) -> Result<Self> {
        #[derive(Deserialize)]
        struct Format {
            format: u32,
        }
        let Format { format } = serde_json::from_slice(json)?;
        ensure!(format == FORMAT, "format {format} is not one that this version reads");
        let manifest: Self = serde_json::from_slice(json)?;
        ensure!(manifest.export_id == export_id, "it is that of {}", manifest.export_id);
        for stored in [&manifest.pool, &manifest.keys] {
            ensure!(
                matches!(stored.file.as_str(), "pool.age" | "keys.age"),
                "a file has a strange name"
            );
        }
        ensure!(!is_later(&manifest.version, env!("CARGO_PKG_VERSION")), later(&manifest));
        Ok(manifest)
    }
}

fn later(manifest: &Manifest) -> String {
    format!(
        "it was made by conclave {}, and this is {}: a pool moves to the same version or a later one",
        manifest.version,
        env!("CARGO_PKG_VERSION")
    )
}

/// By the first two numbers: what they are made of is what rows may hold.
fn is_later(version: &str, than: &str) -> bool {
    let numbers = |text: &str| {
        let mut parts = text.split(['.', '-', '+']).map(|part| part.parse::<u64>().unwrap_or(0));
        (parts.next().unwrap_or(0), parts.next().unwrap_or(0))
    };
    numbers(version) > numbers(than)
}

/// The export that a path or URL names: where it lies, its manifest, and the SHA-256 of that.
pub async fn read(export: &str) -> Result<(Destination, Manifest, String)> {
    let trimmed = export.trim_end_matches('/');
    let (place, name) = trimmed.rsplit_once('/').unwrap_or((".", trimmed));
    let place = if place.is_empty() { "/" } else { place };
    if !is_id(name) || place.ends_with(":/") {
        return Err(Failure::usage(format!(
            "{export} names no export: give DIRECTORY/NAME, or s3://BUCKET/NAME"
        ))
        .into());
    }
    let destination = Destination::parse(place)?;
    let json = destination.json(name, FILE).await?;
    let manifest = Manifest::parse(&json, name)
        .with_context(|| format!("the manifest of {name} cannot be used"))?;
    Ok((destination, manifest, sha256(&json)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest() -> Manifest {
        let stored = |file: &str| Stored {
            file: file.to_owned(),
            bytes: 3,
            sha256: "aa".to_owned(),
            part_bytes: 8,
            parts: vec!["aa".to_owned()],
        };
        Manifest {
            format: FORMAT,
            export_id: "e".to_owned(),
            pool_id: "us-east-1_abc".to_owned(),
            cluster_id: "c".to_owned(),
            account_id: "111122223333".to_owned(),
            version: "0.1.0".to_owned(),
            cut_ms: 1,
            complete: true,
            group: 2,
            term: 3,
            index: 4,
            rows: 5,
            users: 6,
            clients: 7,
            state_sha256: "bb".to_owned(),
            pool: stored("pool.age"),
            keys: stored("keys.age"),
            recipients: vec!["age1".to_owned()],
        }
    }

    #[test]
    fn a_manifest_reads_back_and_one_that_says_something_else_is_refused() {
        let good = manifest();
        let parse = |manifest: &Manifest| Manifest::parse(&manifest.to_json().unwrap(), "e");
        assert_eq!(parse(&good).unwrap(), good);
        assert_eq!(good.bytes(), 6);
        let refused = |change: &dyn Fn(&mut Manifest)| {
            let mut bad = good.clone();
            change(&mut bad);
            parse(&bad).unwrap_err().to_string()
        };
        assert!(refused(&|m| m.format = 2).contains("format 2"));
        assert!(refused(&|m| m.export_id = "other".to_owned()).contains("other"));
        assert!(refused(&|m| m.pool.file = "../x".to_owned()).contains("strange"));
        assert!(refused(&|m| m.version = "999.0.0".to_owned()).contains("999.0.0"));
    }

    #[test]
    fn a_version_is_later_by_its_first_two_numbers() {
        assert!(is_later("1.2.0", "1.1.9") && is_later("2.0.0", "1.9.0"));
        assert!(!is_later("1.2.9", "1.2.0") && !is_later("1.2.0-rc.1", "1.2.0"));
    }
}
