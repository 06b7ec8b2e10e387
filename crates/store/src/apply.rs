//! `apply`: what a log entry does to the state of a group. It is total (no entry can make it fail,
//! short of a broken disk) and deterministic (the entry and the state decide, nothing else).

use std::{collections::BTreeMap, io, ops::ControlFlow};

use bytes::Bytes;
use conclave_fault as fault;
use prost::Message;

use crate::{
    Batch, Kv, keys,
    levels::FIRST,
    limits::READ_BYTES_MAX,
    proto::{
        self, StoredRow, check::Expect, entry::Command, outcome::Result as Answer, write::Action,
    },
    read::{corrupt, counter, group_state, is_live, live_row, stored_row},
};

/// How long a committed id is remembered, in milliseconds of the group clock.
pub const ID_MEMORY_MS: i64 = 120_000;

/// How far a decision may be ahead of the group clock, in milliseconds: a new leader's clock may be
/// behind that of the one that answered the read.
pub const DECIDED_AHEAD_MS_MAX: i64 = 60_000;

const MINUTE_MS: i64 = 60_000;

/// What the id of a refused commit is remembered with; a commit has a `seq` of 1 or more.
const REFUSED: u64 = 0;

/// Applies `entry` to the state `kv`; what changes goes to `batch`, which the caller writes at once.
///
/// # Errors
/// What the disk says, or that a stored row cannot be decoded: the replica must stop.
pub fn apply(
    kv: &dyn Kv,
    entry: &proto::Entry,
    batch: &mut dyn Batch,
) -> io::Result<proto::Outcome> {
    let mut state = group_state(kv)?;
    state.clock_ms = state.clock_ms.max(entry.stamp_ms);
    if fault::bug("clock-in-apply") {
        state.clock_ms = state.clock_ms.max(entry.stamp_ms + nanos_of_this_machine());
    }
    forget_old_ids(&mut state, batch);
    let may_be_here = entry.level <= state.level.max(FIRST);
    let answer = match &entry.command {
        Some(Command::Raise(raise)) => {
            if raise.level > state.level.max(FIRST) {
                state.level = raise.level;
            }
            Answer::Committed(proto::Committed { seq: state.seq })
        }
        // nobody proposes it before the group has its level
        Some(_) if !may_be_here => Answer::Stale(proto::Stale {}),
        Some(Command::Commit(commit)) => apply_commit(kv, commit, &mut state, batch)?,
        Some(Command::Sweep(sweep)) => {
            apply_sweep(kv, sweep, &state, batch)?;
            Answer::Committed(proto::Committed { seq: state.seq })
        }
        // of a later version, which has said its level: who applies has looked, see `levels`
        None => Answer::Stale(proto::Stale {}),
    };
    batch.put(keys::GROUP_STATE, &state.encode_to_vec());
    Ok(proto::Outcome { result: Some(answer) })
}

/// For a bug on purpose: a number that is another on every machine.
#[cold]
#[expect(clippy::disallowed_methods, reason = "that is the bug")]
fn nanos_of_this_machine() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| i64::from(since.subsec_nanos() % 1_000))
}

fn apply_commit(
    kv: &dyn Kv,
    commit: &proto::Commit,
    state: &mut proto::GroupState,
    batch: &mut dyn Batch,
) -> io::Result<Answer> {
    let now_ms = state.clock_ms;
    if commit.decided_ms <= now_ms.saturating_sub(ID_MEMORY_MS)
        || commit.decided_ms > now_ms.saturating_add(DECIDED_AHEAD_MS_MAX)
        || !is_understood(commit)
    {
        return Ok(Answer::Stale(proto::Stale {}));
    }
    let id_key = keys::committed_id(commit.decided_ms.div_euclid(MINUTE_MS), &commit.id);
    let known = match kv.get(&id_key)? {
        Some(known) => Some(proto::CommittedId::decode(&known[..]).map_err(corrupt)?.seq),
        None => None,
    };
    if let Some(seq) = known.filter(|seq| *seq != REFUSED && !fault::bug("ids-ignored")) {
        return Ok(Answer::Committed(proto::Committed { seq }));
    }
    let Some(seq) = state.seq.checked_add(1) else {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "no version is left"));
    };
    match check_and_write(kv, commit, state, seq)? {
        // a refusal is final: whoever was told of it has moved on, and a copy of the request that
        // comes late must not take effect behind their back
        Ok(_) if known.is_some() => Ok(Answer::Conflict(conflict(kv, commit, state)?)),
        Ok(writes) => {
            writes.flush(batch)?;
            state.seq = seq;
            batch.put(&id_key, &proto::CommittedId { seq }.encode_to_vec());
            Ok(Answer::Committed(proto::Committed { seq }))
        }
        Err(refusal) => {
            batch.put(&id_key, &proto::CommittedId { seq: REFUSED }.encode_to_vec());
            Ok(refusal)
        }
    }
}

/// A commit of a later version may hold what this one cannot read: it does nothing then, rather than
/// a part. A scope whose length does not fit in a key never exists.
fn is_understood(commit: &proto::Commit) -> bool {
    commit.checks.iter().all(|check| check.expect.is_some())
        && commit.writes.iter().all(|write| write.action.is_some())
        && keys::fits_in_key(&commit.scope)
}

/// The writes of `commit` as of `seq`, or why they must not be made. Nothing reaches the batch before
/// it is certain that all of it will.
fn check_and_write<'a>(
    kv: &'a dyn Kv,
    commit: &'a proto::Commit,
    state: &proto::GroupState,
    seq: u64,
) -> io::Result<Result<Writes<'a>, Answer>> {
    if !scope_exists_or_is_created(kv, commit, state.clock_ms)? {
        return Ok(Err(Answer::ScopeGone(proto::ScopeGone {})));
    }
    let conflict = conflict(kv, commit, state)?;
    if conflict.epoch_changed || !conflict.rows.is_empty() {
        return Ok(Err(Answer::Conflict(conflict)));
    }
    let mut writes = Writes::new(kv, commit, state.clock_ms);
    for write in &commit.writes {
        if let Some(out_of_bounds) = writes.add(write, seq)? {
            return Ok(Err(Answer::OutOfBounds(out_of_bounds)));
        }
    }
    Ok(Ok(writes))
}

/// A commit acts on a scope that has a root, or makes the root itself. One that relies on the root
/// being there does not make it: it was decided for a scope that is gone.
fn scope_exists_or_is_created(
    kv: &dyn Kv,
    commit: &proto::Commit,
    now_ms: i64,
) -> io::Result<bool> {
    let creates = commit
        .writes
        .iter()
        .any(|write| write.key == keys::ROOT && matches!(write.action, Some(Action::Put(_))));
    let relies_on_root = commit.checks.iter().any(|check| {
        check.key == keys::ROOT
            && !matches!(check.expect, Some(Expect::Absent(_) | Expect::AtVersion(0)))
    });
    Ok((creates && !relies_on_root) || live_row(kv, &commit.scope, keys::ROOT, now_ms)?.is_some())
}

/// What of the commit's checks does not hold: nothing, when `rows` is empty and the epoch unchanged.
fn conflict(
    kv: &dyn Kv,
    commit: &proto::Commit,
    state: &proto::GroupState,
) -> io::Result<proto::Conflict> {
    let now_ms = state.clock_ms;
    let mut rows = Vec::new();
    let mut bytes = 0;
    for check in &commit.checks {
        let row = live_row(kv, &commit.scope, &check.key, now_ms)?;
        let version = row.as_ref().map_or(0, |row| row.version);
        let holds = match check.expect {
            Some(Expect::AtVersion(expected)) => version == expected,
            Some(Expect::Exists(_)) => version != 0,
            Some(Expect::Absent(_)) => version == 0,
            None => false,
        };
        // one row always fits, so that a decision that is made again gets further each time
        if !holds && (rows.is_empty() || bytes <= READ_BYTES_MAX) {
            let value = row.map(|row| row.value);
            bytes += check.key.len() + value.as_ref().map_or(0, Bytes::len);
            rows.push(proto::Row { key: check.key.clone(), version, value });
        }
    }
    let epoch = live_row(kv, &commit.scope, keys::EPOCH, now_ms)?;
    let epoch = epoch.and_then(|row| counter(&row.value)).unwrap_or(0).unsigned_abs();
    let epoch_changed = commit.epoch.is_some_and(|expected| expected != epoch);
    Ok(proto::Conflict { now_ms, seq: state.seq, epoch, rows, epoch_changed })
}

/// The writes of one commit, as the later ones of them see the earlier ones. Prefixes go first,
/// wherever they stand, so that a commit may clear what lives under a root and write it anew.
struct Writes<'a> {
    kv: &'a dyn Kv,
    scope: &'a str,
    now_ms: i64,
    prefixes: Vec<&'a Bytes>,
    /// `None` deletes.
    pending: BTreeMap<&'a Bytes, Option<StoredRow>>,
}

impl<'a> Writes<'a> {
    fn new(kv: &'a dyn Kv, commit: &'a proto::Commit, now_ms: i64) -> Self {
        let prefixes = commit
            .writes
            .iter()
            .filter(|write| matches!(write.action, Some(Action::DeletePrefix(_))))
            .map(|write| &write.key)
            .collect();
        Self { kv, scope: &commit.scope, now_ms, prefixes, pending: BTreeMap::new() }
    }

    fn add(&mut self, write: &'a proto::Write, seq: u64) -> io::Result<Option<proto::OutOfBounds>> {
        let pending = match &write.action {
            Some(Action::Put(put)) => Some(StoredRow {
                version: seq,
                expires_at_ms: stored_expiry(put.expires_at_ms),
                value: put.value.clone(),
            }),
            Some(Action::Add(add)) => match self.sum(&write.key, add)? {
                Ok(sum) => Some(StoredRow {
                    version: seq,
                    expires_at_ms: stored_expiry(add.expires_at_ms),
                    value: Bytes::copy_from_slice(&sum.to_be_bytes()),
                }),
                Err(value) => {
                    return Ok(Some(proto::OutOfBounds { key: write.key.clone(), value }));
                }
            },
            Some(Action::Delete(_)) => None,
            Some(Action::DeletePrefix(_)) | None => return Ok(None),
        };
        self.pending.insert(&write.key, pending);
        Ok(None)
    }

    /// The counter after `add`, or its present value when the sum leaves the bounds.
    fn sum(&self, key: &Bytes, add: &proto::Add) -> io::Result<Result<i64, i64>> {
        let row = match self.pending.get(key) {
            Some(pending) => pending.clone().filter(|row| is_live(row, self.now_ms)),
            None if self.prefixes.iter().any(|prefix| key.starts_with(prefix)) => None,
            None => live_row(self.kv, self.scope, key, self.now_ms)?,
        };
        let Some(present) = row.map_or(Some(0), |row| counter(&row.value)) else {
            return Ok(Err(0));
        };
        let sum = present.checked_add(add.delta);
        let within = sum.filter(|sum| {
            add.min.is_none_or(|min| *sum >= min) && add.max.is_none_or(|max| *sum <= max)
        });
        Ok(within.ok_or(present))
    }

    fn flush(self, batch: &mut dyn Batch) -> io::Result<()> {
        // the expiries of what goes with a prefix stay behind; the sweeper removes each in its time
        for prefix in &self.prefixes {
            batch.delete_prefix(&keys::row(self.scope, prefix));
        }
        for (key, pending) in &self.pending {
            if let Some(old) =
                stored_row(self.kv, self.scope, key)?.filter(|row| row.expires_at_ms != 0)
            {
                batch.delete(&keys::expiry(old.expires_at_ms, self.scope, key));
            }
            let physical = keys::row(self.scope, key);
            match pending {
                Some(row) => {
                    batch.put(&physical, &row.encode_to_vec());
                    if row.expires_at_ms != 0 {
                        batch.put(&keys::expiry(row.expires_at_ms, self.scope, key), &[]);
                    }
                }
                None => batch.delete(&physical),
            }
        }
        Ok(())
    }
}

/// An expiry as rows hold it, where 0 means never: a time before 1970 has passed as well.
fn stored_expiry(expires_at_ms: Option<i64>) -> i64 {
    expires_at_ms.map_or(0, |expires_at_ms| expires_at_ms.max(1))
}

fn apply_sweep(
    kv: &dyn Kv,
    sweep: &proto::Sweep,
    state: &proto::GroupState,
    batch: &mut dyn Batch,
) -> io::Result<()> {
    for swept in &sweep.rows {
        let has_expired = (1..=state.clock_ms).contains(&swept.expires_at_ms);
        if !has_expired || !keys::fits_in_key(&swept.scope) {
            continue;
        }
        let row = stored_row(kv, &swept.scope, &swept.key)?;
        if row.is_some_and(|row| row.expires_at_ms == swept.expires_at_ms) {
            batch.delete(&keys::row(&swept.scope, &swept.key));
        }
        batch.delete(&keys::expiry(swept.expires_at_ms, &swept.scope, &swept.key));
    }
    Ok(())
}

/// Drops the ids of minutes whose commits would be stale by now.
fn forget_old_ids(state: &mut proto::GroupState, batch: &mut dyn Batch) {
    let keep_from = (state.clock_ms.saturating_sub(ID_MEMORY_MS)).div_euclid(MINUTE_MS);
    if keep_from > state.ids_from_minute {
        let forgotten = keys::committed_id(state.ids_from_minute, &[]);
        batch.delete_range(&forgotten, &keys::committed_id(keep_from, &[]));
        state.ids_from_minute = keep_from;
    }
}

/// The first rows that have expired at `now_ms`, for a leader to sweep.
///
/// # Errors
/// What the disk says.
pub fn find_expired(kv: &dyn Kv, now_ms: i64, limit: usize) -> io::Result<Vec<proto::SweptRow>> {
    let mut found = Vec::new();
    kv.scan(keys::EXPIRY, None, limit, &mut |key, _| match keys::parse_expiry(key) {
        Some(row) if row.expires_at_ms <= now_ms => {
            found.push(row);
            ControlFlow::Continue(())
        }
        Some(_) => ControlFlow::Break(()),
        // what cannot be read must not keep the rest from being swept
        None => ControlFlow::Continue(()),
    })?;
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_expired_row_is_not_live_at_its_expiry() {
        let row = StoredRow { version: 1, expires_at_ms: 10, value: Bytes::new() };
        assert!(is_live(&row, 9));
        assert!(!is_live(&row, 10));
    }
}
