//! AdminForgetDevice: a device of a user is one no longer.
//! <https://docs.aws.amazon.com/cognito-user-identity-pools/latest/APIReference/API_AdminForgetDevice.html>

use async_trait::async_trait;
use conclave_api::{ApiError, types};

use super::rows;
use crate::{
    call::Call,
    tx::{Decision, Transaction, Tx, transact},
    users::admin_user,
    world::World,
};

/// Answers AdminForgetDevice. One read and one commit.
///
/// # Errors
/// As the API declares them.
pub async fn admin_forget_device(
    world: &World,
    call: &Call,
    input: types::AdminForgetDeviceRequest,
) -> Result<types::AdminForgetDeviceResponse, ApiError> {
    let forget = AdminForgetDevice {
        call,
        pool_id: input.user_pool_id.unwrap_or_default(),
        username: input.username.unwrap_or_default(),
        device_key: input.device_key.unwrap_or_default(),
    };
    transact(world, &forget).await
}

struct AdminForgetDevice<'a> {
    call: &'a Call,
    pool_id: String,
    username: String,
    device_key: String,
}

#[async_trait]
impl Transaction for AdminForgetDevice<'_> {
    type Output = types::AdminForgetDeviceResponse;

    fn scope(&self) -> &str {
        &self.pool_id
    }

    async fn decide(&self, tx: &mut Tx<'_>) -> Decision<Self::Output> {
        let with = [rows::with(&self.device_key)];
        let user = admin_user::load_with(tx, self.call, &self.username, &with).await?;
        rows::find(tx, &user.sub, &self.device_key)?;
        tx.delete(rows::key(&user.sub, &self.device_key));
        Ok(types::AdminForgetDeviceResponse::default().into())
    }
}
