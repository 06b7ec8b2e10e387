//! An authenticator in software, for tests: it makes what a browser would hand over, and says what it is told to,
//! also what is wrong.

use aws_lc_rs::{
    rand::SystemRandom,
    rsa::{KeyPair as RsaKeyPair, KeySize},
    signature::{
        ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _,
        RSA_PKCS1_SHA256,
    },
};
use serde_json::json;

use super::client_data::Ceremony;
use crate::{encoding, mac};

/// UP, UV, BE and BS.
pub const FLAGS: u8 = 0x01 | 0x04 | 0x08 | 0x10;

/// One credential, and what the authenticator says about it the next time. Everything can be changed.
pub struct Authenticator {
    key: Key,
    /// The id of the credential.
    pub id: Vec<u8>,
    /// Whose it is.
    pub user_handle: Vec<u8>,
    /// The relying party that it is for.
    pub rp_id: String,
    /// The page that it answers.
    pub origin: String,
    /// Members of the client data beside the usual ones.
    pub more_client_data: serde_json::Map<String, serde_json::Value>,
    /// See section 6.1.
    pub flags: u8,
    /// Goes up with every assertion, unless it is 0.
    pub sign_count: u32,
    /// Which attestation it makes.
    pub attestation: Attestation,
}

/// Which attestation a registration makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attestation {
    /// `none`
    None,
    /// `packed`, signed by the credential itself.
    SelfSigned,
    /// `packed`, with a certificate that says nothing.
    Certificate,
    /// A format of somebody's own.
    Other(&'static str),
}

enum Key {
    Ed25519(Ed25519KeyPair),
    P256(EcdsaKeyPair),
    Rsa(RsaKeyPair),
}

/// Why a key could not be made.
#[derive(Debug, thiserror::Error)]
#[error("aws-lc makes no key")]
pub struct KeyError;

impl Authenticator {
    /// With an Ed25519 key of this seed.
    ///
    /// # Errors
    /// [`KeyError`].
    pub fn ed25519(seed: [u8; 32]) -> Result<Self, KeyError> {
        let pair = Ed25519KeyPair::from_seed_unchecked(&seed).map_err(|_| KeyError)?;
        Ok(Self::with(Key::Ed25519(pair), mac::sha256(&[b"credential", &seed]).to_vec()))
    }

    /// With a P-256 key, which aws-lc draws.
    ///
    /// # Errors
    /// [`KeyError`].
    pub fn p256() -> Result<Self, KeyError> {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).map_err(|_| KeyError)?;
        let id = mac::sha256(&[pair.public_key().as_ref()]).to_vec();
        Ok(Self::with(Key::P256(pair), id))
    }

    /// With an RSA key, which aws-lc draws. Takes 50 to 500 ms.
    ///
    /// # Errors
    /// [`KeyError`].
    pub fn rsa() -> Result<Self, KeyError> {
        let pair = RsaKeyPair::generate(KeySize::Rsa2048).map_err(|_| KeyError)?;
        let id = mac::sha256(&[pair.public_key().as_ref()]).to_vec();
        Ok(Self::with(Key::Rsa(pair), id))
    }

    fn with(key: Key, id: Vec<u8>) -> Self {
        Self {
            key,
            id,
            user_handle: Vec::new(),
            rp_id: "example.com".to_owned(),
            origin: "https://example.com".to_owned(),
            more_client_data: serde_json::Map::new(),
            flags: FLAGS,
            sign_count: 0,
            attestation: Attestation::None,
        }
    }

    /// `RegistrationResponseJSON` for a challenge in base64url.
    pub fn register(&self, challenge: &str) -> serde_json::Value {
        let client_data = self.client_data(Ceremony::Registration, challenge);
        let mut data = self.data(self.flags | 0x40);
        // a model that does not say which it is
        data.extend([0; 16]);
        data.extend(u16::try_from(self.id.len()).unwrap_or(u16::MAX).to_be_bytes());
        data.extend(&self.id);
        data.extend(self.public_key());
        let object = self.attestation_object(&data, &client_data);
        json!({
            "id": encoding::base64url(&self.id),
            "rawId": encoding::base64url(&self.id),
            "type": "public-key",
            "authenticatorAttachment": "platform",
            "clientExtensionResults": {},
            "response": {
                "clientDataJSON": encoding::base64url(&client_data),
                "attestationObject": encoding::base64url(object),
                "transports": ["internal", "hybrid"],
            },
        })
    }

    /// `AuthenticationResponseJSON` for a challenge in base64url.
    pub fn assert(&mut self, challenge: &str) -> serde_json::Value {
        if self.sign_count != 0 {
            self.sign_count += 1;
        }
        let client_data = self.client_data(Ceremony::Assertion, challenge);
        let data = self.data(self.flags);
        let message = [data.as_slice(), &mac::sha256(&[&client_data])].concat();
        json!({
            "id": encoding::base64url(&self.id),
            "rawId": encoding::base64url(&self.id),
            "type": "public-key",
            "authenticatorAttachment": "platform",
            "clientExtensionResults": {},
            "response": {
                "clientDataJSON": encoding::base64url(&client_data),
                "authenticatorData": encoding::base64url(data),
                "signature": encoding::base64url(self.sign(&message)),
                "userHandle": encoding::base64url(&self.user_handle),
            },
        })
    }

    fn client_data(&self, ceremony: Ceremony, challenge: &str) -> Vec<u8> {
        let mut said = json!({
            "type": ceremony.as_str(),
            "challenge": challenge,
            "origin": self.origin,
            "crossOrigin": false,
        });
        if let Some(said) = said.as_object_mut() {
            said.extend(self.more_client_data.clone());
        }
        said.to_string().into_bytes()
    }

    fn data(&self, flags: u8) -> Vec<u8> {
        let mut data = mac::sha256(&[self.rp_id.as_bytes()]).to_vec();
        data.push(flags);
        data.extend(self.sign_count.to_be_bytes());
        data
    }

    /// As COSE has it.
    pub fn public_key(&self) -> Vec<u8> {
        match &self.key {
            Key::Ed25519(pair) => {
                let mut key = vec![0xa4, 0x01, 0x01, 0x03, 0x27, 0x20, 0x06, 0x21];
                key.extend(byte_string(pair.public_key().as_ref()));
                key
            }
            Key::P256(pair) => {
                let (x, y) = pair.public_key().as_ref()[1..].split_at(32);
                let mut key = vec![0xa5, 0x01, 0x02, 0x03, 0x26, 0x20, 0x01, 0x21];
                key.extend(byte_string(x));
                key.push(0x22);
                key.extend(byte_string(y));
                key
            }
            Key::Rsa(pair) => {
                let public = pair.public_key();
                let mut key = vec![0xa4, 0x01, 0x03, 0x03, 0x39, 0x01, 0x00, 0x20];
                key.extend(byte_string(public.modulus().big_endian_without_leading_zero()));
                key.push(0x21);
                key.extend(byte_string(public.exponent().big_endian_without_leading_zero()));
                key
            }
        }
    }

    fn attestation_object(&self, data: &[u8], client_data: &[u8]) -> Vec<u8> {
        let message = [data, &mac::sha256(&[client_data])].concat();
        let packed = |members: u8| {
            let mut statement = vec![0xa0 | members];
            statement.extend(text("alg"));
            statement.extend(match self.key {
                Key::Ed25519(_) => vec![0x27],
                Key::P256(_) => vec![0x26],
                Key::Rsa(_) => vec![0x39, 0x01, 0x00],
            });
            statement.extend(text("sig"));
            statement.extend(byte_string(&self.sign(&message)));
            statement
        };
        let (format, statement) = match self.attestation {
            Attestation::None => ("none", vec![0xa0]),
            Attestation::SelfSigned => ("packed", packed(2)),
            Attestation::Certificate => {
                let mut statement = packed(3);
                statement.extend(text("x5c"));
                statement.push(0x81);
                statement.extend(byte_string(b"certificate"));
                ("packed", statement)
            }
            Attestation::Other(format) => (format, vec![0xa0]),
        };
        let mut object = vec![0xa3];
        object.extend(text("fmt"));
        object.extend(text(format));
        object.extend(text("attStmt"));
        object.extend(statement);
        object.extend(text("authData"));
        object.extend(byte_string(data));
        object
    }

    fn sign(&self, message: &[u8]) -> Vec<u8> {
        match &self.key {
            Key::Ed25519(pair) => pair.sign(message).as_ref().to_vec(),
            Key::P256(pair) => pair
                .sign(&SystemRandom::new(), message)
                .map(|signature| signature.as_ref().to_vec())
                .unwrap_or_default(),
            Key::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                let signed =
                    pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), message, &mut signature);
                if signed.is_ok() { signature } else { Vec::new() }
            }
        }
    }
}

/// A byte string in CBOR.
pub fn byte_string(bytes: &[u8]) -> Vec<u8> {
    [head(0x40, bytes.len()), bytes.to_vec()].concat()
}

fn text(text: &str) -> Vec<u8> {
    [head(0x60, text.len()), text.as_bytes().to_vec()].concat()
}

fn head(kind: u8, length: usize) -> Vec<u8> {
    match (u8::try_from(length), u16::try_from(length)) {
        (Ok(length @ 0..=23), _) => vec![kind | length],
        (Ok(length), _) => vec![kind | 24, length],
        (_, Ok(length)) => [&[kind | 25][..], &length.to_be_bytes()].concat(),
        _ => [&[kind | 26][..], &u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes()].concat(),
    }
}
