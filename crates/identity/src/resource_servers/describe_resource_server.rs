//! DescribeResourceServer. Its tests stand with CreateResourceServer.

use async_trait::async_trait;
use conclave_api::{ApiError, types};
use conclave_store::{keys, records::ResourceServerRecord};

use super::{describe, resource_server_not_found};
use crate::{
    call::Call,
    pool_access::owned_pool,
    tx::{Decision, Query, Transaction, Tx, transact},
    world::World,
};

/// Answers a resource server, in one read.
///
/// # Errors
/// ResourceNotFoundException when the caller has no such pool, or the pool no such server.
pub async fn describe_resource_server(
    world: &World,
    call: &Call,
    input: types::DescribeResourceServerRequest,
) -> Result<types::DescribeResourceServerResponse, ApiError> {
    transact(world, &Describe { call, input: &input }).await
}

struct Describe<'a> {
    call: &'a Call,
    input: &'a types::DescribeResourceServerRequest,
}

#[async_trait]
impl Transaction for Describe<'_> {
    type Output = types::DescribeResourceServerResponse;

    fn scope(&self) -> &str {
        self.input.user_pool_id.as_deref().unwrap_or_default()
    }

    async fn decide(&self, tx: &mut Tx<'_>) -> Decision<Self::Output> {
        let row = keys::resource_server(self.input.identifier.as_deref().unwrap_or_default());
        tx.load(Query::new().get(row.clone())).await?;
        let pool = owned_pool(tx, self.call)?;
        let server = tx.get::<ResourceServerRecord>(&row)?.ok_or_else(resource_server_not_found)?;
        let server = describe(pool.id(), &server.record);
        Ok(types::DescribeResourceServerResponse { resource_server: Some(server) }.into())
    }
}
