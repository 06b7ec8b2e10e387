//! What state a user is in. Source: API reference, UserType, `UserStatus`.

use conclave_api::ApiError;

/// Signed up, and has not shown the code yet.
pub const UNCONFIRMED: &str = "UNCONFIRMED";
/// Can sign in.
pub const CONFIRMED: &str = "CONFIRMED";
/// Has a temporary password, and must set another at the first sign-in.
pub const FORCE_CHANGE_PASSWORD: &str = "FORCE_CHANGE_PASSWORD";
/// Must reset the password before signing in.
pub const RESET_REQUIRED: &str = "RESET_REQUIRED";

/// Only who has signed up can be confirmed.
///
/// # Errors
/// NotAuthorizedException.
pub fn check_can_be_confirmed(status: &str) -> Result<(), ApiError> {
    if status == UNCONFIRMED {
        return Ok(());
    }
    Err(ApiError::not_authorized(format!("User cannot be confirmed. Current status is {status}")))
}

/// `User is disabled.`
///
/// # Errors
/// NotAuthorizedException.
pub fn check_enabled(enabled: bool) -> Result<(), ApiError> {
    if enabled { Ok(()) } else { Err(ApiError::not_authorized("User is disabled.")) }
}
