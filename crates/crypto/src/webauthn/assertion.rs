//! Signing in with a credential: section 7.2.

use super::{
    Expected, Refusal, authenticator_data::AuthenticatorData, client_data::Ceremony,
    cose::PublicKey, response::AuthenticationResponse,
};

/// A credential as it is kept.
#[derive(Debug, Clone, Copy)]
pub struct Credential<'a> {
    /// As [`super::Registered`] has it.
    pub public_key: &'a [u8],
    /// As of the last time.
    pub sign_count: u32,
    /// Never changes.
    pub is_backup_eligible: bool,
}

/// What changes about a credential by its use (7.2-24).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asserted {
    /// How often it has signed.
    pub sign_count: u32,
    /// Whether it is on several devices.
    pub is_backed_up: bool,
    /// Whether the authenticator has verified the user.
    pub is_user_verified: bool,
}

/// Checks the response to an assertion. Whose the credential is has been found out by the caller (7.2-5 and 6).
///
/// # Errors
/// [`Refusal`].
pub fn verify(
    response: &AuthenticationResponse,
    credential: &Credential<'_>,
    expected: &Expected<'_>,
) -> Result<Asserted, Refusal> {
    response.client_data.check(Ceremony::Assertion, expected)?;
    let data = AuthenticatorData::parse(&response.authenticator_data)?;
    data.check(expected)?;
    if data.is_backup_eligible() != credential.is_backup_eligible {
        return Err(Refusal::Backup);
    }
    let key = PublicKey::parse(credential.public_key)?;
    let message = [response.authenticator_data.as_slice(), response.client_data.hash()].concat();
    if !key.verifies(&message, &response.signature) {
        return Err(Refusal::Signature);
    }
    // those that do not count say 0 for ever
    let counts = data.sign_count != 0 || credential.sign_count != 0;
    if counts && data.sign_count <= credential.sign_count {
        return Err(Refusal::Counter);
    }
    Ok(Asserted {
        sign_count: data.sign_count,
        is_backed_up: data.is_backed_up(),
        is_user_verified: data.is_user_verified(),
    })
}
