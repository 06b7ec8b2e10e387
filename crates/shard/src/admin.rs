//! What operators see of the nodes and groups of a cluster, and what they can ask for.
//!
//! An [`Admin`] works in every process that reaches the cluster, one without data too. What it
//! changes is the state of a node in the registry; the controller, on the node that leads the
//! directory, then moves groups until that is so. [`Admin::progress`] says how far it is.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use conclave_store::{Clock, DIRECTORY_GROUP, Store, levels};
use conclave_tls::Mutual;
use futures::{Stream, StreamExt as _, stream};

use crate::{
    proto,
    registry::{NewId, NodeState, RegisteredNode, Registry, RegistryError},
    transport::ControlClient,
};

/// How often [`Admin::watch`] looks.
const WATCH_EVERY: Duration = Duration::from_millis(500);
/// Nodes that are asked at once.
const ASKED_AT_ONCE: usize = 16;

/// What an [`Admin`] needs to know.
pub struct AdminOptions {
    /// The cluster; nodes of another one refuse.
    pub cluster_id: String,
    /// The way to the directory.
    pub store: Arc<dyn Store>,
    /// Mutual TLS with nodes; without it, only this machine is spoken to.
    pub tls: Option<Arc<Mutual>>,
    /// The clock of this process.
    pub clock: Arc<dyn Clock>,
    /// Makes the ids of commits.
    pub new_id: NewId,
}

/// A node, as the registry and the node itself know it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeInfo {
    /// What the directory knows: number, address, roles, state.
    pub registered: RegisteredNode,
    /// Whether it has answered just now, with the data that it is known with.
    pub reachable: bool,
    /// For how long the controller has not reached it, in milliseconds; 0 when it has.
    pub unreachable_ms: u64,
    /// How far its clock is ahead of this process's, in milliseconds; it holds the way there.
    pub clock_skew_ms: Option<i64>,
    /// The highest feature level that it knows; `None` while it does not answer.
    pub feature_level: Option<u32>,
    /// Groups that it votes in, as their leaders know.
    pub groups: Vec<u32>,
    /// Groups that it is being brought up in.
    pub learning: Vec<u32>,
    /// Groups that it leads.
    pub leads: Vec<u32>,
}

/// A group, as its replicas know it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GroupInfo {
    /// The directory is 0.
    pub group: u32,
    /// Who leads, where somebody says so.
    pub leader: Option<u64>,
    /// The leader's term, or the highest one that is known.
    pub term: u64,
    /// Who votes.
    pub voters: Vec<u64>,
    /// Who is being brought up.
    pub learners: Vec<u64>,
    /// Whether the membership that is said is not committed, or is one of two.
    pub changing: bool,
    /// The feature level, as the leader has it, or else the highest that is known.
    pub feature_level: u32,
    /// Those that have been reached.
    pub replicas: Vec<ReplicaInfo>,
    /// What is being done to it.
    pub moving: Option<Move>,
}

/// One replica of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplicaInfo {
    /// Whose it is.
    pub node_id: u64,
    /// Whether it runs and has recovered.
    pub healthy: bool,
    /// The last entry of its log.
    pub last_log_index: u64,
    /// The last entry that it knows to be committed.
    pub committed_index: u64,
    /// The last entry that it has applied.
    pub applied_index: u64,
    /// Entries of the leader's log that it has not confirmed; where the leader is known.
    pub lag_entries: Option<u64>,
    /// Bytes of its state on disk.
    pub state_bytes: u64,
}

/// What the controller is doing to a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Move {
    /// The group.
    pub group: u32,
    /// Who is to vote in the end.
    pub target: Vec<u64>,
    /// The step under way, for people.
    pub step: String,
    /// The node that it is about.
    pub node_id: u64,
    /// Entries that a new member lacks.
    pub lag_entries: Option<u64>,
    /// Since the group is being moved, in milliseconds.
    pub for_ms: u64,
}

/// How far the controller is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Progress {
    /// The node on which it runs; `None` while none is known.
    pub controller: Option<u64>,
    /// Nothing is left to do.
    pub settled: bool,
    /// What is being moved.
    pub moves: Vec<Move>,
    /// Why something that should be done is not, for people.
    pub waiting: Vec<String>,
}

/// Why something cannot be told or done.
pub type AdminError = RegistryError;

/// Nodes and groups of a cluster. Clones share connections.
#[derive(Clone)]
pub struct Admin {
    registry: Registry,
    control: Arc<ControlClient>,
    clock: Arc<dyn Clock>,
}

/// What a node has answered, and when the answer came.
struct Answer {
    status: proto::NodeStatus,
    skew_ms: i64,
}

impl Admin {
    /// Connections are made when they are needed.
    pub fn new(options: AdminOptions) -> Self {
        Self {
            registry: Registry::new(options.store, options.new_id),
            control: Arc::new(ControlClient::new(options.cluster_id, 0, options.tls)),
            clock: options.clock,
        }
    }

    /// Every node, those that have been removed included.
    ///
    /// # Errors
    /// The directory does not answer.
    pub async fn nodes(&self) -> Result<Vec<NodeInfo>, AdminError> {
        let (nodes, answers) = self.ask_all().await?;
        let groups = groups_of(&answers);
        let unreachable = placement(&answers).map(|(_, placement)| &placement.unreachable);
        let list = |of: &dyn Fn(&GroupInfo) -> bool| {
            groups.iter().filter(|group| of(group)).map(|group| group.group).collect::<Vec<_>>()
        };
        let nodes = nodes.into_iter().map(|registered| {
            let id = registered.node_id;
            let answer = answers.get(&id);
            let away = unreachable.into_iter().flatten().find(|away| away.node_id == id);
            NodeInfo {
                reachable: answer.is_some(),
                unreachable_ms: away.map_or(0, |away| away.for_ms),
                clock_skew_ms: answer.map(|answer| answer.skew_ms),
                feature_level: answer.map(|answer| answer.status.feature_level.max(levels::FIRST)),
                groups: list(&|group| group.voters.contains(&id)),
                learning: list(&|group| group.learners.contains(&id)),
                leads: list(&|group| group.leader == Some(id)),
                registered,
            }
        });
        Ok(nodes.collect())
    }

    /// Every group of which a replica has been reached.
    ///
    /// # Errors
    /// The directory does not answer.
    pub async fn groups(&self) -> Result<Vec<GroupInfo>, AdminError> {
        let (_, answers) = self.ask_all().await?;
        Ok(groups_of(&answers))
    }

    /// How far the controller is.
    ///
    /// # Errors
    /// The directory does not answer.
    pub async fn progress(&self) -> Result<Progress, AdminError> {
        let (_, answers) = self.ask_all().await?;
        Ok(placement(&answers).map_or_else(Progress::default, |(node_id, placement)| Progress {
            controller: Some(node_id),
            settled: placement.settled,
            moves: placement.moves.iter().map(move_in).collect(),
            waiting: placement.waiting.clone(),
        }))
    }

    /// [`Admin::progress`] now, and again whenever it has changed. Ends when nobody listens.
    pub fn watch(&self) -> impl Stream<Item = Result<Progress, AdminError>> + Send + 'static {
        let state = (self.clone(), None::<Result<Progress, AdminError>>);
        stream::unfold(state, |(admin, before)| async move {
            loop {
                if before.is_some() {
                    tokio::time::sleep(WATCH_EVERY).await;
                }
                let now = admin.progress().await;
                if before.as_ref() != Some(&now) {
                    return Some((now.clone(), (admin, Some(now))));
                }
            }
        })
        .fuse()
    }

    /// Has a node give all its groups away; done when its state is [`NodeState::Drained`]. Again:
    /// nothing.
    ///
    /// # Errors
    /// There is no such node, it does not come back anyway, or it is the last one that takes groups.
    pub async fn drain(&self, node_id: u64) -> Result<(), AdminError> {
        let decide = |node: &RegisteredNode, nodes: &crate::registry::Nodes| match node.state {
            NodeState::Draining | NodeState::Drained => Ok(None),
            NodeState::Dead | NodeState::Removed => Err(gone(node)),
            NodeState::Joining | NodeState::Active => {
                let takes = |other: &&RegisteredNode| {
                    other.node_id != node_id && other.state == NodeState::Active
                };
                match nodes.nodes.iter().find(takes) {
                    Some(_) => Ok(Some(NodeState::Draining)),
                    None => Err(format!("node {node_id} is the last one that takes groups")),
                }
            }
        };
        self.registry.change(node_id, decide, None).await
    }

    /// Has a node take groups again that was draining or drained. Again: nothing.
    ///
    /// # Errors
    /// There is no such node, or it does not come back.
    pub async fn undrain(&self, node_id: u64) -> Result<(), AdminError> {
        let decide = |node: &RegisteredNode, _: &crate::registry::Nodes| match node.state {
            NodeState::Draining | NodeState::Drained => Ok(Some(NodeState::Active)),
            NodeState::Joining | NodeState::Active => Ok(None),
            NodeState::Dead | NodeState::Removed => Err(gone(node)),
        };
        self.registry.change(node_id, decide, None).await
    }

    /// Declares that a node does not come back, and has its groups given to others at once: to `with`
    /// where it is given. The node is removed when it has none any more.
    ///
    /// # Errors
    /// There is no such node, or `with` does not take groups, or the dead one answers.
    pub async fn replace(&self, dead: u64, with: Option<u64>) -> Result<(), AdminError> {
        let nodes = self.registry.nodes().await?;
        let answers = || {
            RegistryError::Refused(format!(
                "node {dead} answers: drain it instead, or stop it first"
            ))
        };
        // one that a group was made with may have died before it registered
        let buried_at = match nodes.get(dead) {
            Some(node) if node.state != NodeState::Dead && self.ask(node).await.is_some() => {
                return Err(answers());
            }
            Some(_) => None,
            None => {
                let address = self.member(dead).await?.ok_or(RegistryError::NoSuchNode(dead))?;
                if self.control.status(dead, &address, 0).await.is_ok() {
                    return Err(answers());
                }
                Some(address)
            }
        };
        if let Some(with) = with {
            let new = nodes.get(with).ok_or(RegistryError::NoSuchNode(with))?;
            if with == dead || !matches!(new.state, NodeState::Active | NodeState::Joining) {
                return Err(RegistryError::Refused(format!("node {with} does not take groups")));
            }
        }
        if let Some(address) = buried_at {
            return self.registry.bury(dead, address, with).await;
        }
        let decide = |node: &RegisteredNode, _: &crate::registry::Nodes| match node.state {
            NodeState::Removed => Err(gone(node)),
            _ => Ok(Some(NodeState::Dead)),
        };
        self.registry.change(dead, decide, with).await
    }

    /// Where a member of a group is, as the group knows; `None` when no group has it.
    async fn member(&self, node_id: u64) -> Result<Option<String>, AdminError> {
        let (_, answers) = self.ask_all().await?;
        let replicas = answers.values().flat_map(|answer| &answer.status.replicas);
        let memberships = replicas.filter_map(|r| r.membership.as_ref()?.membership.as_ref());
        let mut nodes = memberships.flat_map(|membership| &membership.nodes);
        Ok(nodes.find(|node| node.node_id == node_id).map(|node| node.address.clone()))
    }

    /// Ends the membership of a drained node for good. Again: nothing.
    ///
    /// # Errors
    /// There is no such node, or it may still have groups.
    pub async fn remove(&self, node_id: u64) -> Result<(), AdminError> {
        let decide = |node: &RegisteredNode, _: &crate::registry::Nodes| match node.state {
            NodeState::Drained => Ok(Some(NodeState::Removed)),
            NodeState::Removed => Ok(None),
            NodeState::Dead => Err(format!("node {node_id} is being replaced, and removed then")),
            NodeState::Draining => Err(format!("node {node_id} has not given all its groups away")),
            NodeState::Joining | NodeState::Active => {
                Err(format!("node {node_id} takes groups: drain it first"))
            }
        };
        self.registry.change(node_id, decide, None).await
    }

    async fn ask(&self, node: &RegisteredNode) -> Option<Answer> {
        let status = self.control.status(node.node_id, &node.address, 0).await.ok()?;
        // who has other data is not that node
        if status.incarnation != node.incarnation {
            return None;
        }
        let skew_ms = status.clock_ms.saturating_sub(self.clock.now_ms());
        Some(Answer { status, skew_ms })
    }

    async fn ask_all(&self) -> Result<(Vec<RegisteredNode>, BTreeMap<u64, Answer>), AdminError> {
        let nodes = self.registry.nodes().await?.nodes;
        let asked: Vec<_> = nodes
            .iter()
            .filter(|node| node.state != NodeState::Removed)
            .map(|node| async move { Some((node.node_id, self.ask(node).await?)) })
            .collect();
        let answers = stream::iter(asked).buffer_unordered(ASKED_AT_ONCE);
        let answers = answers.filter_map(|answer| async move { answer }).collect().await;
        Ok((nodes, answers))
    }
}

fn gone(node: &RegisteredNode) -> String {
    format!("node {} does not come back", node.node_id)
}

/// What the controller says: the node that leads the directory in the highest term.
fn placement(answers: &BTreeMap<u64, Answer>) -> Option<(u64, &proto::PlacementStatus)> {
    let controllers = answers.iter().filter_map(|(id, answer)| {
        let directory = answer.status.replicas.iter().find(|r| r.group == DIRECTORY_GROUP);
        let term = directory.filter(|replica| replica.leads)?.term;
        Some((term, *id, answer.status.placement.as_ref()?))
    });
    controllers.max_by_key(|(term, ..)| *term).map(|(_, id, placement)| (id, placement))
}

fn move_in(moving: &proto::GroupMove) -> Move {
    Move {
        group: moving.group,
        target: moving.target.clone(),
        step: moving.step.clone(),
        node_id: moving.node_id,
        lag_entries: moving.lag_entries,
        for_ms: moving.for_ms,
    }
}

fn groups_of(answers: &BTreeMap<u64, Answer>) -> Vec<GroupInfo> {
    let moves: Vec<Move> =
        placement(answers).map_or_else(Vec::new, |(_, p)| p.moves.iter().map(move_in).collect());
    type Replicas<'a> = Vec<(u64, &'a proto::ReplicaStatus)>;
    let mut groups: BTreeMap<u32, (GroupInfo, Replicas<'_>)> = BTreeMap::new();
    for (id, answer) in answers {
        for replica in &answer.status.replicas {
            groups.entry(replica.group).or_default().1.push((*id, replica));
        }
    }
    for (number, (group, replicas)) in &mut groups {
        group.group = *number;
        group.moving = moves.iter().find(|moving| moving.group == *number).cloned();
        group.term = replicas.iter().map(|(_, replica)| replica.term).max().unwrap_or(0);
        let leader = replicas.iter().filter(|(_, r)| r.leads).max_by_key(|(_, r)| r.term);
        group.leader = leader.map(|(id, _)| *id);
        let known = replicas.iter().map(|(_, replica)| replica.feature_level).max();
        let level = leader.map(|(_, replica)| replica.feature_level).or(known);
        group.feature_level = level.unwrap_or(0).max(levels::FIRST);
        // without a leader, the newest membership that is known
        let newest = leader.or_else(|| {
            replicas.iter().max_by_key(|(_, r)| {
                let id = r.membership.as_ref().and_then(|m| m.log_id);
                id.map_or((0, 0), |id| (id.leader.map_or(0, |leader| leader.term), id.index))
            })
        });
        let Some((_, source)) = newest else { continue };
        let members = crate::view::Members::of(source);
        group.voters = members.voters.iter().copied().collect();
        group.learners = members.learners.iter().copied().collect();
        group.changing = members.joint || !source.membership_committed;
        group.replicas = replicas
            .iter()
            .map(|(id, replica)| {
                let follower = source.followers.iter().find(|f| f.node_id == *id);
                let matched = match follower {
                    Some(follower) => follower.matched_index,
                    None => {
                        leader.filter(|(leader, _)| leader == id).map(|_| source.last_log_index)
                    }
                };
                let known = leader.is_some() && (follower.is_some() || matched.is_some());
                ReplicaInfo {
                    node_id: *id,
                    healthy: replica.healthy,
                    last_log_index: replica.last_log_index,
                    committed_index: replica.committed_index,
                    applied_index: replica.applied_index,
                    lag_entries: known
                        .then(|| source.last_log_index.saturating_sub(matched.unwrap_or(0))),
                    state_bytes: replica.state_bytes,
                }
            })
            .collect();
    }
    groups.into_values().map(|(group, _)| group).collect()
}
