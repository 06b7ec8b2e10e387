//! Tables for people.

use super::proto::{GetStatusResponse, Group, Node, NodeState};

/// Columns as wide as what is in them, two spaces apart.
pub fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let mut widths: Vec<usize> = head.iter().map(|cell| cell.chars().count()).collect();
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let line = |cells: &mut dyn Iterator<Item = &str>| {
        let padded: Vec<String> =
            cells.zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        padded.join("  ").trim_end().to_owned()
    };
    let mut lines = vec![line(&mut head.iter().copied())];
    lines.extend(rows.iter().map(|row| line(&mut row.iter().map(String::as_str))));
    lines.join("\n")
}

pub fn state(node: &Node) -> &'static str {
    match node.state() {
        NodeState::Joining => "joining",
        NodeState::Active => "active",
        NodeState::Draining => "draining",
        NodeState::Drained => "drained",
        NodeState::Dead => "dead",
        NodeState::Removed => "removed",
        NodeState::Unspecified => "unknown",
    }
}

pub fn nodes(nodes: &[Node]) -> String {
    let rows: Vec<_> = nodes.iter().map(node_row).collect();
    table(
        &["NODE", "STATE", "ANSWERS", "GROUPS", "LEADS", "CLOCK", "LEVEL", "ROLES", "ADDRESS"],
        &rows,
    )
}

fn node_row(node: &Node) -> Vec<String> {
    let answers = match (node.reachable, node.unreachable_ms / 1_000) {
        (true, _) => "yes".to_owned(),
        (false, 0) => "no".to_owned(),
        (false, seconds) => format!("no, for {seconds} s"),
    };
    let mut groups = numbers(&node.groups);
    if !node.learning.is_empty() {
        groups += &format!(" (+{})", numbers(&node.learning));
    }
    let clock = node.clock_skew_ms.map_or_else(|| "-".to_owned(), |skew| format!("{skew:+} ms"));
    let level = node.feature_level.map_or_else(|| "-".to_owned(), |level| level.to_string());
    let roles = if node.gateway { "shard,gateway" } else { "shard" };
    vec![
        node.node_id.to_string(),
        state(node).to_owned(),
        answers,
        groups,
        numbers(&node.leads),
        clock,
        level,
        roles.to_owned(),
        node.address.clone(),
    ]
}

pub fn groups(groups: &[Group]) -> String {
    let rows: Vec<_> = groups.iter().map(group_row).collect();
    let head = [
        "GROUP", "LEADER", "TERM", "VOTERS", "LEARNERS", "APPLIED", "BEHIND", "SIZE", "LEVEL",
        "CHANGE",
    ];
    table(&head, &rows)
}

fn group_row(group: &Group) -> Vec<String> {
    let replica = |id: &u64| group.replicas.iter().find(|replica| replica.node_id == *id);
    // what does not work is marked
    let named = |id: &u64| match replica(id) {
        Some(replica) if replica.healthy => id.to_string(),
        _ => format!("{id}!"),
    };
    let list = |ids: &[u64]| match ids {
        [] => "-".to_owned(),
        ids => ids.iter().map(named).collect::<Vec<_>>().join(" "),
    };
    let leader = group.leader.and_then(|id| replica(&id));
    let applied = leader.map_or_else(|| "-".to_owned(), |leader| leader.applied_index.to_string());
    let behind = group.replicas.iter().filter_map(|replica| replica.lag_entries).max();
    let size = group.replicas.iter().map(|replica| replica.state_bytes).max().unwrap_or(0);
    // versions of before levels do not say it
    let level = match group.feature_level {
        0 => "-".to_owned(),
        level => level.to_string(),
    };
    let change = match &group.moving {
        Some(moving) => format!("{} (node {})", moving.step, moving.node_id),
        None if group.changing => "membership".to_owned(),
        None => "-".to_owned(),
    };
    vec![
        group.group.to_string(),
        group.leader.map_or_else(|| "none".to_owned(), |id| id.to_string()),
        group.term.to_string(),
        list(&group.voters),
        list(&group.learners),
        applied,
        behind.map_or_else(|| "-".to_owned(), |entries| entries.to_string()),
        bytes(size),
        level,
        change,
    ]
}

pub fn status(status: &GetStatusResponse) -> String {
    let mut text = format!(
        "Cluster {}, as node {} sees it (version {})\n\n{}\n",
        status.cluster_id,
        status.answered_by,
        status.version,
        if status.healthy { "All is well." } else { "Something is wrong:" }
    );
    for problem in &status.problems {
        text += &format!("  - {problem}\n");
    }
    if let Some(controller) = status.controller {
        let settled = if status.settled { "nothing left to do" } else { "groups are being moved" };
        text += &format!("\nPlacement: {settled} (controller: node {controller})\n");
    }
    if !status.nodes.is_empty() {
        text += &format!("\n{}\n", nodes(&status.nodes));
    }
    text += &format!("\n{}", groups(&status.groups));
    text
}

/// `0-3,7` for 0, 1, 2, 3 and 7; `-` for none.
fn numbers(numbers: &[u32]) -> String {
    let mut sorted = numbers.to_vec();
    sorted.sort_unstable();
    let mut ranges: Vec<(u32, u32)> = Vec::new();
    for number in sorted {
        match ranges.last_mut() {
            Some((_, end)) if number <= end.saturating_add(1) => *end = number,
            _ => ranges.push((number, number)),
        }
    }
    let text: Vec<String> = ranges
        .iter()
        .map(|(first, last)| match first == last {
            true => first.to_string(),
            false => format!("{first}-{last}"),
        })
        .collect();
    if text.is_empty() { "-".to_owned() } else { text.join(",") }
}

fn bytes(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    let mut value = bytes;
    let mut unit = "B";
    for larger in UNITS {
        if value < 10_240 {
            break;
        }
        value /= 1_024;
        unit = larger;
    }
    format!("{value} {unit}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster_admin::proto::{Move, Replica};

    #[test]
    fn columns_are_aligned_and_ranges_short() {
        let mut first = Node {
            node_id: 1,
            address: "node-1:9230".to_owned(),
            gateway: true,
            reachable: true,
            clock_skew_ms: Some(3),
            feature_level: Some(1),
            groups: vec![2, 0, 1, 5],
            leads: vec![1],
            ..Node::default()
        };
        first.set_state(NodeState::Active);
        let mut second = Node { node_id: 12, address: "b:1".to_owned(), ..Node::default() };
        second.unreachable_ms = 61_000;
        second.learning = vec![3];
        second.set_state(NodeState::Draining);
        assert_eq!(
            nodes(&[first, second]).lines().collect::<Vec<_>>(),
            [
                "NODE  STATE     ANSWERS       GROUPS  LEADS  CLOCK  LEVEL  ROLES          ADDRESS",
                "1     active    yes           0-2,5   1      +3 ms  1      shard,gateway  node-1:9230",
                "12    draining  no, for 61 s  - (+3)  -      -      -      shard          b:1",
            ]
        );
    }

    #[test]
    fn a_group_shows_what_does_not_work_and_what_is_being_moved() {
        let replica = |node_id, healthy| Replica {
            node_id,
            healthy,
            applied_index: 40,
            lag_entries: Some(node_id),
            state_bytes: 20_480,
            ..Replica::default()
        };
        let group = Group {
            group: 3,
            leader: Some(1),
            term: 9,
            voters: vec![1, 2, 4],
            learners: vec![5],
            replicas: vec![replica(1, true), replica(2, false), replica(5, true)],
            feature_level: 1,
            moving: Some(Move { step: "copies".to_owned(), node_id: 5, ..Move::default() }),
            ..Group::default()
        };
        assert_eq!(
            groups(&[group]).lines().nth(1),
            Some(
                "3      1       9     1 2! 4!  5         40       5       20 KiB  1      copies (node 5)"
            )
        );
    }

    #[test]
    fn sizes_are_short() {
        for (size, text) in
            [(0, "0 B"), (10_239, "10239 B"), (10_240, "10 KiB"), (1 << 40, "1024 GiB")]
        {
            assert_eq!(bytes(size), text);
        }
    }
}
