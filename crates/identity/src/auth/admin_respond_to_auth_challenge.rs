//! AdminRespondToAuthChallenge: the next step of a sign-in that a server makes for its user.
//! <https://docs.aws.amazon.com/cognito-user-identity-pools/latest/APIReference/API_AdminRespondToAuthChallenge.html>

use conclave_api::{ApiError, enums::ChallengeNameType, types};

use super::respond::Respond;
use crate::{call::Call, threat_protection::context::Context, tx::transact, world::World};

/// Answers AdminRespondToAuthChallenge.
///
/// # Errors
/// As the API declares them.
pub async fn admin_respond_to_auth_challenge(
    world: &World,
    call: &Call,
    input: types::AdminRespondToAuthChallengeRequest,
) -> Result<types::AdminRespondToAuthChallengeResponse, ApiError> {
    let client_id = input.client_id.unwrap_or_default();
    let pool_id = input.user_pool_id.unwrap_or_default();
    let challenge = ChallengeNameType::from(input.challenge_name.as_deref().unwrap_or_default());
    let session = input.session.as_deref();
    let responses = &input.challenge_responses;
    let mut respond = Respond::new(call, (pool_id, &client_id), challenge, session, responses);
    respond.is_admin = true;
    respond.client_metadata = Some(&input.client_metadata);
    respond.context = Context::of_server(call.peer, input.context_data.as_ref());
    transact(world, &respond).await.map(Into::into)
}
