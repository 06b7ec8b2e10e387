//! The real routing client over a simulated network: nodes lead, lose the lead, crash and are cut off, and what
//! clients saw is judged by the checker.
//!
//! The client is [`conclave_cluster::RoutingStore`] with its real channels, speaking the real gRPC contract to
//! hosts that apply commits with the real `apply`. Time, the network and the choices are those of a seed. What is
//! modelled, and not real, is how nodes agree: see `nodes.rs`.
//!
//!     cargo test -p conclave-testkit --test network                        # CONCLAVE_SEEDS seeds, 1000 by default
//!     CONCLAVE_SEED=17 cargo test -p conclave-testkit --test network       # one of them again
//!
//! A failure names its seed.

mod nodes;
mod run;

use std::{
    ops::Range,
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
};

use conclave_testkit::{
    history::{Answer, Call, Fate},
    linearizability::{Verdict, check},
};

use crate::{
    nodes::Bug,
    run::{Bites, Run, simulate},
};

const STEPS_MAX: u64 = 2_000_000;

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var_os(variable)?;
    let text = text.to_string_lossy();
    Some(text.parse().unwrap_or_else(|_| panic!("{variable} is no number: {text}")))
}

fn seeds() -> Range<u64> {
    match number("CONCLAVE_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("CONCLAVE_SEEDS").unwrap_or(1_000),
    }
}

/// Runs `judge` for every seed on all cores, until one says what is wrong. Returns the lowest such seed.
fn first_wrong(
    seeds: Range<u64>,
    judge: impl Fn(u64) -> Result<(), String> + Sync,
) -> Option<(u64, String)> {
    let next = AtomicU64::new(seeds.start);
    let stop = AtomicBool::new(false);
    let wrong = Mutex::new(Vec::new());
    let cores = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end {
                        return;
                    }
                    if let Err(what) = judge(seed) {
                        stop.store(true, Ordering::Relaxed);
                        wrong.lock().expect("no panic").push((seed, what));
                    }
                }
            });
        }
    });
    wrong.into_inner().expect("no panic").into_iter().min()
}

fn judged(run: &Run) -> Result<(), String> {
    match check(&run.history, STEPS_MAX) {
        Verdict::Ok => Ok(()),
        Verdict::Violation(violation) => {
            let history: Vec<String> = run.history.iter().map(ToString::to_string).collect();
            Err(format!("{violation}\nthe whole history:\n{}", history.join("\n")))
        }
        Verdict::Unknown { steps } => Err(format!("given up after {steps} steps")),
    }
}

#[test]
fn the_routing_client_is_linearizable_whatever_the_network_and_the_nodes_do() {
    let total = Mutex::new((Bites::default(), [0_u64; 5]));
    let wrong = first_wrong(seeds(), |seed| {
        let run = simulate(seed, Bug::None)?;
        judged(&run)?;
        let mut total = total.lock().expect("no panic");
        total.0 += run.bites;
        for operation in &run.history {
            let kind = match (&operation.call, &operation.fate) {
                (_, Fate::Answered(Answer::Rows { .. })) => 0,
                (_, Fate::Answered(Answer::Committed { .. })) => 1,
                (_, Fate::Answered(Answer::Conflict { .. })) => 2,
                (Call::Transaction { .. }, Fate::Unknown) => 3,
                _ => 4,
            };
            total.1[kind] += 1;
        }
        Ok(())
    });
    if let Some((seed, what)) = wrong {
        panic!("seed {seed} (again: CONCLAVE_SEED={seed}): {what}");
    }
    let (bites, [reads, committed, conflicts, unknown, failed]) =
        total.into_inner().expect("no panic");
    eprintln!(
        "{reads} reads, {committed} committed, {conflicts} conflicts, {unknown} unknown, {failed} failed, {bites:?}"
    );
    // a run in which the faults did not bite shows nothing
    if seeds().end - seeds().start >= 200 {
        assert!(bites.all_bit(), "{bites:?}");
        assert!(committed > 1_000 && conflicts > 100 && unknown > 0);
    }
}

#[test]
fn a_seed_repeats_its_history() {
    for seed in [3, 4, 5] {
        let first = simulate(seed, Bug::None).expect("ends");
        let again = simulate(seed, Bug::None).expect("ends");
        assert_eq!(again.history, first.history, "seed {seed}");
    }
}

/// The seeds that a bug may take to be caught.
const BUG_SEEDS: Range<u64> = 0..400;

fn assert_caught(bug: Bug) {
    let caught = first_wrong(BUG_SEEDS, |seed| judged(&simulate(seed, bug)?));
    let (seed, violation) = caught.unwrap_or_else(|| panic!("{bug:?} went unnoticed"));
    eprintln!("{bug:?}, seed {seed}: {violation}");
}

#[test]
fn a_deposed_leader_that_still_answers_reads_is_caught() {
    assert_caught(Bug::StaleReads);
}

#[test]
fn a_leader_that_acknowledges_before_the_others_have_it_is_caught() {
    assert_caught(Bug::EarlyAcks);
}

#[test]
fn nodes_that_ignore_the_ids_of_commits_are_caught() {
    assert_caught(Bug::IdsIgnored);
}

#[test]
fn a_node_that_calls_an_unknown_outcome_a_definite_refusal_is_caught() {
    assert_caught(Bug::UnknownIsRefused);
}
