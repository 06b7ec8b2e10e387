//! DEVICE_SRP_AUTH and DEVICE_PASSWORD_VERIFIER: a device that a user has confirmed proves that it is the
//! one, by SRP-6a with a secret that it has made itself. It comes after the first factor, and never in its
//! place: what a device says of itself counts for nothing before it is proved.
//!
//! Source: developer guide, "Signing in with a device"; the arithmetic is that of the first factor, with
//! the device group key for the pool's name and the device key for the user's.

use std::collections::BTreeMap;

use bytes::Bytes;
use conclave_api::ApiError;
use conclave_crypto::{
    encoding, mac,
    srp::{self, ClientPublic, ServerEphemeral},
};
use conclave_store::{
    keys::{self, UserChild},
    records::{ChallengeSession, DeviceRecord, UserRecord},
};

use super::{
    attempts, challenge_session,
    step::{self, Step, required},
    tokens::{self, Device},
};
use crate::{
    config::{ClientConfig, PoolConfig},
    devices::{self, rows},
    errors,
    tx::{Failure, Query, Stored, Tx},
    users::{credentials, lookup::FoundUser},
};

/// The first of the two challenges.
pub const DEVICE_SRP_AUTH: &str = "DEVICE_SRP_AUTH";
/// The second.
pub const DEVICE_PASSWORD_VERIFIER: &str = "DEVICE_PASSWORD_VERIFIER";

/// How far the client's clock may be from the group's, in milliseconds.
const TIMESTAMP_SKEW_MS_MAX: i64 = 5 * 60_000;
/// What is sealed in `Session` fills blocks of this many bytes.
const SESSION_BLOCK: usize = 512;
/// What is sealed in SECRET_BLOCK fills blocks of this many bytes: A, b and B.
const SECRET_BLOCK: usize = 1_024;

/// `DEVICE_KEY` of a request, where there is one.
pub fn named(parameters: &BTreeMap<String, String>) -> Option<&str> {
    parameters.get("DEVICE_KEY").map(String::as_str).filter(|key| !key.is_empty())
}

/// Adds the row of the device that a request names, for every user that it looks for, and that of the
/// session which some clients do not send.
#[must_use]
pub fn query(query: Query, parameters: &BTreeMap<String, String>) -> Query {
    let Some(device_key) = named(parameters) else { return query };
    let query = query.of_each_follow(rows::hop(device_key));
    match parameters.get("SRP_A").and_then(|srp_a| ClientPublic::parse(srp_a).ok()) {
        Some(public) => {
            let part = kept_part(&public);
            query.of_each_follow(keys::user_child_hop(UserChild::DeviceChallenge, &part))
        }
        None => query,
    }
}

/// pycognito, and clients made after it, send no `Session` with DEVICE_SRP_AUTH, and the A of the first
/// factor once more. So the session is kept under that A as well: whoever answers by it has to know the
/// private value behind it to prove anything, and is the one who has shown the password.
fn kept_part(public: &ClientPublic) -> [u8; 32] {
    mac::sha256(&[b"device challenge\0", &public.to_bytes()])
}

fn kept_key(sub: &str, public: &ClientPublic) -> Vec<u8> {
    keys::user_child(sub, UserChild::DeviceChallenge, &kept_part(public))
}

/// What the device that a client names means for a sign-in whose first factor has been shown.
pub enum Named {
    /// None is named, or the pool does not track devices.
    None,
    /// One that is known and does not count in a sign-in.
    NotRemembered,
    /// One that has to prove itself, after an SRP with this public value, if there was one.
    Remembered(DeviceRecord, Option<Box<ClientPublic>>),
}

/// See [`Named`]; `found` is `None` where no user has the name. It is asked before anything else is
/// proved, and answered alike for users who exist and who do not: it says nothing of passwords. The row of
/// [`query`] must have been loaded.
///
/// # Errors
/// ResourceNotFoundException when the user has no such device: clients then go on without.
pub fn check_named(
    tx: &Tx<'_>,
    config: &PoolConfig,
    found: Option<&FoundUser>,
    device_key: Option<&str>,
    srp_public: Option<&[u8]>,
) -> Result<Named, ApiError> {
    let tracked = config.record.device_configuration.is_some();
    let Some(device_key) = device_key.filter(|_| tracked) else { return Ok(Named::None) };
    let found = found.ok_or_else(rows::not_found)?;
    let device = rows::find(tx, found.sub(), device_key)?.record;
    if !device.remembered {
        return Ok(Named::NotRemembered);
    }
    let srp_public = srp_public.and_then(|public| ClientPublic::from_bytes(public).ok());
    Ok(Named::Remembered(device, srp_public.map(Box::new)))
}

/// What follows for a user who has shown everything else.
///
/// # Errors
/// Those of [`tokens::begin_session`].
pub async fn finish(
    tx: &mut Tx<'_>,
    client: &ClientConfig,
    user: &UserRecord,
    credentials_version: u64,
    named: &Named,
    event_id: &str,
) -> Result<Step, Failure> {
    let on = match named {
        Named::None => Device::New,
        Named::NotRemembered => Device::Unproved,
        Named::Remembered(device, srp_public) => {
            let (step, sealed, expires_ms) =
                challenge(tx, client, user, credentials_version, device, event_id)?;
            if let Some(public) = srp_public {
                tx.rely_on_root(keys::user(&user.sub));
                tx.put_bytes(kept_key(&user.sub, public), sealed.into(), Some(expires_ms));
            }
            return Ok(step);
        }
    };
    Ok(Step::Tokens(tokens::begin_session_on(tx, client, user, event_id, on).await?))
}

/// DEVICE_SRP_AUTH. What it answers waits for the commit.
fn challenge(
    tx: &Tx<'_>,
    client: &ClientConfig,
    user: &UserRecord,
    credentials_version: u64,
    device: &DeviceRecord,
    event_id: &str,
) -> Result<(Step, Vec<u8>, i64), ApiError> {
    let config = tx.pool()?;
    let expires_ms = tx.now_ms() + challenge_session::validity_ms(client);
    let session = ChallengeSession {
        challenge: DEVICE_SRP_AUTH.to_owned(),
        client_id: client.record.client_id.clone(),
        sub: user.sub.clone(),
        username: user.username.clone(),
        expires_ms,
        credentials_version,
        event_id: event_id.to_owned(),
        device_key: device.device_key.clone(),
        ..Default::default()
    };
    let sealed = challenge_session::seal(tx.world(), &config, session, SESSION_BLOCK)?;
    let parameters = BTreeMap::from([
        ("DEVICE_KEY".to_owned(), device.device_key.clone()),
        ("USERNAME".to_owned(), user.username.clone()),
    ]);
    let session = Some(challenge_session::to_text(&sealed));
    Ok((Step::Challenge { name: DEVICE_SRP_AUTH, parameters, session }, sealed, expires_ms))
}

/// Answers DEVICE_SRP_AUTH with DEVICE_PASSWORD_VERIFIER. Nothing is learned of the device but the salt,
/// and nothing is committed.
///
/// # Errors
/// NotAuthorizedException for a session that is not good; InvalidParameterException for an `SRP_A`;
/// ResourceNotFoundException when the device has been forgotten meanwhile.
pub async fn answer_srp_auth(
    tx: &mut Tx<'_>,
    client: &ClientConfig,
    sealed: Option<&[u8]>,
    responses: &BTreeMap<String, String>,
    found: Option<FoundUser>,
) -> Result<Step, Failure> {
    let srp_a = required(responses, "SRP_A")?;
    let device_key = required(responses, "DEVICE_KEY")?;
    let client_public =
        ClientPublic::parse(srp_a).map_err(|_| ApiError::invalid_parameter("Invalid SRP_A"))?;
    let config = tx.pool()?;
    let kept =
        found.as_ref().and_then(|found| tx.get_bytes(&kept_key(found.sub(), &client_public)));
    let sealed = sealed.or(kept.as_deref()).ok_or_else(challenge_session::invalid)?;
    let session =
        challenge_session::open(&config, sealed).ok_or_else(challenge_session::invalid)?;
    // of a session that was kept, the last step finds out whether it has been used
    let used = [challenge_session::used_key(sealed)];
    let (found, device) =
        going_on(tx, &config, client, (&session, DEVICE_SRP_AUTH), &used, device_key, found)?;
    let secret = rows::open_secret(&config, found.sub(), &device.record)?;
    let world = tx.world();
    let entropy = std::sync::Arc::clone(&world.entropy);
    let verifier = secret.verifier;
    let ephemeral = world
        .cpu
        .run(move || ServerEphemeral::new(&verifier, &*entropy))
        .await
        .map_err(errors::cpu)?
        .map_err(|_| broken())?;
    let next = ChallengeSession {
        challenge: DEVICE_PASSWORD_VERIFIER.to_owned(),
        srp_client_public: client_public.to_bytes().into(),
        srp_ephemeral: Bytes::copy_from_slice(ephemeral.to_bytes().expose()),
        first_session: Bytes::from(challenge_session::used_key(sealed)),
        ..session.clone()
    };
    let block = challenge_session::seal(world, &config, next, SECRET_BLOCK)?;
    let parameters = BTreeMap::from([
        ("DEVICE_KEY".to_owned(), session.device_key),
        ("SALT".to_owned(), srp::salt_hex(&secret.salt)),
        ("SECRET_BLOCK".to_owned(), encoding::base64(&block)),
        ("SRP_B".to_owned(), ephemeral.public_hex()),
        ("USERNAME".to_owned(), session.username),
    ]);
    Ok(Step::Challenge { name: DEVICE_PASSWORD_VERIFIER, parameters, session: None })
}

/// Adds what [`answer_password_verifier`] needs beside the rows of the user and of the block: whether the
/// challenge before has led to tokens already.
#[must_use]
pub fn query_first(query: Query, session: Option<&ChallengeSession>) -> Query {
    match session {
        Some(session) if !session.first_session.is_empty() => {
            query.get(session.first_session.to_vec())
        }
        _ => query,
    }
}

/// Answers DEVICE_PASSWORD_VERIFIER: the device has proved itself, and the user is in.
///
/// # Errors
/// NotAuthorizedException: a proof that fails counts as a failed sign-in.
pub async fn answer_password_verifier(
    tx: &mut Tx<'_>,
    client: &ClientConfig,
    block: Option<&[u8]>,
    responses: &BTreeMap<String, String>,
    found: Option<FoundUser>,
) -> Result<Step, Failure> {
    required(responses, "PASSWORD_CLAIM_SECRET_BLOCK")?;
    let signature = required(responses, "PASSWORD_CLAIM_SIGNATURE")?;
    let timestamp = required(responses, "TIMESTAMP")?;
    let device_key = required(responses, "DEVICE_KEY")?;
    let refused = errors::incorrect_username_or_password;
    let block = block.ok_or_else(refused)?;
    let config = tx.pool()?;
    let session = challenge_session::open(&config, block).ok_or_else(refused)?;
    let used = [challenge_session::used_key(block), session.first_session.to_vec()];
    let (found, device) = going_on(
        tx,
        &config,
        client,
        (&session, DEVICE_PASSWORD_VERIFIER),
        &used,
        device_key,
        found,
    )?;
    let timestamp_ms = srp::parse_timestamp(timestamp).map(|seconds| seconds * 1_000);
    if timestamp_ms.is_none_or(|at| (at - tx.now_ms()).abs() > TIMESTAMP_SKEW_MS_MAX) {
        return Err(refused().into());
    }
    let counter = attempts::of_user(found.sub());
    attempts::check_lock(tx, &counter)?;
    let proved =
        prove(tx, &config, &session, &device.record, (block, timestamp, signature)).await?;
    challenge_session::consume(tx, block, &session);
    if !proved {
        return Err(attempts::failed(tx, counter));
    }
    tx.put_new(session.first_session.to_vec(), Bytes::new(), Some(session.expires_ms + 60_000));
    attempts::succeeded(tx, counter);
    let user = &found.user.record;
    tx.rely_on(&keys::user(&user.sub));
    tx.rely_on(&credentials::key(&user.sub));
    let now_ms = tx.now_ms();
    let seen = DeviceRecord { last_authenticated_ms: now_ms, ..device.record.clone() };
    rows::put(tx, &user.sub, &seen);
    let on = Device::Proved(device_key);
    let tokens = tokens::begin_session_on(tx, client, user, &session.event_id, on).await?;
    Ok(Step::Tokens(tokens))
}

/// Whether a session can be answered now, and by whom: it is of this client and this step, has not been
/// used, and everything that it was opened on still holds. The rows of `used` must have been loaded.
fn going_on(
    tx: &Tx<'_>,
    config: &PoolConfig,
    client: &ClientConfig,
    (session, challenge): (&ChallengeSession, &str),
    used: &[Vec<u8>],
    device_key: &str,
    found: Option<FoundUser>,
) -> Result<(FoundUser, Stored<DeviceRecord>), ApiError> {
    let invalid = challenge_session::invalid;
    if session.challenge != challenge || session.client_id != client.record.client_id {
        return Err(invalid());
    }
    // the session decides whose answer this is; the name that came with it only found the rows
    let found = found.filter(|found| found.sub() == session.sub).ok_or_else(invalid)?;
    if session.device_key != device_key {
        return Err(invalid());
    }
    if used.iter().any(|key| tx.get_bytes(key).is_some()) {
        return Err(challenge_session::used());
    }
    if tx.now_ms() >= session.expires_ms {
        return Err(challenge_session::expired());
    }
    step::may_sign_in(&found.user.record)?;
    let version = found.credentials.as_ref().map_or(0, |stored| stored.version);
    if version != session.credentials_version || config.record.device_configuration.is_none() {
        return Err(invalid());
    }
    let device = rows::find(tx, found.sub(), device_key)?;
    if !device.record.remembered {
        return Err(invalid());
    }
    Ok((found, device))
}

/// Whether the device has proved the secret behind its verifier. It is found out once, however often the
/// request is decided: a device's verifier never changes.
async fn prove(
    tx: &Tx<'_>,
    config: &PoolConfig,
    session: &ChallengeSession,
    device: &DeviceRecord,
    (block, timestamp, signature): (&[u8], &str, &str),
) -> Result<bool, Failure> {
    const WITH_VERIFIER: bool = true;
    if let Some(verdict) = tx.memo().claim_verdict(WITH_VERIFIER) {
        return Ok(verdict);
    }
    let secret = rows::open_secret(config, &session.sub, device)?;
    let client_public =
        ClientPublic::from_bytes(&session.srp_client_public).map_err(|_| broken())?;
    let ephemeral = ServerEphemeral::from_bytes(&session.srp_ephemeral).map_err(|_| broken())?;
    let verifier = secret.verifier;
    let key =
        tx.world().cpu.run(move || srp::server_key(&client_public, &ephemeral, &verifier)).await;
    // a degenerate key proves nothing
    let verdict = key.map_err(errors::cpu)?.is_ok_and(|key| {
        let group = devices::group_key(config);
        srp::check_claim(&key, &group, &session.device_key, block, timestamp, signature)
    });
    tx.memo().keep_claim_verdict(WITH_VERIFIER, verdict);
    Ok(verdict)
}

fn broken() -> ApiError {
    errors::internal("SRP arithmetic failed")
}
