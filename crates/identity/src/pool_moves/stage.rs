//! Rows of a pool that has no root. Every commit writes a root that has expired already, so that the scope can be written
//! to and is not there for anybody, and relies on two things: that there is no other root, and that the row of this import
//! is still the one that it began with.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use conclave_api::ApiError;
use conclave_crypto::entropy;
use conclave_store::{
    StoreError, keys,
    proto::{self, check::Expect, outcome::Result as Answer, write::Action},
    records::{PoolImportRecord, PoolKeysRecord, PoolRecord},
};
use prost::Message;
use tokio::time::{Instant, sleep};

use super::{ImportError, PoolKeys, keys::wrap};
use crate::{
    errors,
    pools::make_ms_max,
    tx::{Decision, Failure, Query, Transaction, Tx, transact},
    world::World,
};

/// When a row expires that is never there.
const ALWAYS_EXPIRED_MS: i64 = 1;
/// How long a store that does not answer is asked again, with the same commit.
const PATIENCE: Duration = Duration::from_secs(45);
const PAUSE: Duration = Duration::from_millis(500);
/// How often a commit is made anew whose time had passed.
const TRIES_MAX: usize = 4;

/// A row on its way.
pub(super) struct Row {
    pub key: Vec<u8>,
    pub value: Bytes,
    pub expires_at_ms: Option<i64>,
}

/// What an import writes with.
#[derive(Clone, Copy)]
pub(super) struct Place {
    /// The version of the import's own row.
    version: u64,
    /// On the group's clock.
    pub now_ms: i64,
}

impl Place {
    /// For an import that writes nothing.
    pub(super) fn nowhere() -> Self {
        Self { version: 0, now_ms: 0 }
    }
}

fn put(row: Vec<u8>, value: Bytes, expires_at_ms: Option<i64>) -> proto::Write {
    proto::Write { key: row.into(), action: Some(Action::Put(proto::Put { value, expires_at_ms })) }
}

/// Clears away what another import has left, and takes its place.
pub(super) async fn begin(
    world: &World,
    pool_id: &str,
    import_id: &[u8],
) -> Result<Place, ImportError> {
    if !transact(world, &Begin { pool_id, import_id: Some(import_id) }).await? {
        return Err(ImportError::Taken(vec![format!("pool {pool_id}")]));
    }
    look(world, pool_id, import_id).await
}

/// Clears away what an import has left, of whichever import. Answers false, and does nothing, when the pool is there.
pub(crate) async fn clear(world: &World, pool_id: &str) -> Result<bool, ApiError> {
    transact(world, &Begin { pool_id, import_id: None }).await
}

struct Begin<'a> {
    pool_id: &'a str,
    /// `None` only clears away.
    import_id: Option<&'a [u8]>,
}

#[async_trait]
impl Transaction for Begin<'_> {
    /// False when the pool is there.
    type Output = bool;

    fn scope(&self) -> &str {
        self.pool_id
    }

    async fn decide(&self, tx: &mut Tx<'_>) -> Decision<bool> {
        let row = keys::pool_import();
        // an expired root can be the first row
        let query = Query::new().get(row.clone()).scan(Vec::new(), Vec::new(), 2);
        let (is_there, pages) = tx.load_unmade(query).await?;
        if is_there {
            return Ok(false.into());
        }
        let holds_rows = pages.iter().any(|page| !page.rows.is_empty() || page.next.is_some());
        if self.import_id.is_none() && !holds_rows {
            return Ok(true.into());
        }
        tx.put_new(keys::ROOT.to_vec(), Bytes::new(), Some(ALWAYS_EXPIRED_MS));
        if holds_rows {
            tx.rely_on(&row);
            tx.delete_children(Vec::new());
        }
        if let Some(import_id) = self.import_id {
            let record = PoolImportRecord {
                import_id: Bytes::copy_from_slice(import_id),
                began_ms: tx.now_ms(),
            };
            tx.put(row, &record);
        }
        Ok(true.into())
    }
}

/// The place of the import now.
///
/// # Errors
/// [`ImportError::Lost`] when it is another's.
pub(super) async fn look(
    world: &World,
    pool_id: &str,
    import_id: &[u8],
) -> Result<Place, ImportError> {
    let read = proto::Read {
        scope: pool_id.to_owned(),
        gets: vec![keys::pool_import().into()],
        ..Default::default()
    };
    let started = Instant::now();
    let result = loop {
        match world.store.read(read.clone()).await {
            Err(error) if is_passing(&error) && started.elapsed() < PATIENCE => sleep(PAUSE).await,
            answer => break answer?,
        }
    };
    let row = result.rows.first().filter(|_| !result.scope_exists);
    let record = row.and_then(|row| Some((PoolImportRecord::decode(row.value.clone()?), row)));
    match record {
        Some((Ok(record), row)) if record.import_id == import_id => {
            Ok(Place { version: row.version, now_ms: result.now_ms })
        }
        _ => Err(ImportError::Lost),
    }
}

fn is_passing(error: &StoreError) -> bool {
    !matches!(error, StoreError::Invalid { .. })
}

/// Writes rows.
pub(super) async fn write(
    world: &World,
    pool_id: &str,
    import_id: &[u8],
    place: Place,
    rows: Vec<Row>,
) -> Result<(), ImportError> {
    let root = put(keys::ROOT.to_vec(), Bytes::new(), Some(ALWAYS_EXPIRED_MS));
    let rows = rows.into_iter().map(|row| put(row.key, row.value, row.expires_at_ms));
    let check = |key: Vec<u8>, expect| proto::Check { key: key.into(), expect: Some(expect) };
    let mut commit = proto::Commit {
        scope: pool_id.to_owned(),
        checks: vec![
            check(keys::ROOT.to_vec(), Expect::Absent(true)),
            check(keys::pool_import(), Expect::AtVersion(place.version)),
        ],
        writes: std::iter::once(root).chain(rows).collect(),
        ..Default::default()
    };
    let mut now_ms = place.now_ms;
    for _ in 0..TRIES_MAX {
        let id: [u8; 16] = entropy::bytes(&*world.entropy);
        (commit.id, commit.decided_ms) = (Bytes::copy_from_slice(&id), now_ms);
        if commit_patiently(world, &commit).await? {
            return Ok(());
        }
        // too old, or not ours any more
        let present = look(world, pool_id, import_id).await?;
        if present.version != place.version {
            return Err(ImportError::Lost);
        }
        now_ms = present.now_ms;
    }
    Err(ImportError::Lost)
}

/// Answers whether it was committed. One whose fate is not known is sent again as it is.
async fn commit_patiently(world: &World, commit: &proto::Commit) -> Result<bool, StoreError> {
    let started = Instant::now();
    loop {
        match world.store.commit(commit.clone()).await {
            Ok(outcome) => return Ok(matches!(outcome.result, Some(Answer::Committed(_)))),
            Err(error) if is_passing(&error) && started.elapsed() < PATIENCE => sleep(PAUSE).await,
            Err(error) => return Err(error),
        }
    }
}

/// Writes the root: from here on the pool is there. Its keys are wrapped in the same moment: the cluster's key may have
/// been rotated since the import began.
pub(super) struct Finish<'a> {
    pub record: &'a PoolRecord,
    pub keys_record: &'a PoolKeysRecord,
    pub keys: &'a PoolKeys,
    pub import_id: &'a [u8],
    /// When its rows in the directory were written.
    pub entered_ms: i64,
    /// Whether tokens that were issued before now are refused.
    pub ends_tokens: bool,
}

#[async_trait]
impl Transaction for Finish<'_> {
    /// False when it is not this import's place.
    type Output = bool;

    fn scope(&self) -> &str {
        &self.record.pool_id
    }

    async fn decide(&self, tx: &mut Tx<'_>) -> Decision<bool> {
        let row = keys::pool_import();
        let (is_there, _) = tx.load_unmade(Query::new().get(row.clone())).await?;
        let import = tx.get::<PoolImportRecord>(&row)?;
        if is_there || import.is_none_or(|import| import.record.import_id != self.import_id) {
            return Ok(false.into());
        }
        let now_ms = tx.now_ms();
        if now_ms - self.entered_ms > make_ms_max() {
            return Err(Failure::Refused(errors::unavailable()));
        }
        let mut record = self.record.clone();
        if self.ends_tokens {
            record.tokens_not_before_ms = record.tokens_not_before_ms.max(now_ms);
        }
        let pool_keys = wrap(tx.world(), &record.pool_id, self.keys_record, self.keys)?;
        tx.put_new(keys::ROOT.to_vec(), record.encode_to_vec().into(), None);
        tx.put_new(keys::pool_keys(), pool_keys.encode_to_vec().into(), None);
        tx.delete(row);
        tx.begin_epoch_of_chosen_scope();
        Ok(true.into())
    }
}
