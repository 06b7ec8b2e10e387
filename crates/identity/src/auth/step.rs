//! What a step of a sign-in comes to: tokens, or the next challenge.

use std::collections::BTreeMap;

use conclave_api::{ApiError, ExceptionName, types};
use conclave_store::records::{ChallengeSession, UserRecord};
use serde_json::{Map, Value};

use super::{
    attempts, challenge_session,
    device_auth::{self, Named},
    tokens::UnsignedTokens,
};
use crate::{
    config::ClientConfig,
    tx::{Failure, Reply, Tx},
    users::{attributes, lookup::FoundUser, status},
};

/// See the module.
pub enum Step {
    /// The user is in.
    Tokens(UnsignedTokens),
    /// The user has more to show.
    Challenge {
        /// `ChallengeName`
        name: &'static str,
        /// `ChallengeParameters`
        parameters: BTreeMap<String, String>,
        /// `Session`
        session: Option<String>,
    },
}

impl Step {
    /// The answer of InitiateAuth.
    pub fn into_initiate_auth(self) -> Reply<types::InitiateAuthResponse> {
        match self {
            Self::Tokens(tokens) => {
                Reply::AfterCommit(tokens.finish(|result| types::InitiateAuthResponse {
                    authentication_result: Some(result),
                    ..Default::default()
                }))
            }
            Self::Challenge { name, parameters, session } => types::InitiateAuthResponse {
                challenge_name: Some(name.to_owned()),
                challenge_parameters: parameters,
                session,
                ..Default::default()
            }
            .into(),
        }
    }

    /// The answer of RespondToAuthChallenge.
    pub fn into_respond_to_auth_challenge(self) -> Reply<types::RespondToAuthChallengeResponse> {
        match self {
            Self::Tokens(tokens) => {
                Reply::AfterCommit(tokens.finish(|result| types::RespondToAuthChallengeResponse {
                    authentication_result: Some(result),
                    ..Default::default()
                }))
            }
            Self::Challenge { name, parameters, session } => {
                types::RespondToAuthChallengeResponse {
                    challenge_name: Some(name.to_owned()),
                    challenge_parameters: parameters,
                    session,
                    ..Default::default()
                }
                .into()
            }
        }
    }
}

/// A value of `AuthParameters` or `ChallengeResponses` that must be there and not be empty.
///
/// # Errors
/// InvalidParameterException.
pub fn required<'a>(
    parameters: &'a BTreeMap<String, String>,
    name: &str,
) -> Result<&'a str, ApiError> {
    match parameters.get(name).map(String::as_str) {
        None | Some("") => {
            Err(ApiError::invalid_parameter(format!("Missing required parameter {name}")))
        }
        Some(value) => Ok(value),
    }
}

/// Whether this user may sign in at all, before any proof is looked at. Every path to tokens asks.
///
/// # Errors
/// NotAuthorizedException, UserNotConfirmedException.
pub fn may_sign_in(user: &UserRecord) -> Result<(), ApiError> {
    if !user.enabled {
        return Err(super::access_token::user_disabled());
    }
    match user.status.as_str() {
        "UNCONFIRMED" => {
            Err(ExceptionName::UserNotConfirmedException.because("User is not confirmed."))
        }
        "CONFIRMED" | "FORCE_CHANGE_PASSWORD" | "RESET_REQUIRED" => Ok(()),
        // a status of a later version, or one that has no password
        _ => Err(crate::errors::incorrect_username_or_password()),
    }
}

/// Whether a password of this user is looked at. Cognito tells that a user is disabled or not confirmed
/// before it looks; a client that hides users is told only after the right password
/// ([`after_password`]), or everybody could find out who exists.
///
/// # Errors
/// As [`may_sign_in`].
pub fn may_try(client: &ClientConfig, user: &UserRecord) -> Result<(), ApiError> {
    if client.hides_users() { Ok(()) } else { may_sign_in(user) }
}

/// What follows when the password has been proved. Everything that it reveals waits for the commit.
///
/// # Errors
/// PasswordResetRequiredException; NotAuthorizedException when a temporary password has expired.
pub async fn after_password(
    tx: &mut Tx<'_>,
    client: &ClientConfig,
    found: &FoundUser,
    named: &Named,
    event_id: &str,
) -> Result<Step, Failure> {
    let user = &found.user.record;
    let credentials = found.credentials.as_ref();
    attempts::succeeded(tx, attempts::of_user(&user.sub));
    tx.rely_on(&conclave_store::keys::user(&user.sub));
    tx.rely_on_config();
    may_sign_in(user).map_err(Failure::RefusedAfterCommit)?;
    match user.status.as_str() {
        "RESET_REQUIRED" => Err(Failure::RefusedAfterCommit(status::password_reset_required())),
        "FORCE_CHANGE_PASSWORD" => {
            let until_ms = credentials.map_or(0, |stored| stored.record.temporary_until_ms);
            if until_ms != 0 && tx.now_ms() >= until_ms {
                return Err(Failure::RefusedAfterCommit(ApiError::not_authorized(
                    "Temporary password has expired and must be reset by an administrator.",
                )));
            }
            let version = credentials.map_or(0, |stored| stored.version);
            Ok(new_password_required(tx, client, user, version, event_id)?)
        }
        _ => {
            let version = credentials.map_or(0, |stored| stored.version);
            device_auth::finish(tx, client, user, version, named, event_id).await
        }
    }
}

/// What is sealed in `Session` fills blocks of this many bytes. One makes some 750 characters of the
/// 2,048 that a session may have, as Cognito's do.
const SESSION_BLOCK: usize = 512;

/// The NEW_PASSWORD_REQUIRED challenge.
fn new_password_required(
    tx: &Tx<'_>,
    client: &ClientConfig,
    user: &UserRecord,
    credentials_version: u64,
    event_id: &str,
) -> Result<Step, ApiError> {
    let config = tx.pool()?;
    let session = ChallengeSession {
        challenge: "NEW_PASSWORD_REQUIRED".to_owned(),
        client_id: client.record.client_id.clone(),
        sub: user.sub.clone(),
        username: user.username.clone(),
        expires_ms: tx.now_ms() + challenge_session::validity_ms(client),
        credentials_version,
        event_id: event_id.to_owned(),
        ..Default::default()
    };
    let sealed = challenge_session::seal(tx.world(), &config, session, SESSION_BLOCK)?;
    let readable =
        user.attributes.iter().filter(|attribute| attributes::is_readable(client, &attribute.name));
    let attributes: Map<String, Value> = readable
        .map(|attribute| (attribute.name.clone(), Value::from(attribute.value.as_str())))
        .collect();
    let required: Vec<_> = attributes::missing_required(&config.record, user)
        .into_iter()
        .map(|name| Value::from(format!("userAttributes.{name}")))
        .collect();
    let parameters = BTreeMap::from([
        ("USER_ID_FOR_SRP".to_owned(), user.username.clone()),
        ("requiredAttributes".to_owned(), Value::from(required).to_string()),
        ("userAttributes".to_owned(), Value::from(attributes).to_string()),
    ]);
    let session = Some(challenge_session::to_text(&sealed));
    Ok(Step::Challenge { name: "NEW_PASSWORD_REQUIRED", parameters, session })
}
