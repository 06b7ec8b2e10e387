//! What authenticators have answered, in the JSON in which browsers hand it over: `RegistrationResponseJSON` and
//! `AuthenticationResponseJSON` (section 5.1.9).

use serde::{Deserialize, de::DeserializeOwned};

use super::{Refusal, authenticator_data::CREDENTIAL_ID_BYTES_MAX, client_data::ClientData};
use crate::encoding;

/// Longer ones are not read: attestation objects with certificates have some thousand bytes.
const BYTES_MAX: usize = 65_536;
/// Transports that are kept, and how long their names can be.
const TRANSPORTS_MAX: usize = 8;
const TRANSPORT_BYTES_MAX: usize = 32;

#[derive(Deserialize)]
struct Json<R> {
    id: String,
    #[serde(rename = "rawId", default)]
    raw_id: Option<String>,
    #[serde(rename = "type")]
    type_: String,
    #[serde(rename = "authenticatorAttachment", default)]
    attachment: Option<String>,
    response: R,
}

#[derive(Deserialize)]
struct AttestationJson {
    #[serde(rename = "clientDataJSON")]
    client_data: String,
    #[serde(rename = "attestationObject")]
    attestation_object: String,
    #[serde(default)]
    transports: Option<Vec<String>>,
}

#[derive(Deserialize)]
struct AssertionJson {
    #[serde(rename = "clientDataJSON")]
    client_data: String,
    #[serde(rename = "authenticatorData")]
    authenticator_data: String,
    signature: String,
    #[serde(rename = "userHandle", default)]
    user_handle: Option<String>,
}

/// What a registration has answered. Nothing in it is checked yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegistrationResponse {
    /// The id of the credential.
    pub id: Vec<u8>,
    /// `platform` or `cross-platform`.
    pub attachment: Option<String>,
    /// How the authenticator can be reached.
    pub transports: Vec<String>,
    /// What the browser says.
    pub client_data: ClientData,
    pub(super) attestation_object: Vec<u8>,
}

impl RegistrationResponse {
    /// Reads `RegistrationResponseJSON`.
    ///
    /// # Errors
    /// [`Refusal::Malformed`].
    pub fn parse(json: &[u8]) -> Result<Self, Refusal> {
        let json: Json<AttestationJson> = read(json)?;
        let transports = json.response.transports.unwrap_or_default();
        let is_name = |name: &String| {
            name.len() <= TRANSPORT_BYTES_MAX && name.bytes().all(|b| b.is_ascii_graphic())
        };
        if transports.len() > TRANSPORTS_MAX || !transports.iter().all(is_name) {
            return Err(Refusal::Malformed("transports"));
        }
        Ok(Self {
            id: id(&json.id, json.raw_id.as_deref(), &json.type_)?,
            attachment: attachment(json.attachment)?,
            transports,
            client_data: ClientData::parse(&bytes(&json.response.client_data, "clientDataJSON")?)?,
            attestation_object: bytes(&json.response.attestation_object, "attestationObject")?,
        })
    }
}

/// What an assertion has answered. Nothing in it is checked yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuthenticationResponse {
    /// The id of the credential.
    pub id: Vec<u8>,
    /// Whose the authenticator says that the credential is.
    pub user_handle: Option<Vec<u8>>,
    /// What the browser says.
    pub client_data: ClientData,
    pub(super) authenticator_data: Vec<u8>,
    pub(super) signature: Vec<u8>,
}

impl AuthenticationResponse {
    /// Reads `AuthenticationResponseJSON`.
    ///
    /// # Errors
    /// [`Refusal::Malformed`].
    pub fn parse(json: &[u8]) -> Result<Self, Refusal> {
        let json: Json<AssertionJson> = read(json)?;
        attachment(json.attachment)?;
        let response = json.response;
        // an empty one says as little as none
        let user_handle = response.user_handle.filter(|handle| !handle.is_empty());
        let handle = user_handle.map(|handle| bytes(&handle, "userHandle"));
        Ok(Self {
            id: id(&json.id, json.raw_id.as_deref(), &json.type_)?,
            user_handle: handle.transpose()?,
            client_data: ClientData::parse(&bytes(&response.client_data, "clientDataJSON")?)?,
            authenticator_data: bytes(&response.authenticator_data, "authenticatorData")?,
            signature: bytes(&response.signature, "signature")?,
        })
    }
}

fn read<R: DeserializeOwned>(json: &[u8]) -> Result<Json<R>, Refusal> {
    const MALFORMED: Refusal = Refusal::Malformed("no public-key credential");
    if json.len() > BYTES_MAX {
        return Err(MALFORMED);
    }
    serde_json::from_slice(json).map_err(|_| MALFORMED)
}

fn bytes(text: &str, member: &'static str) -> Result<Vec<u8>, Refusal> {
    encoding::base64url_decode(text).ok_or(Refusal::Malformed(member))
}

fn id(id: &str, raw_id: Option<&str>, type_: &str) -> Result<Vec<u8>, Refusal> {
    if type_ != "public-key" {
        return Err(Refusal::Malformed("type"));
    }
    if raw_id.is_some_and(|raw_id| raw_id != id) {
        return Err(Refusal::Malformed("rawId"));
    }
    let id = bytes(id, "id")?;
    if id.is_empty() || id.len() > CREDENTIAL_ID_BYTES_MAX {
        return Err(Refusal::Malformed("id"));
    }
    Ok(id)
}

fn attachment(given: Option<String>) -> Result<Option<String>, Refusal> {
    match given.as_deref() {
        None | Some("platform" | "cross-platform") => Ok(given),
        Some(_) => Err(Refusal::Malformed("authenticatorAttachment")),
    }
}
