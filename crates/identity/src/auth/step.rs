//! What a step of a sign-in comes to: tokens, or the next challenge.

use std::collections::BTreeMap;

use conclave_api::{ApiError, ExceptionName, types};
use conclave_store::records::{ChallengeSession, UserRecord};
use serde_json::{Map, Value};

use super::{
    attempts,
    challenge_session::{self, SignIn},
    machine::{self, AfterPassword},
    second_factor,
    tokens::UnsignedTokens,
};
use crate::{
    config::ClientConfig,
    threat_protection::enforcement,
    tx::{Failure, Reply, Tx},
    users::{attributes, credentials, lookup::FoundUser, status},
};

/// See the module.
pub enum Step {
    /// Nobody has the name, and another directory is to be asked before that is said.
    Migrate,
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
        /// `AvailableChallenges`
        available: Vec<String>,
    },
}

/// What the four operations of a sign-in answer; their messages have the same members.
pub struct Answer {
    /// `AuthenticationResult`
    pub authentication_result: Option<types::AuthenticationResultType>,
    /// `ChallengeName`
    pub challenge_name: Option<String>,
    /// `ChallengeParameters`
    pub challenge_parameters: BTreeMap<String, String>,
    /// `Session`
    pub session: Option<String>,
    /// `AvailableChallenges`
    pub available_challenges: Vec<String>,
    /// [`Step::Migrate`]
    pub is_migration: bool,
}

macro_rules! answers {
    ($($response:ident)+) => {
        $(impl From<Answer> for types::$response {
            fn from(answer: Answer) -> Self {
                Self {
                    authentication_result: answer.authentication_result,
                    challenge_name: answer.challenge_name,
                    challenge_parameters: answer.challenge_parameters,
                    session: answer.session,
                    available_challenges: answer.available_challenges,
                }
            }
        })+
    };
}

answers! {
    InitiateAuthResponse AdminInitiateAuthResponse
    RespondToAuthChallengeResponse AdminRespondToAuthChallengeResponse
}

impl Step {
    /// A challenge with nothing to choose.
    pub fn challenge(
        name: &'static str,
        parameters: BTreeMap<String, String>,
        session: Option<String>,
    ) -> Self {
        Self::Challenge { name, parameters, session, available: Vec::new() }
    }

    /// The answer.
    pub fn into_reply(self) -> Reply<Answer> {
        match self {
            Self::Tokens(tokens) => Reply::AfterCommit(tokens.finish(|result| Answer {
                authentication_result: Some(result),
                challenge_name: None,
                challenge_parameters: BTreeMap::new(),
                session: None,
                available_challenges: Vec::new(),
                is_migration: false,
            })),
            Self::Migrate => Answer {
                authentication_result: None,
                challenge_name: None,
                challenge_parameters: BTreeMap::new(),
                session: None,
                available_challenges: Vec::new(),
                is_migration: true,
            }
            .into(),
            Self::Challenge { name, parameters, session, available } => Answer {
                authentication_result: None,
                challenge_name: Some(name.to_owned()),
                challenge_parameters: parameters,
                session,
                available_challenges: available,
                is_migration: false,
            }
            .into(),
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

/// Users who were imported without a password have to set one before anything can be proved. Who exists is
/// told only where the client is told anyway.
/// Source: developer guide, "Requiring imported users to reset their passwords".
///
/// # Errors
/// PasswordResetRequiredException.
pub fn has_password(client: &ClientConfig, found: &FoundUser) -> Result<(), ApiError> {
    let has_none =
        found.credentials.is_none() && found.user.record.status == status::RESET_REQUIRED;
    if has_none && !client.hides_users() {
        return Err(status::password_reset_required());
    }
    Ok(())
}

/// What follows when the password has been proved. Everything that it reveals waits for the commit.
///
/// # Errors
/// PasswordResetRequiredException; NotAuthorizedException when a temporary password has expired, or the sign-in is too risky.
pub async fn after_password(
    tx: &mut Tx<'_>,
    client: &ClientConfig,
    found: &FoundUser,
    sign_in: SignIn<'_>,
) -> Result<Step, Failure> {
    let user = &found.user.record;
    let credentials = found.credentials.as_ref();
    attempts::succeeded(tx, attempts::of_user(&user.sub));
    tx.rely_on(&conclave_store::keys::user(&user.sub));
    tx.rely_on_config();
    may_sign_in(user).map_err(Failure::RefusedAfterCommit)?;
    enforcement::after_password(tx, user)?;
    match machine::after_password(&user.status) {
        AfterPassword::ResetRequired => {
            Err(Failure::RefusedAfterCommit(status::password_reset_required()))
        }
        AfterPassword::NewPassword => {
            let until_ms = credentials.map_or(0, |stored| stored.record.temporary_until_ms);
            if until_ms != 0 && tx.now_ms() >= until_ms {
                return Err(Failure::RefusedAfterCommit(ApiError::not_authorized(
                    "Temporary password has expired and must be reset by an administrator.",
                )));
            }
            let version = credentials.map_or(0, credentials::version);
            Ok(new_password_required(tx, client, user, version, sign_in)?)
        }
        AfterPassword::SecondFactor => {
            let credentials_set_ms = credentials.map_or(0, |stored| stored.record.set_ms);
            let sign_in = SignIn { credentials_set_ms, ..sign_in };
            second_factor::next(tx, client, user, sign_in).await
        }
    }
}

/// The NEW_PASSWORD_REQUIRED challenge.
fn new_password_required(
    tx: &Tx<'_>,
    client: &ClientConfig,
    user: &UserRecord,
    credentials_version: u64,
    sign_in: SignIn<'_>,
) -> Result<Step, ApiError> {
    let config = tx.pool()?;
    let session = ChallengeSession {
        credentials_version,
        ..challenge_session::new(
            tx,
            client,
            (&user.sub, &user.username),
            "NEW_PASSWORD_REQUIRED",
            sign_in,
        )
    };
    let session = challenge_session::to_text(tx.world(), &config, session)?;
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
    Ok(Step::challenge("NEW_PASSWORD_REQUIRED", parameters, Some(session)))
}
