//! What changes a client's record.

use async_trait::async_trait;
use conclave_api::ApiError;
use conclave_store::{keys, records::ClientRecord};

use super::client_not_found;
use crate::{
    call::Call,
    config::{ClientConfig, PoolConfig},
    pool_access::owned_pool,
    tx::{Decision, Query, Transaction, Tx},
};

/// Changes the record of a client in the caller's pool, as a change of configuration, and answers what
/// `change` does.
///
/// Fails with ResourceNotFoundException when the caller has no such pool, or the pool no such client.
pub(super) struct ChangeClient<'a, F> {
    pub call: &'a Call,
    pub pool_id: &'a str,
    pub client_id: &'a str,
    /// The new record, and the answer.
    pub change: F,
}

#[async_trait]
impl<F, T> Transaction for ChangeClient<'_, F>
where
    F: Fn(&Tx<'_>, &PoolConfig, &ClientConfig) -> Result<(ClientRecord, T), ApiError> + Send + Sync,
    T: Send,
{
    type Output = (ClientRecord, T);

    fn scope(&self) -> &str {
        self.pool_id
    }

    async fn decide(&self, tx: &mut Tx<'_>) -> Decision<Self::Output> {
        tx.load(Query::new().client(self.client_id)).await?;
        let pool = owned_pool(tx, self.call)?;
        let client = tx.client().ok_or_else(client_not_found)?;
        let (mut record, answer) = (self.change)(tx, &pool, &client)?;
        record.modified_ms = tx.now_ms();
        tx.put(keys::client(self.client_id), &record);
        tx.bump_epoch();
        Ok((record, answer).into())
    }
}
