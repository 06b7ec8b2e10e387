//! A pool in which nothing is written any more, so that an export of it is all there will ever be. Nodes do it, which may
//! have no key.
//!
//! It begins an epoch, so every decision that reads after it is refused. One that has read before can still be committed,
//! until its time is so long past that it counts as stale: [`SETTLE_MS`] later nothing of it can come any more.

use bytes::Bytes;
use conclave_crypto::entropy::Entropy;
use conclave_store::{
    ID_MEMORY_MS, Store, keys,
    proto::{self, check::Expect, write::Action},
    records::{PoolFreezeRecord, UserImportsRecord},
};
use prost::Message as _;

use crate::{
    issuer,
    signing_keys::order::{OrderError, Settled, id, settle, write},
};

/// After so many milliseconds nothing can be committed that was decided before, also where leaders' clocks differ by what
/// they may.
pub const SETTLE_MS: i64 = ID_MEMORY_MS + 5_000;

const TRIES_MAX: u32 = 8;

/// How it is with a pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frozen {
    /// Since when it is frozen; `None`: it is not.
    pub since_ms: Option<i64>,
    /// When that was so.
    pub now_ms: i64,
}

impl Frozen {
    /// Whether everything that was ever acknowledged is there to be read.
    pub fn is_settled(&self) -> bool {
        self.since_ms.is_some_and(|since_ms| self.now_ms >= since_ms.saturating_add(SETTLE_MS))
    }
}

/// Why a pool is not frozen.
#[derive(Debug, thiserror::Error)]
pub enum FreezeError {
    /// Users are being imported.
    #[error("users are being imported into the pool: wait for the import, or stop it")]
    Importing,
    /// As with keys.
    #[error(transparent)]
    Order(#[from] OrderError),
}

/// Has nothing written in a pool any more, or again what comes; one that is so already stays so. Or only says how it is.
///
/// # Errors
/// See [`FreezeError`].
pub async fn freeze(
    store: &dyn Store,
    entropy: &dyn Entropy,
    pool_id: &str,
    frozen: Option<bool>,
    administrator: &str,
) -> Result<Frozen, FreezeError> {
    for _ in 0..TRIES_MAX {
        let (now, commit) = decide(store, entropy, pool_id, frozen, administrator).await?;
        let Some(commit) = commit else { return Ok(now) };
        match settle(store, commit).await? {
            // since when, and at what time, is in what has been written
            Settled::Committed | Settled::Again => {}
            Settled::ScopeGone => return Err(OrderError::NoSuchPool(pool_id.to_owned()).into()),
        }
    }
    Err(OrderError::Contended.into())
}

/// What is to be committed; `None` when it is as it should be.
async fn decide(
    store: &dyn Store,
    entropy: &dyn Entropy,
    pool_id: &str,
    frozen: Option<bool>,
    administrator: &str,
) -> Result<(Frozen, Option<proto::Commit>), FreezeError> {
    let no_such_pool = || OrderError::NoSuchPool(pool_id.to_owned());
    // other scopes are no pools
    if !issuer::is_pool_id(pool_id) {
        return Err(no_such_pool().into());
    }
    let (row, imports) = (keys::pool_freeze(), keys::user_imports());
    let read = proto::Read {
        scope: pool_id.to_owned(),
        gets: vec![row.clone().into(), imports.clone().into()],
        ..Default::default()
    };
    let result = store.read(read).await.map_err(OrderError::from)?;
    if !result.scope_exists {
        return Err(no_such_pool().into());
    }
    let of = |key: &[u8]| result.rows.iter().find(|row| row.key == key);
    let damaged = |_| OrderError::Damaged("a stored record cannot be decoded".to_owned());
    let stored = of(&row).and_then(|row| row.value.clone());
    let stored = stored.map(PoolFreezeRecord::decode).transpose().map_err(damaged)?;
    let now_ms = result.now_ms;
    let now = Frozen { since_ms: stored.map(|record| record.frozen_ms), now_ms };
    let Some(frozen) = frozen.filter(|frozen| now.since_ms.is_some() != *frozen) else {
        return Ok((now, None));
    };
    let running = of(&imports).and_then(|row| row.value.clone());
    let running = running.map(UserImportsRecord::decode).transpose().map_err(damaged)?;
    if frozen && running.is_some_and(|imports| !imports.active_job_id.is_empty()) {
        return Err(FreezeError::Importing);
    }
    let action = if frozen {
        let record =
            PoolFreezeRecord { frozen_ms: now_ms, administrator: administrator.to_owned() };
        Action::Put(proto::Put { value: record.encode_to_vec().into(), expires_at_ms: None })
    } else {
        Action::Delete(proto::Delete::default())
    };
    let at_version = |key: Vec<u8>| proto::Check {
        expect: Some(Expect::AtVersion(of(&key).map_or(0, |row| row.version))),
        key: Bytes::from(key),
    };
    let epoch = proto::Add { delta: 1, ..Default::default() };
    let commit = proto::Commit {
        id: id(entropy),
        scope: pool_id.to_owned(),
        decided_ms: now_ms,
        epoch: Some(result.epoch),
        checks: vec![at_version(row.clone()), at_version(imports)],
        writes: vec![write(row, action), write(keys::EPOCH.to_vec(), Action::Add(epoch))],
    };
    Ok((now, Some(commit)))
}
