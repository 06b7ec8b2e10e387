//! From an app client's id to its pool: where every operation that an app calls starts.

use std::sync::Arc;

use bytes::Bytes;
use conclave_api::{ApiError, ExceptionName};
use conclave_crypto::ids;
use conclave_store::{DIRECTORY_SCOPE, keys, proto};

use crate::{
    config::{ClientConfig, PoolConfig},
    errors,
    tx::{Failure, Page, Query, Tx},
    world::World,
};

/// The id of the pool that `client_id` belongs to. An id that we have issued says so by itself and
/// costs nothing; for others the directory is asked. Whether the client exists is seen in the pool.
///
/// # Errors
/// ResourceNotFoundException when nobody knows the client; what the store's errors mean.
pub async fn client_pool(world: &World, client_id: &str) -> Result<String, ApiError> {
    if let Some(pool_id) = ids::client_pool(client_id, &world.hint_key) {
        return Ok(pool_id);
    }
    let read = proto::Read {
        scope: DIRECTORY_SCOPE.to_owned(),
        gets: vec![Bytes::from(keys::client_location(client_id))],
        ..Default::default()
    };
    let result = world.store.read(read).await.map_err(|error| errors::store(&error))?;
    let location = result.rows.into_iter().next().and_then(|row| row.value);
    location
        .and_then(|value| String::from_utf8(value.to_vec()).ok())
        .ok_or_else(|| errors::client_not_found(client_id))
}

/// What [`load`] found.
pub struct Loaded {
    /// The client's pool.
    pub pool: Arc<PoolConfig>,
    /// The client.
    pub client: Arc<ClientConfig>,
    /// The pages of the query's scans.
    pub pages: Vec<Page>,
}

/// Loads `query` with the client. To an app a pool that is gone looks like a client that is gone.
///
/// # Errors
/// ResourceNotFoundException when the client is not in the pool; the store's.
pub async fn load(tx: &mut Tx<'_>, query: Query, client_id: &str) -> Result<Loaded, Failure> {
    let pages = match tx.load(query.client(client_id)).await {
        Err(Failure::Refused(error)) if error.code == ExceptionName::ResourceNotFoundException => {
            return Err(errors::client_not_found(client_id).into());
        }
        other => other?,
    };
    let client = tx.client().ok_or_else(|| errors::client_not_found(client_id))?;
    Ok(Loaded { pool: tx.pool()?, client, pages })
}
