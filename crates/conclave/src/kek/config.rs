//! The section `[kek]`.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use conclave_crypto::{
    seal::{KekProvider, StaticKek},
    secret::SecretString,
};
use conclave_outbound::json_client::Client;
use serde::Deserialize;

use super::{
    KekTiming, WithPrevious,
    local::{self, Local, Source},
    vault::{Token, Vault},
};

/// Where the key-encryption key is: 64 hexadecimal digits or base64 of 32 bytes, or a key that Vault does not give away.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Kek {
    /// A file that holds the key.
    pub file: Option<PathBuf>,
    /// An environment variable that holds the key.
    pub env: Option<String>,
    /// A directory with a file for each version of the key, whose name ends with a number; the highest wraps. A mounted
    /// secret of Kubernetes is one.
    pub directory: Option<PathBuf>,
    /// A key of Vault's transit engine.
    pub vault: Option<VaultKek>,
    /// Files with earlier keys, for the time of a rotation, or when another kind of key takes the place of a file.
    #[serde(default)]
    pub previous_files: Vec<PathBuf>,
    /// Seconds from one look at the key to the next: when another version wraps, the cluster's keys are wrapped by it.
    #[serde(default = "default_check_seconds")]
    pub check_seconds: u32,
    /// Seconds until every gateway seals with a new version of the cluster's key: half a minute in which it may not have
    /// read the directory, and two minutes in which what it has under way may still be committed. Not less.
    #[serde(default = "default_settle_seconds")]
    pub settle_seconds: u32,
    /// Seconds for which an older version of a pool's key is kept when another one seals: for as long as what clients hold
    /// of it is good. Challenge sessions are for 15 minutes at most.
    #[serde(default = "default_keep_seconds")]
    pub keep_seconds: u32,
    /// Lets `settle_seconds` and `keep_seconds` be shorter than what is safe: a commit or a session that comes later than they
    /// allow needs a key that is deleted by then, and what it has written never opens again.
    #[serde(default)]
    pub for_tests: bool,
}

/// A key of Vault's transit engine.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VaultKek {
    /// `https://host:port`.
    pub address: String,
    /// Where the engine is mounted.
    #[serde(default = "default_mount")]
    pub mount: String,
    /// The name of the key, of a type that takes associated data.
    pub key: String,
    /// A namespace of Vault Enterprise.
    pub namespace: Option<String>,
    /// A file that holds the token. It is read each time, so an agent can write it anew.
    pub token_file: Option<PathBuf>,
    /// An environment variable that holds the token.
    pub token_env: Option<String>,
    /// Authorities of Vault's certificate in PEM, in place of the system's.
    pub ca: Option<PathBuf>,
}

/// For so long a commit may come late: see `conclave_identity::pool_moves::freeze`.
const SETTLE_SECONDS_MIN: u32 = 125;
/// For so long clients may hold a challenge's session.
const KEEP_SECONDS_MIN: u32 = 900;

fn default_check_seconds() -> u32 {
    60
}

fn default_settle_seconds() -> u32 {
    180
}

fn default_keep_seconds() -> u32 {
    900
}

fn default_mount() -> String {
    "transit".to_owned()
}

impl Kek {
    /// A file that holds the key, and nothing else.
    pub fn of_file(file: &Path) -> Self {
        Self {
            file: Some(file.to_owned()),
            env: None,
            directory: None,
            vault: None,
            previous_files: Vec::new(),
            check_seconds: default_check_seconds(),
            settle_seconds: default_settle_seconds(),
            keep_seconds: default_keep_seconds(),
            for_tests: false,
        }
    }

    /// What can be seen without reading a key.
    pub fn check(&self) -> Result<()> {
        let given = [
            self.file.is_some(),
            self.env.is_some(),
            self.directory.is_some(),
            self.vault.is_some(),
        ];
        ensure!(
            given.iter().filter(|given| **given).count() == 1,
            "kek takes one of file, env, directory and vault"
        );
        ensure!(
            (1..=3_600).contains(&self.check_seconds),
            "check_seconds is not between 1 and 3600"
        );
        let (settle_min, keep_min) = match self.for_tests {
            true => (1, 1),
            false => (SETTLE_SECONDS_MIN, KEEP_SECONDS_MIN),
        };
        ensure!(
            (settle_min..=3_600).contains(&self.settle_seconds),
            "settle_seconds is not between {settle_min} and 3600"
        );
        ensure!(
            (keep_min..=86_400).contains(&self.keep_seconds),
            "keep_seconds is not between {keep_min} and 86400"
        );
        if let Some(vault) = &self.vault {
            ensure!(
                vault.token_file.is_some() != vault.token_env.is_some(),
                "kek.vault takes one of token_file and token_env"
            );
        }
        Ok(())
    }

    /// How long things take.
    pub fn timing(&self) -> KekTiming {
        let seconds = |seconds: u32| Duration::from_secs(seconds.into());
        KekTiming {
            check: seconds(self.check_seconds),
            settle: seconds(self.settle_seconds),
            keep: seconds(self.keep_seconds),
        }
    }

    /// The provider. A key that cannot be read is told here.
    pub fn open(&self) -> Result<Arc<dyn KekProvider>> {
        self.check()?;
        let previous = self.previous_files.clone();
        if let Some(file) = &self.file {
            let source = Source::File { file: file.clone(), previous };
            source.read()?;
            return Ok(Arc::new(Local(source)));
        }
        if let Some(directory) = &self.directory {
            let source = Source::Directory { directory: directory.clone(), previous };
            source.read()?;
            return Ok(Arc::new(Local(source)));
        }
        let previous = previous.iter().map(|path| local::read(path)).collect::<Result<Vec<_>>>()?;
        if let Some(name) = &self.env {
            let current = local::parse(&variable(name)?)?;
            return Ok(Arc::new(StaticKek::new(current, previous)));
        }
        let Some(vault) = &self.vault else { bail!("kek names no key") };
        Ok(Arc::from(WithPrevious::around(Box::new(vault.open()?), previous)?))
    }
}

impl VaultKek {
    fn open(&self) -> Result<Vault> {
        let token = match (&self.token_file, &self.token_env) {
            (Some(file), None) => Token::File(file.clone()),
            (None, Some(name)) => Token::Value(variable(name)?),
            _ => bail!("kek.vault takes one of token_file and token_env"),
        };
        let client = Client::new(&self.address, self.ca.as_deref()).context("kek.vault.address")?;
        Vault::new(client, &self.mount, &self.key, self.namespace.clone(), token)
            .context("kek.vault")
    }
}

fn variable(name: &str) -> Result<SecretString> {
    #[expect(clippy::disallowed_methods, reason = "the configuration names the variable")]
    let text = std::env::var(name).with_context(|| format!("{name} is not set"))?;
    Ok(SecretString::new(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_kind_of_key_is_named() {
        let check = |text: &str| {
            let kek: Kek = toml::from_str(text).map_err(anyhow::Error::from)?;
            kek.check()
        };
        for good in [
            "file = \"/k\"",
            "env = \"K\"\nprevious_files = [\"/old\"]",
            "directory = \"/k\"\ncheck_seconds = 5",
            "[vault]\naddress = \"https://vault:8200\"\nkey = \"conclave\"\ntoken_file = \"/t\"",
        ] {
            check(good).expect(good);
        }
        for (bad, named) in [
            ("", "one of file, env, directory and vault"),
            ("file = \"/k\"\nenv = \"K\"", "one of file, env, directory and vault"),
            ("file = \"/k\"\ncheck_seconds = 0", "check_seconds"),
            ("[vault]\naddress = \"https://vault\"\nkey = \"k\"", "token_file and token_env"),
            ("files = \"/k\"", "files"),
        ] {
            let error = format!("{:#}", check(bad).unwrap_err());
            assert!(error.contains(named), "{bad}: {error}");
        }
    }
}
