//! CUSTOM_AUTH: a sign-in whose challenges the pool's functions make, after a password or without one.
//!
//! Who decides is a function, and what it is told is not in the hands of whoever signs in: what has been
//! answered so far, and what only the functions may know, are sealed in `Session`, which is good once. An answer
//! counts before anybody learns what it was worth, also where a function fails after it has seen one. A second
//! factor that the user has is asked for after all of it.
//!
//! Source: developer guide, "Custom authentication challenge Lambda triggers".

use std::collections::BTreeMap;

use conclave_api::{ApiError, ExceptionName};
use conclave_store::records::{ChallengeResult, ChallengeSession, UserRecord};

use super::{
    attempts::{self, Counter},
    challenge_session::{self, SignIn},
    device_auth,
    machine::{self, AfterPassword, Second},
    second_factor, srp,
    step::{self, Step, required},
    unknown,
};
use crate::{
    config::{ClientConfig, PoolConfig},
    errors,
    triggers::{
        answer,
        challenge::{self, CUSTOM_CHALLENGE, Made, Next},
    },
    tx::{Failure, Tx},
    users::{
        lookup::{self, FoundUser},
        status,
    },
};

/// The flow, as sessions remember it.
pub const FLOW: &str = "CUSTOM_AUTH";
const SRP_A: &str = "SRP_A";
const PASSWORD_VERIFIER: &str = "PASSWORD_VERIFIER";

/// Challenges of one sign-in, at most: judgement.
pub const ROUNDS_MAX: usize = 16;
/// What is sealed in a session of this flow fills this many bytes, so that it tells nobody who exists.
const BLOCK: usize = 1_344;
/// `Session` has at most so many characters, in the model.
const SESSION_CHARS_MAX: usize = 2_048;

/// Whoever signs in, as far as it is known.
#[derive(Clone, Copy)]
pub struct Somebody<'a> {
    /// The name that was given.
    pub username: &'a str,
    /// The user of that name.
    pub user: Option<&'a UserRecord>,
}

impl Somebody<'_> {
    /// The canonical name, by which functions know the user too.
    fn shown(&self, config: &PoolConfig) -> String {
        match self.user {
            Some(user) => user.username.clone(),
            None => unknown::shown_name(config, self.username),
        }
    }
}

/// Begins, by SRP where the app has sent its part of that.
///
/// # Errors
/// InvalidParameterException where the pool has not all three functions; UserNotFoundException where the client
/// is told; what the functions answer.
pub async fn begin(
    tx: &mut Tx<'_>,
    client: &ClientConfig,
    username: &str,
    found: Option<FoundUser>,
    (sign_in, parameters): (SignIn<'_>, &BTreeMap<String, String>),
) -> Result<Step, Failure> {
    if !challenge::are_configured(&tx.pool()?.record) {
        return Err(challenge::not_configured().into());
    }
    device_auth::check_named(tx, found.as_ref(), sign_in.device_key)?;
    match &found {
        None if !client.hides_users() => return Err(errors::user_not_found().into()),
        None => {}
        Some(found) => step::may_try(client, &found.user.record)?,
    }
    tx.rely_on_config();
    let somebody = Somebody { username, user: found.as_ref().map(|found| &found.user.record) };
    let begins_with = parameters.get("CHALLENGE_NAME").map(String::as_str);
    match begins_with {
        Some(SRP_A) => {}
        None | Some("") => return next(tx, client, somebody, sign_in, &[]).await,
        // the text is ours
        Some(_) => {
            return Err(ApiError::invalid_parameter("CHALLENGE_NAME can only be SRP_A.").into());
        }
    }
    let srp_a = required(parameters, SRP_A)?;
    let results = [passed(SRP_A)];
    match ask(tx, client, somebody, &results).await? {
        Next::Challenge(name) if name == PASSWORD_VERIFIER => {
            let sign_in = SignIn { results: &results, ..sign_in };
            srp::challenge(tx, client, username, srp_a, found, sign_in).await
        }
        // a function that does not want the password: it was not asked for
        decided => go_on(tx, client, somebody, (sign_in, &results), decided).await,
    }
}

/// What follows the password, where a custom sign-in began with it.
///
/// # Errors
/// What the functions answer, told after the commit: that the password was right is told then.
pub async fn after_password(
    tx: &mut Tx<'_>,
    client: &ClientConfig,
    user: &UserRecord,
    sign_in: SignIn<'_>,
) -> Result<Step, Failure> {
    let mut results = sign_in.results.to_vec();
    results.push(passed(PASSWORD_VERIFIER));
    let somebody = Somebody { username: &user.username, user: Some(user) };
    let step = next(tx, client, somebody, sign_in, &results).await;
    step.map_err(Failure::after_commit)
}

/// Whether a sign-in is one of this flow in which the functions have not decided yet.
pub fn is_under_way(sign_in: &SignIn<'_>) -> bool {
    sign_in.flow == FLOW && !sign_in.results.is_empty()
}

fn passed(challenge: &str) -> ChallengeResult {
    ChallengeResult { challenge: challenge.to_owned(), is_passed: true, metadata: None }
}

async fn ask(
    tx: &Tx<'_>,
    client: &ClientConfig,
    somebody: Somebody<'_>,
    results: &[ChallengeResult],
) -> Result<Next, ApiError> {
    let shown = somebody.shown(&*tx.pool()?);
    let asked = challenge::Somebody { username: &shown, user: somebody.user };
    challenge::define(tx, client, asked, results).await
}

async fn next(
    tx: &mut Tx<'_>,
    client: &ClientConfig,
    somebody: Somebody<'_>,
    sign_in: SignIn<'_>,
    results: &[ChallengeResult],
) -> Result<Step, Failure> {
    let decided = ask(tx, client, somebody, results).await?;
    go_on(tx, client, somebody, (sign_in, results), decided).await
}

async fn go_on(
    tx: &mut Tx<'_>,
    client: &ClientConfig,
    somebody: Somebody<'_>,
    (sign_in, results): (SignIn<'_>, &[ChallengeResult]),
    decided: Next,
) -> Result<Step, Failure> {
    match (decided, somebody.user) {
        (Next::Tokens, Some(user)) => {
            let is_passed =
                |result: &ChallengeResult| result.is_passed && result.challenge == CUSTOM_CHALLENGE;
            finish(tx, client, user, (sign_in, results.iter().any(is_passed))).await
        }
        // whatever a function thinks, nobody is nobody
        (Next::Fail, _) | (Next::Tokens, None) => {
            Err(Failure::RefusedAfterCommit(errors::incorrect_username_or_password()))
        }
        (Next::Challenge(name), _) if name == CUSTOM_CHALLENGE && results.len() < ROUNDS_MAX => {
            challenge(tx, client, somebody, sign_in, results).await
        }
        (Next::Challenge(name), _) if name == CUSTOM_CHALLENGE => {
            tracing::warn!(rounds = ROUNDS_MAX, "a custom sign-in does not come to an end");
            Err(Failure::RefusedAfterCommit(errors::incorrect_username_or_password()))
        }
        (Next::Challenge(name), _) => {
            Err(answer::invalid(&format!("{name} is no challenge that can follow")).into())
        }
    }
}

/// The functions want tokens for `user`. Second factors come first, and remembered devices.
async fn finish(
    tx: &mut Tx<'_>,
    client: &ClientConfig,
    user: &UserRecord,
    (sign_in, has_passed): (SignIn<'_>, bool),
) -> Result<Step, Failure> {
    let refused = Failure::RefusedAfterCommit;
    challenge_session::rely_on_user(tx, &user.sub);
    step::may_sign_in(user).map_err(refused)?;
    match machine::after_custom_challenges(&user.status) {
        AfterPassword::SecondFactor => {}
        AfterPassword::ResetRequired => return Err(refused(status::password_reset_required())),
        AfterPassword::NewPassword => {
            return Err(refused(errors::incorrect_username_or_password()));
        }
    }
    if sign_in.credentials_set_ms == 0 {
        attempts::succeeded(tx, attempts::of_user(&user.sub));
    } else if has_passed && !is_open(&second_factor::of(tx, user)?) {
        attempts::succeeded(tx, attempts::of_codes(&user.sub));
    }
    Box::pin(second_factor::next(tx, client, user, SignIn { results: &[], ..sign_in })).await
}

/// Whether a second factor is still to be proved, the wrong codes of which count with the wrong answers: it forgets them, and
/// nothing before it, or whoever knows the answers could guess codes for ever.
fn is_open(second: &Second) -> bool {
    match second {
        Second::One(_) | Second::Select(_) | Second::Unusable => true,
        Second::Nothing | Second::Setup(_) => false,
    }
}

async fn challenge(
    tx: &mut Tx<'_>,
    client: &ClientConfig,
    somebody: Somebody<'_>,
    sign_in: SignIn<'_>,
    results: &[ChallengeResult],
) -> Result<Step, Failure> {
    let config = tx.pool()?;
    let shown = somebody.shown(&config);
    let asked = challenge::Somebody { username: &shown, user: somebody.user };
    let Made { public, private, metadata } = challenge::create(tx, client, asked, results).await?;
    let (sub, name) = match somebody.user {
        Some(user) => (user.sub.as_str(), user.username.clone()),
        None => ("", lookup::folded(&config, somebody.username)),
    };
    let session = ChallengeSession {
        results: results.to_vec(),
        private_parameters: private,
        challenge_metadata: metadata,
        ..challenge_session::new(tx, client, (sub, &name), CUSTOM_CHALLENGE, sign_in)
    };
    let session = challenge_session::to_text_in(tx.world(), &config, session, BLOCK)?;
    if session.len() > SESSION_CHARS_MAX {
        let why = "privateChallengeParameters and challengeMetadata are too long for a session";
        return Err(answer::invalid(why).into());
    }
    let mut parameters: BTreeMap<_, _> = public.into_iter().collect();
    parameters.insert("USERNAME".to_owned(), shown);
    Ok(Step::challenge(CUSTOM_CHALLENGE, parameters, Some(session)))
}

// ---- answers --------------------------------------------------------------------------------

/// Answers CUSTOM_CHALLENGE. The rows of the name's lookup, of its unknown attempts and of the used session must
/// have been loaded.
///
/// # Errors
/// NotAuthorizedException; what the functions answer, told after the commit.
pub async fn respond(
    tx: &mut Tx<'_>,
    client: &ClientConfig,
    (sealed, session): (&[u8], &ChallengeSession),
    (username, given): (&str, &str),
    found: Option<FoundUser>,
) -> Result<Step, Failure> {
    let config = tx.pool()?;
    let found = found.filter(|found| found.sub() == session.sub);
    let (user, counter) = match &found {
        Some(found) => {
            let user = &found.user.record;
            step::may_try(client, user)?;
            if session.issued_ms < user.sessions_valid_from_ms {
                return Err(challenge_session::invalid().into());
            }
            if session.credentials_set_ms != 0 {
                challenge_session::check_user(session, Some(found))?;
            }
            (Some(user), counter(session))
        }
        None if srp::is_answer_of_unknown(&config, session, username) => {
            let counter = attempts::of_unknown(tx.world(), config.id(), &session.username);
            (None, counter)
        }
        None => return Err(challenge_session::invalid().into()),
    };
    attempts::check_lock(tx, &counter)?;
    if let Some(user) = user {
        challenge_session::rely_on_user(tx, &user.sub);
    }
    let name = user.map_or(session.username.as_str(), |_| username);
    let somebody = Somebody { username: name, user };
    let shown = somebody.shown(&config);
    let asked = challenge::Somebody { username: &shown, user };
    let verdict = challenge::verify(tx, client, asked, &session.private_parameters, given).await;
    if let Err(error) = &verdict
        && error.code == ExceptionName::TooManyRequestsException
    {
        // no function was called: the answer can be given again
        return Err(error.clone().into());
    }

    // from here on the answer has been seen, and whatever becomes of it, it was one
    challenge_session::consume(tx, sealed, session);
    let is_passed = match verdict {
        Ok(is_passed) => is_passed,
        Err(error) => {
            // some functions throw what they do not like; one that is not there has not judged
            if error.code != ExceptionName::UnexpectedLambdaException {
                attempts::count(tx, counter)?;
            }
            return Err(Failure::RefusedAfterCommit(error));
        }
    };
    if is_passed {
        attempts::take_turn(tx, &counter);
    } else if attempts::count(tx, counter)? {
        return Err(Failure::RefusedAfterCommit(errors::incorrect_username_or_password()));
    }
    let mut results = session.results.clone();
    let metadata = session.challenge_metadata.clone();
    results.push(ChallengeResult { challenge: CUSTOM_CHALLENGE.to_owned(), is_passed, metadata });
    let step = next(tx, client, somebody, SignIn::of(session), &results).await;
    step.map_err(Failure::after_commit)
}

/// Where wrong answers count: with wrong codes where a password has been shown before, which a right password
/// does not forget, but a right answer does at the end; and else with wrong passwords.
fn counter(session: &ChallengeSession) -> Counter {
    if session.credentials_set_ms == 0 {
        attempts::of_user(&session.sub)
    } else {
        attempts::of_codes(&session.sub)
    }
}
