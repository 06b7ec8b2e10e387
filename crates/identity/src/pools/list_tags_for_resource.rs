//! ListTagsForResource. Its tests stand with TagResource.

use async_trait::async_trait;
use conclave_api::{ApiError, types};

use super::tags;
use crate::{
    call::Call,
    pool_access::owned_pool,
    tx::{Decision, Query, Transaction, Tx, transact},
    world::World,
};

/// Answers a pool's tags.
///
/// # Errors
/// ResourceNotFoundException when the caller has no such pool; InvalidParameterException for an ARN that
/// names no pool.
pub async fn list_tags_for_resource(
    world: &World,
    call: &Call,
    input: types::ListTagsForResourceRequest,
) -> Result<types::ListTagsForResourceResponse, ApiError> {
    let arn = input.resource_arn.unwrap_or_default();
    let pool_id = tags::pool_of_arn(call, &arn)?;
    transact(world, &List { call, pool_id }).await
}

struct List<'a> {
    call: &'a Call,
    pool_id: &'a str,
}

#[async_trait]
impl Transaction for List<'_> {
    type Output = types::ListTagsForResourceResponse;

    fn scope(&self) -> &str {
        self.pool_id
    }

    async fn decide(&self, tx: &mut Tx<'_>) -> Decision<Self::Output> {
        tx.load(Query::new()).await?;
        let pool = owned_pool(tx, self.call)?;
        let tags = pool.record.tags.clone().into_iter().collect();
        Ok(types::ListTagsForResourceResponse { tags }.into())
    }
}
