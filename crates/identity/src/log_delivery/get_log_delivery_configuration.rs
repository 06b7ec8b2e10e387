//! GetLogDeliveryConfiguration.

use async_trait::async_trait;
use conclave_api::{ApiError, types};

use super::describe;
use crate::{
    call::Call,
    pool_access::owned_pool,
    tx::{Decision, Query, Transaction, Tx, transact},
    world::World,
};

/// Describes what a pool logs. One read.
///
/// # Errors
/// ResourceNotFoundException when the caller has no such pool.
pub async fn get_log_delivery_configuration(
    world: &World,
    call: &Call,
    input: types::GetLogDeliveryConfigurationRequest,
) -> Result<types::GetLogDeliveryConfigurationResponse, ApiError> {
    let pool_id = input.user_pool_id.unwrap_or_default();
    transact(world, &Get { call, pool_id: &pool_id }).await
}

struct Get<'a> {
    call: &'a Call,
    pool_id: &'a str,
}

#[async_trait]
impl Transaction for Get<'_> {
    type Output = types::GetLogDeliveryConfigurationResponse;

    fn scope(&self) -> &str {
        self.pool_id
    }

    async fn decide(&self, tx: &mut Tx<'_>) -> Decision<Self::Output> {
        tx.load(Query::new()).await?;
        let pool = owned_pool(tx, self.call)?;
        let configuration = Some(describe(&pool.record));
        let response = types::GetLogDeliveryConfigurationResponse {
            log_delivery_configuration: configuration,
        };
        Ok(response.into())
    }
}
