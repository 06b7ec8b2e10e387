//! Passwords that a user may not take again. Source: API reference, PasswordPolicyType,
//! `PasswordHistorySize`: the present password and those before it, as many as the pool says. Their hashes
//! are sealed, and go with the user.

use conclave_api::{ApiError, ExceptionName};
use conclave_crypto::secret::SecretString;
use conclave_store::{
    keys::{self, UserChild},
    records::{CredentialsRecord, PasswordHistoryRecord, UserRecord},
};

use super::{
    credentials,
    lookup::{self, With},
    password_policy,
};
use crate::{
    config::PoolConfig,
    errors,
    sealed::{self, Place},
    tx::Tx,
};

pub(crate) const PASSWORD_HASH: &str = "password_hash";

/// For a lookup of users: the history comes along.
pub const WITH: With<'static> = With::Child(UserChild::PasswordHistory, &[]);

/// The row of a user's history.
pub fn key(sub: &str) -> Vec<u8> {
    keys::user_child(sub, UserChild::PasswordHistory, &[])
}

/// Checks that `password` is none that `user` has had lately, and remembers the present one, which is about
/// to be replaced. The user's credentials and [`key`] must have been loaded, and whoever asks must have been
/// authenticated: the answer tells of a password.
///
/// One hash at a time goes through the admission of processor-heavy work, at most 24 of them.
///
/// # Errors
/// PasswordHistoryPolicyViolationException; TooManyRequestsException when too much is waiting for the
/// processor.
pub async fn replace(
    tx: &mut Tx<'_>,
    user: &UserRecord,
    password: &SecretString,
) -> Result<(), ApiError> {
    let config = tx.pool()?;
    let size = password_policy::of(&config).password_history_size as usize;
    let sub = &user.sub;
    let history = lookup::child::<PasswordHistoryRecord>(tx, sub, UserChild::PasswordHistory, &[])?;
    if size == 0 {
        if history.is_some() {
            tx.delete(key(sub));
        }
        return Ok(());
    }
    let stored = lookup::child::<CredentialsRecord>(tx, sub, UserChild::Credentials, &[])?;
    let present = match &stored {
        Some(stored) => credentials::open_password_hash(&config, sub, &stored.record)?,
        None => None,
    };
    let mut earlier = history.map_or_else(Vec::new, |stored| stored.record.sealed_password_hashes);
    let mut hashes: Vec<String> = present.iter().cloned().collect();
    for sealed in &earlier {
        hashes.push(open(&config, sub, sealed)?);
    }
    hashes.truncate(size);
    if tx.memo().is_one_of(tx.world(), password, &hashes).await? {
        return Err(violation());
    }
    if let Some(present) = &present {
        let key = key(sub);
        let place = Place { scope: config.id(), key: &key, field: PASSWORD_HASH };
        let sealed = sealed::seal(tx.world(), &config.keyring, place, present.as_bytes())?;
        earlier.insert(0, sealed.into());
    }
    // with the one that is set now they are as many as count
    earlier.truncate(size - 1);
    tx.rely_on_root(keys::user(sub));
    tx.put(key(sub), &PasswordHistoryRecord { sealed_password_hashes: earlier });
    Ok(())
}

fn open(config: &PoolConfig, sub: &str, sealed: &[u8]) -> Result<String, ApiError> {
    let key = key(sub);
    let place = Place { scope: config.id(), key: &key, field: PASSWORD_HASH };
    let hash = sealed::open(&config.keyring, place, sealed)?;
    let hash = String::from_utf8(hash.expose().clone());
    hash.map_err(|_| errors::internal("a password hash is not a text"))
}

/// The text is judgement: the reference names the exception alone.
fn violation() -> ApiError {
    ExceptionName::PasswordHistoryPolicyViolationException
        .because("Password does not conform to policy: Password has been used before")
}

#[cfg(test)]
mod tests;
