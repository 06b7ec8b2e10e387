//! Passkeys: the relying party's side of W3C Web Authentication, Level 3, sections 7.1 and 7.2.
//!
//! Numbers such as (7.1-14) in this folder are the steps of those sections. What is left to the caller is what needs its
//! rows: that a challenge is its own and unused (7.1-8, 7.2-11), that a credential id is new (7.1-26), whose the
//! credential is (7.2-6), and to keep what [`Registered`] and [`Asserted`] answer.
//!
//! | module | what it is for |
//! | --- | --- |
//! | [`response`] | the JSON in which browsers hand over what authenticators answer |
//! | [`client_data`] | what the browser says: type, challenge, origin |
//! | [`origin`] | which origins belong to a relying party |
//! | [`authenticator_data`] | what the authenticator says: flags, counter, the new key |
//! | [`cose`] | public keys, and the signatures that they verify |
//! | [`registration`], [`assertion`] | the two ceremonies |
//! | [`authenticator`] | an authenticator in software, for tests |
//!
//! Attestation is not asked for, so statements are accepted where they claim nothing about who made the authenticator:
//! `none`, and `packed` signed by the new key itself. Others are refused: without the roots of their makers they prove
//! nothing, and nothing has been asked.

pub mod assertion;
pub mod authenticator;
pub mod authenticator_data;
mod cbor;
pub mod client_data;
pub mod cose;
pub mod origin;
pub mod registration;
pub mod response;

#[cfg(test)]
mod tests;

pub use assertion::{Asserted, Credential};
pub use registration::Registered;
pub use response::{AuthenticationResponse, RegistrationResponse};

/// What a ceremony has to be about.
#[derive(Debug, Clone, Copy)]
pub struct Expected<'a> {
    /// The relying party's id: a domain in lower case.
    pub rp_id: &'a str,
    /// The challenge that was handed out.
    pub challenge: &'a [u8],
    /// Whether the authenticator must have verified the user: by a finger, a face, a PIN.
    pub user_verification: bool,
}

/// Why a response is not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Not what the standard says it looks like.
    #[error("the response is malformed: {0}")]
    Malformed(&'static str),
    /// It answers a ceremony of the other kind (7.1-7, 7.2-10).
    #[error("the response is of another ceremony")]
    Type,
    /// It answers another challenge (7.1-8, 7.2-11).
    #[error("the response answers another challenge")]
    Challenge,
    /// It was given to a page of somebody else (7.1-9 to 11, 7.2-12 to 14).
    #[error("the origin does not belong to the relying party")]
    Origin,
    /// The credential is one of another relying party (7.1-14, 7.2-15).
    #[error("the relying party is another one")]
    RelyingParty,
    /// Nobody was there (7.1-15, 7.2-16).
    #[error("the user was not present")]
    UserPresence,
    /// The user was not verified (7.1-16, 7.2-17).
    #[error("the user was not verified")]
    UserVerification,
    /// It claims a backup of what cannot be backed up, or has changed its mind (7.1-17, 7.2-18 and 19).
    #[error("the flags about backups contradict each other")]
    Backup,
    /// A kind of key that was not asked for (7.1-20), or no valid one.
    #[error("the kind of key is not supported")]
    Algorithm,
    /// An attestation that cannot be checked (7.1-21 to 24).
    #[error("the attestation is not supported")]
    Attestation,
    /// The key has not signed this (7.2-21).
    #[error("the signature does not match")]
    Signature,
    /// The counter has not gone up: somebody has a copy of the authenticator (7.2-22).
    #[error("the signature counter has gone back")]
    Counter,
}
