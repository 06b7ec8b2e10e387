//! GetGroup.

use async_trait::async_trait;
use conclave_api::{ApiError, types};

use super::{describe, lookup};
use crate::{
    call::Call,
    pool_access,
    tx::{Decision, Query, Transaction, Tx, transact},
    world::World,
};

/// Shows a group. One read. Tested beside [`super::create_group`].
///
/// # Errors
/// Those of the API reference.
pub async fn get_group(
    world: &World,
    call: &Call,
    input: types::GetGroupRequest,
) -> Result<types::GetGroupResponse, ApiError> {
    transact(world, &GetGroup { call, input: &input }).await
}

struct GetGroup<'a> {
    call: &'a Call,
    input: &'a types::GetGroupRequest,
}

#[async_trait]
impl Transaction for GetGroup<'_> {
    type Output = types::GetGroupResponse;

    fn scope(&self) -> &str {
        self.input.user_pool_id.as_deref().unwrap_or_default()
    }

    async fn decide(&self, tx: &mut Tx<'_>) -> Decision<Self::Output> {
        let name = self.input.group_name.as_deref().unwrap_or_default();
        tx.load(lookup::query(Query::new(), name)).await?;
        let pool = pool_access::owned_pool(tx, self.call)?;
        let group = lookup::find(tx, name)?;
        Ok(types::GetGroupResponse { group: Some(describe(pool.id(), &group)) }.into())
    }
}
