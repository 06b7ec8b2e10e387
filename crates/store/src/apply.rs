//! `apply`: what a log entry does to the state of a group. It is total (no entry can make it fail,
//! short of a broken disk) and deterministic (the entry and the state decide, nothing else).

use std::{collections::BTreeMap, io, ops::ControlFlow};

use bytes::Bytes;
use prost::Message;

use crate::{
    Batch, Kv, keys,
    proto::{
        self, StoredRow, check::Expect, entry::Command, outcome::Result as Answer, write::Action,
    },
    read::{corrupt, counter, group_state, live_row, stored_row},
};

/// How long a committed id is remembered, in milliseconds of the group clock.
pub const ID_MEMORY_MS: i64 = 120_000;

/// How far a decision may be ahead of the group clock, in milliseconds: a new leader's clock may be
/// behind that of the one that answered the read.
pub const DECIDED_AHEAD_MS_MAX: i64 = 60_000;

const MINUTE_MS: i64 = 60_000;

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
    forget_old_ids(&mut state, batch);
    let answer = match &entry.command {
        Some(Command::Commit(commit)) => apply_commit(kv, commit, &mut state, batch)?,
        Some(Command::Sweep(sweep)) => {
            apply_sweep(kv, sweep, &state, batch)?;
            Answer::Committed(proto::Committed { seq: state.seq })
        }
        // an entry of a later version: every replica of this version does nothing
        None => Answer::Stale(proto::Stale {}),
    };
    batch.put(keys::GROUP_STATE, &state.encode_to_vec());
    Ok(proto::Outcome { result: Some(answer) })
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
    {
        return Ok(Answer::Stale(proto::Stale {}));
    }
    let id_key = keys::committed_id(commit.decided_ms.div_euclid(MINUTE_MS), &commit.id);
    if let Some(known) = kv.get(&id_key)? {
        let known = proto::CommittedId::decode(&known[..]).map_err(corrupt)?;
        return Ok(Answer::Committed(proto::Committed { seq: known.seq }));
    }
    if !scope_exists_or_is_created(kv, commit, now_ms)? {
        return Ok(Answer::ScopeGone(proto::ScopeGone {}));
    }
    if let Some(conflict) = failed_checks(kv, commit, state)? {
        return Ok(Answer::Conflict(conflict));
    }

    let mut writes = Writes { kv, scope: &commit.scope, now_ms, pending: BTreeMap::new() };
    let seq = state.seq + 1;
    // bounds first: nothing may reach the batch before it is certain that all of it will
    for write in &commit.writes {
        if let Some(out_of_bounds) = writes.add(write, seq)? {
            return Ok(Answer::OutOfBounds(out_of_bounds));
        }
    }
    writes.flush(batch)?;
    state.seq = seq;
    batch.put(&id_key, &proto::CommittedId { seq }.encode_to_vec());
    Ok(Answer::Committed(proto::Committed { seq }))
}

/// A commit acts on a scope that has a root, or makes the root itself.
fn scope_exists_or_is_created(
    kv: &dyn Kv,
    commit: &proto::Commit,
    now_ms: i64,
) -> io::Result<bool> {
    let creates = commit
        .writes
        .iter()
        .any(|write| write.key == keys::ROOT && matches!(write.action, Some(Action::Put(_))));
    Ok(creates || live_row(kv, &commit.scope, keys::ROOT, now_ms)?.is_some())
}

fn failed_checks(
    kv: &dyn Kv,
    commit: &proto::Commit,
    state: &proto::GroupState,
) -> io::Result<Option<proto::Conflict>> {
    let now_ms = state.clock_ms;
    let mut rows = Vec::new();
    for check in &commit.checks {
        let row = live_row(kv, &commit.scope, &check.key, now_ms)?;
        let version = row.as_ref().map_or(0, |row| row.version);
        let holds = match check.expect {
            Some(Expect::AtVersion(expected)) => version == expected,
            Some(Expect::Exists(_)) => version != 0,
            Some(Expect::Absent(_)) => version == 0,
            None => true,
        };
        if !holds {
            let value = row.map(|row| row.value);
            rows.push(proto::Row { key: check.key.clone(), version, value });
        }
    }
    let epoch = live_row(kv, &commit.scope, keys::EPOCH, now_ms)?;
    let epoch = epoch.and_then(|row| counter(&row.value)).unwrap_or(0).unsigned_abs();
    let epoch_changed = commit.epoch.is_some_and(|expected| expected != epoch);
    if rows.is_empty() && !epoch_changed {
        return Ok(None);
    }
    Ok(Some(proto::Conflict { now_ms, seq: state.seq, epoch, rows, epoch_changed }))
}

/// The writes of one commit, as the later ones of them see the earlier ones.
struct Writes<'a> {
    kv: &'a dyn Kv,
    scope: &'a str,
    now_ms: i64,
    pending: BTreeMap<Bytes, Pending>,
}

enum Pending {
    Put(StoredRow),
    Delete,
    DeletePrefix,
}

impl Writes<'_> {
    fn add(&mut self, write: &proto::Write, seq: u64) -> io::Result<Option<proto::OutOfBounds>> {
        let pending = match &write.action {
            Some(Action::Put(put)) => Pending::Put(StoredRow {
                version: seq,
                expires_at_ms: put.expires_at_ms.unwrap_or(0),
                value: put.value.clone(),
            }),
            Some(Action::Add(add)) => match self.sum(&write.key, add)? {
                Ok(sum) => Pending::Put(StoredRow {
                    version: seq,
                    expires_at_ms: add.expires_at_ms.unwrap_or(0),
                    value: Bytes::copy_from_slice(&sum.to_be_bytes()),
                }),
                Err(value) => {
                    return Ok(Some(proto::OutOfBounds { key: write.key.clone(), value }));
                }
            },
            Some(Action::Delete(_)) => Pending::Delete,
            Some(Action::DeletePrefix(_)) => Pending::DeletePrefix,
            None => return Ok(None),
        };
        self.pending.insert(write.key.clone(), pending);
        Ok(None)
    }

    /// The counter after `add`, or its present value when the sum leaves the bounds.
    fn sum(&self, key: &Bytes, add: &proto::Add) -> io::Result<Result<i64, i64>> {
        let present = match self.pending.get(key) {
            Some(Pending::Put(row)) => counter(&row.value),
            Some(Pending::Delete | Pending::DeletePrefix) => Some(0),
            None => match live_row(self.kv, self.scope, key, self.now_ms)? {
                Some(row) => counter(&row.value),
                None => Some(0),
            },
        };
        let Some(present) = present else { return Ok(Err(0)) };
        let sum = present.checked_add(add.delta);
        let within = sum.filter(|sum| {
            add.min.is_none_or(|min| *sum >= min) && add.max.is_none_or(|max| *sum <= max)
        });
        Ok(within.ok_or(present))
    }

    /// Prefixes go first, so that a commit may clear what lives under a root and write it anew.
    fn flush(self, batch: &mut dyn Batch) -> io::Result<()> {
        for (key, pending) in &self.pending {
            if matches!(pending, Pending::DeletePrefix) {
                batch.delete_prefix(&keys::row(self.scope, key));
            }
        }
        for (key, pending) in &self.pending {
            if matches!(pending, Pending::DeletePrefix) {
                continue;
            }
            if let Some(old) =
                stored_row(self.kv, self.scope, key)?.filter(|row| row.expires_at_ms != 0)
            {
                batch.delete(&keys::expiry(old.expires_at_ms, self.scope, key));
            }
            let physical = keys::row(self.scope, key);
            match pending {
                Pending::Put(row) => {
                    batch.put(&physical, &row.encode_to_vec());
                    if row.expires_at_ms != 0 {
                        batch.put(&keys::expiry(row.expires_at_ms, self.scope, key), &[]);
                    }
                }
                Pending::Delete | Pending::DeletePrefix => batch.delete(&physical),
            }
        }
        Ok(())
    }
}

fn apply_sweep(
    kv: &dyn Kv,
    sweep: &proto::Sweep,
    state: &proto::GroupState,
    batch: &mut dyn Batch,
) -> io::Result<()> {
    for swept in &sweep.rows {
        if swept.expires_at_ms == 0 || swept.expires_at_ms > state.clock_ms {
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
        batch.delete_range(&keys::committed_id(0, &[]), &keys::committed_id(keep_from, &[]));
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
        _ => ControlFlow::Break(()),
    })?;
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::read::is_live;

    #[test]
    fn an_expired_row_is_not_live_at_its_expiry() {
        let row = StoredRow { version: 1, expires_at_ms: 10, value: Bytes::new() };
        assert!(is_live(&row, 9));
        assert!(!is_live(&row, 10));
    }
}
