//! Schedules: which fault comes when, and what is asked of every one.

use std::{
    io::Write,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use anyhow::Result;
use tokio::time::{Instant, sleep, timeout};

use super::{
    lab::{Lab, LabOptions},
    report::{Counted, Report, Round, ms},
    rows::{self, Row},
    watcher::BUDGET,
};
use crate::dice::Dice;

/// After the heal: the first acknowledgement of every class,
const FIRST_ACK_MAX: Duration = Duration::from_secs(5);
/// and all replicas the same.
const CONVERGED_MAX: Duration = Duration::from_secs(10);

/// When a run is over, and what happens in it.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Which faults there are.
    pub rows: Vec<Row>,
    /// Rows come in the order in which they are given, instead of by chance.
    pub in_turn: bool,
    /// Faults begin for so long, the last is brought to its end.
    pub duration: Duration,
    /// At most so many faults.
    pub rounds_max: u64,
    /// At least so many operations, if the time allows it; then it is over too.
    pub operations: Option<u64>,
    /// The quiet time between two faults: from this
    pub rest_min: Duration,
    /// to this.
    pub rest_max: Duration,
    /// A figure that is not what its row asks for fails the run.
    pub strict: bool,
    /// Limits of time are so many times as long as the matrix says: for machines that others use too.
    pub patience: u32,
}

/// A line for whoever watches.
pub fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{line}");
    let _ = out.flush();
}

/// Runs a plan to its end.
///
/// # Errors
/// The cluster could not be made. What happens afterwards is in the report.
pub async fn run(options: LabOptions, plan: &Plan) -> Result<Report> {
    let began = Instant::now();
    let (seed, tools) = (options.seed, options.tools);
    let mut report = Report { seed, tools, strict: plan.strict, ..Report::default() };
    let mut rows = Vec::new();
    for row in &plan.rows {
        match (row.needs)(&tools) {
            Ok(()) => rows.push(*row),
            Err(why) => report.skipped.push((row.id.to_owned(), why.to_owned())),
        }
    }
    let mut lab = Lab::start(options).await?;
    say(&format!("seed {seed}: the cluster serves after {:.1} s", began.elapsed().as_secs_f64()));
    let faults_began = Instant::now();
    let (mut number, mut deck) = (0, Vec::new());
    while !rows.is_empty() && number < plan.rounds_max && faults_began.elapsed() < plan.duration {
        let done = lab.objects.begun.load(Ordering::Relaxed);
        if plan.operations.is_some_and(|wanted| done >= wanted) {
            break;
        }
        (lab.dice, lab.round) = (Dice::new(seed, 1_000 + number), number);
        if deck.is_empty() {
            deck = if plan.in_turn { in_turn(&rows) } else { shuffled(&rows, &lab.dice) };
        }
        let Some(row) = deck.pop() else { break };
        let spread = ms(plan.rest_max.saturating_sub(plan.rest_min));
        let rest = plan.rest_min + Duration::from_millis(lab.dice.below(spread + 1));
        sleep(rest).await;
        let round = round(&mut lab, &row, number, began, plan).await;
        say(&round.line(plan.strict));
        let is_broken = round.violations.iter().any(|violation| violation.contains(BROKEN));
        report.rounds.push(round);
        number += 1;
        if is_broken {
            report.errors.push("the cluster did not come back: the run ends".to_owned());
            break;
        }
    }
    let (objects, names) = (Arc::clone(&lab.objects), Arc::clone(&lab.names));
    let (people, guesses) = (Arc::clone(&lab.people), Arc::clone(&lab.guesses));
    lab.watcher.seen(|seen| report.seen = std::mem::take(seen));
    if let Err(error) = lab.finish().await {
        report.errors.push(format!("{error:#}"));
    }
    let begun = objects.begun.load(Ordering::Relaxed);
    if let Some(wanted) = plan.operations.filter(|wanted| begun < *wanted) {
        report.errors.push(format!("{begun} operations of {wanted} in the time that there was"));
    }
    report.objects = Counted::of(&objects.judged, &objects.begun);
    report.names = Counted::of(&names.judged, &names.begun);
    report.people = people.counts.figures();
    report.people.append(&mut guesses.counts.figures());
    report.errors.append(&mut guesses.violations.lock());
    report.left = std::mem::take(&mut people.left.lock());
    report.errors.append(&mut people.violations.lock());
    report.errors.extend(report.seen.violations.iter().cloned());
    report.errors.extend(report.seen.beyond(&BUDGET));
    report.took = began.elapsed();
    Ok(report)
}

/// The next is at the end.
fn in_turn(rows: &[Row]) -> Vec<Row> {
    rows.iter().rev().copied().collect()
}

/// Each once before any comes again.
fn shuffled(rows: &[Row], dice: &Dice) -> Vec<Row> {
    let mut deck = rows.to_vec();
    for at in (1..deck.len()).rev() {
        deck.swap(at, dice.below(at as u64 + 1) as usize);
    }
    deck
}

/// In the words of a violation after which nothing can be learned any more.
const BROKEN: &str = "the cluster is not healthy";
/// The slowest row, with all that it waits for.
const ROUND_WITHIN: Duration = Duration::from_secs(2_400);

async fn round(lab: &mut Lab, row: &Row, number: u64, began: Instant, plan: &Plan) -> Round {
    let mut round =
        Round { row: row.id, number, at_s: began.elapsed().as_secs_f64(), ..Round::default() };
    lab.acks.begin();
    match timeout(ROUND_WITHIN, rows::inject(row, lab)).await {
        Ok(Ok(evidence)) => round.evidence = evidence,
        Ok(Err(error)) => round.violations.push(format!("the fault: {error:#}")),
        Err(_) => round.violations.push("the fault does not end".to_owned()),
    }
    round.violations.append(&mut round.evidence.violations);
    round.slow.append(&mut round.evidence.slow);
    lab.heal();
    match lab.recover().await {
        Ok(recovery) => {
            round.first_ack_ms = ms(recovery.first_ack);
            round.take(&lab.acks.tallies());
            match lab.settle(false).await {
                Ok(at) => round.converged_ms = ms(at.duration_since(recovery.healed)),
                Err(error) => round.violations.push(format!("{BROKEN}: {error:#}")),
            }
        }
        Err(error) => {
            round.take(&lab.acks.tallies());
            round.violations.push(format!("{BROKEN}: {error:#}"));
        }
    }
    let limits = [
        ("first acknowledgement after", round.first_ack_ms, Some(FIRST_ACK_MAX)),
        ("replicas the same after", round.converged_ms, Some(CONVERGED_MAX)),
        ("gap of", round.gap_ms(), row.gap_max),
    ];
    for (what, took, most) in limits {
        if let Some(most) = most.filter(|most| took > ms(*most * plan.patience)) {
            round.slow.push(format!("{what} {took} ms, at most {} ms", ms(most)));
        }
    }
    round
}
