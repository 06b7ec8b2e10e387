//! New tokens for a session: by REFRESH_TOKEN_AUTH, which writes nothing, and by
//! GetTokensFromRefreshToken, which rotates the refresh token where the client says so.
//! What a refresh token is worth to a session is [`standing`].

use bytes::Bytes;
use conclave_api::{ApiError, ExceptionName};
use conclave_crypto::{
    entropy,
    refresh::{RefreshToken, SALT_LEN},
};
use conclave_store::{
    keys,
    records::{ReplacedToken, SessionRecord, UserRecord},
};

use super::{
    access_token::session_key,
    gate,
    step::Step,
    tokens::{self, UnsignedTokens},
};
use crate::{
    config::ClientConfig,
    devices::rows,
    groups::membership,
    tx::{Failure, Query, Tx},
    users::secret_hash,
};

/// Replaced tokens of a session that can be presented again: what a client refreshes more often within
/// the grace period counts as used up.
const REPLACED_MAX: usize = 16;

/// Takes a refresh token apart.
///
/// # Errors
/// NotAuthorizedException when it is none, or is one of another pool.
pub fn parse(token: &str, pool_id: &str) -> Result<RefreshToken, ApiError> {
    RefreshToken::parse(token).filter(|token| token.pool_id == pool_id).ok_or_else(invalid)
}

/// Adds the rows that decide about a refresh token, presented by the device that the request names.
#[must_use]
pub fn query(query: Query, token: &RefreshToken, device_key: Option<&str>) -> Query {
    let query = query
        .get(keys::user(&token.sub))
        .get(session_key(&token.sub, &token.origin_jti))
        .get(membership::key(&token.sub));
    match device_key {
        Some(device_key) => query.get(rows::key(&token.sub, device_key)),
        None => query,
    }
}

/// What a refresh token is to its session.
#[derive(PartialEq, Eq, Debug)]
pub enum Standing {
    /// The one that is good now.
    Current,
    /// It was replaced a moment ago and still counts; this is the one that is good now.
    Replaced(RefreshToken),
    /// It was good once. Either it has been copied, or its client has kept the wrong one.
    Reused,
    /// Whoever presents it has never had a token of this session.
    Unknown,
}

/// See [`Standing`].
pub fn standing(token: &RefreshToken, session: &SessionRecord, now_ms: i64) -> Standing {
    if token.matches(&session.refresh_hash) {
        return Standing::Current;
    }
    let mut replaced = session.replaced.iter().skip_while(|old| !token.matches(&old.hash));
    if let Some(old) = replaced.next().filter(|old| now_ms < old.until_ms) {
        let mut next = successor(token, old);
        for old in replaced {
            next =
                next.filter(|next| next.matches(&old.hash)).and_then(|next| successor(&next, old));
        }
        if let Some(current) = next.filter(|next| next.matches(&session.refresh_hash)) {
            return Standing::Replaced(current);
        }
    }
    if token.is_of_family(&session.refresh_family_hash) {
        Standing::Reused
    } else {
        Standing::Unknown
    }
}

fn successor(token: &RefreshToken, replaced: &ReplacedToken) -> Option<RefreshToken> {
    let salt: [u8; SALT_LEN] = replaced.salt.as_ref().try_into().ok()?;
    Some(token.rotated(&salt))
}

/// Answers REFRESH_TOKEN_AUTH. [`query`] must have been loaded.
///
/// # Errors
/// NotAuthorizedException; InvalidParameterException where the client's refresh tokens rotate: only
/// GetTokensFromRefreshToken hands out the next one.
pub async fn refresh(
    tx: &mut Tx<'_>,
    client: &ClientConfig,
    token: &RefreshToken,
    device_key: Option<&str>,
    secret_hash: Option<&str>,
) -> Result<Step, Failure> {
    if rotates(client) {
        // the text of a flow that is not enabled: rotation takes this one from the client
        return Err(ApiError::invalid_parameter(
            "REFRESH_TOKEN_AUTH flow not enabled for this client",
        )
        .into());
    }
    let presented = presented(tx, client, token, device_key)?;
    secret_hash::check(client, &presented.user.username, secret_hash)?;
    if presented.standing == Standing::Reused {
        // the flow does not declare RefreshTokenReuseException
        return Err(reused(tx, presented, revoked()));
    }
    let Presented { user, session, .. } = presented;
    Ok(Step::Tokens(tokens::renew(tx, client, &user, &session, None).await?))
}

/// Answers GetTokensFromRefreshToken, once the client has proved its secret. [`query`] must have been
/// loaded. What replaces a token within its grace period is the same for whoever presents it again: two
/// requests at once get one successor, and the session goes on in one line.
///
/// # Errors
/// NotAuthorizedException, RefreshTokenReuseException.
pub async fn get_tokens(
    tx: &mut Tx<'_>,
    client: &ClientConfig,
    token: &RefreshToken,
    device_key: Option<&str>,
) -> Result<UnsignedTokens, Failure> {
    let presented = presented(tx, client, token, device_key)?;
    if presented.standing == Standing::Reused {
        let reuse = ExceptionName::RefreshTokenReuseException
            .because("Refresh Token has been used already and is not valid any more.");
        return Err(reused(tx, presented, reuse));
    }
    let Presented { user, mut session, standing } = presented;
    let next = match standing {
        Standing::Current if rotates(client) => {
            let next = rotate(tx, client, &mut session, token);
            tx.rely_on(&keys::user(&user.sub));
            tx.rely_on(&membership::key(&user.sub));
            tx.rely_on_config();
            tokens::put_session(tx, &user.sub, &session);
            Some(next)
        }
        // a client that has switched rotation off meanwhile still has to learn its token
        Standing::Replaced(current) => Some(current),
        _ => None,
    };
    let next = next.map(|next| next.encode().expose().clone());
    tokens::renew(tx, client, &user, &session, next).await
}

/// Replaces the session's token, for the rest of its time.
fn rotate(
    tx: &Tx<'_>,
    client: &ClientConfig,
    session: &mut SessionRecord,
    token: &RefreshToken,
) -> RefreshToken {
    let now_ms = tx.now_ms();
    let grace_s = client
        .record
        .refresh_token_rotation
        .map_or(0, |rotation| i64::from(rotation.retry_grace_period_seconds));
    let salt: [u8; SALT_LEN] = entropy::bytes(&*tx.world().entropy);
    let next = token.rotated(&salt);
    let over = session.replaced.iter().take_while(|old| old.until_ms <= now_ms).count();
    session.replaced.drain(..over);
    if session.replaced.len() >= REPLACED_MAX {
        session.replaced.remove(0);
    }
    session.replaced.push(ReplacedToken {
        hash: Bytes::copy_from_slice(&token.hash()),
        salt: Bytes::copy_from_slice(&salt),
        until_ms: now_ms + grace_s * 1_000,
    });
    session.refresh_hash = Bytes::copy_from_slice(&next.hash());
    session.refresh_family_hash = Bytes::copy_from_slice(&next.family_hash());
    next
}

fn rotates(client: &ClientConfig) -> bool {
    client.record.refresh_token_rotation.is_some_and(|rotation| rotation.enabled)
}

/// A refresh token that somebody has, with whose it is.
struct Presented {
    user: UserRecord,
    session: SessionRecord,
    standing: Standing,
}

/// Whoever cannot show the random part learns nothing of the session.
fn presented(
    tx: &Tx<'_>,
    client: &ClientConfig,
    token: &RefreshToken,
    device_key: Option<&str>,
) -> Result<Presented, ApiError> {
    let user = tx.get::<UserRecord>(&keys::user(&token.sub))?;
    let session = tx.get::<SessionRecord>(&session_key(&token.sub, &token.origin_jti))?;
    let Some(user) = user else {
        return Err(ApiError::not_authorized(
            "The user has been deleted for the associated refresh token",
        ));
    };
    let session = session.ok_or_else(invalid)?.record;
    let standing = standing(token, &session, tx.now_ms());
    if standing == Standing::Unknown {
        return Err(invalid());
    }
    if session.client_id != client.record.client_id {
        return Err(gate::different_client());
    }
    check_device(tx, &token.sub, &session, device_key)?;
    Ok(Presented { user: user.record, session, standing })
}

/// The session of a device that has been confirmed goes on for nobody who does not name it, and ends when
/// it is forgotten. Cognito does not say which of the two it was.
fn check_device(
    tx: &Tx<'_>,
    sub: &str,
    session: &SessionRecord,
    device_key: Option<&str>,
) -> Result<(), ApiError> {
    if !session.is_device_confirmed || tx.pool()?.record.device_configuration.is_none() {
        return Ok(());
    }
    match device_key {
        Some(named) if named == session.device_key => {
            rows::find_any(tx, sub, named)?.map(|_| ()).ok_or_else(invalid)
        }
        _ => Err(invalid()),
    }
}

/// A token that was replaced comes back: it may be in two hands, and nobody can tell which of them is
/// the user's. The session ends, for both (RFC 9700, section 4.14.2); then it is told.
fn reused(tx: &mut Tx<'_>, presented: Presented, refusal: ApiError) -> Failure {
    let Presented { user, session, .. } = presented;
    if session.created_ms != tokens::REVOKED_MS {
        tokens::revoke_session(tx, &user.sub, &session);
    }
    Failure::RefusedAfterCommit(refusal)
}

fn invalid() -> ApiError {
    ApiError::not_authorized("Invalid Refresh Token")
}

fn revoked() -> ApiError {
    ApiError::not_authorized("Refresh Token has been revoked")
}
