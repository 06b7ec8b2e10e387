//! DeleteIdentityProvider.

use async_trait::async_trait;
use conclave_api::{ApiError, types};
use conclave_store::{keys, records::IdentityProviderRecord};

use super::provider_not_found;
use crate::{
    call::Call,
    pool_access::owned_pool,
    tx::{Decision, Query, Transaction, Tx, transact},
    users::links,
    world::World,
};

/// Deletes a provider with its details, its identifiers, and what leads from its identities to users.
/// Clients that name it go on naming it, to no effect.
///
/// # Errors
/// ResourceNotFoundException when the caller has no such pool, or the pool no such provider.
pub async fn delete_identity_provider(
    world: &World,
    call: &Call,
    input: types::DeleteIdentityProviderRequest,
) -> Result<types::DeleteIdentityProviderResponse, ApiError> {
    transact(world, &Delete { call, input: &input }).await
}

struct Delete<'a> {
    call: &'a Call,
    input: &'a types::DeleteIdentityProviderRequest,
}

#[async_trait]
impl Transaction for Delete<'_> {
    type Output = types::DeleteIdentityProviderResponse;

    fn scope(&self) -> &str {
        self.input.user_pool_id.as_deref().unwrap_or_default()
    }

    async fn decide(&self, tx: &mut Tx<'_>) -> Decision<Self::Output> {
        let name = self.input.provider_name.as_deref().unwrap_or_default();
        let row = keys::identity_provider(name);
        tx.load(Query::new().get(row.clone())).await?;
        owned_pool(tx, self.call)?;
        let present = tx.get::<IdentityProviderRecord>(&row)?;
        let present = present.ok_or_else(|| provider_not_found(name))?.record;
        for identifier in &present.identifiers {
            tx.delete(keys::provider_identifier(identifier));
        }
        tx.delete(keys::provider_details(name));
        tx.delete(row);
        tx.delete_children(keys::provider_links(&links::id(&present)));
        tx.add(keys::identity_provider_count(), -1, None, None);
        tx.bump_epoch();
        Ok(types::DeleteIdentityProviderResponse::default().into())
    }
}
