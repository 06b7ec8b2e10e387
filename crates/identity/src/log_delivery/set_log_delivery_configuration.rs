//! SetLogDeliveryConfiguration.

use async_trait::async_trait;
use conclave_api::{ApiError, types};
use conclave_store::keys;

use super::{describe, settings};
use crate::{
    call::Call,
    pool_access::owned_pool,
    tx::{Decision, Query, Transaction, Tx, transact},
    world::World,
};

/// Sets what a pool logs, as a whole: an empty list ends all of it.
///
/// Source: API reference, `SetLogDeliveryConfiguration`.
///
/// # Errors
/// ResourceNotFoundException when the caller has no such pool; what [`settings::records`] refuses.
pub async fn set_log_delivery_configuration(
    world: &World,
    call: &Call,
    input: types::SetLogDeliveryConfigurationRequest,
) -> Result<types::SetLogDeliveryConfigurationResponse, ApiError> {
    transact(world, &Set { call, input: &input }).await
}

struct Set<'a> {
    call: &'a Call,
    input: &'a types::SetLogDeliveryConfigurationRequest,
}

#[async_trait]
impl Transaction for Set<'_> {
    type Output = types::SetLogDeliveryConfigurationResponse;

    fn scope(&self) -> &str {
        self.input.user_pool_id.as_deref().unwrap_or_default()
    }

    async fn decide(&self, tx: &mut Tx<'_>) -> Decision<Self::Output> {
        tx.load(Query::new()).await?;
        let pool = owned_pool(tx, self.call)?;
        let given = self.input.log_configurations.as_ref();
        let mut record = pool.record.clone();
        record.log_configurations = settings::records(given.map_or(&[], |given| &given.items))?;
        settings::check_tier(&record.tier, &record)?;
        tx.put(keys::ROOT.to_vec(), &record);
        tx.bump_epoch();
        let response = types::SetLogDeliveryConfigurationResponse {
            log_delivery_configuration: Some(describe(&record)),
        };
        Ok(response.into())
    }
}
