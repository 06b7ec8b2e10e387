//! The gRPC service that gateways use: `conclave.store.v1.Shard`.

use std::sync::Arc;

use conclave_store::proto as store;
use tonic::{Request, Response, Status, metadata::MetadataMap};
use tracing::Instrument as _;

use crate::{group::GroupError, replicas::HostInner, trace_context};

/// Other nodes that an answer names.
const OTHERS_MAX: usize = 16;

/// Serves the groups of one node.
#[derive(Clone)]
pub(crate) struct ShardService {
    host: Arc<HostInner>,
    /// Where the work is done when the call has come over the network: never on openraft's threads.
    runtime: Option<tokio::runtime::Handle>,
}

impl ShardService {
    pub(crate) fn new(host: Arc<HostInner>, runtime: Option<tokio::runtime::Handle>) -> Self {
        Self { host, runtime }
    }

    async fn run<T: Send + 'static>(
        &self,
        metadata: &MetadataMap,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Result<T, Status> {
        match &self.runtime {
            Some(runtime) => {
                let span = tracing::info_span!("shard.call", node = self.host.shared.node_id);
                trace_context::adopt(&span, metadata);
                runtime
                    .spawn(work.instrument(span))
                    .await
                    .map_err(|_| Status::internal("the call has failed"))
            }
            None => Ok(work.await),
        }
    }
}

impl HostInner {
    async fn read_request(&self, request: store::ReadRequest) -> store::ReadReply {
        use store::read_reply::Result as Reply;
        let result = match (self.check_route(request.route.as_ref()), request.read) {
            (Err(misrouted), _) => Reply::Refused(misrouted),
            (_, None) => Reply::Refused(invalid("a read of nothing")),
            (Ok(group), Some(read)) => match group.read(&read).await {
                Ok(result) => Reply::Read(result),
                Err(GroupError::NotLeader(leader)) => Reply::NotLeader(self.not_leader(leader)),
                Err(error) => Reply::Refused(refused(error)),
            },
        };
        store::ReadReply { result: Some(result) }
    }

    async fn commit_request(&self, request: store::CommitRequest) -> store::CommitReply {
        use store::commit_reply::Result as Reply;
        let result = match (self.check_route(request.route.as_ref()), request.commit) {
            (Err(misrouted), _) => Reply::Refused(misrouted),
            (_, None) => Reply::Refused(invalid("a commit of nothing")),
            (Ok(group), Some(commit)) => match group.commit(commit).await {
                Ok(outcome) => {
                    conclave_fault::point("shard.after_commit_before_reply");
                    Reply::Outcome(outcome)
                }
                Err(GroupError::NotLeader(leader)) => Reply::NotLeader(self.not_leader(leader)),
                Err(error) => Reply::Refused(refused(error)),
            },
        };
        store::CommitReply { result: Some(result) }
    }

    fn check_route(
        &self,
        route: Option<&store::Route>,
    ) -> Result<Arc<crate::group::Group>, store::Refused> {
        let misrouted = |detail: String| store::Refused {
            reason: store::refused::Reason::Misrouted.into(),
            detail,
            retry_after_ms: 0,
            others: Vec::new(),
        };
        let route = route.ok_or_else(|| misrouted("no route".to_owned()))?;
        if route.cluster_id != self.shared.cluster_id {
            return Err(misrouted("meant for another cluster".to_owned()));
        }
        let group = self.group(route.group);
        group.ok_or_else(|| store::Refused {
            reason: store::refused::Reason::NotHere.into(),
            detail: format!("this node has no group {}", route.group),
            retry_after_ms: 0,
            others: self.others(),
        })
    }

    fn others(&self) -> Vec<store::Member> {
        let known = self.shared.peers.addresses().into_iter();
        let others = known.filter(|(node_id, _)| *node_id != self.shared.node_id);
        others
            .map(|(node_id, address)| store::Member { node_id, address })
            .take(OTHERS_MAX)
            .collect()
    }

    fn not_leader(&self, leader: Option<(u64, String)>) -> store::NotLeader {
        let leader = leader.map(|(node_id, address)| store::Member {
            node_id,
            address: self.shared.peers.address(node_id, &address),
        });
        store::NotLeader { leader }
    }
}

fn invalid(detail: &str) -> store::Refused {
    refused(GroupError::Invalid(detail.to_owned()))
}

fn refused(error: GroupError) -> store::Refused {
    use store::refused::Reason;
    let (reason, detail, retry_after_ms) = match error {
        GroupError::Overloaded { retry_after_ms } => {
            (Reason::Overloaded, String::new(), retry_after_ms)
        }
        GroupError::NotLeader(_) => (Reason::Unavailable, "not the leader".to_owned(), 0),
        GroupError::Unavailable(detail) => (Reason::Unavailable, detail, 0),
        GroupError::Full(detail) => (Reason::Full, detail, 0),
        GroupError::Unknown(detail) => (Reason::Unknown, detail, 0),
        GroupError::Invalid(detail) => (Reason::Invalid, detail, 0),
    };
    store::Refused { reason: reason.into(), detail, retry_after_ms, others: Vec::new() }
}

#[tonic::async_trait]
impl store::shard_server::Shard for ShardService {
    async fn read(
        &self,
        request: Request<store::ReadRequest>,
    ) -> Result<Response<store::ReadReply>, Status> {
        let host = self.host.clone();
        let (metadata, _, request) = request.into_parts();
        let reply = async move { host.read_request(request).await };
        Ok(Response::new(self.run(&metadata, reply).await?))
    }

    async fn commit(
        &self,
        request: Request<store::CommitRequest>,
    ) -> Result<Response<store::CommitReply>, Status> {
        let host = self.host.clone();
        let (metadata, _, request) = request.into_parts();
        let reply = async move { host.commit_request(request).await };
        Ok(Response::new(self.run(&metadata, reply).await?))
    }

    async fn groups(
        &self,
        request: Request<store::GroupsRequest>,
    ) -> Result<Response<store::GroupsReply>, Status> {
        if request.into_inner().cluster_id != self.host.shared.cluster_id {
            return Err(Status::failed_precondition("meant for another cluster"));
        }
        let status = self.host.status();
        let groups = status
            .groups
            .into_iter()
            .map(|group| store::GroupStatus {
                group: group.group,
                term: group.term,
                leader: group.leader,
                last_log_index: group.last_log_index,
                applied_index: group.applied_index,
                voters: group
                    .voters
                    .into_iter()
                    .map(|(node_id, address)| store::Member { node_id, address })
                    .collect(),
                healthy: group.healthy,
            })
            .collect();
        Ok(Response::new(store::GroupsReply { node_id: status.node_id, groups }))
    }
}
