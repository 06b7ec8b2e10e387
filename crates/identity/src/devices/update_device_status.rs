//! UpdateDeviceStatus: the user who is signed in says whether a device is remembered.
//! <https://docs.aws.amazon.com/cognito-user-identity-pools/latest/APIReference/API_UpdateDeviceStatus.html>

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

/// Answers UpdateDeviceStatus. One read and one commit.
///
/// # Errors
/// As the API declares them.
pub async fn update_device_status(
    world: &World,
    _call: &Call,
    input: types::UpdateDeviceStatusRequest,
) -> Result<types::UpdateDeviceStatusResponse, ApiError> {
    let token = PresentedToken::parse(input.access_token.as_deref().unwrap_or_default())?;
    let remembered = rows::is_remembered(input.device_remembered_status.as_deref())?;
    let device_key = input.device_key.as_deref().unwrap_or_default();
    transact(world, &UpdateDeviceStatus { token, device_key, remembered }).await
}

struct UpdateDeviceStatus<'a> {
    token: PresentedToken<'a>,
    device_key: &'a str,
    remembered: bool,
}

#[async_trait]
impl Transaction for UpdateDeviceStatus<'_> {
    type Output = types::UpdateDeviceStatusResponse;

    fn scope(&self) -> &str {
        &self.token.pool_id
    }

    async fn decide(&self, tx: &mut Tx<'_>) -> Decision<Self::Output> {
        let query = Query::new().get(rows::key(self.token.sub(), self.device_key));
        let (user, _) = token_user::load(tx, &self.token, query).await?;
        let device = rows::find(tx, &user.sub, self.device_key)?.record;
        rows::set_remembered(tx, &user.sub, device, self.remembered);
        Ok(types::UpdateDeviceStatusResponse::default().into())
    }
}
