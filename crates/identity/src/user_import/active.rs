//! One import at a time: of a pool by the row [`keys::user_imports`], of an account and region by a row in
//! the directory, which also tells the nodes what there is to do.
//!
//! The directory's row is written before the job is started and deleted after it has ended. Whoever finds one
//! whose job is not active may take it over: at once when the job has ended, and otherwise when it is old
//! enough that the job is not being started just now.

use async_trait::async_trait;
use conclave_api::{ApiError, ExceptionName};
use conclave_store::{
    DIRECTORY_SCOPE, keys,
    records::{ActiveImportRecord, UserImportJobRecord, UserImportsRecord},
};

use super::job;
use crate::{
    call::CallPrincipal,
    pools::MAKE_MS_MAX,
    tx::{Decision, Query, Stored, Transaction, Tx, transact},
    world::World,
};

/// Refuses to change a pool whose users are being imported. The row of [`keys::user_imports`] must have been
/// loaded.
///
/// # Errors
/// UserImportInProgressException.
pub fn refuse_while_active(tx: &mut Tx<'_>) -> Result<(), ApiError> {
    let key = keys::user_imports();
    let imports = tx.get::<UserImportsRecord>(&key)?;
    // a job that is started meanwhile must not be overlooked
    tx.rely_on(&key);
    if imports.is_some_and(|imports| !imports.record.active_job_id.is_empty()) {
        return Err(ExceptionName::UserImportInProgressException
            .because("There is a user import job in progress for the user pool."));
    }
    Ok(())
}

/// Enters a job as the one that is active in its account and region. Answers when, on the directory's clock.
///
/// # Errors
/// PreconditionNotMetException when another one is.
pub(super) async fn enter(
    world: &World,
    principal: &CallPrincipal,
    pool_id: &str,
    job_id: &str,
) -> Result<i64, ApiError> {
    let key = keys::active_import(&principal.account_id, &principal.region);
    let (present, now_ms) = transact(world, &Find { key: &key }).await?;
    let over = match &present {
        Some(present) if present.record.job_id != job_id => {
            if !may_be_taken_over(world, &present.record, now_ms).await? {
                return Err(another_is_active());
            }
            Some(present.version)
        }
        _ => None,
    };
    transact(world, &Enter { key: &key, pool_id, job_id, over }).await
}

/// PreconditionNotMetException. Source of the rule: developer guide, "Starting a user import job".
pub(super) fn another_is_active() -> ApiError {
    job::precondition("Only one user import job can be active at a time per account.")
}

/// Whether the job behind a row in the directory is not active, and will not be.
pub(super) async fn may_be_taken_over(
    world: &World,
    active: &ActiveImportRecord,
    now_ms: i64,
) -> Result<bool, ApiError> {
    let found = transact(world, &Look { pool_id: &active.pool_id, job_id: &active.job_id }).await;
    let record = match found {
        Ok(record) => record,
        Err(error) if error.code == ExceptionName::ResourceNotFoundException => return Ok(true),
        Err(error) => return Err(error),
    };
    let is_being_started = now_ms - active.since_ms <= 2 * MAKE_MS_MAX;
    Ok(!job::is_active(&record) && (job::has_ended(&record) || !is_being_started))
}

/// Deletes the row of a job that is not active any more, unless another has taken it.
pub(super) async fn leave(
    world: &World,
    key: &[u8],
    active: &ActiveImportRecord,
) -> Result<(), ApiError> {
    transact(world, &Leave { key, active }).await
}

struct Find<'a> {
    key: &'a [u8],
}

#[async_trait]
impl Transaction for Find<'_> {
    type Output = (Option<Stored<ActiveImportRecord>>, i64);

    fn scope(&self) -> &str {
        DIRECTORY_SCOPE
    }

    async fn decide(&self, tx: &mut Tx<'_>) -> Decision<Self::Output> {
        tx.load(Query::new().get(self.key.to_vec())).await?;
        Ok((tx.get(self.key)?, tx.now_ms()).into())
    }
}

struct Enter<'a> {
    key: &'a [u8],
    pool_id: &'a str,
    job_id: &'a str,
    /// The version of another job's row that may be taken over.
    over: Option<u64>,
}

#[async_trait]
impl Transaction for Enter<'_> {
    type Output = i64;

    fn scope(&self) -> &str {
        DIRECTORY_SCOPE
    }

    async fn decide(&self, tx: &mut Tx<'_>) -> Decision<i64> {
        tx.load(Query::new().get(self.key.to_vec())).await?;
        if let Some(present) = tx.get::<ActiveImportRecord>(self.key)?
            && present.record.job_id != self.job_id
            && Some(present.version) != self.over
        {
            return Err(another_is_active().into());
        }
        // a row of this very job is written anew: who was about to clear the old one away leaves it
        let record = ActiveImportRecord {
            pool_id: self.pool_id.to_owned(),
            job_id: self.job_id.to_owned(),
            since_ms: tx.now_ms(),
        };
        tx.put(self.key.to_vec(), &record);
        Ok(record.since_ms.into())
    }
}

struct Look<'a> {
    pool_id: &'a str,
    job_id: &'a str,
}

#[async_trait]
impl Transaction for Look<'_> {
    type Output = UserImportJobRecord;

    fn scope(&self) -> &str {
        self.pool_id
    }

    async fn decide(&self, tx: &mut Tx<'_>) -> Decision<UserImportJobRecord> {
        tx.load(job::query(Query::new(), self.job_id)).await?;
        Ok(job::find(tx, self.job_id)?.record.into())
    }
}

struct Leave<'a> {
    key: &'a [u8],
    active: &'a ActiveImportRecord,
}

#[async_trait]
impl Transaction for Leave<'_> {
    type Output = ();

    fn scope(&self) -> &str {
        DIRECTORY_SCOPE
    }

    async fn decide(&self, tx: &mut Tx<'_>) -> Decision<()> {
        tx.load(Query::new().get(self.key.to_vec())).await?;
        let present = tx.get::<ActiveImportRecord>(self.key)?;
        if present.is_some_and(|present| present.record == *self.active) {
            tx.delete(self.key.to_vec());
        }
        Ok(().into())
    }
}
