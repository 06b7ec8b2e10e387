//! UpdateTerms.

use async_trait::async_trait;
use bytes::Bytes;
use conclave_api::{ApiError, types};
use conclave_store::{
    keys::{self, ClientPage},
    records::TermsRecord,
};

use super::{describe, exists, settings, terms_not_found};
use crate::{
    call::Call,
    pool_access::owned_pool,
    tx::{Decision, Query, Transaction, Tx, transact},
    world::World,
};

/// Changes a terms document: links that are given take the place of those that are there, and what is left out stays.
///
/// # Errors
/// ResourceNotFoundException when the caller has no such pool, or the pool no such document;
/// InvalidParameterException for links that [`settings`] refuses; TermsExistsException when the client has another
/// document of the new name.
pub async fn update_terms(
    world: &World,
    call: &Call,
    input: types::UpdateTermsRequest,
) -> Result<types::UpdateTermsResponse, ApiError> {
    transact(world, &Update { call, input: &input }).await
}

struct Update<'a> {
    call: &'a Call,
    input: &'a types::UpdateTermsRequest,
}

#[async_trait]
impl Transaction for Update<'_> {
    type Output = types::UpdateTermsResponse;

    fn scope(&self) -> &str {
        self.input.user_pool_id.as_deref().unwrap_or_default()
    }

    async fn decide(&self, tx: &mut Tx<'_>) -> Decision<Self::Output> {
        let row = keys::terms(self.input.terms_id.as_deref().unwrap_or_default());
        tx.load(Query::new().get(row.clone())).await?;
        let pool = owned_pool(tx, self.call)?;
        let mut record = tx.get::<TermsRecord>(&row)?.ok_or_else(terms_not_found)?.record;
        if let Some(links) = &self.input.links {
            settings::check_links(&links.items)?;
            record.links = links.items.clone().into_iter().collect();
        }
        if let Some(source) = &self.input.terms_source {
            record.source.clone_from(source);
        }
        if let Some(enforcement) = &self.input.enforcement {
            record.enforcement.clone_from(enforcement);
        }
        if let Some(name) = self.input.terms_name.as_ref().filter(|name| **name != record.name) {
            let page = |name: &str| keys::client_page(&record.client_id, ClientPage::Terms, name);
            let (old, new) = (page(&record.name), page(name));
            tx.load(Query::new().get(new.clone())).await?;
            if tx.get_bytes(&new).is_some() {
                return Err(exists(name, &record.client_id).into());
            }
            tx.delete(old);
            tx.put_new(new, Bytes::copy_from_slice(record.terms_id.as_bytes()), None);
            record.name.clone_from(name);
        }
        record.modified_ms = tx.now_ms();
        tx.put(row, &record);
        tx.bump_epoch();
        let terms = Some(describe(pool.id(), record));
        Ok(types::UpdateTermsResponse { terms }.into())
    }
}
