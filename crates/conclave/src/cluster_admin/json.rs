//! The same for machines. The names of members are a promise: they are added, never renamed.

use serde_json::{Value, json};

use super::{
    proto::{GetStatusResponse, Group, Move, Node},
    table::state,
};

/// As it is printed.
pub fn document(value: &Value) -> String {
    // of what is made here, nothing cannot be written
    serde_json::to_string_pretty(value).unwrap_or_default()
}

pub fn status(status: &GetStatusResponse) -> Value {
    json!({
        "cluster_id": status.cluster_id,
        "version": status.version,
        "answered_by": status.answered_by,
        "healthy": status.healthy,
        "problems": status.problems,
        "controller": status.controller,
        "settled": status.settled,
        "nodes": status.nodes.iter().map(node).collect::<Vec<_>>(),
        "groups": status.groups.iter().map(group).collect::<Vec<_>>(),
    })
}

pub fn nodes(nodes: &[Node]) -> Value {
    json!({ "nodes": nodes.iter().map(node).collect::<Vec<_>>() })
}

pub fn groups(groups: &[Group]) -> Value {
    json!({ "groups": groups.iter().map(group).collect::<Vec<_>>() })
}

fn node(node: &Node) -> Value {
    let roles: &[&str] = if node.gateway { &["shard", "gateway"] } else { &["shard"] };
    json!({
        "node_id": node.node_id,
        "address": node.address,
        "roles": roles,
        "state": state(node),
        "reachable": node.reachable,
        "unreachable_ms": node.unreachable_ms,
        "clock_skew_ms": node.clock_skew_ms,
        "groups": node.groups,
        "learning": node.learning,
        "leads": node.leads,
        "registered_ms": node.registered_ms,
        "state_changed_ms": node.state_changed_ms,
        "replaced_by": node.replaced_by,
        "feature_level": node.feature_level,
    })
}

fn group(group: &Group) -> Value {
    let replicas: Vec<Value> = group
        .replicas
        .iter()
        .map(|replica| {
            json!({
                "node_id": replica.node_id,
                "healthy": replica.healthy,
                "last_log_index": replica.last_log_index,
                "committed_index": replica.committed_index,
                "applied_index": replica.applied_index,
                "lag_entries": replica.lag_entries,
                "state_bytes": replica.state_bytes,
            })
        })
        .collect();
    json!({
        "group": group.group,
        "leader": group.leader,
        "term": group.term,
        "voters": group.voters,
        "learners": group.learners,
        "changing": group.changing,
        "replicas": replicas,
        "moving": group.moving.as_ref().map(moving),
        "feature_level": group.feature_level,
    })
}

fn moving(moving: &Move) -> Value {
    json!({
        "group": moving.group,
        "target": moving.target,
        "step": moving.step,
        "node_id": moving.node_id,
        "lag_entries": moving.lag_entries,
        "for_ms": moving.for_ms,
    })
}
