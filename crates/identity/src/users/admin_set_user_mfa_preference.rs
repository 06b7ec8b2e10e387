//! AdminSetUserMFAPreference: an administrator chooses a user's second factors. An app that is switched off
//! here is not asked for any more, so that a user who has lost it can set up another; it counts again when
//! it is switched on.
//! <https://docs.aws.amazon.com/cognito-user-identity-pools/latest/APIReference/API_AdminSetUserMFAPreference.html>

use async_trait::async_trait;
use conclave_api::{ApiError, types};

use super::{
    admin_user, index,
    mfa_preference::{self, By, Setting},
};
use crate::{
    call::Call,
    tx::{Decision, Transaction, Tx, transact},
    world::World,
};

/// Changes the preference. One read and one commit.
///
/// # Errors
/// Those of the API reference.
pub async fn admin_set_user_mfa_preference(
    world: &World,
    call: &Call,
    input: types::AdminSetUserMfaPreferenceRequest,
) -> Result<types::AdminSetUserMfaPreferenceResponse, ApiError> {
    let set = AdminSetUserMfaPreference {
        call,
        settings: mfa_preference::given(
            input.sms_mfa_settings.as_ref(),
            input.software_token_mfa_settings.as_ref(),
            input.email_mfa_settings.as_ref(),
        ),
        passkeys: input.web_authn_mfa_settings,
        pool_id: input.user_pool_id.unwrap_or_default(),
        username: input.username.unwrap_or_default(),
    };
    transact(world, &set).await
}

struct AdminSetUserMfaPreference<'a> {
    call: &'a Call,
    pool_id: String,
    username: String,
    settings: Vec<Setting>,
    passkeys: Option<types::WebAuthnMfaSettingsType>,
}

#[async_trait]
impl Transaction for AdminSetUserMfaPreference<'_> {
    type Output = types::AdminSetUserMfaPreferenceResponse;

    fn scope(&self) -> &str {
        &self.pool_id
    }

    async fn decide(&self, tx: &mut Tx<'_>) -> Decision<Self::Output> {
        let user = admin_user::load(tx, self.call, &self.username).await?;
        let pool = tx.pool()?;
        tx.rely_on_config();
        let by = By::Administrator;
        let changed = mfa_preference::apply(&pool.record, &user, None, &self.settings, by)?;
        let passkeys = self.passkeys.as_ref();
        let changed = mfa_preference::apply_passkeys(&pool.record, changed, passkeys)?;
        index::write_user(tx, Some(&user), &changed)?;
        Ok(types::AdminSetUserMfaPreferenceResponse::default().into())
    }
}
