//! Which second factors a pool asks for: the rules of CreateUserPool, UpdateUserPool and SetUserPoolMfaConfig.
//! Sources: API reference; the texts are the service's, from reports of its answers.

use conclave_api::{ApiError, ExceptionName, types};
use conclave_store::records::{EmailMfa, PoolMfa, PoolRecord};

use crate::{
    auth::{factors, machine::Asks},
    errors, passkeys,
};

const LITE: &str = "LITE";

/// The setting of a new pool.
///
/// # Errors
/// InvalidParameterException: the other factors are set up later, so a new pool that asks for one needs
/// text messages.
pub(super) fn of_new_pool(
    request: &types::CreateUserPoolRequest,
    record: &PoolRecord,
) -> Result<Option<PoolMfa>, ApiError> {
    match request.mfa_configuration.as_deref() {
        None | Some("OFF") => Ok(None),
        Some(_) if !factors::sends_sms(record) => Err(errors::invalid_parameter(
            "SMS configuration and Auto verification for phone_number are required when MFA is \
             required/optional",
        )),
        Some(configuration) => {
            Ok(Some(PoolMfa { configuration: configuration.to_owned(), ..Default::default() }))
        }
    }
}

/// The setting after UpdateUserPool. Unlike others, this one stays where it is left out, so that a change
/// of something else does not quietly end the asking.
///
/// # Errors
/// InvalidParameterException when nothing could be asked for.
pub(super) fn after_update(
    present: &PoolRecord,
    configuration: Option<&str>,
    updated: &PoolRecord,
) -> Result<Option<PoolMfa>, ApiError> {
    let mut mfa = present.mfa.clone().unwrap_or_default();
    match configuration {
        None => {}
        // the factors go with it, as with SetUserPoolMfaConfig
        Some("OFF") => mfa = PoolMfa::default(),
        Some(configuration) => configuration.clone_into(&mut mfa.configuration),
    }
    let mfa = Some(mfa).filter(|mfa| *mfa != PoolMfa::default());
    check(&PoolRecord { mfa: mfa.clone(), ..updated.clone() })?;
    Ok(mfa)
}

/// The record after SetUserPoolMfaConfig, which says all of second factors anew: what it leaves out is off. What it
/// says of passkeys is independent of that: left out, they stay as they are, and a request of nothing else leaves the
/// second factors alone.
/// Source: API reference, SetUserPoolMfaConfig, `WebAuthnConfiguration`.
///
/// # Errors
/// InvalidParameterException; FeatureUnavailableInTierException.
pub(super) fn set(
    present: &PoolRecord,
    request: &types::SetUserPoolMfaConfigRequest,
) -> Result<PoolRecord, ApiError> {
    let mut present = present.clone();
    if let Some(given) = &request.web_authn_configuration {
        present.web_authn = passkeys::given(given)?;
    }
    let configures_a_factor = request.sms_mfa_configuration.is_some()
        || request.software_token_mfa_configuration.is_some()
        || request.email_mfa_configuration.is_some();
    let says_nothing = request.mfa_configuration.is_none() && !configures_a_factor;
    if says_nothing && request.web_authn_configuration.is_some() {
        check(&present)?;
        return Ok(present);
    }
    let configuration = request.mfa_configuration.as_deref().unwrap_or(Asks::Never.as_str());
    if configuration == Asks::Never.as_str() {
        // also one that is configured as off
        if configures_a_factor {
            return Err(errors::invalid_parameter(
                "Invalid MFA configuration given, can't turn off MFA and configure an MFA together.",
            ));
        }
        let record = PoolRecord { mfa: None, ..present };
        check(&record)?;
        return Ok(record);
    }
    let mut record = present;
    if let Some(sms) = &request.sms_mfa_configuration {
        if let Some(configuration) = &sms.sms_configuration {
            record.sms_configuration = Some(super::settings::sms_configuration(configuration));
        }
        if sms.sms_authentication_message.is_some() {
            record.sms_authentication_message.clone_from(&sms.sms_authentication_message);
        }
    }
    let token = request.software_token_mfa_configuration.as_ref();
    record.mfa = Some(PoolMfa {
        configuration: configuration.to_owned(),
        software_token: token.and_then(|token| token.enabled).unwrap_or(false),
        email: request.email_mfa_configuration.as_ref().map(|email| EmailMfa {
            message: email.message.clone(),
            subject: email.subject.clone(),
        }),
    });
    check(&record)?;
    Ok(record)
}

/// Rules between the second factors, the first ones, and the plan.
///
/// # Errors
/// InvalidParameterException; FeatureUnavailableInTierException.
pub(super) fn check(record: &PoolRecord) -> Result<(), ApiError> {
    let side = factors::of_pool(record);
    if side.asks != Asks::Never && side.offers.list().is_empty() {
        return Err(errors::invalid_parameter(
            "Invalid MFA Configuration given. SMS MFA, Email MFA, or Software Token MFA must be \
             enabled.",
        ));
    }
    let one_factor =
        side.email_otp || side.sms_otp || (side.web_authn && !side.passkeys_are_two_factors);
    if side.asks == Asks::Everybody && one_factor {
        return Err(errors::invalid_parameter(
            "Only PASSWORD and WEB_AUTHN (if configured) can be enabled as an auth factor if MFA is \
             enabled",
        ));
    }
    if side.sms_otp && !factors::sends_sms(record) {
        return Err(errors::invalid_parameter(
            "SMS configuration is required when SMS_OTP is an allowed first auth factor",
        ));
    }
    let has_choice = record.allowed_first_auth_factors.iter().any(|first| first != "PASSWORD");
    let features: Vec<_> = [
        (side.offers.email, "Email MFA"),
        (has_choice, "Choice Based Authentication"),
        // the name is ours
        (record.web_authn.is_some(), "WebAuthn"),
    ]
    .into_iter()
    .filter_map(|(has, feature)| has.then_some(feature))
    .collect();
    if record.tier == LITE && !features.is_empty() {
        return Err(ApiError::new(
            ExceptionName::FeatureUnavailableInTierException,
            format!(
                "The following features need to be disabled for the {LITE} pricing tier configured: {}",
                features.join(", ")
            ),
        ));
    }
    Ok(())
}

/// AllowedFirstAuthFactors of a request, once each; `None` when it says nothing of them.
///
/// # Errors
/// InvalidParameterException: a password is always one of them.
pub(super) fn first_factors(
    policies: Option<&types::UserPoolPolicyType>,
) -> Result<Option<Vec<String>>, ApiError> {
    let given = policies
        .and_then(|policies| policies.sign_in_policy.as_ref())
        .and_then(|policy| policy.allowed_first_auth_factors.as_ref());
    let Some(given) = given else { return Ok(None) };
    if !given.items.iter().any(|first| first == "PASSWORD") {
        return Err(errors::invalid_parameter(
            "PASSWORD must be included in AllowedFirstAuthFactors.",
        ));
    }
    Ok(Some(super::settings::without_repetitions(&given.items)))
}

/// As GetUserPoolMfaConfig and SetUserPoolMfaConfig answer it.
pub(super) fn described(record: &PoolRecord) -> types::SetUserPoolMfaConfigResponse {
    let mfa = record.mfa.clone().unwrap_or_default();
    let side = factors::of_pool(record);
    let asks = side.asks != Asks::Never;
    types::SetUserPoolMfaConfigResponse {
        sms_mfa_configuration: side.offers.sms.then(|| types::SmsMfaConfigType {
            sms_authentication_message: record.sms_authentication_message.clone(),
            sms_configuration: record.sms_configuration.as_ref().map(super::describe::sms),
        }),
        software_token_mfa_configuration: asks
            .then_some(types::SoftwareTokenMfaConfigType { enabled: Some(mfa.software_token) }),
        email_mfa_configuration: mfa.email.map(|email| types::EmailMfaConfigType {
            message: email.message,
            subject: email.subject,
        }),
        mfa_configuration: Some(side.asks.as_str().to_owned()),
        web_authn_configuration: passkeys::described(record),
    }
}
