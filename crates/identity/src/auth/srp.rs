//! USER_SRP_AUTH and PASSWORD_VERIFIER: SRP-6a as Cognito's clients speak it. The password never
//! crosses the wire; the server keeps nothing between the two steps, the client carries it sealed.

use std::collections::BTreeMap;

use bytes::Bytes;
use conclave_api::ApiError;
use conclave_crypto::{
    encoding,
    srp::{self, ClientPublic, ServerEphemeral, Verifier},
};
use conclave_store::records::ChallengeSession;

use super::{
    attempts,
    challenge_session::{self, SignIn},
    device_auth,
    step::{self, Step},
    unknown,
};
use crate::{
    config::{ClientConfig, PoolConfig},
    errors,
    tx::{Failure, Tx},
    users::{
        credentials,
        lookup::{self, FoundUser},
    },
};

/// How far the client's clock may be from the group's, in milliseconds.
const TIMESTAMP_SKEW_MS_MAX: i64 = 5 * 60_000;

/// What is sealed in SECRET_BLOCK fills this many bytes, which is more than any session of this kind
/// has: the blocks of users who exist and of users who do not are of one length.
const SECRET_BLOCK: usize = 2_048;

/// Answers USER_SRP_AUTH with the PASSWORD_VERIFIER challenge. Nothing is learned from it about the
/// user, and nothing is committed.
///
/// # Errors
/// InvalidParameterException for an `SRP_A` that is no number, or is a multiple of N (RFC 5054,
/// section 2.5.4); UserNotFoundException where the client is told.
pub async fn challenge(
    tx: &mut Tx<'_>,
    client: &ClientConfig,
    username: &str,
    srp_a: &str,
    found: Option<FoundUser>,
    sign_in: SignIn<'_>,
) -> Result<Step, Failure> {
    let client_public =
        ClientPublic::parse(srp_a).map_err(|_| ApiError::invalid_parameter("Invalid SRP_A"))?;
    let config = tx.pool()?;
    let (sub, name, salt, verifier, credentials_version) = match &found {
        None if !client.hides_users() => return Err(errors::user_not_found().into()),
        None => {
            let name = lookup::folded(&config, username);
            let fake = &config.fake_users;
            let verifier = fake.verifier(&name).map_err(|_| broken())?;
            let salt = fake.salt(&name).to_vec();
            (String::new(), name, salt, verifier, 0)
        }
        Some(found) => {
            let user = &found.user.record;
            if !user.enabled && !client.hides_users() {
                return Err(super::access_token::user_disabled().into());
            }
            let stored = found.credentials.as_ref();
            let opened = match stored {
                Some(stored) => credentials::open_srp(&config, &user.sub, &stored.record)?,
                None => None,
            };
            // a user without a verifier gets one that no password matches
            let (salt, verifier) = match opened {
                Some(srp) => (srp.salt.to_vec(), srp.verifier),
                None => {
                    let fake = &config.fake_users;
                    let verifier = fake.verifier(&user.username).map_err(|_| broken())?;
                    (fake.salt(&user.username).to_vec(), verifier)
                }
            };
            let version = stored.map_or(0, credentials::version);
            (user.sub.clone(), user.username.clone(), salt, verifier, version)
        }
    };

    let world = tx.world();
    let entropy = std::sync::Arc::clone(&world.entropy);
    let ephemeral = world
        .cpu
        .run(move || ServerEphemeral::new(&verifier, &*entropy))
        .await
        .map_err(errors::cpu)?
        .map_err(|_| broken())?;
    let shown = match &found {
        Some(found) => found.user.record.username.clone(),
        None => unknown::shown_name(&config, username),
    };
    let session = ChallengeSession {
        credentials_version,
        srp_client_public: client_public.to_bytes().into(),
        srp_ephemeral: Bytes::copy_from_slice(ephemeral.to_bytes().expose()),
        ..challenge_session::new(tx, client, (&sub, &name), "PASSWORD_VERIFIER", sign_in)
    };
    let sealed = challenge_session::seal(world, &config, session, SECRET_BLOCK)?;
    let parameters = BTreeMap::from([
        ("SALT".to_owned(), srp::salt_hex(&salt)),
        ("SECRET_BLOCK".to_owned(), encoding::base64(&sealed)),
        ("SRP_B".to_owned(), ephemeral.public_hex()),
        ("USERNAME".to_owned(), shown.clone()),
        ("USER_ID_FOR_SRP".to_owned(), shown),
    ]);
    Ok(Step::challenge("PASSWORD_VERIFIER", parameters, None))
}

/// What a client answers to PASSWORD_VERIFIER.
pub struct Claim<'a> {
    /// What `secret_block` holds.
    pub session: &'a ChallengeSession,
    /// `PASSWORD_CLAIM_SECRET_BLOCK`, decoded.
    pub secret_block: &'a [u8],
    /// `PASSWORD_CLAIM_SIGNATURE`, base64.
    pub signature: &'a str,
    /// `TIMESTAMP`
    pub timestamp: &'a str,
    /// `DEVICE_KEY`
    pub device_key: Option<&'a str>,
}

/// Checks the answer to PASSWORD_VERIFIER. The rows of the name's lookup, of its unknown attempts and
/// of the used session must have been loaded.
///
/// # Errors
/// NotAuthorizedException, the same for a wrong password, a user that does not exist, and a block that
/// is altered, expired, used, or of another client.
pub async fn verify(
    tx: &mut Tx<'_>,
    client: &ClientConfig,
    username: &str,
    claim: &Claim<'_>,
    found: Option<FoundUser>,
) -> Result<Step, Failure> {
    let config = tx.pool()?;
    let refused = errors::incorrect_username_or_password;
    let session = claim.session;
    let fresh = session.challenge == "PASSWORD_VERIFIER"
        && session.client_id == client.record.client_id
        && session.expires_ms > tx.now_ms()
        && tx.get_bytes(&challenge_session::used_key(claim.secret_block)).is_none();
    let timestamp_ms = srp::parse_timestamp(claim.timestamp).map(|seconds| seconds * 1_000);
    let timely = timestamp_ms.is_some_and(|at| (at - tx.now_ms()).abs() <= TIMESTAMP_SKEW_MS_MAX);
    if !fresh || !timely {
        return Err(refused().into());
    }

    // the block decides whose answer this is; the name that came with it only found the rows
    let found = found.filter(|found| found.sub() == session.sub);
    if found.is_none() && !session.sub.is_empty() {
        return Err(refused().into());
    }
    device_auth::check_named(tx, found.as_ref(), claim.device_key)?;
    let counter = match &found {
        Some(found) => {
            step::may_try(client, &found.user.record)?;
            step::has_password(client, found)?;
            attempts::of_user(found.sub())
        }
        None if is_answer_of_unknown(&config, session, username) => {
            attempts::of_unknown(tx.world(), config.id(), &session.username)
        }
        None => return Err(refused().into()),
    };
    attempts::check_lock(tx, &counter)?;

    let verifier = match found.as_ref().and_then(|found| found.credentials.as_ref()) {
        Some(stored) if credentials::version(stored) == session.credentials_version => {
            let sub = found.as_ref().map_or("", FoundUser::sub);
            credentials::open_srp(&config, sub, &stored.record)?.map(|srp| srp.verifier)
        }
        _ => None,
    };
    let proved = prove(tx, claim, verifier).await?;
    challenge_session::consume(tx, claim.secret_block, session);
    match found {
        Some(found) if proved => {
            tx.rely_on(&credentials::key(found.sub()));
            let sign_in = SignIn { device_key: claim.device_key, ..SignIn::of(session) };
            step::after_password(tx, client, &found, sign_in).await
        }
        _ => Err(attempts::failed(tx, counter)),
    }
}

/// Whether an answer under `username` is one to `session`, which was opened for a name that no user has:
/// as with a user, the name that was asked for and the one that was shown both are.
pub fn is_answer_of_unknown(
    config: &PoolConfig,
    session: &ChallengeSession,
    username: &str,
) -> bool {
    session.sub.is_empty()
        && (lookup::folded(config, username) == session.username
            || username == unknown::shown_name(config, &session.username))
}

/// Whether the client has proved the password behind `verifier`; without one, the work of it. It is
/// found out once, however often the request is decided: the verifier is that of the version of the
/// credentials that the session names, or none.
async fn prove(
    tx: &Tx<'_>,
    claim: &Claim<'_>,
    verifier: Option<Verifier>,
) -> Result<bool, Failure> {
    let config = tx.pool()?;
    let session = claim.session;
    let is_real = verifier.is_some();
    if let Some(verdict) = tx.memo().claim_verdict(is_real) {
        return Ok(verdict);
    }
    let verifier = match verifier {
        Some(verifier) => verifier,
        None => config.fake_users.verifier(&session.username).map_err(|_| broken())?,
    };
    let client_public =
        ClientPublic::from_bytes(&session.srp_client_public).map_err(|_| broken())?;
    let ephemeral = ServerEphemeral::from_bytes(&session.srp_ephemeral).map_err(|_| broken())?;
    let key =
        tx.world().cpu.run(move || srp::server_key(&client_public, &ephemeral, &verifier)).await;
    // a degenerate key proves nothing
    let verdict = key.map_err(errors::cpu)?.is_ok_and(|key| {
        let (pool, user) = (config.srp_pool_name(), &session.username);
        srp::check_claim(&key, pool, user, claim.secret_block, claim.timestamp, claim.signature)
    });
    let verdict = verdict && is_real;
    tx.memo().keep_claim_verdict(is_real, verdict);
    Ok(verdict)
}

fn broken() -> ApiError {
    errors::internal("SRP arithmetic failed")
}
