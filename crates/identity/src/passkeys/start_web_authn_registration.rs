//! StartWebAuthnRegistration: what a browser needs to make a passkey for the user who is signed in.
//! <https://docs.aws.amazon.com/cognito-user-identity-pools/latest/APIReference/API_StartWebAuthnRegistration.html>

use async_trait::async_trait;
use conclave_api::{ApiError, types};
use conclave_crypto::encoding;
use conclave_store::records::ChallengeSession;

use super::{PER_USER_MAX, REGISTRATION, enabled, options, rows, token_user, too_many};
use crate::{
    auth::{
        access_token::PresentedToken,
        challenge_session::{self, SignIn},
        factors,
    },
    call::Call,
    tx::{Decision, Query, Transaction, Tx, transact},
    world::World,
};

/// What is sealed in a challenge fills blocks of this many bytes.
const BLOCK: usize = 64;

/// Answers StartWebAuthnRegistration. One read: the challenge holds, sealed, whose it is and until when.
///
/// # Errors
/// As the API declares them.
pub async fn start_web_authn_registration(
    world: &World,
    _call: &Call,
    input: types::StartWebAuthnRegistrationRequest,
) -> Result<types::StartWebAuthnRegistrationResponse, ApiError> {
    let token = PresentedToken::parse(input.access_token.as_deref().unwrap_or_default())?;
    transact(world, &StartWebAuthnRegistration { token }).await
}

struct StartWebAuthnRegistration<'a> {
    token: PresentedToken<'a>,
}

#[async_trait]
impl Transaction for StartWebAuthnRegistration<'_> {
    type Output = types::StartWebAuthnRegistrationResponse;

    fn scope(&self) -> &str {
        &self.token.pool_id
    }

    async fn decide(&self, tx: &mut Tx<'_>) -> Decision<Self::Output> {
        let query = Query::new().get(rows::key(self.token.sub()));
        let (user, client) = token_user(tx, &self.token, query).await?;
        let config = tx.pool()?;
        let rp_id = enabled(tx.world(), &config)?;
        let passkeys = rows::load(tx, &user.sub)?;
        if passkeys.len() >= PER_USER_MAX {
            return Err(too_many().into());
        }
        let session = ChallengeSession {
            // a challenge need not be longer than it must
            username: String::new(),
            ..challenge_session::new(
                tx,
                &client,
                (&user.sub, ""),
                REGISTRATION,
                SignIn::begun("", ""),
            )
        };
        let sealed = challenge_session::seal(tx.world(), &config, session, BLOCK)?;
        let pool = factors::of_pool(&config.record);
        let verification = if pool.verifies_passkey_users { "required" } else { "preferred" };
        let options = options::creation(
            &config.record,
            &user,
            &passkeys,
            (&rp_id, &encoding::base64url(sealed)),
            (verification, challenge_session::validity_ms(&client)),
        );
        Ok(types::StartWebAuthnRegistrationResponse {
            credential_creation_options: Some(options.to_string().into_bytes()),
        }
        .into())
    }
}
