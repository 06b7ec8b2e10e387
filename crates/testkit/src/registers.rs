//! Clients that read and write registers in transactions, in small sets of keys, and record what they
//! saw.

use std::sync::Arc;

use bytes::Bytes;
use conclave_store::{
    Store, StoreError, keys,
    proto::{self, check::Expect, outcome, write::Action},
};

use crate::{
    clock::ManualClock,
    dice::Dice,
    history::{Answer, Call, Check, Observed, Pending, Recorder},
    schedule::turn,
};

/// The scope that the registers are in.
pub const SCOPE: &str = "registers";

/// What the clients do.
#[derive(Debug, Clone, Copy)]
pub struct Workload {
    /// Operations of each client; a transaction that reads first counts once.
    pub operations: u32,
    /// Sets of registers; no operation names registers of two sets.
    pub sets: u64,
    /// Registers in each set.
    pub registers: u64,
    /// How often a commit of unknown fate is sent again before the client gives up.
    pub repeats_max: u32,
    /// How often in 1000 operations the clock jumps by minutes.
    pub clock_jumps: u32,
}

impl Default for Workload {
    fn default() -> Self {
        Self { operations: 30, sets: 2, registers: 3, repeats_max: 4, clock_jumps: 5 }
    }
}

/// Makes the scope of the registers, once, before the clients start.
///
/// # Errors
/// The store's.
pub async fn create_scope(store: &impl Store) -> Result<(), StoreError> {
    create_scope_named(store, SCOPE, Bytes::from_static(b"create registers")).await
}

/// The same for a scope of another name, with the id of the commit: 16 bytes.
pub(crate) async fn create_scope_named(
    store: &(impl Store + ?Sized),
    scope: &str,
    id: Bytes,
) -> Result<(), StoreError> {
    let decided_ms = store.read(read_in(scope, &[])).await?.now_ms;
    let root = Action::Put(proto::Put::default());
    let commit = proto::Commit {
        id,
        scope: scope.to_owned(),
        decided_ms,
        epoch: None,
        checks: Vec::new(),
        writes: vec![proto::Write { key: keys::ROOT.into(), action: Some(root) }],
    };
    store.commit(commit).await.map(|_| ())
}

/// One client. Never has two operations under way.
pub struct Client<'a, S> {
    /// Its number, different from those of the others.
    pub number: u32,
    /// What it talks to.
    pub store: &'a S,
    /// Moves while it works.
    pub clock: &'a ManualClock,
    /// Takes down what it sees.
    pub recorder: &'a Arc<Recorder>,
    /// What it does.
    pub workload: Workload,
    /// Its choices.
    pub dice: Dice,
}

impl<S: Store> Client<'_, S> {
    /// Does its work.
    pub async fn run(&self) {
        for number in 0..self.workload.operations {
            turn().await;
            let jump = self.dice.happens(self.workload.clock_jumps);
            let by_ms = if jump { self.dice.below(200_000) } else { self.dice.below(40) };
            self.clock.advance_ms(i64::try_from(by_ms).unwrap_or(0));
            let set = self.dice.below(self.workload.sets.max(1));
            let names: Vec<_> =
                (0..self.workload.registers).map(|register| format!("{set}.{register}")).collect();
            match self.dice.below(10) {
                0..3 => {
                    let names = self.some_of(&names);
                    self.read(names).await;
                }
                _ => self.transact(number, &names).await,
            }
        }
    }

    /// Reads all registers of a set, as a check of what has remained at the end.
    pub async fn read_all(&self) {
        for set in 0..self.workload.sets {
            let names = (0..self.workload.registers).map(|register| format!("{set}.{register}"));
            self.read(names.collect()).await;
        }
    }

    async fn read(&self, names: Vec<String>) -> Option<(i64, Vec<Observed>)> {
        let request = read_of(&names);
        let pending = self.recorder.invoke(self.number, Call::Read { keys: names });
        match self.store.read(request).await {
            Ok(result) => {
                let rows = observed(&result.rows);
                pending.answered(Answer::Rows { rows: rows.clone(), seq: Some(result.seq) });
                Some((result.now_ms, rows))
            }
            Err(_) => {
                pending.failed();
                None
            }
        }
    }

    async fn transact(&self, number: u32, names: &[String]) {
        let Some((decided_ms, rows)) = self.read(names.to_vec()).await else { return };
        let checks: Vec<_> = match self.dice.below(10) {
            // the writes rely on nothing
            0..2 => Vec::new(),
            // they rely on what is there
            2..4 => {
                let checks = rows.iter().filter(|_| self.dice.happens(500)).map(|row| {
                    let check = if row.value.is_some() { Check::Exists } else { Check::Absent };
                    (row.key.clone(), check)
                });
                checks.collect()
            }
            // they rely on all that was read
            _ => rows
                .iter()
                .map(|row| (row.key.clone(), Check::AtVersion(row.version.unwrap_or(0))))
                .collect(),
        };
        let writes = self.some_of(names).into_iter().map(|name| {
            let value = format!("{}-{number}", self.number);
            (name, Some(value).filter(|_| !self.dice.happens(200)))
        });
        let writes: Vec<_> = writes.collect();
        let commit = proto::Commit {
            id: Bytes::copy_from_slice(&self.dice.id()),
            scope: SCOPE.to_owned(),
            decided_ms,
            epoch: None,
            checks: checks.iter().map(|(name, check)| check_of(name, *check)).collect(),
            writes: writes.iter().map(|(name, value)| write_of(name, value.as_deref())).collect(),
        };
        let call = Call::Transaction { checks, writes };
        let pending = self.recorder.invoke(self.number, call);
        self.settle(commit, pending).await;
    }

    /// Sends a commit until its fate is known, always with the same id and bytes.
    async fn settle(&self, commit: proto::Commit, pending: Pending) {
        let mut may_have_happened = false;
        for _ in 0..=self.workload.repeats_max {
            let outcome = match self.store.commit(commit.clone()).await {
                Ok(outcome) => outcome.result,
                Err(StoreError::Unknown { .. }) => {
                    may_have_happened = true;
                    turn().await;
                    continue;
                }
                // this copy has done nothing; an earlier one may have
                Err(_) if may_have_happened => return pending.unknown(),
                Err(_) => return pending.failed(),
            };
            return match outcome {
                Some(outcome::Result::Committed(committed)) => {
                    pending.answered(Answer::Committed { seq: Some(committed.seq) });
                }
                Some(outcome::Result::Conflict(conflict)) => {
                    let rows = observed(&conflict.rows);
                    pending.answered(Answer::Conflict { rows, seq: Some(conflict.seq) });
                }
                _ if may_have_happened => pending.unknown(),
                _ => pending.failed(),
            };
        }
        pending.unknown();
    }

    /// At least one of `names`.
    fn some_of(&self, names: &[String]) -> Vec<String> {
        let chosen: Vec<_> = names.iter().filter(|_| self.dice.happens(500)).cloned().collect();
        if chosen.is_empty() {
            self.dice.pick(names).cloned().into_iter().collect()
        } else {
            chosen
        }
    }
}

/// Registers are below a byte that no kind of record uses as its tag.
fn key_of(name: &str) -> Bytes {
    [&[0xf0], name.as_bytes()].concat().into()
}

fn read_of(names: &[String]) -> proto::Read {
    read_in(SCOPE, names)
}

/// A read of registers of a scope.
pub(crate) fn read_in(scope: &str, names: &[String]) -> proto::Read {
    let gets = names.iter().map(|name| key_of(name)).collect();
    proto::Read { scope: scope.to_owned(), gets, ..Default::default() }
}

/// Registers as rows of an answer show them.
pub(crate) fn observed(rows: &[proto::Row]) -> Vec<Observed> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    rows.iter()
        .map(|row| Observed {
            key: text(row.key.get(1..).unwrap_or_default()),
            value: row.value.as_deref().map(text),
            version: Some(row.version),
        })
        .collect()
}

/// A check of a commit.
pub(crate) fn check_of(name: &str, check: Check) -> proto::Check {
    let expect = match check {
        Check::AtVersion(version) => Expect::AtVersion(version),
        Check::Exists => Expect::Exists(true),
        Check::Absent => Expect::Absent(true),
    };
    proto::Check { key: key_of(name), expect: Some(expect) }
}

/// A write of a commit.
pub(crate) fn write_of(name: &str, value: Option<&str>) -> proto::Write {
    let action = match value {
        Some(value) => Action::Put(proto::Put {
            value: Bytes::copy_from_slice(value.as_bytes()),
            expires_at_ms: None,
        }),
        None => Action::Delete(proto::Delete {}),
    };
    proto::Write { key: key_of(name), action: Some(action) }
}
