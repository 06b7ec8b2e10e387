//! DeleteGroup: a group goes, and with it who was in it.

use async_trait::async_trait;
use conclave_api::{ApiError, types};
use conclave_store::keys;

use super::lookup;
use crate::{
    call::Call,
    pool_access,
    tx::{Decision, Query, Transaction, Tx, transact},
    world::World,
};

/// Deletes a group. One read and one commit, however many are in it. Tested beside
/// [`super::create_group`] and [`super::admin_add_user_to_group`].
///
/// # Errors
/// Those of the API reference.
pub async fn delete_group(
    world: &World,
    call: &Call,
    input: types::DeleteGroupRequest,
) -> Result<types::DeleteGroupResponse, ApiError> {
    transact(world, &DeleteGroup { call, input: &input }).await
}

struct DeleteGroup<'a> {
    call: &'a Call,
    input: &'a types::DeleteGroupRequest,
}

#[async_trait]
impl Transaction for DeleteGroup<'_> {
    type Output = types::DeleteGroupResponse;

    fn scope(&self) -> &str {
        self.input.user_pool_id.as_deref().unwrap_or_default()
    }

    async fn decide(&self, tx: &mut Tx<'_>) -> Decision<Self::Output> {
        let name = self.input.group_name.as_deref().unwrap_or_default();
        tx.load(lookup::query(Query::new(), name)).await?;
        pool_access::owned_pool(tx, self.call)?;
        let group = lookup::find(tx, name)?;
        tx.delete(keys::group(&group.group_id));
        tx.delete(lookup::name_key(name));
        tx.delete_children(keys::group_members(&group.group_id));
        tx.add(keys::group_count(), -1, None, None);
        tx.bump_epoch();
        Ok(types::DeleteGroupResponse::default().into())
    }
}
