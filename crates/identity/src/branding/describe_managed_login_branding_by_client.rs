//! DescribeManagedLoginBrandingByClient.

use async_trait::async_trait;
use conclave_api::{ApiError, types};
use conclave_store::{
    keys::{self, ClientPage},
    records::ManagedLoginBrandingRecord,
};

use super::describe;
use crate::{
    call::Call,
    clients::client_not_found,
    errors,
    pool_access::owned_pool,
    tx::{Decision, Query, Transaction, Tx, transact},
    world::World,
};

/// Answers the style of an app client, with its assets.
///
/// # Errors
/// ResourceNotFoundException when the caller has no such pool, the pool no such client, or the client no style.
pub async fn describe_managed_login_branding_by_client(
    world: &World,
    call: &Call,
    input: types::DescribeManagedLoginBrandingByClientRequest,
) -> Result<types::DescribeManagedLoginBrandingByClientResponse, ApiError> {
    transact(world, &Describe { call, input: &input }).await
}

struct Describe<'a> {
    call: &'a Call,
    input: &'a types::DescribeManagedLoginBrandingByClientRequest,
}

#[async_trait]
impl Transaction for Describe<'_> {
    type Output = types::DescribeManagedLoginBrandingByClientResponse;

    fn scope(&self) -> &str {
        self.input.user_pool_id.as_deref().unwrap_or_default()
    }

    async fn decide(&self, tx: &mut Tx<'_>) -> Decision<Self::Output> {
        let client_id = self.input.client_id.as_deref().unwrap_or_default();
        let client = keys::client(client_id);
        let index = keys::client_page(client_id, ClientPage::Branding, "");
        let query = Query::new().get(client.clone());
        tx.load(query.follow(index.clone(), &[keys::branding_hop()])).await?;
        let pool = owned_pool(tx, self.call)?;
        if tx.get_bytes(&client).is_none() {
            return Err(client_not_found().into());
        }
        let Some(id) = tx.get_text(&index) else { return Err(none_of(client_id).into()) };
        let present = tx.get::<ManagedLoginBrandingRecord>(&keys::branding(&id))?;
        let gone = || errors::internal("a client's style has no record");
        let record = present.ok_or_else(gone)?.record;
        let merged = self.input.return_merged_resources == Some(true);
        let branding = describe::load(tx, pool.id(), record, merged).await?;
        let managed_login_branding = Some(branding);
        Ok(types::DescribeManagedLoginBrandingByClientResponse { managed_login_branding }.into())
    }
}

/// The service's text.
fn none_of(client_id: &str) -> ApiError {
    ApiError::resource_not_found(format!(
        "ManagedLoginBranding for client {client_id} does not exist."
    ))
}
