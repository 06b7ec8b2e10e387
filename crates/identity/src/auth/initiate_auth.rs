//! InitiateAuth: how a sign-in begins.
//! <https://docs.aws.amazon.com/cognito-user-identity-pools/latest/APIReference/API_InitiateAuth.html>

use async_trait::async_trait;
use conclave_api::{ApiError, enums::AuthFlowType, types};
use conclave_crypto::secret::SecretString;

use super::{
    attempts, device_auth, flows, password, refresh, srp,
    step::{Step, required},
    tokens,
};
use crate::{
    call::Call,
    client_pool::{self, client_pool},
    config::ClientConfig,
    errors,
    tx::{Decision, Failure, Query, Transaction, Tx, transact},
    users::{lookup, secret_hash},
    world::World,
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
    let client_id = input.client_id.clone().unwrap_or_default();
    let pool_id = client_pool(world, &client_id).await?;
    let flow = AuthFlowType::from(input.auth_flow.as_deref().unwrap_or_default());
    transact(world, &InitiateAuth { pool_id, client_id, flow, call, input: &input }).await
}

struct InitiateAuth<'a> {
    pool_id: String,
    client_id: String,
    flow: AuthFlowType,
    call: &'a Call,
    input: &'a types::InitiateAuthRequest,
}

#[async_trait]
impl Transaction for InitiateAuth<'_> {
    type Output = types::InitiateAuthResponse;

    fn scope(&self) -> &str {
        &self.pool_id
    }

    fn scope_is_gone(&self) -> ApiError {
        errors::client_not_found(&self.client_id)
    }

    async fn decide(&self, tx: &mut Tx<'_>) -> Decision<Self::Output> {
        let query = self.query(tx);
        let client = client_pool::load(tx, query, &self.client_id).await?.client;
        self.check_flow(&client)?;
        let step = match self.flow {
            AuthFlowType::UserPasswordAuth => self.by_password(tx, &client).await?,
            AuthFlowType::UserSrpAuth => self.by_srp(tx, &client).await?,
            AuthFlowType::RefreshToken | AuthFlowType::RefreshTokenAuth => {
                self.by_refresh_token(tx, &client).await?
            }
            AuthFlowType::CustomAuth => {
                return Err(ApiError::invalid_parameter(
                    "Custom auth lambda trigger is not configured for the user pool.",
                )
                .into());
            }
            _ => return Err(ApiError::not_supported("InitiateAuth.AuthFlow USER_AUTH").into()),
        };
        Ok(step.into_initiate_auth())
    }
}

impl InitiateAuth<'_> {
    /// All that the flow needs, in one read: what a request means is checked when the rules are known.
    fn query(&self, tx: &Tx<'_>) -> Query {
        let query = Query::new();
        let parameters = &self.input.auth_parameters;
        match self.flow {
            AuthFlowType::UserPasswordAuth | AuthFlowType::UserSrpAuth => {
                let name = parameters.get("USERNAME").map_or("", String::as_str);
                let query = attempts::query_unknown(query, tx.world(), &self.pool_id, name);
                if !within_limits(name) {
                    return query;
                }
                let query = lookup::query(query, name, &[lookup::With::Credentials]);
                match self.flow {
                    AuthFlowType::UserPasswordAuth => {
                        device_auth::query(tokens::query(query, tx), parameters)
                    }
                    _ => query,
                }
            }
            AuthFlowType::RefreshToken | AuthFlowType::RefreshTokenAuth => {
                let token = parameters.get("REFRESH_TOKEN").map_or("", String::as_str);
                match refresh::parse(token, &self.pool_id) {
                    Ok(token) => refresh::query(query, &token, device_auth::named(parameters)),
                    Err(_) => query,
                }
            }
            _ => query,
        }
    }

    fn check_flow(&self, client: &ClientConfig) -> Result<(), ApiError> {
        match self.flow {
            AuthFlowType::AdminNoSrpAuth | AuthFlowType::AdminUserPasswordAuth => {
                Err(ApiError::invalid_parameter("Initiate Auth method not supported."))
            }
            _ => flows::check_enabled(client, &self.flow),
        }
    }

    async fn by_password(&self, tx: &mut Tx<'_>, client: &ClientConfig) -> Result<Step, Failure> {
        let parameters = &self.input.auth_parameters;
        let username = required(parameters, "USERNAME")?;
        let password = SecretString::new(required(parameters, "PASSWORD")?.to_owned());
        self.check_secret(client, username)?;
        let found = self.find(tx, username)?;
        let (device_key, event_id) = (device_auth::named(parameters), &self.call.request_id);
        password::sign_in(tx, client, username, &password, found, device_key, event_id).await
    }

    async fn by_srp(&self, tx: &mut Tx<'_>, client: &ClientConfig) -> Result<Step, Failure> {
        let parameters = &self.input.auth_parameters;
        let username = required(parameters, "USERNAME")?;
        let srp_a = required(parameters, "SRP_A")?;
        self.check_secret(client, username)?;
        let found = self.find(tx, username)?;
        srp::challenge(tx, client, username, srp_a, found, &self.call.request_id).await
    }

    async fn by_refresh_token(
        &self,
        tx: &mut Tx<'_>,
        client: &ClientConfig,
    ) -> Result<Step, Failure> {
        let parameters = &self.input.auth_parameters;
        let token = required(parameters, "REFRESH_TOKEN")?;
        let secret_hash = parameters.get("SECRET_HASH").map(String::as_str);
        secret_hash::check_presence(client, secret_hash)?;
        let token = refresh::parse(token, &self.pool_id)?;
        let device_key = device_auth::named(parameters);
        refresh::refresh(tx, client, &token, device_key, secret_hash).await
    }

    fn check_secret(&self, client: &ClientConfig, username: &str) -> Result<(), ApiError> {
        let given = self.input.auth_parameters.get("SECRET_HASH").map(String::as_str);
        secret_hash::check(client, username, given)
    }

    fn find(&self, tx: &Tx<'_>, name: &str) -> Result<Option<lookup::FoundUser>, ApiError> {
        if within_limits(name) { lookup::find(tx, &*tx.pool()?, name) } else { Ok(None) }
    }
}

/// Whether anybody can have this name.
pub(super) fn within_limits(name: &str) -> bool {
    !name.is_empty() && name.len() <= lookup::NAME_BYTES_MAX
}
