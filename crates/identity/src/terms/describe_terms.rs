//! DescribeTerms.

use async_trait::async_trait;
use conclave_api::{ApiError, types};
use conclave_store::{keys, records::TermsRecord};

use super::{describe, terms_not_found};
use crate::{
    call::Call,
    pool_access::owned_pool,
    tx::{Decision, Query, Transaction, Tx, transact},
    world::World,
};

/// Answers a terms document, in one read.
///
/// # Errors
/// ResourceNotFoundException when the caller has no such pool, or the pool no such document.
pub async fn describe_terms(
    world: &World,
    call: &Call,
    input: types::DescribeTermsRequest,
) -> Result<types::DescribeTermsResponse, ApiError> {
    transact(world, &Describe { call, input: &input }).await
}

struct Describe<'a> {
    call: &'a Call,
    input: &'a types::DescribeTermsRequest,
}

#[async_trait]
impl Transaction for Describe<'_> {
    type Output = types::DescribeTermsResponse;

    fn scope(&self) -> &str {
        self.input.user_pool_id.as_deref().unwrap_or_default()
    }

    async fn decide(&self, tx: &mut Tx<'_>) -> Decision<Self::Output> {
        let row = keys::terms(self.input.terms_id.as_deref().unwrap_or_default());
        tx.load(Query::new().get(row.clone())).await?;
        let pool = owned_pool(tx, self.call)?;
        let record = tx.get::<TermsRecord>(&row)?.ok_or_else(terms_not_found)?.record;
        let terms = Some(describe(pool.id(), record));
        Ok(types::DescribeTermsResponse { terms }.into())
    }
}
