//! Which group holds a pool: its id says so, under a key that the directory keeps.

use std::sync::OnceLock;

use conclave_crypto::{ids, secret::Key256};
use conclave_store::{DIRECTORY_GROUP, DIRECTORY_SCOPE, Placement};

/// Knows the directory from the start, and pools as soon as the directory has been opened.
#[derive(Default)]
pub struct HintPlacement {
    key: OnceLock<Key256>,
}

impl HintPlacement {
    /// Learns the key. A second one is ignored: it never changes.
    pub fn learn(&self, key: Key256) {
        let _ = self.key.set(key);
    }
}

impl Placement for HintPlacement {
    fn group_of(&self, scope: &str) -> Option<u32> {
        if scope == DIRECTORY_SCOPE {
            return Some(DIRECTORY_GROUP);
        }
        ids::pool_group(scope, self.key.get()?)
    }
}
