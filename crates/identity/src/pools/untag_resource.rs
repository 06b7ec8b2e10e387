//! UntagResource. Its tests stand with TagResource.

use conclave_api::{ApiError, types};
use conclave_store::records::PoolRecord;

use super::{change::change_pool, tags};
use crate::{call::Call, world::World};

/// Takes tags away from a pool. Keys that it does not have are no error.
///
/// # Errors
/// ResourceNotFoundException when the caller has no such pool; InvalidParameterException for an ARN that
/// names no pool.
pub async fn untag_resource(
    world: &World,
    call: &Call,
    input: types::UntagResourceRequest,
) -> Result<types::UntagResourceResponse, ApiError> {
    let arn = input.resource_arn.unwrap_or_default();
    let pool_id = tags::pool_of_arn(call, &arn)?;
    let keys = input.tag_keys.unwrap_or_default().items;
    change_pool(world, call, pool_id, |present| {
        let mut record: PoolRecord = present.clone();
        record.tags.retain(|key, _| !keys.contains(key));
        Ok(record)
    })
    .await?;
    Ok(types::UntagResourceResponse::default())
}
