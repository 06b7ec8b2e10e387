//! The three triggers of a custom sign-in: what comes next, what it asks, and whether it has been answered.
//! Source: developer guide, "Custom authentication challenge Lambda triggers".

use conclave_api::ApiError;
use conclave_store::records::{Attribute, ChallengeResult, PoolRecord, UserRecord};
use serde_json::{Map, Value, json};

use super::{Event, Trigger, Who, answer, ask, attributes, metadata};
use crate::{config::ClientConfig, tx::Tx};

/// The name of the challenges that functions make.
pub const CUSTOM_CHALLENGE: &str = "CUSTOM_CHALLENGE";
/// Parameters of a challenge, public and private ones, have at most so many bytes each: judgement.
const PARAMETERS_BYTES_MAX: usize = 16 * 1024;

/// Whoever signs in.
#[derive(Clone, Copy)]
pub struct Somebody<'a> {
    /// `userName`
    pub username: &'a str,
    /// `None` for a name that no user has.
    pub user: Option<&'a UserRecord>,
}

/// What comes next.
#[derive(Debug, PartialEq, Eq)]
pub enum Next {
    /// Tokens.
    Tokens,
    /// The sign-in has failed.
    Fail,
    /// A challenge, by name.
    Challenge(String),
}

/// A challenge that a function has made.
pub struct Made {
    /// What the app is told.
    pub public: Vec<(String, String)>,
    /// What only the functions are told.
    pub private: Vec<Attribute>,
    /// How the challenge is called in the history.
    pub metadata: Option<String>,
}

/// Whether a pool has all that a custom sign-in takes.
pub fn are_configured(pool: &PoolRecord) -> bool {
    [
        Trigger::DefineAuthChallenge,
        Trigger::CreateAuthChallenge,
        Trigger::VerifyAuthChallengeResponse,
    ]
    .iter()
    .all(|trigger| trigger.function(pool).is_some())
}

/// Asks what comes after `results`.
///
/// # Errors
/// Those of [`ask`]; InvalidLambdaResponseException for an answer that says nothing.
pub async fn define(
    tx: &Tx<'_>,
    client: &ClientConfig,
    somebody: Somebody<'_>,
    results: &[ChallengeResult],
) -> Result<Next, ApiError> {
    let mut request = request(client, somebody);
    request.insert("session".to_owned(), session(results));
    let response =
        json!({ "challengeName": null, "issueTokens": null, "failAuthentication": null });
    let source = "DefineAuthChallenge_Authentication";
    let trigger = Trigger::DefineAuthChallenge;
    let answer = put(tx, client, somebody, (trigger, source), request, response).await?;
    let fails = answer::flag(&answer, "failAuthentication")?;
    let issues = answer::flag(&answer, "issueTokens")?;
    let name = answer::text(&answer, "challengeName")?.filter(|name| !name.is_empty());
    match (fails, issues, name) {
        (true, _, _) => Ok(Next::Fail),
        (false, true, _) => Ok(Next::Tokens),
        (false, false, Some(name)) => Ok(Next::Challenge(name)),
        (false, false, None) => Err(answer::unrecognizable()),
    }
}

/// Has a challenge made.
///
/// # Errors
/// Those of [`ask`]; InvalidLambdaResponseException.
pub async fn create(
    tx: &Tx<'_>,
    client: &ClientConfig,
    somebody: Somebody<'_>,
    results: &[ChallengeResult],
) -> Result<Made, ApiError> {
    let mut request = request(client, somebody);
    request.insert("challengeName".to_owned(), json!(CUSTOM_CHALLENGE));
    request.insert("session".to_owned(), session(results));
    let response = json!({
        "publicChallengeParameters": null,
        "privateChallengeParameters": null,
        "challengeMetadata": null,
    });
    let source = "CreateAuthChallenge_Authentication";
    let trigger = Trigger::CreateAuthChallenge;
    let answer = put(tx, client, somebody, (trigger, source), request, response).await?;
    let public = parameters(&answer, "publicChallengeParameters")?;
    let private = parameters(&answer, "privateChallengeParameters")?;
    Ok(Made {
        public,
        private: private.into_iter().map(|(name, value)| Attribute { name, value }).collect(),
        metadata: answer::text(&answer, "challengeMetadata")?,
    })
}

/// Asks whether `given` answers the challenge.
///
/// # Errors
/// Those of [`ask`].
pub async fn verify(
    tx: &Tx<'_>,
    client: &ClientConfig,
    somebody: Somebody<'_>,
    private: &[Attribute],
    given: &str,
) -> Result<bool, ApiError> {
    let mut request = request(client, somebody);
    let private: Map<String, Value> =
        private.iter().map(|pair| (pair.name.clone(), json!(pair.value))).collect();
    request.insert("privateChallengeParameters".to_owned(), Value::Object(private));
    request.insert("challengeAnswer".to_owned(), json!(given));
    let source = "VerifyAuthChallengeResponse_Authentication";
    let trigger = Trigger::VerifyAuthChallengeResponse;
    let response = json!({ "answerCorrect": null });
    let answer = put(tx, client, somebody, (trigger, source), request, response).await?;
    answer::flag(&answer, "answerCorrect")
}

fn request(client: &ClientConfig, somebody: Somebody<'_>) -> Map<String, Value> {
    let mut request = Map::new();
    let shown = somebody.user.map_or_else(|| json!({}), attributes);
    request.insert("userAttributes".to_owned(), shown);
    if client.hides_users() {
        request.insert("userNotFound".to_owned(), json!(somebody.user.is_none()));
    }
    request
}

async fn put(
    tx: &Tx<'_>,
    client: &ClientConfig,
    somebody: Somebody<'_>,
    (trigger, source): (Trigger, &'static str),
    mut request: Map<String, Value>,
    response: Value,
) -> Result<Map<String, Value>, ApiError> {
    metadata(&mut request, "clientMetadata", tx.circumstances().client_metadata);
    let who =
        Who { username: somebody.username, client_id: Some(client.record.client_id.as_str()) };
    let event = Event::new(&*tx.pool()?, trigger, (source, "1"), who, request, response);
    ask(tx, &event.ok_or_else(not_configured)?).await
}

/// `session`: the challenges that have been answered.
fn session(results: &[ChallengeResult]) -> Value {
    let result = |result: &ChallengeResult| {
        json!({
            "challengeName": result.challenge,
            "challengeResult": result.is_passed,
            "challengeMetadata": result.metadata,
        })
    };
    results.iter().map(result).collect()
}

fn parameters(
    answer: &Map<String, Value>,
    member: &str,
) -> Result<Vec<(String, String)>, ApiError> {
    let parameters = answer::texts(answer, member)?;
    let bytes: usize = parameters.iter().map(|(name, value)| name.len() + value.len()).sum();
    if bytes > PARAMETERS_BYTES_MAX {
        return Err(answer::invalid(&format!(
            "{member} has more than {PARAMETERS_BYTES_MAX} bytes"
        )));
    }
    Ok(parameters)
}

/// The text is the service's, from reports of its answer.
pub fn not_configured() -> ApiError {
    ApiError::invalid_parameter("Custom auth lambda trigger is not configured for the user pool.")
}
