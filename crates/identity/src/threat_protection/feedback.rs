//! What users and administrators say of an event, and the token by which a user may.
//!
//! A token comes in a message to the user ([`super::notification`]) and is good for [`GOOD_FOR_MS`], for one event, as often as the user
//! wants to say something else. It is sealed under the pool's key: nobody else can make one, and it tells nothing.

use std::net::IpAddr;

use conclave_api::ApiError;
use conclave_crypto::seal::Purpose;
use conclave_store::{
    keys,
    records::{AuthEventFeedback, AuthEventRecord, RiskProfileRecord},
};

use super::{history, record, risk};
use crate::{config::PoolConfig, errors, tx::Tx};

/// How long a token is good, in milliseconds. The service does not say; judgement: a week, as long as a message is looked at.
pub(super) const GOOD_FOR_MS: i64 = 7 * 24 * 3_600_000;

/// What a token is for.
pub(super) struct Opened {
    pub sub: String,
    pub event_id: String,
    issued_ms: i64,
}

impl Opened {
    pub fn is_good(&self, pool: &PoolConfig, now_ms: i64) -> bool {
        now_ms - self.issued_ms < GOOD_FOR_MS && self.issued_ms >= pool.record.tokens_not_before_ms
    }
}

/// A token for an event of a user.
///
/// # Errors
/// InternalErrorException when the pool's keys cannot be used.
pub(super) fn token(tx: &Tx<'_>, sub: &str, event_id: &str) -> Result<String, ApiError> {
    let pool = tx.pool()?;
    let plain = [&tx.now_ms().to_be_bytes()[..], sub.as_bytes(), b" ", event_id.as_bytes()];
    pool.keyring
        .seal_token(
            Purpose::FeedbackToken,
            &[pool.id().as_bytes()],
            &plain.concat(),
            &*tx.world().entropy,
        )
        .map_err(|_| errors::internal("a feedback token could not be sealed"))
}

/// What a token is for; `None` when this pool has not made it.
pub(super) fn open(pool: &PoolConfig, token: &str) -> Option<Opened> {
    let aad = [pool.id().as_bytes()];
    let plain = pool.keyring.open_token(Purpose::FeedbackToken, &aad, token).ok()?;
    let (issued_ms, rest) = plain.expose().split_first_chunk()?;
    let (sub, event_id) = std::str::from_utf8(rest).ok()?.split_once(' ')?;
    Some(Opened {
        sub: sub.to_owned(),
        event_id: event_id.to_owned(),
        issued_ms: i64::from_be_bytes(*issued_ms),
    })
}

/// Notes what `provider` says of an event, which counts for the next ones. The event and the profile must have been loaded.
///
/// # Errors
/// InternalErrorException when they have not.
pub(super) fn give(
    tx: &mut Tx<'_>,
    sub: &str,
    mut event: AuthEventRecord,
    value: String,
    provider: &str,
) -> Result<(), ApiError> {
    let now_ms = tx.now_ms();
    let profile_row = record::profile_key(sub);
    let stored = tx.get::<RiskProfileRecord>(&profile_row)?;
    let mut profile = stored.map(|stored| stored.record).unwrap_or_default();
    let address = event.ip_address.as_deref().and_then(|text| text.parse::<IpAddr>().ok());
    if value == "Valid" {
        risk::learn(&mut profile, address, &event.device_hash, now_ms);
    } else {
        risk::forget(&mut profile, address, &event.device_hash);
    }
    event.feedback =
        Some(AuthEventFeedback { value, provider: provider.to_owned(), given_ms: now_ms });
    tx.rely_on_root(keys::user(sub));
    tx.put(profile_row, &profile);
    tx.put_expiring(
        history::key(sub, &event.event_id),
        &event,
        event.created_ms + history::KEPT_MS,
    );
    Ok(())
}

/// The text is ours.
pub(super) fn event_not_found() -> ApiError {
    ApiError::resource_not_found("The auth event does not exist.")
}
