//! From an app client's id to its pool: where every operation that an app calls starts.

use std::sync::Arc;

use bytes::Bytes;
use conclave_api::{ApiError, ExceptionName};
use conclave_crypto::ids;
use conclave_store::{DIRECTORY_SCOPE, keys, proto};

use crate::{
    config::{ClientConfig, PoolConfig},
    errors,
    tx::{self, Failure, Page, Query, Tx},
    world::World,
};

/// No client has a longer id, and a key has to hold it. API reference, ClientIdType.
const CLIENT_ID_BYTES_MAX: usize = 128;

/// The id of the pool that `client_id` belongs to. An id that we have issued says so by itself and
/// costs nothing; for others the directory is asked, once. Whether the client exists is seen in the pool.
///
/// # Errors
/// ResourceNotFoundException when nobody knows the client; TooManyRequestsException when too many are
/// asked for; what the store's errors mean.
pub async fn client_pool(world: &World, client_id: &str) -> Result<String, ApiError> {
    if let Some(pool_id) = ids::client_pool(client_id, &world.hint_key) {
        return Ok(pool_id);
    }
    if client_id.len() > CLIENT_ID_BYTES_MAX {
        return Err(errors::client_not_found(client_id));
    }
    if let Some(pool_id) = world.configs.pool_of_client(client_id) {
        return Ok(pool_id);
    }
    let _place = world.configs.lookup().ok_or_else(errors::too_many_requests)?;
    let read = proto::Read {
        scope: DIRECTORY_SCOPE.to_owned(),
        gets: vec![Bytes::from(keys::client_location(client_id))],
        ..Default::default()
    };
    let result = tx::read(world, read).await.map_err(|error| errors::store(&error))?;
    let location = result.rows.into_iter().next().and_then(|row| row.value);
    let pool_id = location
        .and_then(|value| String::from_utf8(value.to_vec()).ok())
        .ok_or_else(|| errors::client_not_found(client_id))?;
    world.configs.keep_pool_of_client(client_id, &pool_id);
    Ok(pool_id)
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
    let configs = &tx.world().configs;
    let gone = || {
        configs.forget_pool_of_client(client_id);
        Failure::from(errors::client_not_found(client_id))
    };
    let pages = match tx.load(query.client(client_id)).await {
        Err(Failure::Refused(error)) if error.code == ExceptionName::ResourceNotFoundException => {
            return Err(gone());
        }
        other => other?,
    };
    let client = tx.client().ok_or_else(gone)?;
    Ok(Loaded { pool: tx.pool()?, client, pages })
}

#[cfg(test)]
mod tests {
    use conclave_api::types;

    use super::*;
    use crate::{
        clients::create_user_pool_client,
        pools::{create_user_pool, delete_user_pool},
        testing::{ACCOUNT, TestWorld, signed_call_of, test_world, unsigned_call},
        users::sign_up,
    };

    /// A pool of `region` and a client of it.
    async fn pool_in(world: &TestWorld, region: &str) -> (String, String) {
        let call = signed_call_of(ACCOUNT, region);
        let request = types::CreateUserPoolRequest {
            pool_name: Some("pool".to_owned()),
            ..Default::default()
        };
        let pool = create_user_pool(world, &call, request).await.unwrap().user_pool.unwrap();
        let request = types::CreateUserPoolClientRequest {
            user_pool_id: pool.id.clone(),
            client_name: Some("client".to_owned()),
            ..Default::default()
        };
        let client = create_user_pool_client(world, &call, request).await.unwrap();
        (pool.id.unwrap(), client.user_pool_client.unwrap().client_id.unwrap())
    }

    #[tokio::test]
    async fn an_id_that_we_issued_leads_to_its_pool_without_a_read() {
        let world = test_world().await;
        let (pool_id, client_id) = pool_in(&world, "us-east-1").await;
        world.store.take_trips();
        assert_eq!(client_pool(&world, &client_id).await, Ok(pool_id));
        assert_eq!(world.store.take_trips().reads, 0);
    }

    #[tokio::test]
    async fn other_ids_are_looked_up_in_the_directory() {
        let world = test_world().await;
        let (pool_id, client_id) = pool_in(&world, "moon-1").await;
        assert_eq!(ids::client_pool(&client_id, &world.hint_key), None);
        world.store.take_trips();
        assert_eq!(client_pool(&world, &client_id).await, Ok(pool_id));
        assert_eq!(world.store.take_trips().reads, 1);
        // a client never moves
        assert!(client_pool(&world, &client_id).await.is_ok());
        assert_eq!(world.store.take_trips().reads, 0);
        assert_eq!(client_pool(&world, "unknown").await, Err(errors::client_not_found("unknown")));
    }

    #[tokio::test]
    async fn made_up_ids_do_not_crowd_the_directory() {
        let world = test_world().await;
        let places: Vec<_> = std::iter::from_fn(|| world.configs.lookup()).collect();
        let refusal = client_pool(&world, "unknown").await.unwrap_err();
        assert_eq!(refusal.code, ExceptionName::TooManyRequestsException);
        drop(places);
        assert_eq!(client_pool(&world, "unknown").await, Err(errors::client_not_found("unknown")));
    }

    #[tokio::test]
    async fn to_an_app_a_deleted_pool_is_a_client_that_is_gone() {
        let world = test_world().await;
        let (pool_id, client_id) = pool_in(&world, "us-east-1").await;
        let request = types::DeleteUserPoolRequest { user_pool_id: Some(pool_id) };
        delete_user_pool(&world, &signed_call_of(ACCOUNT, "us-east-1"), request).await.unwrap();
        let request = types::SignUpRequest {
            client_id: Some(client_id.clone()),
            username: Some("ada".to_owned()),
            password: Some("Correct-Horse-1".to_owned()),
            ..Default::default()
        };
        let refusal = sign_up(&world, &unsigned_call(), request).await.unwrap_err();
        assert_eq!(refusal, errors::client_not_found(&client_id));
    }
}
