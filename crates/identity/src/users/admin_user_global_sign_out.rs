//! AdminUserGlobalSignOut: an administrator ends all sessions of a user.
//! <https://docs.aws.amazon.com/cognito-user-identity-pools/latest/APIReference/API_AdminUserGlobalSignOut.html>

use async_trait::async_trait;
use conclave_api::{ApiError, types};

use super::{admin_user, sign_out};
use crate::{
    call::Call,
    tx::{Decision, Transaction, Tx, transact},
    world::World,
};

/// Answers AdminUserGlobalSignOut, for users in every state. One read and one commit.
///
/// # Errors
/// As the API declares them.
pub async fn admin_user_global_sign_out(
    world: &World,
    call: &Call,
    input: types::AdminUserGlobalSignOutRequest,
) -> Result<types::AdminUserGlobalSignOutResponse, ApiError> {
    let sign_out = AdminUserGlobalSignOut {
        call,
        pool_id: input.user_pool_id.unwrap_or_default(),
        username: input.username.unwrap_or_default(),
    };
    transact(world, &sign_out).await
}

struct AdminUserGlobalSignOut<'a> {
    call: &'a Call,
    pool_id: String,
    username: String,
}

#[async_trait]
impl Transaction for AdminUserGlobalSignOut<'_> {
    type Output = types::AdminUserGlobalSignOutResponse;

    fn scope(&self) -> &str {
        &self.pool_id
    }

    async fn decide(&self, tx: &mut Tx<'_>) -> Decision<Self::Output> {
        let user = admin_user::load(tx, self.call, &self.username).await?;
        sign_out::everywhere(tx, &user)?;
        Ok(types::AdminUserGlobalSignOutResponse::default().into())
    }
}
