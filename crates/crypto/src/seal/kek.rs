//! Keys that are wrapped by a key-encryption key, which is not stored.

use std::fmt;

use async_trait::async_trait;

use super::{FORMAT, decrypt, encrypt, key_from};
use crate::{entropy::Entropy, mac, secret::Key256};

const KEK_ID_LEN: usize = 8;

/// Why a key could not be wrapped or unwrapped by the KEK.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KekError {
    /// Wrapped under a KEK that this provider does not have.
    #[error("the key is wrapped under another key-encryption key, {0}")]
    UnknownKek(String),
    /// Malformed, altered, or wrapped for another scope.
    #[error("the wrapped key is not authentic")]
    NotAuthentic,
    /// The provider cannot be reached, or refuses.
    #[error("the key-encryption key is not available: {0}")]
    Unavailable(String),
}

/// A key, wrapped by a key-encryption key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WrappedByKek {
    /// The id of the key that has wrapped it. Not secret.
    pub key_id: String,
    /// What is stored.
    pub ciphertext: Vec<u8>,
}

/// Where the key-encryption key lives, in the manner of Kubernetes' KMS v2: it is asked when a process starts and when keys
/// are rotated, and whoever asks compares the id of the key that wraps now with the one that has wrapped what is stored.
#[async_trait]
pub trait KekProvider: Send + Sync {
    /// The id of the key that wraps now. Not secret.
    ///
    /// # Errors
    /// [`KekError::Unavailable`] when nothing can be wrapped.
    async fn status(&self) -> Result<String, KekError>;

    /// Wraps a cluster key for `scope`.
    ///
    /// # Errors
    /// [`KekError::Unavailable`].
    async fn encrypt(
        &self,
        scope: &[&[u8]],
        key: &Key256,
        entropy: &dyn Entropy,
    ) -> Result<WrappedByKek, KekError>;

    /// Unwraps what [`Self::encrypt`] has made for the same `scope`.
    ///
    /// # Errors
    /// Every [`KekError`].
    async fn decrypt(&self, scope: &[&[u8]], wrapped: &[u8]) -> Result<Key256, KekError>;
}

/// A KEK that the process is given: from a file, the environment or a Kubernetes secret.
pub struct StaticKek {
    current: (KekId, Key256),
    previous: Vec<(KekId, Key256)>,
}

type KekId = [u8; KEK_ID_LEN];

impl StaticKek {
    /// Wraps under `current`; unwraps under `previous` keys too, for the time of a rotation.
    pub fn new(current: Key256, previous: Vec<Key256>) -> Self {
        Self {
            current: Self::entry(current),
            previous: previous.into_iter().map(Self::entry).collect(),
        }
    }

    /// The id is derived from the key, so that a wrong key is recognised as such.
    fn entry(key: Key256) -> (KekId, Key256) {
        let id = mac::derive_key(&key, "kek id", &[]);
        let mut short = [0; KEK_ID_LEN];
        for (to, from) in short.iter_mut().zip(id.expose()) {
            *to = *from;
        }
        (short, mac::derive_key(&key, "kek", &[]))
    }
}

impl StaticKek {
    /// The id of the key that wraps.
    pub fn key_id(&self) -> String {
        hex::encode(self.current.0)
    }

    /// Wraps a key for `scope`.
    ///
    /// # Errors
    /// [`KekError::Unavailable`].
    pub fn wrap(
        &self,
        scope: &[&[u8]],
        key: &Key256,
        entropy: &dyn Entropy,
    ) -> Result<Vec<u8>, KekError> {
        let (id, kek) = &self.current;
        let header = [&[FORMAT], id.as_slice()].concat();
        encrypt(kek, &header, scope, key.expose(), entropy)
            .map_err(|e| KekError::Unavailable(e.to_string()))
    }

    /// Unwraps what [`Self::wrap`] has made for the same `scope`.
    ///
    /// # Errors
    /// Every [`KekError`].
    pub fn unwrap(&self, scope: &[&[u8]], wrapped: &[u8]) -> Result<Key256, KekError> {
        let Some((&FORMAT, rest)) = wrapped.split_first() else {
            return Err(KekError::NotAuthentic);
        };
        let (id, _) = rest.split_first_chunk::<KEK_ID_LEN>().ok_or(KekError::NotAuthentic)?;
        let kek = std::iter::once(&self.current)
            .chain(&self.previous)
            .find_map(|(known, kek)| (known == id).then_some(kek))
            .ok_or_else(|| KekError::UnknownKek(hex::encode(id)))?;
        let key = decrypt::<{ 1 + KEK_ID_LEN }>(kek, scope, wrapped)
            .map_err(|_| KekError::NotAuthentic)?;
        key_from(&key).ok_or(KekError::NotAuthentic)
    }
}

#[async_trait]
impl KekProvider for StaticKek {
    async fn status(&self) -> Result<String, KekError> {
        Ok(self.key_id())
    }

    async fn encrypt(
        &self,
        scope: &[&[u8]],
        key: &Key256,
        entropy: &dyn Entropy,
    ) -> Result<WrappedByKek, KekError> {
        Ok(WrappedByKek { key_id: self.key_id(), ciphertext: self.wrap(scope, key, entropy)? })
    }

    async fn decrypt(&self, scope: &[&[u8]], wrapped: &[u8]) -> Result<Key256, KekError> {
        self.unwrap(scope, wrapped)
    }
}

impl fmt::Debug for StaticKek {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StaticKek").field("key_id", &self.key_id()).finish_non_exhaustive()
    }
}
