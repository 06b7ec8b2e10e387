//! Functions that a pool calls at certain moments: its LambdaConfig.
//!
//! One file for each kind of trigger says what its event holds and what its answer may change. What decides
//! whether something happens at all ([`pre_sign_up`], [`authentication::before`], [`challenge`]) is asked while
//! the operation is decided, once for a request ([`ask`]); what is told that something has happened is called
//! after the commit ([`crate::tx::Tx::after_commit`]), and its failure undoes nothing.
//!
//! Source: developer guide, "Customizing user pool workflows with Lambda triggers". Where an exception's text
//! is in no documentation, it is from reports of the service's answers, or judgement; it says so there.

pub mod answer;
pub mod authentication;
pub mod challenge;
pub mod custom_message;
pub mod custom_sender;
mod event;
pub mod post_confirmation;
pub mod pre_sign_up;
pub mod settings;
pub mod token_generation;
pub mod user_migration;

use std::{collections::BTreeMap, time::Duration};

use conclave_api::{ApiError, ExceptionName};
use conclave_crypto::ids;
use conclave_outbound::{Invocation, InvokeError, Time, Triggers, Wait};
use conclave_store::records::PoolRecord;
use serde_json::{Map, Value};
use tokio::time::Instant;
use tracing::Instrument as _;

pub use event::{Event, Who, attributes, metadata};

use crate::{errors, tx::Tx, world::World};

/// The triggers of a pool that are built.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trigger {
    /// Before a user is made.
    PreSignUp,
    /// Words of a message.
    CustomMessage,
    /// After a user has been confirmed, or has reset the password.
    PostConfirmation,
    /// Before anything is proved.
    PreAuthentication,
    /// After everything has been proved.
    PostAuthentication,
    /// Which challenge comes next.
    DefineAuthChallenge,
    /// What it asks.
    CreateAuthChallenge,
    /// Whether it has been answered.
    VerifyAuthChallengeResponse,
    /// What tokens say.
    PreTokenGeneration,
    /// Whom another directory knows.
    UserMigration,
    /// Sends e-mail.
    CustomEmailSender,
    /// Sends text messages.
    CustomSmsSender,
}

impl Trigger {
    /// As exceptions and LambdaConfig call it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::PreSignUp => "PreSignUp",
            Self::CustomMessage => "CustomMessage",
            Self::PostConfirmation => "PostConfirmation",
            Self::PreAuthentication => "PreAuthentication",
            Self::PostAuthentication => "PostAuthentication",
            Self::DefineAuthChallenge => "DefineAuthChallenge",
            Self::CreateAuthChallenge => "CreateAuthChallenge",
            Self::VerifyAuthChallengeResponse => "VerifyAuthChallengeResponse",
            Self::PreTokenGeneration => "PreTokenGeneration",
            Self::UserMigration => "UserMigration",
            Self::CustomEmailSender => "CustomEmailSender",
            Self::CustomSmsSender => "CustomSMSSender",
        }
    }

    /// The function of a pool, by ARN.
    pub fn function(self, pool: &PoolRecord) -> Option<&str> {
        let triggers = pool.triggers.as_ref()?;
        let function = match self {
            Self::PreSignUp => &triggers.pre_sign_up,
            Self::CustomMessage => &triggers.custom_message,
            Self::PostConfirmation => &triggers.post_confirmation,
            Self::PreAuthentication => &triggers.pre_authentication,
            Self::PostAuthentication => &triggers.post_authentication,
            Self::DefineAuthChallenge => &triggers.define_auth_challenge,
            Self::CreateAuthChallenge => &triggers.create_auth_challenge,
            Self::VerifyAuthChallengeResponse => &triggers.verify_auth_challenge_response,
            Self::PreTokenGeneration => &triggers.pre_token_generation,
            Self::UserMigration => &triggers.user_migration,
            Self::CustomEmailSender => &triggers.custom_email_sender,
            Self::CustomSmsSender => &triggers.custom_sms_sender,
        };
        function.as_deref()
    }
}

/// What all functions of one request may take together, and the keys of senders: a client is answered within 30 seconds, and
/// a function that was called later would be called for nobody.
const REQUEST: Duration = Duration::from_secs(25);
/// How long a message waits for others of its function while whoever asked for it waits too.
const SEND_PATIENCE: Duration = Duration::from_secs(5);
/// What a message may take for which nobody waits.
const POST: Duration = Duration::from_secs(60);

/// When the time for the functions of a request that begins now is over.
pub fn until() -> Instant {
    Instant::now() + REQUEST
}

/// The time for something that is decided by its answer, or told: it does not wait for others.
pub(crate) fn at_once(until: Instant) -> Time {
    Time { patience: Duration::ZERO, until }
}

/// The time for a message that somebody waits for, and that has a place in the queue.
pub(crate) fn in_turn(until: Instant) -> Time {
    Time { patience: SEND_PATIENCE, until }
}

/// The time for a message that nobody waits for, and that has a place in the queue.
pub(crate) fn in_background() -> Time {
    Time { patience: POST, until: Instant::now() + POST }
}

/// What a request brings along for the triggers of its pool.
#[derive(Debug, Clone, Copy, Default)]
pub struct Circumstances<'a> {
    /// `ClientMetadata`, where the operation passes it on.
    pub client_metadata: Option<&'a BTreeMap<String, String>>,
    /// What leads to tokens, should there be any.
    pub occasion: Occasion,
}

/// What leads to tokens, as PreTokenGeneration tells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Occasion {
    /// A sign-in.
    #[default]
    Authentication,
    /// The answer to NEW_PASSWORD_REQUIRED.
    NewPassword,
    /// A device has proved itself.
    Device,
    /// A refresh token.
    Refresh,
}

/// Asks a function something on which a decision depends: once for a request, however often it is decided.
///
/// # Errors
/// Those of [`call`].
pub async fn ask(tx: &Tx<'_>, event: &Event) -> Result<Map<String, Value>, ApiError> {
    let mut known = tx.memo().answers().lock().await;
    if let Some((of, answer)) = known.get(event.source)
        && *of == event.payload
    {
        return answer.clone();
    }
    let answer = call(tx.world(), event, tx.until()).await;
    known.insert(event.source, (event.payload.clone(), answer.clone()));
    answer
}

/// Calls a function, which has time until `until`, and answers its `response`.
///
/// # Errors
/// UserLambdaValidationException with what the function has thrown; InvalidLambdaResponseException for what is
/// no event; UnexpectedLambdaException when there is no answer; TooManyRequestsException.
pub async fn call(
    world: &World,
    event: &Event,
    until: Instant,
) -> Result<Map<String, Value>, ApiError> {
    call_as(&*world.triggers, event, ids::uuid(&*world.entropy), at_once(until)).await
}

/// [`call`] by an id that has been drawn.
pub(crate) async fn call_as(
    functions: &dyn Triggers,
    event: &Event,
    id: String,
    time: Time,
) -> Result<Map<String, Value>, ApiError> {
    let span = tracing::info_span!("trigger", trigger = event.trigger.as_str());
    let (function, event_json) = (event.function.clone(), event.payload.clone());
    let (source, wait) = (event.source, Wait::Answer);
    let invocation = Invocation { function, event: event_json, id, source, wait, time };
    match functions.invoke(invocation).instrument(span).await {
        Ok(body) => answer::response(&body),
        Err(error) => Err(refusal(event.trigger, &event.function, &error)),
    }
}

fn refusal(trigger: Trigger, function: &str, error: &InvokeError) -> ApiError {
    let trigger = trigger.as_str();
    let why = match error {
        InvokeError::Failed(message) => {
            // what it throws is for the caller; the function has a log of its own
            return ExceptionName::UserLambdaValidationException
                .because(format!("{trigger} failed with error {message}."));
        }
        InvokeError::TooLong => return answer::invalid("The response is too long"),
        InvokeError::Overloaded => return errors::too_many_requests(),
        InvokeError::TimedOut => "Socket timeout while invoking Lambda function".to_owned(),
        InvokeError::Refused(kind) => kind.clone(),
        // judgement: Cognito knows where all functions are
        InvokeError::NotConfigured => "no endpoint is configured for the function".to_owned(),
        InvokeError::NotAllowed => "calls may not go to its address".to_owned(),
        InvokeError::Unreachable(_) => "the function cannot be reached".to_owned(),
    };
    tracing::warn!(%error, trigger, function, "trigger not called");
    ExceptionName::UnexpectedLambdaException
        .because(format!("{trigger} invocation failed due to error {why}."))
}

#[cfg(test)]
mod custom_sender_tests;
#[cfg(test)]
mod tests;
