//! From a request's settings to a pool's record: Cognito's defaults, and its rules between members.
//! Limits of single members are checked before, and members whose effect is not built are refused
//! before (`proto/model/refusals.toml`).
//!
//! Sources: API reference, `CreateUserPool` and `UpdateUserPool`; texts are Cognito's.

use std::collections::BTreeSet;

use conclave_api::{ApiError, types};
use conclave_store::records::{
    AdminCreateUserConfig, PasswordPolicy, PoolRecord, RecoveryMechanism, SmsConfiguration,
    VerificationTemplate,
};

use super::{mfa, schema, tags, tier};
use crate::{devices, errors, log_delivery, triggers};

/// API reference, `PasswordPolicyType`: also what 0 means.
const TEMPORARY_PASSWORD_VALIDITY_DAYS: u32 = 7;
/// API reference, `PasswordPolicyType`.
const PASSWORD_LENGTH_MIN: u32 = 8;
/// API reference, `CreateUserPool`: UserPoolTier.
const TIER: &str = "ESSENTIALS";
/// API reference, `VerificationMessageTemplateType`.
const CONFIRM_WITH_CODE: &str = "CONFIRM_WITH_CODE";

/// The record of a new pool; ids and times are still to be filled in.
///
/// # Errors
/// What Cognito refuses: InvalidParameterException, and UserPoolTaggingException for tags.
pub(super) fn new_pool(request: &types::CreateUserPoolRequest) -> Result<PoolRecord, ApiError> {
    if !request.alias_attributes.is_empty() && !request.username_attributes.is_empty() {
        return Err(errors::invalid_parameter(
            "Only one of the aliasAttributes or usernameAttributes can be set in a User pool.",
        ));
    }
    check_auto_verification(request)?;
    let requested_schema = request.schema.as_ref().map_or(&[][..], |schema| &schema.items);
    let template = verification_template(request)?;
    let required = verified_before_update(request)?;
    let first_factors = mfa::first_factors(request.policies.as_ref())?;
    let mut record = PoolRecord {
        attributes_require_verification_before_update: required,
        allowed_first_auth_factors: first_factors.unwrap_or_default(),
        name: request.pool_name.clone().unwrap_or_default(),
        password_policy: Some(password_policy(request)?),
        deletion_protection: request.deletion_protection.as_deref() == Some("ACTIVE"),
        auto_verified_attributes: without_repetitions(&request.auto_verified_attributes),
        alias_attributes: without_repetitions(&request.alias_attributes),
        username_attributes: without_repetitions(&request.username_attributes),
        // the older members mirror the template
        sms_verification_message: template.sms_message.clone(),
        email_verification_message: template.email_message.clone(),
        email_verification_subject: template.email_subject.clone(),
        verification_template: Some(template),
        tags: tags::new_tags(&request.user_pool_tags)?,
        admin_create_user: Some(admin_create_user(request)?),
        schema: schema::new_schema(requested_schema)?,
        case_sensitive: request
            .username_configuration
            .as_ref()
            .and_then(|configuration| configuration.case_sensitive),
        recovery_mechanisms: recovery_mechanisms(request)?,
        tier: request.user_pool_tier.clone().unwrap_or_else(|| TIER.to_owned()),
        sms_authentication_message: request.sms_authentication_message.clone(),
        email_sending_account: request
            .email_configuration
            .as_ref()
            .and_then(|configuration| configuration.email_sending_account.clone()),
        email_source_arn: email(request, |email| &email.source_arn),
        email_from: email(request, |email| &email.from),
        email_reply_to: email(request, |email| &email.reply_to_email_address),
        sms_configuration: request.sms_configuration.as_ref().map(sms_configuration),
        advanced_security_mode: request
            .user_pool_add_ons
            .as_ref()
            .and_then(|add_ons| add_ons.advanced_security_mode.clone()),
        custom_auth_mode: request
            .user_pool_add_ons
            .as_ref()
            .and_then(|add_ons| add_ons.advanced_security_additional_flows.as_ref())
            .and_then(|flows| flows.custom_auth_mode.clone()),
        device_configuration: request.device_configuration.as_ref().and_then(devices::settings),
        triggers: triggers::settings::record(
            request.lambda_config.as_ref(),
            request.user_pool_tier.as_deref().unwrap_or(TIER),
        )?,
        ..Default::default()
    };
    record.mfa = mfa::of_new_pool(request, &record)?;
    mfa::check(&record)?;
    tier::check_threat_protection(&record)?;
    Ok(record)
}

/// The record of a pool after UpdateUserPool: what the request leaves out is as in a new pool, except for
/// the tier and the name, and for what a pool keeps for good.
///
/// # Errors
/// As for [`new_pool`].
pub(super) fn updated_pool(
    present: &PoolRecord,
    request: types::UpdateUserPoolRequest,
) -> Result<PoolRecord, ApiError> {
    let tier = request.user_pool_tier.unwrap_or_else(|| present.tier.clone());
    let mfa_configuration = request.mfa_configuration;
    let first_factors = mfa::first_factors(request.policies.as_ref())?;
    let as_new = types::CreateUserPoolRequest {
        pool_name: request.pool_name.or_else(|| Some(present.name.clone())),
        policies: request.policies,
        deletion_protection: request.deletion_protection,
        lambda_config: request.lambda_config,
        auto_verified_attributes: request.auto_verified_attributes,
        sms_verification_message: request.sms_verification_message,
        email_verification_message: request.email_verification_message,
        email_verification_subject: request.email_verification_subject,
        verification_message_template: request.verification_message_template,
        sms_authentication_message: request.sms_authentication_message,
        mfa_configuration: None, // below: it is not as in a new pool
        user_attribute_update_settings: request.user_attribute_update_settings,
        device_configuration: request.device_configuration,
        email_configuration: request.email_configuration,
        sms_configuration: request.sms_configuration,
        user_pool_tags: request.user_pool_tags,
        admin_create_user_config: request.admin_create_user_config,
        user_pool_add_ons: request.user_pool_add_ons,
        dcr_configuration: request.dcr_configuration,
        account_recovery_setting: request.account_recovery_setting,
        user_pool_tier: Some(tier),
        key_configuration: request.key_configuration,
        issuer_configuration: request.issuer_configuration,
        acr_configuration: request.acr_configuration,
        // for good; taken over from the present record
        alias_attributes: Vec::new(),
        username_attributes: Vec::new(),
        schema: None,
        username_configuration: None,
    };
    tier::check(as_new.user_pool_tier.as_deref().unwrap_or_default(), present)?;
    log_delivery::check_tier(as_new.user_pool_tier.as_deref().unwrap_or_default(), present)?;
    let mut record = PoolRecord {
        pool_id: present.pool_id.clone(),
        account_id: present.account_id.clone(),
        region: present.region.clone(),
        created_ms: present.created_ms,
        alias_attributes: present.alias_attributes.clone(),
        username_attributes: present.username_attributes.clone(),
        schema: present.schema.clone(),
        case_sensitive: present.case_sensitive,
        // set by operations of their own
        domains: present.domains.clone(),
        tokens_not_before_ms: present.tokens_not_before_ms,
        log_configurations: present.log_configurations.clone(),
        web_authn: present.web_authn.clone(),
        ..new_pool(&as_new)?
    };
    // these two stay where they are left out
    record.allowed_first_auth_factors =
        first_factors.unwrap_or_else(|| present.allowed_first_auth_factors.clone());
    record.mfa = mfa::after_update(present, mfa_configuration.as_deref(), &record)?;
    Ok(record)
}

fn check_auto_verification(request: &types::CreateUserPoolRequest) -> Result<(), ApiError> {
    let verifies_phone = request.auto_verified_attributes.iter().any(|name| name == "phone_number");
    let caller = request.sms_configuration.as_ref().and_then(|sms| sms.sns_caller_arn.as_deref());
    if verifies_phone && caller.unwrap_or_default().is_empty() {
        return Err(errors::invalid_parameter(
            "SMS configuration is required when phone_number is selected for auto verification",
        ));
    }
    Ok(())
}

/// What is pending until it is verified must be verified by the pool: nobody else sends the code.
fn verified_before_update(request: &types::CreateUserPoolRequest) -> Result<Vec<String>, ApiError> {
    let given = request.user_attribute_update_settings.as_ref();
    let names = given.map_or(&[][..], |given| &given.attributes_require_verification_before_update);
    if names.iter().all(|name| request.auto_verified_attributes.contains(name)) {
        return Ok(without_repetitions(names));
    }
    Err(errors::invalid_parameter(
        "All attributes in AttributesRequireVerificationBeforeUpdate must exist in AutoVerifiedAttributes",
    ))
}

/// A policy that is given says all: what it leaves out is not required.
fn password_policy(request: &types::CreateUserPoolRequest) -> Result<PasswordPolicy, ApiError> {
    let given = request.policies.as_ref().and_then(|policies| policies.password_policy.as_ref());
    let temporary_password_validity_days = temporary_password_validity_days(request)?;
    let Some(given) = given else {
        return Ok(PasswordPolicy {
            minimum_length: PASSWORD_LENGTH_MIN,
            require_uppercase: true,
            require_lowercase: true,
            require_numbers: true,
            require_symbols: true,
            temporary_password_validity_days,
            password_history_size: 0,
        });
    };
    tier::check_password_history(request.user_pool_tier.as_deref(), given.password_history_size)?;
    let number = |given: Option<i32>, default| {
        given.and_then(|given| u32::try_from(given).ok()).unwrap_or(default)
    };
    Ok(PasswordPolicy {
        minimum_length: number(given.minimum_length, PASSWORD_LENGTH_MIN),
        require_uppercase: given.require_uppercase.unwrap_or(false),
        require_lowercase: given.require_lowercase.unwrap_or(false),
        require_numbers: given.require_numbers.unwrap_or(false),
        require_symbols: given.require_symbols.unwrap_or(false),
        temporary_password_validity_days,
        password_history_size: number(given.password_history_size, 0),
    })
}

/// One setting with two names, of which a request may use one.
fn temporary_password_validity_days(
    request: &types::CreateUserPoolRequest,
) -> Result<u32, ApiError> {
    let policy = request.policies.as_ref().and_then(|policies| policies.password_policy.as_ref());
    let given = policy.and_then(|policy| policy.temporary_password_validity_days);
    let older = request.admin_create_user_config.as_ref();
    let older = older.and_then(|config| config.unused_account_validity_days);
    // a value of 0 counts as none
    let days =
        |days: Option<i32>| days.and_then(|days| u32::try_from(days).ok()).filter(|days| *days > 0);
    match (days(given), days(older)) {
        (Some(_), Some(_)) => Err(errors::invalid_parameter(
            "Please use TemporaryPasswordValidityDays in PasswordPolicy instead of UnusedAccountValidityDays",
        )),
        (given, older) => Ok(given.or(older).unwrap_or(TEMPORARY_PASSWORD_VALIDITY_DAYS)),
    }
}

fn admin_create_user(
    request: &types::CreateUserPoolRequest,
) -> Result<AdminCreateUserConfig, ApiError> {
    let given = request.admin_create_user_config.clone().unwrap_or_default();
    let template = given.invite_message_template;
    if let Some(template) = &template {
        check_invitation(template)?;
    }
    let has_invite_template = template.is_some();
    let template = template.unwrap_or_default();
    Ok(AdminCreateUserConfig {
        allow_admin_create_user_only: given.allow_admin_create_user_only.unwrap_or(false),
        unused_account_validity_days: temporary_password_validity_days(request)?,
        invite_sms_message: template.sms_message,
        invite_email_message: template.email_message,
        invite_email_subject: template.email_subject,
        has_invite_template,
    })
}

/// An invitation carries the temporary password. The model's patterns are wider, for pools without
/// passwords; the service then applies these.
fn check_invitation(template: &types::MessageTemplateType) -> Result<(), ApiError> {
    const SMS_PATTERN: &str = r"(?s).*\{####\}(?s).*";
    const EMAIL_PATTERN: &str =
        r"[\p{L}\p{M}\p{S}\p{N}\p{P}\s*]*\{####\}[\p{L}\p{M}\p{S}\p{N}\p{P}\s*]*";
    let messages = [
        (&template.email_message, "emailMessage", EMAIL_PATTERN),
        (&template.sms_message, "smsMessage", SMS_PATTERN),
    ];
    let broken: Vec<String> = messages
        .into_iter()
        .filter_map(|(message, member, pattern)| {
            let message = message.as_deref().filter(|message| !message.contains("{####}"))?;
            Some(format!(
                "Value '{message}' at 'adminCreateUserConfig.inviteMessage.{member}' failed to satisfy \
                 constraint: Member must satisfy regular expression pattern: {pattern}"
            ))
        })
        .collect();
    match broken.len() {
        0 => Ok(()),
        1 => Err(errors::invalid_parameter(format!(
            "1 validation error detected: {}",
            broken.concat()
        ))),
        count => Err(errors::invalid_parameter(format!(
            "{count} validation errors detected: {}",
            broken.join("; ")
        ))),
    }
}

/// The template, with what the older members say where it is silent.
fn verification_template(
    request: &types::CreateUserPoolRequest,
) -> Result<VerificationTemplate, ApiError> {
    let given = request.verification_message_template.clone().unwrap_or_default();
    if given.email_message_by_link.as_deref().is_some_and(|message| !has_link(message)) {
        return Err(errors::invalid_parameter("The message is invalid."));
    }
    Ok(VerificationTemplate {
        sms_message: given.sms_message.or_else(|| request.sms_verification_message.clone()),
        email_message: given.email_message.or_else(|| request.email_verification_message.clone()),
        email_subject: given.email_subject.or_else(|| request.email_verification_subject.clone()),
        email_message_by_link: given.email_message_by_link,
        email_subject_by_link: given.email_subject_by_link,
        default_email_option: Some(
            given.default_email_option.unwrap_or_else(|| CONFIRM_WITH_CODE.to_owned()),
        ),
    })
}

/// Whether a message has a link with a text: `{##Verify##}`. The model's pattern lets `{####}` pass.
fn has_link(message: &str) -> bool {
    let Some((_, rest)) = message.split_once("{##") else { return false };
    rest.split_once("##}").is_some_and(|(text, _)| !text.is_empty())
}

fn recovery_mechanisms(
    request: &types::CreateUserPoolRequest,
) -> Result<Vec<RecoveryMechanism>, ApiError> {
    let mechanism =
        |priority: i32, name: &str| RecoveryMechanism { priority, name: name.to_owned() };
    let given = request.account_recovery_setting.as_ref();
    let Some(given) = given.and_then(|setting| setting.recovery_mechanisms.as_ref()) else {
        return Ok(vec![mechanism(1, "verified_email"), mechanism(2, "verified_phone_number")]);
    };
    let given: Vec<_> = given
        .items
        .iter()
        .map(|option| {
            mechanism(
                option.priority.unwrap_or_default(),
                option.name.as_deref().unwrap_or_default(),
            )
        })
        .collect();
    if given.len() > 1 && given.iter().any(|mechanism| mechanism.name == "admin_only") {
        return Err(errors::invalid_parameter(
            "Account Recovery Setting cannot use admin_only setting with any other recovery mechanisms.",
        ));
    }
    let priorities: BTreeSet<_> = given.iter().map(|mechanism| mechanism.priority).collect();
    let names: BTreeSet<_> = given.iter().map(|mechanism| mechanism.name.as_str()).collect();
    if priorities.len() < given.len() || names.len() < given.len() {
        return Err(errors::invalid_parameter(
            "Account Recovery Setting cannot have duplicate priorities or recovery mechanisms.",
        ));
    }
    Ok(given)
}

fn email(
    request: &types::CreateUserPoolRequest,
    member: impl Fn(&types::EmailConfigurationType) -> &Option<String>,
) -> Option<String> {
    request.email_configuration.as_ref().and_then(|email| member(email).clone())
}

pub(super) fn sms_configuration(given: &types::SmsConfigurationType) -> SmsConfiguration {
    SmsConfiguration {
        sns_caller_arn: given.sns_caller_arn.clone(),
        external_id: given.external_id.clone(),
        sns_region: given.sns_region.clone(),
    }
}

pub(super) fn without_repetitions(names: &[String]) -> Vec<String> {
    let mut kept: Vec<String> = Vec::with_capacity(names.len());
    for name in names {
        if !kept.contains(name) {
            kept.push(name.clone());
        }
    }
    kept
}
