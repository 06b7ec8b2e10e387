//! The authenticator app of a user: its seed, sealed, and that each of its codes is used once.

use conclave_api::{ApiError, ExceptionName};
use conclave_crypto::totp::TotpSeed;
use conclave_store::{
    keys::{self, UserChild},
    records::SoftwareTokenRecord,
};

use crate::{
    config::PoolConfig,
    errors,
    sealed::{self, Place},
    tx::{Stored, Tx},
};

pub(crate) const SEED: &str = "seed";
pub(crate) const PENDING_SEED: &str = "pending_seed";

/// How many steps of 30 seconds a phone's clock may be off, to either side (RFC 6238, section 6).
const WINDOW: u64 = 1;

/// The row of a user's authenticator app.
pub fn key(sub: &str) -> Vec<u8> {
    keys::user_child(sub, UserChild::SoftwareToken, &[])
}

/// The loaded record of a user's authenticator app.
///
/// # Errors
/// InternalErrorException when it was not loaded, or cannot be decoded.
pub fn load(tx: &Tx<'_>, sub: &str) -> Result<Option<Stored<SoftwareTokenRecord>>, ApiError> {
    tx.get(&key(sub))
}

/// Draws a seed that counts once it is verified, and keeps it beside the one that counts until then.
///
/// # Errors
/// InternalErrorException when the row was not loaded, or the pool's keys cannot be used.
pub fn begin(tx: &mut Tx<'_>, config: &PoolConfig, sub: &str) -> Result<TotpSeed, ApiError> {
    let mut record = load(tx, sub)?.map(|stored| stored.record).unwrap_or_default();
    let seed = TotpSeed::generate(&*tx.world().entropy);
    record.sealed_pending_seed = seal(tx, config, sub, PENDING_SEED, &seed)?.into();
    tx.rely_on_root(keys::user(sub));
    tx.put(key(sub), &record);
    Ok(seed)
}

/// The seed that waits to be verified.
///
/// # Errors
/// InternalErrorException when it does not open.
pub fn pending(
    config: &PoolConfig,
    sub: &str,
    record: &SoftwareTokenRecord,
) -> Result<Option<TotpSeed>, ApiError> {
    open(config, sub, PENDING_SEED, &record.sealed_pending_seed)
}

/// Makes `seed` the one that counts. `step` is that of the code that verified it, which is used now.
///
/// # Errors
/// InternalErrorException when the pool's keys cannot be used.
pub fn put(
    tx: &mut Tx<'_>,
    config: &PoolConfig,
    sub: &str,
    seed: &TotpSeed,
    step: u64,
) -> Result<(), ApiError> {
    let record = SoftwareTokenRecord {
        sealed_seed: seal(tx, config, sub, SEED, seed)?.into(),
        verified_ms: tx.now_ms(),
        last_step: step,
        ..Default::default()
    };
    tx.rely_on_root(keys::user(sub));
    tx.put(key(sub), &record);
    Ok(())
}

/// What became of a code.
pub enum Verdict {
    /// It is right, and used now.
    Right,
    /// It is wrong.
    Wrong,
    /// It was right, and has been used, or is older than one that has.
    Used,
}

/// Checks a code at sign-in; one that is right is used in this commit. The row must have been loaded.
///
/// # Errors
/// InternalErrorException; SoftwareTokenMFANotFoundException when there is no app.
pub fn check(
    tx: &mut Tx<'_>,
    config: &PoolConfig,
    sub: &str,
    code: &str,
) -> Result<Verdict, ApiError> {
    let stored = load(tx, sub)?.ok_or_else(not_set_up)?;
    let mut record = stored.record;
    let seed = open(config, sub, SEED, &record.sealed_seed)?.ok_or_else(not_set_up)?;
    match step_of(&seed, code, tx.now_ms()) {
        None => Ok(Verdict::Wrong),
        Some(step) if step <= record.last_step => Ok(Verdict::Used),
        Some(step) => {
            record.last_step = step;
            tx.rely_on_root(keys::user(sub));
            tx.put(key(sub), &record);
            Ok(Verdict::Right)
        }
    }
}

/// The step whose code this is.
pub fn step_of(seed: &TotpSeed, code: &str, now_ms: i64) -> Option<u64> {
    let now_s = u64::try_from(now_ms.div_euclid(1_000)).unwrap_or(0);
    seed.verify(code, now_s, WINDOW)
}

/// The user has no authenticator app.
pub fn not_set_up() -> ApiError {
    ExceptionName::SoftwareTokenMFANotFoundException
        .because("Software Token MFA does not exist for the user.")
}

/// The pool does not let authenticator apps be set up.
pub fn not_offered() -> ApiError {
    ExceptionName::SoftwareTokenMFANotFoundException
        .because("Software Token MFA has not been enabled by the userPool.")
}

/// The code that was to verify an authenticator app is wrong.
pub fn verification_failed() -> ApiError {
    ExceptionName::EnableSoftwareTokenMFAException.because("Code mismatch")
}

fn seal(
    tx: &Tx<'_>,
    config: &PoolConfig,
    sub: &str,
    field: &str,
    seed: &TotpSeed,
) -> Result<Vec<u8>, ApiError> {
    let key = key(sub);
    let place = Place { scope: config.id(), key: &key, field };
    sealed::seal(tx.world(), &config.keyring, place, seed.as_bytes())
}

fn open(
    config: &PoolConfig,
    sub: &str,
    field: &str,
    sealed_seed: &[u8],
) -> Result<Option<TotpSeed>, ApiError> {
    if sealed_seed.is_empty() {
        return Ok(None);
    }
    let key = key(sub);
    let place = Place { scope: config.id(), key: &key, field };
    let plain = sealed::open(&config.keyring, place, sealed_seed)?;
    let seed = TotpSeed::from_bytes(plain.expose());
    seed.map(Some).ok_or_else(|| errors::internal("a seed has another length"))
}
