//! AssociateSoftwareToken: a seed for an authenticator app. It counts once VerifySoftwareToken has seen a code
//! of it; until then, an app that was set up before stays.
//! <https://docs.aws.amazon.com/cognito-user-identity-pools/latest/APIReference/API_AssociateSoftwareToken.html>

use async_trait::async_trait;
use conclave_api::{ApiError, ExceptionName, types};
use conclave_crypto::totp::TotpSeed;
use conclave_store::records::ChallengeSession;

use super::{
    access_token::PresentedToken,
    challenge_session, factors,
    setup_session::{Checked, Presented},
    software_token,
};
use crate::{
    call::Call,
    config::PoolConfig,
    tx::{Decision, Failure, Query, Transaction, Tx, transact},
    users::token_user,
    world::World,
};

/// Answers AssociateSoftwareToken. One read and one commit.
///
/// # Errors
/// As the API declares them.
pub async fn associate_software_token(
    world: &World,
    _call: &Call,
    input: types::AssociateSoftwareTokenRequest,
) -> Result<types::AssociateSoftwareTokenResponse, ApiError> {
    match (input.access_token.as_deref(), input.session.as_deref()) {
        (Some(token), None) => {
            let token = PresentedToken::parse(token)?;
            transact(world, &ByToken { token }).await
        }
        (None, Some(session)) => {
            let presented = Presented::parse(session)?;
            transact(world, &BySession { presented }).await
        }
        _ => Err(one_of_two()),
    }
}

/// Both operations that set an app up take one proof of who calls. The text is ours.
pub(super) fn one_of_two() -> ApiError {
    ApiError::invalid_parameter("Exactly one of AccessToken and Session must be given.")
}

/// Refuses where the pool does not let authenticator apps be set up.
pub(super) fn check_offered(config: &PoolConfig) -> Result<(), ApiError> {
    let offers = factors::of_pool(&config.record).offers;
    if offers.software_token { Ok(()) } else { Err(software_token::not_offered()) }
}

/// This operation declares no exceptions for the states of a user.
fn as_declared(failure: Failure) -> Failure {
    use ExceptionName::{
        PasswordResetRequiredException, UserNotConfirmedException, UserNotFoundException,
    };
    match failure {
        Failure::Refused(error)
            if matches!(
                error.code,
                PasswordResetRequiredException | UserNotConfirmedException | UserNotFoundException
            ) =>
        {
            ApiError::not_authorized(error.message).into()
        }
        other => other,
    }
}

struct ByToken<'a> {
    token: PresentedToken<'a>,
}

#[async_trait]
impl Transaction for ByToken<'_> {
    type Output = types::AssociateSoftwareTokenResponse;

    fn scope(&self) -> &str {
        &self.token.pool_id
    }

    async fn decide(&self, tx: &mut Tx<'_>) -> Decision<Self::Output> {
        let query = Query::new().get(software_token::key(self.token.sub()));
        let (user, _) = token_user::load(tx, &self.token, query).await.map_err(as_declared)?;
        let config = tx.pool()?;
        check_offered(&config)?;
        tx.rely_on_config();
        let seed = software_token::begin(tx, &config, &user.sub)?;
        Ok(answer(&seed, None).into())
    }
}

struct BySession {
    presented: Presented,
}

#[async_trait]
impl Transaction for BySession {
    type Output = types::AssociateSoftwareTokenResponse;

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
        challenge_session::consume(tx, &self.presented.sealed, &session);
        challenge_session::rely_on_user(tx, &user.sub);
        // the sign-in carries the seed, so that nothing is kept of one that is given up
        let seed = TotpSeed::generate(&*tx.world().entropy);
        let sign_in = challenge_session::SignIn::of(&session);
        let names = (user.sub.as_str(), user.username.as_str());
        let next = ChallengeSession {
            choices: session.choices.clone(),
            totp_seed: seed.as_bytes().to_vec().into(),
            ..challenge_session::new(tx, &client, names, "MFA_SETUP", sign_in)
        };
        let next = challenge_session::to_text(tx.world(), &config, next)?;
        Ok(answer(&seed, Some(next)).into())
    }
}

fn answer(seed: &TotpSeed, session: Option<String>) -> types::AssociateSoftwareTokenResponse {
    let secret_code = Some(seed.secret_code().expose().clone());
    types::AssociateSoftwareTokenResponse { secret_code, session }
}
