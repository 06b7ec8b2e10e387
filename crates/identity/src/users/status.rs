//! What state a user is in. Source: API reference, UserType, `UserStatus`.

use conclave_api::{ApiError, ExceptionName};

/// Signed up, and has not shown the code yet.
pub const UNCONFIRMED: &str = "UNCONFIRMED";
/// Can sign in.
pub const CONFIRMED: &str = "CONFIRMED";
/// Has a temporary password, and must set another at the first sign-in.
pub const FORCE_CHANGE_PASSWORD: &str = "FORCE_CHANGE_PASSWORD";
/// Must reset the password before signing in.
pub const RESET_REQUIRED: &str = "RESET_REQUIRED";

/// Has no password, and signs in by a provider.
pub const EXTERNAL_PROVIDER: &str = "EXTERNAL_PROVIDER";

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

/// Whether users in this state do something of their own with a token.
///
/// # Errors
/// UserNotConfirmedException, PasswordResetRequiredException.
pub fn check_acts(status: &str) -> Result<(), ApiError> {
    match status {
        UNCONFIRMED => {
            Err(ExceptionName::UserNotConfirmedException.because("User is not confirmed."))
        }
        RESET_REQUIRED => Err(password_reset_required()),
        _ => Ok(()),
    }
}

/// The password has to be reset first.
pub fn password_reset_required() -> ApiError {
    ExceptionName::PasswordResetRequiredException.because("Password reset required for the user")
}

/// The password of such a user cannot be reset: it was never the user's own.
pub fn cannot_be_reset() -> ApiError {
    ApiError::not_authorized("User password cannot be reset in the current state.")
}

/// Checks that the password of a user in this state can be reset: it must be the user's own.
///
/// # Errors
/// NotAuthorizedException.
pub fn check_can_be_reset(status: &str) -> Result<(), ApiError> {
    match status {
        FORCE_CHANGE_PASSWORD | EXTERNAL_PROVIDER => Err(cannot_be_reset()),
        _ => Ok(()),
    }
}

/// There is no address by which the account can be recovered.
pub fn no_recovery_address() -> ApiError {
    ApiError::invalid_parameter(
        "Cannot reset password for the user as there is no registered/verified email or phone_number",
    )
}

/// `User is disabled.`
///
/// # Errors
/// NotAuthorizedException.
pub fn check_enabled(enabled: bool) -> Result<(), ApiError> {
    if enabled { Ok(()) } else { Err(ApiError::not_authorized("User is disabled.")) }
}
