//! The rows of passkeys: one of each user's, and one for each credential id that leads to its user.

use bytes::Bytes;
use conclave_api::ApiError;
use conclave_crypto::mac;
use conclave_store::{
    keys::{self, UserChild},
    records::{Passkey, PasskeysRecord, UserRecord},
};

use crate::{
    tx::Tx,
    users::{
        index,
        lookup::{self, With},
        mfa_preference,
    },
};

/// For a lookup of users: their passkeys come along.
pub const WITH: With<'_> = With::Child(UserChild::Passkeys, &[]);

/// The row of a user's passkeys.
pub fn key(sub: &str) -> Vec<u8> {
    keys::user_child(sub, UserChild::Passkeys, &[])
}

/// The row that leads from a credential to its user. Ids can be long, so it is filed under their hash.
pub fn index_key(credential_id: &[u8]) -> Vec<u8> {
    keys::passkey(&mac::sha256(&[credential_id]))
}

/// A user's passkeys. Their row must have been loaded.
///
/// # Errors
/// InternalErrorException when it cannot be decoded.
pub fn load(tx: &Tx<'_>, sub: &str) -> Result<Vec<Passkey>, ApiError> {
    let stored = lookup::child::<PasskeysRecord>(tx, sub, UserChild::Passkeys, &[])?;
    Ok(stored.map(|stored| stored.record.passkeys).unwrap_or_default())
}

/// Writes a user's passkeys. The user must exist when the commit takes effect.
pub fn put(tx: &mut Tx<'_>, sub: &str, passkeys: Vec<Passkey>) {
    tx.rely_on_root(keys::user(sub));
    tx.put(key(sub), &PasskeysRecord { passkeys });
}

/// Writes the passkeys of a user who has one more or one less, and what the user's record says of them.
///
/// # Errors
/// As [`index::write_user`].
pub fn put_changed(
    tx: &mut Tx<'_>,
    user: &UserRecord,
    passkeys: Vec<Passkey>,
) -> Result<(), ApiError> {
    let mut changed = user.clone();
    changed.passkeys = u32::try_from(passkeys.len()).unwrap_or(u32::MAX);
    if passkeys.is_empty() {
        // the next one is to count as two factors only when the user says so again
        mfa_preference::switch_passkeys_off(&mut changed);
    }
    index::write_user(tx, Some(user), &changed)?;
    put(tx, &user.sub, passkeys);
    Ok(())
}

/// Files a credential under its user. There must be none of this id.
pub fn put_index(tx: &mut Tx<'_>, credential_id: &[u8], sub: &str) {
    tx.put_new(index_key(credential_id), Bytes::copy_from_slice(sub.as_bytes()), None);
}

/// Deletes what leads to a user by passkeys. The row of [`key`] must have been loaded.
///
/// # Errors
/// As [`load`].
pub fn delete_all_indexes(tx: &mut Tx<'_>, sub: &str) -> Result<(), ApiError> {
    for passkey in load(tx, sub)? {
        tx.delete(index_key(&passkey.credential_id));
    }
    // one that is registered meanwhile would be left behind
    tx.rely_on(&key(sub));
    Ok(())
}
