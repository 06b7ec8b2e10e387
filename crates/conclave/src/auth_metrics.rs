//! Counts sign-in attempts and issued tokens at the edge of the domain, by what it answers.

use conclave_api::{ApiError, types};
use conclave_gateway::metrics::Metrics;
use conclave_identity::{auth, call::Call, world::World};

/// What the label `flow` can be, besides `other`: flows, and the challenges that are answered. A label
/// never has a value that a client has made up.
const FLOWS: [&str; 22] = [
    "USER_SRP_AUTH",
    "USER_PASSWORD_AUTH",
    "REFRESH_TOKEN_AUTH",
    "REFRESH_TOKEN",
    "CUSTOM_AUTH",
    "USER_AUTH",
    "ADMIN_USER_PASSWORD_AUTH",
    "ADMIN_NO_SRP_AUTH",
    "PASSWORD_VERIFIER",
    "NEW_PASSWORD_REQUIRED",
    "SMS_MFA",
    "EMAIL_OTP",
    "SOFTWARE_TOKEN_MFA",
    "SELECT_MFA_TYPE",
    "MFA_SETUP",
    "SELECT_CHALLENGE",
    "PASSWORD",
    "PASSWORD_SRP",
    "SMS_OTP",
    "WEB_AUTHN",
    "DEVICE_SRP_AUTH",
    "DEVICE_PASSWORD_VERIFIER",
];

/// [`auth::initiate_auth`], counted by its flow.
pub async fn initiate_auth(
    metrics: &Metrics,
    world: &World,
    call: &Call,
    input: types::InitiateAuthRequest,
) -> Result<types::InitiateAuthResponse, ApiError> {
    let flow = flow(input.auth_flow.as_deref());
    let answer = auth::initiate_auth(world, call, input).await;
    count(metrics, flow, answer.as_ref().map(|answer| answer.authentication_result.as_ref()));
    answer
}

/// [`auth::respond_to_auth_challenge`], counted by its challenge.
pub async fn respond_to_auth_challenge(
    metrics: &Metrics,
    world: &World,
    call: &Call,
    input: types::RespondToAuthChallengeRequest,
) -> Result<types::RespondToAuthChallengeResponse, ApiError> {
    let flow = flow(input.challenge_name.as_deref());
    let answer = auth::respond_to_auth_challenge(world, call, input).await;
    count(metrics, flow, answer.as_ref().map(|answer| answer.authentication_result.as_ref()));
    answer
}

/// [`auth::get_tokens_from_refresh_token`], counted by its name.
pub async fn get_tokens_from_refresh_token(
    metrics: &Metrics,
    world: &World,
    call: &Call,
    input: types::GetTokensFromRefreshTokenRequest,
) -> Result<types::GetTokensFromRefreshTokenResponse, ApiError> {
    let answer = auth::get_tokens_from_refresh_token(world, call, input).await;
    let tokens = answer.as_ref().map(|answer| answer.authentication_result.as_ref());
    count(metrics, "GetTokensFromRefreshToken", tokens);
    answer
}

/// [`auth::admin_initiate_auth`], counted by its flow.
pub async fn admin_initiate_auth(
    metrics: &Metrics,
    world: &World,
    call: &Call,
    input: types::AdminInitiateAuthRequest,
) -> Result<types::AdminInitiateAuthResponse, ApiError> {
    let flow = flow(input.auth_flow.as_deref());
    let answer = auth::admin_initiate_auth(world, call, input).await;
    count(metrics, flow, answer.as_ref().map(|answer| answer.authentication_result.as_ref()));
    answer
}

/// [`auth::admin_respond_to_auth_challenge`], counted by its challenge.
pub async fn admin_respond_to_auth_challenge(
    metrics: &Metrics,
    world: &World,
    call: &Call,
    input: types::AdminRespondToAuthChallengeRequest,
) -> Result<types::AdminRespondToAuthChallengeResponse, ApiError> {
    let flow = flow(input.challenge_name.as_deref());
    let answer = auth::admin_respond_to_auth_challenge(world, call, input).await;
    count(metrics, flow, answer.as_ref().map(|answer| answer.authentication_result.as_ref()));
    answer
}

fn flow(name: Option<&str>) -> &'static str {
    FLOWS.into_iter().find(|known| name == Some(known)).unwrap_or("other")
}

/// `ok` is an answer with tokens, `challenge` one that asks for more, `refused` the client's fault and
/// `error` ours.
fn count(
    metrics: &Metrics,
    flow: &'static str,
    answer: Result<Option<&types::AuthenticationResultType>, &ApiError>,
) {
    let result = match answer {
        Ok(Some(_)) => "ok",
        Ok(None) => "challenge",
        Err(error) if error.is_our_fault() => "error",
        Err(_) => "refused",
    };
    metrics.auth_attempt(flow, result);
    let Ok(Some(tokens)) = answer else { return };
    let kinds = [
        ("id", &tokens.id_token),
        ("access", &tokens.access_token),
        ("refresh", &tokens.refresh_token),
    ];
    for (kind, token) in kinds {
        if token.is_some() {
            metrics.token_issued(kind);
        }
    }
}

#[cfg(test)]
mod tests {
    use conclave_api::ExceptionName;

    use super::*;

    #[test]
    fn an_attempt_is_counted_by_its_outcome_and_its_tokens_by_their_kind() {
        let metrics = Metrics::new("0", "0");
        let tokens = types::AuthenticationResultType {
            access_token: Some("a".to_owned()),
            id_token: Some("i".to_owned()),
            ..Default::default()
        };
        let refused = ExceptionName::NotAuthorizedException.because("no");
        count(&metrics, flow(Some("REFRESH_TOKEN_AUTH")), Ok(Some(&tokens)));
        count(&metrics, flow(Some("USER_SRP_AUTH")), Ok(None));
        count(&metrics, flow(Some("USER_SRP_AUTH")), Err(&refused));
        count(&metrics, flow(Some("made up")), Err(&ApiError::internal("ours")));
        let text = metrics.encode();
        for line in [
            r#"conclave_auth_attempts_total{flow="REFRESH_TOKEN_AUTH",result="ok"} 1"#,
            r#"conclave_auth_attempts_total{flow="USER_SRP_AUTH",result="challenge"} 1"#,
            r#"conclave_auth_attempts_total{flow="USER_SRP_AUTH",result="refused"} 1"#,
            r#"conclave_auth_attempts_total{flow="other",result="error"} 1"#,
            r#"conclave_tokens_issued_total{kind="id"} 1"#,
            r#"conclave_tokens_issued_total{kind="access"} 1"#,
        ] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
        assert!(!text.contains("refresh\"") && !text.contains("made up"), "{text}");
    }
}
