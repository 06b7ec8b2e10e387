//! What the authenticator says (section 6.1), and the attestation object around it (section 6.5.4).

use super::{
    Expected, Refusal,
    cbor::{Reader, once},
};
use crate::mac;

const USER_PRESENT: u8 = 0x01;
const USER_VERIFIED: u8 = 0x04;
const BACKUP_ELIGIBLE: u8 = 0x08;
const BACKED_UP: u8 = 0x10;
const HAS_CREDENTIAL: u8 = 0x40;
const HAS_EXTENSIONS: u8 = 0x80;

/// Credential ids of more bytes are refused (7.1-25).
pub const CREDENTIAL_ID_BYTES_MAX: usize = 1_023;

/// Authenticator data, taken apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AuthenticatorData<'b> {
    rp_id_hash: &'b [u8],
    flags: u8,
    /// How often the credential has signed, as far as the authenticator counts; else 0.
    pub sign_count: u32,
    /// A new credential.
    pub attested: Option<AttestedCredential<'b>>,
}

/// The credential that a registration has made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AttestedCredential<'b> {
    /// The model of the authenticator; zero where it does not say.
    pub aaguid: [u8; 16],
    /// Its id.
    pub id: &'b [u8],
    /// Its public key, as COSE has it.
    pub public_key: &'b [u8],
}

impl<'b> AuthenticatorData<'b> {
    /// Takes authenticator data apart.
    ///
    /// # Errors
    /// [`Refusal::Malformed`].
    pub fn parse(bytes: &'b [u8]) -> Result<Self, Refusal> {
        const MALFORMED: Refusal = Refusal::Malformed("authenticator data");
        let (rp_id_hash, rest) = bytes.split_at_checked(32).ok_or(MALFORMED)?;
        let (flags, rest) = rest.split_first().ok_or(MALFORMED)?;
        let (sign_count, mut rest) = rest.split_first_chunk().ok_or(MALFORMED)?;
        let mut attested = None;
        if flags & HAS_CREDENTIAL != 0 {
            let (aaguid, after) = rest.split_first_chunk().ok_or(MALFORMED)?;
            let (length, after) = after.split_first_chunk().ok_or(MALFORMED)?;
            let length = usize::from(u16::from_be_bytes(*length));
            if length == 0 || length > CREDENTIAL_ID_BYTES_MAX {
                return Err(Refusal::Malformed("the credential's id"));
            }
            let (id, after) = after.split_at_checked(length).ok_or(MALFORMED)?;
            let mut reader = Reader::new(after);
            let public_key = reader.value()?;
            attested = Some(AttestedCredential { aaguid: *aaguid, id, public_key });
            rest = reader.rest();
        }
        if flags & HAS_EXTENSIONS != 0 {
            let mut reader = Reader::new(rest);
            for _ in 0..reader.map()? {
                reader.text()?;
                reader.value()?;
            }
            rest = reader.rest();
        }
        if !rest.is_empty() {
            return Err(MALFORMED);
        }
        let sign_count = u32::from_be_bytes(*sign_count);
        Ok(Self { rp_id_hash, flags: *flags, sign_count, attested })
    }

    /// Whether the authenticator has verified the user.
    pub fn is_user_verified(&self) -> bool {
        self.flags & USER_VERIFIED != 0
    }

    /// Whether the credential can be on several devices.
    pub fn is_backup_eligible(&self) -> bool {
        self.flags & BACKUP_ELIGIBLE != 0
    }

    /// Whether it is.
    pub fn is_backed_up(&self) -> bool {
        self.flags & BACKED_UP != 0
    }

    /// Checks relying party and flags (7.1-14 to 17, 7.2-15 to 18).
    ///
    /// # Errors
    /// [`Refusal::RelyingParty`], [`Refusal::UserPresence`], [`Refusal::UserVerification`],
    /// [`Refusal::Backup`].
    pub fn check(&self, expected: &Expected<'_>) -> Result<(), Refusal> {
        if !mac::ct_eq(self.rp_id_hash, &mac::sha256(&[expected.rp_id.as_bytes()])) {
            return Err(Refusal::RelyingParty);
        }
        if self.flags & USER_PRESENT == 0 {
            return Err(Refusal::UserPresence);
        }
        if expected.user_verification && !self.is_user_verified() {
            return Err(Refusal::UserVerification);
        }
        if self.is_backed_up() && !self.is_backup_eligible() {
            return Err(Refusal::Backup);
        }
        Ok(())
    }
}

/// An attestation object, taken apart (7.1-13).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AttestationObject<'b> {
    /// The format of the statement.
    pub format: &'b str,
    /// The statement, still CBOR.
    pub statement: &'b [u8],
    /// Authenticator data.
    pub data: &'b [u8],
}

impl<'b> AttestationObject<'b> {
    /// Takes an attestation object apart.
    ///
    /// # Errors
    /// [`Refusal::Malformed`].
    pub fn parse(bytes: &'b [u8]) -> Result<Self, Refusal> {
        let (mut format, mut statement, mut data) = (None, None, None);
        let mut reader = Reader::new(bytes);
        for _ in 0..reader.map()? {
            match reader.text()? {
                "fmt" => once(&mut format, reader.text()?)?,
                "attStmt" => once(&mut statement, reader.value()?)?,
                "authData" => once(&mut data, reader.bytes()?)?,
                // later versions may say more
                _ => {
                    reader.value()?;
                }
            }
        }
        reader.end()?;
        const MALFORMED: Refusal = Refusal::Malformed("the attestation object");
        Ok(Self {
            format: format.ok_or(MALFORMED)?,
            statement: statement.ok_or(MALFORMED)?,
            data: data.ok_or(MALFORMED)?,
        })
    }
}
