//! DescribeUserPool.

use async_trait::async_trait;
use conclave_api::{ApiError, types};
use conclave_store::keys;

use super::{Shown, describe};
use crate::{
    call::Call,
    pool_access::owned_pool,
    tx::{Decision, Query, Transaction, Tx, transact},
    world::World,
};

/// Answers a pool's settings and the number of its users, in one read.
///
/// # Errors
/// ResourceNotFoundException when the caller has no such pool.
pub async fn describe_user_pool(
    world: &World,
    call: &Call,
    input: types::DescribeUserPoolRequest,
) -> Result<types::DescribeUserPoolResponse, ApiError> {
    let pool_id = input.user_pool_id.unwrap_or_default();
    transact(world, &Describe { call, pool_id: &pool_id }).await
}

struct Describe<'a> {
    call: &'a Call,
    pool_id: &'a str,
}

#[async_trait]
impl Transaction for Describe<'_> {
    type Output = types::DescribeUserPoolResponse;

    fn scope(&self) -> &str {
        self.pool_id
    }

    async fn decide(&self, tx: &mut Tx<'_>) -> Decision<Self::Output> {
        tx.load(Query::new().get(keys::user_count())).await?;
        let pool = owned_pool(tx, self.call)?;
        // a pool without users has no counter
        let count = tx.get_bytes(&keys::user_count());
        let count = count.and_then(|count| count[..].try_into().ok());
        let users = count.map_or(0, i64::from_be_bytes);
        let user_pool = describe(&pool.record, Shown::Described { users });
        Ok(types::DescribeUserPoolResponse { user_pool: Some(user_pool) }.into())
    }
}

#[cfg(test)]
mod tests {
    use conclave_store::memory::Trips;

    use super::*;
    use crate::{
        pools::create_user_pool,
        testing::{ACCOUNT, new_pool, signed_call, signed_call_of, test_world},
    };

    fn request(pool_id: &str) -> types::DescribeUserPoolRequest {
        types::DescribeUserPoolRequest { user_pool_id: Some(pool_id.to_owned()) }
    }

    async fn describe(world: &World, pool_id: &str) -> types::UserPoolType {
        let response = describe_user_pool(world, &signed_call(), request(pool_id)).await.unwrap();
        response.user_pool.unwrap()
    }

    #[tokio::test]
    async fn it_answers_what_create_did_with_the_schema_in_another_order() {
        let world = test_world().await;
        let input =
            types::CreateUserPoolRequest { pool_name: Some("p".to_owned()), ..Default::default() };
        let created =
            create_user_pool(&world, &signed_call(), input).await.unwrap().user_pool.unwrap();
        let described = describe(&world, created.id.as_deref().unwrap()).await;
        let name = |position: usize| described.schema_attributes[position].name.as_deref();
        assert_eq!(described.schema_attributes.len(), 21);
        assert_eq!(
            (name(0), name(8), name(20)),
            (Some("profile"), Some("identities"), Some("nickname"))
        );
        assert_eq!(described.user_pool_tags, Some(types::StringMap::default()));
        let same = types::UserPoolType {
            schema_attributes: created.schema_attributes.clone(),
            user_pool_tags: None,
            ..described
        };
        assert_eq!(same, created);
    }

    #[tokio::test]
    async fn it_takes_one_read() {
        let world = test_world().await;
        let pool_id = new_pool(&world).await;
        world.store.take_trips();
        describe(&world, &pool_id).await;
        assert_eq!(world.store.take_trips(), Trips { reads: 1, commits: 0 }, "nothing cached");
        describe(&world, &pool_id).await;
        assert_eq!(
            world.store.take_trips(),
            Trips { reads: 1, commits: 0 },
            "configuration cached"
        );
    }

    #[tokio::test]
    async fn it_counts_the_users() {
        struct AddUsers(String, i64);
        #[async_trait]
        impl Transaction for AddUsers {
            type Output = ();
            fn scope(&self) -> &str {
                &self.0
            }
            async fn decide(&self, tx: &mut Tx<'_>) -> Decision<()> {
                tx.load(Query::new()).await?;
                tx.add(keys::user_count(), self.1, None, None);
                Ok(().into())
            }
        }
        let world = test_world().await;
        let pool_id = new_pool(&world).await;
        transact(&world, &AddUsers(pool_id.clone(), 7)).await.unwrap();
        assert_eq!(describe(&world, &pool_id).await.estimated_number_of_users, Some(7));
        transact(&world, &AddUsers(pool_id.clone(), i64::from(i32::MAX))).await.unwrap();
        assert_eq!(describe(&world, &pool_id).await.estimated_number_of_users, Some(i32::MAX));
    }

    #[tokio::test]
    async fn a_pool_of_another_account_or_region_looks_like_none() {
        let world = test_world().await;
        let pool_id = new_pool(&world).await;
        let own = signed_call();
        for (call, id) in [
            (&own, "us-east-1_000000000"),
            (&signed_call_of("444455556666", "us-east-1"), &pool_id),
            (&signed_call_of(ACCOUNT, "eu-west-1"), &pool_id),
        ] {
            let error = describe_user_pool(&world, call, request(id)).await.unwrap_err();
            assert_eq!(error.code.as_str(), "ResourceNotFoundException");
            assert_eq!(error.message, format!("User pool {id} does not exist."));
        }
    }
}
