//! The answering side: checks who speaks, and hands the message to the group's openraft.

use std::{fmt::Display, io, sync::Arc};

use futures::{StreamExt, stream};
use openraft::{
    Raft, Snapshot,
    async_runtime::watch::WatchReceiver as _,
    raft::{StreamAppendError, StreamAppendResult, TransferLeaderError, TransferLeaderRequest},
};
use tokio::{sync::mpsc, task::spawn_blocking};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming, metadata::MetadataValue};

use super::{
    CLOCK_HEADER, INCARNATION_HEADER, LEVEL_HEADER, MESSAGE_BYTES_MAX,
    peer::{Peer, check_source},
};
use crate::{
    identity::Incarnations,
    proto::{
        self,
        raft_transport_server::{RaftTransport, RaftTransportServer},
        snapshot_chunk::Part,
    },
    state_machine::{State, StateMachine},
    types::{
        AppendRequest, LogId, Types, VoteRequest, VoteResponse, append_in, log_id_in, log_id_out,
        vote_in,
    },
};

/// Answers that wait to be sent, for each stream of appends.
const REPLIES_WAITING_MAX: usize = 64;
/// Chunks of a snapshot that wait to be written.
const CHUNKS_WAITING_MAX: usize = 4;

/// A running replica, as far as the transport needs it.
#[derive(Clone)]
pub(crate) struct ReplicaHandles {
    pub raft: Raft<Types, StateMachine>,
    pub state: Arc<State>,
    /// No candidate with less gets this replica's vote; see `held`.
    pub vote_floor: Option<LogId>,
}

impl ReplicaHandles {
    /// The answer to a candidate that lacks what this replica has acknowledged and then deleted.
    pub(crate) fn refuse_vote(&self, request: &VoteRequest) -> Option<VoteResponse> {
        if request.last_log_id >= self.vote_floor {
            return None;
        }
        let vote = self.raft.metrics().borrow_watched().vote;
        Some(VoteResponse::new(vote, self.vote_floor, false))
    }
}

/// Finds the replicas of this node.
pub(crate) trait GroupDirectory: Send + Sync + 'static {
    /// The replica of a group; `None` while it is not running.
    fn replica(&self, group: u32) -> Option<ReplicaHandles>;

    /// A peer remembers this node with other data than it has.
    fn data_is_gone(&self, peer: u64);

    /// Whether there is room for entries and snapshots. Heartbeats and votes are always taken.
    fn takes_entries(&self) -> bool;

    /// This node's wall clock, in milliseconds since 1970.
    fn now_ms(&self) -> i64;

    /// The highest feature level that this node knows.
    fn feature_level(&self) -> u32;

    /// See [`Announced::check`].
    ///
    /// [`Announced::check`]: crate::feature_level::Announced::check
    fn check_level(&self, peer: u64, said: Option<u32>, group: u32, has: u32)
    -> Result<(), String>;

    /// A peer has said where its clock is.
    fn heard_clock(&self, peer: u64, clock_ms: i64);
}

/// The gRPC service between nodes.
pub(crate) struct RaftService<G> {
    cluster_id: String,
    node_id: u64,
    incarnations: Arc<Incarnations>,
    groups: Arc<G>,
}

impl<G> Clone for RaftService<G> {
    fn clone(&self) -> Self {
        Self {
            cluster_id: self.cluster_id.clone(),
            node_id: self.node_id,
            incarnations: self.incarnations.clone(),
            groups: self.groups.clone(),
        }
    }
}

impl<G: GroupDirectory> RaftService<G> {
    pub(crate) fn server(
        cluster_id: String,
        node_id: u64,
        incarnations: Arc<Incarnations>,
        groups: Arc<G>,
    ) -> RaftTransportServer<Self> {
        RaftTransportServer::new(Self { cluster_id, node_id, incarnations, groups })
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .max_encoding_message_size(MESSAGE_BYTES_MAX)
    }

    /// Checks who speaks, and finds the replica that is meant.
    fn accept(
        &self,
        peer: Option<Peer>,
        header: Option<proto::Header>,
    ) -> Result<ReplicaHandles, Status> {
        let header = self.check(peer, header)?;
        let replica = self
            .groups
            .replica(header.group)
            .ok_or_else(|| Status::unavailable(format!("group {} is not running", header.group)))?;
        // who knows less than the group has is heard neither as a leader nor as a candidate
        let (said, has) = (Some(header.feature_level), replica.state.level());
        self.groups
            .check_level(header.source, said, header.group, has)
            .map_err(Status::failed_precondition)?;
        Ok(replica)
    }

    /// Checks every field of a header but the group.
    fn check(
        &self,
        peer: Option<Peer>,
        header: Option<proto::Header>,
    ) -> Result<proto::Header, Status> {
        let header = header.ok_or_else(|| Status::invalid_argument("no header"))?;
        check_source(peer, header.source)?;
        if header.cluster_id != self.cluster_id {
            return Err(Status::failed_precondition("meant for another cluster"));
        }
        if header.target != self.node_id {
            return Err(Status::failed_precondition(format!(
                "meant for node {}, and this is node {}",
                header.target, self.node_id
            )));
        }
        if !header.target_incarnation.is_empty()
            && header.target_incarnation != *self.incarnations.own()
            && !conclave_fault::bug("any-incarnation")
        {
            self.groups.data_is_gone(header.source);
            return Err(Status::failed_precondition("this node has lost the data that is meant"));
        }
        self.incarnations
            .check(header.source, &header.source_incarnation)
            .map_err(|error| Status::failed_precondition(error.to_string()))?;
        self.groups.heard_clock(header.source, header.clock_ms);
        Ok(header)
    }

    async fn append_all(
        &self,
        peer: Option<Peer>,
        mut requests: Streaming<proto::AppendRequest>,
        replies: &mpsc::Sender<Result<proto::AppendReply, Status>>,
    ) -> Result<(), Status> {
        let Some(mut first) = requests.message().await? else { return Ok(()) };
        let replica = self.accept(peer, first.header.take())?;
        let first = append_in(first).map_err(invalid)?;
        let groups = self.groups.clone();
        if !takes(&*groups, &first) {
            return Err(disk_is_full());
        }
        let rest = stream::unfold((requests, groups), |(mut requests, groups)| async move {
            // a message that cannot be read ends the stream; the leader starts another one
            let message = requests.message().await.ok()??;
            let message: AppendRequest = append_in(message).ok()?;
            takes(&*groups, &message).then_some((message, (requests, groups)))
        });
        let input = stream::once(async { first }).chain(rest);
        let mut output = std::pin::pin!(replica.raft.stream_append(input));
        while let Some(result) = output.next().await {
            let reply = result.map(append_reply).map_err(stopped)?;
            if replies.send(Ok(reply)).await.is_err() {
                break;
            }
        }
        Ok(())
    }

    /// An answer that says which data this node has, where its clock is, and what it knows.
    fn answer<T>(&self, message: T) -> Response<T> {
        let mut response = Response::new(message);
        let own = MetadataValue::from_bytes(self.incarnations.own());
        response.metadata_mut().insert_bin(INCARNATION_HEADER, own);
        response.metadata_mut().insert(CLOCK_HEADER, self.groups.now_ms().into());
        response.metadata_mut().insert(LEVEL_HEADER, self.groups.feature_level().into());
        response
    }
}

fn peer_of<T>(request: &Request<T>) -> Option<Peer> {
    request.extensions().get().copied()
}

fn invalid(error: impl Display) -> Status {
    Status::invalid_argument(error.to_string())
}

/// Why a snapshot was not received: only what has arrived damaged is the sender's concern.
fn not_received(error: io::Error) -> Status {
    match error.kind() {
        io::ErrorKind::InvalidData => invalid(error),
        io::ErrorKind::StorageFull => disk_is_full(),
        _ => stopped(error),
    }
}

fn stopped(error: impl Display) -> Status {
    Status::unavailable(error.to_string())
}

/// Heartbeats are always taken.
fn takes(groups: &impl GroupDirectory, message: &AppendRequest) -> bool {
    message.entries.is_empty()
        || (conclave_fault::io("append.before_accept").is_ok() && groups.takes_entries())
}

fn disk_is_full() -> Status {
    Status::resource_exhausted("the disk is full")
}

fn append_reply(result: StreamAppendResult<Types>) -> proto::AppendReply {
    use proto::append_reply::Result as Reply;
    let result = match result {
        Ok(matched) => Reply::Matched(proto::Matched { log_id: log_id_out(matched.as_ref()) }),
        Err(StreamAppendError::Conflict(id)) => Reply::Conflict((&id).into()),
        Err(StreamAppendError::HigherVote(vote)) => Reply::HigherVote((&vote).into()),
    };
    proto::AppendReply { result: Some(result) }
}

fn vote_request_in(request: proto::VoteRequest) -> Result<VoteRequest, Status> {
    let vote = vote_in(request.vote).map_err(invalid)?;
    let mut message = VoteRequest::new(vote, log_id_in(request.last_log_id));
    message.leadership_transfer = request.leadership_transfer;
    Ok(message)
}

fn vote_reply(response: &VoteResponse) -> proto::VoteReply {
    proto::VoteReply {
        vote: Some((&response.vote).into()),
        granted: response.vote_granted,
        last_log_id: log_id_out(response.last_log_id.as_ref()),
    }
}

#[tonic::async_trait]
impl<G: GroupDirectory> RaftTransport for RaftService<G> {
    type AppendStream = ReceiverStream<Result<proto::AppendReply, Status>>;

    async fn append(
        &self,
        request: Request<Streaming<proto::AppendRequest>>,
    ) -> Result<Response<Self::AppendStream>, Status> {
        let peer = peer_of(&request);
        let requests = request.into_inner();
        let (replies, receiver) = mpsc::channel(REPLIES_WAITING_MAX);
        let service = self.clone();
        // answered at once: a leader with nothing to replicate opens the stream and waits
        tokio::spawn(async move {
            if let Err(status) = service.append_all(peer, requests, &replies).await {
                // a leader that is gone needs no answer
                let _ = replies.send(Err(status)).await;
            }
        });
        Ok(self.answer(ReceiverStream::new(receiver)))
    }

    async fn heartbeat(
        &self,
        request: Request<proto::AppendRequest>,
    ) -> Result<Response<proto::AppendReply>, Status> {
        let peer = peer_of(&request);
        let mut request = request.into_inner();
        let replica = self.accept(peer, request.header.take())?;
        let request = append_in(request).map_err(invalid)?;
        let input = stream::once(async { request });
        let mut output = std::pin::pin!(replica.raft.stream_append(input));
        let result = output.next().await.ok_or_else(|| stopped("the replica has stopped"))?;
        Ok(self.answer(append_reply(result.map_err(stopped)?)))
    }

    async fn vote(
        &self,
        request: Request<proto::VoteRequest>,
    ) -> Result<Response<proto::VoteReply>, Status> {
        let peer = peer_of(&request);
        let mut request = request.into_inner();
        let replica = self.accept(peer, request.header.take())?;
        let request = vote_request_in(request)?;
        let response = match replica.refuse_vote(&request) {
            Some(refusal) => refusal,
            None => replica.raft.vote(request).await.map_err(stopped)?,
        };
        Ok(self.answer(vote_reply(&response)))
    }

    async fn pre_vote(
        &self,
        request: Request<proto::VoteRequest>,
    ) -> Result<Response<proto::VoteReply>, Status> {
        let peer = peer_of(&request);
        let mut request = request.into_inner();
        let replica = self.accept(peer, request.header.take())?;
        let request = vote_request_in(request)?;
        let response = match replica.refuse_vote(&request) {
            Some(refusal) => refusal,
            None => replica.raft.pre_vote(request).await.map_err(stopped)?,
        };
        Ok(self.answer(vote_reply(&response)))
    }

    async fn transfer_leader(
        &self,
        request: Request<proto::TransferLeaderRequest>,
    ) -> Result<Response<proto::TransferLeaderReply>, Status> {
        use proto::transfer_leader_reply::Result as Reply;
        let peer = peer_of(&request);
        let mut request = request.into_inner();
        let replica = self.accept(peer, request.header.take())?;
        let message = TransferLeaderRequest::new(
            vote_in(request.from_leader).map_err(invalid)?,
            request.to_node_id,
            log_id_in(request.last_log_id),
        );
        let answer = replica.raft.handle_transfer_leader(message).await.map_err(stopped)?;
        let result = match answer {
            Ok(()) => Reply::Accepted(proto::Blank {}),
            Err(TransferLeaderError::VoteChanged { expected, actual }) => {
                Reply::VoteChanged(proto::VoteChanged {
                    expected: Some((&expected).into()),
                    actual: Some((&actual).into()),
                })
            }
            Err(TransferLeaderError::LogNotFlushed { expected, actual }) => {
                Reply::LogNotFlushed(proto::LogNotFlushed {
                    expected: log_id_out(expected.as_ref()),
                    actual: log_id_out(actual.as_ref()),
                })
            }
        };
        Ok(self.answer(proto::TransferLeaderReply { result: Some(result) }))
    }

    async fn hello(
        &self,
        request: Request<proto::HelloRequest>,
    ) -> Result<Response<proto::Blank>, Status> {
        self.check(peer_of(&request), request.into_inner().header)?;
        Ok(self.answer(proto::Blank {}))
    }

    async fn snapshot(
        &self,
        request: Request<Streaming<proto::SnapshotChunk>>,
    ) -> Result<Response<proto::SnapshotReply>, Status> {
        let peer = peer_of(&request);
        let mut chunks = request.into_inner();
        let first = chunks.message().await?.and_then(|chunk| chunk.part);
        let Some(Part::Begin(mut begin)) = first else {
            return Err(Status::invalid_argument("a snapshot that does not begin"));
        };
        let replica = self.accept(peer, begin.header.take())?;
        let vote = vote_in(begin.vote).map_err(invalid)?;
        let meta = begin.meta.ok_or_else(|| Status::invalid_argument("a snapshot of nothing"))?;
        if !self.groups.takes_entries() {
            return Err(disk_is_full());
        }

        // files are written on a thread that may wait for the disk
        let (parts, mut waiting) = mpsc::channel::<Part>(CHUNKS_WAITING_MAX);
        let state = replica.state.clone();
        let writer = spawn_blocking(move || {
            let mut receiver = state.snapshots.receive(meta)?;
            while let Some(part) = waiting.blocking_recv() {
                receiver.take(part)?;
            }
            receiver.finish()
        });
        while let Some(chunk) = chunks.message().await? {
            let part = chunk.part.ok_or_else(|| Status::invalid_argument("an empty chunk"))?;
            if parts.send(part).await.is_err() {
                break;
            }
        }
        drop(parts);
        let received = writer.await.map_err(stopped)?.map_err(not_received)?;
        let snapshot = Snapshot { meta: received.meta().clone(), snapshot: received };
        let response = replica.raft.install_full_snapshot(vote, snapshot).await.map_err(stopped)?;
        Ok(self.answer(proto::SnapshotReply { vote: Some((&response.vote).into()) }))
    }
}
