//! DeleteManagedLoginBranding.

use async_trait::async_trait;
use conclave_api::{ApiError, types};
use conclave_store::{
    keys::{self, ClientPage},
    records::ManagedLoginBrandingRecord,
};

use super::{assets, branding_not_found};
use crate::{
    call::Call,
    pool_access::owned_pool,
    tx::{Decision, Query, Transaction, Tx, transact},
    world::World,
};

/// Deletes a style with its assets.
///
/// # Errors
/// ResourceNotFoundException when the caller has no such pool, or the pool no such style.
pub async fn delete_managed_login_branding(
    world: &World,
    call: &Call,
    input: types::DeleteManagedLoginBrandingRequest,
) -> Result<types::DeleteManagedLoginBrandingResponse, ApiError> {
    transact(world, &Delete { call, input: &input }).await
}

struct Delete<'a> {
    call: &'a Call,
    input: &'a types::DeleteManagedLoginBrandingRequest,
}

#[async_trait]
impl Transaction for Delete<'_> {
    type Output = types::DeleteManagedLoginBrandingResponse;

    fn scope(&self) -> &str {
        self.input.user_pool_id.as_deref().unwrap_or_default()
    }

    async fn decide(&self, tx: &mut Tx<'_>) -> Decision<Self::Output> {
        let id = self.input.managed_login_branding_id.as_deref().unwrap_or_default();
        let row = keys::branding(id);
        tx.load(Query::new().get(row.clone())).await?;
        owned_pool(tx, self.call)?;
        let present = tx.get::<ManagedLoginBrandingRecord>(&row)?;
        let record = present.ok_or_else(branding_not_found)?.record;
        assets::delete(tx, &record.client_id, &record.assets)?;
        tx.delete(keys::client_page(&record.client_id, ClientPage::Branding, ""));
        tx.delete(row);
        tx.add(keys::client_page_count(ClientPage::Branding), -1, None, None);
        tx.bump_epoch();
        Ok(types::DeleteManagedLoginBrandingResponse::default().into())
    }
}
