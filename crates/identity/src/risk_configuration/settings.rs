//! From a request to a risk configuration's record and back. Limits of single members are checked before.
//!
//! Sources: API reference, `SetRiskConfiguration`; developer guide, "Advanced security with threat protection". The texts are judgement.

use std::net::IpAddr;

use conclave_api::{ApiError, types};
use conclave_store::{
    limits,
    records::{
        AccountTakeoverRisk, CompromisedCredentialsRisk, RiskAction, RiskConfigurationRecord,
        RiskEmail, RiskExceptions, RiskNotification,
    },
};
use prost::Message;

use crate::{errors, pools::email, world::Settings};

/// What a filter that is left out means: API reference, `CompromisedCredentialsRiskConfigurationType`. The service describes it so;
/// Terraform's resource counts on it.
const EVERY_EVENT: [&str; 3] = ["SIGN_IN", "PASSWORD_CHANGE", "SIGN_UP"];

/// The record of a configuration; `None` when nothing is configured.
///
/// # Errors
/// InvalidParameterException for an address range that is not in CIDR notation, for a notification without the configuration that
/// it is sent by, for a sender that may not send, and for more text than a record holds.
pub(super) fn record(
    request: &types::SetRiskConfigurationRequest,
    settings: &Settings,
    now_ms: i64,
) -> Result<Option<RiskConfigurationRecord>, ApiError> {
    let record = RiskConfigurationRecord {
        compromised_credentials: request
            .compromised_credentials_risk_configuration
            .as_ref()
            .map(compromised_credentials),
        account_takeover: request
            .account_takeover_risk_configuration
            .as_ref()
            .map(|given| account_takeover(given, settings))
            .transpose()?,
        exceptions: request.risk_exception_configuration.as_ref().map(exceptions).transpose()?,
        modified_ms: now_ms,
    };
    if record.encoded_len() > limits::VALUE_BYTES_MAX {
        return Err(errors::invalid_parameter(format!(
            "A risk configuration can have {} bytes.",
            limits::VALUE_BYTES_MAX
        )));
    }
    let is_empty = record.compromised_credentials.is_none()
        && record.account_takeover.is_none()
        && record.exceptions.is_none();
    Ok((!is_empty).then_some(record))
}

fn compromised_credentials(
    given: &types::CompromisedCredentialsRiskConfigurationType,
) -> CompromisedCredentialsRisk {
    let event_filter = match given.event_filter.as_slice() {
        [] => EVERY_EVENT.map(str::to_owned).to_vec(),
        given => given.to_vec(),
    };
    let event_action = given.actions.as_ref().and_then(|actions| actions.event_action.clone());
    CompromisedCredentialsRisk { event_filter, event_action: event_action.unwrap_or_default() }
}

fn account_takeover(
    given: &types::AccountTakeoverRiskConfigurationType,
    settings: &Settings,
) -> Result<AccountTakeoverRisk, ApiError> {
    let actions = given.actions.clone().unwrap_or_default();
    let action = |action: Option<types::AccountTakeoverActionType>| {
        action.map(|action| RiskAction {
            event_action: action.event_action.unwrap_or_default(),
            notify: action.notify.unwrap_or(false),
        })
    };
    let risk = AccountTakeoverRisk {
        low: action(actions.low_action),
        medium: action(actions.medium_action),
        high: action(actions.high_action),
        notification: given
            .notify_configuration
            .as_ref()
            .map(|given| notification(given, settings))
            .transpose()?,
    };
    let notifies = [&risk.low, &risk.medium, &risk.high]
        .into_iter()
        .any(|action| action.as_ref().is_some_and(|action| action.notify));
    if notifies && risk.notification.is_none() {
        return Err(errors::invalid_parameter(
            "NotifyConfiguration is required when an action has Notify set to true.",
        ));
    }
    Ok(risk)
}

/// Who sends is checked as for the pool's other messages; but for an ARN of a domain without `From`, for which the pool's sender
/// stands.
fn notification(
    given: &types::NotifyConfigurationType,
    settings: &Settings,
) -> Result<RiskNotification, ApiError> {
    let named = given.source_arn.as_deref().and_then(email::identity);
    let sends = given.from.is_some() || named.is_none_or(|identity| identity.contains('@'));
    let of_pool = types::EmailConfigurationType {
        source_arn: given.source_arn.clone().filter(|_| sends),
        from: given.from.clone(),
        reply_to_email_address: given.reply_to.clone(),
        ..Default::default()
    };
    email::check(Some(&of_pool), settings)?;
    let template = |email: &Option<types::NotifyEmailType>| {
        email.clone().map(|email| RiskEmail {
            subject: email.subject.unwrap_or_default(),
            html_body: email.html_body,
            text_body: email.text_body,
        })
    };
    Ok(RiskNotification {
        from: given.from.clone(),
        reply_to: given.reply_to.clone(),
        source_arn: given.source_arn.clone().unwrap_or_default(),
        block: template(&given.block_email),
        no_action: template(&given.no_action_email),
        mfa: template(&given.mfa_email),
    })
}

fn exceptions(given: &types::RiskExceptionConfigurationType) -> Result<RiskExceptions, ApiError> {
    for range in given.blocked_ip_range_list.iter().chain(&given.skipped_ip_range_list) {
        if !is_cidr(range) {
            return Err(errors::invalid_parameter(format!(
                "{range} is not an IP address range in CIDR notation."
            )));
        }
    }
    Ok(RiskExceptions {
        blocked_ip_ranges: given.blocked_ip_range_list.clone(),
        skipped_ip_ranges: given.skipped_ip_range_list.clone(),
    })
}

/// `192.0.2.0/24`, `2001:db8::/32`. RFC 4632, RFC 4291.
fn is_cidr(text: &str) -> bool {
    let Some((address, length)) = text.split_once('/') else { return false };
    let is_number = !length.is_empty() && length.bytes().all(|digit| digit.is_ascii_digit());
    let length = length.parse::<u8>().ok().filter(|_| is_number);
    match (address.parse::<IpAddr>(), length) {
        (Ok(IpAddr::V4(_)), Some(length)) => length <= 32,
        (Ok(IpAddr::V6(_)), Some(length)) => length <= 128,
        _ => false,
    }
}

/// A configuration as it is answered.
pub(super) fn describe(
    pool_id: &str,
    client_id: Option<&str>,
    record: &RiskConfigurationRecord,
) -> types::RiskConfigurationType {
    let compromised = record.compromised_credentials.as_ref().map(|risk| {
        types::CompromisedCredentialsRiskConfigurationType {
            event_filter: risk.event_filter.clone(),
            actions: Some(types::CompromisedCredentialsActionsType {
                event_action: Some(risk.event_action.clone()),
            }),
        }
    });
    let exceptions =
        record.exceptions.as_ref().map(|exceptions| types::RiskExceptionConfigurationType {
            blocked_ip_range_list: exceptions.blocked_ip_ranges.clone(),
            skipped_ip_range_list: exceptions.skipped_ip_ranges.clone(),
        });
    types::RiskConfigurationType {
        user_pool_id: Some(pool_id.to_owned()),
        client_id: client_id.map(str::to_owned),
        compromised_credentials_risk_configuration: compromised,
        account_takeover_risk_configuration: record
            .account_takeover
            .as_ref()
            .map(describe_takeover),
        risk_exception_configuration: exceptions,
        last_modified_date: (record.modified_ms != 0).then_some(record.modified_ms),
    }
}

fn describe_takeover(risk: &AccountTakeoverRisk) -> types::AccountTakeoverRiskConfigurationType {
    let action = |action: &Option<RiskAction>| {
        action.as_ref().map(|action| types::AccountTakeoverActionType {
            notify: Some(action.notify),
            event_action: Some(action.event_action.clone()),
        })
    };
    let email = |email: &Option<RiskEmail>| {
        email.as_ref().map(|email| types::NotifyEmailType {
            subject: Some(email.subject.clone()),
            html_body: email.html_body.clone(),
            text_body: email.text_body.clone(),
        })
    };
    let notification = risk.notification.as_ref().map(|given| types::NotifyConfigurationType {
        from: given.from.clone(),
        reply_to: given.reply_to.clone(),
        source_arn: Some(given.source_arn.clone()),
        block_email: email(&given.block),
        no_action_email: email(&given.no_action),
        mfa_email: email(&given.mfa),
    });
    types::AccountTakeoverRiskConfigurationType {
        notify_configuration: notification,
        actions: Some(types::AccountTakeoverActionsType {
            low_action: action(&risk.low),
            medium_action: action(&risk.medium),
            high_action: action(&risk.high),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn address_ranges_are_in_cidr_notation() {
        for range in ["192.0.2.0/24", "192.0.2.252/32", "0.0.0.0/0", "2001:db8::/32", "::1/128"] {
            assert!(is_cidr(range), "{range}");
        }
        for range in [
            "",
            "192.0.2.0",
            "192.0.2.0/",
            "192.0.2.0/33",
            "192.0.2.0/+8",
            "192.0.2.0/24/24",
            "192.0.2/24",
            "2001:db8::/129",
            "example.com/24",
            " 192.0.2.0/24",
        ] {
            assert!(!is_cidr(range), "{range}");
        }
    }
}
