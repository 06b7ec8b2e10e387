//! GetTokensFromRefreshToken: the refresh that can rotate.
//! <https://docs.aws.amazon.com/cognito-user-identity-pools/latest/APIReference/API_GetTokensFromRefreshToken.html>

use async_trait::async_trait;
use conclave_api::{ApiError, ExceptionName, types};

use super::refresh;
use crate::{
    call::Call,
    client_pool::{self, client_pool},
    errors,
    triggers::Circumstances,
    tx::{Decision, Query, Reply, Transaction, Tx, transact},
    users::client_secret,
    world::World,
};

/// Answers GetTokensFromRefreshToken. One read; one commit as well where the refresh token rotates.
///
/// # Errors
/// As the API declares them.
pub async fn get_tokens_from_refresh_token(
    world: &World,
    _call: &Call,
    input: types::GetTokensFromRefreshTokenRequest,
) -> Result<types::GetTokensFromRefreshTokenResponse, ApiError> {
    let client_id = input.client_id.clone().unwrap_or_default();
    let pool_id = client_pool(world, &client_id).await?;
    let result = transact(world, &GetTokens { pool_id, client_id, input: &input }).await;
    result.map_err(|error| {
        errors::as_not_authorized(
            error,
            &[
                ExceptionName::PasswordResetRequiredException,
                ExceptionName::UserNotConfirmedException,
            ],
        )
    })
}

struct GetTokens<'a> {
    pool_id: String,
    client_id: String,
    input: &'a types::GetTokensFromRefreshTokenRequest,
}

#[async_trait]
impl Transaction for GetTokens<'_> {
    type Output = types::GetTokensFromRefreshTokenResponse;

    fn scope(&self) -> &str {
        &self.pool_id
    }

    fn circumstances(&self) -> Circumstances<'_> {
        Circumstances { client_metadata: Some(&self.input.client_metadata), ..Default::default() }
    }

    fn scope_is_gone(&self) -> ApiError {
        errors::client_not_found(&self.client_id)
    }

    async fn decide(&self, tx: &mut Tx<'_>) -> Decision<Self::Output> {
        let text = self.input.refresh_token.as_deref().unwrap_or_default();
        let token = refresh::parse(text, &self.pool_id);
        let device_key = self.input.device_key.as_deref();
        let query = match &token {
            Ok(token) => refresh::query(Query::new(), token, device_key),
            Err(_) => Query::new(),
        };
        let client = client_pool::load(tx, query, &self.client_id).await?.client;
        let secret = self.input.client_secret.as_deref();
        client_secret::check(&client, secret, ExceptionName::NotAuthorizedException)?;
        let tokens = refresh::get_tokens(tx, &client, &token?, device_key).await?;
        Ok(Reply::AfterCommit(tokens.finish(|result| types::GetTokensFromRefreshTokenResponse {
            authentication_result: Some(result),
        })))
    }
}
