//! Messages in the format of the AWS Encryption SDK, which its libraries in every language decrypt: one short
//! text, one data key, one frame.
//!
//! Version 2 of the format, and the suite 0x0478: AES-256-GCM under a key that HKDF-SHA512 derives from the
//! data key, and that the message commits to. It is not signed: a signature tells apart who may encrypt from
//! who may decrypt, and these messages have one writer. All libraries decrypt it under every commitment policy
//! (Python, JavaScript, Java, C and the CLI from 1.7 on).
//!
//! Source: the specification in github.com/awslabs/aws-encryption-sdk-specification, `data-format` and
//! `framework/raw-aes-keyring.md`.

use std::collections::BTreeMap;

use aws_lc_rs::{
    aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey},
    hkdf::{self, HKDF_SHA512, KeyType, Salt},
};
use zeroize::Zeroize as _;

use crate::{
    entropy::{self, Entropy},
    secret::Key256,
};

pub mod reader;
#[cfg(test)]
mod tests;

/// Pairs that are authenticated along with a message, and readable in it.
pub type Context = BTreeMap<String, String>;

/// The longest text, in bytes: it fits one frame.
pub const PLAINTEXT_BYTES_MAX: usize = FRAME_BYTES as usize;

const VERSION: u8 = 2;
const SUITE: [u8; 2] = [0x04, 0x78];
const FRAMED: u8 = 2;
const FRAME_BYTES: u32 = 4_096;
const ID_LEN: usize = 32;
const IV_LEN: usize = 12;
const TAG_LEN: usize = 16;
const TAG_BITS: u32 = 128;
/// Stands before the number of the last frame, which here is the first.
const LAST_FRAME: [u8; 4] = [0xff; 4];
const FIRST: u32 = 1;
const LAST_FRAME_LABEL: &[u8] = b"AWSKMSEncryptionClient Final Frame";
const DERIVE_LABEL: &[u8] = b"DERIVEKEY";
const COMMIT_LABEL: &[u8] = b"COMMITKEY";

/// A data key as the message carries it: encrypted under a key that its readers can use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EncryptedDataKey {
    /// Who can decrypt it: `aws-kms`, or the name space of a raw key.
    pub provider_id: String,
    /// By which key: the ARN of a KMS key; of a raw key its name, and how it was used.
    pub provider_info: Vec<u8>,
    /// The encrypted key.
    pub ciphertext: Vec<u8>,
}

/// A message cannot be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MessageError {
    /// A text, a pair or a data key is longer than the format allows.
    #[error("something is too long for a message")]
    TooLong,
    /// A key cannot be used.
    #[error("a key cannot be used")]
    Key,
}

/// The message that holds `plaintext`, of [`PLAINTEXT_BYTES_MAX`] bytes at most.
///
/// # Errors
/// When something is too long. A data key must be new for each message.
pub fn encrypt(
    plaintext: &[u8],
    context: &Context,
    data_key: &Key256,
    encrypted: &EncryptedDataKey,
    entropy: &dyn Entropy,
) -> Result<Vec<u8>, MessageError> {
    if plaintext.len() > PLAINTEXT_BYTES_MAX {
        return Err(MessageError::TooLong);
    }
    let id: [u8; ID_LEN] = entropy::bytes(entropy);
    let keys = Keys::derive(data_key, &id)?;
    let mut message = vec![VERSION];
    message.extend(SUITE);
    message.extend(id);
    field(&mut message, &serialized(context)?)?;
    message.extend(1_u16.to_be_bytes());
    field(&mut message, encrypted.provider_id.as_bytes())?;
    field(&mut message, &encrypted.provider_info)?;
    field(&mut message, &encrypted.ciphertext)?;
    message.push(FRAMED);
    message.extend(FRAME_BYTES.to_be_bytes());
    message.extend(keys.commitment);
    let tag = seal(&keys.content, [0; IV_LEN], &message, &mut [])?;
    message.extend(tag);

    let mut content = plaintext.to_vec();
    let iv = frame_iv(FIRST);
    let tag = seal(&keys.content, iv, &frame_aad(&id, content.len()), &mut content)?;
    message.extend(LAST_FRAME);
    message.extend(FIRST.to_be_bytes());
    message.extend(iv);
    message.extend((content.len() as u32).to_be_bytes());
    message.extend(content);
    message.extend(tag);
    Ok(message)
}

/// A data key encrypted by a raw AES key of 256 bits (`AES256_GCM_IV12_TAG16`), which readers know by its name
/// in a name space.
///
/// # Errors
/// When the context is too long.
pub fn wrap(
    data_key: &Key256,
    context: &Context,
    (name_space, name): (&str, &str),
    wrapping_key: &Key256,
    entropy: &dyn Entropy,
) -> Result<EncryptedDataKey, MessageError> {
    let iv: [u8; IV_LEN] = entropy::bytes(entropy);
    let mut provider_info = name.as_bytes().to_vec();
    provider_info.extend(TAG_BITS.to_be_bytes());
    provider_info.extend((IV_LEN as u32).to_be_bytes());
    provider_info.extend(iv);
    let mut ciphertext = data_key.expose().to_vec();
    let key = aes(wrapping_key)?;
    let tag = seal(&key, iv, &serialized(context)?, &mut ciphertext)?;
    ciphertext.extend(tag);
    Ok(EncryptedDataKey { provider_id: name_space.to_owned(), provider_info, ciphertext })
}

/// What is derived from a data key for one message.
struct Keys {
    content: LessSafeKey,
    commitment: [u8; 32],
}

/// The length of what is derived.
struct Bytes32;

impl KeyType for Bytes32 {
    fn len(&self) -> usize {
        32
    }
}

impl Keys {
    fn derive(data_key: &Key256, id: &[u8]) -> Result<Self, MessageError> {
        let prk = Salt::new(HKDF_SHA512, id).extract(data_key.expose());
        let mut content = expanded(&prk, &[&SUITE, DERIVE_LABEL])?;
        let commitment = expanded(&prk, &[COMMIT_LABEL])?;
        let key = UnboundKey::new(&AES_256_GCM, &content).map_err(|_| MessageError::Key);
        content.zeroize();
        Ok(Self { content: LessSafeKey::new(key?), commitment })
    }
}

fn expanded(prk: &hkdf::Prk, info: &[&[u8]]) -> Result<[u8; 32], MessageError> {
    let mut out = [0; 32];
    let okm = prk.expand(info, Bytes32).map_err(|_| MessageError::Key)?;
    okm.fill(&mut out).map_err(|_| MessageError::Key)?;
    Ok(out)
}

fn aes(key: &Key256) -> Result<LessSafeKey, MessageError> {
    let key = UnboundKey::new(&AES_256_GCM, key.expose()).map_err(|_| MessageError::Key)?;
    Ok(LessSafeKey::new(key))
}

fn seal(
    key: &LessSafeKey,
    iv: [u8; IV_LEN],
    authenticated: &[u8],
    content: &mut [u8],
) -> Result<[u8; TAG_LEN], MessageError> {
    let nonce = Nonce::assume_unique_for_key(iv);
    let tag = key.seal_in_place_separate_tag(nonce, Aad::from(authenticated), content);
    let tag = tag.map_err(|_| MessageError::Key)?;
    tag.as_ref().try_into().map_err(|_| MessageError::Key)
}

/// Pairs in the order of their names' bytes: their number, then each name and value. Nothing, where there is
/// none.
fn serialized(context: &Context) -> Result<Vec<u8>, MessageError> {
    let mut out = Vec::new();
    if context.is_empty() {
        return Ok(out);
    }
    let count = u16::try_from(context.len()).map_err(|_| MessageError::TooLong)?;
    out.extend(count.to_be_bytes());
    for (name, value) in context {
        field(&mut out, name.as_bytes())?;
        field(&mut out, value.as_bytes())?;
    }
    Ok(out)
}

/// Appends the length in two bytes, and the bytes.
fn field(out: &mut Vec<u8>, bytes: &[u8]) -> Result<(), MessageError> {
    let length = u16::try_from(bytes.len()).map_err(|_| MessageError::TooLong)?;
    out.extend(length.to_be_bytes());
    out.extend(bytes);
    Ok(())
}

fn frame_iv(number: u32) -> [u8; IV_LEN] {
    let mut iv = [0; IV_LEN];
    for (to, from) in iv.iter_mut().skip(IV_LEN - 4).zip(number.to_be_bytes()) {
        *to = from;
    }
    iv
}

fn frame_aad(id: &[u8], length: usize) -> Vec<u8> {
    let mut aad = id.to_vec();
    aad.extend(LAST_FRAME_LABEL);
    aad.extend(FIRST.to_be_bytes());
    aad.extend((length as u64).to_be_bytes());
    aad
}
