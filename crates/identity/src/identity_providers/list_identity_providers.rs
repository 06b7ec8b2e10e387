//! ListIdentityProviders.

use async_trait::async_trait;
use conclave_api::{ApiError, types};
use conclave_store::{keys, records::IdentityProviderRecord};

use crate::{
    call::Call,
    pool_list::{self, Wanted},
    tx::{Decision, Transaction, Tx, transact},
    world::World,
};

/// How many a page has when the request does not say: as many as it may say.
const LIMIT_DEFAULT: u32 = 60;

/// Lists a pool's providers, by name.
///
/// # Errors
/// ResourceNotFoundException when the caller has no such pool; InvalidParameterException for a token of
/// another list.
pub async fn list_identity_providers(
    world: &World,
    call: &Call,
    input: types::ListIdentityProvidersRequest,
) -> Result<types::ListIdentityProvidersResponse, ApiError> {
    transact(world, &Page { call, input: &input }).await
}

struct Page<'a> {
    call: &'a Call,
    input: &'a types::ListIdentityProvidersRequest,
}

#[async_trait]
impl Transaction for Page<'_> {
    type Output = types::ListIdentityProvidersResponse;

    fn scope(&self) -> &str {
        self.input.user_pool_id.as_deref().unwrap_or_default()
    }

    async fn decide(&self, tx: &mut Tx<'_>) -> Decision<Self::Output> {
        let wanted = Wanted {
            operation: "ListIdentityProviders",
            prefix: keys::identity_providers(),
            next_token: self.input.next_token.as_deref(),
            max_results: self.input.max_results,
            limit_default: LIMIT_DEFAULT,
        };
        let page = pool_list::load::<IdentityProviderRecord>(tx, self.call, wanted).await?;
        let entry = |provider: IdentityProviderRecord| types::ProviderDescription {
            provider_name: Some(provider.name),
            provider_type: Some(provider.r#type),
            last_modified_date: Some(provider.modified_ms),
            creation_date: Some(provider.created_ms),
        };
        let providers = page.records.into_iter().map(entry).collect();
        Ok(types::ListIdentityProvidersResponse { providers, next_token: page.next_token }.into())
    }
}
