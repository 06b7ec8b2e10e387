//! An administrator: the commands of the server, with a certificate of the role admin.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use tokio::{
    task::spawn_blocking,
    time::{Instant, sleep},
};

use super::{cluster::Cluster, command::until};

/// A change is asked for again for so long while no node can be asked, or the directory elects a leader.
const ASKED_FOR: Duration = Duration::from_secs(30);
/// Exit codes of the commands: nobody could be asked, and the cluster is not well.
const UNREACHABLE: i32 = 3;
const NOT_WELL: i32 = 4;

/// What is known of a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeState {
    /// Such as `active`.
    pub state: String,
    /// Groups that it votes in.
    pub groups: Vec<u32>,
}

/// What is known of a group.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GroupState {
    /// Who leads it.
    pub leader: Option<u32>,
    /// Who votes.
    pub voters: Vec<u32>,
    /// Who is being brought up.
    pub learners: Vec<u32>,
    /// Whether its members are being changed.
    pub changing: bool,
    /// Who has a replica of it.
    pub replicas: Vec<u32>,
}

/// What `conclave status` says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// Nodes, those that have been removed among them.
    pub nodes: BTreeMap<u32, NodeState>,
    /// Groups.
    pub groups: BTreeMap<u32, GroupState>,
    /// Whether nothing is left to do.
    pub settled: bool,
    /// What is wrong.
    pub problems: Vec<String>,
}

impl Status {
    fn of(value: &Value) -> Self {
        let list = |value: &Value, name: &str| value[name].as_array().cloned().unwrap_or_default();
        let number = |value: &Value| value.as_u64().and_then(|number| u32::try_from(number).ok());
        let numbers = |value: &Value, name: &str| {
            list(value, name).iter().filter_map(number).collect::<Vec<u32>>()
        };
        let node = |node: &Value| {
            let state = node["state"].as_str().unwrap_or_default().to_owned();
            Some((number(&node["node_id"])?, NodeState { state, groups: numbers(node, "groups") }))
        };
        let group = |group: &Value| {
            let of_replica = |replica: &Value| number(&replica["node_id"]);
            let state = GroupState {
                leader: number(&group["leader"]),
                voters: numbers(group, "voters"),
                learners: numbers(group, "learners"),
                changing: group["changing"] == true,
                replicas: list(group, "replicas").iter().filter_map(of_replica).collect(),
            };
            Some((number(&group["group"])?, state))
        };
        let problem = |problem: &Value| problem.as_str().map(str::to_owned);
        Self {
            nodes: list(value, "nodes").iter().filter_map(node).collect(),
            groups: list(value, "groups").iter().filter_map(group).collect(),
            settled: value["settled"] == true,
            problems: list(value, "problems").iter().filter_map(problem).collect(),
        }
    }

    /// The state of a node, in a word.
    pub fn state(&self, node: u32) -> &str {
        self.nodes.get(&node).map_or("unknown", |node| &node.state)
    }

    /// Whether the cluster has these nodes and no others, and every group these voters and nothing else.
    pub fn is_just(&self, nodes: &[u32]) -> bool {
        let here = self.nodes.iter().filter(|(_, node)| node.state != "removed");
        self.settled
            && here.clone().map(|(id, _)| *id).eq(nodes.iter().copied())
            && here.clone().all(|(_, node)| node.state == "active")
            && self.groups.values().all(|group| {
                group.voters == nodes
                    && group.replicas == nodes
                    && group.learners.is_empty()
                    && !group.changing
                    && group.leader.is_some()
            })
    }
}

impl Status {
    /// Whether no leader would be moved for the sake of balance: each node leads as many groups as another, or one more.
    pub fn is_balanced(&self, nodes: &[u32]) -> bool {
        let leads = |id: &u32| self.groups.values().filter(|g| g.leader == Some(*id)).count();
        let counts: Vec<usize> = nodes.iter().map(leads).collect();
        let (most, least) = (counts.iter().max(), counts.iter().min());
        most.copied().unwrap_or(0) <= least.copied().unwrap_or(0) + 1
    }
}

/// How a command has ended.
struct Done {
    code: Option<i32>,
    printed: String,
    errors: String,
}

impl Cluster {
    /// Runs a command of an administrator to its end. Nodes among `except` are not asked.
    async fn command(&self, arguments: &[&str], except: &[u32]) -> Result<Done> {
        let addresses: Vec<String> = self
            .network
            .all()
            .iter()
            .filter(|(id, _)| !except.contains(id))
            .map(|(_, addresses)| addresses.known.to_string())
            .collect();
        let pki = self.dir.join("pki");
        let files: [(&str, PathBuf); 3] = [
            ("--ca", pki.join("ca.pem")),
            ("--certificate", pki.join("admin.pem")),
            ("--key", pki.join("admin-key.pem")),
        ];
        let mut command = Command::new(&self.binary);
        command.args(arguments).arg("--address").arg(addresses.join(",")).stdin(Stdio::null());
        for (name, path) in files {
            command.arg(name).arg(path);
        }
        let output = spawn_blocking(move || command.output()).await?;
        let output = output.context("the server's commands cannot be run")?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
        let code = output.status.code();
        Ok(Done { code, printed: text(&output.stdout), errors: text(&output.stderr) })
    }

    /// Asks for a change until it is taken on. Every change can be repeated.
    ///
    /// # Errors
    /// It is refused, or nobody can be asked for a long time.
    pub async fn operate(&self, arguments: &[&str], except: &[u32]) -> Result<String> {
        let deadline = Instant::now() + ASKED_FOR;
        loop {
            let done = self.command(arguments, except).await?;
            match done.code {
                Some(0) => return Ok(done.printed),
                Some(UNREACHABLE) if Instant::now() < deadline => {
                    sleep(Duration::from_millis(100)).await;
                }
                _ => bail!("conclave {}: {}", arguments.join(" "), done.errors),
            }
        }
    }

    /// What the cluster says of itself; `None` while the directory does not answer.
    ///
    /// # Errors
    /// The command does not work.
    pub async fn status(&self, except: &[u32]) -> Result<Option<Status>> {
        let done = self.command(&["status", "--json"], except).await?;
        match done.code {
            Some(0 | NOT_WELL) => {}
            Some(UNREACHABLE) => return Ok(None),
            _ => bail!("conclave status: {}", done.errors),
        }
        let status = Status::of(&serde_json::from_str(&done.printed)?);
        // a node that cannot reach the directory names none
        Ok(Some(status).filter(|status| !status.nodes.is_empty()))
    }

    /// Waits until the cluster is as `wanted` says. Nodes among `except` are not asked.
    ///
    /// # Errors
    /// It never is; what it said last.
    pub async fn wait_status(
        &self,
        what: &str,
        limit: Duration,
        except: &[u32],
        wanted: impl Fn(&Status) -> bool,
    ) -> Result<()> {
        let mut last = None;
        let waited = until(what, limit, async || match self.status(except).await {
            Ok(Some(status)) => {
                let there = wanted(&status);
                last = Some(status);
                there
            }
            Ok(None) | Err(_) => false,
        });
        waited.await.with_context(|| format!("{last:?}"))?;
        ensure!(last.is_some(), "no status");
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn status(voters: &[u32], replicas: &[u32], states: [&str; 4]) -> Status {
        let replicas: Vec<_> = replicas.iter().map(|id| json!({ "node_id": id })).collect();
        let nodes =
            states.iter().zip(1..).map(|(state, id)| json!({ "node_id": id, "state": state }));
        Status::of(&json!({
            "settled": true, "nodes": nodes.collect::<Vec<_>>(),
            "groups": [{
                "group": 0, "leader": 1, "voters": voters, "learners": [], "changing": false,
                "replicas": replicas,
            }],
        }))
    }

    #[test]
    fn a_membership_is_as_planned_when_nothing_is_missing_and_nothing_is_left_over() {
        let (planned, removed) = (["active", "active", "active", "removed"], [1, 2, 3]);
        assert!(status(&[1, 2, 3], &[1, 2, 3], planned).is_just(&removed));
        assert!(!status(&[1, 2], &[1, 2, 3], planned).is_just(&removed));
        assert!(!status(&[1, 2, 3], &[1, 2, 3, 4], planned).is_just(&removed));
        let other = ["active", "active", "draining", "removed"];
        assert!(!status(&[1, 2, 3], &[1, 2, 3], other).is_just(&removed));
        assert_eq!(status(&[1], &[1], planned).state(4), "removed");
    }
}
