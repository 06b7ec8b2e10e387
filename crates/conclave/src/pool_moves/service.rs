//! The service `conclave.admin.v1.Exports`. As with backups, rows leave the node encrypted to the recipients of its own
//! configuration.

use std::{
    ops::ControlFlow,
    sync::{Arc, OnceLock},
};

use conclave_crypto::{
    age::Recipient,
    entropy::{self, SystemEntropy},
    mac::Sha256,
};
use conclave_identity::{
    pool_moves::freeze::{self, FreezeError, Frozen},
    signing_keys::order::OrderError,
};
use conclave_shard::{CutError, GroupCut};
use conclave_store::{
    DIRECTORY_SCOPE,
    keys::{self as rows, Tag},
    proto::{Read, StoredRow},
    records::{PoolFreezeRecord, PoolLocationRecord},
};
use prost::Message as _;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, mpsc},
    task::spawn_blocking,
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use super::keys::header;
use crate::{
    backup::{Serving, elsewhere, files::Writer, timestamp},
    cluster_admin::{
        proto::{self, export_pool_response::Part, exports_server},
        record, who,
    },
};

/// Pools that a node copies at once. Each has a copy of its group's files until it has been sent.
const COPIES_MAX: usize = 8;
/// Bytes of the encrypted file in one message.
const DATA_BYTES: usize = 256 << 10;
/// Messages that wait for whoever reads.
const WAITING_MAX: usize = 2;

type Messages = mpsc::Sender<Result<proto::ExportPoolResponse, Status>>;

/// Cheap to clone.
#[derive(Clone)]
pub struct ExportService {
    serving: Arc<OnceLock<Serving>>,
    copies: Arc<Semaphore>,
}

impl ExportService {
    /// Answers nothing until [`ExportService::serve`].
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

    async fn export(
        &self,
        pool_id: String,
        messages: &Messages,
    ) -> Result<Option<Copying>, Status> {
        let serving = self.serving()?;
        if serving.recipients.is_empty() {
            return Err(Status::failed_precondition(
                "the node has no recipients to encrypt a pool to: set export.recipients, or backup.recipients, in its \
                 configuration (conclave backup keygen makes an identity and prints its recipient)",
            ));
        }
        let (place, cut_ms) = place(serving, &pool_id).await?;
        let group = place.group;
        if let Some(leader) = elsewhere(serving, group).await? {
            // the first message has room
            let _ = messages.send(Ok(message(Part::Ask(leader)))).await;
            return Ok(None);
        }
        let copies = self.copies.clone().try_acquire_owned();
        let copies = copies.map_err(|_| Status::resource_exhausted("too much is being copied"))?;
        let cut = match serving.host.cut(group).await {
            Ok(cut) => cut,
            Err(CutError::NotLeader(leader)) => {
                let (node_id, address) =
                    leader.ok_or_else(|| Status::unavailable("nobody leads the group"))?;
                let ask = Part::Ask(proto::BackupLeader { node_id, address });
                let _ = messages.send(Ok(message(ask))).await;
                return Ok(None);
            }
            Err(error) => return Err(Status::unavailable(error.to_string())),
        };
        let [a, b, c, d] = entropy::bytes(&SystemEntropy);
        let begin = proto::PoolCut {
            export_id: format!("{pool_id}-{}-{a:02x}{b:02x}{c:02x}{d:02x}", timestamp(cut_ms)),
            cluster_id: serving.cluster_id.clone(),
            account_id: place.account_id,
            group,
            term: cut.term(),
            index: cut.index(),
            cut_ms,
            recipients: serving.recipients.iter().map(ToString::to_string).collect(),
            complete: is_complete(&cut, &pool_id, cut_ms)?,
        };
        let (recipients, messages) = (serving.recipients.clone(), messages.clone());
        Ok(Some(Copying { pool_id, begin, cut, recipients, messages, _place: copies }))
    }
}

#[tonic::async_trait]
impl exports_server::Exports for ExportService {
    type ExportPoolStream = ReceiverStream<Result<proto::ExportPoolResponse, Status>>;

    async fn export_pool(
        &self,
        request: Request<proto::ExportPoolRequest>,
    ) -> Result<Response<Self::ExportPoolStream>, Status> {
        let who = who(&request)?;
        let pool_id = request.into_inner().pool_id;
        let (messages, receiver) = mpsc::channel(WAITING_MAX);
        match self.export(pool_id.clone(), &messages).await {
            // whoever leads writes it down
            Ok(None) => {}
            Ok(Some(copying)) => {
                record(&who, "export_pool", pool_id.as_str(), Ok(()))?;
                // ends by itself when nobody reads any more
                drop(spawn_blocking(move || copying.run()));
            }
            Err(status) => record(&who, "export_pool", pool_id.as_str(), Err(status))?,
        }
        Ok(Response::new(ReceiverStream::new(receiver)))
    }

    async fn freeze_pool(
        &self,
        request: Request<proto::FreezePoolRequest>,
    ) -> Result<Response<proto::FreezePoolResponse>, Status> {
        let who = who(&request)?;
        let proto::FreezePoolRequest { pool_id, frozen } = request.into_inner();
        let serving = self.serving()?;
        let store = &*serving.store;
        let done = freeze::freeze(store, &SystemEntropy, &pool_id, frozen, &who.to_string()).await;
        let done = done.map_err(refused);
        let now = match frozen {
            Some(true) => record(&who, "freeze_pool", pool_id.as_str(), done)?,
            Some(false) => record(&who, "thaw_pool", pool_id.as_str(), done)?,
            None => done?,
        };
        let frozen_ms = now.since_ms.unwrap_or_default();
        let settled_ms = now.since_ms.map_or(0, |since_ms| since_ms + freeze::SETTLE_MS);
        let now_ms = now.now_ms;
        Ok(Response::new(proto::FreezePoolResponse { frozen_ms, settled_ms, now_ms }))
    }
}

/// Whether the pool has been frozen for long enough at the time of the cut.
fn is_complete(cut: &GroupCut, pool_id: &str, now_ms: i64) -> Result<bool, Status> {
    let row = rows::row(pool_id, &rows::pool_freeze());
    let mut since_ms = None;
    let looked = cut.rows_under(&row, &mut |_, value| {
        let record = StoredRow::decode(value).and_then(|row| PoolFreezeRecord::decode(row.value));
        since_ms = record.ok().map(|record| record.frozen_ms);
        ControlFlow::Break(())
    });
    looked.map_err(|error| Status::internal(error.to_string()))?;
    Ok(Frozen { since_ms, now_ms }.is_settled())
}

/// As callers are told.
fn refused(error: FreezeError) -> Status {
    match &error {
        FreezeError::Order(OrderError::NoSuchPool(_)) => Status::not_found(error.to_string()),
        FreezeError::Importing => Status::failed_precondition(error.to_string()),
        FreezeError::Order(OrderError::Store(_)) => {
            Status::unavailable(format!("the pool's group does not answer: {error}"))
        }
        FreezeError::Order(OrderError::Damaged(_)) => Status::data_loss(error.to_string()),
        FreezeError::Order(_) => Status::aborted(error.to_string()),
    }
}

/// Where the directory says that a pool is, and its time.
async fn place(serving: &Serving, pool_id: &str) -> Result<(PoolLocationRecord, i64), Status> {
    let no_such_pool = || Status::not_found(format!("there is no pool {pool_id}"));
    // a key has to hold it
    if pool_id.is_empty() || pool_id.len() > conclave_store::limits::SCOPE_BYTES_MAX {
        return Err(no_such_pool());
    }
    let read = Read {
        scope: DIRECTORY_SCOPE.to_owned(),
        gets: vec![rows::pool_location(pool_id).into()],
        ..Read::default()
    };
    let result = serving.store.read(read).await;
    let result = result
        .map_err(|error| Status::unavailable(format!("the directory does not answer: {error}")))?;
    let value = result.rows.into_iter().find_map(|row| row.value).ok_or_else(no_such_pool)?;
    let place = PoolLocationRecord::decode(value);
    let place = place.map_err(|_| Status::data_loss("the pool's place cannot be decoded"))?;
    Ok((place, result.now_ms))
}

fn message(part: Part) -> proto::ExportPoolResponse {
    proto::ExportPoolResponse { part: Some(part) }
}

/// Sends a pool, on a thread that may wait.
struct Copying {
    pool_id: String,
    begin: proto::PoolCut,
    cut: GroupCut,
    recipients: Vec<Recipient>,
    messages: Messages,
    _place: OwnedSemaphorePermit,
}

/// Nobody reads any more.
struct Gone;

impl Copying {
    fn run(&self) {
        let pool_id = self.pool_id.as_str();
        match self.send_all() {
            Ok(Ok(())) => tracing::info!(pool_id, "pool exported"),
            Ok(Err(Gone)) => tracing::warn!(pool_id, "nobody reads the export of a pool any more"),
            Err(status) => {
                tracing::error!(pool_id, why = status.message(), "the export of a pool has failed");
                // whoever is gone needs no answer
                let _ = self.messages.blocking_send(Err(status));
            }
        }
    }

    fn send_all(&self) -> Result<Result<(), Gone>, Status> {
        self.check_root()?;
        let begin = message(Part::Cut(self.begin.clone()));
        if self.messages.blocking_send(Ok(begin)).is_err() {
            return Ok(Err(Gone));
        }
        let failed = |error: &dyn std::fmt::Display| Status::internal(error.to_string());
        let header = header(&self.begin, &self.pool_id);
        let mut writer = Writer::new(header, &self.recipients, &SystemEntropy)
            .map_err(|error| failed(&error))?;
        let (mut hash, mut file_bytes) = (Sha256::default(), 0_u64);
        let mut send = |data: Vec<u8>| {
            hash.update(&data);
            file_bytes += data.len() as u64;
            self.messages.blocking_send(Ok(message(Part::Data(data)))).is_ok()
        };
        let prefix = rows::row(&self.pool_id, &[]);
        let (mut written, mut gone, mut end) = (Ok(()), false, proto::PoolCopyEnd::default());
        let copied = self.cut.rows_under(&prefix, &mut |key, value| {
            let tag = key.get(prefix.len());
            end.users += u64::from(tag == Some(&(Tag::User as u8)));
            end.clients += u64::from(tag == Some(&(Tag::Client as u8)));
            written = writer.row(key, value);
            if written.is_ok() && writer.waiting() >= DATA_BYTES {
                gone = !send(writer.take());
            }
            if written.is_err() || gone {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        });
        copied.map_err(|error| failed(&error))?;
        written.map_err(|error| failed(&error))?;
        let (rest, rows, state_sha256) = writer.finish().map_err(|error| failed(&error))?;
        if gone || !send(rest) {
            return Ok(Err(Gone));
        }
        let (state_sha256, file_sha256) = (state_sha256.to_vec(), hash.finish().to_vec());
        let end = proto::PoolCopyEnd { rows, state_sha256, file_bytes, file_sha256, ..end };
        match self.messages.blocking_send(Ok(message(Part::End(end)))) {
            Ok(()) => Ok(Ok(())),
            Err(_) => Ok(Err(Gone)),
        }
    }

    /// The pool can have been deleted since the directory was asked, or be on its way.
    fn check_root(&self) -> Result<(), Status> {
        let root = rows::row(&self.pool_id, rows::ROOT);
        let mut is_there = false;
        let looked = self.cut.rows_under(&root, &mut |key, value| {
            let row = StoredRow::decode(value);
            is_there = key == root && row.is_ok_and(|row| row.expires_at_ms == 0);
            ControlFlow::Break(())
        });
        looked.map_err(|error| Status::internal(error.to_string()))?;
        match is_there {
            true => Ok(()),
            false => Err(Status::not_found(format!("there is no pool {}", self.pool_id))),
        }
    }
}
