//! `Debug` of messages that hold values or keys: tags and sizes, never bytes. A key holds the name or
//! the address of a person.

use std::fmt;

use crate::proto::{
    Check, Follow, Hop, OutOfBounds, Put, Read, Row, Scan, StoredRow, SweptRow, Write,
    check::Expect, write::Action,
};

/// The tag of a key, and how long the key is.
struct Tag<'a>(&'a [u8]);

impl fmt::Debug for Tag<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.first() {
            Some(tag) => write!(f, "{tag:#04x} of {} bytes", self.0.len()),
            None => f.write_str("empty"),
        }
    }
}

impl fmt::Debug for Read {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Read")
            .field("scope", &self.scope)
            .field("gets", &self.gets.iter().map(|key| Tag(key)).collect::<Vec<_>>())
            .field("follows", &self.follows)
            .field("scans", &self.scans)
            .finish()
    }
}

impl fmt::Debug for Follow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Follow")
            .field("index", &Tag(&self.index))
            .field("hops", &self.hops)
            .finish()
    }
}

impl fmt::Debug for Hop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hop")
            .field("before", &Tag(&self.before))
            .field("prefix_limit", &self.prefix_limit)
            .finish()
    }
}

impl fmt::Debug for Scan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scan")
            .field("prefix", &Tag(&self.prefix))
            .field("after", &Tag(&self.after))
            .field("limit", &self.limit)
            .finish()
    }
}

impl fmt::Debug for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Check").field("key", &Tag(&self.key)).field("expect", &self.expect).finish()
    }
}

impl fmt::Debug for Expect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AtVersion(version) => f.debug_tuple("AtVersion").field(version).finish(),
            Self::Exists(_) => f.write_str("Exists"),
            Self::Absent(_) => f.write_str("Absent"),
        }
    }
}

impl fmt::Debug for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Put(put) => put.fmt(f),
            Self::Delete(delete) => delete.fmt(f),
            Self::DeletePrefix(delete) => delete.fmt(f),
            Self::Add(add) => add.fmt(f),
        }
    }
}

impl fmt::Debug for Write {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Write").field("key", &Tag(&self.key)).field("action", &self.action).finish()
    }
}

impl fmt::Debug for OutOfBounds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OutOfBounds")
            .field("key", &Tag(&self.key))
            .field("value", &self.value)
            .finish()
    }
}

impl fmt::Debug for SweptRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SweptRow")
            .field("scope", &self.scope)
            .field("key", &Tag(&self.key))
            .field("expires_at_ms", &self.expires_at_ms)
            .finish()
    }
}

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
            .field("key", &Tag(&self.key))
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
