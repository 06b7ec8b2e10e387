//! The service itself. It is mounted before the groups have started, and answers UNAVAILABLE until then.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use conclave_shard::{Admin, AdminError, GroupHost};
use conclave_store::Store;
use tokio::{
    sync::{Semaphore, mpsc},
    time::{Instant, sleep},
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{
    Request, Response, Status,
    service::{Routes, interceptor::InterceptedService},
};

use super::{
    access::{Administrator, CheckAdministrator},
    convert, health, key_orders,
    proto::{self, admin_server, backups_server, exports_server},
};
use crate::{
    audit::AuditFile,
    backup::{self, BackupService},
    pool_moves::ExportService,
};

/// Those who watch at once.
const WATCHERS_MAX: usize = 32;
/// How often progress is looked at for one who watches.
const WATCH_EVERY: Duration = Duration::from_millis(500);
/// Progress is said again after this long without a change, so that who watches knows that the node lives.
const WATCH_SILENCE_MAX: Duration = Duration::from_secs(5);
/// How long a transfer of leadership may take.
const TRANSFER_WITHIN: Duration = Duration::from_secs(5);
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// What the service works with.
#[derive(Clone)]
pub struct Serving {
    /// The cluster.
    pub cluster_id: Arc<str>,
    /// This node's groups.
    pub host: Arc<GroupHost>,
    /// All nodes and groups.
    pub admin: Admin,
    /// The pools, for what is done to their keys.
    pub store: Arc<dyn Store>,
}

/// Cheap to clone.
#[derive(Clone)]
pub struct AdminService {
    serving: Arc<OnceLock<Serving>>,
    backups: BackupService,
    exports: ExportService,
    watchers: Arc<Semaphore>,
}

impl AdminService {
    /// Answers nothing until [`AdminService::serve`].
    pub fn new() -> Self {
        Self {
            serving: Arc::default(),
            backups: BackupService::new(),
            exports: ExportService::new(),
            watchers: Arc::new(Semaphore::new(WATCHERS_MAX)),
        }
    }

    /// Answers about backups from here on.
    pub fn serve_backups(&self, serving: backup::Serving) {
        self.backups.serve(serving);
    }

    /// Exports pools from here on.
    pub fn serve_exports(&self, serving: backup::Serving) {
        self.exports.serve(serving);
    }

    /// Answers from here on.
    pub fn serve(&self, serving: Serving) {
        // once in a process
        let _ = self.serving.set(serving);
    }

    /// For the internal port.
    pub fn routes(&self, cluster_id: &str, tls: bool, audit: Option<Arc<AuditFile>>) -> Routes {
        let check = CheckAdministrator::new(cluster_id, tls, audit);
        let server = admin_server::AdminServer::new(self.clone());
        let backups = backups_server::BackupsServer::new(self.backups.clone());
        let exports = exports_server::ExportsServer::new(self.exports.clone());
        Routes::new(InterceptedService::new(server, check.clone()))
            .add_service(InterceptedService::new(backups, check.clone()))
            .add_service(InterceptedService::new(exports, check))
    }

    fn serving(&self) -> Result<&Serving, Status> {
        self.serving.get().ok_or_else(|| Status::unavailable("the node is starting"))
    }
}

/// As callers are told.
pub fn status(error: AdminError) -> Status {
    match error {
        AdminError::NoSuchNode(_) => Status::not_found(error.to_string()),
        AdminError::Refused(_) => Status::failed_precondition(error.to_string()),
        AdminError::Contended => Status::aborted(error.to_string()),
        AdminError::Damaged(_) => Status::data_loss(error.to_string()),
        AdminError::Store(_) => {
            Status::unavailable(format!("the directory does not answer: {error}"))
        }
    }
}

/// Writes down who has changed what, and what came of it.
pub fn record<T>(
    who: &Administrator,
    operation: &'static str,
    subject: impl tracing::Value + std::fmt::Display,
    outcome: Result<T, Status>,
) -> Result<T, Status> {
    who.audit(operation, Some(&subject.to_string()), outcome.as_ref().map(|_| ()));
    match &outcome {
        Ok(_) => {
            tracing::info!(%who, operation, subject, outcome = "done", "administrative change");
        }
        Err(refused) => tracing::warn!(
            %who,
            operation,
            subject,
            outcome = ?refused.code(),
            why = refused.message(),
            "administrative change"
        ),
    }
    outcome
}

/// Who asks.
pub fn who<T>(request: &Request<T>) -> Result<Administrator, Status> {
    let who = request.extensions().get::<Administrator>();
    who.cloned().ok_or_else(|| Status::permission_denied("nobody knows who asks"))
}

fn check_node(node_id: u64) -> Result<(), Status> {
    match node_id {
        0 => Err(Status::invalid_argument("node_id is missing")),
        _ => Ok(()),
    }
}

#[tonic::async_trait]
impl admin_server::Admin for AdminService {
    type WatchProgressStream = ReceiverStream<Result<proto::WatchProgressResponse, Status>>;

    async fn get_status(
        &self,
        request: Request<proto::GetStatusRequest>,
    ) -> Result<Response<proto::GetStatusResponse>, Status> {
        who(&request)?.audit("get_status", None, Ok(()));
        let serving = self.serving()?;
        let mut answer = proto::GetStatusResponse {
            cluster_id: serving.cluster_id.to_string(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            answered_by: serving.host.status().node_id,
            ..proto::GetStatusResponse::default()
        };
        let seen = async {
            let nodes = serving.admin.nodes().await?;
            let groups = serving.admin.groups().await?;
            Ok::<_, AdminError>((nodes, groups, serving.admin.progress().await?))
        };
        match seen.await {
            Ok((nodes, groups, progress)) => {
                answer.nodes = nodes.into_iter().map(convert::node).collect();
                answer.groups = groups.into_iter().map(convert::group).collect();
                answer.problems = health::problems(&answer.nodes, &answer.groups);
                answer.problems.extend(progress.waiting);
                answer.controller = progress.controller;
                answer.settled = progress.settled;
            }
            Err(error) => {
                let own = serving.host.status();
                let convert = |group| convert::own_group(own.node_id, group);
                answer.groups = own.groups.iter().map(convert).collect();
                answer.problems = vec![format!("the directory does not answer: {error}")];
                let without = own.groups.iter().filter(|group| group.leader.is_none());
                answer.problems.extend(without.map(|group| {
                    format!("group {} has no leader that this node knows", group.group)
                }));
            }
        }
        answer.healthy = answer.problems.is_empty();
        Ok(Response::new(answer))
    }

    async fn list_nodes(
        &self,
        request: Request<proto::ListNodesRequest>,
    ) -> Result<Response<proto::ListNodesResponse>, Status> {
        who(&request)?.audit("list_nodes", None, Ok(()));
        let nodes = self.serving()?.admin.nodes().await.map_err(status)?;
        let nodes = nodes.into_iter().map(convert::node).collect();
        Ok(Response::new(proto::ListNodesResponse { nodes }))
    }

    async fn list_groups(
        &self,
        request: Request<proto::ListGroupsRequest>,
    ) -> Result<Response<proto::ListGroupsResponse>, Status> {
        who(&request)?.audit("list_groups", None, Ok(()));
        let groups = self.serving()?.admin.groups().await.map_err(status)?;
        let groups = groups.into_iter().map(convert::group).collect();
        Ok(Response::new(proto::ListGroupsResponse { groups }))
    }

    async fn drain_node(
        &self,
        request: Request<proto::DrainNodeRequest>,
    ) -> Result<Response<proto::DrainNodeResponse>, Status> {
        let (serving, who, node_id) = (self.serving()?, who(&request)?, request.get_ref().node_id);
        check_node(node_id)?;
        let outcome = serving.admin.drain(node_id).await.map_err(status);
        record(&who, "drain", node_id, outcome)?;
        Ok(Response::new(proto::DrainNodeResponse {}))
    }

    async fn undrain_node(
        &self,
        request: Request<proto::UndrainNodeRequest>,
    ) -> Result<Response<proto::UndrainNodeResponse>, Status> {
        let (serving, who, node_id) = (self.serving()?, who(&request)?, request.get_ref().node_id);
        check_node(node_id)?;
        let outcome = serving.admin.undrain(node_id).await.map_err(status);
        record(&who, "undrain", node_id, outcome)?;
        Ok(Response::new(proto::UndrainNodeResponse {}))
    }

    async fn replace_node(
        &self,
        request: Request<proto::ReplaceNodeRequest>,
    ) -> Result<Response<proto::ReplaceNodeResponse>, Status> {
        let (serving, who) = (self.serving()?, who(&request)?);
        let proto::ReplaceNodeRequest { node_id, replaced_by } = request.into_inner();
        check_node(node_id)?;
        let outcome = serving.admin.replace(node_id, replaced_by).await.map_err(status);
        record(&who, "replace", node_id, outcome)?;
        Ok(Response::new(proto::ReplaceNodeResponse {}))
    }

    async fn remove_node(
        &self,
        request: Request<proto::RemoveNodeRequest>,
    ) -> Result<Response<proto::RemoveNodeResponse>, Status> {
        let (serving, who, node_id) = (self.serving()?, who(&request)?, request.get_ref().node_id);
        check_node(node_id)?;
        let outcome = serving.admin.remove(node_id).await.map_err(status);
        record(&who, "remove", node_id, outcome)?;
        Ok(Response::new(proto::RemoveNodeResponse {}))
    }

    async fn transfer_leadership(
        &self,
        request: Request<proto::TransferLeadershipRequest>,
    ) -> Result<Response<proto::TransferLeadershipResponse>, Status> {
        let (serving, who) = (self.serving()?, who(&request)?);
        let proto::TransferLeadershipRequest { group, node_id } = request.into_inner();
        check_node(node_id)?;
        match transfer(serving, group, node_id).await {
            // whoever leads writes it down
            Ok(Some(leader)) => {
                Ok(Response::new(proto::TransferLeadershipResponse { ask: Some(leader) }))
            }
            outcome => {
                let outcome = outcome.map(|_| ());
                record(&who, "transfer_leadership", u64::from(group), outcome)?;
                Ok(Response::new(proto::TransferLeadershipResponse { ask: None }))
            }
        }
    }

    async fn list_signing_keys(
        &self,
        request: Request<proto::ListSigningKeysRequest>,
    ) -> Result<Response<proto::ListSigningKeysResponse>, Status> {
        who(&request)?.audit("list_signing_keys", Some(&request.get_ref().pool_id), Ok(()));
        let store = &*self.serving()?.store;
        key_orders::list(store, &request.get_ref().pool_id).await.map(Response::new)
    }

    async fn rotate_signing_keys(
        &self,
        request: Request<proto::RotateSigningKeysRequest>,
    ) -> Result<Response<proto::RotateSigningKeysResponse>, Status> {
        let (serving, who) = (self.serving()?, who(&request)?);
        let request = request.into_inner();
        let outcome = key_orders::rotate(&*serving.store, &request).await;
        let done = record(&who, "rotate_signing_keys", request.pool_id.as_str(), outcome)?;
        Ok(Response::new(done))
    }

    async fn revoke_signing_key(
        &self,
        request: Request<proto::RevokeSigningKeyRequest>,
    ) -> Result<Response<proto::RevokeSigningKeyResponse>, Status> {
        let (serving, who) = (self.serving()?, who(&request)?);
        let request = request.into_inner();
        let outcome = key_orders::revoke(&*serving.store, &request).await;
        let done = record(&who, "revoke_signing_key", request.kid.as_str(), outcome)?;
        Ok(Response::new(done))
    }

    async fn get_key_status(
        &self,
        _: Request<proto::GetKeyStatusRequest>,
    ) -> Result<Response<proto::GetKeyStatusResponse>, Status> {
        key_orders::status_of_keys(&*self.serving()?.store).await.map(Response::new)
    }

    async fn rewrap_cluster_keys(
        &self,
        request: Request<proto::RewrapClusterKeysRequest>,
    ) -> Result<Response<proto::RewrapClusterKeysResponse>, Status> {
        let (serving, who) = (self.serving()?, who(&request)?);
        let outcome = key_orders::rewrap(&*serving.store).await;
        record(&who, "rewrap_cluster_keys", serving.cluster_id.as_ref(), outcome)?;
        Ok(Response::new(proto::RewrapClusterKeysResponse {}))
    }

    async fn rotate_cluster_key(
        &self,
        request: Request<proto::RotateClusterKeyRequest>,
    ) -> Result<Response<proto::RotateClusterKeyResponse>, Status> {
        let (serving, who) = (self.serving()?, who(&request)?);
        let outcome = key_orders::rotate_cluster_key(&*serving.store).await;
        record(&who, "rotate_cluster_key", serving.cluster_id.as_ref(), outcome)?;
        Ok(Response::new(proto::RotateClusterKeyResponse {}))
    }

    async fn reseal_pools(
        &self,
        request: Request<proto::ResealPoolsRequest>,
    ) -> Result<Response<proto::ResealPoolsResponse>, Status> {
        let (serving, who) = (self.serving()?, who(&request)?);
        let pool_id = &request.get_ref().pool_id;
        let outcome = key_orders::reseal_pools(&*serving.store, pool_id).await;
        let meant = if pool_id.is_empty() { serving.cluster_id.as_ref() } else { pool_id.as_str() };
        record(&who, "reseal_pools", meant, outcome)?;
        Ok(Response::new(proto::ResealPoolsResponse {}))
    }

    async fn watch_progress(
        &self,
        request: Request<proto::WatchProgressRequest>,
    ) -> Result<Response<Self::WatchProgressStream>, Status> {
        who(&request)?.audit("watch_progress", None, Ok(()));
        let serving = self.serving()?.clone();
        let place = self
            .watchers
            .clone()
            .try_acquire_owned()
            .map_err(|_| Status::resource_exhausted("too many watch at once"))?;
        let (changes, receiver) = mpsc::channel(1);
        tokio::spawn(async move {
            let _place = place;
            watch(&serving, &changes).await;
        });
        Ok(Response::new(ReceiverStream::new(receiver)))
    }
}

/// Says whom to ask when this node does not lead the group.
async fn transfer(serving: &Serving, group: u32, to: u64) -> Result<Option<proto::Leader>, Status> {
    let own = serving.host.status();
    let mine = own.groups.iter().find(|status| status.group == group);
    let Some(mine) = mine.filter(|status| status.is_leader) else {
        return elsewhere(serving, group, own.node_id).await.map(Some);
    };
    if to == own.node_id {
        return Ok(None);
    }
    if !mine.voters.iter().any(|(id, _)| *id == to) {
        return Err(Status::failed_precondition(format!(
            "node {to} does not vote in group {group}"
        )));
    }
    serving.host.transfer_leadership(group, to).await;
    let deadline = Instant::now() + TRANSFER_WITHIN;
    while Instant::now() < deadline {
        let now = serving.host.status();
        if now.groups.iter().any(|status| status.group == group && status.leader == Some(to)) {
            return Ok(None);
        }
        sleep(LOOK_EVERY).await;
    }
    Err(Status::aborted(format!("node {to} has not taken over group {group}")))
}

async fn elsewhere(serving: &Serving, group: u32, own: u64) -> Result<proto::Leader, Status> {
    let nodes = serving.admin.nodes().await.map_err(status)?;
    let leader = nodes.into_iter().find(|node| node.leads.contains(&group));
    match leader.map(|node| node.registered) {
        Some(leader) if leader.node_id != own => {
            Ok(proto::Leader { node_id: leader.node_id, address: leader.address })
        }
        _ => Err(Status::failed_precondition(format!("nobody is known to lead group {group}"))),
    }
}

/// Until nobody listens.
async fn watch(
    serving: &Serving,
    changes: &mpsc::Sender<Result<proto::WatchProgressResponse, Status>>,
) {
    let mut said = None;
    let mut said_at = Instant::now();
    loop {
        let now = look(serving).await.map_err(status);
        let failed = now.is_err();
        let silent = said_at.elapsed() > WATCH_SILENCE_MAX;
        if silent || said.as_ref() != now.as_ref().ok().map(shape).as_ref() {
            said = now.as_ref().ok().map(shape);
            said_at = Instant::now();
            if changes.send(now).await.is_err() || failed {
                return;
            }
        }
        tokio::select! {
            () = sleep(WATCH_EVERY) => {}
            () = changes.closed() => return,
        }
    }
}

async fn look(serving: &Serving) -> Result<proto::WatchProgressResponse, AdminError> {
    let progress = serving.admin.progress().await?;
    let nodes = serving.admin.nodes().await?;
    Ok(proto::WatchProgressResponse {
        controller: progress.controller,
        settled: progress.settled,
        moves: progress.moves.into_iter().map(convert::moving).collect(),
        waiting: progress.waiting,
        nodes: nodes.into_iter().map(convert::node).collect(),
    })
}

/// What counts as a change: not the time that goes by.
fn shape(progress: &proto::WatchProgressResponse) -> proto::WatchProgressResponse {
    let mut shape = progress.clone();
    for moving in &mut shape.moves {
        moving.for_ms = 0;
    }
    for node in &mut shape.nodes {
        node.clock_skew_ms = None;
        node.unreachable_ms = 0;
    }
    shape
}
