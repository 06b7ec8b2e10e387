//! Concurrent clients over a network that loses, delays and repeats, judged by the checker; and
//! stores with seeded bugs, which the checker has to catch.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use async_trait::async_trait;
use bytes::Bytes;
use conclave_store::{Store, StoreError, memory::MemoryStore, proto};
use conclave_testkit::{
    clock::ManualClock,
    dice::Dice,
    faulty::{Bites, Faults, FaultyStore},
    history::{Answer, Call, Fate, Operation, Recorder},
    linearizability::{Verdict, check},
    registers::{Client, Workload, create_scope},
    schedule::{self, Task},
    stale::StaleReadStore,
};

const SEEDS: u64 = 200;
const CLIENTS: u32 = 5;
const STEPS_MAX: u64 = 2_000_000;

struct Run {
    history: Vec<Operation>,
    bites: Bites,
}

/// The same run for the same seed. `wrap` puts a bug between the network and the store.
fn simulate<S: Store>(seed: u64, wrap: impl FnOnce(MemoryStore) -> S) -> Run {
    let clock = Arc::new(ManualClock::default());
    let store =
        FaultyStore::new(wrap(MemoryStore::new(Arc::clone(&clock) as Arc<_>)), seed, Faults::SOME);
    let recorder = Recorder::new();
    let client = |number: u32| Client {
        number,
        store: &store,
        clock: &clock,
        recorder: &recorder,
        workload: Workload::default(),
        dice: Dice::new(seed, u64::from(number)),
    };
    let alone = |task: Task<'_>| schedule::run(seed, vec![task]).expect("ends");

    alone(Box::pin(async { create_scope(store.inner()).await.expect("creates") }));
    let clients: Vec<_> = (0..CLIENTS).map(client).collect();
    let tasks = clients.iter().map(|client| -> Task<'_> { Box::pin(client.run()) }).collect();
    schedule::run(seed, tasks).expect("all clients end");

    alone(Box::pin(store.heal()));
    let last = client(CLIENTS);
    alone(Box::pin(last.read_all()));
    Run { history: recorder.history(), bites: store.bites() }
}

/// The first seed whose history has no explanation, with the reason.
fn first_caught<S: Store>(wrap: impl Fn(u64, MemoryStore) -> S) -> Option<(u64, String)> {
    (0..SEEDS).find_map(|seed| {
        match check(&simulate(seed, |store| wrap(seed, store)).history, STEPS_MAX) {
            Verdict::Violation(violation) => Some((seed, violation.to_string())),
            Verdict::Ok | Verdict::Unknown { .. } => None,
        }
    })
}

#[test]
fn transactions_are_linearizable_over_a_faulty_network() {
    let mut bites = Bites::default();
    let (mut committed, mut conflicts, mut unknown, mut reads) = (0, 0, 0, 0);
    for seed in 0..SEEDS {
        let run = simulate(seed, |store| store);
        match check(&run.history, STEPS_MAX) {
            Verdict::Ok => {}
            Verdict::Violation(violation) => panic!("seed {seed}: {violation}"),
            Verdict::Unknown { steps } => panic!("seed {seed}: given up after {steps} steps"),
        }
        bites += run.bites;
        for operation in &run.history {
            match (&operation.call, &operation.fate) {
                (_, Fate::Answered(Answer::Committed { .. })) => committed += 1,
                (_, Fate::Answered(Answer::Conflict { .. })) => conflicts += 1,
                (_, Fate::Answered(Answer::Rows { .. })) => reads += 1,
                (Call::Transaction { .. }, Fate::Unknown) => unknown += 1,
                _ => {}
            }
        }
    }
    eprintln!(
        "{SEEDS} seeds: {reads} reads, {committed} committed, {conflicts} conflicts, {unknown} unknown, {bites:?}"
    );
    // a run in which the faults did not bite shows nothing
    assert!(
        bites.requests_lost > 1_000 && bites.replies_lost > 1_000 && bites.commits_late > 1_000
    );
    assert!(committed > 5_000 && conflicts > 1_000 && unknown > 20 && reads > 10_000);
}

#[test]
fn a_seed_repeats_its_history() {
    let first = simulate(7, |store| store);
    assert_eq!(simulate(7, |store| store).history, first.history);
    assert_ne!(simulate(8, |store| store).history, first.history);
}

#[test]
fn stale_reads_are_caught() {
    let caught = first_caught(|seed, store| StaleReadStore::new(store, seed, 20));
    let (seed, violation) = caught.expect("stale reads went unnoticed");
    eprintln!("stale reads, seed {seed}: {violation}");
}

#[test]
fn a_store_that_could_answer_from_the_past_but_never_does_is_not_accused() {
    assert_eq!(first_caught(|seed, store| StaleReadStore::new(store, seed, 0)), None);
}

#[test]
fn commits_that_ignore_their_ids_are_caught() {
    let (seed, violation) =
        first_caught(|_, store| Forgetful { store, next_id: AtomicU64::new(1) })
            .expect("repeated commits went unnoticed");
    eprintln!("ignored ids, seed {seed}: {violation}");
}

#[test]
fn commits_that_ignore_their_checks_are_caught() {
    let (seed, violation) =
        first_caught(|_, store| Unchecked { store }).expect("lost updates went unnoticed");
    eprintln!("ignored checks, seed {seed}: {violation}");
}

#[test]
fn acknowledged_writes_that_are_lost_are_caught() {
    let (seed, violation) =
        first_caught(|seed, store| Lossy { store, dice: Dice::new(seed, 0x1055) })
            .expect("lost writes went unnoticed");
    eprintln!("lost writes, seed {seed}: {violation}");
}

/// Takes every copy of a commit for a new one.
struct Forgetful {
    store: MemoryStore,
    next_id: AtomicU64,
}

#[async_trait]
impl Store for Forgetful {
    async fn read(&self, read: proto::Read) -> Result<proto::ReadResult, StoreError> {
        self.store.read(read).await
    }

    async fn commit(&self, mut commit: proto::Commit) -> Result<proto::Outcome, StoreError> {
        let id = u128::from(self.next_id.fetch_add(1, Ordering::SeqCst));
        commit.id = Bytes::copy_from_slice(&id.to_be_bytes());
        self.store.commit(commit).await
    }
}

/// Writes without looking.
struct Unchecked {
    store: MemoryStore,
}

#[async_trait]
impl Store for Unchecked {
    async fn read(&self, read: proto::Read) -> Result<proto::ReadResult, StoreError> {
        self.store.read(read).await
    }

    async fn commit(&self, mut commit: proto::Commit) -> Result<proto::Outcome, StoreError> {
        commit.checks.clear();
        self.store.commit(commit).await
    }
}

/// Forgets a write now and then after it has said that it is done.
struct Lossy {
    store: MemoryStore,
    dice: Dice,
}

#[async_trait]
impl Store for Lossy {
    async fn read(&self, read: proto::Read) -> Result<proto::ReadResult, StoreError> {
        self.store.read(read).await
    }

    async fn commit(&self, mut commit: proto::Commit) -> Result<proto::Outcome, StoreError> {
        if self.dice.happens(10) {
            commit.writes.clear();
        }
        self.store.commit(commit).await
    }
}
