//! What came out: a summary to read, and JSON to keep.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use serde_json::{Value, json};

use super::{
    acks::{Class, Tally},
    lab::Lab,
    objects::Judged,
    rows::Evidence,
    sandbox::Tools,
    watcher::Seen,
};

/// One fault and what came of it.
#[derive(Debug, Clone, Default)]
pub struct Round {
    /// The row of the matrix.
    pub row: &'static str,
    /// Its number in the run: with the seed it decides all choices.
    pub number: u64,
    /// Seconds since the run began.
    pub at_s: f64,
    /// What the fault says.
    pub evidence: Evidence,
    /// The longest gap of each class of operations that never rests, in ms.
    pub gaps_ms: BTreeMap<String, u64>,
    /// Operations on registers that certainly had no effect.
    pub failed: u64,
    /// Those of unknown fate.
    pub unknown: u64,
    /// Those that were answered.
    pub acknowledged: u64,
    /// Calls of the public API without an answer, most of them to a gateway that was not there.
    pub calls_failed: u64,
    /// From the heal to the first acknowledgement of every class, in ms.
    pub first_ack_ms: u64,
    /// From the heal until all replicas were the same, in ms.
    pub converged_ms: u64,
    /// Promises that were broken.
    pub violations: Vec<String>,
    /// Figures that are not what the row asks for.
    pub slow: Vec<String>,
}

impl Round {
    /// Takes what the clients have seen during the fault.
    pub fn take(&mut self, tallies: &BTreeMap<Class, Tally>) {
        for (class, tally) in tallies {
            if !Lab::is_steady(class) {
                self.calls_failed += tally.failed + tally.unknown;
                continue;
            }
            self.gaps_ms.insert(format!("{} g{}", class.kind, class.group), ms(tally.gap));
            self.failed += tally.failed;
            self.unknown += tally.unknown;
            self.acknowledged += tally.acknowledged;
        }
    }

    /// The longest of its gaps, in ms.
    pub fn gap_ms(&self) -> u64 {
        self.gaps_ms.values().copied().max().unwrap_or(0)
    }

    /// Whether it shows that a promise was kept under this fault.
    pub fn passed(&self, strict: bool) -> bool {
        self.evidence.bit && self.violations.is_empty() && (!strict || self.slow.is_empty())
    }

    /// One line.
    pub fn line(&self, strict: bool) -> String {
        let mut line = format!(
            "{:7.1} s  {} #{:<3} {}  gap {:5} ms  first ack {:5} ms  converged {:5} ms  \
             failed {:4}  unknown {:3}  {}",
            self.at_s,
            self.row,
            self.number,
            if self.passed(strict) { "ok    " } else { "FAILED" },
            self.gap_ms(),
            self.first_ack_ms,
            self.converged_ms,
            self.failed,
            self.unknown,
            self.evidence.what,
        );
        if !self.evidence.bit {
            line.push_str("\n           did not bite");
        }
        for violation in &self.violations {
            let _ = write!(line, "\n           {violation}");
        }
        for slow in &self.slow {
            let _ = write!(line, "\n           slow: {slow}");
        }
        line
    }

    fn json(&self) -> Value {
        json!({
            "row": self.row, "number": self.number, "at_s": self.at_s, "bit": self.evidence.bit,
            "what": self.evidence.what, "figures": self.evidence.figures, "gaps_ms": self.gaps_ms,
            "failed": self.failed, "unknown": self.unknown, "acknowledged": self.acknowledged, "calls_failed": self.calls_failed,
            "first_ack_ms": self.first_ack_ms, "converged_ms": self.converged_ms,
            "violations": self.violations, "slow": self.slow,
        })
    }
}

/// A whole run.
#[derive(Debug, Default)]
pub struct Report {
    /// Decides everything that is left to chance.
    pub seed: u64,
    /// What the machine let us do.
    pub tools: Tools,
    /// How long it took.
    pub took: Duration,
    /// Every fault.
    pub rounds: Vec<Round>,
    /// Rows that were left out, and why.
    pub skipped: Vec<(String, String)>,
    /// Registers.
    pub objects: Counted,
    /// Users as registers.
    pub names: Counted,
    /// Users from beginning to end, by what was counted.
    pub people: BTreeMap<&'static str, u64>,
    /// Why users were left alone before their end.
    pub left: BTreeMap<String, u64>,
    /// What the nodes said and used.
    pub seen: Seen,
    /// What went wrong apart from rounds.
    pub errors: Vec<String>,
    /// Whether a figure beyond its limit fails the run.
    pub strict: bool,
}

/// Histories and operations.
#[derive(Debug, Clone, Default)]
pub struct Counted {
    /// Operations that have begun.
    pub operations: u64,
    /// Histories that were judged,
    pub histories: u64,
    /// operations in them,
    pub judged_operations: u64,
    /// those with an explanation,
    pub good: u64,
    /// those whose search was given up,
    pub unknown: u64,
    /// and those with none.
    pub bad: u64,
    /// Operations of the longest.
    pub longest: u64,
    /// Violations in words.
    pub violations: Vec<String>,
}

impl Counted {
    /// What has been judged by now.
    pub fn of(judged: &Judged, begun: &AtomicU64) -> Self {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Self {
            operations: load(begun),
            histories: load(&judged.histories),
            judged_operations: load(&judged.operations),
            good: load(&judged.good),
            unknown: load(&judged.unknown),
            bad: load(&judged.bad),
            longest: load(&judged.longest),
            violations: judged.violations.lock().clone(),
        }
    }

    fn json(&self) -> Value {
        json!({
            "operations": self.operations, "histories": self.histories,
            "judged_operations": self.judged_operations, "linearizable": self.good,
            "unknown": self.unknown, "not_linearizable": self.bad, "longest": self.longest,
            "violations": self.violations,
        })
    }

    /// Whether more than 1 in 1000 searches were given up.
    pub fn too_many_unknown(&self) -> bool {
        self.unknown * 1_000 > self.histories
    }
}

impl Report {
    /// Rounds that passed, and failures of any kind.
    pub fn passed_and_failed(&self) -> (usize, usize) {
        let passed = self.rounds.iter().filter(|round| round.passed(self.strict)).count();
        let mut failed = self.rounds.len() - passed + self.errors.len();
        for counted in [&self.objects, &self.names] {
            failed += counted.bad as usize + usize::from(counted.too_many_unknown());
        }
        (passed, failed)
    }

    /// Promises that were broken: figures beyond their limit are none, and faults that did not bite neither.
    pub fn broken(&self) -> u64 {
        let in_rounds = self.rounds.iter().map(|round| round.violations.len() as u64).sum::<u64>();
        in_rounds + self.errors.len() as u64 + self.objects.bad + self.names.bad
    }

    /// Everything.
    pub fn json(&self) -> Value {
        let (passed, failed) = self.passed_and_failed();
        json!({
            "seed": self.seed, "seconds": self.took.as_secs_f64(),
            "namespaces": self.tools.namespaces, "disk_images": self.tools.disks,
            "strace": self.tools.strace, "failpoints": self.tools.failpoints, "cgroup": self.tools.cgroup, "faketime": self.tools.faketime,
            "passed": passed, "failed": failed, "registers": self.objects.json(),
            "users_as_registers": self.names.json(), "users": self.people, "users_left_alone": self.left,
            "memory_mb": self.seen.memory_mb.values().collect::<Vec<_>>(),
            "memory_mb_max": self.seen.memory_max, "open_files_max": self.seen.files_max,
            "log_not_applied_max": self.seen.lag_max, "log_kept_max": self.seen.span_max,
            "operations_per_second": self.per_second(), "rows": self.rows_json(),
            "rounds": self.rounds.iter().map(Round::json).collect::<Vec<_>>(),
            "skipped": self.skipped, "errors": self.errors,
        })
    }

    fn per_second(&self) -> f64 {
        (self.objects.operations + self.names.operations) as f64
            / self.took.as_secs_f64().max(0.001)
    }

    /// Rounds by row.
    fn by_row(&self) -> BTreeMap<&'static str, Vec<&Round>> {
        let mut rows: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for round in &self.rounds {
            rows.entry(round.row).or_default().push(round);
        }
        rows
    }

    fn rows_json(&self) -> Value {
        let row = |rounds: &Vec<&Round>| {
            let all = |value: fn(&Round) -> u64| Spread::of(rounds.iter().map(|r| value(r)));
            json!({
                "rounds": rounds.len(),
                "passed": rounds.iter().filter(|round| round.passed(self.strict)).count(),
                "gap_ms": all(Round::gap_ms).json(), "first_ack_ms": all(|r| r.first_ack_ms).json(),
                "converged_ms": all(|r| r.converged_ms).json(),
            })
        };
        let rows = self.by_row();
        Value::Object(rows.iter().map(|(id, rounds)| ((*id).to_owned(), row(rounds))).collect())
    }

    /// To read. The last line is what `.ci/summary` counts.
    pub fn summary(&self) -> String {
        let mut text = String::new();
        let _ = writeln!(
            text,
            "\nseed {}, {:.0} s, {}",
            self.seed,
            self.took.as_secs_f64(),
            self.where_()
        );
        let _ = writeln!(
            text,
            "row   rounds  passed   gap ms (median, worst)   first ack ms   converged ms"
        );
        for (id, rounds) in self.by_row() {
            let passed = rounds.iter().filter(|round| round.passed(self.strict)).count();
            let all = |value: fn(&Round) -> u64| Spread::of(rounds.iter().map(|r| value(r)));
            let _ = writeln!(
                text,
                "{id:5} {:6}  {passed:6}   {:>22}   {:>12}   {:>12}",
                rounds.len(),
                all(Round::gap_ms).text(),
                all(|r| r.first_ack_ms).text(),
                all(|r| r.converged_ms).text(),
            );
        }
        let _ = writeln!(text, "{:.0} operations a second", self.per_second());
        for (what, counted) in [("registers", &self.objects), ("users as registers", &self.names)] {
            let _ = writeln!(
                text,
                "{what}: {} operations, {} histories of at most {} operations: {} linearizable, {} \
                 unknown, {} not",
                counted.operations,
                counted.histories,
                counted.longest,
                counted.good,
                counted.unknown,
                counted.bad
            );
            for violation in &counted.violations {
                let _ = writeln!(text, "{violation}");
            }
        }
        let people: Vec<String> =
            self.people.iter().map(|(n, count)| format!("{count} {n}")).collect();
        let _ = writeln!(text, "users: {}", people.join(", "));
        let (most, files) = (self.seen.memory_max, self.seen.files_max);
        let (lag, span) = (self.seen.lag_max, self.seen.span_max);
        let _ = writeln!(
            text,
            "at most {most:.0} MB and {files} open files a process, {lag} entries not applied and {span} kept in a log"
        );
        for error in &self.errors {
            let _ = writeln!(text, "error: {error}");
        }
        for (row, why) in &self.skipped {
            let _ = writeln!(text, "skipped: {row}: {why}");
        }
        let (passed, failed) = self.passed_and_failed();
        let _ =
            write!(text, "chaos: {passed} passed, {failed} failed, {} skipped", self.skipped.len());
        text
    }

    fn where_(&self) -> String {
        let tools = &self.tools;
        let network =
            if tools.namespaces { "a network namespace for each node" } else { "loopback" };
        let disk = if tools.disks { "a disk image for each node" } else { "plain directories" };
        format!("{network}, {disk}")
    }
}

/// The middle and the worst of some values.
struct Spread {
    median: u64,
    worst: u64,
}

impl Spread {
    fn of(values: impl Iterator<Item = u64>) -> Self {
        let mut values: Vec<_> = values.collect();
        values.sort_unstable();
        let median = values.get(values.len() / 2).copied().unwrap_or(0);
        Self { median, worst: values.last().copied().unwrap_or(0) }
    }

    fn text(&self) -> String {
        format!("{} {}", self.median, self.worst)
    }

    fn json(&self) -> Value {
        json!({ "median": self.median, "worst": self.worst })
    }
}

/// Whole milliseconds.
pub fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
