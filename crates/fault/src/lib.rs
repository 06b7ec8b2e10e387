//! Places at which a test makes the process crash, wait or fail, and bugs that it must notice.
//!
//! Without the feature `on` everything here is empty and inlined: a build that holds data has neither.
//! With it, four variables of the environment say what happens:
//!
//! - `CONCLAVE_FAILPOINTS`: `NAME=ACTION[@WHEN]`, several separated by `;`. ACTION is `abort` (the process ends
//!   as by `kill -9`, before anything else runs), `sleep:MILLISECONDS` (of this thread), or `error` (an I/O
//!   error, at points that can tell one). WHEN is `3`, the third time only, or `3+`, from the third time on;
//!   the default is `1+`. Example: `raft.before_append_sync=abort@40;apply.before_batch=sleep:5`.
//! - `CONCLAVE_SEEDED_BUG`: the name of one bug of [`BUGS`].
//! - `CONCLAVE_FEATURE_LEVEL`: the highest feature level that the process knows, instead of that of its version.
//! - `CONCLAVE_TIMES`: `NAME=MILLISECONDS`, several separated by `;`: what takes minutes takes that long instead.
//!
//! A name that is not in the tables is refused when the process starts, see [`active`]: a test whose fault
//! never happens shows nothing.

use std::io;

#[cfg(feature = "on")]
mod on;

/// Every point, with what a crash there comes between.
pub const POINTS: &[(&str, &str)] = &[
    ("append.before_accept", "entries of a leader have arrived, and are not taken yet"),
    ("raft.before_append_sync", "entries are written to the log, and not synced"),
    ("raft.after_append_before_callback", "entries are synced, and nobody has been told"),
    ("vote.before_sync", "a vote is written, and not synced"),
    ("vote.after_sync", "a vote is synced, and not given yet"),
    ("log.before_truncate", "the mark is lowered, and the entries above it are still there"),
    ("purge.before_batch", "entries are about to be purged"),
    ("purge.after_batch", "the purge mark is written and the entries are deleted, unsynced"),
    ("apply.before_batch", "an entry is decided, and its batch not written"),
    ("apply.after_batch", "an entry is applied, and its proposer has no answer"),
    ("membership.before_batch", "a membership is committed, and not applied"),
    ("snapshot.after_checkpoint_before_meta", "a copy of the state is made, without its meta data"),
    ("snapshot.after_temp_before_rename", "a snapshot is whole and synced under a temporary name"),
    ("snapshot.after_rename", "a snapshot has its name, and the directory is not synced"),
    ("install.after_receive", "a snapshot has arrived, and the state is the old one"),
    ("install.after_rename_before_active", "the new state stands beside the old one, which counts"),
    ("install.after_active", "the new state counts, and no snapshot holds it yet"),
    ("group.after_open", "a group's log and state are open, and it does not run yet"),
    ("stop.before_flush", "the groups are stopped, and the states not flushed"),
    ("shard.after_commit_before_reply", "a commit is applied, and the gateway has no answer"),
    (
        "create.after_directory",
        "the directory has a new pool, client or domain, and the pool does not know of it",
    ),
    (
        "delete.after_pool",
        "a pool, client or domain is deleted in its pool, and the directory still has it",
    ),
    ("import.after_directory", "an imported pool has its place in the directory, and no rows"),
    ("import.rows", "some rows of an imported pool are written, and it has no root"),
    ("import.before_root", "an imported pool is complete in every way, and has no root"),
    ("import.after_root", "an imported pool is there, and its place says that it is on its way"),
    (
        "keys.after_pool_before_order",
        "a rotation or revocation stands in the pool, and nobody has been told to hurry",
    ),
    (
        "gateway.after_commit_before_reply",
        "the gateway knows of the commit, and the client does not",
    ),
];

/// Every bug, with what it does.
pub const BUGS: &[(&str, &str)] = &[
    ("ack-before-sync", "an append is reported as done before its sync"),
    ("unsynced-vote", "a vote is given without a sync"),
    ("applied-apart", "the applied index is written in a batch of its own"),
    ("follower-read", "a replica answers reads from its state without asking the leader"),
    ("wall-clock-lease", "a leader takes its last quorum for good for a second of the wall clock"),
    ("ack-before-quorum", "a commit is acknowledged although no quorum has answered"),
    ("purge-before-mark", "entries are deleted in a batch before the purge mark"),
    ("clock-in-apply", "apply reads the clock of its machine"),
    ("read-then-write", "a decision is committed without the versions of what it has read"),
    ("attempts-in-the-gateway", "failed sign-ins are counted by each gateway for itself"),
    ("retiring-key-dropped", "a key leaves jwks.json when its successor begins to sign"),
    ("ids-ignored", "a commit whose id is known is applied again"),
    ("snapshot-renamed-before-sync", "a snapshot gets its name before its files are synced"),
    ("any-incarnation", "a node that has lost its data is let in again"),
];

/// Every time that can be made shorter.
pub const TIMES: &[(&str, &str)] = &[
    ("make.within", "how long after its row in the directory a pool, client or domain may be made"),
    ("reconcile.every", "from one look of the reconciler to the next"),
];

/// A time of [`TIMES`] in milliseconds, where a test has set it; `otherwise` in every other build.
#[inline(always)]
pub fn time_ms(name: &'static str, otherwise: u32) -> u32 {
    #[cfg(feature = "on")]
    if let Some(ms) = on::time_ms(name) {
        return ms;
    }
    let _ = name;
    otherwise
}

/// The feature level that this process is to know; `otherwise` in every other build, and where a test has not set it.
#[inline(always)]
pub fn feature_level(otherwise: u32) -> u32 {
    #[cfg(feature = "on")]
    if let Some(level) = on::feature_level() {
        return level;
    }
    otherwise
}

/// Passes a point that cannot fail.
#[inline(always)]
pub fn point(name: &'static str) {
    #[cfg(feature = "on")]
    on::pass(name);
    let _ = name;
}

/// Passes a point that can fail.
///
/// # Errors
/// Only the one that `error` asks for.
#[inline(always)]
pub fn io(name: &'static str) -> io::Result<()> {
    #[cfg(feature = "on")]
    if on::pass(name) {
        return Err(io::Error::other(format!("the fault point {name} fails")));
    }
    let _ = name;
    Ok(())
}

/// Whether this process has a bug on purpose.
#[inline(always)]
pub fn bug(name: &'static str) -> bool {
    #[cfg(feature = "on")]
    return on::has_bug(name);
    #[cfg(not(feature = "on"))]
    {
        let _ = name;
        false
    }
}

/// What this process was told to do wrong, in words; `None` in a build without faults.
///
/// # Errors
/// A variable that cannot be read, or names nothing.
pub fn active() -> Result<Option<String>, String> {
    #[cfg(feature = "on")]
    return on::active().map(Some);
    #[cfg(not(feature = "on"))]
    Ok(None)
}
