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

use super::node::{Reading, read};

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
}

impl Seen {
    fn take(&mut self, node: u32, reading: &Reading) {
        for (group, of_group) in &reading.groups {
            self.lag_max = self.lag_max.max(of_group.last.saturating_sub(of_group.applied));
            if !of_group.leads {
                continue;
            }
            let node = u64::from(node);
            let first = *self.leaders.entry((*group, of_group.term)).or_insert(node);
            if first != node && self.violations.len() < VIOLATIONS_MAX {
                let term = of_group.term;
                self.violations.insert(format!(
                    "group {group} has had two leaders in term {term}: nodes {first} and {node}"
                ));
            }
        }
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
                seen.memory_mb.entry(pid).or_insert((memory, memory)).1 = memory;
            }
        }
        sleep(LOOK_EVERY).await;
    }
}

fn memory_mb(pid: u32) -> Option<f64> {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: f64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kib * 1024.0 / 1e6)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chaos::node::GroupReading;

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
}
