//! USER_AUTH: a sign-in that begins with the user's choice of a first factor.
//!
//! A client that hides who exists is offered the same for everybody: what the pool allows. Who does not exist,
//! or has no verified address, or has a second factor and so needs more than a code, then waits for a code
//! that nobody has sent. Other clients are offered what the user can use.
//! Source: developer guide, "Authentication flows", choice-based authentication.

use std::collections::BTreeMap;

use conclave_api::ApiError;
use conclave_crypto::secret::SecretString;
use conclave_outbound::Channel;
use conclave_store::records::ChallengeSession;

use super::{
    attempts,
    challenge_session::{self, SignIn},
    device_auth::{self, Over},
    factors,
    machine::{self, First},
    otp::{self, Delivery},
    passkey, password, sign_up_session, srp,
    step::{self, Step, required},
    tokens, unknown,
};
use crate::{
    config::{ClientConfig, PoolConfig},
    errors,
    tx::{Failure, Tx},
    users::{
        attributes, delivery,
        lookup::{self, FoundUser},
    },
};

/// The flow, as sessions remember it.
pub const FLOW: &str = "USER_AUTH";
const SELECT: &str = "SELECT_CHALLENGE";

/// What is sealed in a session of this flow fills this many bytes, which is more than any has: those of users
/// who exist and of users who do not are of one length, and below the 2,048 characters of a `Session`.
const BLOCK: usize = 1_344;

/// Whoever signs in, as far as it is known.
pub struct Somebody<'a> {
    /// The name that was given.
    pub username: &'a str,
    /// The user of that name.
    pub found: Option<FoundUser>,
    /// `event_id`
    pub event_id: &'a str,
}

impl Somebody<'_> {
    fn sign_in(&self) -> SignIn<'_> {
        SignIn::begun(self.event_id, FLOW)
    }

    /// The canonical name that the client is shown.
    fn shown(&self, config: &PoolConfig) -> String {
        match &self.found {
            Some(found) => found.user.record.username.clone(),
            None => unknown::shown_name(config, self.username),
        }
    }

    fn session(
        &self,
        tx: &Tx<'_>,
        client: &ClientConfig,
        challenge: &str,
    ) -> Result<ChallengeSession, ApiError> {
        let (sub, name) = match &self.found {
            Some(found) => (found.sub(), found.user.record.username.clone()),
            None => ("", lookup::folded(&*tx.pool()?, self.username)),
        };
        Ok(challenge_session::new(tx, client, (sub, &name), challenge, self.sign_in()))
    }
}

/// Begins, with the challenge that the client prefers where it is open, else with a choice.
///
/// # Errors
/// UserNotFoundException, UserNotConfirmedException and NotAuthorizedException where the client is told;
/// what the preferred challenge refuses.
pub async fn begin(
    tx: &mut Tx<'_>,
    client: &ClientConfig,
    somebody: Somebody<'_>,
    parameters: &BTreeMap<String, String>,
) -> Result<Step, Failure> {
    let offered = offered(tx, client, &somebody)?;
    let preferred = parameters.get("PREFERRED_CHALLENGE").map_or("", String::as_str);
    match First::named(preferred).filter(|first| offered.contains(first)) {
        Some(first) => start(tx, client, somebody, first, parameters).await,
        None => select(tx, client, &somebody, &offered),
    }
}

/// Begins with the session of ConfirmSignUp: the code that confirmed the address counts as the one by which
/// the sign-in begins, once, where a code by that way would do.
/// Source: API reference, InitiateAuth, `Session`.
///
/// # Errors
/// NotAuthorizedException for a session that is not good.
pub async fn begin_confirmed(
    tx: &mut Tx<'_>,
    client: &ClientConfig,
    somebody: Somebody<'_>,
    sealed: Option<&[u8]>,
    parameters: &BTreeMap<String, String>,
) -> Result<Step, Failure> {
    let session = challenge_session::answered(tx, client, sealed, sign_up_session::CONFIRMED)?;
    challenge_session::check_user(&session, somebody.found.as_ref())?;
    let (Some(sealed), Some(found)) = (sealed, &somebody.found) else {
        return Err(challenge_session::invalid().into());
    };
    let first = if session.attribute == "email" { First::EmailOtp } else { First::SmsOtp };
    let is_same =
        attributes::value(&found.user.record, &session.attribute) == Some(&*session.destination);
    if !is_same || !is_open(&*tx.pool()?, found, first) {
        // a password beside a session is nothing that the sign-in was judged with: it is asked for
        let mut parameters = parameters.clone();
        parameters.remove("PASSWORD");
        return begin(tx, client, somebody, &parameters).await;
    }
    challenge_session::consume(tx, sealed, &session);
    challenge_session::rely_on_user(tx, found.sub());
    let user = found.user.record.clone();
    Ok(Step::Tokens(tokens::begin_session(tx, client, &user, somebody.event_id, Over::No).await?))
}

/// The first factors that are offered.
fn offered(
    tx: &Tx<'_>,
    client: &ClientConfig,
    somebody: &Somebody<'_>,
) -> Result<Vec<First>, ApiError> {
    let config = tx.pool()?;
    let mut pool = factors::of_pool(&config.record);
    // without a relying party no passkey could be asked for
    pool.web_authn &= passkey::is_offered(tx, &config);
    if client.hides_users() {
        return Ok(machine::pool_offers(&pool));
    }
    let Some(found) = &somebody.found else { return Err(errors::user_not_found()) };
    let user = &found.user.record;
    step::may_try(client, user)?;
    let (side, is_confirmed) = (factors::of_user(user), factors::is_confirmed(user));
    let open = |first: &First| machine::is_open(&pool, &side, is_confirmed, *first);
    Ok(First::ALL.into_iter().filter(open).collect())
}

/// SELECT_CHALLENGE. Nothing is committed.
fn select(
    tx: &Tx<'_>,
    client: &ClientConfig,
    somebody: &Somebody<'_>,
    offered: &[First],
) -> Result<Step, Failure> {
    let mut session = somebody.session(tx, client, SELECT)?;
    session.choices = offered.iter().map(|first| first.as_str().to_owned()).collect();
    let available = session.choices.clone();
    let mut parameters = BTreeMap::new();
    if offered.contains(&First::WebAuthn) {
        // a passkey can be chosen and shown at once, as the API reference says of the answer
        let options = passkey::begin(tx, client, somebody.found.as_ref(), &mut session)?;
        parameters.insert(passkey::OPTIONS.to_owned(), options);
    }
    let session = seal(tx, session)?;
    Ok(Step::Challenge { name: SELECT, parameters, session: Some(session), available })
}

fn seal(tx: &Tx<'_>, session: ChallengeSession) -> Result<String, ApiError> {
    challenge_session::to_text_in(tx.world(), &*tx.pool()?, session, BLOCK)
}

/// The challenge of a first factor, or what comes of it where the answer is among the parameters.
async fn start(
    tx: &mut Tx<'_>,
    client: &ClientConfig,
    somebody: Somebody<'_>,
    first: First,
    parameters: &BTreeMap<String, String>,
) -> Result<Step, Failure> {
    let given = |name: &str| parameters.get(name).filter(|value| !value.is_empty());
    match (first, given("PASSWORD"), given("SRP_A")) {
        (First::Password, Some(given), _) => {
            let given = SecretString::new(given.clone());
            let device_key = device_auth::named(parameters);
            let sign_in = SignIn { device_key, ..SignIn::begun(somebody.event_id, FLOW) };
            password::sign_in(tx, client, somebody.username, &given, somebody.found, sign_in).await
        }
        (First::PasswordSrp, _, Some(srp_a)) => {
            let sign_in = SignIn::begun(somebody.event_id, FLOW);
            srp::challenge(tx, client, somebody.username, srp_a, somebody.found, sign_in).await
        }
        (First::Password | First::PasswordSrp, _, _) => {
            let name = first.as_str();
            let session = seal(tx, somebody.session(tx, client, name)?)?;
            let shown = somebody.shown(&*tx.pool()?);
            let parameters = BTreeMap::from([("USERNAME".to_owned(), shown)]);
            Ok(Step::challenge(name, parameters, Some(session)))
        }
        (First::EmailOtp, _, _) => send(tx, client, &somebody, first, Channel::Email),
        (First::SmsOtp, _, _) => send(tx, client, &somebody, first, Channel::Sms),
        (First::WebAuthn, _, _) => {
            let name = first.as_str();
            let mut session = somebody.session(tx, client, name)?;
            let options = passkey::begin(tx, client, somebody.found.as_ref(), &mut session)?;
            let parameters = BTreeMap::from([
                ("USERNAME".to_owned(), somebody.shown(&*tx.pool()?)),
                (passkey::OPTIONS.to_owned(), options),
            ]);
            Ok(Step::challenge(name, parameters, Some(seal(tx, session)?)))
        }
    }
}

/// EMAIL_OTP or SMS_OTP: a code for whom it is open to, and for others nothing that looks like one.
fn send(
    tx: &mut Tx<'_>,
    client: &ClientConfig,
    somebody: &Somebody<'_>,
    first: First,
    channel: Channel,
) -> Result<Step, Failure> {
    let config = tx.pool()?;
    tx.rely_on_config();
    let mut session = somebody.session(tx, client, first.as_str())?;
    let open = somebody.found.as_ref().filter(|found| is_open(&config, found, first));
    let destination = open.and_then(|found| delivery::to(&found.user.record, channel));
    let details = match (open, destination) {
        (Some(found), Some(destination)) => {
            let hides = client.hides_users();
            let way = if hides { Delivery::Queued } else { Delivery::Awaited };
            otp::send(tx, &found.user.record, &destination, &mut session, way)?;
            destination.details()
        }
        _ => {
            otp::pretend(tx, &config, somebody.username, channel);
            delivery::simulated_by(&config, somebody.username, channel)
        }
    };
    let mut parameters = BTreeMap::from([("USERNAME".to_owned(), somebody.shown(&config))]);
    otp::describe(details, &mut parameters);
    Ok(Step::challenge(first.as_str(), parameters, Some(seal(tx, session)?)))
}

/// Whether this factor alone signs this user in.
pub(super) fn is_open(config: &PoolConfig, found: &FoundUser, first: First) -> bool {
    let user = &found.user.record;
    let pool = factors::of_pool(&config.record);
    machine::is_open(&pool, &factors::of_user(user), factors::is_confirmed(user), first)
}

// ---- answers --------------------------------------------------------------------------------

/// What comes with an answer.
pub struct Given<'a> {
    /// The session, sealed.
    pub sealed: &'a [u8],
    /// The session, once [`challenge_session::answered`] has looked at it.
    pub session: &'a ChallengeSession,
    /// The name that was given.
    pub username: &'a str,
    /// ChallengeResponses
    pub responses: &'a BTreeMap<String, String>,
}

impl Given<'_> {
    /// Who answers: the user of the session, or nobody where the session is of nobody.
    pub(super) fn somebody(
        &self,
        config: &PoolConfig,
        found: Option<FoundUser>,
    ) -> Result<Somebody<'_>, ApiError> {
        let found = found.filter(|found| found.sub() == self.session.sub);
        let is_theirs = match &found {
            Some(found) => self.session.issued_ms >= found.user.record.sessions_valid_from_ms,
            None => srp::is_answer_of_unknown(config, self.session, self.username),
        };
        if !is_theirs {
            return Err(challenge_session::invalid());
        }
        // nobody is counted under the name that was asked for, whatever name was shown
        let username = if found.is_some() { self.username } else { &self.session.username };
        Ok(Somebody { username, found, event_id: &self.session.event_id })
    }
}

/// Answers SELECT_CHALLENGE.
///
/// # Errors
/// InvalidParameterException for what was not offered; what the chosen challenge refuses.
pub async fn answer_select(
    tx: &mut Tx<'_>,
    client: &ClientConfig,
    given: &Given<'_>,
    found: Option<FoundUser>,
) -> Result<Step, Failure> {
    let answer = required(given.responses, "ANSWER")?;
    let somebody = given.somebody(&*tx.pool()?, found)?;
    let was_offered = given.session.choices.iter().any(|choice| choice == answer);
    let first = First::named(answer)
        .filter(|_| was_offered)
        .ok_or_else(|| ApiError::invalid_parameter("Selected challenge is not available."))?;
    if !offered(tx, client, &somebody)?.contains(&first) {
        return Err(challenge_session::invalid().into());
    }
    if first == First::WebAuthn && given.responses.contains_key(passkey::ANSWER) {
        return passkey::answer(tx, client, given, somebody.found).await;
    }
    let step = start(tx, client, somebody, first, given.responses).await?;
    challenge_session::consume(tx, given.sealed, given.session);
    Ok(step)
}

/// Answers PASSWORD and PASSWORD_SRP. A wrong password leaves the session usable.
///
/// # Errors
/// Those of the flows that begin with a password.
pub async fn answer_password(
    tx: &mut Tx<'_>,
    client: &ClientConfig,
    first: First,
    given: &Given<'_>,
    found: Option<FoundUser>,
) -> Result<Step, Failure> {
    required(given.responses, if first == First::Password { "PASSWORD" } else { "SRP_A" })?;
    let somebody = given.somebody(&*tx.pool()?, found)?;
    let step = start(tx, client, somebody, first, given.responses).await?;
    challenge_session::consume(tx, given.sealed, given.session);
    Ok(step)
}

/// Answers EMAIL_OTP and SMS_OTP as first factors. The counter is that of passwords: guesses of both add
/// up, and so do those at names that no user has.
///
/// # Errors
/// CodeMismatchException; NotAuthorizedException.
pub async fn answer_code(
    tx: &mut Tx<'_>,
    client: &ClientConfig,
    first: First,
    given: &Given<'_>,
    found: Option<FoundUser>,
) -> Result<Step, Failure> {
    let name = if first == First::EmailOtp { "EMAIL_OTP_CODE" } else { "SMS_OTP_CODE" };
    let code = required(given.responses, name)?;
    let config = tx.pool()?;
    let somebody = given.somebody(&config, found)?;
    let counter = match &somebody.found {
        Some(found) => {
            step::may_try(client, &found.user.record)?;
            attempts::of_user(found.sub())
        }
        None => attempts::of_unknown(tx.world(), config.id(), &given.session.username),
    };
    attempts::check_lock(tx, &counter)?;
    let proved = somebody
        .found
        .as_ref()
        .filter(|found| is_open(&config, found, first))
        .filter(|found| otp::is_right(&config, &found.user.record, given.session, code));
    let Some(found) = proved else {
        if attempts::count(tx, counter)? {
            challenge_session::consume(tx, given.sealed, given.session);
        }
        return Err(Failure::RefusedAfterCommit(otp::mismatch()));
    };
    challenge_session::consume(tx, given.sealed, given.session);
    attempts::succeeded(tx, counter);
    challenge_session::rely_on_user(tx, found.sub());
    let event_id = &given.session.event_id;
    let user = &found.user.record;
    Ok(Step::Tokens(tokens::begin_session(tx, client, user, event_id, Over::No).await?))
}
