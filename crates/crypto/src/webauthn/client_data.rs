//! What the browser says about a ceremony: `CollectedClientData`, as it has serialised it (section 5.8.1).

use serde::Deserialize;

use super::{Expected, Refusal, origin};
use crate::{encoding, mac};

/// Longer ones are not read.
const BYTES_MAX: usize = 8_192;

/// Which ceremony a response belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ceremony {
    /// `webauthn.create`
    Registration,
    /// `webauthn.get`
    Assertion,
}

impl Ceremony {
    /// `type` of its client data.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Registration => "webauthn.create",
            Self::Assertion => "webauthn.get",
        }
    }
}

/// Client data that could be read (7.1-5 and 6, 7.2-8 and 9); nothing in it is checked yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientData {
    type_: String,
    challenge: Vec<u8>,
    origin: String,
    /// Somebody else's page has it in a frame.
    is_framed: bool,
    hash: [u8; 32],
}

#[derive(Deserialize)]
struct Collected {
    #[serde(rename = "type")]
    type_: String,
    challenge: String,
    origin: String,
    #[serde(rename = "crossOrigin", default)]
    cross_origin: Option<bool>,
    #[serde(rename = "topOrigin", default)]
    top_origin: Option<serde_json::Value>,
}

impl ClientData {
    /// Reads client data.
    ///
    /// # Errors
    /// [`Refusal::Malformed`].
    pub fn parse(json: &[u8]) -> Result<Self, Refusal> {
        const MALFORMED: Refusal = Refusal::Malformed("clientDataJSON");
        if json.len() > BYTES_MAX {
            return Err(MALFORMED);
        }
        // a byte order mark is no part of the text (7.1-5)
        let text = json.strip_prefix(b"\xef\xbb\xbf").unwrap_or(json);
        let collected: Collected = serde_json::from_slice(text).map_err(|_| MALFORMED)?;
        Ok(Self {
            type_: collected.type_,
            challenge: encoding::base64url_decode(&collected.challenge).ok_or(MALFORMED)?,
            origin: collected.origin,
            is_framed: collected.cross_origin == Some(true) || collected.top_origin.is_some(),
            hash: mac::sha256(&[json]),
        })
    }

    /// The challenge that it says it answers.
    pub fn challenge(&self) -> &[u8] {
        &self.challenge
    }

    /// SHA-256 of it: what the authenticator signs (7.1-12, 7.2-20).
    pub fn hash(&self) -> &[u8; 32] {
        &self.hash
    }

    /// Checks type, challenge and origin (7.1-7 to 11, 7.2-10 to 14). Pages in frames of other pages are not
    /// expected.
    ///
    /// # Errors
    /// [`Refusal::Type`], [`Refusal::Challenge`], [`Refusal::Origin`].
    pub fn check(&self, ceremony: Ceremony, expected: &Expected<'_>) -> Result<(), Refusal> {
        if self.type_ != ceremony.as_str() {
            return Err(Refusal::Type);
        }
        if expected.challenge.is_empty() || !mac::ct_eq(&self.challenge, expected.challenge) {
            return Err(Refusal::Challenge);
        }
        if self.is_framed || !origin::is_of(expected.rp_id, &self.origin) {
            return Err(Refusal::Origin);
        }
        Ok(())
    }
}
