//! The keys of a pool, out of one cluster and into another.

use conclave_crypto::{
    seal::{KekError, KekProvider, Keyring},
    secret::Key256,
};
use conclave_store::{
    DIRECTORY_SCOPE, Store, StoreError, keys,
    proto::Read,
    records::{ClusterRecord, PoolKeysRecord, WrappedKey},
};
use prost::Message;

use super::ImportError;
use crate::{
    cluster_key, config,
    sealed::{self, Place},
    world::World,
};

/// The versions of a pool's key, the current one last.
pub type PoolKeys = Vec<(u32, Key256)>;

/// How often the two records are read until they fit: the cluster's key may be rotated meanwhile.
const TRIES_MAX: usize = 3;

/// Why the keys of a pool cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    /// There is no such pool.
    #[error("there is no pool {0}")]
    NoSuchPool(String),
    /// The key-encryption key is not the cluster's, or is out of reach.
    #[error("the cluster's keys cannot be unwrapped: {0}")]
    Kek(#[from] KekError),
    /// What is stored is not what this version writes.
    #[error("{0}")]
    Damaged(&'static str),
    /// No answer.
    #[error("the cluster does not answer: {0}")]
    Store(#[from] StoreError),
}

/// Reads the keys of a pool and opens them, with the key-encryption key of its cluster.
///
/// # Errors
/// See [`KeysError`].
pub async fn read(
    store: &dyn Store,
    kek: &dyn KekProvider,
    pool_id: &str,
) -> Result<PoolKeys, KeysError> {
    for _ in 0..TRIES_MAX {
        let no_such_pool = || KeysError::NoSuchPool(pool_id.to_owned());
        let record = row(store, pool_id, keys::pool_keys()).await?.ok_or_else(no_such_pool)?;
        let record = PoolKeysRecord::decode(record)
            .map_err(|_| KeysError::Damaged("the pool's keys cannot be decoded"))?;
        let cluster = row(store, DIRECTORY_SCOPE, keys::cluster()).await?;
        let cluster = cluster.ok_or(KeysError::Damaged("no gateway has been started yet"))?;
        let cluster = ClusterRecord::decode(cluster)
            .map_err(|_| KeysError::Damaged("the cluster's record cannot be decoded"))?;
        let cluster_keys = cluster_key::unwrap(&cluster, kek).await?;
        let open = |key: &WrappedKey| {
            config::unwrap_pool_key(&cluster_keys, pool_id, key).map(|open| (key.version, open))
        };
        if let Ok(opened) = record.keys.iter().map(open).collect::<Result<PoolKeys, _>>() {
            return Ok(opened);
        }
    }
    Err(KeysError::Damaged("the pool's keys do not unwrap"))
}

/// A live row; `None` also where the scope has no root.
async fn row(
    store: &dyn Store,
    scope: &str,
    key: Vec<u8>,
) -> Result<Option<bytes::Bytes>, StoreError> {
    let read = Read { scope: scope.to_owned(), gets: vec![key.into()], ..Read::default() };
    let result = store.read(read).await?;
    let row = result.rows.into_iter().next().and_then(|row| row.value);
    Ok(row.filter(|_| result.scope_exists))
}

/// That these keys are the record's: what only they open, opens.
pub(super) fn check(
    pool_id: &str,
    record: &PoolKeysRecord,
    keys: &PoolKeys,
) -> Result<(), ImportError> {
    let named = record.keys.iter().map(|key| key.version);
    if !named.eq(keys.iter().map(|(version, _)| *version)) {
        return Err(ImportError::OtherKeys);
    }
    let current = keys.last().map(|(version, _)| *version).ok_or(ImportError::OtherKeys)?;
    let keyring = Keyring::new(current, keys.iter().cloned());
    let keyring = keyring.map_err(|_| ImportError::OtherKeys)?;
    let row = keys::pool_keys();
    let place = Place { scope: pool_id, key: &row, field: "unknown_user_secret" };
    let secret = sealed::open(&keyring, place, &record.sealed_unknown_user_secret);
    secret.map(drop).map_err(|_| ImportError::OtherKeys)
}

/// The record with its keys wrapped by this cluster's.
pub(super) fn wrap(
    world: &World,
    pool_id: &str,
    record: &PoolKeysRecord,
    keys: &PoolKeys,
) -> Result<PoolKeysRecord, conclave_api::ApiError> {
    let mut record = record.clone();
    for (stored, (version, key)) in record.keys.iter_mut().zip(keys) {
        stored.wrapped = config::wrap_pool_key(world, pool_id, *version, key)?.into();
        stored.wrapped_by = format!("cluster key {}", world.cluster_keys.get().current());
    }
    Ok(record)
}
