//! DescribeIdentityProvider.

use async_trait::async_trait;
use conclave_api::{ApiError, types};
use conclave_store::{keys, records::IdentityProviderRecord};

use super::{provider_not_found, provider_rows};
use crate::{
    call::Call,
    pool_access::owned_pool,
    tx::{Decision, Query, Transaction, Tx, transact},
    world::World,
};

/// Answers a provider with its details, client secrets included (as Cognito does), in one read.
///
/// # Errors
/// ResourceNotFoundException when the caller has no such pool, or the pool no such provider.
pub async fn describe_identity_provider(
    world: &World,
    call: &Call,
    input: types::DescribeIdentityProviderRequest,
) -> Result<types::DescribeIdentityProviderResponse, ApiError> {
    transact(world, &Describe { call, input: &input }).await
}

struct Describe<'a> {
    call: &'a Call,
    input: &'a types::DescribeIdentityProviderRequest,
}

#[async_trait]
impl Transaction for Describe<'_> {
    type Output = types::DescribeIdentityProviderResponse;

    fn scope(&self) -> &str {
        self.input.user_pool_id.as_deref().unwrap_or_default()
    }

    async fn decide(&self, tx: &mut Tx<'_>) -> Decision<Self::Output> {
        let name = self.input.provider_name.as_deref().unwrap_or_default();
        tx.load(provider_rows::query(Query::new(), name)).await?;
        let pool = owned_pool(tx, self.call)?;
        let provider = tx
            .get::<IdentityProviderRecord>(&keys::identity_provider(name))?
            .ok_or_else(|| provider_not_found(name))?;
        let details = provider_rows::open(tx, &pool, name)?;
        let provider = provider_rows::describe(pool.id(), &provider.record, details)?;
        Ok(types::DescribeIdentityProviderResponse { identity_provider: Some(provider) }.into())
    }
}
