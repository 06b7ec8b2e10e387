//! Is there an order of the operations, each at a moment between its call and its return, in which
//! every answer is right? The search is that of Wing and Gong with Lowe's memory of configurations
//! that have failed: "Testing for linearizability", Concurrency and Computation 29 (4), 2017.
//!
//! Registers that no operation names together are judged apart, which keeps each search small. All
//! registers are absent at the start of a history.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    fmt,
};

use crate::history::{Answer, Call, Check, Fate, Key, Operation, Value};

/// What [`check`] says of a history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// There is such an order.
    Ok,
    /// There is none.
    Violation(Violation),
    /// The search was given up.
    Unknown {
        /// After so many steps.
        steps: u64,
    },
}

/// A history that nothing explains, as small as it was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// The registers.
    pub keys: Vec<Key>,
    /// Operations that have no order together, by the time of their call.
    pub operations: Vec<Operation>,
    /// Which of them returned last: before its return there was still an order.
    pub last: usize,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "no order explains these operations on {}:", self.keys.join(" "))?;
        for (number, operation) in self.operations.iter().enumerate() {
            let mark = if number == self.last { "  <- with this answer" } else { "" };
            writeln!(f, "  {operation}{mark}")?;
        }
        Ok(())
    }
}

/// Judges a history; each set of registers gets `steps_max` steps.
pub fn check(history: &[Operation], steps_max: u64) -> Verdict {
    let mut given_up = None;
    for part in parts(history) {
        match search(&part, steps_max) {
            Found::Order => {}
            Found::NoOrder => return Verdict::Violation(explain(part, steps_max)),
            Found::TooLong { steps } => given_up = Some(steps),
        }
    }
    given_up.map_or(Verdict::Ok, |steps| Verdict::Unknown { steps })
}

/// The operations by sets of registers that have no operation in common, without those that tell and
/// do nothing.
fn parts(history: &[Operation]) -> Vec<Vec<Operation>> {
    let mut set_of: BTreeMap<&Key, usize> = BTreeMap::new();
    let mut sets: Vec<BTreeSet<&Key>> = Vec::new();
    for operation in history {
        let keys: BTreeSet<_> = operation.keys().collect();
        let mut joined = keys.clone();
        for key in keys {
            if let Some(&set) = set_of.get(key) {
                joined.append(&mut sets[set]);
            }
        }
        for key in &joined {
            set_of.insert(key, sets.len());
        }
        sets.push(joined);
    }
    let mut parts: BTreeMap<usize, Vec<Operation>> = BTreeMap::new();
    for operation in history.iter().filter(|operation| matters(operation)) {
        if let Some(set) = operation.keys().next().and_then(|key| set_of.get(key)) {
            parts.entry(*set).or_default().push(operation.clone());
        }
    }
    parts.into_values().collect()
}

fn matters(operation: &Operation) -> bool {
    match (&operation.fate, &operation.call) {
        (Fate::Failed, _) | (Fate::Unknown, Call::Read { .. }) => false,
        // a repeated transaction that had been refused before: it shows nothing
        (Fate::Answered(Answer::Conflict { rows, .. }), _) => !rows.is_empty(),
        _ => true,
    }
}

// ---- the model: registers with versions -----------------------------------------------------

/// An operation in numbers: registers and values by their place in a list.
struct Step {
    invoked: u64,
    /// `None`: it may take effect at any time after its call, or never.
    returned: Option<u64>,
    checks: Vec<(usize, Check)>,
    /// The registers as they are before the writes.
    rows: Vec<Cell>,
    /// Whether the checks of the registers in `rows` fail, rather than hold.
    refused: bool,
    writes: Vec<(usize, Option<usize>)>,
    seq: Option<u64>,
}

struct Cell {
    key: usize,
    value: Option<usize>,
    version: Option<u64>,
}

#[derive(Clone, PartialEq, Eq, Hash)]
struct State {
    /// Value and version of each register; the version of a write whose answer was lost and that
    /// nobody has seen is not known.
    registers: Vec<Option<(usize, Option<u64>)>>,
    seq: u64,
}

impl State {
    /// The state after `step`, or `None` when it cannot be at this place.
    fn after(&self, step: &Step) -> Option<Self> {
        // commits have different numbers, and answers without a commit tell one that has been
        let in_order = match step.seq {
            Some(seq) if step.commits() => seq > self.seq,
            Some(seq) => seq >= self.seq,
            None => true,
        };
        if !in_order || !step.rows.iter().all(|row| self.shows(row)) {
            return None;
        }
        let is_shown = |key| step.refused && step.rows.iter().any(|row| row.key == key);
        for (key, check) in &step.checks {
            if !is_shown(*key) && self.holds(*key, *check) == Some(false) {
                return None;
            }
        }
        // a register that a conflict shows has failed one of its checks
        for row in step.rows.iter().filter(|_| step.refused) {
            let mut checks = step.checks.iter().filter(|(key, _)| *key == row.key);
            if checks.all(|(key, check)| self.holds(*key, *check) == Some(true)) {
                return None;
            }
        }
        let mut next = self.clone();
        for (key, value) in &step.writes {
            next.registers[*key] = value.map(|value| (value, step.seq));
        }
        next.seq = step.seq.unwrap_or(self.seq);
        Some(next)
    }

    fn shows(&self, row: &Cell) -> bool {
        match (&self.registers[row.key], row.value) {
            (None, None) => true,
            (Some((value, version)), Some(shown)) => {
                let same_version = match (version, row.version) {
                    (Some(version), Some(shown)) => *version == shown,
                    _ => true,
                };
                *value == shown && same_version
            }
            _ => false,
        }
    }

    /// `None` when the version that it depends on is not known.
    fn holds(&self, key: usize, check: Check) -> Option<bool> {
        match (check, &self.registers[key]) {
            (Check::Exists, register) => Some(register.is_some()),
            (Check::Absent | Check::AtVersion(0), register) => Some(register.is_none()),
            (Check::AtVersion(_), None) => Some(false),
            (Check::AtVersion(expected), Some((_, version))) => {
                version.map(|version| version == expected)
            }
        }
    }
}

impl Step {
    fn commits(&self) -> bool {
        !self.writes.is_empty()
    }
}

/// Gives registers and values their numbers, and unknown commits the version that others saw.
fn steps_of(operations: &[Operation]) -> (Vec<Step>, usize) {
    let mut keys: HashMap<&Key, usize> = HashMap::new();
    let mut values: HashMap<&Value, usize> = HashMap::new();
    let mut writers: HashMap<(&Key, &Value), u32> = HashMap::new();
    for operation in operations {
        for (key, value) in operation.call.parts().1 {
            if let Some(value) = value {
                *writers.entry((key, value)).or_default() += 1;
            }
        }
    }
    let mut seen: HashMap<(&Key, &Value), u64> = HashMap::new();
    for row in operations.iter().flat_map(Operation::observed) {
        if let (Some(value), Some(version)) = (&row.value, row.version)
            && writers.get(&(&row.key, value)) == Some(&1)
        {
            seen.entry((&row.key, value)).or_insert(version);
        }
    }
    let mut steps = Vec::with_capacity(operations.len());
    for operation in operations {
        let mut number_of = |key| {
            let next = keys.len();
            *keys.entry(key).or_insert(next)
        };
        let mut value_of = |value| {
            let next = values.len();
            *values.entry(value).or_insert(next)
        };
        let (checks, writes) = operation.call.parts();
        let (answered, refused, seq) = match &operation.fate {
            Fate::Answered(Answer::Rows { seq, .. }) => (true, false, *seq),
            Fate::Answered(Answer::Committed { seq }) => (true, false, *seq),
            Fate::Answered(Answer::Conflict { seq, .. }) => (true, true, *seq),
            Fate::Failed | Fate::Unknown => (false, false, None),
        };
        let seq = if answered {
            seq
        } else {
            writes.iter().find_map(|(key, value)| seen.get(&(key, value.as_ref()?)).copied())
        };
        let rows = operation.observed().iter().map(|row| Cell {
            key: number_of(&row.key),
            value: row.value.as_ref().map(&mut value_of),
            version: row.version,
        });
        let rows = rows.collect();
        let checks = checks.iter().map(|(key, check)| (number_of(key), *check)).collect();
        let writes = writes
            .iter()
            .filter(|_| !refused)
            .map(|(key, value)| (number_of(key), value.as_ref().map(&mut value_of)))
            .collect();
        steps.push(Step {
            invoked: operation.invoked,
            returned: operation.returned.filter(|_| answered),
            checks,
            rows,
            refused,
            writes,
            seq,
        });
    }
    (steps, keys.len())
}

// ---- the search -----------------------------------------------------------------------------

enum Found {
    Order,
    NoOrder,
    TooLong { steps: u64 },
}

/// Calls and returns in the order of time, as a list from which operations are taken out and put
/// back. Place 0 is before the first.
struct Timeline {
    events: Vec<Event>,
    next: Vec<usize>,
    previous: Vec<usize>,
    call_of: Vec<usize>,
    return_of: Vec<Option<usize>>,
}

#[derive(Clone, Copy)]
enum Event {
    Start,
    Call(usize),
    Return,
}

const END: usize = usize::MAX;

impl Timeline {
    fn new(steps: &[Step]) -> Self {
        let calls = steps.iter().enumerate().map(|(step, s)| (s.invoked, Event::Call(step), step));
        let returns = steps
            .iter()
            .enumerate()
            .filter_map(|(step, s)| Some((s.returned?, Event::Return, step)));
        let mut moments: Vec<_> = calls.chain(returns).collect();
        moments.sort_by_key(|(moment, _, _)| *moment);
        let mut timeline = Self {
            events: vec![Event::Start],
            next: Vec::new(),
            previous: Vec::new(),
            call_of: vec![0; steps.len()],
            return_of: vec![None; steps.len()],
        };
        for (_, event, step) in moments {
            let place = timeline.events.len();
            timeline.events.push(event);
            match event {
                Event::Return => timeline.return_of[step] = Some(place),
                _ => timeline.call_of[step] = place,
            }
        }
        let count = timeline.events.len();
        timeline.next = (1..=count).map(|place| if place == count { END } else { place }).collect();
        timeline.previous = (0..count).map(|place| place.saturating_sub(1)).collect();
        timeline
    }

    fn take_out(&mut self, step: usize) {
        for place in std::iter::once(self.call_of[step]).chain(self.return_of[step]) {
            let (previous, next) = (self.previous[place], self.next[place]);
            self.next[previous] = next;
            if next != END {
                self.previous[next] = previous;
            }
        }
    }

    fn put_back(&mut self, step: usize) {
        for place in self.return_of[step].into_iter().chain([self.call_of[step]]) {
            let (previous, next) = (self.previous[place], self.next[place]);
            self.next[previous] = place;
            if next != END {
                self.previous[next] = place;
            }
        }
    }
}

fn search(operations: &[Operation], steps_max: u64) -> Found {
    let (steps, registers) = steps_of(operations);
    let mut timeline = Timeline::new(&steps);
    let mut state = State { registers: vec![None; registers], seq: 0 };
    let mut taken = vec![0_u64; steps.len().div_ceil(64)];
    let mut answers_left = steps.iter().filter(|step| step.returned.is_some()).count();
    let mut failed: HashSet<(Vec<u64>, State)> = HashSet::new();
    let mut path: Vec<(usize, State)> = Vec::new();
    let mut tried = 0;
    let mut place = timeline.next[0];
    while answers_left > 0 {
        let event = timeline.events.get(place).copied();
        if let Some(Event::Call(number)) = event {
            tried += 1;
            if tried > steps_max {
                return Found::TooLong { steps: steps_max };
            }
            let step = &steps[number];
            if let Some(next) = state.after(step) {
                taken[number / 64] |= 1 << (number % 64);
                if failed.insert((taken.clone(), next.clone())) {
                    path.push((number, std::mem::replace(&mut state, next)));
                    answers_left -= usize::from(step.returned.is_some());
                    timeline.take_out(number);
                    place = timeline.next[0];
                    continue;
                }
                taken[number / 64] &= !(1 << (number % 64));
            }
            place = timeline.next[place];
            continue;
        }
        // an operation that has returned must be placed before this moment: one of the choices so far
        // was wrong
        let Some((number, before)) = path.pop() else { return Found::NoOrder };
        state = before;
        taken[number / 64] &= !(1 << (number % 64));
        answers_left += usize::from(steps[number].returned.is_some());
        timeline.put_back(number);
        place = timeline.next[timeline.call_of[number]];
    }
    Found::Order
}

// ---- the explanation ------------------------------------------------------------------------

const SMALLER_STEPS_MAX: u64 = 10_000;

/// Makes a part without an order as small as it can, by changes that only allow more orders: when
/// there is none afterwards, there was none before.
fn explain(part: Vec<Operation>, steps_max: u64) -> Violation {
    // the first return by which it has gone wrong
    let mut returns: Vec<_> = part.iter().filter_map(|operation| operation.returned).collect();
    returns.sort_unstable();
    let has_no_order =
        |operations: &[Operation]| matches!(search(operations, steps_max), Found::NoOrder);
    let first_wrong = returns.partition_point(|moment| !has_no_order(&until(&part, *moment)));
    let moment = returns.get(first_wrong).copied().unwrap_or(u64::MAX);
    let known = until(&part, moment);
    let known = if has_no_order(&known) { known } else { part };

    // an attempt to make it smaller is worth less than the search itself
    let steps_max = steps_max.min(SMALLER_STEPS_MAX);
    let mut evidence: Vec<_> = known
        .into_iter()
        .map(|operation| Evidence { used: operation.clone(), recorded: operation })
        .collect();
    for change in [Evidence::forget_answer, Evidence::forget_checks, Evidence::forget_rows] {
        let mut number = evidence.len();
        while number > 0 {
            number -= 1;
            let mut smaller = evidence.clone();
            let evidence_left = change(&mut smaller[number]);
            if !evidence_left {
                smaller.remove(number);
            }
            if Evidence::has_no_order(&smaller, steps_max) {
                evidence = smaller;
            }
        }
    }
    // writes of unknown fate that nobody has seen and nobody depends on
    let mut number = evidence.len();
    while number > 0 {
        number -= 1;
        let mut smaller = evidence.clone();
        let operation = smaller.remove(number).used;
        if operation.fate == Fate::Unknown
            && !is_relied_on(&operation, &smaller)
            && Evidence::has_no_order(&smaller, steps_max)
        {
            evidence = smaller;
        }
    }

    let last =
        (0..evidence.len()).max_by_key(|number| evidence[*number].used.returned).unwrap_or(0);
    let operations: Vec<_> = evidence.into_iter().map(|evidence| evidence.recorded).collect();
    let keys: BTreeSet<_> = operations.iter().flat_map(Operation::keys).cloned().collect();
    Violation { keys: keys.into_iter().collect(), operations, last }
}

/// An operation, and what of it is needed to show that there is no order.
#[derive(Clone)]
struct Evidence {
    recorded: Operation,
    used: Operation,
}

impl Evidence {
    fn has_no_order(evidence: &[Self], steps_max: u64) -> bool {
        let used: Vec<_> = evidence.iter().map(|evidence| evidence.used.clone()).collect();
        matches!(search(&used, steps_max), Found::NoOrder)
    }

    /// What only observes goes; what wrote may not have returned. False: nothing is left.
    fn forget_answer(&mut self) -> bool {
        match self.used.fate {
            Fate::Unknown => true,
            Fate::Answered(Answer::Committed { .. }) => {
                self.used.fate = Fate::Unknown;
                self.used.returned = None;
                true
            }
            Fate::Failed | Fate::Answered(_) => false,
        }
    }

    /// What wrote may have relied on nothing.
    fn forget_checks(&mut self) -> bool {
        let is_conflict = matches!(self.used.fate, Fate::Answered(Answer::Conflict { .. }));
        if let (Call::Transaction { checks, .. }, false) = (&mut self.used.call, is_conflict) {
            checks.clear();
        }
        true
    }

    /// What read several registers may have read fewer.
    fn forget_rows(&mut self) -> bool {
        if let Fate::Answered(Answer::Rows { rows, .. }) = &mut self.used.fate {
            rows.truncate(1);
        }
        true
    }
}

fn is_relied_on(writer: &Operation, others: &[Evidence]) -> bool {
    writer.call.parts().1.iter().any(|(key, value)| {
        others.iter().map(|other| &other.used).any(|other| {
            let is_shown = other.observed().iter().any(|row| row.key == *key);
            let is_seen = other.observed().iter().any(|row| row.key == *key && row.value == *value);
            let is_checked = other.call.parts().0.iter().any(|(checked, check)| {
                let needs_it = match check {
                    Check::Exists | Check::AtVersion(1..) => value.is_some(),
                    Check::Absent | Check::AtVersion(0) => value.is_none(),
                };
                checked == key && needs_it
            });
            // where a conflict shows the register, the value that it shows is what counts
            is_seen || (is_checked && !is_shown)
        })
    })
}

/// The history as it was known at `moment`.
fn until(part: &[Operation], moment: u64) -> Vec<Operation> {
    let begun = part.iter().filter(|operation| operation.invoked <= moment).cloned();
    let known = begun.map(|mut operation| {
        if operation.returned.is_some_and(|returned| returned > moment) {
            operation.returned = None;
            operation.fate = Fate::Unknown;
        }
        operation
    });
    known.filter(matters).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::Observed;

    /// Client, call, time of call and return, and how it ended.
    fn operation(
        client: u32,
        (invoked, returned): (u64, Option<u64>),
        call: Call,
        fate: Fate,
    ) -> Operation {
        Operation { client, call, invoked, returned, fate }
    }

    fn row(key: &str, value: Option<&str>, version: Option<u64>) -> Observed {
        Observed { key: key.to_owned(), value: value.map(str::to_owned), version }
    }

    fn read(client: u32, from: u64, to: u64, rows: &[(&str, Option<&str>)]) -> Operation {
        let keys = rows.iter().map(|(key, _)| (*key).to_owned()).collect();
        let rows = rows.iter().map(|(key, value)| row(key, *value, None)).collect();
        let fate = Fate::Answered(Answer::Rows { rows, seq: None });
        operation(client, (from, Some(to)), Call::Read { keys }, fate)
    }

    fn transaction(checks: &[(&str, Check)], writes: &[(&str, Option<&str>)]) -> Call {
        Call::Transaction {
            checks: checks.iter().map(|(key, check)| ((*key).to_owned(), *check)).collect(),
            writes: writes
                .iter()
                .map(|(key, value)| ((*key).to_owned(), value.map(str::to_owned)))
                .collect(),
        }
    }

    fn committed() -> Fate {
        Fate::Answered(Answer::Committed { seq: None })
    }

    fn put(client: u32, from: u64, to: u64, writes: &[(&str, Option<&str>)]) -> Operation {
        operation(client, (from, Some(to)), transaction(&[], writes), committed())
    }

    fn unknown(client: u32, from: u64, writes: &[(&str, Option<&str>)]) -> Operation {
        operation(client, (from, None), transaction(&[], writes), Fate::Unknown)
    }

    fn violation(history: &[Operation]) -> Violation {
        match check(history, 100_000) {
            Verdict::Violation(violation) => violation,
            other => panic!("{other:?}"),
        }
    }

    #[track_caller]
    fn accept(history: &[Operation]) {
        assert_eq!(check(history, 100_000), Verdict::Ok);
    }

    const ABSENT: Option<&str> = None;

    #[test]
    fn an_empty_history_and_one_after_the_other_are_accepted() {
        accept(&[]);
        accept(&[
            read(1, 1, 2, &[("a", ABSENT)]),
            put(1, 3, 4, &[("a", Some("x"))]),
            read(2, 5, 6, &[("a", Some("x"))]),
            put(1, 7, 8, &[("a", None)]),
            read(2, 9, 10, &[("a", ABSENT)]),
        ]);
    }

    #[test]
    fn a_read_beside_a_write_may_see_it_or_not() {
        for seen in [None, Some("x")] {
            accept(&[put(1, 1, 4, &[("a", Some("x"))]), read(2, 2, 3, &[("a", seen)])]);
        }
    }

    #[test]
    fn two_reads_beside_a_write_see_it_in_one_order_only() {
        let write = put(1, 1, 10, &[("a", Some("x"))]);
        let old = |from| read(2, from, from + 1, &[("a", ABSENT)]);
        let new = |from| read(3, from, from + 1, &[("a", Some("x"))]);
        accept(&[write.clone(), old(2), new(4)]);
        violation(&[write, new(2), old(4)]);
    }

    #[test]
    fn a_stale_read_is_rejected_and_explained_by_three_operations() {
        let history = [
            put(1, 1, 2, &[("a", Some("x"))]),
            read(3, 3, 4, &[("a", Some("x"))]),
            put(1, 5, 6, &[("a", Some("y"))]),
            put(1, 7, 8, &[("b", Some("z"))]),
            read(2, 9, 10, &[("a", Some("x"))]),
            read(2, 11, 12, &[("a", Some("y"))]),
        ];
        let found = violation(&history);
        assert_eq!(found.keys, ["a"]);
        assert_eq!(found.operations[found.last], history[4]);
        assert!(found.operations.contains(&history[2]), "{found}");
        assert!(found.operations.len() <= 3, "{found}");
        assert!(
            found.to_string().contains("client 2 reads a -> a=x  <- with this answer"),
            "{found}"
        );
    }

    #[test]
    fn a_lost_update_is_rejected() {
        let increment = |client, from, value| {
            let call = transaction(&[("a", Check::AtVersion(5))], &[("a", Some(value))]);
            let fate = |seq| Fate::Answered(Answer::Committed { seq: Some(seq) });
            operation(client, (from, Some(from + 4)), call, fate(from))
        };
        let first = operation(
            1,
            (1, Some(2)),
            transaction(&[], &[("a", Some("0"))]),
            Fate::Answered(Answer::Committed { seq: Some(5) }),
        );
        accept(&[first.clone(), increment(1, 6, "1")]);
        violation(&[first, increment(1, 6, "1"), increment(2, 7, "2")]);
    }

    #[test]
    fn a_phantom_is_rejected() {
        violation(&[put(1, 1, 2, &[("a", Some("x"))]), read(2, 3, 4, &[("a", Some("ghost"))])]);
        // from the future
        violation(&[read(2, 1, 2, &[("a", Some("x"))]), put(1, 3, 4, &[("a", Some("x"))])]);
    }

    #[test]
    fn what_was_refused_must_not_take_effect() {
        let refused = operation(
            1,
            (1, Some(2)),
            transaction(&[("a", Check::Exists)], &[("a", Some("x"))]),
            Fate::Answered(Answer::Conflict { rows: vec![row("a", None, Some(0))], seq: None }),
        );
        accept(&[refused.clone(), read(2, 3, 4, &[("a", ABSENT)])]);
        violation(&[refused, read(2, 3, 4, &[("a", Some("x"))])]);
        let failed =
            operation(1, (1, Some(2)), transaction(&[], &[("a", Some("x"))]), Fate::Failed);
        violation(&[failed, read(2, 3, 4, &[("a", Some("x"))])]);
    }

    #[test]
    fn a_conflict_without_a_reason_is_rejected() {
        let conflict = |check, rows| {
            operation(
                1,
                (3, Some(4)),
                transaction(&[("a", check)], &[("a", Some("y"))]),
                Fate::Answered(Answer::Conflict { rows, seq: None }),
            )
        };
        let write = put(1, 1, 2, &[("a", Some("x"))]);
        accept(&[write.clone(), conflict(Check::Absent, vec![row("a", Some("x"), None)])]);
        violation(&[write.clone(), conflict(Check::Exists, vec![row("a", Some("x"), None)])]);
        violation(&[write, conflict(Check::Exists, vec![row("a", None, None)])]);
    }

    #[test]
    fn a_write_of_unknown_fate_may_happen_at_any_later_time_or_never() {
        let lost = unknown(1, 1, &[("a", Some("x"))]);
        accept(&[lost.clone(), read(2, 3, 4, &[("a", ABSENT)])]);
        accept(&[
            lost.clone(),
            read(2, 3, 4, &[("a", ABSENT)]),
            put(2, 5, 6, &[("a", Some("y"))]),
            read(2, 7, 8, &[("a", Some("x"))]),
        ]);
        // but once only
        violation(&[
            lost,
            read(2, 3, 4, &[("a", Some("x"))]),
            put(2, 5, 6, &[("a", Some("y"))]),
            read(2, 7, 8, &[("a", Some("x"))]),
        ]);
    }

    #[test]
    fn a_write_of_unknown_fate_has_one_version() {
        let lost = unknown(1, 1, &[("a", Some("x"))]);
        let seen = |from, version| {
            let rows = vec![row("a", Some("x"), Some(version))];
            let fate = Fate::Answered(Answer::Rows { rows, seq: None });
            operation(2, (from, Some(from + 1)), Call::Read { keys: vec!["a".to_owned()] }, fate)
        };
        accept(&[lost.clone(), seen(3, 7), seen(5, 7)]);
        violation(&[lost, seen(3, 7), seen(5, 8)]);
    }

    #[test]
    fn a_transaction_is_seen_wholly_or_not_at_all() {
        let both = put(1, 1, 6, &[("a", Some("x")), ("b", Some("x"))]);
        accept(&[both.clone(), read(2, 2, 3, &[("a", Some("x")), ("b", Some("x"))])]);
        accept(&[both.clone(), read(2, 2, 3, &[("a", ABSENT), ("b", ABSENT)])]);
        violation(&[both.clone(), read(2, 2, 3, &[("a", Some("x")), ("b", ABSENT)])]);
        violation(&[both, read(2, 2, 3, &[("a", Some("x"))]), read(2, 4, 5, &[("b", ABSENT)])]);
    }

    #[test]
    fn numbers_of_commits_must_agree_with_the_order() {
        let write = |from, value, seq| {
            let call = transaction(&[], &[("a", Some(value))]);
            let fate = Fate::Answered(Answer::Committed { seq: Some(seq) });
            operation(1, (from, Some(from + 1)), call, fate)
        };
        accept(&[write(1, "x", 1), write(3, "y", 2)]);
        violation(&[write(1, "x", 2), write(3, "y", 1)]);
        violation(&[write(1, "x", 1), write(3, "y", 1)]);
    }

    #[test]
    fn sets_of_registers_without_a_common_operation_are_judged_apart() {
        // together these would take more steps than are allowed
        let mut history = Vec::new();
        for set in 0..40_u64 {
            let key = format!("k{set}");
            let value = format!("v{set}");
            history.push(put(1, 1, 100, &[(&key, Some(&value))]));
            history.push(read(2, 101 + set, 102 + set, &[(&key, Some(&value))]));
        }
        assert_eq!(check(&history, 10), Verdict::Ok);
    }

    #[test]
    fn a_search_that_takes_too_long_is_given_up() {
        let history: Vec<_> =
            (0..6).map(|client| put(client, 1, 100, &[("a", Some(&client.to_string()))])).collect();
        let last = read(99, 101, 102, &[("a", Some("nobody's"))]);
        let history = [history, vec![last]].concat();
        assert_eq!(check(&history, 30), Verdict::Unknown { steps: 30 });
        assert!(matches!(check(&history, 1_000_000), Verdict::Violation(_)));
    }
}
