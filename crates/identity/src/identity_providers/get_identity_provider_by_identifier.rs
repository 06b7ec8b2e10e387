//! GetIdentityProviderByIdentifier.

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

/// Answers the provider that has an identifier.
///
/// # Errors
/// ResourceNotFoundException when the caller has no such pool, or no provider of it the identifier.
pub async fn get_identity_provider_by_identifier(
    world: &World,
    call: &Call,
    input: types::GetIdentityProviderByIdentifierRequest,
) -> Result<types::GetIdentityProviderByIdentifierResponse, ApiError> {
    transact(world, &Get { call, input: &input }).await
}

struct Get<'a> {
    call: &'a Call,
    input: &'a types::GetIdentityProviderByIdentifierRequest,
}

#[async_trait]
impl Transaction for Get<'_> {
    type Output = types::GetIdentityProviderByIdentifierResponse;

    fn scope(&self) -> &str {
        self.input.user_pool_id.as_deref().unwrap_or_default()
    }

    async fn decide(&self, tx: &mut Tx<'_>) -> Decision<Self::Output> {
        let identifier = self.input.idp_identifier.as_deref().unwrap_or_default();
        let row = keys::provider_identifier(identifier);
        tx.load(Query::new().get(row.clone())).await?;
        owned_pool(tx, self.call)?;
        let name = tx.get_text(&row).ok_or_else(|| provider_not_found(identifier))?;
        tx.load(provider_rows::query(Query::new(), &name)).await?;
        let pool = owned_pool(tx, self.call)?;
        // it may have been deleted between the two reads
        let provider = tx
            .get::<IdentityProviderRecord>(&keys::identity_provider(&name))?
            .ok_or_else(|| provider_not_found(identifier))?;
        let details = provider_rows::open(tx, &pool, &name)?;
        let provider = provider_rows::describe(pool.id(), &provider.record, details)?;
        Ok(types::GetIdentityProviderByIdentifierResponse { identity_provider: Some(provider) }
            .into())
    }
}
