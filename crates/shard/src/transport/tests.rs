//! Who is spoken to, and heard: nodes of versions that know less than a group has.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
    time::Duration,
};

use conclave_store::{Clock, Placement, levels::FIRST};
use openraft::async_runtime::watch::WatchReceiver as _;
use tokio::time::{sleep, timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Request, Response, Status, Streaming, metadata::MetadataValue};

use super::{INCARNATION_HEADER, LEVEL_HEADER};
use crate::{
    GroupHost, GroupHostOptions, Listen,
    group::Group,
    membership::MemberChange,
    proto::{
        self,
        raft_transport_client::RaftTransportClient,
        raft_transport_server::{RaftTransport, RaftTransportServer},
    },
    types::LogId,
};

const NEXT: u32 = FIRST + 1;
const SOON: Duration = Duration::from_secs(20);

struct Fixed;

impl Clock for Fixed {
    fn now_ms(&self) -> i64 {
        1_000
    }
}

impl Placement for Fixed {
    fn group_of(&self, _: &str) -> Option<u32> {
        Some(1)
    }
}

/// A node that does nothing but say what it knows.
#[derive(Default)]
struct Other {
    node_id: u8,
    /// 0: nothing, as a version of before levels.
    says: AtomicU32,
    hellos: AtomicU64,
    appends: AtomicU64,
}

impl Other {
    async fn start(node_id: u8, says: u32) -> (Arc<Self>, String) {
        let says = AtomicU32::new(says);
        let other = Arc::new(Self { node_id, says, ..Self::default() });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("binds");
        let address = listener.local_addr().expect("an address").to_string();
        let incoming = conclave_tls::incoming(listener, None, conclave_tls::Limits::default());
        let service = RaftTransportServer::from_arc(other.clone());
        let server = tonic::transport::Server::builder().add_service(service);
        tokio::spawn(server.serve_with_incoming(incoming));
        (other, address)
    }
}

fn not_here<T>() -> Result<Response<T>, Status> {
    Err(Status::unimplemented("not here"))
}

#[tonic::async_trait]
impl RaftTransport for Other {
    type AppendStream = ReceiverStream<Result<proto::AppendReply, Status>>;

    async fn append(
        &self,
        _: Request<Streaming<proto::AppendRequest>>,
    ) -> Result<Response<Self::AppendStream>, Status> {
        self.appends.fetch_add(1, Ordering::SeqCst);
        not_here()
    }

    async fn heartbeat(
        &self,
        _: Request<proto::AppendRequest>,
    ) -> Result<Response<proto::AppendReply>, Status> {
        not_here()
    }

    async fn vote(
        &self,
        _: Request<proto::VoteRequest>,
    ) -> Result<Response<proto::VoteReply>, Status> {
        not_here()
    }

    async fn pre_vote(
        &self,
        _: Request<proto::VoteRequest>,
    ) -> Result<Response<proto::VoteReply>, Status> {
        not_here()
    }

    async fn transfer_leader(
        &self,
        _: Request<proto::TransferLeaderRequest>,
    ) -> Result<Response<proto::TransferLeaderReply>, Status> {
        not_here()
    }

    async fn hello(
        &self,
        _: Request<proto::HelloRequest>,
    ) -> Result<Response<proto::Blank>, Status> {
        let mut response = Response::new(proto::Blank {});
        let own = MetadataValue::from_bytes(&[self.node_id; 16]);
        response.metadata_mut().insert_bin(INCARNATION_HEADER, own);
        let says = self.says.load(Ordering::SeqCst);
        if says > 0 {
            response.metadata_mut().insert(LEVEL_HEADER, says.into());
        }
        self.hellos.fetch_add(1, Ordering::SeqCst);
        Ok(response)
    }

    async fn snapshot(
        &self,
        _: Request<Streaming<proto::SnapshotChunk>>,
    ) -> Result<Response<proto::SnapshotReply>, Status> {
        not_here()
    }
}

async fn until(what: &str, mut happened: impl FnMut() -> bool) {
    let seen = async {
        while !happened() {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(SOON, seen).await.unwrap_or_else(|_| panic!("{what}"));
}

/// A node that is alone and leads, and has raised its groups to `level`.
async fn host(dir: &Path, level: u32) -> (GroupHost, Arc<Group>) {
    let mut options = GroupHostOptions::alone("c".to_owned(), dir.to_owned(), 2, [1; 16]);
    options.feature_level = level;
    options.listen = Some(Listen::Address("127.0.0.1:0".parse().expect("an address")));
    let host = GroupHost::start(options, Arc::new(Fixed), Arc::new(Fixed)).await;
    crate::exit::without_destructors();
    let host = host.expect("starts");
    assert!(host.wait_ready(SOON).await);
    let group = host.inner().group(1).expect("is there");
    until("it is raised", || group.level().is_ok_and(|has| has == level)).await;
    (host, group)
}

fn members(group: &Group) -> (LogId, Vec<u64>) {
    let metrics = group.raft().expect("runs").metrics();
    let metrics = metrics.borrow_watched();
    let config = &metrics.membership_config;
    ((*config.log_id()).expect("has members"), config.nodes().map(|(id, _)| *id).collect())
}

async fn add(group: &Group, id: u64, address: String) -> Result<(), String> {
    group.change_members(members(group).0, MemberChange::AddLearner(id, address)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn who_knows_less_than_a_group_has_does_not_become_a_member() {
    let dir = tempfile::tempdir().expect("a directory");
    let (host, group) = host(dir.path(), NEXT).await;
    for (id, says) in [(2, 0), (3, FIRST)] {
        let (_other, address) = Other::start(id, says).await;
        let refused = add(&group, u64::from(id), address).await.expect_err("is refused");
        let reason = format!("node {id} knows feature levels up to 1, and group 1 has 2");
        assert!(refused.starts_with(&reason), "{refused}");
    }
    let refused = add(&group, 4, "127.0.0.1:1".to_owned()).await.expect_err("is refused");
    assert!(refused.starts_with("node 4 does not say what it knows"), "{refused}");
    assert_eq!(members(&group).1, [1]);
    let (_other, address) = Other::start(5, NEXT).await;
    add(&group, 5, address).await.expect("is taken");
    assert_eq!(members(&group).1, [1, 5]);
    drop(group);
    host.kill().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_that_nobody_has_raised_takes_a_version_of_before_levels() {
    let dir = tempfile::tempdir().expect("a directory");
    let (host, group) = host(dir.path(), FIRST).await;
    let (_other, address) = Other::start(2, 0).await;
    add(&group, 2, address).await.expect("is taken");
    drop(group);
    host.kill().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_knows_less_than_before_is_sent_no_entries() {
    let dir = tempfile::tempdir().expect("a directory");
    let (host, group) = host(dir.path(), NEXT).await;
    let (other, address) = Other::start(2, NEXT).await;
    add(&group, 2, address).await.expect("is taken");
    let appends = || other.appends.load(Ordering::SeqCst);
    let hellos = || other.hellos.load(Ordering::SeqCst);
    until("it is sent entries", || appends() > 0).await;
    // another version has been started on it
    other.says.store(0, Ordering::SeqCst);
    let asked = hellos();
    until("what was under way has ended", || hellos() > asked + 1).await;
    let (sent, asked) = (appends(), hellos());
    until("it is asked again", || hellos() > asked + 3).await;
    assert_eq!(appends(), sent, "it is sent entries");
    other.says.store(NEXT, Ordering::SeqCst);
    until("it is sent entries again", || appends() > sent).await;
    drop(group);
    host.kill().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_candidate_that_knows_less_than_a_group_has_is_not_heard() {
    let dir = tempfile::tempdir().expect("a directory");
    let (host, group) = host(dir.path(), NEXT).await;
    let address = host.local_address().expect("listens");
    let endpoint = tonic::transport::Endpoint::from_shared(format!("http://{address}"));
    let channel = endpoint.expect("an address").connect().await.expect("connects");
    let mut client = RaftTransportClient::new(channel);
    let mut ask = async |feature_level| {
        let header = proto::Header {
            cluster_id: "c".to_owned(),
            group: 1,
            source: 9,
            target: 1,
            source_incarnation: vec![9; 16].into(),
            clock_ms: 1_000,
            feature_level,
            ..proto::Header::default()
        };
        let leader = Some(proto::LeaderId { term: 7, node_id: 9 });
        let vote = Some(proto::Vote { leader, committed: false });
        let request = proto::VoteRequest { header: Some(header), vote, ..Default::default() };
        client.pre_vote(request).await
    };
    for says in [0, FIRST] {
        let refused = ask(says).await.expect_err("is refused");
        assert_eq!(refused.code(), Code::FailedPrecondition);
        let reason =
            "node 9 knows feature levels up to 1, and group 1 has 2: start a later version";
        assert!(refused.message().starts_with(reason), "{refused}");
    }
    ask(NEXT).await.expect("is answered");
    drop(group);
    host.kill().await;
}
