//! RespondToAuthChallenge: the next step of a sign-in.
//! <https://docs.aws.amazon.com/cognito-user-identity-pools/latest/APIReference/API_RespondToAuthChallenge.html>

use conclave_api::{ApiError, enums::ChallengeNameType, types};

use super::respond::Respond;
use crate::{
    call::Call, client_pool::client_pool, threat_protection::context::Context, tx::transact,
    world::World,
};

/// Answers RespondToAuthChallenge.
///
/// # Errors
/// As the API declares them.
pub async fn respond_to_auth_challenge(
    world: &World,
    call: &Call,
    input: types::RespondToAuthChallengeRequest,
) -> Result<types::RespondToAuthChallengeResponse, ApiError> {
    let client_id = input.client_id.unwrap_or_default();
    let pool_id = client_pool(world, &client_id).await?;
    let challenge = ChallengeNameType::from(input.challenge_name.as_deref().unwrap_or_default());
    let session = input.session.as_deref();
    let responses = &input.challenge_responses;
    let mut respond = Respond::new(call, (pool_id, &client_id), challenge, session, responses);
    respond.client_metadata = Some(&input.client_metadata);
    respond.context = Context::of_app(call.peer, input.user_context_data.as_ref());
    transact(world, &respond).await.map(Into::into)
}
