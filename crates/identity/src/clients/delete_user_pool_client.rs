//! DeleteUserPoolClient.

use async_trait::async_trait;
use conclave_api::{ApiError, types};
use conclave_store::{DIRECTORY_SCOPE, keys, records::ClientRecord};

use super::client_not_found;
use crate::{
    call::Call,
    client_pages,
    pool_access::owned_pool,
    tx::{Decision, Query, Transaction, Tx, transact},
    world::World,
};

/// Deletes a client with what belongs to it, and then its row in the directory. A repetition finishes what a
/// crash has left.
///
/// # Errors
/// ResourceNotFoundException when the caller has no such pool, or the pool no such client.
pub async fn delete_user_pool_client(
    world: &World,
    call: &Call,
    input: types::DeleteUserPoolClientRequest,
) -> Result<types::DeleteUserPoolClientResponse, ApiError> {
    let pool_id = &input.user_pool_id.unwrap_or_default();
    let client_id = &input.client_id.unwrap_or_default();
    let deleted = transact(world, &Delete { call, pool_id, client_id }).await?;
    conclave_fault::point("delete.after_pool");
    let had_row = transact(world, &Forget { pool_id, client_id }).await?;
    if deleted || had_row {
        return Ok(types::DeleteUserPoolClientResponse::default());
    }
    Err(client_not_found())
}

/// Answers whether there was such a client.
struct Delete<'a> {
    call: &'a Call,
    pool_id: &'a str,
    client_id: &'a str,
}

#[async_trait]
impl Transaction for Delete<'_> {
    type Output = bool;

    fn scope(&self) -> &str {
        self.pool_id
    }

    async fn decide(&self, tx: &mut Tx<'_>) -> Decision<bool> {
        let row = keys::client(self.client_id);
        tx.load(client_pages::query(Query::new().get(row.clone()), self.client_id)).await?;
        owned_pool(tx, self.call)?;
        if tx.get::<ClientRecord>(&row)?.is_none() {
            return Ok(false.into());
        }
        tx.delete(row);
        client_pages::forget(tx, self.client_id);
        tx.add(keys::client_count(), -1, None, None);
        tx.bump_epoch();
        Ok(true.into())
    }
}

/// Clears the client's row in the directory away. Answers whether there was one for this pool.
struct Forget<'a> {
    pool_id: &'a str,
    client_id: &'a str,
}

#[async_trait]
impl Transaction for Forget<'_> {
    type Output = bool;

    fn scope(&self) -> &str {
        DIRECTORY_SCOPE
    }

    async fn decide(&self, tx: &mut Tx<'_>) -> Decision<bool> {
        let row = keys::client_location(self.client_id);
        tx.load(Query::new().get(row.clone())).await?;
        let is_this = tx.get_text(&row).as_deref() == Some(self.pool_id);
        if is_this {
            tx.delete(row);
        }
        Ok(is_this.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        client_pool::client_pool,
        clients::{describe_user_pool_client, list_user_pool_clients},
        errors,
        testing::{ACCOUNT, new_client_with, new_pool, signed_call, signed_call_of, test_world},
    };

    fn request(pool_id: &str, client_id: &str) -> types::DeleteUserPoolClientRequest {
        types::DeleteUserPoolClientRequest {
            user_pool_id: Some(pool_id.to_owned()),
            client_id: Some(client_id.to_owned()),
        }
    }

    async fn new_client(world: &World, pool_id: &str) -> String {
        new_client_with(world, pool_id, Default::default()).await.client_id.unwrap()
    }

    async fn is_there(world: &World, pool_id: &str, client_id: &str) -> bool {
        let request = types::DescribeUserPoolClientRequest {
            user_pool_id: Some(pool_id.to_owned()),
            client_id: Some(client_id.to_owned()),
        };
        match describe_user_pool_client(world, &signed_call(), request).await {
            Ok(_) => true,
            Err(error) => {
                assert_eq!(error, client_not_found());
                false
            }
        }
    }

    #[tokio::test]
    async fn the_client_is_gone_and_the_others_stay() {
        let world = test_world().await;
        let pool_id = new_pool(&world).await;
        let (kept, deleted) =
            (new_client(&world, &pool_id).await, new_client(&world, &pool_id).await);
        assert!(is_there(&world, &pool_id, &deleted).await);
        delete_user_pool_client(&world, &signed_call(), request(&pool_id, &deleted)).await.unwrap();
        assert!(!is_there(&world, &pool_id, &deleted).await, "also where it was cached");
        assert!(is_there(&world, &pool_id, &kept).await);
        let input = types::ListUserPoolClientsRequest {
            user_pool_id: Some(pool_id.clone()),
            ..Default::default()
        };
        let listed = list_user_pool_clients(&world, &signed_call(), input).await.unwrap();
        assert_eq!(listed.user_pool_clients.len(), 1);
        let again =
            delete_user_pool_client(&world, &signed_call(), request(&pool_id, &deleted)).await;
        assert_eq!(again, Err(client_not_found()));
    }

    #[tokio::test]
    async fn a_deleted_client_no_longer_counts() {
        let mut world = test_world().await;
        world.world.settings.clients_per_pool_max = 1;
        let pool_id = new_pool(&world).await;
        let client_id = new_client(&world, &pool_id).await;
        delete_user_pool_client(&world, &signed_call(), request(&pool_id, &client_id))
            .await
            .unwrap();
        new_client(&world, &pool_id).await;
    }

    #[tokio::test]
    async fn a_client_of_another_pool_stays() {
        let world = test_world().await;
        let (pool_id, other_pool) = (new_pool(&world).await, new_pool(&world).await);
        let client_id = new_client(&world, &other_pool).await;
        let answer =
            delete_user_pool_client(&world, &signed_call(), request(&pool_id, &client_id)).await;
        assert_eq!(answer, Err(client_not_found()));
        assert!(is_there(&world, &other_pool, &client_id).await);
    }

    #[tokio::test]
    async fn a_pool_of_another_account_or_region_looks_like_none() {
        let world = test_world().await;
        let pool_id = new_pool(&world).await;
        let client_id = new_client(&world, &pool_id).await;
        for call in
            [signed_call_of("444455556666", "us-east-1"), signed_call_of(ACCOUNT, "eu-west-1")]
        {
            let answer =
                delete_user_pool_client(&world, &call, request(&pool_id, &client_id)).await;
            assert_eq!(answer, Err(errors::user_pool_not_found(&pool_id)));
        }
        assert!(is_there(&world, &pool_id, &client_id).await);
    }

    #[tokio::test]
    async fn a_repetition_finishes_what_a_crash_has_left() {
        let world = test_world().await;
        let pool_id = new_pool(&world).await;
        let client_id = new_client(&world, &pool_id).await;
        world.store.fail_commit(2);
        let answer =
            delete_user_pool_client(&world, &signed_call(), request(&pool_id, &client_id)).await;
        assert_eq!(answer.unwrap_err().code.as_str(), "ServiceUnavailable");
        assert!(!is_there(&world, &pool_id, &client_id).await);
        delete_user_pool_client(&world, &signed_call(), request(&pool_id, &client_id))
            .await
            .unwrap();
        let again =
            delete_user_pool_client(&world, &signed_call(), request(&pool_id, &client_id)).await;
        assert_eq!(again, Err(client_not_found()));
        assert_eq!(client_pool(&world, &client_id).await, Ok(pool_id), "an id says where it was");
    }
}
