//! Exceptions that more than one operation answers. An exception of one operation stands in its file.

use std::borrow::Cow;

use conclave_api::{ApiError, ExceptionName};
use conclave_outbound::SendError;
use conclave_store::StoreError;

use crate::cpu::CpuError;

/// Our fault: the text goes to the log, the caller learns nothing of it.
pub fn internal(why: &str) -> ApiError {
    tracing::error!(why, "internal error");
    ApiError::internal("Something went wrong")
}

/// What a store's error means to a caller.
pub fn store(error: &StoreError) -> ApiError {
    match error {
        StoreError::Unavailable { .. } => {
            tracing::warn!(%error, "store unavailable");
            unavailable()
        }
        StoreError::Overloaded { .. } => unavailable(),
        StoreError::Unknown { .. } => {
            tracing::warn!(%error, "outcome unknown");
            unavailable()
        }
        StoreError::Invalid { detail } => internal(detail),
    }
}

/// 503: shed, or no quorum. The caller may try again.
pub fn unavailable() -> ApiError {
    ApiError::new(
        ExceptionName::ServiceUnavailable,
        "The service is temporarily unavailable, please try again.",
    )
}

/// 503: what would be written now would be missing where the pool is going.
pub fn pool_is_frozen() -> ApiError {
    ApiError::new(
        ExceptionName::ServiceUnavailable,
        "The user pool is being moved, and nothing can be changed in it now.",
    )
}

/// Too many at once: SDKs back off on this name.
pub fn too_many_requests() -> ApiError {
    ApiError::new(ExceptionName::TooManyRequestsException, "Too many requests")
}

/// What the admission of processor-heavy work answers.
pub fn cpu(error: CpuError) -> ApiError {
    match error {
        CpuError::Overloaded => too_many_requests(),
        CpuError::Panicked => internal("processor-heavy work panicked"),
    }
}

/// The message could not be sent. What was committed stays: the code can be asked for again.
pub fn code_delivery(error: &SendError) -> ApiError {
    tracing::warn!(%error, "message not sent");
    ApiError::new(ExceptionName::CodeDeliveryFailureException, "Unable to deliver message to user")
}

/// The code that a sign-in asks for could not be sent. Signing in declares no exception for that.
pub fn sign_in_delivery(error: &SendError) -> ApiError {
    tracing::warn!(%error, "message not sent");
    if error.is_retryable() {
        return unavailable();
    }
    ApiError::invalid_parameter("Unable to deliver message to user")
}

/// There is no such pool, or it belongs to another account: the two look alike.
pub fn user_pool_not_found(pool_id: &str) -> ApiError {
    ApiError::resource_not_found(format!("User pool {pool_id} does not exist."))
}

/// There is no such app client.
pub fn client_not_found(client_id: &str) -> ApiError {
    ApiError::resource_not_found(format!("User pool client {client_id} does not exist."))
}

/// There is no such user, in operations and modes that say so.
pub fn user_not_found() -> ApiError {
    ApiError::new(ExceptionName::UserNotFoundException, "User does not exist.")
}

/// The one text for a wrong password and for a user that does not exist.
pub fn incorrect_username_or_password() -> ApiError {
    ApiError::not_authorized("Incorrect username or password.")
}

/// `error` as NotAuthorizedException with its text, where it is one of `undeclared`: exceptions that the
/// API does not declare for the operation, and that its clients do not know there.
pub fn as_not_authorized(mut error: ApiError, undeclared: &[ExceptionName]) -> ApiError {
    if undeclared.contains(&error.code) {
        error.code = ExceptionName::NotAuthorizedException;
    }
    error
}

/// A limit of attempts within a time.
pub fn attempt_limit_exceeded() -> ApiError {
    ApiError::new(
        ExceptionName::LimitExceededException,
        "Attempt limit exceeded, please try after some time.",
    )
}

/// InvalidParameterException.
pub fn invalid_parameter(message: impl Into<Cow<'static, str>>) -> ApiError {
    ApiError::invalid_parameter(message)
}

/// A page token that was not issued for this list, or was altered.
pub fn invalid_pagination_token() -> ApiError {
    ApiError::invalid_parameter("Invalid pagination token given.")
}
