//! Counting failed sign-ins, of users and of names that no user has, so that the lock-out tells nobody
//! which is which. A verdict leaves only after the commit that counts it.

use conclave_crypto::mac;
use conclave_store::{
    keys::{self, UserChild},
    records::AttemptsRecord,
};
use conclave_api::ApiError;

use super::lockout;
use crate::{
    errors,
    tx::{Failure, Tx},
    world::World,
};

/// Names that no user has share this many records in a pool: an attacker cannot fill the store.
const UNKNOWN_RECORDS_LOG2: u32 = 20;

/// The record of failed sign-ins of a user.
pub fn of_user(sub: &str) -> Vec<u8> {
    keys::user_child(sub, UserChild::Attempts, &[])
}

/// The record of failed sign-ins under a name that no user has.
pub fn of_unknown(world: &World, pool_id: &str, name: &str) -> Vec<u8> {
    let key = mac::derive_key(&world.hint_key, "unknown attempts", &[pool_id.as_bytes()]);
    let digest = mac::hmac_sha256(key.expose(), &[name.to_lowercase().as_bytes()]);
    let number = u32::from_be_bytes([digest[0], digest[1], digest[2], digest[3]]);
    keys::unknown_attempts(&(number >> (32 - UNKNOWN_RECORDS_LOG2)).to_be_bytes())
}

/// Refuses while the lock lasts. Such an attempt does not count. The row must have been loaded.
///
/// # Errors
/// NotAuthorizedException.
pub fn check_lock(tx: &Tx<'_>, key: &[u8]) -> Result<(), ApiError> {
    match tx.get::<AttemptsRecord>(key)? {
        Some(attempts) if lockout::is_locked(&attempts.record, tx.now_ms()) => {
            Err(ApiError::not_authorized("Password attempts exceeded"))
        }
        _ => Ok(()),
    }
}

/// Counts a failure, and refuses once it is committed. The row must have been loaded.
pub fn failed(tx: &mut Tx<'_>, key: Vec<u8>) -> Failure {
    let attempts = match tx.get::<AttemptsRecord>(&key) {
        Ok(attempts) => attempts,
        Err(error) => return error.into(),
    };
    let (record, forget_at_ms) =
        lockout::after_failure(attempts.as_ref().map(|stored| &stored.record), tx.now_ms());
    tx.put_expiring(key, &record, forget_at_ms);
    Failure::RefusedAfterCommit(errors::incorrect_username_or_password())
}

/// Forgets the failures. The commit of success fails when another attempt has been counted meanwhile,
/// so a right guess among many parallel ones counts in its turn.
pub fn succeeded(tx: &mut Tx<'_>, key: Vec<u8>) {
    tx.delete(key);
}
