//! RevokeToken: a session ends, with every token of it.
//! <https://docs.aws.amazon.com/cognito-user-identity-pools/latest/APIReference/API_RevokeToken.html>
//!
//! There are no sign-in sessions of browsers yet, so `RevokeAssociatedSessions` has nothing to end.

use async_trait::async_trait;
use conclave_api::{ApiError, ExceptionName, types};
use conclave_crypto::{refresh::RefreshToken, token::UnverifiedToken};
use conclave_store::records::SessionRecord;

use super::{
    access_token::session_key,
    refresh::{self, Standing},
    tokens,
};
use crate::{
    call::Call,
    client_pool::{self, client_pool},
    errors,
    tx::{Decision, Query, Transaction, Tx, transact},
    users::client_secret,
    world::World,
};

/// Answers RevokeToken. One read and one commit. A token that nobody has is revoked already: that is no
/// error (RFC 7009, section 2.2), and says nothing of who exists.
///
/// # Errors
/// As the API declares them.
pub async fn revoke_token(
    world: &World,
    _call: &Call,
    input: types::RevokeTokenRequest,
) -> Result<types::RevokeTokenResponse, ApiError> {
    let client_id = input.client_id.clone().unwrap_or_default();
    let revoked = match client_pool(world, &client_id).await {
        Ok(pool_id) => transact(world, &RevokeToken { pool_id, client_id, input: &input }).await,
        Err(error) => Err(error),
    };
    revoked.map_err(unauthorized)
}

/// The operation declares no ResourceNotFoundException: a client that does not exist has not proved
/// itself.
fn unauthorized(mut error: ApiError) -> ApiError {
    if error.code == ExceptionName::ResourceNotFoundException {
        error.code = ExceptionName::UnauthorizedException;
    }
    error
}

struct RevokeToken<'a> {
    pool_id: String,
    client_id: String,
    input: &'a types::RevokeTokenRequest,
}

#[async_trait]
impl Transaction for RevokeToken<'_> {
    type Output = types::RevokeTokenResponse;

    fn scope(&self) -> &str {
        &self.pool_id
    }

    fn scope_is_gone(&self) -> ApiError {
        errors::client_not_found(&self.client_id)
    }

    async fn decide(&self, tx: &mut Tx<'_>) -> Decision<Self::Output> {
        let text = self.input.token.as_deref().unwrap_or_default();
        let token = refresh::parse(text, &self.pool_id).ok();
        let query = match &token {
            Some(token) => Query::new().get(session_key(&token.sub, &token.origin_jti)),
            None => Query::new(),
        };
        let client = client_pool::load(tx, query, &self.client_id).await?.client;
        let secret = self.input.client_secret.as_deref();
        client_secret::check(&client, secret, ExceptionName::UnauthorizedException)?;
        if !client.record.enable_token_revocation {
            return Err(ExceptionName::UnsupportedOperationException
                .because("Token revocation is not enabled for the client.")
                .into());
        }
        match token {
            Some(token) => self.revoke(tx, &token)?,
            None if UnverifiedToken::parse(text).is_ok() => {
                return Err(ExceptionName::UnsupportedTokenTypeException
                    .because("The token type is not supported. Only refresh tokens can be revoked.")
                    .into());
            }
            None => {}
        }
        Ok(types::RevokeTokenResponse::default().into())
    }
}

impl RevokeToken<'_> {
    /// Whoever has ever had a refresh token of the session ends it, also by one that was replaced.
    fn revoke(&self, tx: &mut Tx<'_>, token: &RefreshToken) -> Result<(), ApiError> {
        let key = session_key(&token.sub, &token.origin_jti);
        let Some(session) = tx.get::<SessionRecord>(&key)?.map(|stored| stored.record) else {
            return Ok(());
        };
        if refresh::standing(token, &session, tx.now_ms()) == Standing::Unknown {
            return Ok(());
        }
        if session.client_id != self.client_id {
            return Err(
                ExceptionName::UnauthorizedException.because("Refresh Token has different Client")
            );
        }
        if session.created_ms != tokens::REVOKED_MS {
            tokens::revoke_session(tx, &token.sub, &session);
        }
        Ok(())
    }
}
