//! Feature plans: what a pool may not have in which tier.
//!
//! Source: developer guide, "User pool feature plans". Only features that are built can be switched on, so
//! only they are here. The text is the service's, from reports of its answer.

use conclave_api::{ApiError, ExceptionName};
use conclave_store::records::PoolRecord;

use crate::threat_protection;

const LITE: &str = "LITE";
const PLUS: &str = "PLUS";
/// `ManagedLoginVersion` of the pages that the LITE plan does not have.
const MANAGED_LOGIN: u32 = 2;

/// Checks that a pool with these settings can be of `tier`.
///
/// # Errors
/// FeatureUnavailableInTierException.
pub(crate) fn check(tier: &str, pool: &PoolRecord) -> Result<(), ApiError> {
    let has_managed_login =
        pool.domains.iter().any(|domain| domain.managed_login_version >= MANAGED_LOGIN);
    if has_managed_login { check_managed_login(tier) } else { Ok(()) }
}

/// Checks that pools of `tier` have managed login.
///
/// # Errors
/// FeatureUnavailableInTierException.
pub(crate) fn check_managed_login(tier: &str) -> Result<(), ApiError> {
    if tier == LITE {
        return Err(unavailable("Managed Login"));
    }
    Ok(())
}

/// Checks that a pool of `tier` can remember so many passwords. How the feature is called in the text is
/// judgement.
///
/// # Errors
/// FeatureUnavailableInTierException.
pub(crate) fn check_password_history(
    tier: Option<&str>,
    size: Option<i32>,
) -> Result<(), ApiError> {
    if tier == Some(LITE) && size.is_some_and(|size| size > 0) {
        return Err(unavailable("Password History"));
    }
    Ok(())
}

/// Checks that pools of `tier` can customize access tokens. The name is that of the service's console.
///
/// # Errors
/// FeatureUnavailableInTierException.
pub(crate) fn check_access_token_customization(tier: &str) -> Result<(), ApiError> {
    if tier == LITE { Err(unavailable("Access Token Customization")) } else { Ok(()) }
}

/// Checks that a pool of this tier has threat protection. How the feature is called in the text is judgement.
///
/// # Errors
/// FeatureUnavailableInTierException.
pub(crate) fn check_threat_protection(pool: &PoolRecord) -> Result<(), ApiError> {
    if pool.tier == PLUS || !threat_protection::is_on(pool) {
        return Ok(());
    }
    Err(unavailable_in(&pool.tier, "Threat Protection"))
}

fn unavailable(feature: &str) -> ApiError {
    unavailable_in(LITE, feature)
}

fn unavailable_in(tier: &str, feature: &str) -> ApiError {
    ExceptionName::FeatureUnavailableInTierException.because(format!(
        "The following features need to be disabled for the {tier} pricing tier configured: {feature}"
    ))
}
