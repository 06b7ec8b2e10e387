//! UpdateResourceServer. Its tests stand with CreateResourceServer.

use async_trait::async_trait;
use conclave_api::{ApiError, types};
use conclave_store::{keys, records::ResourceServerRecord};

use super::{describe, resource_server_not_found, settings};
use crate::{
    call::Call,
    pool_access::owned_pool,
    tx::{Decision, Query, Transaction, Tx, transact},
    world::World,
};

/// Sets a resource server's name and scopes anew: scopes that are left out are gone.
///
/// # Errors
/// ResourceNotFoundException when the caller has no such pool, or the pool no such server;
/// InvalidParameterException for scopes that repeat each other.
pub async fn update_resource_server(
    world: &World,
    call: &Call,
    input: types::UpdateResourceServerRequest,
) -> Result<types::UpdateResourceServerResponse, ApiError> {
    transact(world, &Update { call, input: &input }).await
}

struct Update<'a> {
    call: &'a Call,
    input: &'a types::UpdateResourceServerRequest,
}

#[async_trait]
impl Transaction for Update<'_> {
    type Output = types::UpdateResourceServerResponse;

    fn scope(&self) -> &str {
        self.input.user_pool_id.as_deref().unwrap_or_default()
    }

    async fn decide(&self, tx: &mut Tx<'_>) -> Decision<Self::Output> {
        let identifier = self.input.identifier.as_deref().unwrap_or_default();
        let row = keys::resource_server(identifier);
        tx.load(Query::new().get(row.clone())).await?;
        let pool = owned_pool(tx, self.call)?;
        tx.get::<ResourceServerRecord>(&row)?.ok_or_else(resource_server_not_found)?;
        let record = settings::record(identifier, self.input.name.as_deref(), &self.input.scopes)?;
        tx.put(row, &record);
        tx.bump_epoch();
        let server = describe(pool.id(), &record);
        Ok(types::UpdateResourceServerResponse { resource_server: Some(server) }.into())
    }
}
