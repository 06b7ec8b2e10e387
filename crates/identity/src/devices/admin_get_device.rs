//! AdminGetDevice: one device of a user.
//! <https://docs.aws.amazon.com/cognito-user-identity-pools/latest/APIReference/API_AdminGetDevice.html>

use async_trait::async_trait;
use conclave_api::{ApiError, ExceptionName, types};

use super::{
    describe::{Shown, describe},
    rows,
};
use crate::{
    call::Call,
    tx::{Decision, Transaction, Tx, transact},
    users::admin_user,
    world::World,
};

/// Answers AdminGetDevice. One read.
///
/// # Errors
/// As the API declares them.
pub async fn admin_get_device(
    world: &World,
    call: &Call,
    input: types::AdminGetDeviceRequest,
) -> Result<types::AdminGetDeviceResponse, ApiError> {
    let get = AdminGetDevice {
        call,
        pool_id: input.user_pool_id.unwrap_or_default(),
        username: input.username.unwrap_or_default(),
        device_key: input.device_key.unwrap_or_default(),
    };
    transact(world, &get).await.map_err(undeclared)
}

/// The API declares no UserNotFoundException for reading an administrator's way: what is not found there is
/// a resource.
pub(super) fn undeclared(mut error: ApiError) -> ApiError {
    if error.code == ExceptionName::UserNotFoundException {
        error.code = ExceptionName::ResourceNotFoundException;
    }
    error
}

struct AdminGetDevice<'a> {
    call: &'a Call,
    pool_id: String,
    username: String,
    device_key: String,
}

#[async_trait]
impl Transaction for AdminGetDevice<'_> {
    type Output = types::AdminGetDeviceResponse;

    fn scope(&self) -> &str {
        &self.pool_id
    }

    async fn decide(&self, tx: &mut Tx<'_>) -> Decision<Self::Output> {
        let with = [rows::with(&self.device_key)];
        let user = admin_user::load_with(tx, self.call, &self.username, &with).await?;
        let device = rows::find(tx, &user.sub, &self.device_key)?.record;
        let pool = tx.pool()?;
        let device = describe(&device, Shown::ToAdmin(&pool.record, &user.username));
        Ok(types::AdminGetDeviceResponse { device: Some(device) }.into())
    }
}
