//! What a group means, said as simply as possible: every scope a map, every commit worked out on a
//! copy of it. Shares no code with `apply`.

use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;
use conclave_store::proto::{
    self, check::Expect, entry::Command, outcome::Result as Answer, write::Action,
};

const ROOT: &[u8] = &[0x01];
const EPOCH: &[u8] = &[0x02];

#[derive(Clone, Debug, PartialEq)]
pub struct Cell {
    pub version: u64,
    pub expires_at_ms: Option<i64>,
    pub value: Bytes,
}

type Scope = BTreeMap<Bytes, Cell>;

#[derive(Clone, Default)]
pub struct Model {
    pub clock_ms: i64,
    pub seq: u64,
    /// Expired rows stay until they are overwritten or swept.
    pub scopes: BTreeMap<String, Scope>,
    /// Every id that was ever answered: with the seq it committed at, or as refused.
    answered: HashMap<Bytes, Option<u64>>,
}

impl Model {
    pub fn apply(&mut self, entry: &proto::Entry) -> Answer {
        self.clock_ms = self.clock_ms.max(entry.stamp_ms);
        match &entry.command {
            Some(Command::Commit(commit)) => self.commit(commit),
            Some(Command::Sweep(sweep)) => {
                for row in &sweep.rows {
                    self.sweep(row);
                }
                Answer::Committed(proto::Committed { seq: self.seq })
            }
            Some(Command::Raise(_)) => Answer::Committed(proto::Committed { seq: self.seq }),
            None => Answer::Stale(proto::Stale {}),
        }
    }

    fn commit(&mut self, commit: &proto::Commit) -> Answer {
        let age_ms = self.clock_ms - commit.decided_ms;
        if !(-60_000..120_000).contains(&age_ms) {
            return Answer::Stale(proto::Stale {});
        }
        let known = self.answered.get(&commit.id).copied();
        if let Some(Some(seq)) = known {
            return Answer::Committed(proto::Committed { seq });
        }
        let answer = match self.attempt(commit) {
            Ok(_) if known.is_some() => Answer::Conflict(self.conflict(commit)),
            Ok(scope) => {
                self.seq += 1;
                self.scopes.insert(commit.scope.clone(), scope);
                Answer::Committed(proto::Committed { seq: self.seq })
            }
            Err(refusal) => refusal,
        };
        let seq = match &answer {
            Answer::Committed(committed) => Some(committed.seq),
            _ => None,
        };
        self.answered.insert(commit.id.clone(), seq);
        answer
    }

    /// The scope as the commit leaves it.
    fn attempt(&self, commit: &proto::Commit) -> Result<Scope, Answer> {
        let puts_root = commit
            .writes
            .iter()
            .any(|write| &write.key[..] == ROOT && matches!(write.action, Some(Action::Put(_))));
        let expects_root = commit.checks.iter().any(|check| {
            &check.key[..] == ROOT
                && match check.expect {
                    Some(Expect::Exists(_)) => true,
                    Some(Expect::AtVersion(version)) => version > 0,
                    _ => false,
                }
        });
        if self.live(&commit.scope, ROOT).is_none() && (!puts_root || expects_root) {
            return Err(Answer::ScopeGone(proto::ScopeGone {}));
        }
        let conflict = self.conflict(commit);
        if conflict.epoch_changed || !conflict.rows.is_empty() {
            return Err(Answer::Conflict(conflict));
        }
        let mut scope = self.scopes.get(&commit.scope).cloned().unwrap_or_default();
        for write in &commit.writes {
            if let Some(Action::DeletePrefix(_)) = write.action {
                scope.retain(|key, _| !key.starts_with(&write.key));
            }
        }
        let version = self.seq + 1;
        for write in &commit.writes {
            let key = write.key.clone();
            match write.action.as_ref().expect("only known writes are made here") {
                Action::Put(put) => {
                    let expires_at_ms = put.expires_at_ms;
                    scope.insert(key, Cell { version, expires_at_ms, value: put.value.clone() });
                }
                Action::Delete(_) => {
                    scope.remove(&key);
                }
                Action::DeletePrefix(_) => {}
                Action::Add(add) => {
                    let present = match scope.get(&key).filter(|cell| self.lives(cell)) {
                        None => Some(0),
                        Some(cell) => {
                            <[u8; 8]>::try_from(&cell.value[..]).ok().map(i64::from_be_bytes)
                        }
                    };
                    let Some(present) = present else {
                        return Err(Answer::OutOfBounds(proto::OutOfBounds { key, value: 0 }));
                    };
                    let sum = i128::from(present) + i128::from(add.delta);
                    let lowest = i128::from(add.min.unwrap_or(i64::MIN));
                    let highest = i128::from(add.max.unwrap_or(i64::MAX));
                    if sum < lowest || sum > highest {
                        return Err(Answer::OutOfBounds(proto::OutOfBounds {
                            key,
                            value: present,
                        }));
                    }
                    let value = Bytes::copy_from_slice(&(sum as i64).to_be_bytes());
                    let expires_at_ms = add.expires_at_ms;
                    scope.insert(key, Cell { version, expires_at_ms, value });
                }
            }
        }
        Ok(scope)
    }

    fn conflict(&self, commit: &proto::Commit) -> proto::Conflict {
        let failed = |check: &proto::Check| {
            let cell = self.live(&commit.scope, &check.key);
            match check.expect.expect("only known checks are made here") {
                Expect::AtVersion(0) | Expect::Absent(_) => cell.is_some(),
                Expect::AtVersion(version) => cell.is_none_or(|cell| cell.version != version),
                Expect::Exists(_) => cell.is_none(),
            }
        };
        let rows = commit
            .checks
            .iter()
            .filter(|check| failed(check))
            .map(|check| self.row(&commit.scope, &check.key, self.clock_ms))
            .collect();
        let epoch = self.epoch(&commit.scope, self.clock_ms);
        proto::Conflict {
            now_ms: self.clock_ms,
            seq: self.seq,
            epoch,
            rows,
            epoch_changed: commit.epoch.is_some_and(|expected| expected != epoch),
        }
    }

    fn sweep(&mut self, row: &proto::SweptRow) {
        if row.expires_at_ms < 1 || row.expires_at_ms > self.clock_ms {
            return;
        }
        if let Some(scope) = self.scopes.get_mut(&row.scope)
            && let Some(cell) = scope.get(&row.key)
            && cell.expires_at_ms.is_some_and(|at| at.max(1) == row.expires_at_ms)
        {
            scope.remove(&row.key);
        }
    }

    fn lives(&self, cell: &Cell) -> bool {
        cell.expires_at_ms.is_none_or(|at| at > self.clock_ms)
    }

    fn live(&self, scope: &str, key: &[u8]) -> Option<&Cell> {
        self.live_at(scope, key, self.clock_ms)
    }

    fn live_at(&self, scope: &str, key: &[u8], now_ms: i64) -> Option<&Cell> {
        let cell = self.scopes.get(scope)?.get(key)?;
        cell.expires_at_ms.is_none_or(|at| at > now_ms).then_some(cell)
    }

    fn epoch(&self, scope: &str, now_ms: i64) -> u64 {
        let value = self.live_at(scope, EPOCH, now_ms).map(|cell| &cell.value[..]);
        let value = value.and_then(|value| <[u8; 8]>::try_from(value).ok());
        value.map_or(0, |value| i64::from_be_bytes(value).unsigned_abs())
    }

    fn row(&self, scope: &str, key: &Bytes, now_ms: i64) -> proto::Row {
        let cell = self.live_at(scope, key, now_ms);
        proto::Row {
            key: key.clone(),
            version: cell.map_or(0, |cell| cell.version),
            value: cell.map(|cell| cell.value.clone()),
        }
    }

    /// What a read answers, as long as its rows fit in one answer.
    pub fn read(&self, read: &proto::Read, wall_ms: i64) -> proto::ReadResult {
        let now_ms = self.clock_ms.max(wall_ms);
        let row = |key: &Bytes| self.row(&read.scope, key, now_ms);
        let scan = |prefix: &[u8], after: &[u8], limit: u32| -> (Vec<proto::Row>, bool) {
            let keys = self.scopes.get(&read.scope).into_iter().flat_map(BTreeMap::keys);
            let mut keys = keys
                .filter(|key| key.starts_with(prefix) && (after.is_empty() || &key[..] > after));
            let rows = keys.by_ref().take(limit as usize).map(row).collect();
            (rows, keys.next().is_some())
        };
        let mut rows: Vec<_> = read.gets.iter().map(row).collect();
        for follow in &read.follows {
            let index = row(&follow.index);
            let id = index.value.clone();
            rows.push(index);
            for hop in follow.hops.iter().filter(|_| id.is_some()) {
                let key = [&hop.before[..], id.as_deref().unwrap_or_default(), &hop.after].concat();
                match hop.prefix_limit {
                    0 => rows.push(row(&key.into())),
                    limit => rows.extend(scan(&key, &[], limit).0),
                }
            }
        }
        let mut scan_ends = Vec::new();
        for wanted in &read.scans {
            let (found, more) = scan(&wanted.prefix, &wanted.after, wanted.limit);
            scan_ends.push(proto::ScanEnd { count: found.len() as u32, more });
            rows.extend(found);
        }
        proto::ReadResult {
            now_ms,
            seq: self.seq,
            epoch: self.epoch(&read.scope, now_ms),
            scope_exists: self.live_at(&read.scope, ROOT, now_ms).is_some(),
            rows,
            scan_ends,
        }
    }
}
