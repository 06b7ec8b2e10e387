//! GetUserAuthFactors: how a user can sign in.
//! <https://docs.aws.amazon.com/cognito-user-identity-pools/latest/APIReference/API_GetUserAuthFactors.html>

use async_trait::async_trait;
use conclave_api::{ApiError, types};
use conclave_store::records::{PoolRecord, UserRecord};

use super::{mfa_preference, token_user};
use crate::{
    auth::{
        access_token::PresentedToken,
        factors,
        machine::{self, First},
    },
    call::Call,
    tx::{Decision, Query, Transaction, Tx, transact},
    world::World,
};

/// Answers GetUserAuthFactors. One read.
///
/// # Errors
/// Those of the API reference.
pub async fn get_user_auth_factors(
    world: &World,
    _call: &Call,
    input: types::GetUserAuthFactorsRequest,
) -> Result<types::GetUserAuthFactorsResponse, ApiError> {
    let token = PresentedToken::parse(input.access_token.as_deref().unwrap_or_default())?;
    transact(world, &GetUserAuthFactors { token }).await
}

struct GetUserAuthFactors<'a> {
    token: PresentedToken<'a>,
}

#[async_trait]
impl Transaction for GetUserAuthFactors<'_> {
    type Output = types::GetUserAuthFactorsResponse;

    fn scope(&self) -> &str {
        &self.token.pool_id
    }

    async fn decide(&self, tx: &mut Tx<'_>) -> Decision<Self::Output> {
        let (user, _) = token_user::load(tx, &self.token, Query::new()).await?;
        let pool = tx.pool()?;
        let response = types::GetUserAuthFactorsResponse {
            preferred_mfa_setting: mfa_preference::preferred(&user),
            user_mfa_setting_list: mfa_preference::listed(&user),
            configured_user_auth_factors: configured(&pool.record, &user),
            username: Some(user.username),
        };
        Ok(response.into())
    }
}

fn configured(pool: &PoolRecord, user: &UserRecord) -> Vec<String> {
    let (pool, side) = (factors::of_pool(pool), factors::of_user(user));
    let is_confirmed = factors::is_confirmed(user);
    // both ways to prove a password are one factor
    [First::Password, First::EmailOtp, First::SmsOtp, First::WebAuthn]
        .into_iter()
        .filter(|first| machine::is_open(&pool, &side, is_confirmed, *first))
        .map(|first| first.as_str().to_owned())
        .collect()
}
