//! StopUserImportJob.

use async_trait::async_trait;
use conclave_api::{ApiError, types};
use conclave_store::{keys, records::user_import_job_record::State};

use super::job;
use crate::{
    call::Call,
    pool_access,
    tx::{Decision, Query, Transaction, Tx, transact},
    world::World,
};

/// Asks a job to stop, which it does with its present batch of rows. It cannot be started again; users
/// that it has imported stay. One read and one commit.
///
/// # Errors
/// ResourceNotFoundException when the caller has no such pool, or the pool no such job;
/// PreconditionNotMetException when it is not active.
pub async fn stop_user_import_job(
    world: &World,
    call: &Call,
    input: types::StopUserImportJobRequest,
) -> Result<types::StopUserImportJobResponse, ApiError> {
    transact(world, &Stop { call, input: &input }).await
}

struct Stop<'a> {
    call: &'a Call,
    input: &'a types::StopUserImportJobRequest,
}

#[async_trait]
impl Transaction for Stop<'_> {
    type Output = types::StopUserImportJobResponse;

    fn scope(&self) -> &str {
        self.input.user_pool_id.as_deref().unwrap_or_default()
    }

    async fn decide(&self, tx: &mut Tx<'_>) -> Decision<Self::Output> {
        let job_id = self.input.job_id.as_deref().unwrap_or_default();
        tx.load(job::query(Query::new(), job_id)).await?;
        let pool = pool_access::owned_pool(tx, self.call)?;
        let mut job = job::find(tx, job_id)?.record;
        match job.state() {
            State::Pending | State::InProgress => {
                job.set_state(State::Stopping);
                tx.put(keys::user_import_job(job_id), &job);
            }
            State::Stopping => {}
            _ => return Err(job::precondition("The user import job is not in progress.").into()),
        }
        let described = job::describe(tx.world(), pool.id(), &job, tx.now_ms());
        Ok(types::StopUserImportJobResponse { user_import_job: Some(described) }.into())
    }
}
