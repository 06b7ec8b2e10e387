//! GlobalSignOut: a user who is signed in ends all sessions, this one too.
//! <https://docs.aws.amazon.com/cognito-user-identity-pools/latest/APIReference/API_GlobalSignOut.html>

use async_trait::async_trait;
use conclave_api::{ApiError, ExceptionName, types};

use super::{sign_out, token_user};
use crate::{
    auth::access_token::PresentedToken,
    call::Call,
    errors,
    tx::{Decision, Query, Transaction, Tx, transact},
    world::World,
};

/// Answers GlobalSignOut. One read and one commit.
///
/// # Errors
/// As the API declares them.
pub async fn global_sign_out(
    world: &World,
    _call: &Call,
    input: types::GlobalSignOutRequest,
) -> Result<types::GlobalSignOutResponse, ApiError> {
    let token = PresentedToken::parse(input.access_token.as_deref().unwrap_or_default())?;
    let result = transact(world, &GlobalSignOut { token }).await;
    result
        .map_err(|error| errors::as_not_authorized(error, &[ExceptionName::UserNotFoundException]))
}

struct GlobalSignOut<'a> {
    token: PresentedToken<'a>,
}

#[async_trait]
impl Transaction for GlobalSignOut<'_> {
    type Output = types::GlobalSignOutResponse;

    fn scope(&self) -> &str {
        &self.token.pool_id
    }

    async fn decide(&self, tx: &mut Tx<'_>) -> Decision<Self::Output> {
        let (user, _) = token_user::load(tx, &self.token, Query::new()).await?;
        sign_out::everywhere(tx, &user)?;
        Ok(types::GlobalSignOutResponse::default().into())
    }
}
