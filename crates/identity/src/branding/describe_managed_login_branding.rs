//! DescribeManagedLoginBranding.

use async_trait::async_trait;
use conclave_api::{ApiError, types};
use conclave_store::{keys, records::ManagedLoginBrandingRecord};

use super::{branding_not_found, describe};
use crate::{
    call::Call,
    pool_access::owned_pool,
    tx::{Decision, Query, Transaction, Tx, transact},
    world::World,
};

/// Answers a style with its assets.
///
/// # Errors
/// ResourceNotFoundException when the caller has no such pool, or the pool no such style.
pub async fn describe_managed_login_branding(
    world: &World,
    call: &Call,
    input: types::DescribeManagedLoginBrandingRequest,
) -> Result<types::DescribeManagedLoginBrandingResponse, ApiError> {
    transact(world, &Describe { call, input: &input }).await
}

struct Describe<'a> {
    call: &'a Call,
    input: &'a types::DescribeManagedLoginBrandingRequest,
}

#[async_trait]
impl Transaction for Describe<'_> {
    type Output = types::DescribeManagedLoginBrandingResponse;

    fn scope(&self) -> &str {
        self.input.user_pool_id.as_deref().unwrap_or_default()
    }

    async fn decide(&self, tx: &mut Tx<'_>) -> Decision<Self::Output> {
        let id = self.input.managed_login_branding_id.as_deref().unwrap_or_default();
        let row = keys::branding(id);
        tx.load(Query::new().get(row.clone())).await?;
        let pool = owned_pool(tx, self.call)?;
        let present = tx.get::<ManagedLoginBrandingRecord>(&row)?;
        let record = present.ok_or_else(branding_not_found)?.record;
        let merged = self.input.return_merged_resources == Some(true);
        let branding = describe::load(tx, pool.id(), record, merged).await?;
        let managed_login_branding = Some(branding);
        Ok(types::DescribeManagedLoginBrandingResponse { managed_login_branding }.into())
    }
}
