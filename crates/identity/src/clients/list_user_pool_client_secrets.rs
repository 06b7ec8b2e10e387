//! ListUserPoolClientSecrets. Its tests stand with AddUserPoolClientSecret.

use async_trait::async_trait;
use conclave_api::{ApiError, types};

use super::{client_not_found, secrets};
use crate::{
    call::Call,
    errors,
    pool_access::owned_pool,
    tx::{Decision, Query, Transaction, Tx, transact},
    world::World,
};

/// Lists a client's secrets, oldest first, without their values. There are so few that there is one page.
///
/// # Errors
/// ResourceNotFoundException when the caller has no such pool, or the pool no such client;
/// InvalidParameterException for a page token: none is ever issued.
pub async fn list_user_pool_client_secrets(
    world: &World,
    call: &Call,
    input: types::ListUserPoolClientSecretsRequest,
) -> Result<types::ListUserPoolClientSecretsResponse, ApiError> {
    transact(world, &List { call, input: &input }).await
}

struct List<'a> {
    call: &'a Call,
    input: &'a types::ListUserPoolClientSecretsRequest,
}

#[async_trait]
impl Transaction for List<'_> {
    type Output = types::ListUserPoolClientSecretsResponse;

    fn scope(&self) -> &str {
        self.input.user_pool_id.as_deref().unwrap_or_default()
    }

    async fn decide(&self, tx: &mut Tx<'_>) -> Decision<Self::Output> {
        let client_id = self.input.client_id.as_deref().unwrap_or_default();
        tx.load(Query::new().client(client_id)).await?;
        owned_pool(tx, self.call)?;
        let client = tx.client().ok_or_else(client_not_found)?;
        if self.input.next_token.is_some() {
            return Err(errors::invalid_pagination_token().into());
        }
        let client_secrets = client.record.secrets.iter().map(secrets::describe).collect();
        Ok(types::ListUserPoolClientSecretsResponse { client_secrets, next_token: None }.into())
    }
}
