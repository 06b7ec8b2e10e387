//! DescribeUserImportJob.

use async_trait::async_trait;
use conclave_api::{ApiError, types};

use super::job;
use crate::{
    call::Call,
    pool_access,
    tx::{Decision, Query, Transaction, Tx, transact},
    world::World,
};

/// Answers a job as it stands: counts grow with every batch of rows. One read.
///
/// # Errors
/// ResourceNotFoundException when the caller has no such pool, or the pool no such job.
pub async fn describe_user_import_job(
    world: &World,
    call: &Call,
    input: types::DescribeUserImportJobRequest,
) -> Result<types::DescribeUserImportJobResponse, ApiError> {
    transact(world, &Describe { call, input: &input }).await
}

struct Describe<'a> {
    call: &'a Call,
    input: &'a types::DescribeUserImportJobRequest,
}

#[async_trait]
impl Transaction for Describe<'_> {
    type Output = types::DescribeUserImportJobResponse;

    fn scope(&self) -> &str {
        self.input.user_pool_id.as_deref().unwrap_or_default()
    }

    async fn decide(&self, tx: &mut Tx<'_>) -> Decision<Self::Output> {
        let job_id = self.input.job_id.as_deref().unwrap_or_default();
        tx.load(job::query(Query::new(), job_id)).await?;
        let pool = pool_access::owned_pool(tx, self.call)?;
        let job = job::find(tx, job_id)?.record;
        let described = job::describe(tx.world(), pool.id(), &job, tx.now_ms());
        Ok(types::DescribeUserImportJobResponse { user_import_job: Some(described) }.into())
    }
}
