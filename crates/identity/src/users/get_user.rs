//! GetUser: what a user's own access token shows.
//! <https://docs.aws.amazon.com/cognito-user-identity-pools/latest/APIReference/API_GetUser.html>

use async_trait::async_trait;
use conclave_api::{ApiError, types};

use crate::{
    auth::access_token::PresentedToken,
    call::Call,
    errors,
    tx::{Decision, Transaction, Tx, transact},
    users::{attributes, mfa_preference, status},
    world::World,
};

/// Answers GetUser.
///
/// # Errors
/// As the API declares them.
pub async fn get_user(
    world: &World,
    _call: &Call,
    input: types::GetUserRequest,
) -> Result<types::GetUserResponse, ApiError> {
    let token = PresentedToken::parse(input.access_token.as_deref().unwrap_or_default())?;
    transact(world, &GetUser { token }).await
}

struct GetUser<'a> {
    token: PresentedToken<'a>,
}

#[async_trait]
impl Transaction for GetUser<'_> {
    type Output = types::GetUserResponse;

    fn scope(&self) -> &str {
        &self.token.pool_id
    }

    async fn decide(&self, tx: &mut Tx<'_>) -> Decision<Self::Output> {
        self.token.load(tx).await?;
        let user = self.token.check(tx)?.record;
        status::check_acts(&user.status)?;
        let client = tx.client().ok_or_else(|| errors::internal("the client is not loaded"))?;
        let response = types::GetUserResponse {
            user_attributes: attributes::described_to(&client, &user),
            mfa_options: mfa_preference::options(&user),
            preferred_mfa_setting: mfa_preference::preferred(&user),
            user_mfa_setting_list: mfa_preference::listed(&user),
            username: Some(user.username),
        };
        Ok(response.into())
    }
}
