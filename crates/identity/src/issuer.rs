//! What anybody may know of a pool: its issuer and the keys that its tokens are checked with.

use std::sync::Arc;

use async_trait::async_trait;
use conclave_api::{ApiError, ExceptionName};
use conclave_crypto::{ids, token::Jwks};

use tokio::time::Instant;

use crate::{
    config::PoolConfig,
    tx::{Decision, Query, Transaction, Tx, transact},
    world::World,
};

/// The pool's JWKS; `None` when there is no such pool.
///
/// # Errors
/// ServiceUnavailable when the store does not answer, and this gateway has not known the pool before.
pub async fn jwks(world: &World, pool_id: &str) -> Result<Option<Jwks>, ApiError> {
    Ok(config(world, pool_id).await?.map(|config| config.jwks()))
}

/// `iss` of the pool's tokens; `None` when there is no such pool.
///
/// # Errors
/// ServiceUnavailable when the store does not answer.
pub async fn issuer(world: &World, pool_id: &str) -> Result<Option<String>, ApiError> {
    Ok(config(world, pool_id).await?.map(|config| config.issuer(world)))
}

/// Whether `text` can be a pool's id. Other scopes are no pools, and no business of anybody.
pub fn is_pool_id(text: &str) -> bool {
    text.len() <= ids::POOL_ID_LEN_MAX && ids::pool_name(text).is_some()
}

/// The configuration of a pool as it is now, and when it was asked for: for who signs with what it has known for too long.
///
/// # Errors
/// ResourceNotFoundException when there is no such pool; ServiceUnavailable when the store does not answer.
pub(crate) async fn fresh(
    world: &World,
    pool_id: &str,
) -> Result<(Arc<PoolConfig>, Instant), ApiError> {
    let asked_at = Instant::now();
    Ok((transact(world, &ReadConfig { pool_id }).await?, asked_at))
}

/// Without a quorum, what was last known is served: tokens are checked with it as long as they live.
async fn config(world: &World, pool_id: &str) -> Result<Option<Arc<PoolConfig>>, ApiError> {
    if !is_pool_id(pool_id) {
        return Ok(None);
    }
    match transact(world, &ReadConfig { pool_id }).await {
        Ok(config) => Ok(Some(config)),
        Err(error) if error.code == ExceptionName::ResourceNotFoundException => Ok(None),
        Err(error) if error.code == ExceptionName::ServiceUnavailable => {
            world.configs.get(pool_id).map(Some).ok_or(error)
        }
        Err(error) => Err(error),
    }
}

struct ReadConfig<'a> {
    pool_id: &'a str,
}

#[async_trait]
impl Transaction for ReadConfig<'_> {
    type Output = Arc<PoolConfig>;

    fn scope(&self) -> &str {
        self.pool_id
    }

    async fn decide(&self, tx: &mut Tx<'_>) -> Decision<Self::Output> {
        tx.load(Query::new()).await?;
        Ok(tx.pool()?.into())
    }
}
