//! RespondToAuthChallenge: the next step of a sign-in.
//! <https://docs.aws.amazon.com/cognito-user-identity-pools/latest/APIReference/API_RespondToAuthChallenge.html>

use std::sync::Arc;

use async_trait::async_trait;
use conclave_api::{
    ApiError,
    enums::{AuthFlowType, ChallengeNameType},
    types,
};
use conclave_crypto::encoding;
use conclave_store::records::ChallengeSession;

use super::{
    attempts, challenge_session, device_auth, flows,
    initiate_auth::within_limits,
    new_password, srp,
    step::{Step, required},
    tokens, unknown,
};
use crate::{
    call::Call,
    client_pool::{self, client_pool},
    config::{ClientConfig, PoolConfig},
    errors,
    tx::{Decision, Failure, Query, Transaction, Tx, transact},
    users::{lookup, secret_hash},
    world::World,
};

/// Answers RespondToAuthChallenge.
///
/// # Errors
/// As the API declares them.
pub async fn respond_to_auth_challenge(
    world: &World,
    _call: &Call,
    input: types::RespondToAuthChallengeRequest,
) -> Result<types::RespondToAuthChallengeResponse, ApiError> {
    let client_id = input.client_id.clone().unwrap_or_default();
    let pool_id = client_pool(world, &client_id).await?;
    let challenge = ChallengeNameType::from(input.challenge_name.as_deref().unwrap_or_default());
    let sealed = match challenge {
        // Cognito's SRP clients carry the session in the secret block, and send no other
        ChallengeNameType::PasswordVerifier | ChallengeNameType::DevicePasswordVerifier => {
            let block = input.challenge_responses.get("PASSWORD_CLAIM_SECRET_BLOCK");
            block.and_then(|block| encoding::base64_decode(block))
        }
        _ => input.session.as_deref().and_then(challenge_session::from_text),
    };
    transact(
        world,
        &RespondToAuthChallenge { pool_id, client_id, challenge, sealed, input: &input },
    )
    .await
}

struct RespondToAuthChallenge<'a> {
    pool_id: String,
    client_id: String,
    challenge: ChallengeNameType,
    sealed: Option<Vec<u8>>,
    input: &'a types::RespondToAuthChallengeRequest,
}

#[async_trait]
impl Transaction for RespondToAuthChallenge<'_> {
    type Output = types::RespondToAuthChallengeResponse;

    fn scope(&self) -> &str {
        &self.pool_id
    }

    fn scope_is_gone(&self) -> ApiError {
        errors::client_not_found(&self.client_id)
    }

    async fn decide(&self, tx: &mut Tx<'_>) -> Decision<Self::Output> {
        let client = self.load(tx).await?;
        let step = match self.challenge {
            ChallengeNameType::PasswordVerifier => self.password_verifier(tx, &client).await?,
            ChallengeNameType::NewPasswordRequired => self.new_password(tx, &client).await?,
            ChallengeNameType::DeviceSrpAuth => self.device_srp_auth(tx, &client).await?,
            ChallengeNameType::DevicePasswordVerifier => {
                self.device_password_verifier(tx, &client).await?
            }
            // nothing of this version opens such a challenge, so no session can be one of it
            _ => return Err(challenge_session::invalid().into()),
        };
        Ok(step.into_respond_to_auth_challenge())
    }
}

impl RespondToAuthChallenge<'_> {
    /// Loads what the answer needs in one read. Whose failures an answer may count among is in the
    /// sealed session, so a pool that this gateway does not know yet, or not as it is now, takes a read
    /// more, whoever the answer is about.
    async fn load(&self, tx: &mut Tx<'_>) -> Result<Arc<ClientConfig>, Failure> {
        let known = tx.world().configs.get(&self.pool_id);
        let session = known.and_then(|config| self.session(&config));
        let loaded =
            client_pool::load(tx, self.query(tx, session.as_ref()), &self.client_id).await?;
        let opened = self.session(&loaded.pool);
        if session.is_some() || opened.is_none() {
            return Ok(loaded.client);
        }
        let loaded =
            client_pool::load(tx, self.query(tx, opened.as_ref()), &self.client_id).await?;
        Ok(loaded.client)
    }

    fn session(&self, config: &PoolConfig) -> Option<ChallengeSession> {
        challenge_session::open(config, self.sealed.as_deref()?)
    }

    fn query(&self, tx: &Tx<'_>, session: Option<&ChallengeSession>) -> Query {
        let mut query = Query::new();
        if let Some(sealed) = &self.sealed {
            query = query.get(challenge_session::used_key(sealed));
        }
        if let Some(session) = session {
            let (world, name) = (tx.world(), &session.username);
            query = attempts::query_unknown(query, world, &self.pool_id, name);
        }
        let name = self.input.challenge_responses.get("USERNAME").map_or("", String::as_str);
        if within_limits(name) {
            query = lookup::query(query, name, &[lookup::With::Credentials]);
            query = device_auth::query(tokens::query(query, tx), &self.input.challenge_responses);
        }
        query = device_auth::query_first(query, session);
        match self.challenge {
            ChallengeNameType::NewPasswordRequired => {
                new_password::query(query, &self.input.challenge_responses)
            }
            _ => query,
        }
    }

    async fn password_verifier(
        &self,
        tx: &mut Tx<'_>,
        client: &ClientConfig,
    ) -> Result<Step, Failure> {
        // a flow that has been taken from the client meanwhile does not go on
        flows::check_enabled(client, &AuthFlowType::UserSrpAuth)?;
        let responses = &self.input.challenge_responses;
        let username = required(responses, "USERNAME")?;
        required(responses, "PASSWORD_CLAIM_SECRET_BLOCK")?;
        let signature = required(responses, "PASSWORD_CLAIM_SIGNATURE")?;
        let timestamp = required(responses, "TIMESTAMP")?;
        let config = tx.pool()?;
        let session = self.session(&config);
        let found = self.find(tx, username)?;
        match (&found, &session) {
            (None, Some(session)) if srp::is_answer_of_unknown(&config, session, username) => {
                let shown = unknown::shown_name(&config, &session.username);
                self.check_secret(client, &shown)?;
            }
            _ => self.check_secret_of(&config, client, username, found.as_ref())?,
        }
        let (Some(secret_block), Some(session)) = (&self.sealed, session) else {
            return Err(errors::incorrect_username_or_password().into());
        };
        let device_key = device_auth::named(responses);
        let claim =
            srp::Claim { session: &session, secret_block, signature, timestamp, device_key };
        srp::verify(tx, client, username, &claim, found).await
    }

    async fn new_password(&self, tx: &mut Tx<'_>, client: &ClientConfig) -> Result<Step, Failure> {
        let responses = &self.input.challenge_responses;
        let username = required(responses, "USERNAME")?;
        required(responses, "NEW_PASSWORD")?;
        let found = self.find(tx, username)?;
        self.check_secret_of(&*tx.pool()?, client, username, found.as_ref())?;
        let sealed = self.sealed.as_deref().ok_or_else(challenge_session::invalid)?;
        new_password::answer(tx, client, sealed, responses, found).await
    }

    async fn device_srp_auth(
        &self,
        tx: &mut Tx<'_>,
        client: &ClientConfig,
    ) -> Result<Step, Failure> {
        let (found, sealed) = (self.device_user(tx, client)?, self.sealed.as_deref());
        let responses = &self.input.challenge_responses;
        device_auth::answer_srp_auth(tx, client, sealed, responses, found).await
    }

    async fn device_password_verifier(
        &self,
        tx: &mut Tx<'_>,
        client: &ClientConfig,
    ) -> Result<Step, Failure> {
        let (found, sealed) = (self.device_user(tx, client)?, self.sealed.as_deref());
        let responses = &self.input.challenge_responses;
        device_auth::answer_password_verifier(tx, client, sealed, responses, found).await
    }

    /// Whose device answers, once the client has proved its secret.
    fn device_user(
        &self,
        tx: &Tx<'_>,
        client: &ClientConfig,
    ) -> Result<Option<lookup::FoundUser>, ApiError> {
        let username = required(&self.input.challenge_responses, "USERNAME")?;
        let found = self.find(tx, username)?;
        self.check_secret_of(&*tx.pool()?, client, username, found.as_ref())?;
        Ok(found)
    }

    /// From the second step on, SECRET_HASH is over the canonical user name.
    fn check_secret_of(
        &self,
        config: &PoolConfig,
        client: &ClientConfig,
        username: &str,
        found: Option<&lookup::FoundUser>,
    ) -> Result<(), ApiError> {
        match found {
            Some(found) => self.check_secret(client, &found.user.record.username),
            None => self.check_secret(client, &unknown::shown_name(config, username)),
        }
    }

    fn check_secret(&self, client: &ClientConfig, canonical: &str) -> Result<(), ApiError> {
        let given = self.input.challenge_responses.get("SECRET_HASH").map(String::as_str);
        secret_hash::check(client, canonical, given)
    }

    fn find(&self, tx: &Tx<'_>, name: &str) -> Result<Option<lookup::FoundUser>, ApiError> {
        if within_limits(name) { lookup::find(tx, &*tx.pool()?, name) } else { Ok(None) }
    }
}
