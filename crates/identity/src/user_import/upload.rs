//! What comes in through a link: a file, in parts that are sealed and stored as they arrive. It counts when
//! it has arrived whole and in order; then it takes the place of one that was uploaded before.

use std::time::Duration;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use conclave_api::{ApiError, ExceptionName};
use conclave_crypto::entropy;
use conclave_store::{
    keys,
    records::{UserImportFile, UserImportUploadRecord, user_import_job_record::State},
};
use futures::{Stream, StreamExt as _};
use tokio::time::Instant;

use super::{
    UPLOAD_KEPT_MS,
    csv::{BadFile, Watch},
    job,
    link::{self, Link},
};
use crate::{
    config::PoolConfig,
    sealed::{self, Place},
    tx::{Decision, Query, Transaction, Tx, transact},
    world::World,
};

/// Bytes of a file, at most. AWS: "Quotas in Amazon Cognito"; megabytes are counted as S3 counts them.
pub const FILE_BYTES_MAX: u64 = 100 << 20;
/// Bytes of a part, all but the last one.
pub(super) const CHUNK_BYTES: usize = 128 << 10;
/// What one upload brings into the log in a second, at most: sign-ins go through the same log.
const BYTES_PER_SECOND: u64 = 8 << 20;

/// Why what came through a link was not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LinkError {
    /// Nobody of us has made the link.
    #[error("The signature of the link does not match.")]
    BadSignature,
    /// It was good for a while.
    #[error("The link has expired.")]
    Expired,
    /// There is no such pool or job any more.
    #[error("The user import job does not exist.")]
    NoSuchJob,
    /// The job has been started, or has expired.
    #[error("The user import job does not take a file any more.")]
    NotWaiting,
    /// More than [`FILE_BYTES_MAX`].
    #[error("The file has more than 100 MB.")]
    TooLarge,
    /// The connection ended before the file did.
    #[error("The file did not arrive whole.")]
    Incomplete,
    /// It is not a file of users.
    #[error(transparent)]
    BadFile(#[from] BadFile),
    /// Nothing was done: later.
    #[error("The service is temporarily unavailable, please try again.")]
    Unavailable,
}

impl From<ApiError> for LinkError {
    fn from(error: ApiError) -> Self {
        match error.code {
            ExceptionName::ResourceNotFoundException => Self::NoSuchJob,
            _ => {
                tracing::warn!(code = error.code.as_str(), "a user import could not be reached");
                Self::Unavailable
            }
        }
    }
}

/// Takes a file. Of several the last one that arrived whole counts. An error of the body means that it ended
/// too early. Answers how many rows the file has.
///
/// # Errors
/// [`LinkError`]; nothing of the file is kept then.
pub async fn receive<E: Send>(
    world: &World,
    link: &Link,
    body: &mut (impl Stream<Item = Result<Bytes, E>> + Send + Unpin),
) -> Result<u64, LinkError> {
    if !link::is_authentic(world, link) {
        return Err(LinkError::BadSignature);
    }
    let upload_id: [u8; 16] = entropy::bytes(&*world.entropy);
    let begun = transact(world, &Begin { link, upload_id: &upload_id }).await?;
    if let Some(refusal) = begun {
        return Err(refusal);
    }
    let received = async {
        let file = store(world, link, &upload_id, body).await?;
        match transact(world, &Complete { link, file: &file }).await? {
            None => Ok(file.rows),
            Some(refusal) => Err(refusal),
        }
    };
    let received = received.await;
    if received.is_err() {
        // what cannot be deleted now expires
        let _ = transact(world, &Abandon { link, upload_id: &upload_id }).await;
    }
    received
}

async fn store<E: Send>(
    world: &World,
    link: &Link,
    upload_id: &[u8; 16],
    body: &mut (impl Stream<Item = Result<Bytes, E>> + Send + Unpin),
) -> Result<UserImportFile, LinkError> {
    let began = Instant::now();
    let mut watch = Watch::default();
    let mut waiting = BytesMut::new();
    let (mut bytes, mut number) = (0, 0);
    while let Some(part) = body.next().await {
        let part = part.map_err(|_| LinkError::Incomplete)?;
        bytes += part.len() as u64;
        if bytes > FILE_BYTES_MAX {
            return Err(LinkError::TooLarge);
        }
        watch.part(&part)?;
        waiting.extend_from_slice(&part);
        while waiting.len() >= CHUNK_BYTES {
            let chunk = waiting.split_to(CHUNK_BYTES);
            transact(world, &PutChunk { link, upload_id, number, chunk: &chunk }).await?;
            number += 1;
            let stored = u64::from(number) * CHUNK_BYTES as u64;
            let due = Duration::from_millis(stored * 1_000 / BYTES_PER_SECOND);
            tokio::time::sleep_until(began + due).await;
        }
    }
    if !waiting.is_empty() {
        transact(world, &PutChunk { link, upload_id, number, chunk: &waiting }).await?;
    }
    let rows = watch.end()?;
    Ok(UserImportFile { upload_id: Bytes::copy_from_slice(upload_id), bytes, rows, uploaded_ms: 0 })
}

/// Where a part of a file is sealed.
fn place<'a>(config: &'a PoolConfig, key: &'a [u8]) -> Place<'a> {
    Place { scope: config.id(), key, field: "chunk" }
}

/// Opens a part of a file: what a password hash may be in is a secret.
pub(super) fn open_chunk(
    config: &PoolConfig,
    key: &[u8],
    sealed: &[u8],
) -> Result<Bytes, ApiError> {
    let plain = sealed::open(&config.keyring, place(config, key), sealed)?;
    Ok(Bytes::copy_from_slice(plain.expose()))
}

/// Deletes an uploaded file.
pub(super) fn delete(tx: &mut Tx<'_>, upload_id: &[u8]) {
    tx.delete(keys::user_import_upload(upload_id));
    tx.delete_children(keys::user_import_chunks(upload_id));
}

/// Makes the root of an upload, unless the job does not wait for one.
struct Begin<'a> {
    link: &'a Link,
    upload_id: &'a [u8],
}

#[async_trait]
impl Transaction for Begin<'_> {
    type Output = Option<LinkError>;

    fn scope(&self) -> &str {
        &self.link.pool_id
    }

    async fn decide(&self, tx: &mut Tx<'_>) -> Decision<Self::Output> {
        tx.load(job::query(Query::new(), &self.link.job_id)).await?;
        if !link::is_good(self.link, tx.now_ms()) {
            return Ok(Some(LinkError::Expired).into());
        }
        let job = job::find(tx, &self.link.job_id)?.record;
        if job.state() != State::Created || job::has_expired(&job, tx.now_ms()) {
            return Ok(Some(LinkError::NotWaiting).into());
        }
        let record = UserImportUploadRecord { job_id: job.job_id, began_ms: tx.now_ms() };
        let key = keys::user_import_upload(self.upload_id);
        tx.put_expiring(key, &record, tx.now_ms() + UPLOAD_KEPT_MS);
        Ok(None.into())
    }
}

struct PutChunk<'a> {
    link: &'a Link,
    upload_id: &'a [u8],
    number: u32,
    chunk: &'a [u8],
}

#[async_trait]
impl Transaction for PutChunk<'_> {
    type Output = ();

    fn scope(&self) -> &str {
        &self.link.pool_id
    }

    async fn decide(&self, tx: &mut Tx<'_>) -> Decision<()> {
        tx.load(Query::new()).await?;
        let pool = tx.pool()?;
        let key = keys::user_import_chunk(self.upload_id, self.number);
        let sealed = sealed::seal(tx.world(), &pool.keyring, place(&pool, &key), self.chunk)?;
        tx.rely_on_root(keys::user_import_upload(self.upload_id));
        tx.put_new(key, sealed.into(), Some(tx.now_ms() + UPLOAD_KEPT_MS));
        Ok(().into())
    }
}

/// Makes an upload the file of its job, and deletes the one before.
struct Complete<'a> {
    link: &'a Link,
    file: &'a UserImportFile,
}

#[async_trait]
impl Transaction for Complete<'_> {
    type Output = Option<LinkError>;

    fn scope(&self) -> &str {
        &self.link.pool_id
    }

    async fn decide(&self, tx: &mut Tx<'_>) -> Decision<Self::Output> {
        tx.load(job::query(Query::new(), &self.link.job_id)).await?;
        let mut job = job::find(tx, &self.link.job_id)?.record;
        if job.state() != State::Created || job::has_expired(&job, tx.now_ms()) {
            return Ok(Some(LinkError::NotWaiting).into());
        }
        if let Some(before) = &job.file {
            delete(tx, &before.upload_id);
        }
        job.file = Some(UserImportFile { uploaded_ms: tx.now_ms(), ..self.file.clone() });
        tx.rely_on_root(keys::user_import_upload(&self.file.upload_id));
        tx.put(keys::user_import_job(&job.job_id), &job);
        Ok(None.into())
    }
}

struct Abandon<'a> {
    link: &'a Link,
    upload_id: &'a [u8],
}

#[async_trait]
impl Transaction for Abandon<'_> {
    type Output = ();

    fn scope(&self) -> &str {
        &self.link.pool_id
    }

    async fn decide(&self, tx: &mut Tx<'_>) -> Decision<()> {
        tx.load(job::query(Query::new(), &self.link.job_id)).await?;
        // the commit of the file may have been done although nobody knows
        let job = job::find(tx, &self.link.job_id)?.record;
        if job.file.is_some_and(|file| file.upload_id == self.upload_id) {
            return Ok(().into());
        }
        tx.rely_on(&keys::user_import_job(&self.link.job_id));
        delete(tx, self.upload_id);
        Ok(().into())
    }
}
