//! SetUserMFAPreference: a user who is signed in chooses second factors.
//! <https://docs.aws.amazon.com/cognito-user-identity-pools/latest/APIReference/API_SetUserMFAPreference.html>

use async_trait::async_trait;
use conclave_api::{ApiError, types};

use super::{
    index,
    mfa_preference::{self, By, Setting},
    token_user,
};
use crate::{
    auth::{access_token::PresentedToken, software_token},
    call::Call,
    tx::{Decision, Query, Transaction, Tx, transact},
    world::World,
};

/// Changes the preference. One read and one commit.
///
/// # Errors
/// Those of the API reference.
pub async fn set_user_mfa_preference(
    world: &World,
    _call: &Call,
    input: types::SetUserMfaPreferenceRequest,
) -> Result<types::SetUserMfaPreferenceResponse, ApiError> {
    let set = SetUserMfaPreference {
        token: PresentedToken::parse(input.access_token.as_deref().unwrap_or_default())?,
        settings: mfa_preference::given(
            input.sms_mfa_settings.as_ref(),
            input.software_token_mfa_settings.as_ref(),
            input.email_mfa_settings.as_ref(),
        ),
        passkeys: input.web_authn_mfa_settings,
    };
    transact(world, &set).await
}

struct SetUserMfaPreference<'a> {
    token: PresentedToken<'a>,
    settings: Vec<Setting>,
    passkeys: Option<types::WebAuthnMfaSettingsType>,
}

#[async_trait]
impl Transaction for SetUserMfaPreference<'_> {
    type Output = types::SetUserMfaPreferenceResponse;

    fn scope(&self) -> &str {
        &self.token.pool_id
    }

    async fn decide(&self, tx: &mut Tx<'_>) -> Decision<Self::Output> {
        let query = Query::new().get(software_token::key(self.token.sub()));
        let (user, _) = token_user::load(tx, &self.token, query).await?;
        let pool = tx.pool()?;
        tx.rely_on_config();
        let token = software_token::load(tx, &user.sub)?.map(|stored| stored.record);
        let token = token.as_ref();
        let changed = mfa_preference::apply(&pool.record, &user, token, &self.settings, By::User)?;
        let passkeys = self.passkeys.as_ref();
        let changed = mfa_preference::apply_passkeys(&pool.record, changed, passkeys)?;
        index::write_user(tx, Some(&user), &changed)?;
        Ok(types::SetUserMfaPreferenceResponse::default().into())
    }
}
