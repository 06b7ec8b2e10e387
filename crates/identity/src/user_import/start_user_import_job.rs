//! StartUserImportJob: hands a job with its file to the nodes.

use async_trait::async_trait;
use conclave_api::{ApiError, types};
use conclave_store::{
    keys,
    records::{UserImportJobRecord, UserImportsRecord, user_import_job_record::State},
};

use super::{active, job};
use crate::{
    call::Call,
    errors,
    pool_access::{owned_pool, principal},
    pools::MAKE_MS_MAX,
    tx::{Decision, Query, Transaction, Tx, transact},
    world::World,
};

/// Starts a job; some node takes it up within seconds. What is asked of the job is looked at before and
/// after it is entered in the directory.
///
/// # Errors
/// ResourceNotFoundException when the caller has no such pool, or the pool no such job;
/// PreconditionNotMetException when it was started before or has expired, has no file, its pool verifies
/// no attribute, or another job of the account is active.
pub async fn start_user_import_job(
    world: &World,
    call: &Call,
    input: types::StartUserImportJobRequest,
) -> Result<types::StartUserImportJobResponse, ApiError> {
    let pool_id = input.user_pool_id.unwrap_or_default();
    let job_id = input.job_id.unwrap_or_default();
    let start = |entered_ms| Start { call, pool_id: &pool_id, job_id: &job_id, entered_ms };
    transact(world, &start(None)).await?;
    let entered_ms = active::enter(world, principal(call)?, &pool_id, &job_id).await?;
    let described = transact(world, &start(Some(entered_ms))).await?;
    Ok(types::StartUserImportJobResponse { user_import_job: Some(described) })
}

struct Start<'a> {
    call: &'a Call,
    pool_id: &'a str,
    job_id: &'a str,
    /// When it was entered in the directory; `None`: it is only found out whether it could be started.
    entered_ms: Option<i64>,
}

#[async_trait]
impl Transaction for Start<'_> {
    type Output = types::UserImportJobType;

    fn scope(&self) -> &str {
        self.pool_id
    }

    async fn decide(&self, tx: &mut Tx<'_>) -> Decision<Self::Output> {
        tx.load(job::query(Query::new().get(keys::user_imports()), self.job_id)).await?;
        let pool = owned_pool(tx, self.call)?;
        let mut job = job::find(tx, self.job_id)?.record;
        check(&job, tx.now_ms())?;
        if pool.record.auto_verified_attributes.is_empty() {
            return Err(job::precondition(
                "The user pool must have at least one auto verified attribute to import users.",
            )
            .into());
        }
        let mut imports = tx
            .get::<UserImportsRecord>(&keys::user_imports())?
            .map(|stored| stored.record)
            .unwrap_or_default();
        if !imports.active_job_id.is_empty() {
            return Err(active::another_is_active().into());
        }
        job.set_state(State::Pending);
        job.started_ms = tx.now_ms();
        if let Some(entered_ms) = self.entered_ms {
            if tx.now_ms() - entered_ms > MAKE_MS_MAX {
                // its row in the directory may be cleared away by now
                return Err(errors::unavailable().into());
            }
            tx.rely_on_config();
            imports.active_job_id.clone_from(&job.job_id);
            tx.put(keys::user_imports(), &imports);
            tx.put(keys::user_import_job(&job.job_id), &job);
        }
        Ok(job::describe(tx.world(), pool.id(), &job, tx.now_ms()).into())
    }
}

fn check(job: &UserImportJobRecord, now_ms: i64) -> Result<(), ApiError> {
    if job::has_expired(job, now_ms) {
        return Err(job::precondition("The user import job has expired."));
    }
    if job.state() != State::Created {
        return Err(job::precondition("The user import job has already been started."));
    }
    if job.file.is_none() {
        return Err(job::precondition(
            "The CSV file of the user import job has not been uploaded.",
        ));
    }
    Ok(())
}
