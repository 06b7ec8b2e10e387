//! UpdateIdentityProvider.

use async_trait::async_trait;
use conclave_api::{ApiError, types};
use conclave_store::{keys, records::IdentityProviderRecord};

use super::{details, provider_not_found, provider_rows, settings};
use crate::{
    call::Call,
    pool_access::owned_pool,
    tx::{Decision, Query, Transaction, Tx, transact},
    world::World,
};

/// Changes a provider: details, mapping and identifiers that are given take the place of those that are
/// there, and what is left out stays.
///
/// # Errors
/// ResourceNotFoundException when the caller has no such pool, or the pool no such provider;
/// InvalidParameterException for details or a mapping that are not good.
pub async fn update_identity_provider(
    world: &World,
    call: &Call,
    input: types::UpdateIdentityProviderRequest,
) -> Result<types::UpdateIdentityProviderResponse, ApiError> {
    transact(world, &Update { call, input: &input }).await
}

struct Update<'a> {
    call: &'a Call,
    input: &'a types::UpdateIdentityProviderRequest,
}

#[async_trait]
impl Transaction for Update<'_> {
    type Output = types::UpdateIdentityProviderResponse;

    fn scope(&self) -> &str {
        self.input.user_pool_id.as_deref().unwrap_or_default()
    }

    async fn decide(&self, tx: &mut Tx<'_>) -> Decision<Self::Output> {
        let name = self.input.provider_name.as_deref().unwrap_or_default();
        let row = keys::identity_provider(name);
        tx.load(provider_rows::query(Query::new(), name)).await?;
        owned_pool(tx, self.call)?;
        let present =
            tx.get::<IdentityProviderRecord>(&row)?.ok_or_else(|| provider_not_found(name))?.record;
        let identifiers = match &self.input.idp_identifiers {
            Some(given) => settings::identifiers(&given.items),
            None => present.identifiers.clone(),
        };
        provider_rows::put_identifiers(tx, name, &present.identifiers, &identifiers).await?;
        let pool = owned_pool(tx, self.call)?;
        let mut details = provider_rows::open(tx, &pool, name)?;
        if let Some(given) = &self.input.provider_details {
            details = details::complete(&present.r#type, &given.items, Some(&details))?;
            provider_rows::put_details(tx, &pool, name, &details)?;
        }
        let attribute_mapping = match &self.input.attribute_mapping {
            Some(given) => {
                let mapping = settings::mapping(&pool.record, &present.r#type, &given.items)?;
                mapping.into_iter().collect()
            }
            None => present.attribute_mapping.clone(),
        };
        let record = IdentityProviderRecord {
            attribute_mapping,
            identifiers,
            modified_ms: tx.now_ms(),
            ..present
        };
        tx.put(row, &record);
        tx.bump_epoch();
        let provider = provider_rows::describe(pool.id(), &record, details)?;
        Ok(types::UpdateIdentityProviderResponse { identity_provider: Some(provider) }.into())
    }
}
