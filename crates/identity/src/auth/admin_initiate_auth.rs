//! AdminInitiateAuth: how a sign-in begins that a server makes for its user.
//! <https://docs.aws.amazon.com/cognito-user-identity-pools/latest/APIReference/API_AdminInitiateAuth.html>
//!
//! ContextData is taken and feeds nothing: it serves threat protection, which is off.

use conclave_api::{ApiError, enums::AuthFlowType, types};

use super::begin::{Begin, begin};
use crate::{call::Call, threat_protection::context::Context, world::World};

/// Answers AdminInitiateAuth.
///
/// # Errors
/// As the API declares them.
pub async fn admin_initiate_auth(
    world: &World,
    call: &Call,
    input: types::AdminInitiateAuthRequest,
) -> Result<types::AdminInitiateAuthResponse, ApiError> {
    let client_id = input.client_id.unwrap_or_default();
    let request = Begin {
        pool_id: input.user_pool_id.unwrap_or_default(),
        client_id: &client_id,
        flow: AuthFlowType::from(input.auth_flow.as_deref().unwrap_or_default()),
        parameters: &input.auth_parameters,
        session: input.session.as_deref(),
        client_metadata: Some(&input.client_metadata),
        is_migration_over: false,
        call,
        context: Context::of_server(call.peer, input.context_data.as_ref()),
        is_admin: true,
    };
    begin(world, request).await.map(Into::into)
}
