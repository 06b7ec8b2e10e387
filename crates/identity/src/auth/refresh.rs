//! REFRESH_TOKEN_AUTH: new tokens for a session. Without rotation nothing is written.

use conclave_api::ApiError;
use conclave_crypto::refresh::RefreshToken;
use conclave_store::{
    keys,
    records::{SessionRecord, UserRecord},
};

use super::{
    access_token::session_key,
    step::{self, Step},
    tokens,
};
use crate::{
    config::ClientConfig,
    groups::membership,
    tx::{Failure, Query, Tx},
    users::{secret_hash, status},
};

/// Takes a refresh token apart.
///
/// # Errors
/// NotAuthorizedException when it is none, or is one of another pool.
pub fn parse(token: &str, pool_id: &str) -> Result<RefreshToken, ApiError> {
    RefreshToken::parse(token).filter(|token| token.pool_id == pool_id).ok_or_else(invalid)
}

/// Adds the rows that decide about a refresh token.
#[must_use]
pub fn query(query: Query, token: &RefreshToken) -> Query {
    query
        .get(keys::user(&token.sub))
        .get(session_key(&token.sub, &token.origin_jti))
        .get(membership::key(&token.sub))
}

/// New tokens for the session of `token`. [`query`] must have been loaded.
///
/// # Errors
/// NotAuthorizedException.
pub async fn refresh(
    tx: &mut Tx<'_>,
    client: &ClientConfig,
    token: &RefreshToken,
    secret_hash: Option<&str>,
) -> Result<Step, Failure> {
    let user = tx.get::<UserRecord>(&keys::user(&token.sub))?;
    let session = tx.get::<SessionRecord>(&session_key(&token.sub, &token.origin_jti))?;
    let Some(user) = user else {
        return Err(ApiError::not_authorized(
            "The user has been deleted for the associated refresh token",
        )
        .into());
    };
    let user = user.record;
    let session = session.ok_or_else(invalid)?.record;
    // whoever cannot show the random part learns nothing of the session
    if !token.matches(&session.refresh_hash) {
        return Err(invalid().into());
    }
    if session.client_id != client.record.client_id {
        return Err(ApiError::not_authorized("Refresh Token has different Client").into());
    }
    secret_hash::check(client, &user.username, secret_hash)?;
    step::may_sign_in(&user)?;
    status::check_acts(&user.status)?;
    if session.created_ms < user.sessions_valid_from_ms {
        return Err(ApiError::not_authorized("Refresh Token has been revoked").into());
    }
    if tx.now_ms() >= session.expires_ms {
        return Err(ApiError::not_authorized("Refresh Token has expired").into());
    }
    Ok(Step::Tokens(tokens::renew(tx, client, &user, &session).await?))
}

fn invalid() -> ApiError {
    ApiError::not_authorized("Invalid Refresh Token")
}
