//! From sign-up to sign-in without another code: SignUp gives a session to ConfirmSignUp, and ConfirmSignUp one
//! to InitiateAuth. Only clients that may begin with a choice get them.
//! Source: API reference, SignUp, ConfirmSignUp and InitiateAuth, `Session`.

use conclave_api::{ApiError, enums::AuthFlowType};
use conclave_store::records::{ChallengeSession, CodeRecord, UserRecord};

use super::{
    challenge_session::{self, SignIn},
    choice, flows,
};
use crate::{config::ClientConfig, tx::Tx};

/// What the session of SignUp is good for.
const SIGNED_UP: &str = "SignUp";
/// What the session of ConfirmSignUp is good for.
pub const CONFIRMED: &str = "ConfirmSignUp";

/// The session of SignUp; `None` for a client that could not use it.
///
/// # Errors
/// InternalErrorException when the pool's keys cannot be used.
pub fn signed_up(
    tx: &Tx<'_>,
    client: &ClientConfig,
    user: &UserRecord,
) -> Result<Option<String>, ApiError> {
    if flows::check_enabled(client, &AuthFlowType::UserAuth).is_err() {
        return Ok(None);
    }
    let session = new(tx, client, user, SIGNED_UP);
    challenge_session::to_text(tx.world(), &*tx.pool()?, session).map(Some)
}

/// The row that decides about the session of ConfirmSignUp, and what is sealed in it.
pub fn sealed(text: Option<&str>) -> Option<Vec<u8>> {
    challenge_session::from_text(text?).map(|(_, sealed)| sealed)
}

/// The session of ConfirmSignUp, for the session of SignUp, which is used up. The row of its use must have
/// been loaded.
///
/// # Errors
/// NotAuthorizedException for a session that is not good.
pub fn confirmed(
    tx: &mut Tx<'_>,
    client: &ClientConfig,
    user: &UserRecord,
    sealed: &[u8],
    sent: &CodeRecord,
) -> Result<String, ApiError> {
    let session = challenge_session::answered(tx, client, Some(sealed), SIGNED_UP)?;
    if session.sub != user.sub {
        return Err(challenge_session::invalid());
    }
    challenge_session::consume(tx, sealed, &session);
    let next = ChallengeSession {
        attribute: sent.attribute.clone(),
        destination: sent.destination.clone(),
        ..new(tx, client, user, CONFIRMED)
    };
    challenge_session::to_text(tx.world(), &*tx.pool()?, next)
}

fn new(tx: &Tx<'_>, client: &ClientConfig, user: &UserRecord, of: &str) -> ChallengeSession {
    let sign_in = SignIn::begun("", choice::FLOW);
    challenge_session::new(tx, client, (&user.sub, &user.username), of, sign_in)
}
