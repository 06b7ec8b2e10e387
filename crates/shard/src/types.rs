//! The types that openraft is used with, and their form on disk and on the wire.

use std::{collections::BTreeSet, fmt, io, sync::Arc};

use bytes::Bytes;
use openraft::{BasicNode, EntryPayload, Membership, StoredMembership};
use prost::Message;

use crate::proto;

/// An encoded [`conclave_store::proto::Entry`]. Encoded once, by the leader; the same bytes are
/// stored in every log, and decoded by each replica when it applies them.
#[derive(Clone, PartialEq, Eq)]
pub struct Command(pub Bytes);

impl Command {
    /// Encodes an entry.
    pub fn new(entry: &conclave_store::proto::Entry) -> Self {
        Self(entry.encode_to_vec().into())
    }
}

impl fmt::Debug for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Command({} bytes)", self.0.len())
    }
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// What applying an entry answers: the outcome of a command, nothing for the entries of raft itself.
pub type Reply = Option<Arc<conclave_store::proto::Outcome>>;

mod config {
    #![allow(deprecated, reason = "the default of the macro names a re-export")]
    openraft::declare_raft_types!(
        /// openraft's types for a group.
        pub Types:
            D = super::Command,
            R = super::Reply,
            NodeId = u64,
            Node = openraft::BasicNode,
    );
}

pub use config::Types;

pub type LeaderId = openraft::impls::leader_id_adv::LeaderId<u64, u64>;
pub type LogId = openraft::LogId<LeaderId>;
pub type Vote = openraft::Vote<LeaderId>;
pub type Payload = EntryPayload<Command, u64, BasicNode>;
pub type LogEntry = openraft::Entry<LeaderId, Payload>;
pub type StoredMembers = StoredMembership<LeaderId, u64, BasicNode>;
pub type SnapshotMeta = openraft::SnapshotMeta<LeaderId, u64, BasicNode>;
pub type AppendRequest = openraft::raft::AppendEntriesRequest<Types>;
pub type VoteRequest = openraft::raft::VoteRequest<Types>;
pub type VoteResponse = openraft::raft::VoteResponse<Types>;

/// The log id of a leader's entry.
#[cfg(test)]
pub fn log_id(term: u64, node_id: u64, index: u64) -> LogId {
    LogId::new(LeaderId { term, node_id }, index)
}

fn invalid(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("invalid raft message: {what}"))
}

pub(crate) fn corrupt(error: impl fmt::Display) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("stored raft data is corrupt: {error}"))
}

impl From<LeaderId> for proto::LeaderId {
    fn from(id: LeaderId) -> Self {
        Self { term: id.term, node_id: id.node_id }
    }
}

impl From<proto::LeaderId> for LeaderId {
    fn from(id: proto::LeaderId) -> Self {
        Self { term: id.term, node_id: id.node_id }
    }
}

impl From<&LogId> for proto::LogId {
    fn from(id: &LogId) -> Self {
        Self { leader: Some(id.leader_id.into()), index: id.index }
    }
}

impl From<proto::LogId> for LogId {
    fn from(id: proto::LogId) -> Self {
        Self { leader_id: id.leader.unwrap_or_default().into(), index: id.index }
    }
}

impl From<&Vote> for proto::Vote {
    fn from(vote: &Vote) -> Self {
        Self { leader: Some(vote.leader_id.into()), committed: vote.committed }
    }
}

impl From<proto::Vote> for Vote {
    fn from(vote: proto::Vote) -> Self {
        Self { leader_id: vote.leader.unwrap_or_default().into(), committed: vote.committed }
    }
}

pub(crate) fn log_id_out(id: Option<&LogId>) -> Option<proto::LogId> {
    id.map(Into::into)
}

pub(crate) fn log_id_in(id: Option<proto::LogId>) -> Option<LogId> {
    id.map(Into::into)
}

pub(crate) fn vote_in(vote: Option<proto::Vote>) -> io::Result<Vote> {
    vote.map(Into::into).ok_or_else(|| invalid("no vote"))
}

fn membership_out(membership: &Membership<u64, BasicNode>) -> proto::Membership {
    proto::Membership {
        configs: membership
            .get_joint_config()
            .iter()
            .map(|set| proto::NodeSet { node_ids: set.iter().copied().collect() })
            .collect(),
        nodes: membership
            .nodes()
            .map(|(id, node)| proto::Node { node_id: *id, address: node.addr.clone() })
            .collect(),
    }
}

fn membership_in(membership: proto::Membership) -> io::Result<Membership<u64, BasicNode>> {
    if membership.configs.is_empty() && membership.nodes.is_empty() {
        return Ok(Membership::default());
    }
    let configs: Vec<BTreeSet<u64>> =
        membership.configs.into_iter().map(|set| set.node_ids.into_iter().collect()).collect();
    let nodes = membership.nodes.into_iter().map(|n| (n.node_id, BasicNode::new(n.address)));
    Membership::new(configs, nodes.collect::<std::collections::BTreeMap<_, _>>())
        .map_err(|error| invalid(&error.to_string()))
}

/// A stored membership in its stored form.
pub(crate) fn stored_membership_out(stored: &StoredMembers) -> proto::StoredMembership {
    proto::StoredMembership {
        log_id: log_id_out(stored.log_id().as_ref()),
        membership: Some(membership_out(stored.membership())),
    }
}

pub(crate) fn stored_membership_in(stored: proto::StoredMembership) -> io::Result<StoredMembers> {
    let membership = membership_in(stored.membership.unwrap_or_default())?;
    Ok(StoredMembers::new(log_id_in(stored.log_id), membership))
}

/// A log entry in its stored form.
pub(crate) fn entry_out(entry: &LogEntry) -> proto::LogEntry {
    use proto::log_entry::Payload as Out;
    let payload = match &entry.payload {
        EntryPayload::Blank => Out::Blank(proto::Blank {}),
        EntryPayload::Normal(command) => Out::Command(command.0.clone()),
        EntryPayload::Membership(membership) => Out::Membership(membership_out(membership)),
    };
    proto::LogEntry { log_id: Some((&entry.log_id).into()), payload: Some(payload) }
}

pub(crate) fn entry_in(entry: proto::LogEntry) -> io::Result<LogEntry> {
    use proto::log_entry::Payload as In;
    let log_id = entry.log_id.ok_or_else(|| invalid("an entry without an id"))?.into();
    let payload = match entry.payload {
        Some(In::Blank(_)) => EntryPayload::Blank,
        Some(In::Command(bytes)) => EntryPayload::Normal(Command(bytes)),
        Some(In::Membership(membership)) => EntryPayload::Membership(membership_in(membership)?),
        None => return Err(invalid("an entry without a payload that this version knows")),
    };
    Ok(LogEntry { log_id, payload })
}

/// About how many bytes an entry takes on the wire and in memory.
pub(crate) fn entry_bytes(entry: &LogEntry) -> usize {
    const OVERHEAD: usize = 48;
    OVERHEAD
        + match &entry.payload {
            EntryPayload::Normal(command) => command.0.len(),
            EntryPayload::Blank => 0,
            EntryPayload::Membership(membership) => 64 * membership.nodes().count(),
        }
}

pub(crate) fn append_in(request: proto::AppendRequest) -> io::Result<AppendRequest> {
    Ok(AppendRequest {
        vote: vote_in(request.vote)?,
        prev_log_id: log_id_in(request.prev_log_id),
        entries: request.entries.into_iter().map(entry_in).collect::<Result<_, _>>()?,
        leader_commit: log_id_in(request.leader_commit),
    })
}

pub(crate) fn append_out(
    header: Option<proto::Header>,
    request: &AppendRequest,
) -> proto::AppendRequest {
    proto::AppendRequest {
        header,
        vote: Some((&request.vote).into()),
        prev_log_id: log_id_out(request.prev_log_id.as_ref()),
        entries: request.entries.iter().map(entry_out).collect(),
        leader_commit: log_id_out(request.leader_commit.as_ref()),
    }
}

pub(crate) fn snapshot_meta_out(
    cluster_id: &str,
    group: u32,
    meta: &SnapshotMeta,
) -> proto::SnapshotMeta {
    proto::SnapshotMeta {
        cluster_id: cluster_id.to_owned(),
        group,
        last_log_id: log_id_out(meta.last_log_id.as_ref()),
        membership: Some(stored_membership_out(&meta.last_membership)),
    }
}

pub(crate) fn snapshot_meta_in(meta: proto::SnapshotMeta) -> io::Result<SnapshotMeta> {
    Ok(SnapshotMeta {
        last_log_id: log_id_in(meta.last_log_id),
        last_membership: stored_membership_in(meta.membership.unwrap_or_default())?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_of_every_kind_reads_back() {
        let members = Membership::new(
            vec![BTreeSet::from([1, 2]), BTreeSet::from([2, 3])],
            (1..=4)
                .map(|id| (id, BasicNode::new(format!("node-{id}:9230"))))
                .collect::<std::collections::BTreeMap<_, _>>(),
        )
        .expect("a valid membership");
        for payload in [
            EntryPayload::Blank,
            EntryPayload::Normal(Command(Bytes::from_static(b"x"))),
            EntryPayload::Membership(members),
        ] {
            let entry = LogEntry { log_id: log_id(7, 2, 9), payload };
            let bytes = entry_out(&entry).encode_to_vec();
            let read =
                entry_in(proto::LogEntry::decode(&bytes[..]).expect("decodes")).expect("valid");
            assert_eq!(read.log_id, entry.log_id);
            assert_eq!(format!("{:?}", read.payload), format!("{:?}", entry.payload));
        }
    }

    #[test]
    fn an_entry_without_a_known_payload_is_refused() {
        let entry = proto::LogEntry { log_id: Some(proto::LogId::default()), payload: None };
        assert!(entry_in(entry).is_err());
    }

    /// Logs outlive versions: these bytes may never change.
    #[test]
    fn a_stored_entry_has_the_bytes_that_it_has_always_had() {
        let payload = EntryPayload::Normal(Command(Bytes::from_static(b"c")));
        let entry = LogEntry { log_id: log_id(1, 2, 3), payload };
        assert_eq!(
            entry_out(&entry).encode_to_vec(),
            [0x0a, 8, 0x0a, 4, 0x08, 1, 0x10, 2, 0x10, 3, 0x1a, 1, b'c']
        );
    }
}
