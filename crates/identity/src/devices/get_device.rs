//! GetDevice: one device of the user who is signed in.
//! <https://docs.aws.amazon.com/cognito-user-identity-pools/latest/APIReference/API_GetDevice.html>

use async_trait::async_trait;
use conclave_api::{ApiError, types};

use super::{
    describe::{Shown, describe},
    rows,
};
use crate::{
    auth::access_token::PresentedToken,
    call::Call,
    tx::{Decision, Query, Transaction, Tx, transact},
    users::token_user,
    world::World,
};

/// Answers GetDevice. One read.
///
/// # Errors
/// As the API declares them.
pub async fn get_device(
    world: &World,
    _call: &Call,
    input: types::GetDeviceRequest,
) -> Result<types::GetDeviceResponse, ApiError> {
    let token = PresentedToken::parse(input.access_token.as_deref().unwrap_or_default())?;
    let device_key = input.device_key.as_deref().unwrap_or_default();
    transact(world, &GetDevice { token, device_key }).await
}

struct GetDevice<'a> {
    token: PresentedToken<'a>,
    device_key: &'a str,
}

#[async_trait]
impl Transaction for GetDevice<'_> {
    type Output = types::GetDeviceResponse;

    fn scope(&self) -> &str {
        &self.token.pool_id
    }

    async fn decide(&self, tx: &mut Tx<'_>) -> Decision<Self::Output> {
        let query = Query::new().get(rows::key(self.token.sub(), self.device_key));
        let (user, _) = token_user::load(tx, &self.token, query).await?;
        let device = rows::find(tx, &user.sub, self.device_key)?.record;
        Ok(types::GetDeviceResponse { device: Some(describe(&device, Shown::ToUser)) }.into())
    }
}
