//! Moves groups: asks every node what it has, plans, and has one step made in each group. It runs on
//! every node, and acts on the one that leads the directory.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use conclave_store::DIRECTORY_GROUP;
use futures::{StreamExt as _, future::join_all, stream};
use tokio::time::{Instant, sleep, timeout};

use crate::{
    manage::ManageOptions,
    membership::MemberChange,
    placement::{
        observe::{self, Observed},
        plan::{GroupPlan, NodeView, Standing, Step, held_back, plan},
    },
    proto::{self, change_members_request::Change},
    registry::{NodeState, Nodes, RegisteredNode, Registry, RegistryError},
    replicas::HostInner,
    types::LogId,
};

/// How long a node has to say what it has.
const STATUS_WITHIN: Duration = Duration::from_millis(1_000);
/// Nodes that are asked at once.
const ASKED_AT_ONCE: usize = 16;
/// The wait after a pass in which something was done, nothing was, and on a node that does not lead.
const AGAIN_AFTER: Duration = Duration::from_millis(50);
const LOOK_EVERY: Duration = Duration::from_millis(500);
const IDLE_EVERY: Duration = Duration::from_millis(200);
/// Leaders are balanced when nothing has changed for this long: a node that restarts has time to
/// come back.
const CALM_FOR: Duration = Duration::from_secs(5);

pub(crate) struct Controller {
    host: Arc<HostInner>,
    registry: Registry,
    options: ManageOptions,
    /// When each node was last reached, or first missed.
    reached: BTreeMap<u64, Instant>,
    moving_since: BTreeMap<u32, Instant>,
    /// Since when the same nodes answer and nothing has been moved, and which they are.
    calm: Option<(Instant, BTreeSet<u64>)>,
}

/// What one pass has seen and done.
struct Pass {
    acted: bool,
    status: proto::PlacementStatus,
}

impl Controller {
    pub(crate) fn new(host: Arc<HostInner>, registry: Registry, options: ManageOptions) -> Self {
        Self {
            host,
            registry,
            options,
            reached: BTreeMap::new(),
            moving_since: BTreeMap::new(),
            calm: None,
        }
    }

    pub(crate) async fn run(mut self) {
        loop {
            let Some(term) = self.leads_directory() else {
                self.forget();
                sleep(IDLE_EVERY).await;
                continue;
            };
            let pause = match self.pass(term).await {
                Ok(pass) => {
                    *self.host.placement.lock() = Some(pass.status);
                    if pass.acted { AGAIN_AFTER } else { LOOK_EVERY }
                }
                Err(error) => {
                    tracing::debug!(%error, "no look at the cluster");
                    LOOK_EVERY
                }
            };
            sleep(pause).await;
        }
    }

    /// The term in which this node leads the directory.
    fn leads_directory(&self) -> Option<u64> {
        let status = self.host.group(DIRECTORY_GROUP)?.status();
        status.is_leader.then_some(status.term)
    }

    /// Another node has taken over: it has its own view, and this one begins anew.
    fn forget(&mut self) {
        self.reached.clear();
        self.moving_since.clear();
        self.calm = None;
        *self.host.placement.lock() = None;
    }

    async fn pass(&mut self, term: u64) -> Result<Pass, RegistryError> {
        // linearizable: who does not lead the directory any more learns it here
        let nodes = self.registry.nodes().await?;
        if nodes.replication_factor == 0 {
            let now_ms = self.host.shared.clock.now_ms();
            let (replication_factor, groups) =
                (self.options.replication_factor, self.options.groups);
            self.registry.create(replication_factor, groups, now_ms).await?;
            return Ok(Pass { acted: true, status: proto::PlacementStatus::default() });
        }
        let answers = self.ask_all(&nodes, term).await;
        let groups = observe::groups(self.options.groups, &answers);
        let heard = observe::heard_by_leaders(&answers);
        let away = self.note_reached(&nodes, &answers, &observe::members(&groups), &heard);
        let mut acted = self.move_states(&nodes, &answers, &groups).await?;

        let node_views = observe::nodes(&nodes, &answers, &away, &heard, self.options.dead_after);
        let group_views = groups.iter().map(|(n, group)| (*n, group.view.clone())).collect();
        let calm = self.is_calm(&answers, &groups);
        let plans = plan(&node_views, &group_views, nodes.replication_factor, calm);

        // seen while the steps are made, which may take seconds
        let mut status = self.status(&plans, &groups, &away);
        if plans.is_empty() {
            note_stuck(&mut status, &node_views, &groups);
        }
        let held_back = held_back(&node_views, &group_views, nodes.replication_factor);
        status.settled &= held_back.is_empty();
        status.waiting.extend(held_back);
        *self.host.placement.lock() = Some(status.clone());
        let steps = plans.iter().filter_map(|(number, plan)| {
            let (group, step) = (groups.get(number)?, plan.step.clone()?);
            Some(self.act(*number, group, step, &nodes, term))
        });
        for failure in join_all(steps).await {
            match failure {
                Ok(()) => acted = true,
                Err(failure) => {
                    tracing::info!(failure, "a step of placement is made later");
                    status.waiting.push(failure);
                }
            }
        }
        let balances = plans.values().all(|plan| matches!(plan.step, Some(Step::MoveLeader(_))));
        if !plans.is_empty() && !balances {
            self.calm = None;
        }
        Ok(Pass { acted, status })
    }

    async fn ask_all(&self, nodes: &Nodes, term: u64) -> BTreeMap<u64, proto::NodeStatus> {
        let own = self.host.shared.node_id;
        let asked: Vec<_> = nodes
            .nodes
            .iter()
            .filter(|node| node.state != NodeState::Removed)
            .map(|node| async move {
                let id = node.node_id;
                if id == own {
                    return Some((id, self.host.node_status()));
                }
                let asked = self.host.control.status(id, &node.address, term);
                let status = timeout(STATUS_WITHIN, asked).await.ok()?.ok()?;
                // who has other data is not that node
                (status.incarnation == node.incarnation).then_some((id, status))
            })
            .collect();
        let answers = stream::iter(asked).buffer_unordered(ASKED_AT_ONCE);
        answers.filter_map(|answer| async move { answer }).collect().await
    }

    /// For how long each node has not been reached. Members that have never registered are not asked: of them leaders know.
    fn note_reached(
        &mut self,
        nodes: &Nodes,
        answers: &BTreeMap<u64, proto::NodeStatus>,
        members: &BTreeSet<u64>,
        heard_by_leaders: &BTreeSet<u64>,
    ) -> BTreeMap<u64, Duration> {
        let now = Instant::now();
        let registered = nodes.nodes.iter().filter(|node| node.state != NodeState::Removed);
        let registered = registered.map(|node| (node.node_id, answers.contains_key(&node.node_id)));
        let unknown = members.iter().filter(|id| nodes.get(**id).is_none());
        let unknown = unknown.map(|id| (*id, heard_by_leaders.contains(id)));
        let mut away = BTreeMap::new();
        for (id, is_reached) in registered.chain(unknown) {
            let reached = self.reached.entry(id).or_insert(now);
            if is_reached {
                *reached = now;
            } else {
                away.insert(id, now.saturating_duration_since(*reached));
            }
        }
        away
    }

    /// Takes up nodes that have come, and notes that nodes have given everything away.
    async fn move_states(
        &self,
        nodes: &Nodes,
        answers: &BTreeMap<u64, proto::NodeStatus>,
        groups: &BTreeMap<u32, Observed>,
    ) -> Result<bool, RegistryError> {
        // who is a member is known for certain only while every group has a leader that says so
        let certain = groups
            .values()
            .all(|group| group.view.leader.is_some() && group.view.committed && !group.view.joint);
        let is_member = |id: u64| {
            groups.values().any(|g| g.view.voters.contains(&id) || g.view.learners.contains(&id))
        };
        let mut changed = false;
        for node in &nodes.nodes {
            let id = node.node_id;
            let next = match node.state {
                NodeState::Joining if answers.contains_key(&id) => NodeState::Active,
                NodeState::Draining
                    if certain
                        && !is_member(id)
                        && answers.get(&id).is_none_or(|answer| answer.replicas.is_empty()) =>
                {
                    NodeState::Drained
                }
                NodeState::Dead if certain && !is_member(id) => NodeState::Removed,
                _ => continue,
            };
            let seen = node.state;
            let decide = |now: &RegisteredNode, _: &Nodes| {
                Ok::<_, String>((now.state == seen).then_some(next))
            };
            self.registry.change(id, decide, None).await?;
            tracing::info!(node = id, state = ?next, "a node has changed");
            changed = true;
        }
        Ok(changed)
    }

    fn is_calm(
        &mut self,
        answers: &BTreeMap<u64, proto::NodeStatus>,
        groups: &BTreeMap<u32, Observed>,
    ) -> bool {
        if groups.values().any(|group| group.view.leader.is_none()) {
            self.calm = None;
            return false;
        }
        let now = Instant::now();
        let there: BTreeSet<u64> =
            answers.iter().filter(|(_, a)| !a.sheds_leaders).map(|(id, _)| *id).collect();
        match &self.calm {
            Some((since, same)) if *same == there => now.duration_since(*since) >= CALM_FOR,
            _ => {
                self.calm = Some((now, there));
                false
            }
        }
    }

    fn status(
        &mut self,
        plans: &BTreeMap<u32, GroupPlan>,
        groups: &BTreeMap<u32, Observed>,
        away: &BTreeMap<u64, Duration>,
    ) -> proto::PlacementStatus {
        let now = Instant::now();
        self.moving_since.retain(|number, _| plans.contains_key(number));
        let mut status = proto::PlacementStatus { settled: plans.is_empty(), ..Default::default() };
        for (number, plan) in plans {
            let since = *self.moving_since.entry(*number).or_insert(now);
            let lag = plan.about.and_then(|id| groups.get(number)?.lag.get(&id).copied());
            if let (None, Some(waits)) = (&plan.step, &plan.waits) {
                status.waiting.push(format!("group {number}: {waits}"));
            }
            status.moves.push(proto::GroupMove {
                group: *number,
                target: plan.target.iter().copied().collect(),
                step: match (&plan.step, &plan.waits) {
                    (Some(step), _) => step.to_string(),
                    (None, waits) => waits.clone().unwrap_or_default(),
                },
                node_id: plan.about.unwrap_or(0),
                lag_entries: lag,
                for_ms: millis(now.saturating_duration_since(since)),
            });
        }
        status.unreachable = away
            .iter()
            .map(|(id, away)| proto::UnreachableNode { node_id: *id, for_ms: millis(*away) })
            .collect();
        status
    }

    /// Has one step made.
    async fn act(
        &self,
        number: u32,
        group: &Observed,
        step: Step,
        nodes: &Nodes,
        term: u64,
    ) -> Result<(), String> {
        let (Some(membership), Some(leader)) = (group.membership, group.view.leader) else {
            return Err(format!("group {number} has no leader"));
        };
        tracing::info!(group = number, %step, "placement");
        let at = match &step {
            Step::Open(node) | Step::Close(node) => *node,
            _ => leader,
        };
        let done = if at == self.host.shared.node_id {
            self.act_here(number, membership, group.level, step.clone(), nodes).await
        } else {
            let address = address_of(nodes, at);
            match address {
                Ok(address) => {
                    let to = (at, &address[..]);
                    self.ask(number, membership, group.level, step.clone(), to, nodes, term).await
                }
                Err(error) => Err(error),
            }
        };
        done.map_err(|error| format!("group {number}: {step}: {error}"))
    }

    async fn act_here(
        &self,
        number: u32,
        membership: LogId,
        level: u32,
        step: Step,
        nodes: &Nodes,
    ) -> Result<(), String> {
        match step {
            Step::Open(_) => return self.host.open_group(number, membership, level).await,
            Step::Close(_) => return self.host.close_group(number, membership).await,
            _ => {}
        }
        let group = self.host.group(number).ok_or("the group is not here any more")?;
        let change = match step {
            Step::MoveLeader(to) => return group.move_leader(to).await,
            Step::AddLearner(id) => MemberChange::AddLearner(id, address_of(nodes, id)?),
            Step::RemoveLearner(id) => MemberChange::RemoveLearner(id),
            Step::SetVoters(voters) => MemberChange::Voters(voters),
            Step::Open(_) | Step::Close(_) => return Ok(()),
        };
        group.change_members(membership, change).await
    }

    #[expect(clippy::too_many_arguments, reason = "what a request holds")]
    async fn ask(
        &self,
        group: u32,
        membership: LogId,
        feature_level: u32,
        step: Step,
        (at, address): (u64, &str),
        nodes: &Nodes,
        term: u64,
    ) -> Result<(), String> {
        let control = &self.host.control;
        let header = control.header(at, term);
        let membership = Some((&membership).into());
        let change = match step {
            Step::Open(_) => {
                let request = proto::OpenGroupRequest { header, group, membership, feature_level };
                return control.open_group(address, request).await;
            }
            Step::Close(_) => {
                let request = proto::CloseGroupRequest { header, group, membership };
                return control.close_group(address, request).await;
            }
            Step::MoveLeader(to) => {
                let request = proto::MoveLeaderRequest { header, group, to };
                return control.move_leader(address, request).await;
            }
            Step::AddLearner(id) => {
                Change::AddLearner(proto::Node { node_id: id, address: address_of(nodes, id)? })
            }
            Step::RemoveLearner(id) => Change::RemoveLearner(id),
            Step::SetVoters(voters) => {
                Change::Voters(proto::NodeSet { node_ids: voters.into_iter().collect() })
            }
        };
        let change = Some(change);
        let request = proto::ChangeMembersRequest { header, group, membership, change };
        control.change_members(address, request).await
    }
}

/// Nothing can be done, and yet there are nodes that should have no groups.
fn note_stuck(
    status: &mut proto::PlacementStatus,
    nodes: &BTreeMap<u64, NodeView>,
    groups: &BTreeMap<u32, Observed>,
) {
    for (id, node) in nodes {
        let should_have_none = matches!(node.standing, Standing::Dead | Standing::Leaves);
        if should_have_none && groups.values().any(|group| group.view.voters.contains(id)) {
            status.settled = false;
            status.waiting.push(format!("no node can take the place of node {id}"));
        }
    }
}

fn address_of(nodes: &Nodes, id: u64) -> Result<String, String> {
    let node = nodes.get(id).ok_or_else(|| format!("node {id} is not registered"))?;
    Ok(node.address.clone())
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
