//! GetCSVHeader: the columns that a file of users for this pool has.

use async_trait::async_trait;
use conclave_api::{ApiError, types};

use super::csv;
use crate::{
    call::Call,
    pool_access,
    tx::{Decision, Query, Transaction, Tx, transact},
    world::World,
};

/// Answers the columns, in Cognito's order. One read.
///
/// # Errors
/// ResourceNotFoundException when the caller has no such pool.
pub async fn get_csv_header(
    world: &World,
    call: &Call,
    input: types::GetCsvHeaderRequest,
) -> Result<types::GetCsvHeaderResponse, ApiError> {
    let pool_id = input.user_pool_id.unwrap_or_default();
    transact(world, &GetCsvHeader { call, pool_id: &pool_id }).await
}

struct GetCsvHeader<'a> {
    call: &'a Call,
    pool_id: &'a str,
}

#[async_trait]
impl Transaction for GetCsvHeader<'_> {
    type Output = types::GetCsvHeaderResponse;

    fn scope(&self) -> &str {
        self.pool_id
    }

    async fn decide(&self, tx: &mut Tx<'_>) -> Decision<Self::Output> {
        tx.load(Query::new()).await?;
        let pool = pool_access::owned_pool(tx, self.call)?;
        let response = types::GetCsvHeaderResponse {
            user_pool_id: Some(self.pool_id.to_owned()),
            csv_header: csv::header_of(&pool.record),
        };
        Ok(response.into())
    }
}
