//! The nodes of the cluster, as the directory's group knows them.
//!
//! Rows in a scope of their own, written by ordinary transactions: each change is checked against the
//! version that it was decided on, so two who change the same node do not overwrite each other. The
//! row of a removed node stays, and refuses everyone who comes with its number.

use std::sync::Arc;

use bytes::Bytes;
use conclave_store::{
    NODES_SCOPE, Store, StoreError, keys,
    proto::{self, check::Expect, outcome::Result as Answer, write::Action},
    records::{NodeRecord, PlacementRecord, node_record},
};
use prost::Message;

/// Nodes, those that are gone included.
const NODES_MAX: u32 = 4_096;
/// Rows of one read.
const PAGE: u32 = 500;
/// How often a change is decided again when somebody else has changed the node meanwhile.
const ATTEMPTS_MAX: u32 = 8;

/// Makes the ids of commits: 16 random bytes.
pub type NewId = Arc<dyn Fn() -> [u8; 16] + Send + Sync>;

/// Where a node is between coming and going.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum NodeState {
    /// It has registered, and the controller has not reached it yet.
    Joining,
    /// It takes groups.
    Active,
    /// It gives its groups away.
    Draining,
    /// It has none any more, and can be removed.
    Drained,
    /// It does not come back; its groups are given to others.
    Dead,
    /// It is not part of the cluster, and never will be again.
    Removed,
}

impl NodeState {
    fn of(record: &NodeRecord) -> Self {
        use node_record::State;
        match record.state() {
            State::Active => Self::Active,
            State::Draining => Self::Draining,
            State::Drained => Self::Drained,
            State::Dead => Self::Dead,
            State::Removed => Self::Removed,
            // one of a later version takes no groups from this one
            State::Joining | State::Unspecified => Self::Joining,
        }
    }

    fn stored(self) -> node_record::State {
        use node_record::State;
        match self {
            Self::Joining => State::Joining,
            Self::Active => State::Active,
            Self::Draining => State::Draining,
            Self::Drained => State::Drained,
            Self::Dead => State::Dead,
            Self::Removed => State::Removed,
        }
    }

    /// Whether the number is of a node that does not come back.
    pub fn is_gone(self) -> bool {
        matches!(self, Self::Dead | Self::Removed)
    }
}

/// A node, as the directory knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegisteredNode {
    /// Never used again.
    pub node_id: u64,
    /// `host:port` of its internal port.
    pub address: String,
    /// Whether it serves the public API too.
    pub gateway: bool,
    /// See there.
    pub state: NodeState,
    /// Made with its data directory.
    pub incarnation: Bytes,
    /// When it was first heard of, in milliseconds since 1970.
    pub registered_ms: i64,
    /// When the state changed last, in milliseconds since 1970.
    pub changed_ms: i64,
    /// The node that is to take its groups.
    pub replaced_by: Option<u64>,
    version: u64,
}

impl RegisteredNode {
    /// To test with.
    #[cfg(test)]
    pub(crate) fn example(node_id: u64) -> Self {
        Self {
            node_id,
            address: String::new(),
            gateway: false,
            state: NodeState::Active,
            incarnation: Bytes::new(),
            registered_ms: 0,
            changed_ms: 0,
            replaced_by: None,
            version: 0,
        }
    }
}

/// All nodes, at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Nodes {
    /// How many nodes a group has where there are as many; 0 when nobody has said yet.
    pub replication_factor: u32,
    /// Groups of the cluster, the directory among them.
    pub groups: u32,
    /// In the order of their numbers.
    pub nodes: Vec<RegisteredNode>,
    now_ms: i64,
}

impl Nodes {
    /// A node by its number.
    pub fn get(&self, node_id: u64) -> Option<&RegisteredNode> {
        self.nodes.iter().find(|node| node.node_id == node_id)
    }
}

/// Why the nodes have not been changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RegistryError {
    /// No answer, or one that leaves it open whether the change was made. Every change can be repeated.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// There is no such node.
    #[error("there is no node {0}")]
    NoSuchNode(u64),
    /// The node, or the cluster, is not in a state in which that can be done.
    #[error("{0}")]
    Refused(String),
    /// What is stored is not what this version writes.
    #[error("the registry of nodes is damaged: {0}")]
    Damaged(String),
    /// Others have changed the node again and again.
    #[error("the node is being changed by others")]
    Contended,
}

/// What a node says of itself when it starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registration {
    /// Its number.
    pub node_id: u64,
    /// `host:port` of its internal port.
    pub address: String,
    /// Whether it serves the public API too.
    pub gateway: bool,
    /// Groups that it believes the cluster to have, the directory among them.
    pub groups: u32,
    /// Made with its data directory.
    pub incarnation: Bytes,
}

/// The registry, through any way to the directory.
#[derive(Clone)]
pub struct Registry {
    store: Arc<dyn Store>,
    new_id: NewId,
}

impl Registry {
    /// Over `store`; `new_id` makes the ids of commits.
    pub fn new(store: Arc<dyn Store>, new_id: NewId) -> Self {
        Self { store, new_id }
    }

    /// All nodes.
    ///
    /// # Errors
    /// No answer, or damage.
    pub async fn nodes(&self) -> Result<Nodes, RegistryError> {
        let mut found = Nodes::default();
        let mut after = Bytes::new();
        loop {
            let scan =
                proto::Scan { prefix: keys::nodes().into(), after: after.clone(), limit: PAGE };
            let read = proto::Read {
                scope: NODES_SCOPE.to_owned(),
                gets: vec![keys::ROOT.to_vec().into()],
                scans: vec![scan],
                ..proto::Read::default()
            };
            let result = self.store.read(read).await?;
            found.now_ms = result.now_ms;
            let more = result.scan_ends.first().is_some_and(|end| end.more);
            let mut rows = result.rows.into_iter();
            if let Some(root) = rows.next().and_then(|row| row.value) {
                let root = PlacementRecord::decode(root).map_err(damaged)?;
                found.replication_factor = root.replication_factor;
                found.groups = root.groups;
            }
            for row in rows {
                let (key, version) = (row.key.clone(), row.version);
                let Some(value) = row.value else { continue };
                found.nodes.push(node_in(NodeRecord::decode(value).map_err(damaged)?, version));
                after = key;
            }
            if !more || found.nodes.len() >= NODES_MAX as usize {
                return Ok(found);
            }
        }
    }

    /// Makes the scope, once. What is there already stays.
    ///
    /// # Errors
    /// No answer.
    pub async fn create(
        &self,
        replication_factor: u32,
        groups: u32,
        now_ms: i64,
    ) -> Result<(), RegistryError> {
        let record = PlacementRecord { replication_factor, created_ms: now_ms, groups };
        let writes = vec![put(keys::ROOT.to_vec(), &record)];
        self.commit(now_ms, vec![absent(keys::ROOT.to_vec())], writes).await?;
        Ok(())
    }

    /// Tells the directory that a node has started. Its address and roles may have changed; its data
    /// may not.
    ///
    /// # Errors
    /// No answer; or that the number is another node's, or of one that is gone.
    pub async fn register(&self, new: &Registration) -> Result<RegisteredNode, RegistryError> {
        for _ in 0..ATTEMPTS_MAX {
            let nodes = self.nodes().await?;
            if nodes.replication_factor == 0 {
                return Err(StoreError::Unavailable {
                    detail: "the registry of nodes has not been made yet".to_owned(),
                }
                .into());
            }
            if nodes.groups != new.groups {
                return Err(RegistryError::Refused(format!(
                    "the cluster has {} groups beside the directory, and this node is configured for {}",
                    nodes.groups.saturating_sub(1),
                    new.groups.saturating_sub(1)
                )));
            }
            let mut node = match nodes.get(new.node_id) {
                Some(known) => {
                    check_identity(known, new)?;
                    known.clone()
                }
                None => RegisteredNode {
                    node_id: new.node_id,
                    address: String::new(),
                    gateway: new.gateway,
                    state: NodeState::Joining,
                    incarnation: new.incarnation.clone(),
                    registered_ms: nodes.now_ms,
                    changed_ms: nodes.now_ms,
                    replaced_by: None,
                    version: 0,
                },
            };
            if nodes.nodes.len() >= NODES_MAX as usize && node.version == 0 {
                return Err(RegistryError::Refused("too many node ids have been used".to_owned()));
            }
            let same_place = nodes
                .nodes
                .iter()
                .find(|other| other.node_id != new.node_id && other.address == new.address);
            if let Some(other) = same_place
                && !other.state.is_gone()
            {
                return Err(RegistryError::Refused(format!(
                    "the address {} is that of node {}",
                    new.address, other.node_id
                )));
            }
            if node.address == new.address && node.gateway == new.gateway {
                return Ok(node);
            }
            node.address.clone_from(&new.address);
            node.gateway = new.gateway;
            if let Some(version) = self.write(&node, nodes.now_ms).await? {
                node.version = version;
                return Ok(node);
            }
        }
        Err(RegistryError::Contended)
    }

    /// Changes the state of a node as `decide` says from what it is now; `None` leaves it.
    ///
    /// # Errors
    /// No answer, no such node, or what `decide` says.
    pub async fn change(
        &self,
        node_id: u64,
        decide: impl Fn(&RegisteredNode, &Nodes) -> Result<Option<NodeState>, String>,
        replaced_by: Option<u64>,
    ) -> Result<(), RegistryError> {
        for _ in 0..ATTEMPTS_MAX {
            let nodes = self.nodes().await?;
            let known = nodes.get(node_id).ok_or(RegistryError::NoSuchNode(node_id))?;
            let Some(state) = decide(known, &nodes).map_err(RegistryError::Refused)? else {
                return Ok(());
            };
            let mut node = known.clone();
            node.state = state;
            node.changed_ms = nodes.now_ms;
            node.replaced_by = replaced_by.or(node.replaced_by);
            if self.write(&node, nodes.now_ms).await?.is_some() {
                return Ok(());
            }
        }
        Err(RegistryError::Contended)
    }

    /// Declares that a member does not come back that has never registered. Who comes with its number is refused from here
    /// on.
    ///
    /// # Errors
    /// No answer; or it has registered meanwhile.
    pub async fn bury(
        &self,
        node_id: u64,
        address: String,
        replaced_by: Option<u64>,
    ) -> Result<(), RegistryError> {
        let now_ms = self.nodes().await?.now_ms;
        let node = RegisteredNode {
            node_id,
            address,
            gateway: false,
            state: NodeState::Dead,
            incarnation: Bytes::new(),
            registered_ms: now_ms,
            changed_ms: now_ms,
            replaced_by,
            version: 0,
        };
        match self.write(&node, now_ms).await? {
            Some(_) => Ok(()),
            None => Err(RegistryError::Refused(format!("node {node_id} has just registered"))),
        }
    }

    /// Writes a node on the version that it was read with; `None` when there is another by now.
    async fn write(
        &self,
        node: &RegisteredNode,
        now_ms: i64,
    ) -> Result<Option<u64>, RegistryError> {
        let key = keys::node(node.node_id);
        let check =
            proto::Check { key: key.clone().into(), expect: Some(Expect::AtVersion(node.version)) };
        self.commit(now_ms, vec![check], vec![put(key, &node_out(node))]).await
    }

    async fn commit(
        &self,
        now_ms: i64,
        checks: Vec<proto::Check>,
        writes: Vec<proto::Write>,
    ) -> Result<Option<u64>, RegistryError> {
        let commit = proto::Commit {
            id: (self.new_id)().to_vec().into(),
            scope: NODES_SCOPE.to_owned(),
            decided_ms: now_ms,
            epoch: None,
            checks,
            writes,
        };
        match self.store.commit(commit).await?.result {
            Some(Answer::Committed(committed)) => Ok(Some(committed.seq)),
            // decided again by the caller
            Some(Answer::Conflict(_) | Answer::Stale(_)) => Ok(None),
            Some(Answer::ScopeGone(_)) => Err(StoreError::Unavailable {
                detail: "the registry of nodes has not been made yet".to_owned(),
            }
            .into()),
            Some(Answer::OutOfBounds(_)) | None => {
                Err(RegistryError::Damaged("an answer that cannot be".to_owned()))
            }
        }
    }
}

/// Whether who comes with the number of `known` is that node.
fn check_identity(known: &RegisteredNode, new: &Registration) -> Result<(), RegistryError> {
    let id = known.node_id;
    if known.state.is_gone() {
        return Err(RegistryError::Refused(format!(
            "node {id} has been removed from the cluster; a node id is never used again: delete the \
             data directory and start it with a new node id"
        )));
    }
    if known.incarnation != new.incarnation {
        return Err(RegistryError::Refused(format!(
            "node {id} is known with other data: it has lost its data, or another node has its number; \
             start it with a new node id and an empty data directory, and replace node {id} by it"
        )));
    }
    Ok(())
}

fn damaged(error: prost::DecodeError) -> RegistryError {
    RegistryError::Damaged(error.to_string())
}

fn absent(key: Vec<u8>) -> proto::Check {
    proto::Check { key: key.into(), expect: Some(Expect::Absent(true)) }
}

fn put(key: Vec<u8>, record: &impl Message) -> proto::Write {
    let put = proto::Put { value: record.encode_to_vec().into(), expires_at_ms: None };
    proto::Write { key: key.into(), action: Some(Action::Put(put)) }
}

fn node_in(record: NodeRecord, version: u64) -> RegisteredNode {
    RegisteredNode {
        state: NodeState::of(&record),
        node_id: record.node_id,
        address: record.address,
        gateway: record.gateway,
        incarnation: record.incarnation,
        registered_ms: record.registered_ms,
        changed_ms: record.changed_ms,
        replaced_by: record.replaced_by,
        version,
    }
}

fn node_out(node: &RegisteredNode) -> NodeRecord {
    NodeRecord {
        node_id: node.node_id,
        address: node.address.clone(),
        gateway: node.gateway,
        state: node.state.stored().into(),
        incarnation: node.incarnation.clone(),
        registered_ms: node.registered_ms,
        changed_ms: node.changed_ms,
        replaced_by: node.replaced_by,
    }
}
