//! InitiateAuth: how a sign-in begins.
//! <https://docs.aws.amazon.com/cognito-user-identity-pools/latest/APIReference/API_InitiateAuth.html>

use conclave_api::{ApiError, enums::AuthFlowType, types};

use super::begin::{Begin, begin};
use crate::{
    call::Call, client_pool::client_pool, threat_protection::context::Context, world::World,
};

/// Answers InitiateAuth.
///
/// # Errors
/// As the API declares them.
pub async fn initiate_auth(
    world: &World,
    call: &Call,
    input: types::InitiateAuthRequest,
) -> Result<types::InitiateAuthResponse, ApiError> {
    let client_id = input.client_id.unwrap_or_default();
    let request = Begin {
        pool_id: client_pool(world, &client_id).await?,
        client_id: &client_id,
        flow: AuthFlowType::from(input.auth_flow.as_deref().unwrap_or_default()),
        parameters: &input.auth_parameters,
        session: input.session.as_deref(),
        client_metadata: Some(&input.client_metadata),
        is_migration_over: false,
        call,
        context: Context::of_app(call.peer, input.user_context_data.as_ref()),
        is_admin: false,
    };
    begin(world, request).await.map(Into::into)
}
