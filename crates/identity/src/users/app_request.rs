//! How every operation begins that an app calls about a user by name: the client says which pool it is, and
//! proves its secret for the name, before anything else is looked at.

use std::{collections::BTreeMap, sync::Arc};

use conclave_api::ApiError;

use super::secret_hash;
use crate::{
    client_pool::{self, Loaded, client_pool},
    config::{ClientConfig, PoolConfig},
    triggers::Circumstances,
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
    client_metadata: BTreeMap<String, String>,
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
        let client_metadata = BTreeMap::new();
        Ok(Self { pool_id, client_id, secret_hash, username, client_metadata })
    }

    /// With what the app has sent along for triggers.
    #[must_use]
    pub fn with_metadata(mut self, client_metadata: BTreeMap<String, String>) -> Self {
        self.client_metadata = client_metadata;
        self
    }

    /// For [`crate::tx::Transaction::circumstances`].
    pub fn circumstances(&self) -> Circumstances<'_> {
        Circumstances { client_metadata: Some(&self.client_metadata), ..Default::default() }
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
