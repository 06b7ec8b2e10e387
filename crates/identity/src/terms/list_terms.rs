//! ListTerms.

use async_trait::async_trait;
use conclave_api::{ApiError, types};
use conclave_store::{keys, records::TermsRecord};

use crate::{
    call::Call,
    pool_list::{self, Wanted},
    tx::{Decision, Transaction, Tx, transact},
    world::World,
};

/// How many a page has when the request does not say: as many as it may say.
const LIMIT_DEFAULT: u32 = 60;

/// Lists a pool's terms documents, of all clients, by id.
///
/// # Errors
/// ResourceNotFoundException when the caller has no such pool; InvalidParameterException for a token of
/// another list.
pub async fn list_terms(
    world: &World,
    call: &Call,
    input: types::ListTermsRequest,
) -> Result<types::ListTermsResponse, ApiError> {
    transact(world, &Page { call, input: &input }).await
}

struct Page<'a> {
    call: &'a Call,
    input: &'a types::ListTermsRequest,
}

#[async_trait]
impl Transaction for Page<'_> {
    type Output = types::ListTermsResponse;

    fn scope(&self) -> &str {
        self.input.user_pool_id.as_deref().unwrap_or_default()
    }

    async fn decide(&self, tx: &mut Tx<'_>) -> Decision<Self::Output> {
        let wanted = Wanted {
            operation: "ListTerms",
            prefix: keys::all_terms(),
            next_token: self.input.next_token.as_deref(),
            max_results: self.input.max_results,
            limit_default: LIMIT_DEFAULT,
        };
        let page = pool_list::load::<TermsRecord>(tx, self.call, wanted).await?;
        let entry = |record: TermsRecord| types::TermsDescriptionType {
            terms_id: Some(record.terms_id),
            terms_name: Some(record.name),
            enforcement: Some(record.enforcement),
            creation_date: Some(record.created_ms),
            last_modified_date: Some(record.modified_ms),
        };
        let terms = page.records.into_iter().map(entry).collect();
        Ok(types::ListTermsResponse { terms, next_token: page.next_token }.into())
    }
}
