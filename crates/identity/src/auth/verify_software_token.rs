//! VerifySoftwareToken: the first code of an authenticator app. From now on this app counts, and the one that
//! was set up before does not.
//! <https://docs.aws.amazon.com/cognito-user-identity-pools/latest/APIReference/API_VerifySoftwareToken.html>

use async_trait::async_trait;
use conclave_api::{ApiError, types};
use conclave_crypto::{secret::SecretString, totp::TotpSeed};
use conclave_store::records::{ChallengeSession, UserRecord};

use super::{
    access_token::PresentedToken,
    associate_software_token::{check_offered, one_of_two},
    challenge_session,
    machine::Factor,
    setup_session::{Checked, Presented},
    software_token,
};
use crate::{
    call::Call,
    tx::{Decision, Failure, Query, Transaction, Tx, transact},
    users::{index, mfa_preference, token_user},
    world::World,
};

/// Answers VerifySoftwareToken. One read and one commit.
///
/// # Errors
/// As the API declares them.
pub async fn verify_software_token(
    world: &World,
    _call: &Call,
    input: types::VerifySoftwareTokenRequest,
) -> Result<types::VerifySoftwareTokenResponse, ApiError> {
    let given = Given {
        code: SecretString::new(input.user_code.unwrap_or_default()),
        device_name: input.friendly_device_name,
    };
    match (input.access_token.as_deref(), input.session.as_deref()) {
        (Some(token), None) => {
            let token = PresentedToken::parse(token)?;
            transact(world, &ByToken { token, given }).await
        }
        (None, Some(session)) => {
            let presented = Presented::parse(session)?;
            transact(world, &BySession { presented, given }).await
        }
        _ => Err(one_of_two()),
    }
}

struct Given {
    code: SecretString,
    device_name: Option<String>,
}

impl Given {
    /// Makes the seed the user's, if the code is one of it.
    fn verify(
        &self,
        tx: &mut Tx<'_>,
        user: &UserRecord,
        seed: &TotpSeed,
        switch_on: bool,
    ) -> Result<(), Failure> {
        const DEVICE_NAME_MAX: usize = 256;
        let name = self.device_name.clone().filter(|name| !name.is_empty());
        if name.as_ref().is_some_and(|name| name.chars().count() > DEVICE_NAME_MAX) {
            return Err(ApiError::invalid_parameter("FriendlyDeviceName is too long.").into());
        }
        let step = software_token::step_of(seed, self.code.expose(), tx.now_ms())
            .ok_or_else(software_token::verification_failed)?;
        let config = tx.pool()?;
        software_token::put(tx, &config, &user.sub, seed, step)?;
        let mut changed = user.clone();
        let mfa = changed.mfa.get_or_insert_default();
        mfa.has_software_token = true;
        mfa.software_token_off = false;
        mfa.software_token_name = name;
        if switch_on {
            mfa_preference::switch_on(&mut changed, Factor::SoftwareToken);
        }
        changed.modified_ms = tx.now_ms();
        index::write_user(tx, Some(user), &changed)?;
        tx.rely_on_config();
        Ok(())
    }
}

struct ByToken<'a> {
    token: PresentedToken<'a>,
    given: Given,
}

#[async_trait]
impl Transaction for ByToken<'_> {
    type Output = types::VerifySoftwareTokenResponse;

    fn scope(&self) -> &str {
        &self.token.pool_id
    }

    async fn decide(&self, tx: &mut Tx<'_>) -> Decision<Self::Output> {
        let query = Query::new().get(software_token::key(self.token.sub()));
        let (user, _) = token_user::load(tx, &self.token, query).await?;
        let config = tx.pool()?;
        check_offered(&config)?;
        let stored = software_token::load(tx, &user.sub)?;
        let stored = stored.ok_or_else(software_token::not_set_up)?.record;
        let seed = software_token::pending(&config, &user.sub, &stored)?;
        let seed = seed.ok_or_else(software_token::not_set_up)?;
        self.given.verify(tx, &user, &seed, false)?;
        Ok(success(None).into())
    }
}

struct BySession {
    presented: Presented,
    given: Given,
}

#[async_trait]
impl Transaction for BySession {
    type Output = types::VerifySoftwareTokenResponse;

    fn scope(&self) -> &str {
        &self.presented.pool_id
    }

    fn scope_is_gone(&self) -> ApiError {
        challenge_session::invalid()
    }

    async fn decide(&self, tx: &mut Tx<'_>) -> Decision<Self::Output> {
        let Checked { session, client, user } = self.presented.load(tx).await?;
        let config = tx.pool()?;
        check_offered(&config)?;
        let seed =
            TotpSeed::from_bytes(&session.totp_seed).ok_or_else(software_token::not_set_up)?;
        challenge_session::rely_on_user(tx, &user.sub);
        self.given.verify(tx, &user, &seed, true)?;
        challenge_session::consume(tx, &self.presented.sealed, &session);
        let sign_in = challenge_session::SignIn::of(&session);
        let names = (user.sub.as_str(), user.username.as_str());
        let next = ChallengeSession {
            is_set_up: true,
            ..challenge_session::new(tx, &client, names, "MFA_SETUP", sign_in)
        };
        let next = challenge_session::to_text(tx.world(), &config, next)?;
        Ok(success(Some(next)).into())
    }
}

fn success(session: Option<String>) -> types::VerifySoftwareTokenResponse {
    types::VerifySoftwareTokenResponse { status: Some("SUCCESS".to_owned()), session }
}
