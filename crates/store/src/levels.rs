//! Feature levels: which kinds of entries the log of a group may hold.
//!
//! While a cluster is upgraded, replicas of two versions apply one log. None of them may be given what it does not know: it
//! would apply something else, and the states would differ for ever. So each version knows the levels up to [`KNOWN`] and
//! tells its peers; the leader of a group raises the level of the group ([`proto::Raise`]) when all members know more; and an
//! entry that needs a level is proposed only in a group that has it. What a group has stays: a version that knows less
//! does not serve the group any more.
//!
//! To bring a new kind of write, or a field that changes what one does: a line in [`LEVELS`], and its number in [`needed_by`],
//! which does not compile without it.
//! Gateways use it where all groups have the level.

use std::io;

use prost::Message;

use crate::{
    Kv, keys,
    proto::{self, check::Expect, entry::Command, write::Action},
    read::corrupt,
};

/// What every version knows, and what a group has that nobody has raised.
pub const FIRST: u32 = 1;

/// What each level brings, from [`FIRST`] on.
pub const LEVELS: &[&str] = &[
    "commits that put, delete, add and delete by prefix, on checks of versions, presence and absence; sweeps; raising the level",
];

/// The highest level that this version knows.
pub const KNOWN: u32 = LEVELS.len() as u32;

/// The level that an entry needs. Every message that can be in one is taken apart whole, so that a new field is not forgotten
/// here: a field that changes what an entry does needs a level, because versions without it would leave it out.
pub fn needed_by(command: &Command) -> u32 {
    match command {
        Command::Commit(commit) => of_commit(commit),
        Command::Sweep(proto::Sweep { rows }) => rows.iter().map(of_swept).max().unwrap_or(FIRST),
        // who does not know the level must not go on
        Command::Raise(proto::Raise { level, members: _ }) => (*level).max(FIRST),
    }
}

fn of_commit(commit: &proto::Commit) -> u32 {
    let proto::Commit { id: _, scope: _, decided_ms: _, epoch: _, checks, writes } = commit;
    let checks = checks.iter().map(of_check);
    checks.chain(writes.iter().map(of_write)).max().unwrap_or(FIRST)
}

fn of_check(check: &proto::Check) -> u32 {
    let proto::Check { key: _, expect } = check;
    match expect {
        Some(Expect::AtVersion(_) | Expect::Exists(_) | Expect::Absent(_)) | None => FIRST,
    }
}

fn of_write(write: &proto::Write) -> u32 {
    let proto::Write { key: _, action } = write;
    match action {
        Some(
            Action::Put(proto::Put { value: _, expires_at_ms: _ })
            | Action::Delete(proto::Delete {})
            | Action::DeletePrefix(proto::DeletePrefix {})
            | Action::Add(proto::Add { delta: _, min: _, max: _, expires_at_ms: _ }),
        )
        | None => FIRST,
    }
}

fn of_swept(row: &proto::SweptRow) -> u32 {
    let proto::SweptRow { scope: _, key: _, expires_at_ms: _ } = row;
    FIRST
}

/// An entry as it goes into the log: it says which level it needs, where that is not the first.
pub fn entry(stamp_ms: i64, command: Command) -> proto::Entry {
    let level = needed_by(&command);
    let level = if level > FIRST { level } else { 0 };
    proto::Entry { stamp_ms, command: Some(command), level }
}

/// The level of the group whose state `kv` is.
///
/// # Errors
/// What the disk says, or that the state cannot be decoded.
pub fn of_group(kv: &dyn Kv) -> io::Result<u32> {
    of_state(kv.get(keys::GROUP_STATE)?.as_deref())
}

/// The level of a group whose [`keys::GROUP_STATE`] has this value.
///
/// # Errors
/// It cannot be decoded.
pub fn of_state(value: Option<&[u8]>) -> io::Result<u32> {
    let state = proto::GroupState::decode(value.unwrap_or_default()).map_err(corrupt)?;
    Ok(state.level.max(FIRST))
}

/// The level that all members of a group know; `None` when nobody knows that of one of them, or there is none.
pub fn common(members: impl IntoIterator<Item = Option<u32>>) -> Option<u32> {
    let mut members = members.into_iter();
    let first = members.next()??;
    members.try_fold(first, |lowest, known| Some(lowest.min(known?)))
}

/// A level that this version does not know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "needs feature level {needed}, and this version of Conclave knows levels up to {known}: start the version that was \
     here before, or a later one; nothing has been changed"
)]
pub struct UnknownLevel {
    /// The level that is needed.
    pub needed: u32,
    /// What this version knows.
    pub known: u32,
}

/// Whether a version that knows the levels up to `known` may act on what needs `needed`.
///
/// # Errors
/// It may not.
pub fn check(needed: u32, known: u32) -> Result<(), UnknownLevel> {
    if needed > known { Err(UnknownLevel { needed, known }) } else { Ok(()) }
}
