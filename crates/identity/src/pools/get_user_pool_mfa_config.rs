//! GetUserPoolMfaConfig.

use async_trait::async_trait;
use conclave_api::{ApiError, types};

use crate::{
    call::Call,
    pool_access::owned_pool,
    tx::{Decision, Query, Transaction, Tx, transact},
    world::World,
};

/// Second factors are refused by name until sign-in asks for them, so that no pool has any.
pub(super) const OFF: &str = "OFF";

/// Answers a pool's second factors: none.
///
/// # Errors
/// ResourceNotFoundException when the caller has no such pool.
pub async fn get_user_pool_mfa_config(
    world: &World,
    call: &Call,
    input: types::GetUserPoolMfaConfigRequest,
) -> Result<types::GetUserPoolMfaConfigResponse, ApiError> {
    let pool_id = input.user_pool_id.unwrap_or_default();
    transact(world, &Find { call, pool_id: &pool_id }).await?;
    Ok(types::GetUserPoolMfaConfigResponse {
        mfa_configuration: Some(OFF.to_owned()),
        ..Default::default()
    })
}

/// Checks that the caller has the pool.
pub(super) struct Find<'a> {
    pub call: &'a Call,
    pub pool_id: &'a str,
}

#[async_trait]
impl Transaction for Find<'_> {
    type Output = ();

    fn scope(&self) -> &str {
        self.pool_id
    }

    async fn decide(&self, tx: &mut Tx<'_>) -> Decision<()> {
        tx.load(Query::new()).await?;
        owned_pool(tx, self.call)?;
        Ok(().into())
    }
}
