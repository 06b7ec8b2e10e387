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
    attempts,
    challenge_session::{self, SignIn},
    machine::Second,
    second_factor,
    step::{Step, required},
    tokens::{self, Device},
};
use crate::{
    config::ClientConfig,
    devices::{self, rows},
    errors,
    tx::{Failure, Query, Tx},
    users::{lookup::FoundUser, status},
};

/// The first of the two challenges.
pub const DEVICE_SRP_AUTH: &str = "DEVICE_SRP_AUTH";
/// The second.
pub const DEVICE_PASSWORD_VERIFIER: &str = "DEVICE_PASSWORD_VERIFIER";

/// How far the client's clock may be from the group's, in milliseconds.
const TIMESTAMP_SKEW_MS_MAX: i64 = 5 * 60_000;
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

/// Checks the device that a client names; `found` is `None` where no user has the name. It is asked before
/// anything else is proved, and answered alike for users who exist and who do not: it says nothing of
/// passwords. The row of [`query`] must have been loaded.
///
/// # Errors
/// ResourceNotFoundException when the user has no such device: clients then go on without.
pub fn check_named(
    tx: &Tx<'_>,
    found: Option<&FoundUser>,
    device_key: Option<&str>,
) -> Result<(), ApiError> {
    let is_tracked = tx.pool()?.record.device_configuration.is_some();
    let Some(device_key) = device_key.filter(|_| is_tracked) else { return Ok(()) };
    let found = found.ok_or_else(rows::not_found)?;
    rows::find(tx, found.sub(), device_key)?;
    Ok(())
}

/// What the device that a sign-in has named means for it.
enum On {
    /// None has been named, it has been forgotten since, or the pool does not track devices.
    New,
    /// One that is known and does not count in a sign-in.
    NotRemembered,
    /// One that has to prove itself.
    Remembered(DeviceRecord),
}

/// See [`On`]. The row of the device must have been loaded, by [`query`] or [`query_session`].
fn on(tx: &Tx<'_>, user: &UserRecord, sign_in: SignIn<'_>) -> Result<On, ApiError> {
    let is_tracked = tx.pool()?.record.device_configuration.is_some();
    let Some(device_key) = sign_in.device_key.filter(|_| is_tracked) else { return Ok(On::New) };
    Ok(match rows::find_any(tx, &user.sub, device_key)?.map(|stored| stored.record) {
        None => On::New,
        Some(device) if device.remembered => On::Remembered(device),
        Some(_) => On::NotRemembered,
    })
}

/// Whether the proof of a remembered device is taken for the second factor that the user would be asked
/// for. It spares nobody from setting one up, and nobody from one that is asked for because the sign-in looks risky.
/// Source: API reference, DeviceConfigurationType, ChallengeRequiredOnNewDevice.
///
/// # Errors
/// InternalErrorException when the pool is not loaded.
pub fn stands_for(
    tx: &Tx<'_>,
    user: &UserRecord,
    second: &Second,
    sign_in: SignIn<'_>,
) -> Result<bool, ApiError> {
    let settings = tx.pool()?.record.device_configuration.unwrap_or_default();
    let is_asked = matches!(second, Second::One(_) | Second::Select(_));
    let suffices = settings.challenge_required_on_new_device == Some(true);
    let is_risky = tx.enforcement().asks_second_factor().is_some();
    Ok(is_asked && suffices && !is_risky && matches!(on(tx, user, sign_in)?, On::Remembered(_)))
}

/// Whether a second factor has been shown.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Over {
    /// It has.
    Yes,
    /// None was asked for, or the device stands for it.
    No,
}

/// What follows for a user who has shown everything that the device does not: its challenge, or tokens.
///
/// # Errors
/// Those of [`tokens::begin_session`].
pub async fn finish(
    tx: &mut Tx<'_>,
    client: &ClientConfig,
    user: &UserRecord,
    sign_in: SignIn<'_>,
    second_factor: Over,
) -> Result<Step, Failure> {
    let device = match on(tx, user, sign_in)? {
        On::New => Device::New,
        On::NotRemembered => Device::Unproved,
        On::Remembered(_) => return Ok(challenge(tx, client, user, sign_in, second_factor)?),
    };
    let tokens =
        tokens::begin_session_on(tx, client, user, sign_in.event_id, (device, second_factor))
            .await?;
    Ok(Step::Tokens(tokens))
}

/// DEVICE_SRP_AUTH. What it answers waits for the commit.
fn challenge(
    tx: &mut Tx<'_>,
    client: &ClientConfig,
    user: &UserRecord,
    sign_in: SignIn<'_>,
    second_factor: Over,
) -> Result<Step, ApiError> {
    let who = (user.sub.as_str(), user.username.as_str());
    let mut session = challenge_session::new(tx, client, who, DEVICE_SRP_AUTH, sign_in);
    session.is_second_factor_over = second_factor == Over::Yes;
    let expires_ms = session.expires_ms;
    let session = challenge_session::to_text(tx.world(), &*tx.pool()?, session)?;
    if let Ok(public) = ClientPublic::from_bytes(sign_in.srp_public) {
        tx.rely_on_root(keys::user(&user.sub));
        let kept = Bytes::copy_from_slice(session.as_bytes());
        tx.put_bytes(kept_key(&user.sub, &public), kept, Some(expires_ms));
    }
    let parameters = BTreeMap::from([
        ("DEVICE_KEY".to_owned(), sign_in.device_key.unwrap_or_default().to_owned()),
        ("USERNAME".to_owned(), user.username.clone()),
    ]);
    Ok(Step::challenge(DEVICE_SRP_AUTH, parameters, Some(session)))
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
    // of a session that was kept, the last step finds out whether it has been used
    let kept = found.as_ref().and_then(|found| tx.get_text(&kept_key(found.sub(), &client_public)));
    let kept = kept.and_then(|text| challenge_session::from_text(&text)).map(|(_, sealed)| sealed);
    let sealed = sealed.or(kept.as_deref());
    let session = challenge_session::answered(tx, client, sealed, DEVICE_SRP_AUTH)?;
    let device = going_on(tx, &session, device_key, found.as_ref())?;
    let config = tx.pool()?;
    let secret = rows::open_secret(&config, &session.sub, &device)?;
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
        first_session: challenge_session::used_key(sealed.unwrap_or_default()).into(),
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
    Ok(Step::challenge(DEVICE_PASSWORD_VERIFIER, parameters, None))
}

/// Adds what a session says that its answer needs: its device, and whether the challenge before has led to
/// tokens already.
#[must_use]
pub fn query_session(mut query: Query, session: Option<&ChallengeSession>) -> Query {
    let Some(session) = session else { return query };
    if !session.device_key.is_empty() {
        query = query.get(rows::key(&session.sub, &session.device_key));
    }
    if !session.first_session.is_empty() {
        query = query.get(session.first_session.to_vec());
    }
    query
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
    let session = challenge_session::answered(tx, client, block, DEVICE_PASSWORD_VERIFIER)?;
    if tx.get_bytes(&session.first_session).is_some() {
        return Err(challenge_session::used().into());
    }
    let device = going_on(tx, &session, device_key, found.as_ref())?;
    let (Some(found), Some(block)) = (found, block) else {
        return Err(challenge_session::invalid().into());
    };
    let timestamp_ms = srp::parse_timestamp(timestamp).map(|seconds| seconds * 1_000);
    if timestamp_ms.is_none_or(|at| (at - tx.now_ms()).abs() > TIMESTAMP_SKEW_MS_MAX) {
        return Err(errors::incorrect_username_or_password().into());
    }
    let counter = attempts::of_user(found.sub());
    attempts::check_lock(tx, &counter)?;
    let proved = prove(tx, &session, &device, (block, timestamp, signature)).await?;
    challenge_session::consume(tx, block, &session);
    if !proved {
        return Err(attempts::failed(tx, counter));
    }
    tx.put_new(session.first_session.to_vec(), Bytes::new(), Some(session.expires_ms + 60_000));
    attempts::succeeded(tx, counter);
    let user = &found.user.record;
    challenge_session::rely_on_user(tx, &user.sub);
    let seen = DeviceRecord { last_authenticated_ms: tx.now_ms(), ..device };
    rows::put(tx, &user.sub, &seen);
    let over = if session.is_second_factor_over { Over::Yes } else { Over::No };
    let on = (Device::Proved(device_key), over);
    let tokens = tokens::begin_session_on(tx, client, user, &session.event_id, on).await?;
    Ok(Step::Tokens(tokens))
}

/// The device that a session waits for, when everything still holds that the session was opened on: the
/// user may sign in, the device counts, and whatever else would be asked for has been shown.
fn going_on(
    tx: &Tx<'_>,
    session: &ChallengeSession,
    device_key: &str,
    found: Option<&FoundUser>,
) -> Result<DeviceRecord, Failure> {
    let invalid = challenge_session::invalid;
    challenge_session::check_user(session, found)?;
    let user = found.map(|found| &found.user.record);
    let user = user.filter(|user| user.status == status::CONFIRMED).ok_or_else(invalid)?;
    if session.device_key != device_key {
        return Err(invalid().into());
    }
    let second = second_factor::of(tx, user)?;
    let is_over = session.is_second_factor_over || second == Second::Nothing;
    if !is_over && !stands_for(tx, user, &second, SignIn::of(session))? {
        // forgotten, not remembered any more, or another setting of the pool
        rows::find(tx, &user.sub, device_key)?;
        return Err(invalid().into());
    }
    match on(tx, user, SignIn::of(session))? {
        On::Remembered(device) => Ok(device),
        On::NotRemembered => Err(invalid().into()),
        On::New => {
            rows::find(tx, &user.sub, device_key)?;
            Err(invalid().into())
        }
    }
}

/// Whether the device has proved the secret behind its verifier. It is found out once, however often the
/// request is decided: a device's verifier never changes.
async fn prove(
    tx: &Tx<'_>,
    session: &ChallengeSession,
    device: &DeviceRecord,
    (block, timestamp, signature): (&[u8], &str, &str),
) -> Result<bool, Failure> {
    const WITH_VERIFIER: bool = true;
    if let Some(verdict) = tx.memo().claim_verdict(WITH_VERIFIER) {
        return Ok(verdict);
    }
    let config = tx.pool()?;
    let secret = rows::open_secret(&config, &session.sub, device)?;
    let client_public =
        ClientPublic::from_bytes(&session.srp_client_public).map_err(|_| broken())?;
    let ephemeral = ServerEphemeral::from_bytes(&session.srp_ephemeral).map_err(|_| broken())?;
    let verifier = secret.verifier;
    let key =
        tx.world().cpu.run(move || srp::server_key(&client_public, &ephemeral, &verifier)).await;
    // a degenerate key proves nothing
    let verdict = key.map_err(errors::cpu)?.is_ok_and(|key| {
        let group = devices::group_key(&config);
        srp::check_claim(&key, &group, &session.device_key, block, timestamp, signature)
    });
    tx.memo().keep_claim_verdict(WITH_VERIFIER, verdict);
    Ok(verdict)
}

fn broken() -> ApiError {
    errors::internal("SRP arithmetic failed")
}
