//! Nodes that serve the real contract over a modelled agreement.
//!
//! [`Agreement`] stands for consensus: one state, one leader, one term, held outside of the network. A node
//! acts on what it *believes*, which lags behind: a deposed leader goes on proposing, and followers name
//! leaders of yesterday. A proposal takes effect when its time has come and its leader still leads; when the
//! lead changes before that, the next leader may have it in its log or not, and its sender is told that
//! nobody knows. A read is answered when, after a round, its node still leads.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use conclave_store::{
    memory::MemoryKv,
    proto::{
        self, CommitReply, GroupsReply, ReadReply, commit_reply, read_reply, refused::Reason,
        shard_server::Shard,
    },
    read,
};
use conclave_testkit::{clock::ManualClock, dice::Dice};
use parking_lot::Mutex;
use tokio::time::sleep;
use tonic::{Request, Response, Status};

pub const CLUSTER: &str = "simulated";
pub const NODES: u64 = 3;
pub const PORT: u16 = 9230;

/// What is wrong with the nodes on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bug {
    None,
    /// A node that believes that it leads answers reads without asking the others, from what it has applied.
    StaleReads,
    /// A commit is acknowledged before another node has it: the next leader may lack the last one.
    EarlyAcks,
    /// Every copy of a commit is a new one.
    IdsIgnored,
    /// A commit that may have been done is refused for certain.
    UnknownIsRefused,
}

pub fn host_of(node: u64) -> String {
    format!("node-{node}")
}

pub fn address_of(node: u64) -> String {
    format!("{}:{PORT}", host_of(node))
}

/// A lead: who and since when.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Lead {
    term: u64,
    node: u64,
}

#[derive(Default)]
struct State {
    kv: MemoryKv,
    lead: Lead,
    /// What each node takes for the lead.
    beliefs: BTreeMap<u64, Lead>,
    /// Proposed, and not taken effect yet.
    pending: BTreeMap<u64, (Lead, proto::Entry)>,
    next_pending: u64,
    /// For [`Bug::EarlyAcks`]: the state before the last entry.
    before_last: MemoryKv,
    /// For [`Bug::StaleReads`]: what a node had applied when it last led.
    left_behind: BTreeMap<u64, MemoryKv>,
}

/// What all nodes agree on.
pub struct Agreement {
    state: Mutex<State>,
    clock: Arc<ManualClock>,
    dice: Dice,
    bug: Bug,
    forged_id: AtomicI64,
}

impl Agreement {
    pub fn new(seed: u64, clock: Arc<ManualClock>, bug: Bug) -> Arc<Self> {
        let agreement = Self {
            state: Mutex::default(),
            clock,
            dice: Dice::new(seed, 0xa62e),
            bug,
            forged_id: AtomicI64::new(1),
        };
        agreement.elect(1);
        agreement.tell_all();
        Arc::new(agreement)
    }

    pub fn leader(&self) -> u64 {
        self.state.lock().lead.node
    }

    /// Another node leads, and knows it; the others have to be told.
    pub fn elect(&self, node: u64) {
        let mut state = self.state.lock();
        let deposed = state.lead.node;
        let before = state.kv.clone();
        state.left_behind.insert(deposed, before);
        state.lead = Lead { term: state.lead.term + 1, node };
        let lead = state.lead;
        state.beliefs.insert(node, lead);
        if self.bug == Bug::EarlyAcks && self.dice.happens(500) {
            state.kv = state.before_last.clone();
        }
        // what the old leader had proposed is in the new one's log, or is not
        for (_, (_, entry)) in std::mem::take(&mut state.pending) {
            if self.dice.happens(500) {
                state.kv.apply(&entry).expect("memory");
            }
        }
    }

    /// A node learns who leads.
    pub fn tell(&self, node: u64) {
        let mut state = self.state.lock();
        let lead = state.lead;
        state.beliefs.insert(node, lead);
    }

    pub fn tell_all(&self) {
        (1..=NODES).for_each(|node| self.tell(node));
    }

    fn belief(&self, node: u64) -> Lead {
        self.state.lock().beliefs.get(&node).copied().unwrap_or_default()
    }

    fn stamp(&self, commit: proto::Commit) -> proto::Entry {
        let stamp_ms = conclave_store::Clock::now_ms(&*self.clock);
        conclave_store::levels::entry(stamp_ms, proto::entry::Command::Commit(commit))
    }

    fn propose(&self, lead: Lead, commit: proto::Commit) -> u64 {
        let entry = self.stamp(commit);
        let mut state = self.state.lock();
        let number = state.next_pending;
        state.next_pending += 1;
        // a deposed leader's proposals reach nobody
        if state.lead == lead {
            state.pending.insert(number, (lead, entry));
        }
        number
    }

    /// What has become of a proposal; `None`: nobody knows.
    fn settle(&self, number: u64) -> Option<proto::Outcome> {
        let mut state = self.state.lock();
        let (_, entry) = state.pending.remove(&number)?;
        if self.bug == Bug::EarlyAcks {
            state.before_last = state.kv.clone();
        }
        Some(state.kv.apply(&entry).expect("memory"))
    }

    fn read(&self, node: u64, lead: Lead, request: &proto::Read) -> Option<proto::ReadResult> {
        let now_ms = conclave_store::Clock::now_ms(&*self.clock);
        let state = self.state.lock();
        if state.lead == lead {
            return read(&state.kv, request, now_ms).ok();
        }
        let stale = state.left_behind.get(&node).filter(|_| self.bug == Bug::StaleReads)?;
        read(stale, request, now_ms).ok()
    }

    /// An entry that its proposer does not wait for takes effect in its time.
    pub fn settle_abandoned(&self) {
        let mut state = self.state.lock();
        let all: Vec<u64> = state.pending.keys().copied().collect();
        for number in all.into_iter().filter(|_| self.dice.happens(20)) {
            if let Some((_, entry)) = state.pending.remove(&number) {
                state.kv.apply(&entry).expect("memory");
            }
        }
    }
}

/// The service of one node.
#[derive(Clone)]
pub struct NodeService {
    node: u64,
    agreement: Arc<Agreement>,
    dice: Arc<Dice>,
}

impl NodeService {
    /// `start` tells the starts of a node apart.
    pub fn new(node: u64, seed: u64, start: u64, agreement: Arc<Agreement>) -> Self {
        let dice = Arc::new(Dice::new(seed, 0x40de + (start << 16) + (node << 48)));
        Self { node, agreement, dice }
    }

    async fn round(&self) {
        let slow = if self.dice.happens(30) { 400 } else { 12 };
        sleep(Duration::from_millis(self.dice.below(slow))).await;
    }

    /// The lead, when this node believes that it is its own.
    fn own_lead(&self) -> Result<Lead, proto::NotLeader> {
        let lead = self.agreement.belief(self.node);
        if lead.node == self.node {
            return Ok(lead);
        }
        let known = lead.node != 0 && !self.dice.happens(100);
        let member = proto::Member { node_id: lead.node, address: address_of(lead.node) };
        Err(proto::NotLeader { leader: known.then_some(member) })
    }

    async fn commit_now(&self, mut commit: proto::Commit) -> commit_reply::Result {
        use commit_reply::Result as Reply;
        let lead = match self.own_lead() {
            Ok(lead) => lead,
            Err(not_leader) => return Reply::NotLeader(not_leader),
        };
        if self.dice.happens(20) {
            return Reply::Refused(refused(Reason::Overloaded));
        }
        let agreement = &self.agreement;
        if agreement.bug == Bug::IdsIgnored {
            let id = agreement.forged_id.fetch_add(1, Ordering::SeqCst);
            commit.id = i128::from(id).to_be_bytes().to_vec().into();
        }
        let number = agreement.propose(lead, commit);
        self.round().await;
        match agreement.settle(number) {
            Some(outcome) => Reply::Outcome(outcome),
            None if agreement.bug == Bug::UnknownIsRefused => {
                Reply::Refused(refused(Reason::Invalid))
            }
            None => Reply::Refused(refused(Reason::Unknown)),
        }
    }

    async fn read_now(&self, read: proto::Read) -> read_reply::Result {
        use read_reply::Result as Reply;
        let lead = match self.own_lead() {
            Ok(lead) => lead,
            Err(not_leader) => return Reply::NotLeader(not_leader),
        };
        self.round().await;
        match self.agreement.read(self.node, lead, &read) {
            Some(result) => Reply::Read(result),
            None => Reply::Refused(refused(Reason::Unavailable)),
        }
    }
}

fn refused(reason: Reason) -> proto::Refused {
    proto::Refused {
        reason: reason.into(),
        detail: "simulated".to_owned(),
        retry_after_ms: 5,
        others: Vec::new(),
    }
}

#[tonic::async_trait]
impl Shard for NodeService {
    async fn read(
        &self,
        request: Request<proto::ReadRequest>,
    ) -> Result<Response<ReadReply>, Status> {
        let read = request.into_inner().read.ok_or(Status::invalid_argument("no read"))?;
        Ok(Response::new(ReadReply { result: Some(self.read_now(read).await) }))
    }

    async fn commit(
        &self,
        request: Request<proto::CommitRequest>,
    ) -> Result<Response<CommitReply>, Status> {
        let commit = request.into_inner().commit.ok_or(Status::invalid_argument("no commit"))?;
        Ok(Response::new(CommitReply { result: Some(self.commit_now(commit).await) }))
    }

    async fn groups(
        &self,
        _: Request<proto::GroupsRequest>,
    ) -> Result<Response<GroupsReply>, Status> {
        Ok(Response::new(GroupsReply { node_id: self.node, groups: Vec::new() }))
    }
}
