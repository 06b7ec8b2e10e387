//! What administrators see and ask for. A rotation is a wish, which a gateway carries out; a revocation is done here and
//! now. Neither needs a key: it changes states, and the successor has been made before.

use bytes::Bytes;
use conclave_api::ApiError;
use conclave_crypto::entropy::{self, Entropy};
use conclave_store::{
    DIRECTORY_SCOPE, Store, StoreError, keys,
    proto::{self, check::Expect, write::Action},
    records::KeyOrderRecord,
};
use prost::Message;

use super::set::{KeySet, ROWS_MAX, Refused};
use crate::{config::TokenUse, issuer};

/// How often a change is decided before whoever asks is told to come again.
const TRIES_MAX: u32 = 8;
/// How often a commit of unknown outcome is repeated.
const REPEATS_MAX: u32 = 4;

/// Why an order is not taken.
#[derive(Debug, thiserror::Error)]
pub enum OrderError {
    /// There is no such pool.
    #[error("there is no pool {0}")]
    NoSuchPool(String),
    /// The keys do not allow it.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// It is being done already.
    #[error(
        "the cluster's key is being rotated already: `conclave keys status` shows how far it is"
    )]
    UnderWay,
    /// It is being done already.
    #[error("pools are being sealed again already: `conclave keys status` shows how far it is")]
    ResealUnderWay,
    /// Others change the keys all the time.
    #[error("the keys keep changing: try again")]
    Contended,
    /// What is stored cannot be decoded.
    #[error("{0}")]
    Damaged(String),
    /// No answer.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<ApiError> for OrderError {
    fn from(error: ApiError) -> Self {
        Self::Damaged(error.to_string())
    }
}

/// The keys of a pool, and the time at which they were so.
///
/// # Errors
/// [`OrderError::NoSuchPool`]; the store's.
pub async fn list(store: &dyn Store, pool_id: &str) -> Result<(KeySet, i64), OrderError> {
    let rows = read(store, pool_id).await?;
    Ok((rows.set, rows.now_ms))
}

/// Has the keys of some uses rotated, as soon as their successors have been published for long enough. Answers the
/// version of the set.
///
/// # Errors
/// Every [`OrderError`].
pub async fn rotate(
    store: &dyn Store,
    entropy: &dyn Entropy,
    pool_id: &str,
    uses: &[TokenUse],
    expected_version: Option<u64>,
) -> Result<u64, OrderError> {
    let ask = |set: &mut KeySet, now_ms| set.ask_rotation(uses, expected_version, now_ms);
    let changed = change(store, entropy, pool_id, ask).await;
    // a repetition of an order that was stored, and whose hurry was not, finds the keys changed
    if matches!(changed, Ok(_) | Err(OrderError::Refused(Refused::Changed(_)))) {
        hurry(store, entropy, pool_id).await?;
    }
    changed
}

/// Revokes a key: once this is answered, no gateway accepts a token of it or makes one. Answers the version of the set.
///
/// # Errors
/// Every [`OrderError`].
pub async fn revoke(
    store: &dyn Store,
    entropy: &dyn Entropy,
    pool_id: &str,
    kid: &str,
    expected_version: Option<u64>,
) -> Result<u64, OrderError> {
    let revoke = |set: &mut KeySet, now_ms| set.revoke(kid, expected_version, now_ms);
    let version = change(store, entropy, pool_id, revoke).await?;
    // the order is for the next spare; the revocation stands, whatever becomes of it
    if let Err(error) = hurry(store, entropy, pool_id).await {
        tracing::warn!(%error, pool_id, "the spare for a revoked key is made at the next look");
    }
    Ok(version)
}

struct Rows {
    set: KeySet,
    versions: Vec<(Bytes, u64)>,
    epoch: u64,
    now_ms: i64,
}

async fn read(store: &dyn Store, pool_id: &str) -> Result<Rows, OrderError> {
    let no_such_pool = || OrderError::NoSuchPool(pool_id.to_owned());
    // other scopes are no pools
    if !issuer::is_pool_id(pool_id) {
        return Err(no_such_pool());
    }
    let read = proto::Read {
        scope: pool_id.to_owned(),
        gets: vec![keys::key_set().into()],
        scans: vec![proto::Scan {
            prefix: keys::signing_keys().into(),
            after: Bytes::new(),
            limit: ROWS_MAX,
        }],
        ..Default::default()
    };
    let result = store.read(read).await?;
    if !result.scope_exists {
        return Err(no_such_pool());
    }
    let key_set = keys::key_set();
    let value = |row: &proto::Row| row.value.clone();
    let record = result.rows.iter().find(|row| row.key == key_set).and_then(value);
    let of_keys = result.rows.iter().filter(|row| row.key != key_set);
    let values: Vec<Bytes> = of_keys.filter_map(value).collect();
    Ok(Rows {
        set: KeySet::read(record.as_deref(), values.iter())?,
        versions: result.rows.iter().map(|row| (row.key.clone(), row.version)).collect(),
        epoch: result.epoch,
        now_ms: result.now_ms,
    })
}

/// Decides on fresh rows, and commits what has changed with the versions of all of them.
async fn change(
    store: &dyn Store,
    entropy: &dyn Entropy,
    pool_id: &str,
    decide: impl Fn(&mut KeySet, i64) -> Result<(), Refused>,
) -> Result<u64, OrderError> {
    for _ in 0..TRIES_MAX {
        let mut rows = read(store, pool_id).await?;
        let before = rows.set.record().version;
        decide(&mut rows.set, rows.now_ms)?;
        let after = rows.set.record().version;
        if after == before {
            return Ok(after);
        }
        let (puts, deletes) = rows.set.writes();
        let put = |(key, value): (Vec<u8>, Bytes)| {
            write(key, Action::Put(proto::Put { value, expires_at_ms: None }))
        };
        let mut writes: Vec<_> = puts.into_iter().map(put).collect();
        writes.extend(
            deletes.into_iter().map(|key| write(key, Action::Delete(proto::Delete::default()))),
        );
        let epoch = proto::Add { delta: 1, ..Default::default() };
        writes.push(write(keys::EPOCH.to_vec(), Action::Add(epoch)));
        let at_version =
            |(key, version)| proto::Check { key, expect: Some(Expect::AtVersion(version)) };
        let commit = proto::Commit {
            id: id(entropy),
            scope: pool_id.to_owned(),
            decided_ms: rows.now_ms,
            // two orders of one moment take turns also where no row is there to be checked
            epoch: Some(rows.epoch),
            checks: rows.versions.into_iter().map(at_version).collect(),
            writes,
        };
        match settle(store, commit).await? {
            Settled::Committed => return Ok(after),
            Settled::ScopeGone => return Err(OrderError::NoSuchPool(pool_id.to_owned())),
            Settled::Again => {}
        }
    }
    Err(OrderError::Contended)
}

/// Tells whoever works on keys to look at a pool now. Without it, it is looked at with all others.
async fn hurry(store: &dyn Store, entropy: &dyn Entropy, pool_id: &str) -> Result<(), OrderError> {
    conclave_fault::point("keys.after_pool_before_order");
    let read = proto::Read { scope: DIRECTORY_SCOPE.to_owned(), ..Default::default() };
    let now_ms = store.read(read).await?.now_ms;
    let value = KeyOrderRecord { asked_ms: now_ms }.encode_to_vec().into();
    let put = Action::Put(proto::Put { value, expires_at_ms: None });
    let commit = proto::Commit {
        id: id(entropy),
        scope: DIRECTORY_SCOPE.to_owned(),
        decided_ms: now_ms,
        writes: vec![write(keys::key_order(pool_id), put)],
        ..Default::default()
    };
    settle(store, commit).await?;
    Ok(())
}

pub(crate) enum Settled {
    Committed,
    Again,
    ScopeGone,
}

/// An unknown outcome is repeated with the same bytes, never decided again.
pub(crate) async fn settle(
    store: &dyn Store,
    commit: proto::Commit,
) -> Result<Settled, OrderError> {
    use proto::outcome::Result as Answer;
    let mut repeats = 0;
    let outcome = loop {
        match store.commit(commit.clone()).await {
            Err(StoreError::Unknown { .. }) if repeats < REPEATS_MAX => repeats += 1,
            answer => break answer?,
        }
    };
    match outcome.result {
        Some(Answer::Committed(_)) => Ok(Settled::Committed),
        Some(Answer::ScopeGone(_)) => Ok(Settled::ScopeGone),
        Some(Answer::Stale(_)) if repeats > 0 => {
            Err(StoreError::Unknown { detail: "the commit is too old to tell".to_owned() }.into())
        }
        Some(Answer::Conflict(_) | Answer::Stale(_) | Answer::OutOfBounds(_)) => Ok(Settled::Again),
        None => Err(OrderError::Damaged("the store answered nothing".to_owned())),
    }
}

pub(crate) fn write(key: Vec<u8>, action: Action) -> proto::Write {
    proto::Write { key: key.into(), action: Some(action) }
}

pub(crate) fn id(entropy: &dyn Entropy) -> Bytes {
    let id: [u8; 16] = entropy::bytes(entropy);
    Bytes::copy_from_slice(&id)
}
