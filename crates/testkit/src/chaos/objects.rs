//! Clients of registers, through the contract of the store: cheap, so there can be many.
//!
//! An object is a pair of registers with a history of its own, which stays short enough to be judged. A full one is put
//! aside, read once more when the cluster is healthy again, and judged.

use std::{
    collections::{HashMap, VecDeque},
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::{Result, anyhow};
use bytes::Bytes;
use conclave_store::{
    Store, StoreError,
    proto::{self, outcome},
};
use parking_lot::Mutex;
use tokio::{
    task::{JoinSet, spawn_blocking},
    time::{Instant, sleep},
};

use super::{
    acks::{Acks, Class, End},
    gate::Gate,
};
use crate::{
    dice::Dice,
    history::{Answer, Call, Check, Observed, Operation, Recorder},
    linearizability::{self, Verdict, Violation},
    registers::{check_of, create_scope_named, observed, read_in, write_of},
};

/// Objects of a group that are used at a time, each for a few seconds,
const QUICK: usize = 24;
/// and those that are used seldom, so that their histories reach over several faults.
const SLOW: usize = 12;
/// How many in 1000 operations go to those.
const SLOW_PER_MILLE: u32 = 50;
/// Operations of one object at most, the last read included.
pub const OPERATIONS_MAX: u32 = 200;
/// Steps of one search.
const STEPS_MAX: u64 = 3_000_000;
/// A decision is made with a time that is not older than this.
const TIME_GOOD_FOR: Duration = Duration::from_secs(20);
/// What a client remembers of objects.
const SEEN_MAX: usize = 256;
/// Violations that are kept in words.
const VIOLATIONS_MAX: usize = 20;
/// A client whose operation failed waits before the next.
const AFTER_FAILURE: Duration = Duration::from_millis(20);

/// Two registers.
struct Object {
    names: Vec<String>,
    recorder: Arc<Recorder>,
    operations: AtomicU32,
    most: u32,
}

/// What has been judged.
#[derive(Debug, Default)]
pub struct Judged {
    /// Histories.
    pub histories: AtomicU64,
    /// Operations in them.
    pub operations: AtomicU64,
    /// Histories that have an explanation.
    pub good: AtomicU64,
    /// Searches that were given up.
    pub unknown: AtomicU64,
    /// Histories that have none.
    pub bad: AtomicU64,
    /// Operations of the longest history.
    pub longest: AtomicU64,
    /// The first of those without, in words.
    pub violations: Mutex<Vec<String>>,
}

struct GroupObjects {
    group: u32,
    scope: String,
    /// Every group has the same names: what one shows of another's has no explanation in its history.
    next: AtomicU64,
    quick: Mutex<Vec<Arc<Object>>>,
    slow: Mutex<Vec<Arc<Object>>>,
    full: Mutex<VecDeque<Arc<Object>>>,
}

/// The load.
pub struct Objects {
    groups: Vec<GroupObjects>,
    stores: Vec<Arc<dyn Store>>,
    acks: Arc<Acks>,
    dice: Dice,
    gate: Arc<Gate>,
    /// What has been judged so far.
    pub judged: Judged,
    /// Operations that have begun.
    pub begun: AtomicU64,
}

/// What one client remembers.
struct Client {
    number: u32,
    store: Arc<dyn Store>,
    dice: Dice,
    seen: HashMap<String, Observed>,
    now: Option<(i64, Instant)>,
    values: u64,
}

impl Objects {
    /// Makes the scopes of the registers, one in each of `groups`, named so that the group can be told.
    ///
    /// # Errors
    /// The store's.
    pub async fn create(
        stores: Vec<Arc<dyn Store>>,
        groups: &[u32],
        acks: Arc<Acks>,
        gate: Arc<Gate>,
        seed: u64,
    ) -> Result<Arc<Self>> {
        let dice = Dice::new(seed, 0x0b1e_c750);
        let store = stores.first().cloned().ok_or_else(|| anyhow!("no store"))?;
        let mut made = Vec::new();
        for &group in groups {
            let scope = scope_of(group);
            let created = create_scope_named(&*store, &scope, id(&dice));
            created.await.map_err(|error| anyhow!("{scope}: {error}"))?;
            made.push(GroupObjects {
                group,
                scope,
                next: AtomicU64::new(0),
                quick: Mutex::default(),
                slow: Mutex::default(),
                full: Mutex::default(),
            });
        }
        let objects = Self {
            groups: made,
            stores,
            acks,
            dice,
            gate,
            judged: Judged::default(),
            begun: AtomicU64::new(0),
        };
        for group in &objects.groups {
            *group.quick.lock() = (0..QUICK).map(|_| objects.fresh(group, false)).collect();
            *group.slow.lock() = (0..SLOW).map(|_| objects.fresh(group, true)).collect();
        }
        Ok(Arc::new(objects))
    }

    /// Starts `clients` clients, evenly for the groups and the stores.
    pub fn start(self: &Arc<Self>, clients: u32, seed: u64) -> JoinSet<()> {
        let mut tasks = JoinSet::new();
        for number in 0..clients {
            let store = &self.stores[number as usize % self.stores.len()];
            let client = Client {
                number,
                store: Arc::clone(store),
                dice: Dice::new(seed, u64::from(number)),
                seen: HashMap::new(),
                now: None,
                values: 0,
            };
            tasks.spawn(Arc::clone(self).client(client, number as usize % self.groups.len()));
        }
        tasks
    }

    fn fresh(&self, group: &GroupObjects, slow: bool) -> Arc<Object> {
        let number = group.next.fetch_add(1, Ordering::Relaxed);
        let most = if slow { 150 + self.dice.below(45) } else { 50 + self.dice.below(50) };
        Arc::new(Object {
            names: vec![format!("{number}.a"), format!("{number}.b")],
            recorder: Recorder::new(),
            operations: AtomicU32::new(0),
            most: most as u32,
        })
    }

    async fn client(self: Arc<Self>, mut client: Client, group: usize) {
        let Some(group) = self.groups.get(group) else { return };
        while let Some(pass) = self.gate.pass().await {
            let object = self.choose(group, &client.dice);
            let went_well = self.operate(group, &object, &mut client).await;
            drop(object);
            drop(pass);
            if !went_well {
                sleep(AFTER_FAILURE).await;
            }
        }
    }

    /// An object that has room for an operation; one that is full is put aside.
    fn choose(&self, group: &GroupObjects, dice: &Dice) -> Arc<Object> {
        let slow = dice.happens(SLOW_PER_MILLE);
        let mut objects = if slow { group.slow.lock() } else { group.quick.lock() };
        let at = dice.below(objects.len() as u64) as usize;
        if objects[at].operations.fetch_add(1, Ordering::Relaxed) < objects[at].most {
            return Arc::clone(&objects[at]);
        }
        let full = std::mem::replace(&mut objects[at], self.fresh(group, slow));
        group.full.lock().push_back(full);
        objects[at].operations.fetch_add(1, Ordering::Relaxed);
        Arc::clone(&objects[at])
    }

    async fn operate(&self, group: &GroupObjects, object: &Object, client: &mut Client) -> bool {
        self.begun.fetch_add(1, Ordering::Relaxed);
        let time_is_good = client.now.as_ref().is_some_and(|(_, at)| at.elapsed() < TIME_GOOD_FOR);
        match client.dice.below(100) {
            40.. if time_is_good => self.write(group, object, client).await,
            _ => {
                let names = some_of(&client.dice, &object.names);
                self.read(group, object, client, names).await
            }
        }
    }

    async fn read(
        &self,
        group: &GroupObjects,
        object: &Object,
        client: &mut Client,
        names: Vec<String>,
    ) -> bool {
        let class = Class { kind: "read", group: group.group };
        let request = read_in(&group.scope, &names);
        let began = Instant::now();
        let pending = object.recorder.invoke(client.number, Call::Read { keys: names });
        match client.store.read(request).await {
            Ok(result) => {
                let rows = observed(&result.rows);
                client.now = Some((result.now_ms, Instant::now()));
                client.remember(&rows);
                pending.answered(Answer::Rows { rows, seq: Some(result.seq) });
                self.acks.ended(class, began, End::Acknowledged);
                true
            }
            Err(_) => {
                pending.failed();
                self.acks.ended(class, began, End::Failed);
                false
            }
        }
    }

    async fn write(&self, group: &GroupObjects, object: &Object, client: &mut Client) -> bool {
        let class = Class { kind: "commit", group: group.group };
        let dice = &client.dice;
        let chosen = some_of(dice, &object.names);
        let checks: Vec<_> = match dice.below(10) {
            // relies on nothing
            0..3 => Vec::new(),
            // relies on what is there, as far as this client knows
            3..5 => {
                let check = |name: &String| {
                    let seen = client.seen.get(name)?;
                    let check = if seen.value.is_some() { Check::Exists } else { Check::Absent };
                    Some((name.clone(), check))
                };
                object.names.iter().filter_map(check).collect()
            }
            // relies on the versions that this client has seen
            _ => {
                let check = |name: &String| {
                    let seen = client.seen.get(name)?;
                    Some((name.clone(), Check::AtVersion(seen.version.unwrap_or(0))))
                };
                object.names.iter().filter_map(check).collect()
            }
        };
        client.values += 1;
        let value = format!("{}-{}", client.number, client.values);
        let write = |name: String| {
            let value = Some(value.clone()).filter(|_| !client.dice.happens(150));
            (name, value)
        };
        let writes: Vec<_> = chosen.into_iter().map(write).collect();
        let commit = proto::Commit {
            id: id(&client.dice),
            scope: group.scope.clone(),
            decided_ms: client.now_ms(),
            epoch: None,
            checks: checks.iter().map(|(name, check)| check_of(name, *check)).collect(),
            writes: writes.iter().map(|(name, value)| write_of(name, value.as_deref())).collect(),
        };
        let call = Call::Transaction { checks, writes: writes.clone() };
        let began = Instant::now();
        let pending = object.recorder.invoke(client.number, call);
        let result = match client.store.commit(commit).await {
            Ok(outcome) => outcome.result,
            Err(StoreError::Unknown { .. }) => {
                pending.unknown();
                self.acks.ended(class, began, End::Unknown);
                return false;
            }
            Err(_) => {
                pending.failed();
                self.acks.ended(class, began, End::Failed);
                return false;
            }
        };
        match result {
            Some(outcome::Result::Committed(committed)) => {
                let seq = committed.seq;
                let row = |(key, value): (String, Option<String>)| {
                    let version = Some(if value.is_some() { seq } else { 0 });
                    Observed { key, value, version }
                };
                client.remember(&writes.into_iter().map(row).collect::<Vec<_>>());
                pending.answered(Answer::Committed { seq: Some(seq) });
            }
            Some(outcome::Result::Conflict(conflict)) => {
                let rows = observed(&conflict.rows);
                client.remember(&rows);
                client.now = Some((conflict.now_ms, Instant::now()));
                pending.answered(Answer::Conflict { rows, seq: Some(conflict.seq) });
            }
            _ => {
                // stale: the clock of the group is far from what this client has heard of it
                client.now = None;
                pending.failed();
                self.acks.ended(class, began, End::Failed);
                return false;
            }
        }
        self.acks.ended(class, began, End::Acknowledged);
        true
    }

    /// Writes large values to a group for `duration`, to fill what is left of disks. Returns how many were acknowledged.
    pub async fn fill(self: &Arc<Self>, group: u32, duration: Duration) -> u64 {
        const WRITERS: u64 = 4;
        let until = Instant::now() + duration;
        let mut writers = JoinSet::new();
        for writer in 0..WRITERS {
            let objects = Arc::clone(self);
            writers.spawn(async move {
                let mut acknowledged = 0;
                while Instant::now() < until {
                    if objects.write_large(group, writer).await {
                        acknowledged += 1;
                    } else {
                        sleep(AFTER_FAILURE).await;
                    }
                }
                acknowledged
            });
        }
        writers.join_all().await.into_iter().sum()
    }

    async fn write_large(&self, group: u32, writer: u64) -> bool {
        const BYTES: usize = 60_000;
        let Some(store) = self.stores.get(writer as usize % self.stores.len()) else {
            return false;
        };
        let scope = scope_of(group);
        let Ok(read) = store.read(read_in(&scope, &[])).await else { return false };
        let value = "x".repeat(BYTES);
        let commit = proto::Commit {
            id: id(&self.dice),
            scope,
            decided_ms: read.now_ms,
            epoch: None,
            checks: Vec::new(),
            writes: vec![write_of(&format!("large.{writer}"), Some(&value))],
        };
        store.commit(commit).await.is_ok()
    }

    /// Reads the objects that were put aside (with `all`, the others too) once more, and judges their
    /// histories. Called while the cluster is healthy; operations of other objects may go on.
    ///
    /// # Errors
    /// An object cannot be read although the cluster is healthy.
    pub async fn settle(&self, all: bool) -> Result<()> {
        for group in &self.groups {
            if all {
                let mut full = group.full.lock();
                full.extend(
                    group
                        .quick
                        .lock()
                        .iter_mut()
                        .map(|o| std::mem::replace(o, self.fresh(group, false))),
                );
                full.extend(
                    group
                        .slow
                        .lock()
                        .iter_mut()
                        .map(|o| std::mem::replace(o, self.fresh(group, true))),
                );
            }
            let mut busy = VecDeque::new();
            let mut batch = Vec::new();
            for object in std::mem::take(&mut *group.full.lock()) {
                match Arc::try_unwrap(object) {
                    Ok(object) => batch.push(object),
                    Err(object) => busy.push_back(object),
                }
            }
            group.full.lock().append(&mut busy);
            self.read_and_judge(group, batch).await?;
        }
        Ok(())
    }

    async fn read_and_judge(&self, group: &GroupObjects, batch: Vec<Object>) -> Result<()> {
        const AT_A_TIME: usize = 32;
        let mut histories = Vec::with_capacity(batch.len());
        for some in batch.chunks(AT_A_TIME) {
            let mut reads = JoinSet::new();
            for (object, store) in some.iter().zip(self.stores.iter().cycle()) {
                let (store, request) = (Arc::clone(store), read_in(&group.scope, &object.names));
                let call = Call::Read { keys: object.names.clone() };
                let pending = object.recorder.invoke(u32::MAX, call);
                reads.spawn(async move {
                    let result = store.read(request).await?;
                    let rows = observed(&result.rows);
                    pending.answered(Answer::Rows { rows, seq: Some(result.seq) });
                    Ok::<_, StoreError>(())
                });
            }
            while let Some(read) = reads.join_next().await {
                read?.map_err(|error| anyhow!("a last read of group {}: {error}", group.group))?;
            }
            self.begun.fetch_add(some.len() as u64, Ordering::Relaxed);
            histories.extend(some.iter().map(|object| object.recorder.history()));
        }
        let verdicts = spawn_blocking(move || {
            let judge = |history: Vec<Operation>| {
                (history.len() as u64, linearizability::check(&history, STEPS_MAX))
            };
            histories.into_iter().map(judge).collect::<Vec<_>>()
        });
        for (operations, verdict) in verdicts.await? {
            self.judged.take(operations, verdict);
        }
        Ok(())
    }
}

impl Judged {
    /// Counts a verdict.
    pub fn take(&self, operations: u64, verdict: Verdict) {
        let count = |counter: &AtomicU64| counter.fetch_add(1, Ordering::Relaxed);
        count(&self.histories);
        self.operations.fetch_add(operations, Ordering::Relaxed);
        self.longest.fetch_max(operations, Ordering::Relaxed);
        match verdict {
            Verdict::Ok => count(&self.good),
            Verdict::Unknown { .. } => count(&self.unknown),
            Verdict::Violation(violation) => {
                self.keep(&violation);
                count(&self.bad)
            }
        };
    }

    fn keep(&self, violation: &Violation) {
        let mut violations = self.violations.lock();
        if violations.len() < VIOLATIONS_MAX {
            violations.push(violation.to_string());
        }
    }
}

impl Client {
    fn remember(&mut self, rows: &[Observed]) {
        if self.seen.len() >= SEEN_MAX {
            self.seen.clear();
        }
        for row in rows {
            self.seen.insert(row.key.clone(), row.clone());
        }
    }

    fn now_ms(&self) -> i64 {
        let (now_ms, at) = self.now.unwrap_or((0, Instant::now()));
        now_ms.saturating_add(i64::try_from(at.elapsed().as_millis()).unwrap_or(0))
    }
}

/// The scope of the registers of a group. The placement of [`cluster`](super::cluster) reads it.
pub fn scope_of(group: u32) -> String {
    format!("chaos-{group}")
}

fn id(dice: &Dice) -> Bytes {
    Bytes::copy_from_slice(&dice.id())
}

/// At least one of `names`.
fn some_of(dice: &Dice, names: &[String]) -> Vec<String> {
    let chosen: Vec<_> = names.iter().filter(|_| dice.happens(600)).cloned().collect();
    if chosen.is_empty() { dice.pick(names).cloned().into_iter().collect() } else { chosen }
}
