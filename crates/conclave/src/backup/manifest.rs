//! What is told of a backup in the clear: enough to list it and to see that it is whole, nothing of what is in it.

use anyhow::{Result, ensure};
use conclave_crypto::mac;
use serde::{Deserialize, Serialize};

/// The name of its file, which is written last: without it there is no backup.
pub const FILE: &str = "manifest.json";
/// What this version writes, and the only one that it reads.
pub const FORMAT: u32 = 1;
/// Bytes of a manifest; it grows with the number of parts.
pub const BYTES_MAX: usize = 16 << 20;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    pub format: u32,
    pub backup_id: String,
    /// The cluster that was backed up.
    pub cluster_id: String,
    /// The version of the command that made it.
    pub version: String,
    /// All groups were cut between these two, in milliseconds since 1970 on the clock of the directory.
    pub began_ms: i64,
    pub cut_ms: i64,
    /// Groups, the directory first.
    pub groups: Vec<Group>,
    /// The file that holds the cluster's keys, where it was asked for.
    pub keys: Option<Stored>,
    /// Key-encryption keys that wrap the cluster's keys.
    pub key_ids: Vec<String>,
    /// age recipients, each of whom can open every file.
    pub recipients: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Group {
    pub group: u32,
    /// The rows are the state after this entry of the group's log.
    pub term: u64,
    pub index: u64,
    pub rows: u64,
    /// See `state_sha256` in `proto/conclave/backup/v1/backup.proto`.
    pub state_sha256: String,
    #[serde(flatten)]
    pub stored: Stored,
}

/// An encrypted file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stored {
    pub file: String,
    pub bytes: u64,
    pub sha256: String,
    /// SHA-256 of each part of `part_bytes`: they say where a damaged file is damaged.
    pub part_bytes: u64,
    pub parts: Vec<String>,
}

impl Manifest {
    /// As it is kept.
    pub fn to_json(&self) -> Result<Vec<u8>> {
        let mut text = serde_json::to_vec_pretty(self)?;
        text.push(b'\n');
        Ok(text)
    }

    /// Reads and checks it.
    pub fn parse(json: &[u8], backup_id: &str) -> Result<Self> {
        #[derive(Deserialize)]
        struct Format {
            format: u32,
        }
        let Format { format } = serde_json::from_slice(json)?;
        ensure!(format == FORMAT, "format {format} is not one that this version reads");
        let manifest: Self = serde_json::from_slice(json)?;
        ensure!(manifest.backup_id == backup_id, "it is that of backup {}", manifest.backup_id);
        let numbers = manifest.groups.iter().map(|group| group.group);
        ensure!(numbers.eq((0..).take(manifest.groups.len())), "not every group is there");
        ensure!(!manifest.groups.is_empty(), "there are no groups");
        let plain = |name: &str| {
            !name.is_empty()
                && !name.starts_with('.')
                && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-'))
        };
        ensure!(manifest.files().all(|stored| plain(&stored.file)), "a file has a strange name");
        Ok(manifest)
    }

    /// Every encrypted file.
    pub fn files(&self) -> impl Iterator<Item = &Stored> {
        self.groups.iter().map(|group| &group.stored).chain(&self.keys)
    }

    /// Bytes of all files.
    pub fn bytes(&self) -> u64 {
        self.files().map(|stored| stored.bytes).sum()
    }

    /// Rows of all groups.
    pub fn rows(&self) -> u64 {
        self.groups.iter().map(|group| group.rows).sum()
    }
}

/// As it is printed, to be kept elsewhere.
pub fn sha256(json: &[u8]) -> String {
    hex(&mac::sha256(&[json]))
}

/// Lower-case hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
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
        let group = |number| Group {
            group: number,
            term: 2,
            index: 7,
            rows: 5,
            state_sha256: "bb".to_owned(),
            stored: stored(&format!("group-{number:03}.age")),
        };
        Manifest {
            format: FORMAT,
            backup_id: "b".to_owned(),
            cluster_id: "c".to_owned(),
            version: "1".to_owned(),
            began_ms: 1,
            cut_ms: 2,
            groups: vec![group(0), group(1)],
            keys: Some(stored("keys.age")),
            key_ids: vec!["k".to_owned()],
            recipients: vec!["age1".to_owned()],
        }
    }

    #[test]
    fn a_manifest_reads_back_and_one_that_says_something_else_is_refused() {
        let good = manifest();
        let parse =
            |manifest: &Manifest| Manifest::parse(&manifest.to_json().expect("writes"), "b");
        assert_eq!(parse(&good).expect("parses"), good);
        assert_eq!((good.bytes(), good.rows()), (9, 10));
        let refused = |change: &dyn Fn(&mut Manifest)| {
            let mut bad = good.clone();
            change(&mut bad);
            parse(&bad).expect_err("is refused").to_string()
        };
        assert!(refused(&|m| m.format = 2).contains("format 2"));
        assert!(refused(&|m| m.backup_id = "other".to_owned()).contains("other"));
        assert!(refused(&|m| drop(m.groups.remove(0))).contains("not every group"));
        assert!(refused(&|m| m.groups.clear()).contains("no groups"));
        for name in ["../x", "a/b", "", ".hidden"] {
            let name = name.to_owned();
            assert!(refused(&|m| m.groups[1].stored.file = name.clone()).contains("strange"));
        }
    }
}
