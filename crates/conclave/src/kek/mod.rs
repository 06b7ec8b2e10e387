//! Where the key-encryption key lives. It wraps the cluster's keys, and is asked when a process starts and when a key is
//! rotated; what it has unwrapped stays in memory.
//!
//! - `local`: a file, a variable of the environment, or a directory with several versions, such as a mounted secret
//! - `vault`: the transit engine of HashiCorp Vault or OpenBao
//!
//! All but the variable are read again each time that they are asked, so a new version is seen without a restart.

mod config;
mod local;
mod vault;

use std::time::Duration;

use anyhow::Result;
use async_trait::async_trait;
use conclave_crypto::{
    entropy::Entropy,
    seal::{KekError, KekProvider, StaticKek, WrappedByKek},
    secret::Key256,
};

pub use config::Kek;

/// How long things take when a key-encryption key, or the cluster's key, is rotated.
#[derive(Debug, Clone, Copy)]
pub struct KekTiming {
    /// From one look at the key-encryption key to the next.
    pub check: Duration,
    /// How long all gateways take to learn of another version of the cluster's key, with what they have under way.
    pub settle: Duration,
    /// For how long older versions of a pool's key are kept for what clients hold.
    pub keep: Duration,
}

impl Default for KekTiming {
    fn default() -> Self {
        Self {
            check: Duration::from_secs(60),
            settle: Duration::from_secs(180),
            keep: Duration::from_secs(900),
        }
    }
}

/// A provider, and keys of others that were used before.
struct WithPrevious {
    current: Box<dyn KekProvider>,
    previous: StaticKek,
}

impl WithPrevious {
    fn around(
        current: Box<dyn KekProvider>,
        previous: Vec<Key256>,
    ) -> Result<Box<dyn KekProvider>> {
        let mut previous = previous.into_iter();
        Ok(match previous.next() {
            None => current,
            Some(first) => {
                let previous = StaticKek::new(first, previous.collect());
                Box::new(Self { current, previous })
            }
        })
    }
}

#[async_trait]
impl KekProvider for WithPrevious {
    async fn status(&self) -> Result<String, KekError> {
        self.current.status().await
    }

    async fn encrypt(
        &self,
        scope: &[&[u8]],
        key: &Key256,
        entropy: &dyn Entropy,
    ) -> Result<WrappedByKek, KekError> {
        self.current.encrypt(scope, key, entropy).await
    }

    async fn decrypt(&self, scope: &[&[u8]], wrapped: &[u8]) -> Result<Key256, KekError> {
        match self.previous.unwrap(scope, wrapped) {
            Ok(key) => Ok(key),
            Err(_) => self.current.decrypt(scope, wrapped).await,
        }
    }
}
