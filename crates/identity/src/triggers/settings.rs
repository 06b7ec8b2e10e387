//! LambdaConfig: from a request to a pool's record and back.
//!
//! Source: API reference, LambdaConfigType and PreTokenGenerationVersionConfigType. Whether a function is there,
//! and may be called, shows when it is called: as in Cognito.

use conclave_api::{ApiError, types};
use conclave_store::records::{PoolRecord, PoolTriggers};

use crate::{errors, pools::tier};

const V1: &str = "V1_0";

/// The record of a pool's triggers; `None` for none.
///
/// # Errors
/// InvalidParameterException where the two members for PreTokenGeneration disagree (the text is judgement), or
/// there is a sender and no key;
/// FeatureUnavailableInTierException for a version that the tier does not have.
pub fn record(
    given: Option<&types::LambdaConfigType>,
    tier: &str,
) -> Result<Option<PoolTriggers>, ApiError> {
    let Some(given) = given else { return Ok(None) };
    let versioned = given.pre_token_generation_config.as_ref();
    let versioned_arn = versioned.and_then(|config| config.lambda_arn.clone());
    if let (Some(old), Some(new)) = (&given.pre_token_generation, &versioned_arn)
        && old != new
    {
        return Err(errors::invalid_parameter(
            "PreTokenGeneration and the LambdaArn of PreTokenGenerationConfig must be the same.",
        ));
    }
    let pre_token_generation = versioned_arn.or_else(|| given.pre_token_generation.clone());
    let version = match &pre_token_generation {
        None => String::new(),
        Some(_) => {
            let version = versioned.and_then(|config| config.lambda_version.clone());
            version.unwrap_or_else(|| V1.to_owned())
        }
    };
    let record = PoolTriggers {
        pre_sign_up: given.pre_sign_up.clone(),
        custom_message: given.custom_message.clone(),
        post_confirmation: given.post_confirmation.clone(),
        pre_authentication: given.pre_authentication.clone(),
        post_authentication: given.post_authentication.clone(),
        define_auth_challenge: given.define_auth_challenge.clone(),
        create_auth_challenge: given.create_auth_challenge.clone(),
        verify_auth_challenge_response: given.verify_auth_challenge_response.clone(),
        pre_token_generation,
        pre_token_generation_version: version,
        user_migration: given.user_migration.clone(),
        custom_email_sender: given
            .custom_email_sender
            .as_ref()
            .and_then(|sender| sender.lambda_arn.clone()),
        custom_sms_sender: given
            .custom_sms_sender
            .as_ref()
            .and_then(|sender| sender.lambda_arn.clone()),
        kms_key_id: given.kms_key_id.clone(),
    };
    check_key(&record)?;
    check_tier(tier, &record)?;
    Ok((record != PoolTriggers::default()).then_some(record))
}

/// Codes go to senders under a key. Source: developer guide, "Custom sender Lambda triggers", and API reference,
/// LambdaConfigType; the text is judgement.
fn check_key(record: &PoolTriggers) -> Result<(), ApiError> {
    let has_sender = record.custom_email_sender.is_some() || record.custom_sms_sender.is_some();
    if has_sender && record.kms_key_id.is_none() {
        return Err(errors::invalid_parameter(
            "KMSKeyID is required when CustomEmailSender or CustomSMSSender is configured.",
        ));
    }
    Ok(())
}

/// Access tokens can be customized in the tiers above the first.
/// Source: developer guide, "Pre token generation Lambda trigger".
fn check_tier(tier: &str, record: &PoolTriggers) -> Result<(), ApiError> {
    let version = record.pre_token_generation_version.as_str();
    if version.is_empty() || version == V1 {
        return Ok(());
    }
    tier::check_access_token_customization(tier)
}

/// LambdaConfig as it is answered. PreTokenGeneration is named in both of its members.
pub fn describe(pool: &PoolRecord) -> types::LambdaConfigType {
    let Some(record) = pool.triggers.clone() else { return types::LambdaConfigType::default() };
    let versioned = record.pre_token_generation.clone().map(|lambda_arn| {
        types::PreTokenGenerationVersionConfigType {
            lambda_version: Some(record.pre_token_generation_version),
            lambda_arn: Some(lambda_arn),
        }
    });
    types::LambdaConfigType {
        pre_sign_up: record.pre_sign_up,
        custom_message: record.custom_message,
        post_confirmation: record.post_confirmation,
        pre_authentication: record.pre_authentication,
        post_authentication: record.post_authentication,
        define_auth_challenge: record.define_auth_challenge,
        create_auth_challenge: record.create_auth_challenge,
        verify_auth_challenge_response: record.verify_auth_challenge_response,
        pre_token_generation: record.pre_token_generation,
        pre_token_generation_config: versioned,
        user_migration: record.user_migration,
        custom_email_sender: record.custom_email_sender.map(|lambda_arn| {
            types::CustomEmailLambdaVersionConfigType {
                lambda_version: Some(V1.to_owned()),
                lambda_arn: Some(lambda_arn),
            }
        }),
        custom_sms_sender: record.custom_sms_sender.map(|lambda_arn| {
            types::CustomSmsLambdaVersionConfigType {
                lambda_version: Some(V1.to_owned()),
                lambda_arn: Some(lambda_arn),
            }
        }),
        kms_key_id: record.kms_key_id,
        ..Default::default()
    }
}
