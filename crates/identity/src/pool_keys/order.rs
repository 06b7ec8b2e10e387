//! What administrators see of the exchange of pools' keys, and ask for. Nodes answer that may not have the key-encryption
//! key.

use bytes::Bytes;
use conclave_crypto::entropy::Entropy;
use conclave_store::{
    DIRECTORY_SCOPE, Store, keys,
    proto::{self, check::Expect, write::Action},
    records::PoolResealRecord,
};
use prost::Message as _;

use crate::signing_keys::order::{OrderError, Settled, id, settle, write};

const TRIES_MAX: u32 = 8;

/// How far it is.
///
/// # Errors
/// The store's; [`OrderError::Damaged`].
pub async fn status(store: &dyn Store) -> Result<PoolResealRecord, OrderError> {
    Ok(read(store, None).await?.record)
}

/// Asks for another version of the key of every pool, or of one, under which everything is sealed again.
///
/// # Errors
/// [`OrderError::ResealUnderWay`] when that is being done already; [`OrderError::NoSuchPool`]; the store's.
pub async fn reseal(
    store: &dyn Store,
    entropy: &dyn Entropy,
    pool_id: Option<&str>,
) -> Result<(), OrderError> {
    for _ in 0..TRIES_MAX {
        let Found { mut record, version, now_ms, knows_pool } = read(store, pool_id).await?;
        if let Some(pool_id) = pool_id.filter(|_| !knows_pool) {
            return Err(OrderError::NoSuchPool(pool_id.to_owned()));
        }
        let asked_pool = pool_id.unwrap_or_default();
        if record.started_ms > 0 || (record.asked_ms > 0 && record.asked_pool != asked_pool) {
            return Err(OrderError::ResealUnderWay);
        }
        record.asked_ms = now_ms.max(1);
        record.asked_pool = asked_pool.to_owned();
        let key = keys::pool_reseal();
        let value = record.encode_to_vec().into();
        let commit = proto::Commit {
            id: id(entropy),
            scope: DIRECTORY_SCOPE.to_owned(),
            decided_ms: now_ms,
            checks: vec![proto::Check {
                key: Bytes::from(key.clone()),
                expect: Some(Expect::AtVersion(version)),
            }],
            writes: vec![write(key, Action::Put(proto::Put { value, expires_at_ms: None }))],
            ..Default::default()
        };
        if let Settled::Committed = settle(store, commit).await? {
            return Ok(());
        }
    }
    Err(OrderError::Contended)
}

struct Found {
    record: PoolResealRecord,
    version: u64,
    now_ms: i64,
    knows_pool: bool,
}

async fn read(store: &dyn Store, pool_id: Option<&str>) -> Result<Found, OrderError> {
    let (row, location) = (keys::pool_reseal(), pool_id.map(keys::pool_location));
    let gets = std::iter::once(row.clone()).chain(location.clone()).map(Bytes::from);
    let read = proto::Read {
        scope: DIRECTORY_SCOPE.to_owned(),
        gets: gets.collect(),
        ..Default::default()
    };
    let result = store.read(read).await?;
    let find = |key: &[u8]| result.rows.iter().find(|row| row.key == key);
    let found = find(&row);
    let value = found.and_then(|row| row.value.clone());
    let record = value.map(PoolResealRecord::decode).transpose();
    let undecodable = |_| OrderError::Damaged("a stored record cannot be decoded".to_owned());
    Ok(Found {
        record: record.map_err(undecodable)?.unwrap_or_default(),
        version: found.map_or(0, |row| row.version),
        now_ms: result.now_ms,
        knows_pool: location.is_some_and(|key| find(&key).is_some_and(|row| row.value.is_some())),
    })
}
