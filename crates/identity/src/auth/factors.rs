//! What the records say to the challenge machine: what a pool offers, and what a user has set up.

use conclave_store::records::{PoolRecord, UserRecord};

use super::machine::{Asks, Factor, Factors, PoolSide, Second, UserSide, second_factor};
use crate::{
    passkeys,
    users::{attributes, mfa_preference, status},
};
use conclave_outbound::Channel;

/// What a pool has set up. Text messages can be a second factor wherever the pool can send them.
pub fn of_pool(record: &PoolRecord) -> PoolSide {
    let mfa = record.mfa.clone().unwrap_or_default();
    let asks = match mfa.configuration.as_str() {
        "ON" => Asks::Everybody,
        "OPTIONAL" => Asks::WhoHasOne,
        _ => Asks::Never,
    };
    let first = |name: &str| record.allowed_first_auth_factors.iter().any(|first| first == name);
    let web_authn = record.web_authn.clone().unwrap_or_default();
    PoolSide {
        asks,
        offers: Factors {
            sms: asks != Asks::Never && sends_sms(record),
            software_token: mfa.software_token,
            email: mfa.email.is_some(),
        },
        email_otp: first("EMAIL_OTP"),
        sms_otp: first("SMS_OTP"),
        web_authn: first("WEB_AUTHN"),
        passkeys_are_two_factors: web_authn.factor_configuration.as_deref()
            == Some(passkeys::MULTI_FACTOR),
        verifies_passkey_users: web_authn.user_verification.as_deref() == Some("required"),
    }
}

/// Whether the pool has been given what sends text messages.
pub fn sends_sms(record: &PoolRecord) -> bool {
    let sms = record.sms_configuration.as_ref();
    sms.and_then(|sms| sms.sns_caller_arn.as_deref()).is_some_and(|arn| !arn.is_empty())
}

/// What a user has set up.
pub fn of_user(user: &UserRecord) -> UserSide {
    let mfa = user.mfa.clone().unwrap_or_default();
    let named = |factor: Factor| mfa.enabled.iter().any(|name| name == factor.as_str());
    UserSide {
        on: Factors {
            sms: named(Factor::Sms) || mfa.sms_by_settings,
            software_token: named(Factor::SoftwareToken),
            email: named(Factor::Email),
        },
        has: Factors {
            sms: attributes::value(user, "phone_number").is_some(),
            software_token: mfa.has_software_token && !mfa.software_token_off,
            email: attributes::value(user, "email").is_some(),
        },
        preferred: Factor::named(&mfa.preferred),
        verified_email: attributes::is_verified(user, "email"),
        verified_phone: attributes::is_verified(user, "phone_number"),
        passkeys: user.passkeys > 0,
        passkeys_are_two_factors: mfa_preference::has_passkeys_on(user),
    }
}

/// Whether this user is one whose sign-up or invitation is done with.
pub fn is_confirmed(user: &UserRecord) -> bool {
    user.enabled && user.status == status::CONFIRMED
}

/// Whether this user may be asked for a code that goes out by `channel`. Such an address does not recover
/// the account: one mailbox must not be both factors.
/// Source: API reference, `AccountRecoverySettingType`.
pub fn is_second_factor(pool: &PoolRecord, user: &UserRecord, channel: Channel) -> bool {
    let factor = match channel {
        Channel::Email => Factor::Email,
        Channel::Sms => Factor::Sms,
    };
    match second_factor(&of_pool(pool), &of_user(user)) {
        Second::One(one) => one == factor,
        Second::Select(several) => several.contains(&factor),
        Second::Nothing | Second::Setup(_) | Second::Unusable => false,
    }
}
