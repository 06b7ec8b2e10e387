//! The second half of a sign-in: what is asked for after the first factor, and what is answered. Which step
//! follows is decided in [`machine`].

use std::collections::BTreeMap;

use conclave_api::{ApiError, ExceptionName};
use conclave_outbound::Channel;
use conclave_store::{
    keys::UserChild,
    records::{ChallengeSession, UserRecord},
};
use serde_json::Value;

use super::{
    attempts,
    challenge_session::{self, SignIn},
    custom_auth,
    device_auth::{self, Over},
    factors,
    machine::{self, Factor, Second},
    otp::{self, Delivery},
    software_token::{self, Verdict},
    step::{Step, required},
};
use crate::{
    config::{ClientConfig, PoolConfig},
    errors,
    threat_protection::enforcement,
    tx::{Failure, Tx},
    users::{
        aliases,
        attributes::{self, Values},
        contact,
        delivery::{self, Destination},
        index,
        lookup::{FoundUser, With},
        mfa_preference, status,
    },
};

const SELECT: &str = "SELECT_MFA_TYPE";
const SETUP: &str = "MFA_SETUP";

/// What the answer to a second factor needs of the user, beside the credentials.
pub const ROWS: [With<'static>; 2] =
    [With::Child(UserChild::SoftwareToken, &[]), With::Child(UserChild::MfaAttempts, &[])];

/// What follows when the first factor has been proved and the user's state allows tokens. That the user's
/// record and the configuration are still these is checked by the commit, if there is one; a challenge
/// without a commit is checked when it is answered.
///
/// # Errors
/// NotAuthorizedException when the user's factors can no longer be used; the store's.
pub async fn next(
    tx: &mut Tx<'_>,
    client: &ClientConfig,
    user: &UserRecord,
    sign_in: SignIn<'_>,
) -> Result<Step, Failure> {
    tx.rely_on_config();
    if tx.enforcement().blocks() {
        return Err(enforcement::blocked(tx));
    }
    if custom_auth::is_under_way(&sign_in) {
        return Box::pin(custom_auth::after_password(tx, client, user, sign_in)).await;
    }
    let second = of(tx, user)?;
    if device_auth::stands_for(tx, user, &second, sign_in)? {
        return device_auth::finish(tx, client, user, sign_in, Over::No).await;
    }
    match second {
        Second::Nothing => device_auth::finish(tx, client, user, sign_in, Over::No).await,
        Second::One(factor) => challenge(tx, client, user, factor, sign_in),
        Second::Select(several) => {
            choose(tx, client, user, (SELECT, "MFAS_CAN_CHOOSE"), &several, sign_in)
        }
        Second::Setup(offered) => {
            choose(tx, client, user, (SETUP, "MFAS_CAN_SETUP"), &offered, sign_in)
        }
        Second::Unusable if tx.enforcement().asks_second_factor() == Some(true) => {
            Err(enforcement::blocked(tx))
        }
        Second::Unusable => Err(Failure::RefusedAfterCommit(ApiError::not_authorized(
            "User has no usable MFA method. Contact administrator.",
        ))),
    }
}

/// The challenge of one factor.
fn challenge(
    tx: &mut Tx<'_>,
    client: &ClientConfig,
    user: &UserRecord,
    factor: Factor,
    sign_in: SignIn<'_>,
) -> Result<Step, Failure> {
    let channel = match factor {
        Factor::Sms => Channel::Sms,
        Factor::Email => Channel::Email,
        Factor::SoftwareToken => {
            let session = session(tx, client, user, factor.as_str(), sign_in);
            let mut parameters = parameters(user);
            let mfa = user.mfa.as_ref();
            if let Some(name) = mfa.and_then(|mfa| mfa.software_token_name.clone()) {
                parameters.insert("FRIENDLY_DEVICE_NAME".to_owned(), name);
            }
            return Ok(sealed(tx, factor.as_str(), parameters, session)?);
        }
    };
    let destination = delivery::to(user, channel)
        .ok_or_else(|| errors::internal("a factor without an address was chosen"))?;
    let session = session(tx, client, user, factor.as_str(), sign_in);
    send(tx, user, factor, &destination, session)
}

/// A challenge whose code goes out by message.
fn send(
    tx: &mut Tx<'_>,
    user: &UserRecord,
    factor: Factor,
    destination: &Destination,
    mut session: ChallengeSession,
) -> Result<Step, Failure> {
    otp::send(tx, user, destination, &mut session, Delivery::Awaited)?;
    let mut parameters = parameters(user);
    otp::describe(destination.details(), &mut parameters);
    Ok(sealed(tx, factor.as_str(), parameters, session)?)
}

/// SELECT_MFA_TYPE or MFA_SETUP.
fn choose(
    tx: &Tx<'_>,
    client: &ClientConfig,
    user: &UserRecord,
    (name, list): (&'static str, &str),
    factors: &[Factor],
    sign_in: SignIn<'_>,
) -> Result<Step, Failure> {
    let mut session = session(tx, client, user, name, sign_in);
    session.choices = factors.iter().map(|factor| factor.as_str().to_owned()).collect();
    let mut parameters = parameters(user);
    parameters.insert(list.to_owned(), Value::from(session.choices.clone()).to_string());
    Ok(sealed(tx, name, parameters, session)?)
}

fn session(
    tx: &Tx<'_>,
    client: &ClientConfig,
    user: &UserRecord,
    challenge: &str,
    sign_in: SignIn<'_>,
) -> ChallengeSession {
    challenge_session::new(tx, client, (&user.sub, &user.username), challenge, sign_in)
}

fn parameters(user: &UserRecord) -> BTreeMap<String, String> {
    BTreeMap::from([("USER_ID_FOR_SRP".to_owned(), user.username.clone())])
}

fn sealed(
    tx: &Tx<'_>,
    name: &'static str,
    parameters: BTreeMap<String, String>,
    session: ChallengeSession,
) -> Result<Step, ApiError> {
    let session = challenge_session::to_text(tx.world(), &*tx.pool()?, session)?;
    Ok(Step::challenge(name, parameters, Some(session)))
}

// ---- answers --------------------------------------------------------------------------------

/// What comes with an answer.
pub struct Given<'a> {
    /// The session, sealed.
    pub sealed: &'a [u8],
    /// The session, once [`challenge_session::answered`] has looked at it.
    pub session: &'a ChallengeSession,
    /// ChallengeResponses
    pub responses: &'a BTreeMap<String, String>,
}

/// Checks whose session this is, and that what it asks for is still what the machine would ask this user
/// for: a setting that has changed meanwhile counts.
fn check_user(
    tx: &Tx<'_>,
    given: &Given<'_>,
    found: Option<FoundUser>,
    is_asked: impl Fn(&Second) -> bool,
) -> Result<FoundUser, Failure> {
    challenge_session::check_user(given.session, found.as_ref())?;
    let found = found.filter(|found| found.user.record.status == status::CONFIRMED);
    let found = found.ok_or_else(challenge_session::invalid)?;
    if is_asked(&of(tx, &found.user.record)?) {
        return Ok(found);
    }
    Err(challenge_session::invalid().into())
}

/// Which second factor this user is asked for now, and in a sign-in as risky as this.
///
/// # Errors
/// InternalErrorException when the pool is not loaded.
pub fn of(tx: &Tx<'_>, user: &UserRecord) -> Result<Second, ApiError> {
    let config = tx.pool()?;
    let (pool, user) = (factors::of_pool(&config.record), factors::of_user(user));
    Ok(match tx.enforcement().asks_second_factor() {
        Some(is_required) => machine::second_factor_at_risk(&pool, &user, is_required),
        None => machine::second_factor(&pool, &user),
    })
}

/// Whether `factor` is asked for, by itself or among others.
fn includes(second: &Second, factor: Factor) -> bool {
    match second {
        Second::One(one) => *one == factor,
        Second::Select(several) => several.contains(&factor),
        Second::Nothing | Second::Setup(_) | Second::Unusable => false,
    }
}

/// Answers SMS_MFA, EMAIL_OTP after a password, and SOFTWARE_TOKEN_MFA. The rows of [`ROWS`] must have been
/// loaded.
///
/// # Errors
/// CodeMismatchException, ExpiredCodeException, SoftwareTokenMFANotFoundException, NotAuthorizedException.
pub async fn answer_code(
    tx: &mut Tx<'_>,
    client: &ClientConfig,
    factor: Factor,
    given: &Given<'_>,
    found: Option<FoundUser>,
) -> Result<Step, Failure> {
    let config = tx.pool()?;
    let name = match factor {
        Factor::Sms => "SMS_MFA_CODE",
        Factor::SoftwareToken => "SOFTWARE_TOKEN_MFA_CODE",
        Factor::Email => "EMAIL_OTP_CODE",
    };
    let code = required(given.responses, name)?;
    let sets_up = given.session.sets_up_address;
    let found = check_user(tx, given, found, |second| match second {
        Second::Setup(_) => sets_up,
        second => !sets_up && includes(second, factor),
    })?;
    let user = &found.user.record;
    attempts::check_lock(tx, &attempts::of_codes(&user.sub))?;
    let refusal = match factor {
        Factor::SoftwareToken => match software_token::check(tx, &config, &user.sub, code)? {
            Verdict::Right => None,
            Verdict::Wrong => {
                Some(ExceptionName::CodeMismatchException.because("Invalid code received for user"))
            }
            Verdict::Used => Some(
                ExceptionName::ExpiredCodeException
                    .because("Your software token has already been used once."),
            ),
        },
        _ if otp::is_right(&config, user, given.session, code) => None,
        _ => Some(otp::mismatch()),
    };
    if let Some(refusal) = refusal {
        // a session in which too much has been guessed ends, whatever else is still open
        if attempts::count(tx, attempts::of_codes(&user.sub))? {
            challenge_session::consume(tx, given.sealed, given.session);
        }
        return Err(Failure::RefusedAfterCommit(refusal));
    }
    challenge_session::consume(tx, given.sealed, given.session);
    attempts::succeeded(tx, attempts::of_codes(&user.sub));
    challenge_session::rely_on_user(tx, &user.sub);
    let user = if sets_up {
        with_address(tx, &config, user, given.session).await?
    } else {
        with_verified(tx, &config, user, &given.session.attribute).await?
    };
    device_auth::finish(tx, client, &user, SignIn::of(given.session), Over::Yes).await
}

/// The user with the address verified that a code has just been sent to and come back from; as before
/// where that would make it a name that somebody else has.
/// Source: developer guide, "SMS and email message MFA".
async fn with_verified(
    tx: &mut Tx<'_>,
    config: &PoolConfig,
    user: &UserRecord,
    attribute: &str,
) -> Result<UserRecord, Failure> {
    let flag = attributes::verified_flag(attribute);
    let Some(flag) = flag.filter(|_| !attributes::is_verified(user, attribute)) else {
        return Ok(user.clone());
    };
    let mut verified = user.clone();
    attributes::set(&mut verified, flag, "true");
    verified.modified_ms = tx.now_ms();
    match aliases::take(tx, config, (user, &verified), &Values::new(), false).await {
        Ok(_) => {
            index::write_user(tx, Some(user), &verified)?;
            Ok(verified)
        }
        Err(Failure::Refused(error)) if error.code == ExceptionName::AliasExistsException => {
            Ok(user.clone())
        }
        Err(failure) => Err(failure),
    }
}

/// The user with the address that the session has set up, verified and switched on as a factor.
async fn with_address(
    tx: &mut Tx<'_>,
    config: &PoolConfig,
    user: &UserRecord,
    session: &ChallengeSession,
) -> Result<UserRecord, Failure> {
    if attributes::value(user, &session.attribute).is_some() {
        return Err(challenge_session::invalid().into());
    }
    let mut changed = user.clone();
    attributes::set(&mut changed, &session.attribute, &session.destination);
    if let Some(flag) = attributes::verified_flag(&session.attribute) {
        attributes::set(&mut changed, flag, "true");
    }
    mfa_preference::switch_on(&mut changed, Factor::Email);
    changed.modified_ms = tx.now_ms();
    aliases::take(tx, config, (user, &changed), &Values::new(), false).await?;
    index::write_user(tx, Some(user), &changed)?;
    Ok(changed)
}

/// Answers SELECT_MFA_TYPE.
///
/// # Errors
/// InvalidParameterException for what was not offered; NotAuthorizedException.
pub fn answer_select(
    tx: &mut Tx<'_>,
    client: &ClientConfig,
    given: &Given<'_>,
    found: Option<FoundUser>,
) -> Result<Step, Failure> {
    let answer = required(given.responses, "ANSWER")?;
    let offered = |factor: &Factor| given.session.choices.iter().any(|c| c == factor.as_str());
    let Some(factor) = Factor::named(answer).filter(offered) else {
        return Err(ApiError::invalid_parameter("Invalid MFA type selected").into());
    };
    let found = check_user(tx, given, found, |second| includes(second, factor))?;
    let user = &found.user.record;
    challenge_session::consume(tx, given.sealed, given.session);
    challenge_session::rely_on_user(tx, &user.sub);
    challenge(tx, client, user, factor, SignIn::of(given.session))
}

/// Answers MFA_SETUP: with the session of VerifySoftwareToken to tokens, with an e-mail address to a code.
///
/// # Errors
/// InvalidParameterException when nothing has been set up; NotAuthorizedException.
pub async fn answer_setup(
    tx: &mut Tx<'_>,
    client: &ClientConfig,
    given: &Given<'_>,
    found: Option<FoundUser>,
) -> Result<Step, Failure> {
    let is_set_up = given.session.is_set_up;
    let found = check_user(tx, given, found, |second| match second {
        Second::Setup(_) => !is_set_up,
        second => is_set_up && includes(second, Factor::SoftwareToken),
    })?;
    let user = &found.user.record;
    if is_set_up {
        challenge_session::consume(tx, given.sealed, given.session);
        challenge_session::rely_on_user(tx, &user.sub);
        return device_auth::finish(tx, client, user, SignIn::of(given.session), Over::Yes).await;
    }
    let Some(email) = given.responses.get("EMAIL").filter(|email| !email.is_empty()) else {
        return Err(ApiError::invalid_parameter("User has not verified software token mfa").into());
    };
    let config = tx.pool()?;
    let offers = factors::of_pool(&config.record).offers;
    let is_free = attributes::value(user, "email").is_none();
    if !offers.email || !is_free || !attributes::is_writable(client, "email") {
        return Err(ApiError::invalid_parameter("Email MFA cannot be set up for the user.").into());
    }
    if !contact::is_email(email) {
        return Err(ApiError::invalid_parameter("Invalid email address format.").into());
    }
    challenge_session::consume(tx, given.sealed, given.session);
    challenge_session::rely_on_user(tx, &user.sub);
    let destination =
        Destination { attribute: "email", channel: Channel::Email, address: email.clone() };
    let mut session = session(tx, client, user, Factor::Email.as_str(), SignIn::of(given.session));
    session.sets_up_address = true;
    send(tx, user, Factor::Email, &destination, session)
}
