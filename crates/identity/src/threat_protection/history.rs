//! The rows of events: a bounded history of each user. Events lie in buckets by the beginning of their id, which is random, and a new
//! one makes room in its own, so that writing one reads a few of them and never all.

use bytes::Bytes;
use conclave_store::{
    keys::{self, UserChild},
    records::AuthEventRecord,
};
use prost::Message;

use crate::tx::{Query, Tx};

/// Events of one user, at most; a user with fewer than about half as many hardly loses any.
pub const EVENTS_MAX: usize = EVENTS_PER_BUCKET * 16;
const EVENTS_PER_BUCKET: usize = 16;
/// Digits of an event's id that name its bucket.
const BUCKET_DIGITS: usize = 1;
/// More than a bucket can hold, but for events at the same moment.
const BUCKET_ROWS_READ: u32 = 32;
/// How long an event is kept. Source: developer guide, "Viewing and exporting user event history": two years.
pub const KEPT_MS: i64 = 2 * 365 * 24 * 3_600_000;

/// The row of an event.
pub fn key(sub: &str, event_id: &str) -> Vec<u8> {
    keys::user_child(sub, UserChild::AuthEvent, event_id.as_bytes())
}

/// The prefix of every [`key`] of a user.
pub fn prefix(sub: &str) -> Vec<u8> {
    key(sub, "")
}

fn bucket(sub: &str, event_id: &str) -> Vec<u8> {
    key(sub, event_id.get(..BUCKET_DIGITS).unwrap_or_default())
}

/// Adds to `query` what [`put`] needs.
#[must_use]
pub fn query(query: Query, sub: &str, event_id: &str) -> Query {
    query.scan(bucket(sub, event_id), Vec::new(), BUCKET_ROWS_READ)
}

/// Adds to `query` all events of a user.
#[must_use]
pub fn query_all(query: Query, sub: &str) -> Query {
    const ROWS: u32 = EVENTS_MAX as u32 * 2;
    query.scan(prefix(sub), Vec::new(), ROWS)
}

/// An event that has been loaded; one that cannot be read is none.
pub fn get(tx: &Tx<'_>, sub: &str, event_id: &str) -> Option<AuthEventRecord> {
    tx.get_bytes(&key(sub, event_id)).and_then(|bytes| AuthEventRecord::decode(bytes).ok())
}

/// All events that have been loaded, the newest first.
pub fn all(tx: &Tx<'_>, sub: &str) -> Vec<AuthEventRecord> {
    let prefix = prefix(sub);
    let rows = tx.loaded_under(&prefix);
    let mut events: Vec<_> =
        rows.filter_map(|(_, value)| AuthEventRecord::decode(value.clone()).ok()).collect();
    events.sort_by_cached_key(|event| std::cmp::Reverse(place(event)));
    events
}

/// Where an event stands in the list, the newest last.
pub fn place(event: &AuthEventRecord) -> Vec<u8> {
    [&event.created_ms.to_be_bytes()[..], event.event_id.as_bytes()].concat()
}

/// Writes an event, and deletes the oldest of its bucket where there are too many. The user must exist when the commit takes
/// effect.
pub fn put(tx: &mut Tx<'_>, sub: &str, event: &AuthEventRecord) {
    let own = key(sub, &event.event_id);
    let bucket = bucket(sub, &event.event_id);
    let mut others: Vec<(i64, Bytes)> = tx
        .loaded_under(&bucket)
        .filter(|(key, _)| **key != own)
        .map(|(key, value)| {
            let event = AuthEventRecord::decode(value.clone()).unwrap_or_default();
            (event.created_ms, key.clone())
        })
        .collect();
    others.sort();
    let surplus = (others.len() + 1).saturating_sub(EVENTS_PER_BUCKET);
    for (_, key) in others.into_iter().take(surplus) {
        tx.delete(key.to_vec());
    }
    tx.rely_on_root(keys::user(sub));
    tx.put_expiring(own, event, event.created_ms + KEPT_MS);
}
