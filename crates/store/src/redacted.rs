//! `Debug` of messages that hold values: sizes, never bytes.

use std::fmt;

use crate::proto::{Put, Row, StoredRow};

impl fmt::Debug for Put {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Put")
            .field("bytes", &self.value.len())
            .field("expires_at_ms", &self.expires_at_ms)
            .finish()
    }
}

impl fmt::Debug for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Row")
            .field("tag", &self.key.first())
            .field("version", &self.version)
            .field("bytes", &self.value.as_ref().map(|value| value.len()))
            .finish()
    }
}

impl fmt::Debug for StoredRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoredRow")
            .field("version", &self.version)
            .field("expires_at_ms", &self.expires_at_ms)
            .field("bytes", &self.value.len())
            .finish()
    }
}
