//! The service `conclave.admin.v1.Backups`. Rows leave the node encrypted to the recipients of the node's own
//! configuration: who may ask for a backup cannot read one.

use std::{
    ops::ControlFlow,
    sync::{Arc, OnceLock},
};

use conclave_crypto::{age::Recipient, entropy::SystemEntropy, mac::Sha256};
use conclave_shard::{Admin, CutError, GroupCut, GroupHost};
use conclave_store::{DIRECTORY_GROUP, Store, proto::StoredRow, records::ClusterRecord};
use prost::Message as _;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, mpsc},
    task::spawn_blocking,
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use super::{
    files::{self, Writer},
    markers::Markers,
    proto::Header,
};
use crate::cluster_admin::{
    Administrator,
    proto::{self, backups_server, copy_group_response::Part},
    record, status, who,
};

/// Groups that a node copies at once. Each has a copy of its files until it has been sent.
const COPIES_MAX: usize = 256;
/// Bytes of the encrypted file in one message.
const DATA_BYTES: usize = 256 << 10;
/// Messages that wait for whoever reads.
const WAITING_MAX: usize = 2;

/// What the service works with.
#[derive(Clone)]
pub struct Serving {
    /// The cluster.
    pub cluster_id: String,
    /// Groups of the cluster, the directory among them.
    pub groups: u32,
    /// This node's groups.
    pub host: Arc<GroupHost>,
    /// All nodes and groups.
    pub admin: Admin,
    /// The way to the directory.
    pub store: Arc<dyn Store>,
    /// Whom backups are for.
    pub recipients: Vec<Recipient>,
}

/// Cheap to clone.
#[derive(Clone)]
pub struct BackupService {
    serving: Arc<OnceLock<Serving>>,
    copies: Arc<Semaphore>,
}

impl BackupService {
    /// Answers nothing until [`BackupService::serve`].
    pub fn new() -> Self {
        Self { serving: Arc::default(), copies: Arc::new(Semaphore::new(COPIES_MAX)) }
    }

    /// Answers from here on.
    pub fn serve(&self, serving: Serving) {
        // once in a process
        let _ = self.serving.set(serving);
    }

    fn serving(&self) -> Result<&Serving, Status> {
        self.serving.get().ok_or_else(|| Status::unavailable("the node is starting"))
    }
}

impl Serving {
    fn recipients(&self) -> Result<Vec<String>, Status> {
        if self.recipients.is_empty() {
            return Err(Status::failed_precondition(
                "the node has no recipients to encrypt a backup to: set backup.recipients in its \
                 configuration (conclave backup keygen makes an identity and prints its recipient)",
            ));
        }
        Ok(self.recipients.iter().map(ToString::to_string).collect())
    }

    fn markers(&self) -> Markers {
        Markers::new(self.store.clone())
    }

    async fn start(&self, who: &Administrator) -> Result<proto::StartBackupResponse, Status> {
        let recipients = self.recipients()?;
        let begun = self.markers().start(&who.to_string()).await.map_err(status)?;
        Ok(proto::StartBackupResponse {
            backup_id: begun.backup_id,
            cluster_id: self.cluster_id.clone(),
            groups: self.groups,
            began_ms: begun.began_ms,
            recipients,
        })
    }
}

#[tonic::async_trait]
impl backups_server::Backups for BackupService {
    type CopyGroupStream = ReceiverStream<Result<proto::CopyGroupResponse, Status>>;

    async fn start_backup(
        &self,
        request: Request<proto::StartBackupRequest>,
    ) -> Result<Response<proto::StartBackupResponse>, Status> {
        let who = who(&request)?;
        let started = self.serving()?.start(&who).await;
        record(&who, "start_backup", 0, started).map(Response::new)
    }

    async fn copy_group(
        &self,
        request: Request<proto::CopyGroupRequest>,
    ) -> Result<Response<Self::CopyGroupStream>, Status> {
        let who = who(&request)?;
        let serving = self.serving()?;
        let proto::CopyGroupRequest { backup_id, group } = request.into_inner();
        let recipients = serving.recipients()?;
        let (messages, receiver) = mpsc::channel(WAITING_MAX);
        if let Some(leader) = elsewhere(serving, group).await? {
            // the first message has room
            let _ = messages.send(Ok(message(Part::Ask(leader)))).await;
            return Ok(Response::new(ReceiverStream::new(receiver)));
        }
        if !serving.markers().is_open(&backup_id).await.map_err(status)? {
            return Err(Status::failed_precondition("groups are not cut for this backup any more"));
        }
        let place = self.copies.clone().try_acquire_owned();
        let place = place.map_err(|_| Status::resource_exhausted("too much is being copied"))?;
        let cut = match serving.host.cut(group).await {
            Ok(cut) => cut,
            Err(CutError::NotLeader(leader)) => {
                let (node_id, address) =
                    leader.ok_or_else(|| Status::unavailable("nobody leads the group"))?;
                let ask = Part::Ask(proto::BackupLeader { node_id, address });
                let _ = messages.send(Ok(message(ask))).await;
                return Ok(Response::new(ReceiverStream::new(receiver)));
            }
            Err(error) => return Err(Status::unavailable(error.to_string())),
        };
        record(&who, "copy_group", u64::from(group), Ok(()))?;
        let copying = Copying {
            header: Header {
                format: files::FORMAT,
                backup_id,
                cluster_id: serving.cluster_id.clone(),
                group,
                term: cut.term(),
                index: cut.index(),
                pool_id: String::new(),
            },
            recipients: serving.recipients.clone(),
            texts: recipients,
            messages,
            _place: place,
        };
        // ends by itself when nobody reads any more
        drop(spawn_blocking(move || copying.run(&cut)));
        Ok(Response::new(ReceiverStream::new(receiver)))
    }

    async fn seal_backup(
        &self,
        request: Request<proto::SealBackupRequest>,
    ) -> Result<Response<proto::SealBackupResponse>, Status> {
        let who = who(&request)?;
        let sealed = self.serving()?.markers().seal(&request.get_ref().backup_id).await;
        let sealed = record(&who, "seal_backup", 0, sealed.map_err(status))?;
        Ok(Response::new(proto::SealBackupResponse { cut_ms: sealed.cut_ms }))
    }

    async fn complete_backup(
        &self,
        request: Request<proto::CompleteBackupRequest>,
    ) -> Result<Response<proto::CompleteBackupResponse>, Status> {
        let who = who(&request)?;
        let proto::CompleteBackupRequest { backup_id, bytes } = request.into_inner();
        let completed = self.serving()?.markers().complete(&backup_id, bytes).await;
        record(&who, "complete_backup", 0, completed.map_err(status))?;
        Ok(Response::new(proto::CompleteBackupResponse {}))
    }
}

/// The leader of the group, when this node knows of another one.
pub async fn elsewhere(
    serving: &Serving,
    group: u32,
) -> Result<Option<proto::BackupLeader>, Status> {
    let own = serving.host.status();
    let Some(here) = own.groups.iter().find(|status| status.group == group) else {
        let nodes = serving.admin.nodes().await.map_err(status)?;
        let leader = nodes.into_iter().find(|node| node.leads.contains(&group));
        let leader = leader
            .ok_or_else(|| Status::unavailable(format!("nobody is known to lead group {group}")))?;
        let leader = leader.registered;
        let (node_id, address) = (leader.node_id, leader.address);
        return Ok(Some(proto::BackupLeader { node_id, address }));
    };
    let leader = here.leader.filter(|leader| *leader != own.node_id);
    let voter = here.voters.iter().find(|(id, _)| Some(*id) == leader).cloned();
    Ok(voter.map(|(node_id, address)| proto::BackupLeader { node_id, address }))
}

fn message(part: Part) -> proto::CopyGroupResponse {
    proto::CopyGroupResponse { part: Some(part) }
}

/// Sends a group, on a thread that may wait.
struct Copying {
    header: Header,
    recipients: Vec<Recipient>,
    texts: Vec<String>,
    messages: mpsc::Sender<Result<proto::CopyGroupResponse, Status>>,
    _place: OwnedSemaphorePermit,
}

/// Nobody reads any more.
struct Gone;

impl Copying {
    fn run(&self, cut: &GroupCut) {
        let group = cut.group();
        match self.send_all(cut) {
            Ok(Ok(())) => tracing::info!(group, "group copied for a backup"),
            Ok(Err(Gone)) => tracing::warn!(group, "nobody reads the copy of a group any more"),
            Err(error) => {
                tracing::error!(group, %error, "the copy of a group has failed");
                // whoever is gone needs no answer
                let _ = self.messages.blocking_send(Err(Status::internal(error.to_string())));
            }
        }
    }

    fn send_all(&self, cut: &GroupCut) -> anyhow::Result<Result<(), Gone>> {
        let begin = proto::GroupCut {
            group: cut.group(),
            term: cut.term(),
            index: cut.index(),
            recipients: self.texts.clone(),
        };
        if self.messages.blocking_send(Ok(message(Part::Cut(begin)))).is_err() {
            return Ok(Err(Gone));
        }
        let mut writer = Writer::new(self.header.clone(), &self.recipients, &SystemEntropy)?;
        let (mut hash, mut file_bytes) = (Sha256::default(), 0_u64);
        let mut send = |data: Vec<u8>| {
            hash.update(&data);
            file_bytes += data.len() as u64;
            self.messages.blocking_send(Ok(message(Part::Data(data)))).is_ok()
        };
        let (mut failed, mut gone, mut key_ids) = (Ok(()), false, Vec::new());
        cut.rows(&mut |key, value| {
            failed = writer.row(key, value);
            if cut.group() == DIRECTORY_GROUP {
                key_ids.extend(key_ids_in(key, value));
            }
            if failed.is_ok() && writer.waiting() >= DATA_BYTES {
                gone = !send(writer.take());
            }
            if failed.is_err() || gone { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        failed?;
        let (rest, rows, state_sha256) = writer.finish()?;
        if gone || !send(rest) {
            return Ok(Err(Gone));
        }
        let end = proto::CopyEnd {
            rows,
            state_sha256: state_sha256.to_vec(),
            file_bytes,
            file_sha256: hash.finish().to_vec(),
            key_ids,
        };
        match self.messages.blocking_send(Ok(message(Part::End(end)))) {
            Ok(()) => Ok(Ok(())),
            Err(_) => Ok(Err(Gone)),
        }
    }
}

/// Of the cluster's record, the ids of the keys that wrap its own.
fn key_ids_in(key: &[u8], value: &[u8]) -> Vec<String> {
    let directory = conclave_store::keys::parse_row(key);
    if directory != Some((conclave_store::DIRECTORY_SCOPE, &conclave_store::keys::cluster())) {
        return Vec::new();
    }
    let record = StoredRow::decode(value).and_then(|row| ClusterRecord::decode(row.value));
    let mut ids: Vec<_> =
        record.map(|r| r.keys.into_iter().map(|key| key.wrapped_by).collect()).unwrap_or_default();
    ids.dedup();
    ids
}
