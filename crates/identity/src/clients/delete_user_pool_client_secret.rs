//! DeleteUserPoolClientSecret. Its tests stand with AddUserPoolClientSecret.

use conclave_api::{ApiError, types};

use super::change::ChangeClient;
use crate::{
    call::Call,
    config::{ClientConfig, PoolConfig},
    errors,
    tx::{Tx, transact},
    world::World,
};

/// Takes one of a client's secrets away; the last one stays.
///
/// Source: API reference, `DeleteUserPoolClientSecret`; the texts are judgement.
///
/// # Errors
/// ResourceNotFoundException when the caller has no such pool, the pool no such client, or the client no
/// such secret; InvalidParameterException for the last one.
pub async fn delete_user_pool_client_secret(
    world: &World,
    call: &Call,
    input: types::DeleteUserPoolClientSecretRequest,
) -> Result<types::DeleteUserPoolClientSecretResponse, ApiError> {
    let pool_id = input.user_pool_id.unwrap_or_default();
    let client_id = input.client_id.unwrap_or_default();
    let secret_id = input.client_secret_id.unwrap_or_default();
    let change = |_: &Tx<'_>, _: &PoolConfig, client: &ClientConfig| {
        let mut record = client.record.clone();
        record.secrets.retain(|secret| secret.id != secret_id);
        if record.secrets.len() == client.record.secrets.len() {
            return Err(ApiError::resource_not_found("Client secret does not exist."));
        }
        if record.secrets.is_empty() {
            return Err(errors::invalid_parameter(
                "The last remaining client secret of an app client cannot be deleted.",
            ));
        }
        Ok((record, ()))
    };
    let change = ChangeClient { call, pool_id: &pool_id, client_id: &client_id, change };
    transact(world, &change).await?;
    Ok(types::DeleteUserPoolClientSecretResponse::default())
}
