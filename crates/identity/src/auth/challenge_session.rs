//! What a challenge remembers until it is answered: sealed, so that gateways keep nothing.

use bytes::Bytes;
use conclave_api::ApiError;
use conclave_crypto::{encoding, entropy, mac, seal::Purpose};
use conclave_store::{keys, records::ChallengeSession};
use prost::Message;
use zeroize::Zeroizing;

use crate::{
    config::{ClientConfig, PoolConfig},
    errors,
    tx::Tx,
    world::World,
};

/// How long a session of this client is good, in milliseconds: AuthSessionValidity.
pub fn validity_ms(client: &ClientConfig) -> i64 {
    const DEFAULT_MINUTES: u32 = 3;
    let minutes = match client.record.auth_session_validity_minutes {
        0 => DEFAULT_MINUTES,
        minutes => minutes,
    };
    i64::from(minutes) * 60_000
}

/// Seals a session. Its nonce is set here. What is sealed fills whole blocks of `block` bytes: how long
/// it is must not tell what is in it.
///
/// # Errors
/// InternalErrorException when the pool's keys cannot be used.
pub fn seal(
    world: &World,
    config: &PoolConfig,
    mut session: ChallengeSession,
    block: usize,
) -> Result<Vec<u8>, ApiError> {
    session.nonce = Bytes::copy_from_slice(&entropy::bytes::<16>(&*world.entropy));
    let message = Zeroizing::new(session.encode_to_vec());
    let length =
        u32::try_from(message.len()).map_err(|_| errors::internal("a session is too long"))?;
    let mut plain = Zeroizing::new([&length.to_be_bytes(), message.as_slice()].concat());
    let padded = plain.len().next_multiple_of(block.max(1));
    plain.resize(padded, 0);
    config
        .keyring
        .seal(Purpose::Session, &[config.id().as_bytes()], &plain, &*world.entropy)
        .map_err(|_| errors::internal("a session could not be sealed"))
}

/// Opens a session; `None` when it is not one of this pool, or was altered.
pub fn open(config: &PoolConfig, sealed: &[u8]) -> Option<ChallengeSession> {
    let plain = config.keyring.open(Purpose::Session, &[config.id().as_bytes()], sealed).ok()?;
    let (length, message) = plain.expose().split_first_chunk()?;
    let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
    ChallengeSession::decode(message.get(..length)?).ok()
}

/// The row that says that a session has been answered. It can be named before the session is opened.
pub fn used_key(sealed: &[u8]) -> Vec<u8> {
    let digest = mac::sha256(&[b"challenge session", sealed]);
    keys::used(&digest)
}

/// Uses a session up: it must not have been, when the commit takes effect.
pub fn consume(tx: &mut Tx<'_>, sealed: &[u8], session: &ChallengeSession) {
    // the row need not outlive the session by more than a clock can be off
    let expires_at_ms = session.expires_ms + 60_000;
    tx.put_new(used_key(sealed), Bytes::new(), Some(expires_at_ms));
}

/// `Session` as text.
pub fn to_text(sealed: &[u8]) -> String {
    encoding::base64url(sealed)
}

/// The bytes of a `Session`.
pub fn from_text(text: &str) -> Option<Vec<u8>> {
    encoding::base64url_decode(text)
}

/// `Invalid session for the user.`
pub fn invalid() -> ApiError {
    ApiError::not_authorized("Invalid session for the user.")
}

/// `Invalid session for the user, session is expired.`
pub fn expired() -> ApiError {
    ApiError::not_authorized("Invalid session for the user, session is expired.")
}

/// `Invalid session for the user, session can only be used once.`
pub fn used() -> ApiError {
    ApiError::not_authorized("Invalid session for the user, session can only be used once.")
}
