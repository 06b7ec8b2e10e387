//! AdminSetUserSettings: the older way to choose text messages as a user's second factor.
//! <https://docs.aws.amazon.com/cognito-user-identity-pools/latest/APIReference/API_AdminSetUserSettings.html>

use async_trait::async_trait;
use conclave_api::{ApiError, types};

use super::{
    admin_user, index,
    mfa_preference::{self, By},
};
use crate::{
    call::Call,
    tx::{Decision, Transaction, Tx, transact},
    world::World,
};

/// Switches text messages on, or off with an empty list. One read and one commit.
///
/// # Errors
/// Those of the API reference.
pub async fn admin_set_user_settings(
    world: &World,
    call: &Call,
    input: types::AdminSetUserSettingsRequest,
) -> Result<types::AdminSetUserSettingsResponse, ApiError> {
    let set = AdminSetUserSettings {
        call,
        pool_id: input.user_pool_id.unwrap_or_default(),
        username: input.username.unwrap_or_default(),
        options: input.mfa_options.unwrap_or_default().items,
    };
    transact(world, &set).await
}

struct AdminSetUserSettings<'a> {
    call: &'a Call,
    pool_id: String,
    username: String,
    options: Vec<types::MfaOptionType>,
}

#[async_trait]
impl Transaction for AdminSetUserSettings<'_> {
    type Output = types::AdminSetUserSettingsResponse;

    fn scope(&self) -> &str {
        &self.pool_id
    }

    async fn decide(&self, tx: &mut Tx<'_>) -> Decision<Self::Output> {
        let user = admin_user::load(tx, self.call, &self.username).await?;
        let pool = tx.pool()?;
        tx.rely_on_config();
        let by = By::Administrator;
        let changed = mfa_preference::apply_options(&pool.record, &user, &self.options, by)?;
        index::write_user(tx, Some(&user), &changed)?;
        Ok(types::AdminSetUserSettingsResponse::default().into())
    }
}
