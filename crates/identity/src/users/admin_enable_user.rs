//! AdminEnableUser: a user who was disabled can sign in again.

use async_trait::async_trait;
use conclave_api::{ApiError, types};

use super::{admin_user, index};
use crate::{
    call::Call,
    tx::{Decision, Transaction, Tx, transact},
    world::World,
};

/// Enables a user. One read and one commit; a user who is enabled already stays as it is. Tested beside
/// [`super::admin_disable_user`].
///
/// # Errors
/// Those of the API reference.
pub async fn admin_enable_user(
    world: &World,
    call: &Call,
    input: types::AdminEnableUserRequest,
) -> Result<types::AdminEnableUserResponse, ApiError> {
    let enable = AdminEnableUser {
        call,
        pool_id: input.user_pool_id.unwrap_or_default(),
        username: input.username.unwrap_or_default(),
    };
    transact(world, &enable).await
}

struct AdminEnableUser<'a> {
    call: &'a Call,
    pool_id: String,
    username: String,
}

#[async_trait]
impl Transaction for AdminEnableUser<'_> {
    type Output = types::AdminEnableUserResponse;

    fn scope(&self) -> &str {
        &self.pool_id
    }

    async fn decide(&self, tx: &mut Tx<'_>) -> Decision<Self::Output> {
        let user = admin_user::load(tx, self.call, &self.username).await?;
        if !user.enabled {
            let mut enabled = user.clone();
            enabled.enabled = true;
            enabled.modified_ms = tx.now_ms();
            index::write_user(tx, Some(&user), &enabled)?;
        }
        Ok(types::AdminEnableUserResponse::default().into())
    }
}
