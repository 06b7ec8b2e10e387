//! What a challenge remembers until it is answered: sealed, so that gateways keep nothing. A session is good
//! for one user, one client, one challenge and one use.

use bytes::Bytes;
use conclave_api::ApiError;
use conclave_crypto::{encoding, entropy, mac, seal::Purpose};
use conclave_store::{
    keys,
    records::{ChallengeResult, ChallengeSession},
};
use prost::Message;
use zeroize::Zeroizing;

use super::{flows, step};
use crate::{
    config::{ClientConfig, PoolConfig},
    errors, issuer,
    tx::{Failure, Tx},
    users::{credentials, lookup::FoundUser},
    world::World,
};

/// What is sealed in `Session` fills blocks of this many bytes. One makes some 750 characters of the
/// 2,048 that a session may have, as Cognito's do.
pub const BLOCK: usize = 512;

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

/// Opens a session; `None` when it is not one of this pool, was altered, or is from before the pool was restored.
pub fn open(config: &PoolConfig, sealed: &[u8]) -> Option<ChallengeSession> {
    let plain = config.keyring.open(Purpose::Session, &[config.id().as_bytes()], sealed).ok()?;
    let (length, message) = plain.expose().split_first_chunk()?;
    let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
    let session = ChallengeSession::decode(message.get(..length)?).ok()?;
    (session.issued_ms >= config.record.tokens_not_before_ms).then_some(session)
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

/// Seals a session and answers it as `Session`. It says which pool it is of, because some operations name
/// no client.
///
/// # Errors
/// As [`seal`].
pub fn to_text(
    world: &World,
    config: &PoolConfig,
    session: ChallengeSession,
) -> Result<String, ApiError> {
    to_text_in(world, config, session, BLOCK)
}

/// [`to_text`], in blocks of another size.
///
/// # Errors
/// As [`seal`].
pub fn to_text_in(
    world: &World,
    config: &PoolConfig,
    session: ChallengeSession,
    block: usize,
) -> Result<String, ApiError> {
    let sealed = seal(world, config, session, block)?;
    let pool_id = config.id().as_bytes();
    let length = u8::try_from(pool_id.len()).map_err(|_| errors::internal("a long pool id"))?;
    Ok(encoding::base64url([&[length], pool_id, sealed.as_slice()].concat()))
}

/// The pool that a `Session` says it is of, and what is sealed in it.
pub fn from_text(text: &str) -> Option<(String, Vec<u8>)> {
    let bytes = encoding::base64url_decode(text)?;
    let (length, rest) = bytes.split_first()?;
    let (pool_id, sealed) = rest.split_at_checked(usize::from(*length))?;
    let pool_id = String::from_utf8(pool_id.to_vec()).ok()?;
    // what is no pool is no scope to read in
    issuer::is_pool_id(&pool_id).then(|| (pool_id, sealed.to_vec()))
}

/// What a sign-in remembers from its beginning to its end.
#[derive(Clone, Copy)]
pub struct SignIn<'a> {
    /// `event_id` of its tokens.
    pub event_id: &'a str,
    /// The flow, which the client must allow to the end.
    pub flow: &'a str,
    /// When the password was set that has been proved; 0: none was asked for.
    pub credentials_set_ms: i64,
    /// The device that the client says it is: one of the user's, once the password has been proved.
    pub device_key: Option<&'a str>,
    /// A of the SRP by which the password has been proved, if it was.
    pub srp_public: &'a [u8],
    /// What has been answered of a custom sign-in in which the functions have not decided yet.
    pub results: &'a [ChallengeResult],
}

impl<'a> SignIn<'a> {
    /// A sign-in that has proved nothing yet.
    pub fn begun(event_id: &'a str, flow: &'a str) -> Self {
        Self {
            event_id,
            flow,
            credentials_set_ms: 0,
            device_key: None,
            srp_public: &[],
            results: &[],
        }
    }

    /// The sign-in that a session belongs to.
    pub fn of(session: &'a ChallengeSession) -> Self {
        Self {
            event_id: &session.event_id,
            flow: &session.flow,
            credentials_set_ms: session.credentials_set_ms,
            device_key: Some(session.device_key.as_str()).filter(|key| !key.is_empty()),
            srp_public: &session.srp_client_public,
            results: &session.results,
        }
    }
}

/// A session of `challenge`; what the challenge needs beside it is still to be set.
pub fn new(
    tx: &Tx<'_>,
    client: &ClientConfig,
    (sub, username): (&str, &str),
    challenge: &str,
    sign_in: SignIn<'_>,
) -> ChallengeSession {
    ChallengeSession {
        challenge: challenge.to_owned(),
        client_id: client.record.client_id.clone(),
        sub: sub.to_owned(),
        username: username.to_owned(),
        expires_ms: tx.now_ms() + validity_ms(client),
        event_id: sign_in.event_id.to_owned(),
        issued_ms: tx.now_ms(),
        credentials_set_ms: sign_in.credentials_set_ms,
        flow: sign_in.flow.to_owned(),
        device_key: sign_in.device_key.unwrap_or_default().to_owned(),
        results: sign_in.results.to_vec(),
        ..Default::default()
    }
}

/// Opens a session that is answered, and checks that it is one of this challenge and client, fresh, and
/// not used. The row of [`used_key`] must have been loaded.
///
/// # Errors
/// NotAuthorizedException; InvalidParameterException when the client may not use the flow any more.
pub fn answered(
    tx: &Tx<'_>,
    client: &ClientConfig,
    sealed: Option<&[u8]>,
    challenge: &str,
) -> Result<ChallengeSession, ApiError> {
    let sealed = sealed.ok_or_else(invalid)?;
    let session = open(&*tx.pool()?, sealed).ok_or_else(invalid)?;
    if session.challenge != challenge || session.client_id != client.record.client_id {
        return Err(invalid());
    }
    if tx.get_bytes(&used_key(sealed)).is_some() {
        return Err(used());
    }
    if tx.now_ms() >= session.expires_ms {
        return Err(expired());
    }
    // a flow that has been taken from the client meanwhile does not go on
    flows::check_still_enabled(client, &session.flow)?;
    Ok(session)
}

/// Checks that the user of a session is the one who answers, may still sign in, and has neither been signed
/// out everywhere nor had the password changed since.
///
/// # Errors
/// NotAuthorizedException and what [`step::may_sign_in`] refuses.
pub fn check_user(session: &ChallengeSession, found: Option<&FoundUser>) -> Result<(), Failure> {
    let found = found.filter(|found| found.sub() == session.sub).ok_or_else(invalid)?;
    let user = &found.user.record;
    step::may_sign_in(user)?;
    if session.issued_ms < user.sessions_valid_from_ms {
        return Err(invalid().into());
    }
    let set_ms = found.credentials.as_ref().map_or(0, |stored| stored.record.set_ms);
    if session.credentials_set_ms != 0 && session.credentials_set_ms != set_ms {
        return Err(invalid().into());
    }
    Ok(())
}

/// What [`check_user`] has seen must still be so when the commit takes effect.
pub fn rely_on_user(tx: &mut Tx<'_>, sub: &str) {
    tx.rely_on(&keys::user(sub));
    tx.rely_on(&credentials::key(sub));
    tx.rely_on_config();
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
