//! A client's secrets: sealed in its record, told by the id that each of them has.

use conclave_api::{ApiError, types};
use conclave_crypto::{ids, secret::SecretString};
use conclave_store::{keys, records::ClientSecret};

use crate::{
    config::PoolConfig,
    sealed::{self, Place},
    tx::Tx,
};

/// Seals a secret for a client's record.
///
/// # Errors
/// InternalErrorException when the pool's keys cannot be used.
pub(super) fn new_secret(
    tx: &Tx<'_>,
    pool: &PoolConfig,
    client_id: &str,
    secret: &SecretString,
) -> Result<ClientSecret, ApiError> {
    let world = tx.world();
    let row = keys::client(client_id);
    let id = ids::uuid(&*world.entropy);
    let place = Place { scope: pool.id(), key: &row, field: &id };
    let sealed = sealed::seal(world, &pool.keyring, place, secret.expose().as_bytes())?;
    Ok(ClientSecret { id, sealed: sealed.into(), created_ms: tx.now_ms() })
}

/// A secret as it is listed: its value is never among it.
pub(super) fn describe(secret: &ClientSecret) -> types::ClientSecretDescriptorType {
    types::ClientSecretDescriptorType {
        client_secret_id: Some(secret.id.clone()),
        client_secret_value: None,
        client_secret_create_date: Some(secret.created_ms),
    }
}
