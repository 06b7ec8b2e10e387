//! The calling side: one [`Network`] for each group, peer and kind of traffic.

use std::{
    collections::HashMap,
    future::Future,
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use conclave_store::{Clock, levels};
use conclave_tls::Mutual;
use futures::{
    FutureExt, Stream, StreamExt,
    future::BoxFuture,
    stream::{self, BoxStream},
};
use openraft::{
    BasicNode, OptionalSend, RaftNetworkFactory, RaftNetworkV2,
    errors::{RPCError, ReplicationClosed, StreamingError, Unreachable},
    network::RPCOption,
    raft::{
        AppendEntriesResponse, SnapshotResponse, StreamAppendError, StreamAppendResult,
        TransferLeaderError, TransferLeaderRequest, TransferLeaderResponse,
    },
};
use parking_lot::{Mutex, RwLock};
use tokio::{
    sync::mpsc,
    task::spawn_blocking,
    time::{Instant, timeout},
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Response, Status, metadata::MetadataMap, transport::Channel};

use super::{CLOCK_HEADER, INCARNATION_HEADER, LEVEL_HEADER, MESSAGE_BYTES_MAX};
use crate::{
    clock_skew::ClockSkew,
    feature_level::Announced,
    group::MustEnd,
    identity::Incarnations,
    proto::{self, raft_transport_client::RaftTransportClient, snapshot_chunk::Part},
    snapshot::{Sender, SnapshotDir},
    state_machine::AppliedLevel,
    types::{
        AppendRequest, LogId, Types, Vote, VoteRequest, VoteResponse, append_out, log_id_in,
        log_id_out, snapshot_meta_out, vote_in,
    },
};

/// How long a follower may take to answer an append: well above a slow disk's sync.
const APPEND_ANSWER_TIMEOUT: Duration = Duration::from_secs(3);
/// How often a stream of appends looks whether it makes progress.
const APPEND_CHECK_INTERVAL: Duration = Duration::from_secs(1);
const HELLO_TIMEOUT: Duration = Duration::from_millis(1_000);

type RpcError = RPCError<Types>;

/// What travels on a connection of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Kind {
    Entries,
    /// Heartbeats, votes and transfers of leadership.
    Liveness,
    Snapshots,
}

/// The connections of a node to its peers, shared by all groups.
pub(crate) struct Peers {
    cluster_id: String,
    node_id: u64,
    tls: Option<Arc<Mutual>>,
    incarnations: Arc<Incarnations>,
    clock: Arc<dyn Clock>,
    /// Told when what is to be sent is damaged on the disk of this node.
    fatal: MustEnd,
    pub(crate) clock_skew: ClockSkew,
    pub(crate) levels: Announced,
    channels: Mutex<HashMap<(u64, Kind), (String, Channel)>>,
    /// Where nodes are, as the registry knows; what a group's membership says may be older.
    addresses: RwLock<HashMap<u64, String>>,
    /// The last entry that a follower has acknowledged in a group, to which leader.
    acknowledged: Mutex<HashMap<(u32, u64), (Vote, LogId)>>,
}

impl Peers {
    pub(crate) fn new(
        cluster_id: String,
        node_id: u64,
        tls: Option<Arc<Mutual>>,
        incarnations: Arc<Incarnations>,
        clock: Arc<dyn Clock>,
        fatal: MustEnd,
        feature_level: u32,
    ) -> Arc<Self> {
        Arc::new(Self {
            cluster_id,
            node_id,
            tls,
            incarnations,
            clock,
            fatal,
            clock_skew: ClockSkew::default(),
            levels: Announced::new(feature_level),
            channels: Mutex::default(),
            addresses: RwLock::default(),
            acknowledged: Mutex::default(),
        })
    }

    /// The connection to a peer, made when it is first used.
    fn channel(&self, target: u64, address: &str, kind: Kind) -> io::Result<Channel> {
        let address = &self.address(target, address);
        let mut channels = self.channels.lock();
        if let Some((known, channel)) = channels.get(&(target, kind))
            && known == address
        {
            return Ok(channel.clone());
        }
        let channel = conclave_tls::channel(address, self.tls.as_ref(), Some(target))?;
        channels.insert((target, kind), (address.to_owned(), channel.clone()));
        Ok(channel)
    }

    /// The data that this node has.
    pub(crate) fn incarnation(&self) -> &bytes::Bytes {
        self.incarnations.own()
    }

    /// Where a node is: as the registry knows, or else as the caller does.
    pub(crate) fn address(&self, node_id: u64, otherwise: &str) -> String {
        let known = self.addresses.read().get(&node_id).cloned();
        known.unwrap_or_else(|| otherwise.to_owned())
    }

    /// Where the registry knows nodes to be.
    pub(crate) fn addresses(&self) -> HashMap<u64, String> {
        self.addresses.read().clone()
    }

    /// Takes over where the registry knows nodes to be.
    pub(crate) fn set_addresses(&self, addresses: HashMap<u64, String>) {
        *self.addresses.write() = addresses;
    }

    /// A node begins anew in a group.
    pub(crate) fn forget_acknowledged(&self, group: u32, target: u64) {
        self.acknowledged.lock().remove(&(group, target));
    }

    fn header(&self, group: u32, target: u64) -> proto::Header {
        proto::Header {
            cluster_id: self.cluster_id.clone(),
            group,
            source: self.node_id,
            target,
            source_incarnation: self.incarnations.own().clone(),
            target_incarnation: self.incarnations.of(target),
            clock_ms: self.clock.now_ms(),
            feature_level: self.levels.own(),
        }
    }

    /// Refuses the answer of a follower that has lost what it had acknowledged to this leader (an
    /// old disk image, a sync that was none): openraft takes it for a bug and ends the leader.
    fn check_acknowledged(
        &self,
        group: u32,
        target: u64,
        vote: &Vote,
        answer: &StreamAppendResult<Types>,
    ) -> Result<(), RpcError> {
        let mut acknowledged = self.acknowledged.lock();
        let before = acknowledged.get(&(group, target)).filter(|(to, _)| to == vote);
        let before = before.map(|(_, id)| *id);
        match answer {
            Ok(Some(id)) if before < Some(*id) => {
                acknowledged.insert((group, target), (*vote, *id));
                Ok(())
            }
            Err(StreamAppendError::Conflict(id)) if before >= Some(*id) => {
                tracing::error!(
                    group,
                    target,
                    "the node has lost entries that it had acknowledged; replace it"
                );
                Err(unreachable("the node has lost entries that it had acknowledged"))
            }
            _ => Ok(()),
        }
    }

    /// Notes the clock of who has answered and what it knows, and refuses the answer of a node that has lost its data.
    fn check_answer(&self, target: u64, metadata: &MetadataMap) -> Result<(), RpcError> {
        let incarnation = metadata
            .get_bin(INCARNATION_HEADER)
            .and_then(|value| value.to_bytes().ok())
            .unwrap_or_default();
        self.incarnations.check(target, &incarnation).map_err(unreachable)?;
        let said = |name| metadata.get(name).and_then(|value| value.to_str().ok());
        let level = said(LEVEL_HEADER).and_then(|level| level.parse().ok());
        self.levels.heard(target, level.unwrap_or(levels::FIRST), Instant::now());
        let clock_ms = said(CLOCK_HEADER).and_then(|clock_ms| clock_ms.parse().ok());
        if let Some(clock_ms) = clock_ms {
            self.clock_skew.heard(target, clock_ms, self.clock.now_ms(), Instant::now());
        }
        Ok(())
    }
}

impl Peers {
    /// Asks a node which data and clock it has, and notes both.
    ///
    /// # Errors
    /// It does not answer, or is of another cluster, or knows this node with other data.
    pub(crate) async fn hello(
        self: &Arc<Self>,
        target: u64,
        address: &str,
    ) -> Result<(), RpcError> {
        let (peers, address) = (self.clone(), address.to_owned());
        let kind = Kind::Liveness;
        let network = Network { group: 0, level: None, target, address, kind, peers };
        let mut client = network.client(Kind::Liveness)?;
        let request = proto::HelloRequest { header: Some(network.header()) };
        network.answer(HELLO_TIMEOUT, client.hello(request)).await.map(drop)
    }
}

fn unreachable(error: impl std::fmt::Display) -> RpcError {
    RPCError::Unreachable(Unreachable::from_string(error))
}

fn status(status: Status) -> RpcError {
    unreachable(format!("{:?}: {}", status.code(), status.message()))
}

/// Makes the [`Network`]s of one group.
pub(crate) struct NetworkFactory {
    group: u32,
    level: AppliedLevel,
    peers: Arc<Peers>,
}

impl NetworkFactory {
    fn network(&self, target: u64, node: &BasicNode, kind: Kind) -> Network {
        let (group, level, peers) = (self.group, Some(self.level.clone()), self.peers.clone());
        Network { group, level, target, address: node.addr.clone(), kind, peers }
    }
}

impl Peers {
    /// The networks of one group.
    pub(crate) fn of_group(self: &Arc<Self>, group: u32, level: AppliedLevel) -> NetworkFactory {
        NetworkFactory { group, level, peers: self.clone() }
    }
}

impl RaftNetworkFactory<Types> for NetworkFactory {
    type Network = Network;

    async fn new_client(&mut self, target: u64, node: &BasicNode) -> Network {
        self.network(target, node, Kind::Entries)
    }

    async fn new_heartbeat_client(&mut self, target: u64, node: &BasicNode) -> Network {
        self.network(target, node, Kind::Liveness)
    }

    async fn new_snapshot_client(&mut self, target: u64, node: &BasicNode) -> Network {
        self.network(target, node, Kind::Snapshots)
    }
}

/// One group's way to one peer.
pub(crate) struct Network {
    group: u32,
    /// Of the group, and not its state: one that outlives the replica for a while must not keep its files open. `None` where no
    /// group is meant.
    level: Option<AppliedLevel>,
    target: u64,
    address: String,
    kind: Kind,
    peers: Arc<Peers>,
}

impl Network {
    fn client(&self, kind: Kind) -> Result<RaftTransportClient<Channel>, RpcError> {
        let channel = self.peers.channel(self.target, &self.address, kind).map_err(unreachable)?;
        Ok(RaftTransportClient::new(channel)
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .max_encoding_message_size(MESSAGE_BYTES_MAX))
    }

    fn header(&self) -> proto::Header {
        self.peers.header(self.group, self.target)
    }

    /// Whether the peer may be given entries and snapshots: a version that does not know what the group has would apply something else. It is
    /// asked each time that a stream is opened, on the same connection: what it has said before may be of another process.
    async fn check_level(&self, client: &mut RaftTransportClient<Channel>) -> Result<(), RpcError> {
        let has = self.level.as_ref().map_or(levels::FIRST, AppliedLevel::get);
        if has <= levels::FIRST {
            return Ok(());
        }
        let request = proto::HelloRequest { header: Some(self.header()) };
        self.answer(HELLO_TIMEOUT, client.hello(request)).await?;
        let (levels, said) = (&self.peers.levels, self.peers.levels.said(self.target));
        let known = levels.check(self.target, said, self.group, has, Instant::now());
        known.map_err(unreachable)
    }

    /// Waits for an answer, at most `limit`, and checks who has given it.
    async fn answer<T>(
        &self,
        limit: Duration,
        call: impl Future<Output = Result<Response<T>, Status>>,
    ) -> Result<T, RpcError> {
        let response = timeout(limit, call)
            .await
            .map_err(|_| unreachable("no answer in time"))?
            .map_err(status)?;
        self.peers.check_answer(self.target, response.metadata())?;
        Ok(response.into_inner())
    }

    async fn heartbeat(
        &self,
        request: &AppendRequest,
        option: &RPCOption,
    ) -> Result<StreamAppendResult<Types>, RpcError> {
        let mut client = self.client(Kind::Liveness)?;
        let message = append_out(Some(self.header()), request);
        // openraft allows one heartbeat interval, after which the answer is of no use
        let reply = self.answer(option.hard_ttl(), client.heartbeat(message)).await?;
        let answer = append_reply_in(reply)?;
        self.peers.check_acknowledged(self.group, self.target, &request.vote, &answer)?;
        Ok(answer)
    }

    async fn append_stream<'s, S>(
        &'s self,
        mut input: S,
    ) -> Result<BoxStream<'s, Result<StreamAppendResult<Types>, RpcError>>, RpcError>
    where
        S: Stream<Item = AppendRequest> + Send + Unpin + 'static,
    {
        // openraft waits in this stream after an error: who connects before it is asked for the
        // first request tries again without a pause
        let Some(first) = input.next().await else { return Ok(stream::empty().boxed()) };
        let vote = first.vote;
        let input = stream::once(async { first }).chain(input);
        let mut client = self.client(Kind::Entries)?;
        self.check_level(&mut client).await?;
        let sent = Arc::new(AtomicU64::new(0));
        let mut header = Some(self.header());
        let requests = input.map({
            let sent = sent.clone();
            move |request| {
                sent.fetch_add(1, Ordering::Relaxed);
                append_out(header.take(), &request)
            }
        });
        let replies = self.answer(APPEND_ANSWER_TIMEOUT, client.append(requests)).await?;
        let state = AppendReplies { replies, sent, received: 0, idle: Duration::ZERO, done: false };
        let answers = stream::unfold(state, AppendReplies::next).map(move |answer| {
            let answer = answer?;
            self.peers.check_acknowledged(self.group, self.target, &vote, &answer)?;
            Ok(answer)
        });
        Ok(answers.boxed())
    }
}

/// The answers of a stream of appends. Ends with an error when the follower stops answering.
struct AppendReplies {
    replies: tonic::Streaming<proto::AppendReply>,
    sent: Arc<AtomicU64>,
    received: u64,
    idle: Duration,
    done: bool,
}

impl AppendReplies {
    async fn next(mut self) -> Option<(Result<StreamAppendResult<Types>, RpcError>, Self)> {
        if self.done {
            return None;
        }
        loop {
            let item = match timeout(APPEND_CHECK_INTERVAL, self.replies.message()).await {
                Ok(Ok(Some(reply))) => append_reply_in(reply),
                Ok(Ok(None)) => return None,
                Ok(Err(error)) => Err(status(error)),
                Err(_) if self.sent.load(Ordering::Relaxed) <= self.received => {
                    self.idle = Duration::ZERO;
                    continue;
                }
                Err(_) => {
                    self.idle += APPEND_CHECK_INTERVAL;
                    if self.idle < APPEND_ANSWER_TIMEOUT {
                        continue;
                    }
                    Err(unreachable("the follower has stopped answering appends"))
                }
            };
            self.idle = Duration::ZERO;
            self.received += 1;
            self.done = !matches!(item, Ok(Ok(_)));
            return Some((item, self));
        }
    }
}

fn append_reply_in(reply: proto::AppendReply) -> Result<StreamAppendResult<Types>, RpcError> {
    use proto::append_reply::Result as Reply;
    match reply.result {
        Some(Reply::Matched(matched)) => Ok(Ok(log_id_in(matched.log_id))),
        Some(Reply::Conflict(id)) => Ok(Err(StreamAppendError::Conflict(id.into()))),
        Some(Reply::HigherVote(vote)) => Ok(Err(StreamAppendError::HigherVote(vote.into()))),
        None => Err(unreachable("an answer that this version does not know")),
    }
}

fn vote_out(header: proto::Header, request: &VoteRequest) -> proto::VoteRequest {
    proto::VoteRequest {
        header: Some(header),
        vote: Some((&request.vote).into()),
        last_log_id: log_id_out(request.last_log_id.as_ref()),
        leadership_transfer: request.leadership_transfer,
    }
}

fn vote_reply_in(reply: proto::VoteReply) -> Result<VoteResponse, RpcError> {
    let vote = vote_in(reply.vote).map_err(unreachable)?;
    Ok(VoteResponse::new(vote, log_id_in(reply.last_log_id), reply.granted))
}

impl RaftNetworkV2<Types> for Network {
    type SnapshotData = Arc<SnapshotDir>;

    async fn append_entries(
        &mut self,
        request: AppendRequest,
        option: RPCOption,
    ) -> Result<AppendEntriesResponse<Types>, RpcError> {
        Ok(self.heartbeat(&request, &option).await?.into())
    }

    fn stream_append<'s, S>(
        &'s mut self,
        mut input: S,
        option: RPCOption,
    ) -> BoxFuture<'s, Result<BoxStream<'s, Result<StreamAppendResult<Types>, RpcError>>, RpcError>>
    where
        S: Stream<Item = AppendRequest> + OptionalSend + Unpin + 'static,
    {
        async move {
            if self.kind != Kind::Liveness {
                return self.append_stream(input).await;
            }
            let Some(request) = input.next().await else { return Ok(stream::empty().boxed()) };
            let reply = self.heartbeat(&request, &option).await?;
            Ok(stream::iter([Ok(reply)]).boxed())
        }
        .boxed()
    }

    async fn vote(
        &mut self,
        request: VoteRequest,
        option: RPCOption,
    ) -> Result<VoteResponse, RpcError> {
        let mut client = self.client(Kind::Liveness)?;
        let message = vote_out(self.header(), &request);
        vote_reply_in(self.answer(option.hard_ttl(), client.vote(message)).await?)
    }

    async fn pre_vote(
        &mut self,
        request: VoteRequest,
        option: RPCOption,
    ) -> Result<VoteResponse, RpcError> {
        let mut client = self.client(Kind::Liveness)?;
        let message = vote_out(self.header(), &request);
        vote_reply_in(self.answer(option.hard_ttl(), client.pre_vote(message)).await?)
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: openraft::type_config::alias::SnapshotOf<Types, Arc<SnapshotDir>>,
        cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        option: RPCOption,
    ) -> Result<SnapshotResponse<Types>, StreamingError<Types>> {
        let mut client = self.client(Kind::Snapshots)?;
        self.check_level(&mut client).await?;
        let begin = proto::SnapshotBegin {
            header: Some(self.header()),
            vote: Some((&vote).into()),
            meta: Some(snapshot_meta_out(&self.peers.cluster_id, self.group, &snapshot.meta)),
        };
        let last_log_id = snapshot.meta.last_log_id;
        let (chunks, requests) = mpsc::channel(4);
        let (fatal, group) = (self.peers.fatal.clone(), self.group);
        // set however this ends: by openraft's word, a new leader, or an error
        let given_up = SetOnDrop::default();
        let stop = Arc::clone(&given_up.0);
        let reader = spawn_blocking(move || {
            snapshot.snapshot.check(&stop).inspect_err(|error| match error.kind() {
                io::ErrorKind::Interrupted => {}
                // others have what it should be, and one of them is to lead
                io::ErrorKind::InvalidData => {
                    fatal.report(format!("group {group}: the state is damaged: {error}"));
                }
                // the transfer is made again, and with it the check
                _ => tracing::warn!(group, %error, "a snapshot cannot be checked"),
            })?;
            send_files(snapshot.snapshot, begin, &chunks)
        });
        let call = client.snapshot(ReceiverStream::new(requests));
        let reply = tokio::select! {
            closed = cancel => return Err(closed.into()),
            reply = self.answer(option.hard_ttl(), call) => reply?,
        };
        if let Ok(Err(error)) = reader.await {
            return Err(unreachable(format!("reading the snapshot: {error}")).into());
        }
        let answered = vote_in(reply.vote).map_err(unreachable)?;
        if answered == vote {
            self.peers.check_acknowledged(self.group, self.target, &vote, &Ok(last_log_id))?;
        }
        Ok(SnapshotResponse::new(answered))
    }

    async fn transfer_leader(
        &mut self,
        request: TransferLeaderRequest<Types>,
        option: RPCOption,
    ) -> Result<TransferLeaderResponse<Types>, RpcError> {
        use proto::transfer_leader_reply::Result as Reply;
        let mut client = self.client(Kind::Liveness)?;
        let message = proto::TransferLeaderRequest {
            header: Some(self.header()),
            from_leader: Some(request.from_leader().into()),
            to_node_id: *request.to_node_id(),
            last_log_id: log_id_out(request.last_log_id()),
        };
        let reply = self.answer(option.hard_ttl(), client.transfer_leader(message)).await?;
        match reply.result {
            Some(Reply::Accepted(_)) => Ok(Ok(())),
            Some(Reply::VoteChanged(changed)) => Ok(Err(TransferLeaderError::VoteChanged {
                expected: vote_in(changed.expected).map_err(unreachable)?,
                actual: vote_in(changed.actual).map_err(unreachable)?,
            })),
            Some(Reply::LogNotFlushed(ids)) => {
                let read = |id: Option<proto::LogId>| id.map(LogId::from);
                Ok(Err(TransferLeaderError::LogNotFlushed {
                    expected: read(ids.expected),
                    actual: read(ids.actual),
                }))
            }
            None => Err(unreachable("an answer that this version does not know")),
        }
    }
}

/// True when it is dropped.
#[derive(Default)]
struct SetOnDrop(Arc<AtomicBool>);

impl Drop for SetOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

/// Reads the files and hands them on, as fast as they are taken.
fn send_files(
    snapshot: Arc<SnapshotDir>,
    begin: proto::SnapshotBegin,
    chunks: &mpsc::Sender<proto::SnapshotChunk>,
) -> io::Result<()> {
    let mut files = Sender::new(snapshot)?;
    let mut part = Some(Part::Begin(begin));
    while let Some(next) = part {
        if chunks.blocking_send(proto::SnapshotChunk { part: Some(next) }).is_err() {
            // the call has ended, and says why
            return Ok(());
        }
        part = files.next()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::log_id;

    #[test]
    fn a_follower_that_takes_back_what_it_acknowledged_to_a_leader_is_not_heard() {
        let dir = tempfile::tempdir().expect("a directory");
        let own = bytes::Bytes::from_static(b"own");
        let incarnations = Arc::new(Incarnations::open(dir.path(), own).expect("opens"));
        struct Still;
        impl Clock for Still {
            fn now_ms(&self) -> i64 {
                0
            }
        }
        let peers = Peers::new(
            "c".to_owned(),
            1,
            None,
            incarnations,
            Arc::new(Still),
            MustEnd::default(),
            1,
        );
        let check =
            |term, answer| peers.check_acknowledged(1, 2, &Vote::new_committed(term, 1), &answer);
        let conflict = |index| Err(StreamAppendError::Conflict(log_id(1, 1, index)));

        assert!(check(1, conflict(9)).is_ok(), "a leader looks for where the logs meet");
        assert!(check(1, Ok(Some(log_id(1, 1, 5)))).is_ok());
        assert!(check(1, conflict(6)).is_ok());
        assert!(check(1, conflict(5)).is_err());
        assert!(check(1, conflict(2)).is_err());
        assert!(check(3, conflict(2)).is_ok(), "another leader may have cut it off");
    }
}
