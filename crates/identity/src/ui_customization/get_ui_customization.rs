//! GetUICustomization.

use async_trait::async_trait;
use conclave_api::{ApiError, types};
use conclave_store::{
    keys::{self, ClientPage},
    records::UiCustomizationRecord,
};

use super::{ALL, describe};
use crate::{
    call::Call,
    clients::client_not_found,
    pool_access::owned_pool,
    tx::{Decision, Query, Transaction, Tx, transact},
    world::World,
};

/// Answers the customization of an app client: that of all clients where it has none of its own, and an empty
/// description where neither is there, as Cognito does. One read.
///
/// # Errors
/// ResourceNotFoundException when the caller has no such pool, or the pool no such client.
pub async fn get_ui_customization(
    world: &World,
    call: &Call,
    input: types::GetUiCustomizationRequest,
) -> Result<types::GetUiCustomizationResponse, ApiError> {
    transact(world, &Get { call, input: &input }).await
}

struct Get<'a> {
    call: &'a Call,
    input: &'a types::GetUiCustomizationRequest,
}

#[async_trait]
impl Transaction for Get<'_> {
    type Output = types::GetUiCustomizationResponse;

    fn scope(&self) -> &str {
        self.input.user_pool_id.as_deref().unwrap_or_default()
    }

    async fn decide(&self, tx: &mut Tx<'_>) -> Decision<Self::Output> {
        let client_id = self.input.client_id.as_deref().unwrap_or(ALL);
        let client = keys::client(client_id);
        let row = |client_id| keys::client_page(client_id, ClientPage::UiCustomization, "");
        let (own, all) = (row(client_id), row(ALL));
        tx.load(Query::new().get(client.clone()).get(own.clone()).get(all.clone())).await?;
        let pool = owned_pool(tx, self.call)?;
        if client_id != ALL && tx.get_bytes(&client).is_none() {
            return Err(client_not_found().into());
        }
        let own = tx.get::<UiCustomizationRecord>(&own)?;
        let present = match own {
            Some(own) => Some(own),
            None => tx.get::<UiCustomizationRecord>(&all)?,
        };
        let described = present.map(|present| describe(tx.world(), pool.id(), present.record));
        let ui_customization = Some(described.unwrap_or_default());
        Ok(types::GetUiCustomizationResponse { ui_customization }.into())
    }
}
