//! ForgetDevice: a device of the user who is signed in is one no longer.
//! <https://docs.aws.amazon.com/cognito-user-identity-pools/latest/APIReference/API_ForgetDevice.html>

use async_trait::async_trait;
use conclave_api::{ApiError, types};

use super::rows;
use crate::{
    auth::access_token::PresentedToken,
    call::Call,
    tx::{Decision, Query, Transaction, Tx, transact},
    users::token_user,
    world::World,
};

/// Answers ForgetDevice. One read and one commit. The refresh tokens of the device end with it; its access
/// tokens live out their time.
///
/// # Errors
/// As the API declares them.
pub async fn forget_device(
    world: &World,
    _call: &Call,
    input: types::ForgetDeviceRequest,
) -> Result<types::ForgetDeviceResponse, ApiError> {
    let token = PresentedToken::parse(input.access_token.as_deref().unwrap_or_default())?;
    let device_key = input.device_key.as_deref().unwrap_or_default();
    transact(world, &ForgetDevice { token, device_key }).await
}

struct ForgetDevice<'a> {
    token: PresentedToken<'a>,
    device_key: &'a str,
}

#[async_trait]
impl Transaction for ForgetDevice<'_> {
    type Output = types::ForgetDeviceResponse;

    fn scope(&self) -> &str {
        &self.token.pool_id
    }

    async fn decide(&self, tx: &mut Tx<'_>) -> Decision<Self::Output> {
        let row = rows::key(self.token.sub(), self.device_key);
        let (user, _) = token_user::load(tx, &self.token, Query::new().get(row.clone())).await?;
        rows::find(tx, &user.sub, self.device_key)?;
        tx.delete(row);
        Ok(types::ForgetDeviceResponse::default().into())
    }
}
