//! What changes a pool's record, and then its entry in the directory's list.
//!
//! The pool is written first: it is what counts. A crash in between leaves the older name in the list,
//! until the reconciler or the next change.

use async_trait::async_trait;
use conclave_api::ApiError;
use conclave_store::{
    DIRECTORY_SCOPE, keys,
    records::{PoolEntryRecord, PoolRecord},
};

use crate::{
    call::Call,
    pool_access::owned_pool,
    tx::{Decision, Query, Transaction, Tx, transact},
    user_import,
    world::World,
};

/// Changes the record of the caller's pool, as a change of configuration, and answers it.
///
/// # Errors
/// ResourceNotFoundException when the caller has no such pool; what `change` refuses.
pub(super) async fn change_pool(
    world: &World,
    call: &Call,
    pool_id: &str,
    change: impl Fn(&PoolRecord) -> Result<PoolRecord, ApiError> + Send + Sync,
) -> Result<PoolRecord, ApiError> {
    run(world, Change { call, pool_id, change, waits_for_import: false }).await
}

/// The same, but not while users are imported into the pool.
///
/// # Errors
/// As [`change_pool`]; UserImportInProgressException.
pub(super) async fn change_pool_without_import(
    world: &World,
    call: &Call,
    pool_id: &str,
    change: impl Fn(&PoolRecord) -> Result<PoolRecord, ApiError> + Send + Sync,
) -> Result<PoolRecord, ApiError> {
    run(world, Change { call, pool_id, change, waits_for_import: true }).await
}

async fn run(
    world: &World,
    change: Change<'_, impl Fn(&PoolRecord) -> Result<PoolRecord, ApiError> + Send + Sync>,
) -> Result<PoolRecord, ApiError> {
    let (record, pool_epoch) = transact(world, &change).await?;
    transact(world, &Enter { record: &record, pool_epoch }).await?;
    Ok(record)
}

struct Change<'a, F> {
    call: &'a Call,
    pool_id: &'a str,
    change: F,
    waits_for_import: bool,
}

#[async_trait]
impl<F: Fn(&PoolRecord) -> Result<PoolRecord, ApiError> + Send + Sync> Transaction
    for Change<'_, F>
{
    type Output = (PoolRecord, u64);

    fn scope(&self) -> &str {
        self.pool_id
    }

    async fn decide(&self, tx: &mut Tx<'_>) -> Decision<Self::Output> {
        tx.load(Query::new().get(keys::user_imports())).await?;
        let pool = owned_pool(tx, self.call)?;
        if self.waits_for_import {
            user_import::refuse_while_active(tx)?;
        }
        let mut record = (self.change)(&pool.record)?;
        record.modified_ms = tx.now_ms();
        tx.put(keys::ROOT.to_vec(), &record);
        tx.bump_epoch();
        Ok((record, pool.epoch + 1).into())
    }
}

/// Enters a pool's name and date in the list of its account, unless something newer is there.
pub(crate) struct Enter<'a> {
    pub record: &'a PoolRecord,
    /// The pool's epoch with this record.
    pub pool_epoch: u64,
}

#[async_trait]
impl Transaction for Enter<'_> {
    type Output = ();

    fn scope(&self) -> &str {
        DIRECTORY_SCOPE
    }

    async fn decide(&self, tx: &mut Tx<'_>) -> Decision<()> {
        let PoolRecord { account_id, region, pool_id, .. } = self.record;
        let row = keys::account_pool(account_id, region, pool_id);
        tx.load(Query::new().get(row.clone())).await?;
        // a pool that has been deleted meanwhile stays off the list
        let Some(present) = tx.get::<PoolEntryRecord>(&row)? else { return Ok(().into()) };
        if present.record.pool_epoch >= self.pool_epoch {
            return Ok(().into());
        }
        let entry = PoolEntryRecord {
            name: self.record.name.clone(),
            modified_ms: self.record.modified_ms,
            pool_epoch: self.pool_epoch,
            ..present.record
        };
        tx.put(row, &entry);
        Ok(().into())
    }
}
