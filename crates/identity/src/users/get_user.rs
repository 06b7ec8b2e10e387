//! GetUser: what a user's own access token shows.
//! <https://docs.aws.amazon.com/cognito-user-identity-pools/latest/APIReference/API_GetUser.html>

use async_trait::async_trait;
use conclave_api::{ApiError, ExceptionName, types};
use conclave_store::records::UserRecord;

use crate::{
    auth::access_token::PresentedToken,
    call::Call,
    config::ClientConfig,
    tx::{Decision, Failure, Transaction, Tx, transact},
    users::attributes,
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
        if user.status == "UNCONFIRMED" {
            return Err(Failure::from(
                ExceptionName::UserNotConfirmedException.because("User is not confirmed."),
            ));
        }
        let client = tx.client();
        Ok(describe(&user, client.as_deref()).into())
    }
}

/// The attributes that the client may read, `sub` last, as Cognito lists them.
fn describe(user: &UserRecord, client: Option<&ClientConfig>) -> types::GetUserResponse {
    let readable = |name: &str| client.is_some_and(|client| attributes::is_readable(client, name));
    let attribute = |name: &str, value: &str| types::AttributeType {
        name: Some(name.to_owned()),
        value: Some(value.to_owned()),
    };
    let mut attributes: Vec<_> = user
        .attributes
        .iter()
        .filter(|held| readable(&held.name))
        .map(|held| attribute(&held.name, &held.value))
        .collect();
    attributes.push(attribute("sub", &user.sub));
    types::GetUserResponse {
        username: Some(user.username.clone()),
        user_attributes: attributes,
        ..Default::default()
    }
}
