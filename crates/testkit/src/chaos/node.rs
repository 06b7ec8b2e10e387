//! One process of the cluster.

use std::{
    collections::BTreeMap,
    fs::{self, File, OpenOptions},
    io::{Read, Seek, SeekFrom},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, ExitStatus, Stdio},
    time::Duration,
};

use anyhow::{Context, Result};
use tokio::time::timeout;

use super::command::{command, signal, until};
use crate::http::Connection;

const LOG_TAIL: u64 = 3_000;
const ASK_WITHIN: Duration = Duration::from_secs(2);
const STOPPED_WITHIN: Duration = Duration::from_secs(10);

/// What a node says of one of its groups.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct GroupReading {
    /// Whether it leads.
    pub leads: bool,
    /// The present term.
    pub term: u64,
    /// The last entry of the log.
    pub last: u64,
    /// The last entry that has been applied.
    pub applied: u64,
    /// A checksum over all that has been applied.
    pub history: u64,
    /// The last entry that has been removed from the log.
    pub purged: u64,
    /// Whether the node votes in it.
    pub votes: bool,
    /// How often the leader changed.
    pub leader_changes: u64,
    /// How often the replica was reopened after an error.
    pub reopened: u64,
}

/// What a node's `/metrics` say, as far as it is used here.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reading {
    /// By group.
    pub groups: BTreeMap<u32, GroupReading>,
}

impl Reading {
    fn parse(text: &str) -> Self {
        let mut reading = Self::default();
        for line in text.lines() {
            let Some((name, rest)) = line.split_once("{group=\"") else { continue };
            let Some((group, value)) = rest.split_once("\"} ") else { continue };
            let (Ok(group), Ok(value)) = (group.parse(), value.trim().parse::<u64>()) else {
                continue;
            };
            let group = reading.groups.entry(group).or_default();
            match name.strip_prefix("conclave_").unwrap_or(name) {
                "raft_is_leader" => group.leads = value == 1,
                "raft_term" => group.term = value,
                "raft_last_log_index" => group.last = value,
                "raft_last_applied_index" => group.applied = value,
                "raft_history" => group.history = value,
                "raft_purged_index" => group.purged = value,
                "raft_is_voter" => group.votes = value == 1,
                "raft_leader_changes_total" => group.leader_changes = value,
                "raft_reopened_total" => group.reopened = value,
                _ => {}
            }
        }
        reading
    }
}

/// How a node is started.
#[derive(Debug, Clone)]
pub struct Launch {
    /// The server.
    pub binary: PathBuf,
    /// Words before it, such as `nsenter --net=...`.
    pub prefix: Vec<String>,
    /// Its configuration.
    pub config: PathBuf,
    /// Where it writes its log.
    pub log: PathBuf,
    /// Variables of its environment, always,
    pub always: Vec<(String, String)>,
    /// and for the present fault.
    pub environment: Vec<(String, String)>,
}

/// One node.
#[derive(Debug)]
pub struct Node {
    /// Its number.
    pub id: u32,
    /// How it is started.
    pub launch: Launch,
    /// Its management port.
    pub management: SocketAddr,
    child: Option<Child>,
}

impl Node {
    /// A node that is not started yet.
    pub fn new(id: u32, launch: Launch, management: SocketAddr) -> Self {
        Self { id, launch, management, child: None }
    }

    /// Starts the process; it is not ready yet.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn start(&mut self) -> Result<u32> {
        let launch = &self.launch;
        let log = OpenOptions::new().create(true).append(true).open(&launch.log)?;
        let binary = launch.binary.to_string_lossy().into_owned();
        let mut words = launch.prefix.iter().chain([&binary]);
        let mut program = command(words.next().context("no program")?);
        program
            .args(words)
            .arg("serve")
            .arg("--config")
            .arg(&launch.config)
            .envs(launch.always.iter().chain(&launch.environment).cloned())
            .stdout(log.try_clone()?)
            .stderr(log)
            .stdin(Stdio::null());
        let child = program.spawn().with_context(|| format!("cannot start {binary}"))?;
        let pid = child.id();
        self.child = Some(child);
        Ok(pid)
    }

    /// The process, while it runs.
    pub fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// How the process has ended, once it has; it is not running then.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        let status = self.child.as_mut()?.try_wait().ok()??;
        self.child = None;
        Some(status)
    }

    /// Whether the process has not ended yet.
    pub fn is_running(&mut self) -> bool {
        self.ended();
        self.child.is_some()
    }

    /// As a crash: no handler runs. Returns when the process is gone.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// As an operator would. Returns how the process ended.
    ///
    /// # Errors
    /// It does not end in time; it is killed then.
    pub async fn stop(&mut self) -> Result<Option<ExitStatus>> {
        let Some(pid) = self.pid() else { return Ok(None) };
        signal(pid, "TERM")?;
        let mut status = None;
        let stopped = until("the server stops", STOPPED_WITHIN, async || {
            status = self.ended();
            status.is_some()
        });
        if let Err(error) = stopped.await {
            let tail = self.log_tail();
            self.kill();
            return Err(error.context(tail));
        }
        Ok(status)
    }

    /// Stops all of its threads; returns when none of them runs.
    ///
    /// # Errors
    /// It does not run, or does not stop.
    pub async fn freeze(&self) -> Result<()> {
        let pid = self.pid().context("the node does not run")?;
        signal(pid, "STOP")?;
        until("every thread is stopped", Duration::from_secs(10), async || all_stopped(pid))
            .await?;
        Ok(())
    }

    /// Lets it go on.
    ///
    /// # Errors
    /// It does not run.
    pub fn thaw(&self) -> Result<()> {
        signal(self.pid().context("the node does not run")?, "CONT")
    }

    /// Whether it says that it is ready.
    pub async fn is_ready(&self) -> bool {
        matches!(ask(self.management, "/readyz").await, Ok((200, _)))
    }

    /// What it says of its groups; `None` when it does not answer.
    pub async fn reading(&self) -> Option<Reading> {
        read(self.management).await
    }

    /// The end of its log.
    pub fn log_tail(&self) -> String {
        let read = || -> std::io::Result<String> {
            let mut file = File::open(&self.launch.log)?;
            let length = file.metadata()?.len();
            file.seek(SeekFrom::Start(length.saturating_sub(LOG_TAIL)))?;
            let mut bytes = Vec::new();
            file.take(LOG_TAIL).read_to_end(&mut bytes)?;
            Ok(String::from_utf8_lossy(&bytes).into_owned())
        };
        read().unwrap_or_else(|error| error.to_string())
    }

    /// Whether its log has a text after its first `from` bytes.
    pub fn log_has(&self, from: u64, needle: &str) -> bool {
        let log = fs::read(&self.launch.log).unwrap_or_default();
        let after = log.get(from as usize..).unwrap_or_default();
        String::from_utf8_lossy(after).contains(needle)
    }

    /// Bytes of its log.
    pub fn log_length(&self) -> u64 {
        fs::metadata(&self.launch.log).map_or(0, |metadata| metadata.len())
    }
}

/// What the node at a management port says of its groups; `None` when it does not answer.
pub async fn read(management: SocketAddr) -> Option<Reading> {
    match ask(management, "/metrics").await {
        Ok((200, text)) => Some(Reading::parse(&text)),
        _ => None,
    }
}

async fn ask(management: SocketAddr, path: &str) -> Result<(u16, String)> {
    let authority = management.to_string();
    let answer = timeout(ASK_WITHIN, async {
        let mut connection = Connection::open(&authority).await?;
        let request = format!("GET {path} HTTP/1.1\r\nhost: {authority}\r\n\r\n");
        connection.send(request.as_bytes()).await
    });
    let answer = answer.await.context("no answer in time")??;
    Ok((answer.status, String::from_utf8_lossy(&answer.body).into_owned()))
}

impl Drop for Node {
    fn drop(&mut self) {
        self.kill();
    }
}

fn all_stopped(pid: u32) -> bool {
    let Ok(tasks) = fs::read_dir(Path::new("/proc").join(pid.to_string()).join("task")) else {
        return true;
    };
    tasks.flatten().all(|task| {
        let Ok(status) = fs::read_to_string(task.path().join("status")) else { return true };
        let state = status.lines().find_map(|line| line.strip_prefix("State:"));
        state.is_none_or(|state| state.trim_start().starts_with(['T', 't', 'Z', 'X']))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reading_takes_what_it_knows_and_passes_over_the_rest() {
        let text = "# TYPE x gauge\nconclave_raft_is_leader{group=\"1\"} 1\n\
                    conclave_raft_term{group=\"1\"} 7\nconclave_raft_is_leader{group=\"2\"} 0\n\
                    conclave_raft_leader_changes_total{group=\"2\"} 3\nconclave_other 4\n# EOF\n";
        let reading = Reading::parse(text);
        assert!(reading.groups[&1].leads && reading.groups[&1].term == 7);
        assert!(!reading.groups[&2].leads && reading.groups[&2].leader_changes == 3);
    }
}
