//! The answering side of `NodeControl`.

use std::sync::Arc;

use tonic::{Request, Response, Status};

use super::peer::{Peer, check_source};
use crate::{
    membership::MemberChange,
    proto::{
        self,
        change_members_request::Change,
        node_control_server::{NodeControl, NodeControlServer},
    },
    replicas::HostInner,
    types::LogId,
};

/// Opens, moves and closes the groups of this node.
pub(crate) struct ControlService {
    host: Arc<HostInner>,
}

impl ControlService {
    pub(crate) fn server(host: Arc<HostInner>) -> NodeControlServer<Self> {
        NodeControlServer::new(Self { host })
    }

    /// Checks that a controller speaks, to this node, and that there is no later one.
    fn check(
        &self,
        peer: Option<Peer>,
        header: Option<&proto::ControlHeader>,
    ) -> Result<(), Status> {
        let header = self.check_target(header)?;
        check_source(peer, header.source)?;
        if header.source == 0 {
            return Err(Status::permission_denied("only the directory's leader may ask for this"));
        }
        if !self.host.hear_controller(header.directory_term) {
            return Err(Status::failed_precondition("the directory has a later leader"));
        }
        Ok(())
    }

    fn check_target<'h>(
        &self,
        header: Option<&'h proto::ControlHeader>,
    ) -> Result<&'h proto::ControlHeader, Status> {
        let header = header.ok_or_else(|| Status::invalid_argument("no header"))?;
        let shared = &self.host.shared;
        if header.cluster_id != shared.cluster_id {
            return Err(Status::failed_precondition("meant for another cluster"));
        }
        if header.target != shared.node_id {
            return Err(Status::failed_precondition(format!(
                "meant for node {}, and this is node {}",
                header.target, shared.node_id
            )));
        }
        Ok(header)
    }

    /// Work goes on when who has asked does not wait for it any more.
    async fn run(
        work: impl Future<Output = Result<(), String>> + Send + 'static,
    ) -> Result<Response<proto::ControlReply>, Status> {
        let done = tokio::spawn(work).await;
        let done = done.map_err(|_| Status::internal("the call has failed"))?;
        Ok(Response::new(proto::ControlReply { refused: done.err() }))
    }
}

fn peer_of<T>(request: &Request<T>) -> Option<Peer> {
    request.extensions().get().copied()
}

fn membership_in(id: Option<proto::LogId>) -> Result<LogId, Status> {
    id.map(Into::into).ok_or_else(|| Status::invalid_argument("no membership"))
}

#[tonic::async_trait]
impl NodeControl for ControlService {
    async fn status(
        &self,
        request: Request<proto::StatusRequest>,
    ) -> Result<Response<proto::NodeStatus>, Status> {
        self.check_target(request.get_ref().header.as_ref())?;
        Ok(Response::new(self.host.node_status()))
    }

    async fn open_group(
        &self,
        request: Request<proto::OpenGroupRequest>,
    ) -> Result<Response<proto::ControlReply>, Status> {
        self.check(peer_of(&request), request.get_ref().header.as_ref())?;
        let request = request.into_inner();
        let membership = membership_in(request.membership)?;
        let host = self.host.clone();
        Self::run(
            async move { host.open_group(request.group, membership, request.feature_level).await },
        )
        .await
    }

    async fn close_group(
        &self,
        request: Request<proto::CloseGroupRequest>,
    ) -> Result<Response<proto::ControlReply>, Status> {
        self.check(peer_of(&request), request.get_ref().header.as_ref())?;
        let request = request.into_inner();
        let membership = membership_in(request.membership)?;
        let host = self.host.clone();
        Self::run(async move { host.close_group(request.group, membership).await }).await
    }

    async fn change_members(
        &self,
        request: Request<proto::ChangeMembersRequest>,
    ) -> Result<Response<proto::ControlReply>, Status> {
        self.check(peer_of(&request), request.get_ref().header.as_ref())?;
        let request = request.into_inner();
        let membership = membership_in(request.membership)?;
        let change = match request.change {
            Some(Change::AddLearner(node)) => MemberChange::AddLearner(node.node_id, node.address),
            Some(Change::RemoveLearner(node_id)) => MemberChange::RemoveLearner(node_id),
            Some(Change::Voters(set)) if !set.node_ids.is_empty() => {
                MemberChange::Voters(set.node_ids.into_iter().collect())
            }
            _ => return Err(Status::invalid_argument("no change that this version knows")),
        };
        let host = self.host.clone();
        Self::run(async move {
            let group = host.group(request.group);
            let group = group.ok_or_else(|| format!("there is no group {} here", request.group))?;
            group.change_members(membership, change).await
        })
        .await
    }

    async fn move_leader(
        &self,
        request: Request<proto::MoveLeaderRequest>,
    ) -> Result<Response<proto::ControlReply>, Status> {
        self.check(peer_of(&request), request.get_ref().header.as_ref())?;
        let request = request.into_inner();
        let host = self.host.clone();
        Self::run(async move {
            let group = host.group(request.group);
            let group = group.ok_or_else(|| format!("there is no group {} here", request.group))?;
            group.move_leader(request.to).await
        })
        .await
    }
}
