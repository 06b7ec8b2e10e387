//! What the cluster says, as messages.

use conclave_shard::{GroupInfo, GroupStatus, Move, NodeInfo, NodeState, ReplicaInfo};

use super::proto;

pub fn node(info: NodeInfo) -> proto::Node {
    let known = info.registered;
    proto::Node {
        node_id: known.node_id,
        address: known.address,
        gateway: known.gateway,
        state: state(known.state).into(),
        reachable: info.reachable,
        unreachable_ms: info.unreachable_ms,
        clock_skew_ms: info.clock_skew_ms,
        groups: info.groups,
        learning: info.learning,
        leads: info.leads,
        registered_ms: known.registered_ms,
        state_changed_ms: known.changed_ms,
        replaced_by: known.replaced_by,
        feature_level: info.feature_level,
    }
}

fn state(state: NodeState) -> proto::NodeState {
    match state {
        NodeState::Joining => proto::NodeState::Joining,
        NodeState::Active => proto::NodeState::Active,
        NodeState::Draining => proto::NodeState::Draining,
        NodeState::Drained => proto::NodeState::Drained,
        NodeState::Dead => proto::NodeState::Dead,
        NodeState::Removed => proto::NodeState::Removed,
    }
}

pub fn group(info: GroupInfo) -> proto::Group {
    proto::Group {
        group: info.group,
        leader: info.leader,
        term: info.term,
        voters: info.voters,
        learners: info.learners,
        changing: info.changing,
        replicas: info.replicas.into_iter().map(replica).collect(),
        moving: info.moving.map(moving),
        feature_level: info.feature_level,
    }
}

fn replica(info: ReplicaInfo) -> proto::Replica {
    proto::Replica {
        node_id: info.node_id,
        healthy: info.healthy,
        last_log_index: info.last_log_index,
        committed_index: info.committed_index,
        applied_index: info.applied_index,
        lag_entries: info.lag_entries,
        state_bytes: info.state_bytes,
    }
}

pub fn moving(moving: Move) -> proto::Move {
    proto::Move {
        group: moving.group,
        target: moving.target,
        step: moving.step,
        node_id: moving.node_id,
        lag_entries: moving.lag_entries,
        for_ms: moving.for_ms,
    }
}

/// A group as one node alone sees it.
pub fn own_group(node_id: u64, status: &GroupStatus) -> proto::Group {
    proto::Group {
        group: status.group,
        leader: status.leader,
        term: status.term,
        voters: status.voters.iter().map(|(id, _)| *id).collect(),
        feature_level: status.feature_level,
        replicas: vec![proto::Replica {
            node_id,
            healthy: status.healthy,
            last_log_index: status.last_log_index,
            committed_index: status.committed_index,
            applied_index: status.applied_index,
            ..proto::Replica::default()
        }],
        ..proto::Group::default()
    }
}
