//! Registering a credential: section 7.1.

use super::{
    Expected, Refusal,
    authenticator_data::{AttestationObject, AuthenticatorData},
    cbor::{Reader, once},
    client_data::Ceremony,
    cose::PublicKey,
    response::RegistrationResponse,
};

/// A new credential (7.1-27).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registered {
    /// Its id, for which there must be no credential yet (7.1-26).
    pub id: Vec<u8>,
    /// Its public key, as COSE has it.
    pub public_key: Vec<u8>,
    /// How often it has signed.
    pub sign_count: u32,
    /// The model of the authenticator.
    pub aaguid: [u8; 16],
    /// Whether the authenticator has verified the user.
    pub is_user_verified: bool,
    /// Whether it can be on several devices.
    pub is_backup_eligible: bool,
    /// Whether it is.
    pub is_backed_up: bool,
}

/// Checks the response to a registration.
///
/// # Errors
/// [`Refusal`].
pub fn verify(
    response: &RegistrationResponse,
    expected: &Expected<'_>,
) -> Result<Registered, Refusal> {
    response.client_data.check(Ceremony::Registration, expected)?;
    let object = AttestationObject::parse(&response.attestation_object)?;
    let data = AuthenticatorData::parse(object.data)?;
    data.check(expected)?;
    let attested = data.attested.ok_or(Refusal::Malformed("no new credential"))?;
    if attested.id != response.id {
        return Err(Refusal::Malformed("id"));
    }
    let key = PublicKey::parse(attested.public_key)?;
    check_statement(&object, &key, response.client_data.hash())?;
    Ok(Registered {
        id: attested.id.to_vec(),
        public_key: attested.public_key.to_vec(),
        sign_count: data.sign_count,
        aaguid: attested.aaguid,
        is_user_verified: data.is_user_verified(),
        is_backup_eligible: data.is_backup_eligible(),
        is_backed_up: data.is_backed_up(),
    })
}

/// The attestation statement (7.1-21 to 24): none, or the key's own signature (sections 8.2 and 8.7).
fn check_statement(
    object: &AttestationObject<'_>,
    key: &PublicKey<'_>,
    client_data_hash: &[u8; 32],
) -> Result<(), Refusal> {
    let mut reader = Reader::new(object.statement);
    let members = reader.map()?;
    match object.format {
        "none" if members == 0 => Ok(()),
        "none" => Err(Refusal::Malformed("a statement of none")),
        "packed" => {
            let (mut alg, mut signature, mut certificates) = (None, None, None);
            for _ in 0..members {
                match reader.text()? {
                    "alg" => once(&mut alg, reader.integer()?)?,
                    "sig" => once(&mut signature, reader.bytes()?)?,
                    "x5c" => once(&mut certificates, reader.value()?)?,
                    _ => {
                        reader.value()?;
                    }
                }
            }
            if certificates.is_some() || alg != Some(key.algorithm()) {
                return Err(Refusal::Attestation);
            }
            let signature = signature.ok_or(Refusal::Malformed("no signature"))?;
            let message = [object.data, client_data_hash].concat();
            if key.verifies(&message, signature) { Ok(()) } else { Err(Refusal::Attestation) }
        }
        _ => Err(Refusal::Attestation),
    }
}
