//! What administrators see of the cluster's key, and ask for. Nodes answer that may not have the key-encryption key.

use bytes::Bytes;
use conclave_crypto::entropy::Entropy;
use conclave_store::{
    DIRECTORY_SCOPE, Store, keys,
    proto::{self, check::Expect, write::Action},
    records::{ClusterRecord, KeyRotationRecord},
};
use prost::Message as _;

use crate::signing_keys::order::{OrderError, Settled, id, settle, write};

const TRIES_MAX: u32 = 8;

/// How the cluster's keys are.
#[derive(Clone)]
pub struct Status {
    /// Its keys, wrapped, and which of them seals.
    pub cluster: ClusterRecord,
    /// The rotation that is under way, or was the last.
    pub rotation: KeyRotationRecord,
    /// When it was so.
    pub now_ms: i64,
}

/// How the cluster's keys are.
///
/// # Errors
/// The store's; [`OrderError::Damaged`] where there is no directory yet.
pub async fn status(store: &dyn Store) -> Result<Status, OrderError> {
    Ok(read(store).await?.0)
}

/// Asks for another version of the cluster's key, under which everything is sealed again.
///
/// # Errors
/// [`OrderError::UnderWay`] when that is being done already; the store's.
pub async fn rotate(store: &dyn Store, entropy: &dyn Entropy) -> Result<(), OrderError> {
    change(store, entropy, |rotation, now_ms| {
        if rotation.target != 0 {
            return Err(OrderError::UnderWay);
        }
        rotation.asked_ms = now_ms.max(1);
        Ok(())
    })
    .await
}

/// Asks for the cluster's keys to be wrapped by the present key-encryption key, now and not at the next look.
///
/// # Errors
/// The store's.
pub async fn rewrap(store: &dyn Store, entropy: &dyn Entropy) -> Result<(), OrderError> {
    change(store, entropy, |rotation, now_ms| {
        rotation.rewrap_asked_ms = now_ms.max(1);
        Ok(())
    })
    .await
}

async fn read(store: &dyn Store) -> Result<(Status, u64), OrderError> {
    let (cluster, rotation) = (keys::cluster(), keys::key_rotation());
    let read = proto::Read {
        scope: DIRECTORY_SCOPE.to_owned(),
        gets: vec![cluster.clone().into(), rotation.clone().into()],
        ..Default::default()
    };
    let result = store.read(read).await?;
    let value = |key: &[u8]| {
        let row = result.rows.iter().find(|row| row.key == key);
        row.map(|row| (row.value.clone(), row.version)).unwrap_or_default()
    };
    let damaged = |text: &str| OrderError::Damaged(text.to_owned());
    let undecodable = |_| damaged("a stored record cannot be decoded");
    let (Some(bytes), _) = value(&cluster) else {
        return Err(damaged("no gateway has made the directory yet"));
    };
    let cluster = ClusterRecord::decode(bytes).map_err(undecodable)?;
    let (bytes, version) = value(&rotation);
    let rotation = bytes.map(KeyRotationRecord::decode).transpose().map_err(undecodable)?;
    let rotation = rotation.unwrap_or_default();
    Ok((Status { cluster, rotation, now_ms: result.now_ms }, version))
}

async fn change(
    store: &dyn Store,
    entropy: &dyn Entropy,
    decide: impl Fn(&mut KeyRotationRecord, i64) -> Result<(), OrderError>,
) -> Result<(), OrderError> {
    for _ in 0..TRIES_MAX {
        let (Status { mut rotation, now_ms, .. }, version) = read(store).await?;
        decide(&mut rotation, now_ms)?;
        let value = rotation.encode_to_vec().into();
        let key = keys::key_rotation();
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
