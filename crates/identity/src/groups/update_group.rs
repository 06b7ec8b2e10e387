//! UpdateGroup.

use async_trait::async_trait;
use conclave_api::{ApiError, types};
use conclave_store::keys;

use super::{describe, lookup};
use crate::{
    call::Call,
    pool_access,
    tx::{Decision, Query, Transaction, Tx, transact},
    world::World,
};

/// Changes what the request names, and leaves the rest. One read and one commit. Tested beside
/// [`super::create_group`].
///
/// # Errors
/// Those of the API reference.
pub async fn update_group(
    world: &World,
    call: &Call,
    input: types::UpdateGroupRequest,
) -> Result<types::UpdateGroupResponse, ApiError> {
    transact(world, &UpdateGroup { call, input: &input }).await
}

struct UpdateGroup<'a> {
    call: &'a Call,
    input: &'a types::UpdateGroupRequest,
}

#[async_trait]
impl Transaction for UpdateGroup<'_> {
    type Output = types::UpdateGroupResponse;

    fn scope(&self) -> &str {
        self.input.user_pool_id.as_deref().unwrap_or_default()
    }

    async fn decide(&self, tx: &mut Tx<'_>) -> Decision<Self::Output> {
        let name = self.input.group_name.as_deref().unwrap_or_default();
        tx.load(lookup::query(Query::new(), name)).await?;
        let pool = pool_access::owned_pool(tx, self.call)?;
        let mut group = lookup::find(tx, name)?;
        if let Some(description) = &self.input.description {
            group.description = Some(description.clone());
        }
        if let Some(role_arn) = &self.input.role_arn {
            group.role_arn = Some(role_arn.clone());
        }
        if let Some(precedence) = self.input.precedence {
            group.precedence = Some(precedence);
        }
        group.modified_ms = tx.now_ms();
        tx.put(keys::group(&group.group_id), &group);
        tx.bump_epoch();
        Ok(types::UpdateGroupResponse { group: Some(describe(pool.id(), &group)) }.into())
    }
}
