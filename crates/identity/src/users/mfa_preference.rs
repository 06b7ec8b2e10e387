//! Which second factors a user has switched on, and which of them is asked for first: rules that
//! SetUserMFAPreference, SetUserSettings and their signed twins share, and how the choice is described.
//! Source: API reference, `SetUserMFAPreference`.

use conclave_api::{ApiError, types};
use conclave_store::records::{PoolRecord, SoftwareTokenRecord, UserRecord};

use crate::auth::{factors, machine::Factor};

/// What UserMFASettingList calls a passkey that counts as two factors.
const PASSKEYS: &str = "WEB_AUTHN_MFA";

/// One of the settings of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Setting {
    /// The factor.
    pub factor: Factor,
    /// Enabled
    pub enabled: bool,
    /// PreferredMfa
    pub preferred: bool,
}

/// Who changes the preference.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    /// The user, with nothing but an access token.
    User,
    /// An administrator: whose switching an app off counts where everybody is asked, too.
    Administrator,
}

/// The settings that a request gives, in the order in which they are checked.
pub fn given(
    sms: Option<&types::SmsMfaSettingsType>,
    software_token: Option<&types::SoftwareTokenMfaSettingsType>,
    email: Option<&types::EmailMfaSettingsType>,
) -> Vec<Setting> {
    let setting = |factor, enabled: Option<bool>, preferred: Option<bool>| Setting {
        factor,
        enabled: enabled.unwrap_or(false),
        preferred: preferred.unwrap_or(false),
    };
    let sms = sms.map(|given| setting(Factor::Sms, given.enabled, given.preferred_mfa));
    let software_token = software_token
        .map(|given| setting(Factor::SoftwareToken, given.enabled, given.preferred_mfa));
    let email = email.map(|given| setting(Factor::Email, given.enabled, given.preferred_mfa));
    [sms, software_token, email].into_iter().flatten().collect()
}

/// The user with these settings. What a request leaves out stays as it is.
///
/// # Errors
/// InvalidParameterException for a factor that the pool does not offer or the user has not set up, for one
/// that is preferred and off, and for two that are preferred.
pub fn apply(
    pool: &PoolRecord,
    user: &UserRecord,
    token: Option<&SoftwareTokenRecord>,
    settings: &[Setting],
    by: By,
) -> Result<UserRecord, ApiError> {
    if settings.iter().filter(|setting| setting.preferred).count() > 1 {
        return Err(ApiError::invalid_parameter("Only one MFA type can be set as preferred."));
    }
    let mut changed = user.clone();
    for setting in settings {
        if setting.preferred && !setting.enabled {
            return Err(ApiError::invalid_parameter(format!(
                "{} must be enabled to be set as preferred.",
                setting.factor.as_str()
            )));
        }
        if setting.enabled {
            check_can_be_on(pool, user, token, setting.factor, by)?;
            switch_on(&mut changed, setting.factor);
        } else {
            switch_off(&mut changed, setting.factor);
        }
        let mfa = changed.mfa.get_or_insert_default();
        if setting.factor == Factor::SoftwareToken && by == By::Administrator {
            mfa.software_token_off = !setting.enabled && mfa.has_software_token;
        }
        let is_preferred = mfa.preferred == setting.factor.as_str();
        if setting.preferred {
            setting.factor.as_str().clone_into(&mut mfa.preferred);
        } else if is_preferred {
            mfa.preferred.clear();
        }
    }
    Ok(changed)
}

fn check_can_be_on(
    pool: &PoolRecord,
    user: &UserRecord,
    token: Option<&SoftwareTokenRecord>,
    factor: Factor,
    by: By,
) -> Result<(), ApiError> {
    let mfa = user.mfa.as_ref();
    if factor == Factor::SoftwareToken {
        if mfa.is_some_and(|mfa| mfa.has_software_token) {
            return Ok(());
        }
        return Err(ApiError::invalid_parameter(match (by, token) {
            (By::Administrator, _) => {
                "User does not have delivery config set to turn on SOFTWARE_TOKEN_MFA"
            }
            (By::User, None) => "User has not set up software token mfa",
            (By::User, Some(_)) => "User has not verified software token mfa",
        }));
    }
    let is_on = factors::of_user(user).on.has(factor);
    let can_be = factors::of_pool(pool).offers.has(factor) || is_on;
    if can_be && factors::of_user(user).has.has(factor) {
        return Ok(());
    }
    Err(ApiError::invalid_parameter(format!(
        "User does not have delivery config set to turn on {}",
        factor.as_str()
    )))
}

/// Switches a factor on.
pub fn switch_on(user: &mut UserRecord, factor: Factor) {
    let mfa = user.mfa.get_or_insert_default();
    if !mfa.enabled.iter().any(|name| name == factor.as_str()) {
        mfa.enabled.push(factor.as_str().to_owned());
    }
    if factor == Factor::SoftwareToken {
        mfa.software_token_off = false;
    }
}

/// Switches a factor off.
fn switch_off(user: &mut UserRecord, factor: Factor) {
    let mfa = user.mfa.get_or_insert_default();
    mfa.enabled.retain(|name| name != factor.as_str());
    if factor == Factor::Sms {
        mfa.sms_by_settings = false;
    }
}

/// The user with the settings of SetUserSettings, which knows text messages alone.
///
/// # Errors
/// InvalidParameterException for anything else, and as [`apply`].
pub fn apply_options(
    pool: &PoolRecord,
    user: &UserRecord,
    options: &[types::MfaOptionType],
    by: By,
) -> Result<UserRecord, ApiError> {
    let mut changed = user.clone();
    for option in options {
        let (medium, attribute) = (option.delivery_medium.as_deref(), &option.attribute_name);
        if medium != Some("SMS") || attribute.as_deref() != Some("phone_number") {
            return Err(ApiError::invalid_parameter(
                "MFAOptions can only have SMS as DeliveryMedium and phone_number as AttributeName.",
            ));
        }
        check_can_be_on(pool, user, None, Factor::Sms, by)?;
    }
    if options.is_empty() {
        switch_off(&mut changed, Factor::Sms);
        let mfa = changed.mfa.get_or_insert_default();
        if mfa.preferred == Factor::Sms.as_str() {
            mfa.preferred.clear();
        }
    } else {
        changed.mfa.get_or_insert_default().sms_by_settings = true;
    }
    Ok(changed)
}

/// The user with the setting of passkeys, after all other settings of the request: whoever takes a passkey for
/// two factors has another way to show two.
/// Source: API reference, `WebAuthnMfaSettingsType`. The texts are ours.
///
/// # Errors
/// InvalidParameterException.
pub fn apply_passkeys(
    pool: &PoolRecord,
    user: UserRecord,
    given: Option<&types::WebAuthnMfaSettingsType>,
) -> Result<UserRecord, ApiError> {
    let mut changed = user;
    match given.map(|given| given.enabled.unwrap_or(false)) {
        Some(true) if !factors::of_pool(pool).passkeys_are_two_factors => {
            return Err(ApiError::invalid_parameter(
                "The user pool is not configured for passkeys with user verification as MFA.",
            ));
        }
        Some(true) => {
            let mfa = changed.mfa.get_or_insert_default();
            if !mfa.enabled.iter().any(|name| name == PASSKEYS) {
                mfa.enabled.push(PASSKEYS.to_owned());
            }
        }
        Some(false) => switch_passkeys_off(&mut changed),
        None => {}
    }
    let side = factors::of_user(&changed);
    if side.passkeys_are_two_factors && side.on.list().is_empty() {
        return Err(ApiError::invalid_parameter(
            "User must have at least one other MFA method enabled for passkey MFA.",
        ));
    }
    Ok(changed)
}

/// Whether this user takes a passkey for two factors.
pub fn has_passkeys_on(user: &UserRecord) -> bool {
    user.mfa.as_ref().is_some_and(|mfa| mfa.enabled.iter().any(|name| name == PASSKEYS))
}

/// A passkey is one factor from now on.
pub fn switch_passkeys_off(user: &mut UserRecord) {
    if let Some(mfa) = &mut user.mfa {
        mfa.enabled.retain(|name| name != PASSKEYS);
    }
}

/// UserMFASettingList.
pub fn listed(user: &UserRecord) -> Vec<String> {
    let mfa = user.mfa.clone().unwrap_or_default();
    let on = |factor: &Factor| mfa.enabled.iter().any(|name| name == factor.as_str());
    let passkeys = has_passkeys_on(user).then_some(PASSKEYS);
    let factors = Factor::ALL.into_iter().filter(on).map(Factor::as_str);
    factors.chain(passkeys).map(str::to_owned).collect()
}

/// PreferredMfaSetting.
pub fn preferred(user: &UserRecord) -> Option<String> {
    let mfa = user.mfa.as_ref()?;
    Some(mfa.preferred.clone()).filter(|preferred| !preferred.is_empty())
}

/// MFAOptions: what SetUserSettings has set.
pub fn options(user: &UserRecord) -> Vec<types::MfaOptionType> {
    let has = user.mfa.as_ref().is_some_and(|mfa| mfa.sms_by_settings);
    let sms = types::MfaOptionType {
        delivery_medium: Some("SMS".to_owned()),
        attribute_name: Some("phone_number".to_owned()),
    };
    has.then_some(sms).into_iter().collect()
}
