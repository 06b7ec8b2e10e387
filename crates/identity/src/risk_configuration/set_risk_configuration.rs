//! SetRiskConfiguration.

use async_trait::async_trait;
use conclave_api::{ApiError, types};
use conclave_store::keys;

use super::settings;
use crate::{
    call::Call,
    clients,
    pool_access::owned_pool,
    tx::{Decision, Query, Transaction, Tx, transact},
    world::World,
};

/// Sets the configuration of a pool, or of one of its app clients, as a whole: what is left out is not configured any more, and a
/// request with ids alone takes all of it back.
///
/// Source: API reference, `SetRiskConfiguration`.
///
/// # Errors
/// ResourceNotFoundException when the caller has no such pool, or the pool no such client; what [`settings::record`] refuses. Of the
/// exceptions of the model, UserPoolAddOnNotEnabledException does not occur: the service takes a configuration for a pool without
/// add-ons, as Terraform's tests against it show. CodeDeliveryFailureException and InvalidEmailRoleAccessPolicyException are about
/// SES, which nothing is sent by: a sender that may not send is InvalidParameterException, as for the pool's other messages.
/// OperationNotEnabledException is about replicas in other regions.
pub async fn set_risk_configuration(
    world: &World,
    call: &Call,
    input: types::SetRiskConfigurationRequest,
) -> Result<types::SetRiskConfigurationResponse, ApiError> {
    transact(world, &Set { call, input: &input }).await
}

struct Set<'a> {
    call: &'a Call,
    input: &'a types::SetRiskConfigurationRequest,
}

#[async_trait]
impl Transaction for Set<'_> {
    type Output = types::SetRiskConfigurationResponse;

    fn scope(&self) -> &str {
        self.input.user_pool_id.as_deref().unwrap_or_default()
    }

    async fn decide(&self, tx: &mut Tx<'_>) -> Decision<Self::Output> {
        let client_id = self.input.client_id.as_deref();
        let query = match client_id {
            Some(client_id) => Query::new().client(client_id),
            None => Query::new(),
        };
        tx.load(query).await?;
        let pool = owned_pool(tx, self.call)?;
        if client_id.is_some() && tx.client().is_none() {
            return Err(clients::client_not_found().into());
        }
        let record = settings::record(self.input, &tx.world().settings, tx.now_ms())?;
        let row = keys::risk_configuration(client_id.unwrap_or_default());
        match &record {
            Some(record) => tx.put(row, record),
            None => tx.delete(row),
        }
        tx.bump_epoch();
        let record = record.unwrap_or_default();
        let described = settings::describe(pool.id(), client_id, &record);
        Ok(types::SetRiskConfigurationResponse { risk_configuration: Some(described) }.into())
    }
}
