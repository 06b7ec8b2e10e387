//! What is done next: a pure function of what the nodes and groups are.
//!
//! First every group gets a target, its voters in the end: it keeps those it has, as long as they may
//! stay; what is missing is filled from the nodes with the fewest groups; then single members are
//! exchanged until no two nodes differ by more than one group. Then each group takes one step towards its
//! target. Who is being brought up is preferred, so that a target stays what it is while it is
//! approached.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use conclave_store::DIRECTORY_GROUP;

use crate::{feature_level::too_old, replicas::voters_wanted};

/// Groups whose members change at the same time: the others keep their full speed.
const MOVING_MAX: usize = 2;

/// What may become of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    /// It takes groups and answers.
    Takes,
    /// It keeps what it has: it has just come, or has not answered for a short time.
    Keeps,
    /// It does not come back, or has not answered for long: it is replaced where somebody can take its
    /// place, and counts until then.
    Dead,
    /// It gives everything away.
    Leaves,
}

/// A node, as a plan takes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NodeView {
    pub standing: Standing,
    /// It must not be given leadership.
    pub sheds_leaders: bool,
    /// Who is to take its groups.
    pub replaced_by: Option<u64>,
    /// The highest feature level that it knows; `None` while it does not answer.
    pub level: Option<u32>,
}

impl NodeView {
    /// Whether it knows what the group has. Who does not answer may: it is not given anything anyway.
    fn can_serve(&self, group: &GroupView) -> bool {
        self.level.is_none_or(|level| level >= group.level)
    }
}

/// A group, as its leader sees it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct GroupView {
    pub leader: Option<u64>,
    /// Of both configurations while there are two.
    pub voters: BTreeSet<u64>,
    /// Those who vote when the change under way is done; the same as `voters` when there is none.
    pub next: BTreeSet<u64>,
    pub joint: bool,
    /// Whether the membership is committed.
    pub committed: bool,
    pub learners: BTreeSet<u64>,
    /// Nodes that have the replica open.
    pub open: BTreeSet<u64>,
    /// Members that answer the leader and lack almost nothing, the leader among them.
    pub up_to_date: BTreeSet<u64>,
    /// Members that answer the leader, the leader among them.
    pub answering: BTreeSet<u64>,
    /// The feature level of the group.
    pub level: u32,
}

/// What is done to a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    /// The node opens an empty replica.
    Open(u64),
    AddLearner(u64),
    MoveLeader(u64),
    /// All who vote afterwards.
    SetVoters(BTreeSet<u64>),
    RemoveLearner(u64),
    /// The node closes its replica and deletes the data.
    Close(u64),
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Open(id) => write!(f, "open a replica on node {id}"),
            Self::AddLearner(id) => write!(f, "bring node {id} up"),
            Self::MoveLeader(id) => write!(f, "have node {id} lead"),
            Self::SetVoters(voters) => write!(f, "make {voters:?} the voters"),
            Self::RemoveLearner(id) => write!(f, "forget node {id}"),
            Self::Close(id) => write!(f, "close the replica on node {id}"),
        }
    }
}

/// What a group is about to become.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct GroupPlan {
    pub target: BTreeSet<u64>,
    /// `None`: there is nothing to do, or only to wait.
    pub step: Option<Step>,
    /// What it waits for, for people.
    pub waits: Option<String>,
    /// The node that it is about.
    pub about: Option<u64>,
}

/// The next step of each group that is not as it should be. `balance_leaders`: also whether leaders
/// move that are not in the way of anything.
pub(crate) fn plan(
    nodes: &BTreeMap<u64, NodeView>,
    groups: &BTreeMap<u32, GroupView>,
    replication_factor: u32,
    balance_leaders: bool,
) -> BTreeMap<u32, GroupPlan> {
    let targets = targets(nodes, groups, replication_factor);
    let mut order: Vec<u32> = targets.keys().copied().collect();
    // what has been begun is ended first, and the directory, with which the controller moves, is last
    order.sort_by_key(|number| {
        let begun = groups.get(number).is_some_and(|g| g.joint || !g.learners.is_empty());
        (!begun, *number == DIRECTORY_GROUP, *number)
    });
    let mut plans = BTreeMap::new();
    let mut moving = 0;
    for number in order {
        let (Some(group), Some(target)) = (groups.get(&number), targets.get(&number)) else {
            continue;
        };
        let moves = group.joint || group.voters != *target;
        if moves && moving >= MOVING_MAX {
            continue;
        }
        if let Some(plan) = approach(nodes, group, target) {
            // what cannot go on does not hold up others
            moving += usize::from(moves && (plan.step.is_some() || !group.learners.is_empty()));
            plans.insert(number, plan);
        }
    }
    if balance_leaders
        && plans.is_empty()
        && let Some((number, to)) = leader_to_move(nodes, groups)
    {
        let target = targets.get(&number).cloned().unwrap_or_default();
        let step = Some(Step::MoveLeader(to));
        plans.insert(number, GroupPlan { target, step, waits: None, about: Some(to) });
    }
    plans
}

/// What is not done because nodes know too little, for people: groups that would be placed on them otherwise, and groups that have them
/// as members. Such members get nothing any more until they run another version.
pub(crate) fn held_back(
    nodes: &BTreeMap<u64, NodeView>,
    groups: &BTreeMap<u32, GroupView>,
    replication_factor: u32,
) -> Vec<String> {
    let mut equal = nodes.clone();
    equal.values_mut().for_each(|node| node.level = None);
    let wanted = targets(&equal, groups, replication_factor);
    let mut reasons = Vec::new();
    for (id, node) in nodes {
        let named = groups.iter().find(|(number, group)| {
            let member = group.voters.contains(id) || group.learners.contains(id);
            let wanted = wanted.get(*number).is_some_and(|target| target.contains(id));
            (member || wanted) && !node.can_serve(group)
        });
        if let (Some((number, group)), Some(level)) = (named, node.level) {
            reasons.push(too_old(*id, level, *number, group.level));
        }
    }
    reasons
}

fn standing(nodes: &BTreeMap<u64, NodeView>, id: u64) -> Standing {
    // a member that nobody has registered yet has just come
    nodes.get(&id).map_or(Standing::Keeps, |node| node.standing)
}

fn can_serve(nodes: &BTreeMap<u64, NodeView>, id: u64, group: &GroupView) -> bool {
    nodes.get(&id).is_none_or(|node| node.can_serve(group))
}

/// The voters that each group is to have.
pub(crate) fn targets(
    nodes: &BTreeMap<u64, NodeView>,
    groups: &BTreeMap<u32, GroupView>,
    replication_factor: u32,
) -> BTreeMap<u32, BTreeSet<u64>> {
    let members = groups.values().flat_map(|group| group.next.iter().copied());
    let known: BTreeSet<u64> = nodes.keys().copied().chain(members).collect();
    let staying = known.iter().filter(|id| standing(nodes, **id) != Standing::Leaves).count();
    let wanted = voters_wanted(replication_factor, staying);
    let taking: BTreeSet<u64> =
        known.iter().copied().filter(|id| standing(nodes, *id) == Standing::Takes).collect();

    let mut targets: BTreeMap<u32, BTreeSet<u64>> = BTreeMap::new();
    for (number, group) in groups {
        let stays = |id: &&u64| matches!(standing(nodes, **id), Standing::Takes | Standing::Keeps);
        targets.insert(*number, group.next.iter().filter(stays).copied().collect());
    }
    let mut load = Load::of(&targets);
    for (number, group) in groups {
        let Some(target) = targets.get_mut(number) else { continue };
        while target.len() > wanted.max(1) {
            let most = target.iter().copied().max_by_key(|id| (load.of_node(*id), *id));
            let Some(most) = most else { break };
            target.remove(&most);
            load.add(most, -1);
        }
        let successors: BTreeSet<u64> = group
            .next
            .iter()
            .filter_map(|id| nodes.get(id).filter(|n| n.standing == Standing::Dead)?.replaced_by)
            .collect();
        while target.len() < wanted {
            let free = taking.iter().copied();
            let free = free.filter(|id| !target.contains(id) && can_serve(nodes, *id, group));
            let best = free.min_by_key(|id| {
                let begun = group.learners.contains(id) || group.open.contains(id);
                (!successors.contains(id), !begun, load.of_node(*id), *id)
            });
            let Some(best) = best else { break };
            target.insert(best);
            load.add(best, 1);
        }
        // better a voter that is down, or waits to leave, than fewer voters
        for kept in [Standing::Dead, Standing::Leaves] {
            for id in group.next.iter().copied().filter(|id| standing(nodes, *id) == kept) {
                if target.len() < wanted.max(1) {
                    target.insert(id);
                }
            }
        }
        // an even number survives no more failures than one less: the last one waits for another
        if target.len() % 2 == 0
            && let Some(new) = target.difference(&group.next).max().copied()
        {
            target.remove(&new);
            load.add(new, -1);
        }
        if target.is_empty() {
            // nobody can take it: it stays where it is
            target.clone_from(&group.next);
        }
    }
    balance(nodes, &taking, groups, &mut targets, &mut load);
    targets
}

/// How many groups each node has.
struct Load(BTreeMap<u64, i64>);

impl Load {
    fn of(targets: &BTreeMap<u32, BTreeSet<u64>>) -> Self {
        let mut load = Self(BTreeMap::new());
        for id in targets.values().flatten() {
            load.add(*id, 1);
        }
        load
    }

    fn of_node(&self, id: u64) -> i64 {
        self.0.get(&id).copied().unwrap_or(0)
    }

    fn add(&mut self, id: u64, groups: i64) {
        *self.0.entry(id).or_insert(0) += groups;
    }
}

/// Exchanges single members until no two nodes that take groups differ by more than one.
fn balance(
    nodes: &BTreeMap<u64, NodeView>,
    taking: &BTreeSet<u64>,
    groups: &BTreeMap<u32, GroupView>,
    targets: &mut BTreeMap<u32, BTreeSet<u64>>,
    load: &mut Load,
) {
    // each exchange brings two nodes closer together, so there are fewer
    for _ in 0..groups.len() * taking.len().max(1) * 2 {
        let mut pairs: Vec<(u64, u64)> = Vec::new();
        for &from in taking {
            let lighter = taking.iter().filter(|to| load.of_node(from) - load.of_node(**to) >= 2);
            pairs.extend(lighter.map(|&to| (from, to)));
        }
        pairs.sort_by_key(|(from, to)| (load.of_node(*to) - load.of_node(*from), *from, *to));
        let exchange = pairs.into_iter().find_map(|(from, to)| {
            let fits = targets
                .iter()
                .filter(|(_, target)| target.contains(&from) && !target.contains(&to))
                .filter(|(number, _)| {
                    groups.get(number).is_some_and(|group| can_serve(nodes, to, group))
                });
            let number = fits.map(|(number, _)| *number).min_by_key(|number| {
                let begun = groups
                    .get(number)
                    .is_some_and(|group| group.learners.contains(&to) || group.open.contains(&to));
                (!begun, *number == DIRECTORY_GROUP, *number)
            })?;
            Some((number, from, to))
        });
        let Some((number, from, to)) = exchange else { return };
        if let Some(target) = targets.get_mut(&number) {
            target.remove(&from);
            target.insert(to);
            load.add(from, -1);
            load.add(to, 1);
        }
    }
}

/// The next step of one group towards its target; `None` when it is there.
fn approach(
    nodes: &BTreeMap<u64, NodeView>,
    group: &GroupView,
    target: &BTreeSet<u64>,
) -> Option<GroupPlan> {
    let plan = |step: Option<Step>, waits: Option<String>, about: Option<u64>| {
        Some(GroupPlan { target: target.clone(), step, waits, about })
    };
    let waits = |what: &str, about| plan(None, Some(what.to_owned()), about);
    let Some(leader) = group.leader else { return waits("nobody leads it", None) };
    if !group.committed {
        return waits("its members are being changed", None);
    }
    if group.joint {
        // a leader has died in the middle of a change
        return plan(Some(Step::SetVoters(group.next.clone())), None, None);
    }
    for id in target.difference(&group.voters).copied() {
        let about = Some(id);
        if !group.open.contains(&id) {
            if standing(nodes, id) != Standing::Takes {
                return waits("a node that is to take it does not answer", about);
            }
            return plan(Some(Step::Open(id)), None, about);
        }
        if !group.learners.contains(&id) {
            return plan(Some(Step::AddLearner(id)), None, about);
        }
        if !group.up_to_date.contains(&id) {
            return waits("a new member is being brought up", about);
        }
    }
    if group.voters != *target {
        let about = target.symmetric_difference(&group.voters).next().copied();
        if !has_quorum(&group.answering, &group.voters) || !has_quorum(&group.up_to_date, target) {
            return waits("too few of its members answer", about);
        }
        let all: BTreeSet<u64> = group.voters.union(target).copied().collect();
        if target.contains(&leader) {
            return plan(Some(Step::SetVoters(target.clone())), None, about);
        }
        // who leads until the end cannot leave: another one leads first
        let stays = target.intersection(&group.voters).copied();
        let able = stays.filter(|id| group.up_to_date.contains(id));
        let next = able.min_by_key(|id| (nodes.get(id).is_some_and(|n| n.sheds_leaders), *id));
        return match next {
            Some(next) => plan(Some(Step::MoveLeader(next)), None, Some(next)),
            None if all != group.voters => plan(Some(Step::SetVoters(all)), None, about),
            None => waits("nobody who stays can lead it", about),
        };
    }
    if let Some(id) = group.learners.iter().next().copied() {
        return plan(Some(Step::RemoveLearner(id)), None, Some(id));
    }
    let left = group.open.iter().copied().find(|id| !group.voters.contains(id))?;
    plan(Some(Step::Close(left)), None, Some(left))
}

fn has_quorum(of: &BTreeSet<u64>, voters: &BTreeSet<u64>) -> bool {
    of.intersection(voters).count() > voters.len() / 2
}

/// A group whose leader should be another voter, so that no two nodes that could lead differ by more
/// than one group that they lead.
fn leader_to_move(
    nodes: &BTreeMap<u64, NodeView>,
    groups: &BTreeMap<u32, GroupView>,
) -> Option<(u32, u64)> {
    let able =
        |id: &u64| nodes.get(id).is_some_and(|n| n.standing == Standing::Takes && !n.sheds_leaders);
    let mut leads: BTreeMap<u64, i64> = BTreeMap::new();
    for leader in groups.values().filter_map(|group| group.leader) {
        *leads.entry(leader).or_insert(0) += 1;
    }
    let count = |id: u64| leads.get(&id).copied().unwrap_or(0);
    let moves = groups.iter().filter_map(|(number, group)| {
        let leader = group.leader?;
        let to = group
            .voters
            .iter()
            .copied()
            .filter(|id| *id != leader && able(id) && group.up_to_date.contains(id));
        let to = to.min_by_key(|id| (count(*id), *id))?;
        let gain = count(leader) - count(to);
        (gain >= 2).then_some((number, to, gain))
    });
    moves
        .min_by_key(|(number, _, gain)| (Reverse(*gain), **number == DIRECTORY_GROUP, **number))
        .map(|(number, to, _)| (*number, to))
}

#[cfg(test)]
mod tests;
