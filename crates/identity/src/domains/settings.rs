//! What a domain may be called, and what a pool may have of them.
//!
//! Sources: API reference, `CreateUserPoolDomain`; developer guide, "Configuring a user pool domain".
//! Texts are the service's, from reports of its answers, unless they say otherwise.

use conclave_api::{ApiError, types};

use crate::errors;

/// The classic pages.
const VERSION_DEFAULT: u32 = 1;
const VERSION_MAX: u32 = 2;
const RESERVED_WORDS: [&str; 3] = ["aws", "amazon", "cognito"];

/// Checks a domain's name: a prefix of ours has no dots, and a name of the customer's own has some.
///
/// # Errors
/// InvalidParameterException.
pub(super) fn check_name(domain: &str, is_custom: bool) -> Result<(), ApiError> {
    if !is_custom {
        if domain.contains('.') {
            return Err(errors::invalid_parameter(
                r"The domain name contains an invalid character. Domain names can only contain lower-case letters, numbers, and hyphens. Please enter a different name that follows this format: ^[a-z0-9](?:[a-z0-9\-]{0,61}[a-z0-9])?$",
            ));
        }
        if let Some(word) = RESERVED_WORDS.iter().find(|word| domain.contains(**word)) {
            return Err(errors::invalid_parameter(format!(
                "Domain cannot contain reserved word: {word}"
            )));
        }
        return Ok(());
    }
    let is_label =
        |label: &str| !label.is_empty() && !label.starts_with('-') && !label.ends_with('-');
    if !domain.contains('.') || !domain.split('.').all(is_label) {
        // judgement
        return Err(errors::invalid_parameter("Custom domain is not a valid subdomain."));
    }
    Ok(())
}

/// The version of the sign-in pages.
///
/// # Errors
/// InvalidParameterException, with a text that is judgement.
pub(super) fn version(given: Option<i32>) -> Result<u32, ApiError> {
    let Some(given) = given else { return Ok(VERSION_DEFAULT) };
    match u32::try_from(given) {
        Ok(version @ VERSION_DEFAULT..=VERSION_MAX) => Ok(version),
        _ => Err(errors::invalid_parameter("ManagedLoginVersion must be 1 or 2.")),
    }
}

/// The certificate of a domain of the customer's own.
pub(super) fn certificate(config: Option<&types::CustomDomainConfigType>) -> Option<String> {
    config.map(|config| config.certificate_arn.clone().unwrap_or_default())
}
