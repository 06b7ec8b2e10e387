//! A pool as CreateUserPool and DescribeUserPool answer it.

use conclave_api::types;
use conclave_store::records::{PoolRecord, SmsConfiguration};

use super::schema;
use crate::{auth::factors, devices, domains, triggers};

/// The two answers differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shown {
    /// By CreateUserPool.
    Created,
    /// By DescribeUserPool, with the number of users.
    Described {
        /// As the counter says.
        users: i64,
    },
}

/// The pool as it is answered.
pub fn describe(pool: &PoolRecord, shown: Shown) -> types::UserPoolType {
    let (schema, users) = match shown {
        Shown::Created => (schema::created(pool), 0),
        Shown::Described { users } => (schema::described(pool), users),
    };
    types::UserPoolType {
        id: Some(pool.pool_id.clone()),
        name: Some(pool.name.clone()),
        policies: Some(policies(pool)),
        deletion_protection: Some(on_off(pool.deletion_protection, "ACTIVE", "INACTIVE")),
        lambda_config: Some(triggers::settings::describe(pool)),
        last_modified_date: Some(pool.modified_ms),
        creation_date: Some(pool.created_ms),
        schema_attributes: schema,
        auto_verified_attributes: pool.auto_verified_attributes.clone(),
        alias_attributes: pool.alias_attributes.clone(),
        username_attributes: pool.username_attributes.clone(),
        sms_verification_message: pool.sms_verification_message.clone(),
        email_verification_message: pool.email_verification_message.clone(),
        email_verification_subject: pool.email_verification_subject.clone(),
        verification_message_template: Some(verification_template(pool)),
        sms_authentication_message: pool.sms_authentication_message.clone(),
        user_attribute_update_settings: Some(types::UserAttributeUpdateSettingsType {
            attributes_require_verification_before_update: pool
                .attributes_require_verification_before_update
                .clone(),
        }),
        mfa_configuration: Some(factors::of_pool(pool).asks.as_str().to_owned()),
        // the member is 32 bits wide
        estimated_number_of_users: Some(i32::try_from(users).unwrap_or(i32::MAX)),
        email_configuration: Some(types::EmailConfigurationType {
            email_sending_account: Some(
                pool.email_sending_account.clone().unwrap_or_else(|| "COGNITO_DEFAULT".to_owned()),
            ),
            source_arn: pool.email_source_arn.clone(),
            from: pool.email_from.clone(),
            reply_to_email_address: pool.email_reply_to.clone(),
            ..Default::default()
        }),
        sms_configuration: pool.sms_configuration.as_ref().map(sms),
        user_pool_tags: tags(pool, shown),
        admin_create_user_config: Some(admin_create_user(pool)),
        user_pool_add_ons: pool.advanced_security_mode.as_ref().map(|mode| {
            types::UserPoolAddOnsType {
                advanced_security_mode: Some(mode.clone()),
                advanced_security_additional_flows: pool.custom_auth_mode.as_ref().map(|mode| {
                    types::AdvancedSecurityAdditionalFlowsType {
                        custom_auth_mode: Some(mode.clone()),
                    }
                }),
            }
        }),
        username_configuration: pool.case_sensitive.map(|case_sensitive| {
            types::UsernameConfigurationType { case_sensitive: Some(case_sensitive) }
        }),
        domain: domains::prefix_of(pool).map(|domain| domain.domain.clone()),
        custom_domain: domains::custom_of(pool).map(|domain| domain.domain.clone()),
        arn: Some(arn(pool)),
        account_recovery_setting: Some(account_recovery(pool)),
        user_pool_tier: Some(pool.tier.clone()),
        device_configuration: pool.device_configuration.as_ref().map(devices::describe_settings),
        key_configuration: Some(types::KeyConfigurationType {
            key_type: Some("AWS_OWNED_KEY".to_owned()),
            ..Default::default()
        }),
        issuer_configuration: Some(types::IssuerConfigurationType {
            r#type: Some("ORIGINAL".to_owned()),
        }),
        ..Default::default()
    }
}

/// CreateUserPool leaves the member out when there are no tags, DescribeUserPool writes an empty map.
fn tags(pool: &PoolRecord, shown: Shown) -> Option<types::StringMap> {
    if pool.tags.is_empty() && matches!(shown, Shown::Created) {
        return None;
    }
    Some(types::StringMap { items: pool.tags.clone().into_iter().collect() })
}

/// `arn:aws:cognito-idp:<region>:<account>:userpool/<id>`.
pub fn arn(pool: &PoolRecord) -> String {
    format!("arn:aws:cognito-idp:{}:{}:userpool/{}", pool.region, pool.account_id, pool.pool_id)
}

fn policies(pool: &PoolRecord) -> types::UserPoolPolicyType {
    let policy = pool.password_policy.unwrap_or_default();
    // the API's numbers are signed
    let number = |number: u32| i32::try_from(number).ok();
    types::UserPoolPolicyType {
        password_policy: Some(types::PasswordPolicyType {
            minimum_length: number(policy.minimum_length),
            require_uppercase: Some(policy.require_uppercase),
            require_lowercase: Some(policy.require_lowercase),
            require_numbers: Some(policy.require_numbers),
            require_symbols: Some(policy.require_symbols),
            password_history_size: number(policy.password_history_size).filter(|size| *size > 0),
            temporary_password_validity_days: number(policy.temporary_password_validity_days),
        }),
        sign_in_policy: Some(types::SignInPolicyType {
            allowed_first_auth_factors: Some(types::StringList { items: first_factors(pool) }),
        }),
    }
}

/// AllowedFirstAuthFactors: without any, a password.
fn first_factors(pool: &PoolRecord) -> Vec<String> {
    if pool.allowed_first_auth_factors.is_empty() {
        return vec!["PASSWORD".to_owned()];
    }
    pool.allowed_first_auth_factors.clone()
}

/// SmsConfiguration.
pub(super) fn sms(sms: &SmsConfiguration) -> types::SmsConfigurationType {
    types::SmsConfigurationType {
        sns_caller_arn: sms.sns_caller_arn.clone(),
        external_id: sms.external_id.clone(),
        sns_region: sms.sns_region.clone(),
        ..Default::default()
    }
}

fn admin_create_user(pool: &PoolRecord) -> types::AdminCreateUserConfigType {
    let config = pool.admin_create_user.clone().unwrap_or_default();
    let template = types::MessageTemplateType {
        sms_message: config.invite_sms_message,
        email_message: config.invite_email_message,
        email_subject: config.invite_email_subject,
    };
    types::AdminCreateUserConfigType {
        allow_admin_create_user_only: Some(config.allow_admin_create_user_only),
        unused_account_validity_days: i32::try_from(config.unused_account_validity_days).ok(),
        invite_message_template: config.has_invite_template.then_some(template),
    }
}

fn verification_template(pool: &PoolRecord) -> types::VerificationMessageTemplateType {
    let template = pool.verification_template.clone().unwrap_or_default();
    types::VerificationMessageTemplateType {
        sms_message: template.sms_message,
        email_message: template.email_message,
        email_subject: template.email_subject,
        email_message_by_link: template.email_message_by_link,
        email_subject_by_link: template.email_subject_by_link,
        default_email_option: template.default_email_option,
    }
}

fn account_recovery(pool: &PoolRecord) -> types::AccountRecoverySettingType {
    let option =
        |mechanism: &conclave_store::records::RecoveryMechanism| types::RecoveryOptionType {
            priority: Some(mechanism.priority),
            name: Some(mechanism.name.clone()),
        };
    types::AccountRecoverySettingType {
        recovery_mechanisms: Some(types::RecoveryOptionTypeList {
            items: pool.recovery_mechanisms.iter().map(option).collect(),
        }),
    }
}

fn on_off(is_on: bool, on: &str, off: &str) -> String {
    if is_on { on.to_owned() } else { off.to_owned() }
}
