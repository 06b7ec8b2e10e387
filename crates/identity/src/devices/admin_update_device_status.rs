//! AdminUpdateDeviceStatus: an administrator says whether a device is remembered.
//! <https://docs.aws.amazon.com/cognito-user-identity-pools/latest/APIReference/API_AdminUpdateDeviceStatus.html>

use async_trait::async_trait;
use conclave_api::{ApiError, types};

use super::rows;
use crate::{
    call::Call,
    tx::{Decision, Transaction, Tx, transact},
    users::admin_user,
    world::World,
};

/// Answers AdminUpdateDeviceStatus. One read and one commit.
///
/// # Errors
/// As the API declares them.
pub async fn admin_update_device_status(
    world: &World,
    call: &Call,
    input: types::AdminUpdateDeviceStatusRequest,
) -> Result<types::AdminUpdateDeviceStatusResponse, ApiError> {
    let update = AdminUpdateDeviceStatus {
        call,
        remembered: rows::is_remembered(input.device_remembered_status.as_deref())?,
        pool_id: input.user_pool_id.unwrap_or_default(),
        username: input.username.unwrap_or_default(),
        device_key: input.device_key.unwrap_or_default(),
    };
    transact(world, &update).await
}

struct AdminUpdateDeviceStatus<'a> {
    call: &'a Call,
    pool_id: String,
    username: String,
    device_key: String,
    remembered: bool,
}

#[async_trait]
impl Transaction for AdminUpdateDeviceStatus<'_> {
    type Output = types::AdminUpdateDeviceStatusResponse;

    fn scope(&self) -> &str {
        &self.pool_id
    }

    async fn decide(&self, tx: &mut Tx<'_>) -> Decision<Self::Output> {
        let with = [rows::with(&self.device_key)];
        let user = admin_user::load_with(tx, self.call, &self.username, &with).await?;
        let device = rows::find(tx, &user.sub, &self.device_key)?.record;
        rows::set_remembered(tx, &user.sub, device, self.remembered);
        Ok(types::AdminUpdateDeviceStatusResponse::default().into())
    }
}
