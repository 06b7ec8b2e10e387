//! DeleteResourceServer. Its tests stand with CreateResourceServer.

use async_trait::async_trait;
use conclave_api::{ApiError, types};
use conclave_store::{keys, records::ResourceServerRecord};

use super::resource_server_not_found;
use crate::{
    call::Call,
    pool_access::owned_pool,
    tx::{Decision, Query, Transaction, Tx, transact},
    world::World,
};

/// Deletes a resource server. Clients that name its scopes go on naming them, to no effect.
///
/// # Errors
/// ResourceNotFoundException when the caller has no such pool, or the pool no such server.
pub async fn delete_resource_server(
    world: &World,
    call: &Call,
    input: types::DeleteResourceServerRequest,
) -> Result<types::DeleteResourceServerResponse, ApiError> {
    transact(world, &Delete { call, input: &input }).await
}

struct Delete<'a> {
    call: &'a Call,
    input: &'a types::DeleteResourceServerRequest,
}

#[async_trait]
impl Transaction for Delete<'_> {
    type Output = types::DeleteResourceServerResponse;

    fn scope(&self) -> &str {
        self.input.user_pool_id.as_deref().unwrap_or_default()
    }

    async fn decide(&self, tx: &mut Tx<'_>) -> Decision<Self::Output> {
        let row = keys::resource_server(self.input.identifier.as_deref().unwrap_or_default());
        tx.load(Query::new().get(row.clone())).await?;
        owned_pool(tx, self.call)?;
        tx.get::<ResourceServerRecord>(&row)?.ok_or_else(resource_server_not_found)?;
        tx.delete(row);
        tx.add(keys::resource_server_count(), -1, None, None);
        tx.bump_epoch();
        Ok(types::DeleteResourceServerResponse::default().into())
    }
}
