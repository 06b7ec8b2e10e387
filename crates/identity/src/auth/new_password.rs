//! NEW_PASSWORD_REQUIRED: a user who signed in with a temporary password sets one that lasts, and
//! gives the required attributes that are still missing.

use std::collections::BTreeMap;

use conclave_api::ApiError;
use conclave_crypto::secret::SecretString;
use conclave_store::records::UserRecord;

use super::{
    attempts,
    challenge_session::{self, SignIn},
    machine::Second,
    second_factor,
    step::{Step, required},
};
use crate::{
    config::{ClientConfig, PoolConfig},
    threat_protection::enforcement,
    tx::{Failure, Query, Tx},
    users::{
        aliases,
        attributes::{self, Values},
        credentials, index,
        lookup::FoundUser,
        password_history,
        password_policy::{self, Wording},
        status, username,
    },
};

/// The prefix of attributes in `ChallengeResponses`.
const ATTRIBUTE_PREFIX: &str = "userAttributes.";

/// Adds the rows that decide about the attributes that came with the answer.
#[must_use]
pub fn query(query: Query, responses: &BTreeMap<String, String>) -> Query {
    aliases::query(query, &given(responses))
}

/// The attributes that came with the answer.
fn given(responses: &BTreeMap<String, String>) -> Values {
    let given = responses.iter().filter_map(|(name, value)| {
        let name = name.strip_prefix(ATTRIBUTE_PREFIX).filter(|_| !value.is_empty())?;
        Some((name.to_owned(), value.clone()))
    });
    given.collect()
}

/// Answers the challenge. The rows of the name's lookup and of the used session must have been loaded.
///
/// # Errors
/// NotAuthorizedException for a session that is expired, used, or not this user's;
/// InvalidPasswordException and PasswordHistoryPolicyViolationException, which leave the session usable; InvalidParameterException for attributes.
pub async fn answer(
    tx: &mut Tx<'_>,
    client: &ClientConfig,
    sealed: Option<&[u8]>,
    responses: &BTreeMap<String, String>,
    found: Option<FoundUser>,
) -> Result<Step, Failure> {
    let config = tx.pool()?;
    let session = challenge_session::answered(tx, client, sealed, "NEW_PASSWORD_REQUIRED")?;
    challenge_session::check_user(&session, found.as_ref())?;
    let (Some(sealed), Some(found)) = (sealed, found) else {
        return Err(challenge_session::invalid().into());
    };
    let user = &found.user.record;
    // the password that opened this session must still be the user's, and still be temporary
    let version = found.credentials.as_ref().map_or(0, credentials::version);
    if version != session.credentials_version || user.status != status::FORCE_CHANGE_PASSWORD {
        return Err(challenge_session::invalid().into());
    }

    // nothing is set by somebody who is then refused
    if tx.enforcement().asks_second_factor() == Some(true)
        && second_factor::of(tx, user)? == Second::Unusable
    {
        challenge_session::consume(tx, sealed, &session);
        return Err(enforcement::blocked(tx));
    }
    let password = SecretString::new(required(responses, "NEW_PASSWORD")?.to_owned());
    check_length(&password)?;
    password_policy::check(&password_policy::of(&config), password.expose(), Wording::NewPassword)?;
    let mut changed = user.clone();
    set_attributes(tx, &config, client, &mut changed, responses)?;
    if let Some(missing) = attributes::missing_required(&config.record, &changed).first() {
        return Err(ApiError::invalid_parameter(format!(
            "Invalid attributes given, {missing} is missing"
        ))
        .into());
    }
    password_history::replace(tx, user, &password).await?;
    changed.status = status::CONFIRMED.to_owned();
    changed.modified_ms = tx.now_ms();

    challenge_session::consume(tx, sealed, &session);
    attempts::succeeded(tx, attempts::of_user(&user.sub));
    credentials::set_password(tx, &changed, &password, 0).await?;
    index::write_user(tx, Some(user), &changed)?;
    let sign_in = SignIn { credentials_set_ms: tx.now_ms(), ..SignIn::of(&session) };
    second_factor::next(tx, client, &changed, sign_in).await
}

/// The limit that the model sets for passwords elsewhere: here the password is one of a map's values.
fn check_length(password: &SecretString) -> Result<(), ApiError> {
    const CHARACTERS_MAX: usize = 256;
    if password.expose().encode_utf16().count() > CHARACTERS_MAX {
        return Err(ApiError::invalid_parameter(
            "1 validation error detected: Value at 'password' failed to satisfy constraint: \
             Member must have length less than or equal to 256",
        ));
    }
    Ok(())
}

/// Sets the attributes that came with the answer. Only what has no value yet can be given here.
fn set_attributes(
    tx: &mut Tx<'_>,
    config: &PoolConfig,
    client: &ClientConfig,
    user: &mut UserRecord,
    responses: &BTreeMap<String, String>,
) -> Result<(), ApiError> {
    let mut values = given(responses);
    if values.is_empty() {
        return Ok(());
    }
    attributes::check_permission(attributes::Writer::Client(client), values.keys())?;
    attributes::check_schema(&config.record, &mut values, false)?;
    username::check_preferred(config, &values)?;
    let mut added = UserRecord { sub: user.sub.clone(), ..Default::default() };
    for (name, value) in &values {
        match attributes::value(user, name) {
            Some(present) if present == value => {}
            Some(_) => {
                return Err(ApiError::not_authorized(format!(
                    "Cannot modify an already provided {name}"
                )));
            }
            None => attributes::set(&mut added, name, value),
        }
    }
    if let Some(taken) = aliases::taken(tx, config, &added)?.first() {
        return Err(taken.refusal());
    }
    for attribute in &added.attributes {
        attributes::set(user, &attribute.name, &attribute.value);
        if let Some(flag) = attributes::verified_flag(&attribute.name) {
            attributes::set(user, flag, "false");
        }
    }
    Ok(())
}
