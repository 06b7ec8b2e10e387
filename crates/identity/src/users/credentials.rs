//! Passwords: hashed for flows that send them, and as an SRP verifier for flows that do not. Both are
//! sealed before they leave the gateway: a verifier is a fast hash of the password.

use conclave_api::ApiError;
use conclave_crypto::{
    secret::SecretString,
    srp::{self, Verifier},
};
use conclave_store::{
    keys::{self, UserChild},
    records::{CredentialsRecord, UserRecord},
};

use crate::{
    config::PoolConfig,
    errors,
    pool_keys::boxes::Resealing,
    sealed::{self, Place},
    tx::{Stored, Tx},
};

const PASSWORD_HASH: &str = "password_hash";
const SRP_VERIFIER: &str = "srp_verifier";

/// The row of a user's credentials.
pub fn key(sub: &str) -> Vec<u8> {
    keys::user_child(sub, UserChild::Credentials, &[])
}

/// Sets the password of a user. `temporary_until_ms` is 0 for a password that lasts. Where the row was
/// loaded, the commit fails if it has changed since.
///
/// # Errors
/// TooManyRequestsException when too much is waiting for the processor.
pub async fn set_password(
    tx: &mut Tx<'_>,
    user: &UserRecord,
    password: &SecretString,
    temporary_until_ms: i64,
) -> Result<(), ApiError> {
    let config = tx.pool()?;
    let (world, memo) = (tx.world(), tx.memo());
    let key = key(&user.sub);
    let hash = memo.hash_password(world, password).await?;
    let place = |field| Place { scope: config.id(), key: &key, field };
    let sealed_hash = sealed::seal(world, &config.keyring, place(PASSWORD_HASH), hash.as_bytes())?;
    let srp = memo.srp_verifier(world, config.srp_pool_name(), &user.username, password).await?;
    let sealed_verifier = sealed::seal(world, &config.keyring, place(SRP_VERIFIER), srp.expose())?;
    let record = CredentialsRecord {
        sealed_password_hash: sealed_hash.into(),
        sealed_srp_verifier: sealed_verifier.into(),
        srp_user_id: user.username.clone(),
        set_ms: tx.now_ms(),
        temporary_until_ms,
        content_version: 0,
    };
    tx.rely_on_root(keys::user(&user.sub));
    tx.put(key, &record);
    Ok(())
}

/// Sets a hash that was made elsewhere as the password of a new user. There is no SRP verifier before the
/// first sign-in with the password ([`is_imported`]), so SRP finds the user with a verifier that no password
/// matches.
///
/// # Errors
/// InternalErrorException when the keys cannot be used.
pub fn set_imported_hash(tx: &mut Tx<'_>, user: &UserRecord, hash: &str) -> Result<(), ApiError> {
    let config = tx.pool()?;
    let key = key(&user.sub);
    let place = Place { scope: config.id(), key: &key, field: PASSWORD_HASH };
    let sealed = sealed::seal(tx.world(), &config.keyring, place, hash.as_bytes())?;
    let record = CredentialsRecord {
        sealed_password_hash: sealed.into(),
        srp_user_id: user.username.clone(),
        set_ms: tx.now_ms(),
        ..Default::default()
    };
    tx.rely_on_root(keys::user(&user.sub));
    tx.put(key, &record);
    Ok(())
}

/// Tells one password of a user from the next. It stays when the same password is sealed again.
pub fn version(stored: &Stored<CredentialsRecord>) -> u64 {
    match stored.record.content_version {
        0 => stored.version,
        version => version,
    }
}

/// Seals a user's credentials again, under the present version of the pool's key.
///
/// # Errors
/// InternalErrorException when they do not open.
pub(crate) fn reseal(
    resealing: &mut Resealing<'_>,
    stored: &mut Stored<CredentialsRecord>,
) -> Result<(), ApiError> {
    resealing.field(PASSWORD_HASH, &mut stored.record.sealed_password_hash)?;
    resealing.field(SRP_VERIFIER, &mut stored.record.sealed_srp_verifier)?;
    // sign-ins that have begun go on
    stored.record.content_version = version(stored);
    Ok(())
}

/// Whether the password is still the hash that was made elsewhere: [`set_password`] with the password puts
/// our own in its place.
pub fn is_imported(record: &CredentialsRecord) -> bool {
    !record.sealed_password_hash.is_empty() && record.sealed_srp_verifier.is_empty()
}

/// The PHC string of a user's password; `None` when the user has none.
///
/// # Errors
/// InternalErrorException when it does not open.
pub fn open_password_hash(
    config: &PoolConfig,
    sub: &str,
    record: &CredentialsRecord,
) -> Result<Option<String>, ApiError> {
    if record.sealed_password_hash.is_empty() {
        return Ok(None);
    }
    let key = key(sub);
    let place = Place { scope: config.id(), key: &key, field: PASSWORD_HASH };
    let hash = sealed::open(&config.keyring, place, &record.sealed_password_hash)?;
    let hash = String::from_utf8(hash.expose().clone());
    hash.map(Some).map_err(|_| errors::internal("a password hash is not a text"))
}

/// What SRP needs of a user.
pub struct SrpCredentials {
    /// As SALT shows it.
    pub salt: [u8; srp::SALT_LEN],
    /// Of the password.
    pub verifier: Verifier,
    /// USER_ID_FOR_SRP.
    pub user_id: String,
}

/// The SRP verifier of a user; `None` when the user has none.
///
/// # Errors
/// InternalErrorException when it does not open.
pub fn open_srp(
    config: &PoolConfig,
    sub: &str,
    record: &CredentialsRecord,
) -> Result<Option<SrpCredentials>, ApiError> {
    if record.sealed_srp_verifier.is_empty() {
        return Ok(None);
    }
    let key = key(sub);
    let place = Place { scope: config.id(), key: &key, field: SRP_VERIFIER };
    let plain = sealed::open(&config.keyring, place, &record.sealed_srp_verifier)?;
    let (salt, verifier) = plain
        .expose()
        .split_first_chunk()
        .ok_or_else(|| errors::internal("an SRP verifier is too short"))?;
    let verifier = Verifier::from_bytes(verifier)
        .map_err(|_| errors::internal("an SRP verifier is not one"))?;
    Ok(Some(SrpCredentials { salt: *salt, verifier, user_id: record.srp_user_id.clone() }))
}
