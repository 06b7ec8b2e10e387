//! Keys that the process is given.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail, ensure};
use async_trait::async_trait;
use conclave_crypto::{
    entropy::Entropy,
    seal::{KekError, KekProvider, StaticKek, WrappedByKek, parse_key},
    secret::{Key256, SecretString},
};

/// Versions in a directory, at most.
const VERSIONS_MAX: usize = 64;
/// Bytes of a file with a key, at most.
const FILE_BYTES_MAX: u64 = 4_096;

/// Where keys are read from.
pub enum Source {
    /// One key.
    File {
        /// The key.
        file: PathBuf,
        /// Keys that were used before.
        previous: Vec<PathBuf>,
    },
    /// A file for each version, whose name ends with its number; the highest one wraps.
    Directory {
        /// Where they are.
        directory: PathBuf,
        /// Keys that were used before.
        previous: Vec<PathBuf>,
    },
}

impl Source {
    /// Reads the keys as they are now.
    pub fn read(&self) -> Result<StaticKek> {
        let (mut keys, previous) = match self {
            Self::File { file, previous } => (vec![read(file)?], previous),
            Self::Directory { directory, previous } => (read_directory(directory)?, previous),
        };
        let current = keys.remove(0);
        for file in previous {
            // one that has been deleted is needed no more, or is missed by whoever unwraps
            if file.exists() {
                keys.push(read(file)?);
            }
        }
        Ok(StaticKek::new(current, keys))
    }
}

/// The keys in a directory, the newest first.
fn read_directory(directory: &Path) -> Result<Vec<Key256>> {
    let cannot = || format!("cannot read {}", directory.display());
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).with_context(cannot)? {
        let entry = entry.with_context(cannot)?;
        let name = entry.file_name().to_string_lossy().into_owned();
        // what Kubernetes keeps beside the files of a secret
        if name.starts_with('.') {
            continue;
        }
        let digits = name.len() - name.trim_end_matches(|c: char| c.is_ascii_digit()).len();
        let number = name.get(name.len() - digits..).and_then(|number| number.parse::<u64>().ok());
        let number = number.with_context(|| {
            format!("{} does not end with the number of a version", entry.path().display())
        })?;
        if let Some((_, other)) = found.iter().find(|(known, _)| *known == number) {
            let other: &PathBuf = other;
            bail!("{} and {} have the same number", other.display(), entry.path().display());
        }
        found.push((number, entry.path()));
        ensure!(found.len() <= VERSIONS_MAX, "{} holds too many files", directory.display());
    }
    found.sort_unstable_by(|a, b| b.cmp(a));
    ensure!(!found.is_empty(), "{} holds no key", directory.display());
    found.iter().map(|(_, path)| read(path)).collect()
}

/// The key in a file.
pub fn read(path: &Path) -> Result<Key256> {
    let cannot = || format!("cannot read {}", path.display());
    let length = fs::metadata(path).with_context(cannot)?.len();
    ensure!(length <= FILE_BYTES_MAX, "{} is too long for a key", path.display());
    let text = SecretString::new(fs::read_to_string(path).with_context(cannot)?);
    parse(&text).with_context(|| format!("{} cannot be used", path.display()))
}

/// A key as operators write it.
pub fn parse(text: &SecretString) -> Result<Key256> {
    parse_key(text.expose())
        .context("a key-encryption key is 64 hexadecimal digits or base64 of 32 bytes")
}

/// Reads its source again each time that it is asked.
pub struct Local(pub Source);

impl Local {
    fn kek(&self) -> Result<StaticKek, KekError> {
        self.0.read().map_err(|error| KekError::Unavailable(format!("{error:#}")))
    }
}

#[async_trait]
impl KekProvider for Local {
    async fn status(&self) -> Result<String, KekError> {
        Ok(self.kek()?.key_id())
    }

    async fn encrypt(
        &self,
        scope: &[&[u8]],
        key: &Key256,
        entropy: &dyn Entropy,
    ) -> Result<WrappedByKek, KekError> {
        self.kek()?.encrypt(scope, key, entropy).await
    }

    async fn decrypt(&self, scope: &[&[u8]], wrapped: &[u8]) -> Result<Key256, KekError> {
        self.kek()?.unwrap(scope, wrapped)
    }
}

#[cfg(test)]
mod tests {
    use conclave_crypto::entropy::SystemEntropy;

    use super::*;

    fn directory(name: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("conclave-kek-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).expect("is made");
        path
    }

    fn write(path: &Path, byte: u8) {
        fs::write(path, hex_of(byte)).expect("is written");
    }

    fn hex_of(byte: u8) -> String {
        format!("{byte:02x}").repeat(32) + "\n"
    }

    #[tokio::test]
    async fn a_directory_wraps_with_the_highest_version_and_unwraps_with_all() {
        let path = directory("versions");
        write(&path.join("kek-9"), 9);
        let kek = Local(Source::Directory { directory: path.clone(), previous: Vec::new() });
        let first = kek.status().await.expect("is well");
        let key = Key256::new([7; 32]);
        let wrapped = kek.encrypt(&[b"a"], &key, &SystemEntropy).await.expect("wraps");
        assert_eq!(wrapped.key_id, first);

        // without a restart
        write(&path.join("kek-10"), 10);
        fs::create_dir(path.join("..2026_11")).expect("as Kubernetes does");
        let second = kek.status().await.expect("is well");
        assert_ne!(first, second);
        let open = kek.decrypt(&[b"a"], &wrapped.ciphertext).await.expect("unwraps");
        assert_eq!(open.expose(), key.expose());
        let again = kek.encrypt(&[b"a"], &key, &SystemEntropy).await.expect("wraps");
        assert_eq!(again.key_id, second);

        fs::remove_file(path.join("kek-9")).expect("goes");
        let gone = kek.decrypt(&[b"a"], &wrapped.ciphertext).await;
        assert!(matches!(gone, Err(KekError::UnknownKek(id)) if id == first));
        assert!(kek.decrypt(&[b"a"], &again.ciphertext).await.is_ok());
        fs::remove_dir_all(path).expect("goes");
    }

    #[test]
    fn what_is_no_key_is_refused_by_name() {
        let path = directory("names");
        let read = || {
            let source = Source::Directory { directory: path.clone(), previous: Vec::new() };
            source.read().map(|_| ()).map_err(|error| format!("{error:#}"))
        };
        assert!(read().unwrap_err().contains("holds no key"));
        write(&path.join("kek"), 1);
        assert!(read().unwrap_err().contains("kek does not end with the number"));
        fs::rename(path.join("kek"), path.join("kek-1")).expect("is renamed");
        read().expect("is good");
        write(&path.join("old1"), 2);
        assert!(read().unwrap_err().contains("have the same number"));
        fs::remove_file(path.join("old1")).expect("goes");
        fs::write(path.join("kek-2"), "not a key").expect("is written");
        let refused = read().unwrap_err();
        assert!(refused.contains("kek-2") && !refused.contains("not a key"), "{refused}");
        fs::write(path.join("kek-2"), "x".repeat(5_000)).expect("is written");
        assert!(read().unwrap_err().contains("too long"));
        fs::remove_dir_all(path).expect("goes");
    }
}
