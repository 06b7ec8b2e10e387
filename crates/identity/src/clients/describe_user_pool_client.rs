//! DescribeUserPoolClient.

use async_trait::async_trait;
use conclave_api::{ApiError, types};

use super::{client_not_found, describe};
use crate::{
    call::Call,
    pool_access::owned_pool,
    tx::{Decision, Query, Transaction, Tx, transact},
    world::World,
};

/// Answers a client's settings with its secret, in one read.
///
/// # Errors
/// ResourceNotFoundException when the caller has no such pool, or the pool no such client.
pub async fn describe_user_pool_client(
    world: &World,
    call: &Call,
    input: types::DescribeUserPoolClientRequest,
) -> Result<types::DescribeUserPoolClientResponse, ApiError> {
    let pool_id = input.user_pool_id.unwrap_or_default();
    let client_id = input.client_id.unwrap_or_default();
    transact(world, &Describe { call, pool_id: &pool_id, client_id: &client_id }).await
}

struct Describe<'a> {
    call: &'a Call,
    pool_id: &'a str,
    client_id: &'a str,
}

#[async_trait]
impl Transaction for Describe<'_> {
    type Output = types::DescribeUserPoolClientResponse;

    fn scope(&self) -> &str {
        self.pool_id
    }

    async fn decide(&self, tx: &mut Tx<'_>) -> Decision<Self::Output> {
        tx.load(Query::new().client(self.client_id)).await?;
        owned_pool(tx, self.call)?;
        let client = tx.client().ok_or_else(client_not_found)?;
        let user_pool_client = describe(self.pool_id, &client.record, &client.secrets);
        Ok(types::DescribeUserPoolClientResponse { user_pool_client: Some(user_pool_client) }
            .into())
    }
}

#[cfg(test)]
mod tests {
    use conclave_store::memory::Trips;

    use super::*;
    use crate::{
        errors,
        testing::{ACCOUNT, new_client_with, new_pool, signed_call, signed_call_of, test_world},
    };

    fn request(pool_id: &str, client_id: &str) -> types::DescribeUserPoolClientRequest {
        types::DescribeUserPoolClientRequest {
            user_pool_id: Some(pool_id.to_owned()),
            client_id: Some(client_id.to_owned()),
        }
    }

    #[tokio::test]
    async fn it_answers_what_create_did_in_one_read() {
        let world = test_world().await;
        let pool_id = new_pool(&world).await;
        let input = types::CreateUserPoolClientRequest {
            generate_secret: Some(true),
            ..Default::default()
        };
        let created = new_client_with(&world, &pool_id, input).await;
        let request = request(&pool_id, created.client_id.as_deref().unwrap());
        for _ in 0..2 {
            world.store.take_trips();
            let answer = describe_user_pool_client(&world, &signed_call(), request.clone()).await;
            assert_eq!(answer.unwrap().user_pool_client.as_ref(), Some(&created));
            let trips = world.store.take_trips();
            assert_eq!(trips.commits, 0);
        }
        world.store.take_trips();
        describe_user_pool_client(&world, &signed_call(), request).await.unwrap();
        assert_eq!(world.store.take_trips(), Trips { reads: 1, commits: 0 });
    }

    #[tokio::test]
    async fn a_client_that_does_not_exist_or_is_another_pool_s_is_not_named() {
        let world = test_world().await;
        let (pool_id, other_pool) = (new_pool(&world).await, new_pool(&world).await);
        let other = new_client_with(&world, &other_pool, Default::default()).await;
        for client_id in ["0000000000000000000000000x", other.client_id.as_deref().unwrap()] {
            let request = request(&pool_id, client_id);
            let error =
                describe_user_pool_client(&world, &signed_call(), request).await.unwrap_err();
            assert_eq!(error.code.as_str(), "ResourceNotFoundException");
            assert_eq!(error.message, "User pool client does not exist.");
        }
    }

    #[tokio::test]
    async fn a_pool_of_another_account_or_region_looks_like_none() {
        let world = test_world().await;
        let pool_id = new_pool(&world).await;
        let client = new_client_with(&world, &pool_id, Default::default()).await;
        let client_id = client.client_id.unwrap();
        for call in
            [signed_call_of("444455556666", "us-east-1"), signed_call_of(ACCOUNT, "eu-west-1")]
        {
            let request = request(&pool_id, &client_id);
            let error = describe_user_pool_client(&world, &call, request).await.unwrap_err();
            assert_eq!(error, errors::user_pool_not_found(&pool_id));
        }
    }
}
