//! Looks at the nodes all the time, beside the load: what they say of their groups must never contradict what they or others
//! have said, and what they use must stay bounded.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    sync::Arc,
    time::Duration,
};

use parking_lot::Mutex;
use tokio::{task::JoinHandle, time::sleep};

use super::node::{GroupReading, Reading, read};

const LOOK_EVERY: Duration = Duration::from_millis(250);
const VIOLATIONS_MAX: usize = 20;

/// What has been seen.
#[derive(Debug, Default)]
pub struct Seen {
    /// Who has led a group in a term.
    leaders: BTreeMap<(u32, u64), u64>,
    /// Promises that were broken.
    pub violations: BTreeSet<String>,
    /// Resident memory of each process, in MB: the first that was seen of it, and the last.
    pub memory_mb: BTreeMap<u32, (f64, f64)>,
    /// The most open files of a process.
    pub files_max: usize,
    /// The longest log that a group had, in entries that are not applied.
    pub lag_max: u64,
    /// The longest log that a group had, in entries that are kept.
    pub span_max: u64,
    /// The most memory of a process, in MB.
    pub memory_max: f64,
    /// By group, the checksums of entries that were seen lately, and whose they were.
    histories: BTreeMap<u32, BTreeMap<u64, (u64, u32)>>,
}

/// What nodes may use while they are hurt; a server that is not optimised, with the settings that it is tested with.
#[derive(Debug, Clone, Copy)]
pub struct Budget {
    /// Resident memory of a process, in MB.
    pub memory_mb: f64,
    /// Open files of a process.
    pub files: usize,
    /// Entries that the log of a group keeps: those between two snapshots, and those of a minute.
    pub span: u64,
}

/// See there.
pub const BUDGET: Budget = Budget { memory_mb: 1_000.0, files: 1_000, span: 400_000 };

/// Checksums of a group that are remembered.
const HISTORIES_MAX: usize = 10_000;

impl Seen {
    fn take(&mut self, node: u32, reading: &Reading) {
        for (group, of_group) in &reading.groups {
            self.lag_max = self.lag_max.max(of_group.last.saturating_sub(of_group.applied));
            self.span_max = self.span_max.max(of_group.last.saturating_sub(of_group.purged));
            self.compare(node, *group, of_group);
            if !of_group.leads {
                continue;
            }
            let node = u64::from(node);
            let first = *self.leaders.entry((*group, of_group.term)).or_insert(node);
            if first != node {
                let term = of_group.term;
                self.broken(format!(
                    "group {group} has had two leaders in term {term}: nodes {first} and {node}"
                ));
            }
        }
    }

    /// Replicas that have applied the same entry have done so to the same effect.
    fn compare(&mut self, node: u32, group: u32, of_group: &GroupReading) {
        let (applied, history) = (of_group.applied, of_group.history);
        let known = self.histories.entry(group).or_default();
        let (first, whose) = *known.entry(applied).or_insert((history, node));
        if known.len() > HISTORIES_MAX {
            known.pop_first();
        }
        if applied > 0 && first != history {
            self.broken(format!(
                "group {group} after entry {applied}: node {whose} has come to {first:x}, node {node} to {history:x}"
            ));
        }
    }

    fn broken(&mut self, what: String) {
        if self.violations.len() < VIOLATIONS_MAX {
            self.violations.insert(what);
        }
    }

    /// What has been used beyond a budget.
    pub fn beyond(&self, budget: &Budget) -> Vec<String> {
        let mut beyond = Vec::new();
        if self.memory_max > budget.memory_mb {
            let most = budget.memory_mb;
            beyond.push(format!("{:.0} MB of memory, at most {most:.0}", self.memory_max));
        }
        if self.files_max > budget.files {
            beyond.push(format!("{} open files, at most {}", self.files_max, budget.files));
        }
        if self.span_max > budget.span {
            beyond.push(format!("{} entries of a log, at most {}", self.span_max, budget.span));
        }
        beyond
    }
}

/// A task that looks. It ends when this is dropped.
pub struct Watcher {
    seen: Arc<Mutex<Seen>>,
    task: JoinHandle<()>,
}

/// Where a node can be asked, and which process it is at present.
pub type Targets = Arc<Mutex<BTreeMap<u32, (std::net::SocketAddr, Option<u32>)>>>;

impl Watcher {
    /// Begins to look.
    pub fn start(targets: Targets) -> Self {
        let seen = Arc::new(Mutex::new(Seen::default()));
        let task = tokio::spawn(look(targets, Arc::clone(&seen)));
        Self { seen, task }
    }

    /// What has been seen so far.
    pub fn seen<T>(&self, take: impl FnOnce(&mut Seen) -> T) -> T {
        take(&mut self.seen.lock())
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn look(targets: Targets, seen: Arc<Mutex<Seen>>) {
    loop {
        let now = targets.lock().clone();
        for (node, (management, pid)) in now {
            if let Some(reading) = read(management).await {
                seen.lock().take(node, &reading);
            }
            let Some(pid) = pid else { continue };
            let files = fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, Iterator::count);
            let mut seen = seen.lock();
            seen.files_max = seen.files_max.max(files);
            if let Some(memory) = memory_mb(pid) {
                seen.memory_max = seen.memory_max.max(memory);
                seen.memory_mb.entry(pid).or_insert((memory, memory)).1 = memory;
            }
        }
        sleep(LOOK_EVERY).await;
    }
}

/// Resident memory of a process, in MB.
pub(super) fn memory_mb(pid: u32) -> Option<f64> {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: f64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kib * 1024.0 / 1e6)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_leaders_in_one_term_are_a_violation_and_in_two_terms_are_not() {
        let leads = |term| {
            let reading = GroupReading { leads: true, term, ..GroupReading::default() };
            Reading { groups: [(1, reading)].into() }
        };
        let mut seen = Seen::default();
        seen.take(1, &leads(4));
        seen.take(2, &leads(5));
        seen.take(1, &leads(4));
        assert!(seen.violations.is_empty());
        seen.take(2, &leads(4));
        assert_eq!(seen.violations.len(), 1);
    }

    #[test]
    fn another_effect_of_the_same_entries_is_a_violation_and_more_entries_are_not() {
        let applied = |applied, history| {
            let reading = GroupReading { applied, history, ..GroupReading::default() };
            Reading { groups: [(1, reading)].into() }
        };
        let mut seen = Seen::default();
        seen.take(1, &applied(7, 0xab));
        seen.take(2, &applied(7, 0xab));
        seen.take(2, &applied(8, 0xcd));
        assert!(seen.violations.is_empty());
        seen.take(3, &applied(8, 0xce));
        assert_eq!(seen.violations.len(), 1);
    }

    #[test]
    fn what_is_beyond_the_budget_is_named() {
        let seen = Seen { memory_max: 12.0, files_max: 3, span_max: 9, ..Seen::default() };
        assert!(seen.beyond(&Budget { memory_mb: 12.0, files: 3, span: 9 }).is_empty());
        assert_eq!(seen.beyond(&Budget { memory_mb: 11.0, files: 2, span: 8 }).len(), 3);
    }
}
