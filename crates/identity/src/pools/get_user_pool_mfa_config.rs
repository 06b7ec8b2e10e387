//! GetUserPoolMfaConfig.

use async_trait::async_trait;
use conclave_api::{ApiError, types};

use super::mfa;
use crate::{
    call::Call,
    pool_access::owned_pool,
    tx::{Decision, Query, Transaction, Tx, transact},
    world::World,
};

/// Answers which second factors a pool asks for.
///
/// # Errors
/// ResourceNotFoundException when the caller has no such pool.
pub async fn get_user_pool_mfa_config(
    world: &World,
    call: &Call,
    input: types::GetUserPoolMfaConfigRequest,
) -> Result<types::GetUserPoolMfaConfigResponse, ApiError> {
    let pool_id = input.user_pool_id.unwrap_or_default();
    transact(world, &Get { call, pool_id: &pool_id }).await
}

struct Get<'a> {
    call: &'a Call,
    pool_id: &'a str,
}

#[async_trait]
impl Transaction for Get<'_> {
    type Output = types::GetUserPoolMfaConfigResponse;

    fn scope(&self) -> &str {
        self.pool_id
    }

    async fn decide(&self, tx: &mut Tx<'_>) -> Decision<Self::Output> {
        tx.load(Query::new()).await?;
        let pool = owned_pool(tx, self.call)?;
        let described = mfa::described(&pool.record);
        let response = types::GetUserPoolMfaConfigResponse {
            sms_mfa_configuration: described.sms_mfa_configuration,
            software_token_mfa_configuration: described.software_token_mfa_configuration,
            email_mfa_configuration: described.email_mfa_configuration,
            mfa_configuration: described.mfa_configuration,
            web_authn_configuration: described.web_authn_configuration,
        };
        Ok(response.into())
    }
}
