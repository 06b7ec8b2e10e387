//! ListUserImportJobs.

use async_trait::async_trait;
use conclave_api::{ApiError, types};
use conclave_store::{keys, records::UserImportJobRecord};

use super::job;
use crate::{
    call::Call,
    pool_list::{self, Wanted},
    tx::{Decision, Transaction, Tx, transact},
    world::World,
};

/// Jobs in a page, at most: the answer's list has no more. Source: API reference, UserImportJobsListType.
const PAGE_MAX: i32 = 50;

/// Lists the jobs of a pool from last created to first created. Two reads.
///
/// # Errors
/// ResourceNotFoundException when the caller has no such pool; InvalidParameterException for a token of
/// another list.
pub async fn list_user_import_jobs(
    world: &World,
    call: &Call,
    input: types::ListUserImportJobsRequest,
) -> Result<types::ListUserImportJobsResponse, ApiError> {
    transact(world, &List { call, input: &input }).await
}

struct List<'a> {
    call: &'a Call,
    input: &'a types::ListUserImportJobsRequest,
}

#[async_trait]
impl Transaction for List<'_> {
    type Output = types::ListUserImportJobsResponse;

    fn scope(&self) -> &str {
        self.input.user_pool_id.as_deref().unwrap_or_default()
    }

    async fn decide(&self, tx: &mut Tx<'_>) -> Decision<Self::Output> {
        let wanted = Wanted {
            operation: "ListUserImportJobs",
            prefix: keys::user_import_jobs(),
            next_token: self.input.pagination_token.as_deref(),
            max_results: self.input.max_results.map(|max| max.min(PAGE_MAX)),
            limit_default: PAGE_MAX.unsigned_abs(),
        };
        let page = pool_list::load::<UserImportJobRecord>(tx, self.call, wanted).await?;
        let describe =
            |job: &UserImportJobRecord| job::describe(tx.world(), self.scope(), job, tx.now_ms());
        let response = types::ListUserImportJobsResponse {
            user_import_jobs: page.records.iter().map(describe).collect(),
            pagination_token: page.next_token,
        };
        Ok(response.into())
    }
}
