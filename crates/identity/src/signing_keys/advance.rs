//! The next steps of one pool's keys. Each of them is one commit, on the versions of all of its keys: so two gateways
//! that work on one pool do not both do it.

use async_trait::async_trait;
use bytes::Bytes;
use conclave_api::ApiError;
use conclave_crypto::{secret::SecretBytes, token::SigningKey};
use conclave_store::{
    keys,
    records::{SigningKeyRecord, signing_key_record::State},
};

use super::{
    Timing,
    set::{KeySet, ROWS_MAX},
};
use crate::{
    config::{PoolConfig, TokenUse},
    errors,
    sealed::{self, Place},
    tx::{Decision, Failure, Query, Transaction, Tx, transact},
    world::World,
};

/// What has become of a pool's keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Advanced {
    /// Whether there was something to do.
    pub changed: bool,
    /// When there will be, on the group's clock; `None`: not before somebody asks for it.
    pub next_ms: Option<i64>,
    /// What the group's clock said.
    pub now_ms: i64,
}

/// Takes every step that is due, and makes the keys that are lacking.
///
/// # Errors
/// ResourceNotFoundException when there is no such pool; TooManyRequestsException when too much is waiting for the
/// processor; the store's.
pub async fn advance(world: &World, pool_id: &str, timing: &Timing) -> Result<Advanced, ApiError> {
    transact(world, &Advance { pool_id, timing }).await
}

struct Advance<'a> {
    pool_id: &'a str,
    timing: &'a Timing,
}

#[async_trait]
impl Transaction for Advance<'_> {
    type Output = Advanced;

    fn works_when_frozen(&self) -> bool {
        true
    }

    fn scope(&self) -> &str {
        self.pool_id
    }

    async fn decide(&self, tx: &mut Tx<'_>) -> Decision<Advanced> {
        let prefix = keys::signing_keys();
        let query = Query::new().get(keys::key_set()).scan(prefix.clone(), Vec::new(), ROWS_MAX);
        tx.load(query).await?;
        let config = tx.pool()?;
        let rows = tx.loaded_under(&prefix).map(|(_, value)| value);
        let mut set = KeySet::read(tx.get_bytes(&keys::key_set()).as_deref(), rows)?;
        let mut due = set.advance(self.timing, tx.now_ms());
        let lacking = std::mem::take(&mut due.lacking);
        let made = !lacking.is_empty();
        for (token_use, state) in lacking {
            let key = new_key(tx, &config, token_use, state).await?;
            set.add(key);
        }
        let changed = set.is_changed();
        if changed {
            put(tx, &set);
        }
        let next_ms = match made {
            // what was made may have to be waited for
            true => Some(tx.now_ms()),
            false => due.next_ms,
        };
        Ok(Advanced { changed, next_ms, now_ms: tx.now_ms() }.into())
    }
}

fn put(tx: &mut Tx<'_>, set: &KeySet) {
    let (puts, deletes) = set.writes();
    for (key, value) in puts {
        tx.put_bytes(key, value, None);
    }
    for key in deletes {
        tx.delete(key);
    }
    // also the keys that stay as they are count: that there is one that signs, say
    for key in set.keys() {
        let row = keys::signing_key(&key.kid);
        if tx.get_bytes(&row).is_some() {
            tx.rely_on(&row);
        }
    }
    tx.bump_epoch();
}

async fn new_key(
    tx: &Tx<'_>,
    config: &PoolConfig,
    token_use: TokenUse,
    state: State,
) -> Result<SigningKeyRecord, Failure> {
    let made = tx.world().cpu.run_long(SigningKey::generate).await.map_err(errors::cpu)?;
    let (key, pkcs8) = made.map_err(|_| errors::internal("a signing key could not be made"))?;
    Ok(record(tx, config, token_use, state, &key, &pkcs8)?)
}

fn record(
    tx: &Tx<'_>,
    config: &PoolConfig,
    token_use: TokenUse,
    state: State,
    key: &SigningKey,
    pkcs8: &SecretBytes,
) -> Result<SigningKeyRecord, ApiError> {
    let row = keys::signing_key(key.kid());
    let place = Place { scope: config.id(), key: &row, field: super::PRIVATE_KEY };
    let sealed = sealed::seal(tx.world(), &config.keyring, place, pkcs8.expose())?;
    Ok(SigningKeyRecord {
        r#use: token_use.as_str().to_owned(),
        kid: key.kid().to_owned(),
        state: state.into(),
        sealed_private_key: Bytes::from(sealed),
        n: key.jwk().n.clone(),
        e: key.jwk().e.clone(),
        created_ms: tx.now_ms(),
        activated_ms: if state == State::Active { tx.now_ms() } else { 0 },
        ..Default::default()
    })
}
