//! Signing a user out everywhere.

use conclave_api::ApiError;
use conclave_store::records::UserRecord;

use super::index;
use crate::tx::Tx;

/// From when sessions count that begin after a sign-out at `now_ms`: later than all that have begun,
/// those of this very millisecond too. Where the last sign-out was in this second, tokens without
/// `origin_jti` have been issued with the next whole second for their `auth_time`: they end as well.
pub fn valid_from_ms(user: &UserRecord, now_ms: i64) -> i64 {
    const SECOND_MS: i64 = 1_000;
    let last_ms = (user.sessions_valid_from_ms + SECOND_MS - 1).div_euclid(SECOND_MS) * SECOND_MS;
    last_ms.max(now_ms) + 1
}

/// Ends all sessions of a user, which must have been loaded.
///
/// # Errors
/// Those of [`index::write_user`].
pub fn everywhere(tx: &mut Tx<'_>, user: &UserRecord) -> Result<(), ApiError> {
    let mut signed_out = user.clone();
    signed_out.sessions_valid_from_ms = valid_from_ms(user, tx.now_ms());
    index::write_user(tx, Some(user), &signed_out)
}
