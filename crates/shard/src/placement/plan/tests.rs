//! A cluster in memory in which every step succeeds, fails, or is made half, as chance says.

use proptest::{collection::vec, prelude::*};

use super::*;
use crate::{placement::observe, registry::NodeState};

/// Steps that any change of the nodes may take to be settled again: far above what is needed.
const STEPS_MAX: usize = 4_000;

#[derive(Debug, Clone)]
enum Event {
    Join,
    Drain(usize),
    Undrain(usize),
    Fail(usize),
    Recover(usize),
    /// An operator has said that it does not come back, with another number to take its place.
    Replace(usize),
    /// So many steps are made meanwhile.
    Steps(usize),
    /// A change of voters stays half done.
    Half,
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let event = prop_oneof![
        3 => Just(Event::Join),
        2 => (0..8usize).prop_map(Event::Drain),
        1 => (0..8usize).prop_map(Event::Undrain),
        2 => (0..8usize).prop_map(Event::Fail),
        2 => (0..8usize).prop_map(Event::Recover),
        1 => (0..8usize).prop_map(Event::Replace),
        6 => (1..40usize).prop_map(Event::Steps),
        1 => Just(Event::Half),
    ];
    vec(event, 1..30)
}

/// A node, as the registry knows it.
#[derive(Debug, Clone)]
struct SimNode {
    /// `None`: it has not registered.
    state: Option<NodeState>,
    replaced_by: Option<u64>,
}

struct Sim {
    nodes: BTreeMap<u64, SimNode>,
    down: BTreeSet<u64>,
    /// Down, and not for long yet.
    away: BTreeSet<u64>,
    groups: BTreeMap<u32, GroupView>,
    half: bool,
}

impl Sim {
    /// Groups that are made with so many first members, none of which has registered.
    fn new(members: u64, groups: u32) -> Self {
        let mut sim = Self {
            nodes: BTreeMap::new(),
            down: BTreeSet::new(),
            away: BTreeSet::new(),
            groups: BTreeMap::new(),
            half: false,
        };
        for _ in 0..members {
            sim.join(None);
        }
        for number in 0..groups {
            let voters: BTreeSet<u64> = (1..=members).collect();
            let group = GroupView {
                leader: Some(1),
                next: voters.clone(),
                open: voters.clone(),
                committed: true,
                voters,
                ..GroupView::default()
            };
            sim.groups.insert(number, group);
        }
        sim
    }

    fn join(&mut self, state: Option<NodeState>) {
        let id = self.nodes.len() as u64 + 1;
        self.nodes.insert(id, SimNode { state, replaced_by: None });
    }

    fn view(&self, id: u64) -> NodeView {
        let (node, up) = (&self.nodes[&id], !self.down.contains(&id));
        let lost = !up && !self.away.contains(&id);
        let standing = observe::standing(node.state, up, lost);
        NodeView { standing, sheds_leaders: false, replaced_by: node.replaced_by, level: None }
    }

    fn views(&self) -> BTreeMap<u64, NodeView> {
        self.nodes.keys().map(|id| (*id, self.view(*id))).collect()
    }

    fn standing(&self, id: u64) -> Standing {
        self.view(id).standing
    }

    /// Who is there registers, and the controller takes it up; who does not come back and has no part in anything is removed.
    /// Whether anything has changed.
    fn register(&mut self) -> bool {
        let before: Vec<_> = self.nodes.values().map(|node| node.state).collect();
        let certain = self.groups.values().all(|group| group.leader.is_some() && !group.joint);
        let members: BTreeSet<u64> =
            self.groups.values().flat_map(|g| g.voters.union(&g.learners)).copied().collect();
        for (id, node) in &mut self.nodes {
            node.state = match node.state {
                None if !self.down.contains(id) => Some(NodeState::Joining),
                Some(NodeState::Joining) if !self.down.contains(id) => Some(NodeState::Active),
                Some(NodeState::Dead) if certain && !members.contains(id) => {
                    Some(NodeState::Removed)
                }
                other => other,
            };
        }
        !self.nodes.values().map(|node| node.state).eq(before)
    }

    fn pick(&self, index: usize) -> u64 {
        (index % self.nodes.len()) as u64 + 1
    }

    fn node(&mut self, id: u64) -> &mut SimNode {
        self.nodes.get_mut(&id).expect("is there")
    }

    fn happen(&mut self, event: &Event) {
        match *event {
            Event::Join if self.nodes.len() < 8 => self.join(Some(NodeState::Joining)),
            Event::Join => {}
            Event::Drain(index) => {
                let id = self.pick(index);
                let takes = |other: &u64| *other != id && self.standing(*other) == Standing::Takes;
                if self.nodes.keys().any(takes) && self.standing(id) == Standing::Takes {
                    self.node(id).state = Some(NodeState::Draining);
                }
            }
            Event::Undrain(index) => {
                let id = self.pick(index);
                if self.standing(id) == Standing::Leaves && !self.down.contains(&id) {
                    self.node(id).state = Some(NodeState::Active);
                }
            }
            Event::Fail(index) => {
                let id = self.pick(index);
                self.down.insert(id);
            }
            Event::Recover(index) => {
                let id = self.pick(index);
                if self.node(id).state.is_none_or(|state| !state.is_gone()) {
                    self.down.remove(&id);
                }
            }
            Event::Replace(index) => {
                let id = self.pick(index);
                let with = self.pick(index + 1);
                // no group loses its quorum for good
                let is_dead = |id: &u64| self.nodes[id].state == Some(NodeState::Dead);
                let other = self.groups.values().any(|g| g.voters.union(&g.next).any(is_dead));
                if self.down.contains(&id) && with != id && !other {
                    let few = self.groups.values().any(|g| g.voters.len() < 3 || g.joint);
                    if !few || !self.groups.values().any(|group| group.voters.contains(&id)) {
                        self.node(id).state = Some(NodeState::Dead);
                    }
                    self.node(id).replaced_by = Some(with);
                }
            }
            Event::Steps(count) => {
                for _ in 0..count {
                    self.step();
                }
            }
            Event::Half => self.half = true,
        }
        self.elect();
    }

    /// Leaders, and who answers them.
    fn elect(&mut self) {
        for group in self.groups.values_mut() {
            let up = |id: &u64| !self.down.contains(id);
            let live: BTreeSet<u64> = group.voters.iter().copied().filter(up).collect();
            let led = has_quorum(&live, &group.next)
                && has_quorum(&live, &group.voters)
                && !live.is_empty();
            let leads = group.leader.filter(|id| live.contains(id));
            group.leader = if led { leads.or(live.first().copied()) } else { None };
            let members = group.voters.union(&group.learners).copied();
            group.answering = members.filter(|id| !self.down.contains(id)).collect();
            group.up_to_date.clone_from(&group.answering);
        }
    }

    /// One pass of the controller; false when there was nothing to do.
    fn step(&mut self) -> bool {
        let mut done = self.register();
        self.elect();
        let mut reachable = self.groups.clone();
        for group in reachable.values_mut() {
            group.open.retain(|id| !self.down.contains(id));
        }
        let plans = plan(&self.views(), &reachable, 3, true);
        let moving = plans.iter().filter(|(number, plan)| {
            plan.step.is_some() && self.groups[number].voters != plan.target
        });
        assert!(moving.count() <= MOVING_MAX, "{plans:?}");
        for (number, plan) in plans {
            let Some(step) = plan.step else { continue };
            done = true;
            self.act(number, step);
        }
        self.elect();
        done
    }

    fn act(&mut self, number: u32, step: Step) {
        let down = self.down.clone();
        let half = std::mem::take(&mut self.half);
        let group = self.groups.get_mut(&number).expect("is there");
        let leader = group.leader.expect("a group without a leader is not changed");
        match step {
            Step::Open(id) => {
                assert!(!down.contains(&id) && group.open.insert(id));
            }
            Step::AddLearner(id) => {
                assert!(group.open.contains(&id) && group.learners.insert(id));
            }
            Step::MoveLeader(id) => {
                assert!(group.voters.contains(&id) && !down.contains(&id) && id != leader);
                group.leader = Some(id);
            }
            Step::SetVoters(next) => {
                let live: BTreeSet<u64> = next.difference(&down).copied().collect();
                assert!(group.joint || has_quorum(&live, &next), "{next:?} with {down:?}");
                assert!(group.joint || next.contains(&leader), "who leads is not left out");
                let members: BTreeSet<u64> = group.voters.union(&group.learners).copied().collect();
                assert!(next.is_subset(&members), "who votes was brought up before");
                let before = group.voters.clone();
                group.voters.extend(next.iter().copied());
                group.learners.retain(|id| !next.contains(id));
                group.next.clone_from(&next);
                group.joint = true;
                if !half {
                    group.joint = false;
                    group.voters = next;
                }
                assert!(!before.is_disjoint(&group.voters), "no one was there before");
            }
            Step::RemoveLearner(id) => assert!(group.learners.remove(&id)),
            Step::Close(id) => {
                assert!(!group.voters.contains(&id) && !group.learners.contains(&id));
                assert!(group.open.remove(&id));
            }
        }
    }

    fn settle(&mut self) {
        self.half = false;
        for _ in 0..STEPS_MAX {
            if !self.step() {
                return;
            }
        }
        panic!("does not settle: {:?} {:?}", self.nodes, self.groups);
    }
}

fn spread(counts: impl Iterator<Item = usize>) -> usize {
    let counts: Vec<usize> = counts.collect();
    counts.iter().max().unwrap_or(&0) - counts.iter().min().unwrap_or(&0)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn whatever_nodes_do_every_step_is_safe_and_the_cluster_settles(
        members in prop_oneof![Just(1_u64), Just(3)],
        groups in 1..10u32,
        events in events(),
    ) {
        let mut sim = Sim::new(members, groups);
        for event in &events {
            sim.happen(event);
        }
        // everybody is back who ever comes back
        for id in sim.nodes.keys().copied().collect::<Vec<_>>() {
            sim.happen(&Event::Recover(id as usize - 1));
        }
        sim.settle();

        let taking: Vec<u64> =
            sim.nodes.keys().copied().filter(|id| sim.standing(*id) == Standing::Takes).collect();
        // where nobody can take the place of a dead one, it counts on
        let dead = sim.nodes.values().filter(|node| node.state == Some(NodeState::Dead)).count();
        if dead > 0 {
            prop_assert!(taking.len() < 3, "somebody could");
            return Ok(());
        }
        let wanted = voters_wanted(3, taking.len());
        for (number, group) in &sim.groups {
            prop_assert!(!group.joint && group.learners.is_empty());
            prop_assert_eq!(group.voters.len(), wanted, "group {}", number);
            let open = group.open.difference(&sim.down).copied().collect::<BTreeSet<_>>();
            prop_assert_eq!(&open, &group.voters);
            prop_assert!(group.voters.iter().all(|id| taking.contains(id)));
        }
        let of = |id: u64, what: &dyn Fn(&GroupView) -> bool| {
            let _ = id;
            sim.groups.values().filter(|group| what(group)).count()
        };
        let groups_of = |id: u64| of(id, &|group| group.voters.contains(&id));
        prop_assert!(spread(taking.iter().map(|id| groups_of(*id))) <= 1);
        if wanted == taking.len() {
            let leads = |id: u64| of(id, &|group| group.leader == Some(id));
            prop_assert!(spread(taking.iter().map(|id| leads(*id))) <= 1);
        }
        prop_assert!(!sim.step(), "what has settled stays");
    }
}

fn settled(nodes: usize, groups: u32) -> Sim {
    let mut sim = Sim::new(1, groups);
    for _ in 1..nodes {
        sim.join(Some(NodeState::Joining));
    }
    sim.settle();
    sim
}

#[test]
fn a_dead_node_is_replaced_by_a_spare_one_and_kept_where_there_is_none() {
    let mut sim = settled(3, 4);
    sim.happen(&Event::Fail(2));
    sim.settle();
    assert!(sim.groups.values().all(|group| group.voters == BTreeSet::from([1, 2, 3])));
    sim.join(Some(NodeState::Joining));
    sim.settle();
    assert!(sim.groups.values().all(|group| group.voters == BTreeSet::from([1, 2, 4])));
}

#[test]
fn a_voter_that_dies_before_it_has_registered_or_joined_is_replaced() {
    for state in [None, Some(NodeState::Joining)] {
        let mut sim = Sim::new(3, 4);
        sim.happen(&Event::Fail(2));
        sim.node(3).state = state;
        sim.settle();
        assert!(sim.groups.values().all(|group| group.voters == BTreeSet::from([1, 2, 3])));
        sim.join(None);
        sim.settle();
        assert!(sim.groups.values().all(|group| group.voters == BTreeSet::from([1, 2, 4])));
    }
}

#[test]
fn a_node_that_is_away_for_a_moment_loses_nothing_and_gets_nothing() {
    let mut sim = settled(4, 6);
    let before: Vec<_> = sim.groups.values().map(|group| group.voters.clone()).collect();
    sim.away.insert(4);
    sim.down.insert(4);
    sim.settle();
    let after: Vec<_> = sim.groups.values().map(|group| group.voters.clone()).collect();
    assert_eq!(before, after);
}

#[test]
fn the_node_that_an_operator_names_takes_the_place_of_the_dead_one() {
    let mut sim = settled(3, 2);
    sim.join(Some(NodeState::Active));
    sim.join(Some(NodeState::Active));
    sim.happen(&Event::Fail(0));
    sim.node(1).replaced_by = Some(5);
    let target = targets(&sim.views(), &sim.groups, 3);
    assert!(target.values().all(|target| target.contains(&5)), "{target:?}");
}

#[test]
fn members_that_nobody_has_registered_yet_are_left_alone() {
    let mut sim = settled(3, 2);
    let mut views = sim.views();
    views.remove(&2);
    views.remove(&3);
    sim.elect();
    assert!(plan(&views, &sim.groups, 3, false).is_empty());
}

#[test]
fn a_fourth_node_does_not_make_groups_of_four_voters() {
    let sim = settled(4, 9);
    assert!(sim.groups.values().all(|group| group.voters.len() == 3));
    let sim = settled(2, 9);
    assert!(sim.groups.values().all(|group| group.voters.len() == 1));
}

#[test]
fn a_node_that_knows_less_than_a_group_gets_nothing_of_it_and_is_named() {
    let mut sim = settled(3, 4);
    sim.elect();
    sim.join(Some(NodeState::Active));
    sim.groups.values_mut().for_each(|group| group.level = 2);
    let mut views = sim.views();
    views.values_mut().for_each(|view| view.level = Some(2));
    views.get_mut(&4).expect("is there").level = Some(1);
    // it would be given some of the others' groups
    assert_eq!(plan(&views, &sim.groups, 3, false), BTreeMap::new());
    let named = held_back(&views, &sim.groups, 3);
    assert_eq!(named.len(), 1);
    assert!(
        named[0].starts_with("node 4 knows feature levels up to 1, and group 1 has 2"),
        "{named:?}"
    );
    // nor does it take the place of one that is lost, but in a group that it can serve
    views.get_mut(&2).expect("is there").standing = Standing::Dead;
    sim.groups.get_mut(&3).expect("is there").level = 1;
    let with_it: Vec<u32> = targets(&views, &sim.groups, 3)
        .into_iter()
        .filter_map(|(number, target)| target.contains(&4).then_some(number))
        .collect();
    assert_eq!(with_it, [3]);
    // another version is started on it
    views.get_mut(&4).expect("is there").level = Some(2);
    assert_eq!(held_back(&views, &sim.groups, 3), Vec::<String>::new());
    assert!(targets(&views, &sim.groups, 3).values().all(|target| target.contains(&4)));
}

#[test]
fn a_member_that_knows_less_than_its_group_is_named() {
    let mut sim = settled(3, 1);
    sim.elect();
    sim.groups.values_mut().for_each(|group| group.level = 2);
    let mut views = sim.views();
    views.get_mut(&2).expect("is there").level = Some(1);
    let named = held_back(&views, &sim.groups, 3);
    assert!(named.len() == 1 && named[0].starts_with("node 2 knows"), "{named:?}");
}
