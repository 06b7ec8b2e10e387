//! CreateIdentityProvider.

use async_trait::async_trait;
use conclave_api::{ApiError, ExceptionName, types};
use conclave_crypto::ids;
use conclave_store::{keys, records::IdentityProviderRecord};
use prost::Message;

use super::{details, provider_rows, settings};
use crate::{
    call::Call,
    pool_access::owned_pool,
    tx::{Decision, Query, Transaction, Tx, transact},
    world::World,
};

/// Makes an identity provider. Metadata and discovery documents that a URL names are not fetched here.
///
/// # Errors
/// ResourceNotFoundException when the caller has no such pool; DuplicateProviderException;
/// InvalidParameterException for details, a mapping or a name that are not good;
/// LimitExceededException when the pool has too many.
pub async fn create_identity_provider(
    world: &World,
    call: &Call,
    input: types::CreateIdentityProviderRequest,
) -> Result<types::CreateIdentityProviderResponse, ApiError> {
    transact(world, &Create { call, input: &input }).await
}

struct Create<'a> {
    call: &'a Call,
    input: &'a types::CreateIdentityProviderRequest,
}

#[async_trait]
impl Transaction for Create<'_> {
    type Output = types::CreateIdentityProviderResponse;

    fn scope(&self) -> &str {
        self.input.user_pool_id.as_deref().unwrap_or_default()
    }

    async fn decide(&self, tx: &mut Tx<'_>) -> Decision<Self::Output> {
        let name = self.input.provider_name.as_deref().unwrap_or_default();
        let provider_type = self.input.provider_type.as_deref().unwrap_or_default();
        let row = keys::identity_provider(name);
        tx.load(Query::new().get(row.clone())).await?;
        owned_pool(tx, self.call)?;
        let identifiers = settings::identifiers(&self.input.idp_identifiers);
        if tx.get::<IdentityProviderRecord>(&row)?.is_some() {
            return Err(provider_rows::duplicate(name).into());
        }
        provider_rows::put_identifiers(tx, name, &[], &identifiers).await?;
        let pool = owned_pool(tx, self.call)?;
        settings::check_name(name, provider_type)?;
        let given = self.input.provider_details.clone().unwrap_or_default().items;
        let details = details::complete(provider_type, &given, None)?;
        let mapping = &self.input.attribute_mapping;
        let mapping = settings::mapping(&pool.record, provider_type, mapping)?;
        let record = IdentityProviderRecord {
            name: name.to_owned(),
            r#type: provider_type.to_owned(),
            attribute_mapping: mapping.into_iter().collect(),
            identifiers,
            created_ms: tx.now_ms(),
            modified_ms: tx.now_ms(),
            provider_id: ids::uuid(&*tx.world().entropy),
        };
        let max = tx.world().settings.limits.identity_providers_per_pool;
        provider_rows::put_details(tx, &pool, name, &details)?;
        tx.put_new(row, record.encode_to_vec().into(), None);
        tx.add(keys::identity_provider_count(), 1, Some((max, too_many())), None);
        tx.bump_epoch();
        let provider = provider_rows::describe(pool.id(), &record, details)?;
        Ok(types::CreateIdentityProviderResponse { identity_provider: Some(provider) }.into())
    }
}

fn too_many() -> ApiError {
    ApiError::new(
        ExceptionName::LimitExceededException,
        "The maximum number of identity providers for this user pool has been reached.",
    )
}
