//! DescribeRiskConfiguration.

use async_trait::async_trait;
use conclave_api::{ApiError, types};
use conclave_store::{keys, records::RiskConfigurationRecord};

use super::settings;
use crate::{
    call::Call,
    clients,
    pool_access::owned_pool,
    tx::{Decision, Query, Transaction, Tx, transact},
    world::World,
};

/// Describes the configuration of a pool, or of one of its app clients. Where none is set the answer holds the ids alone; that a
/// client without one follows its pool is not repeated (judgement).
///
/// # Errors
/// ResourceNotFoundException when the caller has no such pool, or the pool no such client.
pub async fn describe_risk_configuration(
    world: &World,
    call: &Call,
    input: types::DescribeRiskConfigurationRequest,
) -> Result<types::DescribeRiskConfigurationResponse, ApiError> {
    transact(world, &Describe { call, input: &input }).await
}

struct Describe<'a> {
    call: &'a Call,
    input: &'a types::DescribeRiskConfigurationRequest,
}

#[async_trait]
impl Transaction for Describe<'_> {
    type Output = types::DescribeRiskConfigurationResponse;

    fn scope(&self) -> &str {
        self.input.user_pool_id.as_deref().unwrap_or_default()
    }

    async fn decide(&self, tx: &mut Tx<'_>) -> Decision<Self::Output> {
        let client_id = self.input.client_id.as_deref();
        let row = keys::risk_configuration(client_id.unwrap_or_default());
        let mut query = Query::new().get(row.clone());
        if let Some(client_id) = client_id {
            query = query.client(client_id);
        }
        tx.load(query).await?;
        let pool = owned_pool(tx, self.call)?;
        if client_id.is_some() && tx.client().is_none() {
            return Err(clients::client_not_found().into());
        }
        let record = tx.get::<RiskConfigurationRecord>(&row)?;
        let record = record.map(|stored| stored.record).unwrap_or_default();
        let described = settings::describe(pool.id(), client_id, &record);
        Ok(types::DescribeRiskConfigurationResponse { risk_configuration: Some(described) }.into())
    }
}
