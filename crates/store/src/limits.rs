//! What one request to a store may hold. Checked by gateways and by leaders before a proposal, never
//! by [`apply`](crate::apply): an entry that is in the log means the same to every version.

use std::collections::HashSet;

use prost::Message;

use crate::proto;

/// Checks in one commit.
pub const CHECKS_MAX: usize = 128;
/// Writes in one commit.
pub const WRITES_MAX: usize = 256;
/// Bytes of one encoded commit.
pub const COMMIT_BYTES_MAX: usize = 1 << 20;
/// Bytes of one value.
pub const VALUE_BYTES_MAX: usize = 256 << 10;
/// Bytes of one key.
pub const KEY_BYTES_MAX: usize = 1 << 10;
/// Bytes of a scope's name.
pub const SCOPE_BYTES_MAX: usize = 128;
/// Gets in one read.
pub const GETS_MAX: usize = 128;
/// Follows in one read.
pub const FOLLOWS_MAX: usize = 64;
/// Hops of all follows in one read.
pub const HOPS_MAX: usize = 256;
/// Scans in one read.
pub const SCANS_MAX: usize = 8;
/// Rows of one scan or hop.
pub const SCAN_ROWS_MAX: u32 = 1_000;
/// Bytes of the rows in one answer, roughly: a scan that reaches it says that there is more, a hop
/// gives fewer rows, a conflict names fewer. Gets are always answered: who gets many large values
/// asks in parts.
pub const READ_BYTES_MAX: usize = 4 << 20;

/// Checks the sizes of a commit.
///
/// # Errors
/// Which limit is broken.
pub fn check_commit(commit: &proto::Commit) -> Result<(), String> {
    scope(&commit.scope)?;
    if commit.id.len() != 16 {
        return Err(format!("a commit id has 16 bytes, not {}", commit.id.len()));
    }
    at_most("checks", commit.checks.len(), CHECKS_MAX)?;
    at_most("writes", commit.writes.len(), WRITES_MAX)?;
    at_most("bytes in a commit", commit.encoded_len(), COMMIT_BYTES_MAX)?;
    for check in &commit.checks {
        key(&check.key)?;
        if check.expect.is_none() {
            return Err("a check without an expectation".to_owned());
        }
    }
    let mut written = HashSet::with_capacity(commit.writes.len());
    for write in &commit.writes {
        key(&write.key)?;
        match &write.action {
            None => return Err("a write without an action".to_owned()),
            Some(proto::write::Action::Put(put)) => {
                at_most("bytes in a value", put.value.len(), VALUE_BYTES_MAX)?;
            }
            Some(_) => {}
        }
        if !written.insert(&write.key) {
            return Err("two writes of one key".to_owned());
        }
    }
    Ok(())
}

/// Checks the sizes of a read.
///
/// # Errors
/// Which limit is broken.
pub fn check_read(read: &proto::Read) -> Result<(), String> {
    scope(&read.scope)?;
    at_most("gets", read.gets.len(), GETS_MAX)?;
    at_most("follows", read.follows.len(), FOLLOWS_MAX)?;
    at_most("scans", read.scans.len(), SCANS_MAX)?;
    let hops = read.follows.iter().map(|follow| follow.hops.len()).sum();
    at_most("hops", hops, HOPS_MAX)?;
    read.gets.iter().try_for_each(|k| key(k))?;
    for follow in &read.follows {
        key(&follow.index)?;
        for hop in &follow.hops {
            at_most("bytes in a key", hop.before.len() + hop.after.len(), KEY_BYTES_MAX)?;
            at_most("rows of a hop", hop.prefix_limit as usize, SCAN_ROWS_MAX as usize)?;
        }
    }
    for scan in &read.scans {
        at_most("bytes in a key", scan.prefix.len().max(scan.after.len()), KEY_BYTES_MAX)?;
        at_most("rows of a scan", scan.limit as usize, SCAN_ROWS_MAX as usize)?;
        if scan.limit == 0 {
            return Err("a scan of no rows".to_owned());
        }
    }
    Ok(())
}

fn scope(scope: &str) -> Result<(), String> {
    if scope.is_empty() {
        return Err("an empty scope".to_owned());
    }
    at_most("bytes in a scope", scope.len(), SCOPE_BYTES_MAX)
}

fn key(key: &[u8]) -> Result<(), String> {
    at_most("bytes in a key", key.len(), KEY_BYTES_MAX)
}

fn at_most(what: &str, count: usize, max: usize) -> Result<(), String> {
    if count > max {
        return Err(format!("{what}: {count}, and at most {max} are allowed"));
    }
    Ok(())
}
