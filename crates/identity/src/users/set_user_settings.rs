//! SetUserSettings: the older way to choose text messages as second factor.
//! <https://docs.aws.amazon.com/cognito-user-identity-pools/latest/APIReference/API_SetUserSettings.html>

use async_trait::async_trait;
use conclave_api::{ApiError, types};

use super::{
    index,
    mfa_preference::{self, By},
    token_user,
};
use crate::{
    auth::access_token::PresentedToken,
    call::Call,
    tx::{Decision, Query, Transaction, Tx, transact},
    world::World,
};

/// Switches text messages on, or off with an empty list. One read and one commit.
///
/// # Errors
/// Those of the API reference.
pub async fn set_user_settings(
    world: &World,
    _call: &Call,
    input: types::SetUserSettingsRequest,
) -> Result<types::SetUserSettingsResponse, ApiError> {
    let set = SetUserSettings {
        token: PresentedToken::parse(input.access_token.as_deref().unwrap_or_default())?,
        options: input.mfa_options.unwrap_or_default().items,
    };
    transact(world, &set).await
}

struct SetUserSettings<'a> {
    token: PresentedToken<'a>,
    options: Vec<types::MfaOptionType>,
}

#[async_trait]
impl Transaction for SetUserSettings<'_> {
    type Output = types::SetUserSettingsResponse;

    fn scope(&self) -> &str {
        &self.token.pool_id
    }

    async fn decide(&self, tx: &mut Tx<'_>) -> Decision<Self::Output> {
        let (user, _) = token_user::load(tx, &self.token, Query::new()).await?;
        let pool = tx.pool()?;
        tx.rely_on_config();
        let by = By::User;
        let changed = mfa_preference::apply_options(&pool.record, &user, &self.options, by)?;
        index::write_user(tx, Some(&user), &changed)?;
        Ok(types::SetUserSettingsResponse::default().into())
    }
}
