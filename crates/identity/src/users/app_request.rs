//! How every operation begins that an app calls about a user by name: the client says which pool it is, and
//! proves its secret for the name, before anything else is looked at.

use std::sync::Arc;

use conclave_api::ApiError;

use super::secret_hash;
use crate::{
    client_pool::{self, Loaded, client_pool},
    config::{ClientConfig, PoolConfig},
    tx::{Failure, Query, Tx},
    world::World,
};

/// An app's request about a user.
pub struct AppRequest {
    /// The client's pool.
    pub pool_id: String,
    client_id: String,
    secret_hash: Option<String>,
    /// What the user is called by.
    pub username: String,
}

impl AppRequest {
    /// From the members that all of these requests have.
    ///
    /// # Errors
    /// ResourceNotFoundException when nobody knows the client; the store's.
    pub async fn new(
        world: &World,
        client_id: Option<String>,
        username: Option<String>,
        secret_hash: Option<String>,
    ) -> Result<Self, ApiError> {
        let client_id = client_id.unwrap_or_default();
        let pool_id = client_pool(world, &client_id).await?;
        let username = username.unwrap_or_default();
        Ok(Self { pool_id, client_id, secret_hash, username })
    }

    /// Loads `query` with the pool and the client, which proves its secret.
    ///
    /// # Errors
    /// ResourceNotFoundException when the client is not in the pool; NotAuthorizedException for a secret hash
    /// that is missing or wrong; the store's.
    pub async fn load(
        &self,
        tx: &mut Tx<'_>,
        query: Query,
    ) -> Result<(Arc<PoolConfig>, Arc<ClientConfig>), Failure> {
        let (pool, client) = self.load_unproved(tx, query).await?;
        secret_hash::check(&client, &self.username, self.secret_hash.as_deref())?;
        Ok((pool, client))
    }

    /// [`Self::load`] where no app asks, but whoever follows a link that was sent to the user.
    ///
    /// # Errors
    /// As [`Self::load`], without those of the secret.
    pub async fn load_unproved(
        &self,
        tx: &mut Tx<'_>,
        query: Query,
    ) -> Result<(Arc<PoolConfig>, Arc<ClientConfig>), Failure> {
        let Loaded { pool, client, .. } = client_pool::load(tx, query, &self.client_id).await?;
        Ok((pool, client))
    }
}
