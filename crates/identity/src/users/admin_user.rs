//! The user that a signed operation is about.

use conclave_api::ApiError;
use conclave_store::records::UserRecord;

use super::lookup::{self, With};
use crate::{
    call::Call,
    errors, pool_access,
    tx::{Failure, Query, Tx},
};

/// Loads the user that `username` means, which may be a user name, an alias or a sub. One read.
///
/// # Errors
/// ResourceNotFoundException when the pool is not the caller's; UserNotFoundException.
pub async fn load(tx: &mut Tx<'_>, call: &Call, username: &str) -> Result<UserRecord, Failure> {
    load_with(tx, call, username, &[With::Nothing]).await
}

/// [`load`], with more of what belongs to the user.
///
/// # Errors
/// As [`load`].
pub async fn load_with(
    tx: &mut Tx<'_>,
    call: &Call,
    username: &str,
    with: &[With<'_>],
) -> Result<UserRecord, Failure> {
    tx.load(lookup::admin_query(Query::new(), username, with)).await?;
    Ok(find(tx, call, username)?)
}

/// The user, once [`lookup::admin_query`] has been loaded.
///
/// # Errors
/// As [`load`].
pub fn find(tx: &Tx<'_>, call: &Call, username: &str) -> Result<UserRecord, ApiError> {
    let pool = pool_access::owned_pool(tx, call)?;
    let found = lookup::find_for_admin(tx, &pool, username)?;
    found.map(|found| found.user.record).ok_or_else(errors::user_not_found)
}
