//! What is wrong with a cluster, in words.

use super::proto::{Group, Node, NodeState};

/// A clock that is further off gives leadership away.
const CLOCK_SKEW_MS_MAX: u64 = 2_000;
/// A replica that is further behind is named: it would take a while to catch up.
const LAG_ENTRIES_MAX: u64 = 10_000;

/// Empty when all is well. What is being done on purpose, such as a drain, is not wrong.
pub fn problems(nodes: &[Node], groups: &[Group]) -> Vec<String> {
    nodes.iter().flat_map(of_node).chain(groups.iter().flat_map(of_group)).collect()
}

fn of_node(node: &Node) -> Vec<String> {
    let id = node.node_id;
    let mut problems = Vec::new();
    match node.state() {
        NodeState::Removed => return problems,
        NodeState::Dead => problems.push(format!("node {id} is dead and being replaced")),
        _ if !node.reachable && node.unreachable_ms > 0 => {
            problems
                .push(format!("node {id} has not answered for {} s", node.unreachable_ms / 1_000));
        }
        _ if !node.reachable => problems.push(format!("node {id} does not answer")),
        _ => {}
    }
    if let Some(skew_ms) = node.clock_skew_ms
        && skew_ms.unsigned_abs() > CLOCK_SKEW_MS_MAX
    {
        problems.push(format!("the clock of node {id} is off by {skew_ms} ms"));
    }
    problems
}

fn of_group(group: &Group) -> Vec<String> {
    let number = group.group;
    let mut problems = Vec::new();
    if group.leader.is_none() {
        problems.push(format!("group {number} has no leader"));
    }
    let works = |id: &&u64| group.replicas.iter().any(|r| r.node_id == **id && r.healthy);
    let (voters, working) = (group.voters.len(), group.voters.iter().filter(works).count());
    if voters > 0 && working <= voters / 2 {
        problems.push(format!("group {number} has no quorum: {working} of {voters} replicas work"));
    } else if working < voters {
        problems.push(format!("group {number} has {working} of {voters} replicas working"));
    }
    for replica in &group.replicas {
        if let Some(lag) = replica.lag_entries.filter(|lag| *lag > LAG_ENTRIES_MAX)
            && group.voters.contains(&replica.node_id)
        {
            problems.push(format!(
                "group {number} is {lag} entries behind on node {}",
                replica.node_id
            ));
        }
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster_admin::proto::Replica;

    fn node(node_id: u64, state: NodeState, reachable: bool) -> Node {
        Node { node_id, state: state.into(), reachable, ..Node::default() }
    }

    fn group(leader: Option<u64>, healthy: [bool; 3]) -> Group {
        let replicas = healthy.iter().zip(1..).map(|(healthy, node_id)| Replica {
            node_id,
            healthy: *healthy,
            ..Replica::default()
        });
        let replicas = replicas.collect();
        Group { group: 4, leader, voters: vec![1, 2, 3], replicas, ..Group::default() }
    }

    #[test]
    fn a_cluster_at_rest_or_with_a_drained_node_has_no_problems() {
        let nodes = [
            node(1, NodeState::Active, true),
            node(2, NodeState::Draining, true),
            node(3, NodeState::Drained, true),
            node(4, NodeState::Removed, false),
        ];
        assert_eq!(problems(&nodes, &[group(Some(1), [true; 3])]), Vec::<String>::new());
    }

    #[test]
    fn what_is_missing_is_named() {
        let mut away = node(2, NodeState::Active, false);
        away.unreachable_ms = 12_345;
        let mut off = node(3, NodeState::Active, true);
        off.clock_skew_ms = Some(-2_500);
        let nodes = [away, off, node(5, NodeState::Dead, false)];
        let mut behind = group(Some(1), [true; 3]);
        behind.replicas[1].lag_entries = Some(10_001);
        let groups =
            [group(Some(1), [true, false, true]), group(None, [true, false, false]), behind];
        assert_eq!(
            problems(&nodes, &groups),
            [
                "node 2 has not answered for 12 s",
                "the clock of node 3 is off by -2500 ms",
                "node 5 is dead and being replaced",
                "group 4 has 2 of 3 replicas working",
                "group 4 has no leader",
                "group 4 has no quorum: 1 of 3 replicas work",
                "group 4 is 10001 entries behind on node 2",
            ]
        );
    }
}
