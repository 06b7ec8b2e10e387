//! CreateUserImportJob: a job that waits for its file.

use async_trait::async_trait;
use conclave_api::{ApiError, ExceptionName, types};
use conclave_store::{
    keys,
    records::{UserImportJobRecord, UserImportsRecord, user_import_job_record::State},
};
use prost::Message;

use super::{JOBS_PER_POOL_MAX, job};
use crate::{
    call::Call,
    pool_access,
    tx::{Decision, Query, Transaction, Tx, transact},
    world::World,
};

/// Makes a job, and answers it with the link that its file is uploaded to. One read and one commit.
/// The role is kept and described; what becomes of rows is told in the job's report.
///
/// # Errors
/// ResourceNotFoundException when the caller has no such pool; LimitExceededException when it has too many
/// jobs.
pub async fn create_user_import_job(
    world: &World,
    call: &Call,
    input: types::CreateUserImportJobRequest,
) -> Result<types::CreateUserImportJobResponse, ApiError> {
    transact(world, &Create { call, input: &input }).await
}

struct Create<'a> {
    call: &'a Call,
    input: &'a types::CreateUserImportJobRequest,
}

#[async_trait]
impl Transaction for Create<'_> {
    type Output = types::CreateUserImportJobResponse;

    fn scope(&self) -> &str {
        self.input.user_pool_id.as_deref().unwrap_or_default()
    }

    async fn decide(&self, tx: &mut Tx<'_>) -> Decision<Self::Output> {
        tx.load(Query::new().get(keys::user_imports())).await?;
        let pool = pool_access::owned_pool(tx, self.call)?;
        let mut imports = tx
            .get::<UserImportsRecord>(&keys::user_imports())?
            .map(|stored| stored.record)
            .unwrap_or_default();
        if imports.jobs >= JOBS_PER_POOL_MAX {
            return Err(ExceptionName::LimitExceededException
                .because(
                    "The maximum number of user import jobs for this user pool has been reached.",
                )
                .into());
        }
        imports.jobs += 1;
        let world = tx.world();
        let job = UserImportJobRecord {
            job_id: job::new_id(tx.now_ms(), &*world.entropy),
            name: self.input.job_name.clone().unwrap_or_default(),
            log_role_arn: self.input.cloud_watch_logs_role_arn.clone().unwrap_or_default(),
            password_hashing_algorithm: self.input.password_hashing_algorithm.clone(),
            state: State::Created as i32,
            created_ms: tx.now_ms(),
            ..Default::default()
        };
        tx.put(keys::user_imports(), &imports);
        tx.put_new(keys::user_import_job(&job.job_id), job.encode_to_vec().into(), None);
        let described = job::describe(world, pool.id(), &job, tx.now_ms());
        Ok(types::CreateUserImportJobResponse { user_import_job: Some(described) }.into())
    }
}
