//! Where scopes live, as the directory has said.

use std::collections::HashMap;

use conclave_store::{DIRECTORY_SCOPE, StoreError, keys, proto, records::PoolLocationRecord};
use parking_lot::Mutex;
use prost::Message;

/// Scopes that are looked up at once: anybody can make up ids, and the directory answers for all of them.
pub(crate) const LOOKUPS_MAX: usize = 64;
/// When to come again if more are.
pub(crate) const LOOKUP_RETRY_MS: u32 = 50;
/// Scopes that are remembered. A pool never moves to another group under the same id.
const LOCATIONS_MAX: usize = 10_000;

#[derive(Default)]
pub(crate) struct Locations(Mutex<HashMap<String, u32>>);

impl Locations {
    pub(crate) fn get(&self, scope: &str) -> Option<u32> {
        self.0.lock().get(scope).copied()
    }

    fn remember(&self, scope: &str, group: u32) {
        let mut locations = self.0.lock();
        if locations.len() >= LOCATIONS_MAX {
            locations.clear();
        }
        locations.insert(scope.to_owned(), group);
    }

    /// Takes the directory's answer to [`question`]; `None`: there is no such scope.
    pub(crate) fn learn(
        &self,
        scope: &str,
        answer: proto::ReadResult,
    ) -> Result<Option<u32>, StoreError> {
        let Some(value) = answer.rows.into_iter().next().and_then(|row| row.value) else {
            return Ok(None);
        };
        let location = PoolLocationRecord::decode(value)
            .map_err(|e| StoreError::Unavailable { detail: format!("a broken location: {e}") })?;
        self.remember(scope, location.group);
        Ok(Some(location.group))
    }
}

/// Asks the directory where a scope lives.
pub(crate) fn question(scope: &str) -> proto::Read {
    proto::Read {
        scope: DIRECTORY_SCOPE.to_owned(),
        gets: vec![keys::pool_location(scope).into()],
        ..proto::Read::default()
    }
}
