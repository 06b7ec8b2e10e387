//! AdminRemoveUserFromGroup.

use async_trait::async_trait;
use conclave_api::{ApiError, types};

use super::{lookup, membership};
use crate::{
    call::Call,
    pool_access,
    tx::{Decision, Query, Transaction, Tx, transact},
    users::{admin_user, lookup as users},
    world::World,
};

/// Takes a user out of a group; one who is not in it stays out. One read and one commit. Tested beside
/// [`super::admin_add_user_to_group`].
///
/// # Errors
/// Those of the API reference.
pub async fn admin_remove_user_from_group(
    world: &World,
    call: &Call,
    input: types::AdminRemoveUserFromGroupRequest,
) -> Result<types::AdminRemoveUserFromGroupResponse, ApiError> {
    transact(world, &AdminRemoveUserFromGroup { call, input: &input }).await
}

struct AdminRemoveUserFromGroup<'a> {
    call: &'a Call,
    input: &'a types::AdminRemoveUserFromGroupRequest,
}

#[async_trait]
impl Transaction for AdminRemoveUserFromGroup<'_> {
    type Output = types::AdminRemoveUserFromGroupResponse;

    fn scope(&self) -> &str {
        self.input.user_pool_id.as_deref().unwrap_or_default()
    }

    async fn decide(&self, tx: &mut Tx<'_>) -> Decision<Self::Output> {
        let name = self.input.group_name.as_deref().unwrap_or_default();
        let username = self.input.username.as_deref().unwrap_or_default();
        let query = users::admin_query(Query::new(), username, &[membership::WITH]);
        tx.load(lookup::query(query, name)).await?;
        pool_access::owned_pool(tx, self.call)?;
        let group = lookup::find(tx, name)?;
        let user = admin_user::find(tx, self.call, username)?;
        membership::leave(tx, &user.sub, &group.group_id)?;
        Ok(types::AdminRemoveUserFromGroupResponse::default().into())
    }
}
