//! CompleteWebAuthnRegistration: keeps the passkey that a browser has made.
//! <https://docs.aws.amazon.com/cognito-user-identity-pools/latest/APIReference/API_CompleteWebAuthnRegistration.html>

use async_trait::async_trait;
use conclave_api::{ApiError, ExceptionName, types};
use conclave_crypto::webauthn::{Expected, RegistrationResponse, registration};
use conclave_store::records::{ChallengeSession, Passkey};

use super::{
    PER_USER_MAX, REGISTRATION, challenge_not_found, enabled, refusal, rows, token_user, too_many,
};
use crate::{
    auth::{access_token::PresentedToken, challenge_session, factors},
    call::Call,
    config::{ClientConfig, PoolConfig},
    errors,
    tx::{Decision, Query, Transaction, Tx, transact},
    world::World,
};

/// Answers CompleteWebAuthnRegistration. One read and one commit.
///
/// # Errors
/// As the API declares them.
pub async fn complete_web_authn_registration(
    world: &World,
    _call: &Call,
    input: types::CompleteWebAuthnRegistrationRequest,
) -> Result<types::CompleteWebAuthnRegistrationResponse, ApiError> {
    let token = PresentedToken::parse(input.access_token.as_deref().unwrap_or_default())?;
    let credential = input.credential.as_deref().unwrap_or_default();
    // who may not register is not told what would be wrong with the passkey
    let response = RegistrationResponse::parse(credential).map_err(refusal);
    transact(world, &CompleteWebAuthnRegistration { token, response }).await
}

struct CompleteWebAuthnRegistration<'a> {
    token: PresentedToken<'a>,
    response: Result<RegistrationResponse, ApiError>,
}

#[async_trait]
impl Transaction for CompleteWebAuthnRegistration<'_> {
    type Output = types::CompleteWebAuthnRegistrationResponse;

    fn scope(&self) -> &str {
        &self.token.pool_id
    }

    async fn decide(&self, tx: &mut Tx<'_>) -> Decision<Self::Output> {
        let mut query = Query::new().get(rows::key(self.token.sub()));
        if let Ok(response) = &self.response {
            let sealed = response.client_data.challenge();
            query =
                query.get(challenge_session::used_key(sealed)).get(rows::index_key(&response.id));
        }
        let (user, client) = token_user(tx, &self.token, query).await?;
        let config = tx.pool()?;
        let rp_id = enabled(tx.world(), &config)?;
        let response = self.response.as_ref().map_err(Clone::clone)?;
        let sealed = response.client_data.challenge();
        let session = opened(tx, &config, &client, sealed, &user.sub)?;
        let expected = Expected {
            rp_id: &rp_id,
            challenge: sealed,
            user_verification: factors::of_pool(&config.record).verifies_passkey_users,
        };
        let registered = registration::verify(response, &expected).map_err(refusal)?;
        if tx.get_bytes(&rows::index_key(&registered.id)).is_some() {
            // the text is ours: whose it is, is nobody's business
            return Err(errors::invalid_parameter("The passkey is already registered.").into());
        }
        let mut passkeys = rows::load(tx, &user.sub)?;
        if passkeys.len() >= PER_USER_MAX {
            return Err(too_many().into());
        }
        challenge_session::consume(tx, sealed, &session);
        tx.rely_on_config();
        rows::put_index(tx, &registered.id, &user.sub);
        passkeys.push(Passkey {
            credential_id: registered.id.into(),
            public_key: registered.public_key.into(),
            sign_count: registered.sign_count,
            relying_party_id: rp_id,
            attachment: response.attachment.clone(),
            transports: response.transports.clone(),
            aaguid: registered.aaguid.to_vec().into(),
            is_backup_eligible: registered.is_backup_eligible,
            is_backed_up: registered.is_backed_up,
            is_user_verified: registered.is_user_verified,
            created_ms: tx.now_ms(),
            last_used_ms: 0,
        });
        rows::put_changed(tx, &user, passkeys)?;
        Ok(types::CompleteWebAuthnRegistrationResponse::default().into())
    }
}

/// The registration that a challenge belongs to: one of this user and client, fresh and not used.
fn opened(
    tx: &Tx<'_>,
    config: &PoolConfig,
    client: &ClientConfig,
    sealed: &[u8],
    sub: &str,
) -> Result<ChallengeSession, ApiError> {
    let session = challenge_session::open(config, sealed)
        .filter(|session| session.challenge == REGISTRATION && session.sub == sub)
        .ok_or_else(challenge_not_found)?;
    let is_used = tx.get_bytes(&challenge_session::used_key(sealed)).is_some();
    if is_used || tx.now_ms() >= session.expires_ms {
        return Err(challenge_not_found());
    }
    if session.client_id != client.record.client_id {
        return Err(ExceptionName::WebAuthnClientMismatchException.because(
            "The access token is for a different client than the one in the original StartWebAuthnRegistration request.",
        ));
    }
    Ok(session)
}
