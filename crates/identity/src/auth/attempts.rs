//! Counting failed sign-ins, of users and of names that no user has, so that the lock-out tells nobody
//! which is which. A verdict leaves only after the commit that counts it.

use conclave_api::ApiError;
use conclave_crypto::mac;
use conclave_fault as fault;
use conclave_store::{
    keys::{self, UserChild},
    records::AttemptsRecord,
};

use super::lockout;
use crate::{
    errors,
    tx::{Failure, Query, Tx},
    users::lookup,
    world::World,
};

/// Names that no user has share this many records in a pool: an attacker cannot fill the store.
const UNKNOWN_RECORDS_LOG2: u32 = 20;

/// The record of one user's failures, or of those under one name that no user has.
pub struct Counter {
    key: Vec<u8>,
    /// The user, whose going takes the record along.
    root: Option<Vec<u8>>,
    /// Codes of second factors have a rule of their own.
    counts_codes: bool,
}

/// The counter of a user.
pub fn of_user(sub: &str) -> Counter {
    let key = keys::user_child(sub, UserChild::Attempts, &[]);
    Counter { key, root: Some(keys::user(sub)), counts_codes: false }
}

/// The counter of a user's wrong codes of second factors, of all kinds and in all sessions together. A
/// right password does not forget them.
pub fn of_codes(sub: &str) -> Counter {
    let key = keys::user_child(sub, UserChild::MfaAttempts, &[]);
    Counter { key, root: Some(keys::user(sub)), counts_codes: true }
}

/// The counter of a name that no user has, in the form in which the pool compares names: names that are
/// different users where they exist must not lock each other where they do not.
pub fn of_unknown(world: &World, pool_id: &str, folded: &str) -> Counter {
    let key = mac::derive_key(&world.hint_key, "unknown attempts", &[pool_id.as_bytes()]);
    let digest = mac::hmac_sha256(key.expose(), &[folded.as_bytes()]);
    let number = u32::from_be_bytes([digest[0], digest[1], digest[2], digest[3]]);
    let number = number >> (32 - UNKNOWN_RECORDS_LOG2);
    let key = keys::unknown_attempts(&number.to_be_bytes());
    Counter { key, root: None, counts_codes: false }
}

/// Adds to `query` the counters of `name` as a name that no user has, before it is known how the pool
/// compares names.
#[must_use]
pub fn query_unknown(mut query: Query, world: &World, pool_id: &str, name: &str) -> Query {
    for form in lookup::forms(name) {
        query = query.get(of_unknown(world, pool_id, &form).key);
    }
    query
}

/// Refuses while the lock lasts. Such an attempt does not count. The row must have been loaded.
///
/// # Errors
/// NotAuthorizedException.
pub fn check_lock(tx: &Tx<'_>, counter: &Counter) -> Result<(), ApiError> {
    if fault::bug("attempts-in-the-gateway") {
        return match in_the_gateway::failed(tx, counter) {
            Some(record) if lockout::is_locked(&record, tx.now_ms()) => Err(exceeded()),
            _ => Ok(()),
        };
    }
    match tx.get::<AttemptsRecord>(&counter.key)? {
        Some(attempts) if lockout::is_locked(&attempts.record, tx.now_ms()) => Err(exceeded()),
        _ => Ok(()),
    }
}

fn exceeded() -> ApiError {
    ApiError::not_authorized("Password attempts exceeded")
}

/// The commit fails when another attempt has been counted meanwhile: a right answer among many parallel ones
/// counts in its turn. The row must have been loaded.
pub fn take_turn(tx: &mut Tx<'_>, counter: &Counter) {
    tx.rely_on(&counter.key);
}

/// Counts a failure, and refuses once it is committed. The row must have been loaded.
pub fn failed(tx: &mut Tx<'_>, counter: Counter) -> Failure {
    match count(tx, counter) {
        Ok(_) => Failure::RefusedAfterCommit(errors::incorrect_username_or_password()),
        Err(failure) => failure,
    }
}

/// Counts a failure, and answers whether it locks. The row must have been loaded.
///
/// # Errors
/// InternalErrorException.
pub fn count(tx: &mut Tx<'_>, counter: Counter) -> Result<bool, Failure> {
    let attempts = tx.get::<AttemptsRecord>(&counter.key)?;
    let attempts = attempts.as_ref().map(|stored| &stored.record);
    let (record, forget_at_ms) = if counter.counts_codes {
        lockout::after_wrong_code(attempts, tx.now_ms())
    } else {
        lockout::after_failure(attempts, tx.now_ms())
    };
    if fault::bug("attempts-in-the-gateway") {
        in_the_gateway::count(tx, &counter);
        return Err(Failure::Refused(errors::incorrect_username_or_password()));
    }
    if let Some(root) = counter.root {
        tx.rely_on_root(root);
    }
    let locks = lockout::is_locked(&record, tx.now_ms());
    tx.put_expiring(counter.key, &record, forget_at_ms);
    Ok(locks)
}

/// Forgets the failures. The commit of success fails when another attempt has been counted meanwhile,
/// so a right guess among many parallel ones counts in its turn.
pub fn succeeded(tx: &mut Tx<'_>, counter: Counter) {
    tx.delete(counter.key);
}

/// A bug on purpose: what other gateways count is not known here.
mod in_the_gateway {
    use std::{
        collections::HashMap,
        sync::{Mutex, PoisonError},
    };

    use super::{AttemptsRecord, Counter, Tx, lockout};

    type Counted = HashMap<(usize, Vec<u8>), AttemptsRecord>;

    static COUNTED: Mutex<Option<Counted>> = Mutex::new(None);

    /// There is one world in each gateway.
    fn key(tx: &Tx<'_>, counter: &Counter) -> (usize, Vec<u8>) {
        (std::ptr::from_ref(tx.world()).addr(), counter.key.clone())
    }

    pub fn failed(tx: &Tx<'_>, counter: &Counter) -> Option<AttemptsRecord> {
        let counted = COUNTED.lock().unwrap_or_else(PoisonError::into_inner);
        counted.as_ref()?.get(&key(tx, counter)).cloned()
    }

    pub fn count(tx: &Tx<'_>, counter: &Counter) {
        let (record, _) = lockout::after_failure(failed(tx, counter).as_ref(), tx.now_ms());
        let mut counted = COUNTED.lock().unwrap_or_else(PoisonError::into_inner);
        counted.get_or_insert_default().insert(key(tx, counter), record);
    }
}
