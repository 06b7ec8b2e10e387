//! DeleteTerms.

use async_trait::async_trait;
use conclave_api::{ApiError, types};
use conclave_store::{
    keys::{self, ClientPage},
    records::TermsRecord,
};

use super::terms_not_found;
use crate::{
    call::Call,
    pool_access::owned_pool,
    tx::{Decision, Query, Transaction, Tx, transact},
    world::World,
};

/// Deletes a terms document.
///
/// # Errors
/// ResourceNotFoundException when the caller has no such pool, or the pool no such document.
pub async fn delete_terms(
    world: &World,
    call: &Call,
    input: types::DeleteTermsRequest,
) -> Result<types::DeleteTermsResponse, ApiError> {
    transact(world, &Delete { call, input: &input }).await
}

struct Delete<'a> {
    call: &'a Call,
    input: &'a types::DeleteTermsRequest,
}

#[async_trait]
impl Transaction for Delete<'_> {
    type Output = types::DeleteTermsResponse;

    fn scope(&self) -> &str {
        self.input.user_pool_id.as_deref().unwrap_or_default()
    }

    async fn decide(&self, tx: &mut Tx<'_>) -> Decision<Self::Output> {
        let row = keys::terms(self.input.terms_id.as_deref().unwrap_or_default());
        tx.load(Query::new().get(row.clone())).await?;
        owned_pool(tx, self.call)?;
        let record = tx.get::<TermsRecord>(&row)?.ok_or_else(terms_not_found)?.record;
        tx.delete(keys::client_page(&record.client_id, ClientPage::Terms, &record.name));
        tx.delete(row);
        tx.add(keys::client_page_count(ClientPage::Terms), -1, None, None);
        tx.bump_epoch();
        Ok(types::DeleteTermsResponse::default().into())
    }
}
