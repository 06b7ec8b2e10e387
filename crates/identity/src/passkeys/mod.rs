//! Passkeys of users: registering them, listing and deleting them. Signing in with one is in
//! [`auth::passkey`](crate::auth::passkey), and what is checked about one in [`conclave_crypto::webauthn`].
//!
//! Source: developer guide, "Passkey sign-in with WebAuthn"; API reference. Where the service's texts are not known, they are
//! the API reference's words about the exception.

mod complete_web_authn_registration;
mod delete_web_authn_credential;
mod list_web_authn_credentials;
pub mod options;
pub mod rows;
mod settings;
mod start_web_authn_registration;

pub use complete_web_authn_registration::complete_web_authn_registration;
pub use delete_web_authn_credential::delete_web_authn_credential;
pub use list_web_authn_credentials::list_web_authn_credentials;
pub(crate) use settings::{MULTI_FACTOR, described, given, relying_party_id};
pub use start_web_authn_registration::start_web_authn_registration;

use std::sync::Arc;

use conclave_api::{ApiError, ExceptionName};
use conclave_crypto::webauthn::Refusal;
use conclave_store::records::UserRecord;

use crate::{
    auth::access_token::PresentedToken,
    config::{ClientConfig, PoolConfig},
    errors,
    tx::{Failure, Query, Tx},
    users::token_user,
    world::World,
};

/// The challenge that the sealed session behind a registration belongs to.
const REGISTRATION: &str = "WEB_AUTHN_REGISTRATION";

/// Passkeys of one user, at most. Source: developer guide, "Passkey sign-in with WebAuthn".
pub const PER_USER_MAX: usize = 20;

/// The user whose token an operation carries, and the token's client. The operations do not declare that
/// these are gone, or the user not confirmed.
///
/// # Errors
/// NotAuthorizedException, PasswordResetRequiredException.
async fn token_user(
    tx: &mut Tx<'_>,
    token: &PresentedToken<'_>,
    more: Query,
) -> Result<(UserRecord, Arc<ClientConfig>), Failure> {
    const UNDECLARED: [ExceptionName; 3] = [
        ExceptionName::UserNotFoundException,
        ExceptionName::UserNotConfirmedException,
        ExceptionName::ResourceNotFoundException,
    ];
    token_user::load(tx, token, more).await.map_err(|failure| match failure {
        Failure::Refused(error) => errors::as_not_authorized(error, &UNDECLARED).into(),
        other => other,
    })
}

/// The relying party of a pool whose users may register passkeys.
///
/// # Errors
/// WebAuthnNotEnabledException, WebAuthnConfigurationMissingException.
fn enabled(world: &World, config: &PoolConfig) -> Result<String, ApiError> {
    if !config.record.allowed_first_auth_factors.iter().any(|first| first == "WEB_AUTHN") {
        return Err(ExceptionName::WebAuthnNotEnabledException
            .because("The passkey feature is not enabled for the user pool."));
    }
    relying_party_id(world, &config.record).ok_or_else(|| {
        ExceptionName::WebAuthnConfigurationMissingException
            .because("The user pool has no configured relying party ID and no user pool domain.")
    })
}

/// A user has as many passkeys as there can be.
fn too_many() -> ApiError {
    ExceptionName::LimitExceededException
        .because(format!("A user can have at most {PER_USER_MAX} passkeys."))
}

fn challenge_not_found() -> ApiError {
    ExceptionName::WebAuthnChallengeNotFoundException
        .because("The challenge from StartWebAuthnRegistration was not found or has expired.")
}

/// What the caller of a registration is told.
fn refusal(refusal: Refusal) -> ApiError {
    let unsupported = |why: &str| {
        ExceptionName::WebAuthnCredentialNotSupportedException
            .because(format!("The passkey is not supported: {why}."))
    };
    match refusal {
        Refusal::Malformed(_) => errors::invalid_parameter(
            "Credential is not a RegistrationResponseJSON that can be read.",
        ),
        Refusal::Type | Refusal::Challenge | Refusal::Signature | Refusal::Counter => {
            challenge_not_found()
        }
        Refusal::Origin => ExceptionName::WebAuthnOriginNotAllowedException.because(
            "The passkey's registration origin does not align with the relying party ID of the user pool.",
        ),
        Refusal::RelyingParty => ExceptionName::WebAuthnRelyingPartyMismatchException.because(
            "The passkey is associated with a relying party ID that is not the one of the user pool.",
        ),
        Refusal::UserPresence => unsupported("the user was not present"),
        Refusal::UserVerification => unsupported("the user was not verified"),
        Refusal::Backup => unsupported("its flags contradict each other"),
        Refusal::Algorithm => unsupported("its public key is none of ES256, EdDSA and RS256"),
        Refusal::Attestation => unsupported("its attestation is neither none nor its own"),
    }
}
