//! AdminDeleteUser: a user goes, with everything that belongs to it.

use async_trait::async_trait;
use conclave_api::{ApiError, types};

use super::{admin_user, index};
use crate::{
    call::Call,
    groups::membership,
    passkeys,
    tx::{Decision, Transaction, Tx, transact},
    world::World,
};

/// Deletes a user. One read and one commit.
///
/// # Errors
/// Those of the API reference.
pub async fn admin_delete_user(
    world: &World,
    call: &Call,
    input: types::AdminDeleteUserRequest,
) -> Result<types::AdminDeleteUserResponse, ApiError> {
    let delete = AdminDeleteUser {
        call,
        pool_id: input.user_pool_id.unwrap_or_default(),
        username: input.username.unwrap_or_default(),
    };
    transact(world, &delete).await
}

struct AdminDeleteUser<'a> {
    call: &'a Call,
    pool_id: String,
    username: String,
}

#[async_trait]
impl Transaction for AdminDeleteUser<'_> {
    type Output = types::AdminDeleteUserResponse;

    fn scope(&self) -> &str {
        &self.pool_id
    }

    async fn decide(&self, tx: &mut Tx<'_>) -> Decision<Self::Output> {
        let with = [membership::WITH, passkeys::rows::WITH];
        let user = admin_user::load_with(tx, self.call, &self.username, &with).await?;
        index::delete_user(tx, &user)?;
        Ok(types::AdminDeleteUserResponse::default().into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        pools::describe_user_pool,
        testing::{signed_call, signed_call_of},
        users::fixtures::{TestPool, alias_pool, refusal, trips},
    };

    async fn delete(pool: &TestPool, call: &Call, username: &str) -> Result<(), ApiError> {
        let request = types::AdminDeleteUserRequest {
            user_pool_id: Some(pool.id.clone()),
            username: Some(username.to_owned()),
        };
        admin_delete_user(pool, call, request).await.map(|_| ())
    }

    async fn user_count(pool: &TestPool) -> Option<i32> {
        let request = types::DescribeUserPoolRequest { user_pool_id: Some(pool.id.clone()) };
        let response = describe_user_pool(pool, &signed_call(), request).await.unwrap();
        response.user_pool.unwrap().estimated_number_of_users
    }

    #[tokio::test]
    async fn a_user_goes_under_every_name() {
        let pool = alias_pool().await;
        let pairs = [("email", "ada@example.com"), ("preferred_username", "boss")];
        let sub = pool.confirmed_user("ada", &pairs).await;
        pool.sign_up("eve", &[]).await.unwrap();
        assert_eq!(user_count(&pool).await, Some(2));
        pool.store.take_trips();
        delete(&pool, &signed_call(), "ada@example.com").await.unwrap();
        assert_eq!(pool.store.take_trips(), trips(1, 1));
        for name in ["ada", "ada@example.com", "boss", &sub] {
            assert_eq!(
                refusal(pool.user(name).await),
                "UserNotFoundException: User does not exist."
            );
        }
        assert_eq!(user_count(&pool).await, Some(1));
        assert!(pool.user("eve").await.is_ok());
        // every name is free again
        pool.confirmed_user("ada", &pairs).await;
    }

    #[tokio::test]
    async fn of_two_deletions_at_once_one_finds_the_user() {
        let mut pool = alias_pool().await;
        pool.sign_up("ada", &[]).await.unwrap();
        pool.race(1);
        let call = signed_call();
        let (a, b) = tokio::join!(delete(&pool, &call, "ada"), delete(&pool, &call, "ada"));
        assert_eq!(usize::from(a.is_ok()) + usize::from(b.is_ok()), 1);
        assert_eq!(user_count(&pool).await, Some(0));
    }

    #[tokio::test]
    async fn unknown_users_and_foreign_pools_are_refused() {
        let pool = alias_pool().await;
        pool.sign_up("ada", &[]).await.unwrap();
        assert_eq!(
            refusal(delete(&pool, &signed_call(), "nobody").await),
            "UserNotFoundException: User does not exist."
        );
        assert_eq!(
            refusal(delete(&pool, &signed_call_of("999999999999", "us-east-1"), "ada").await),
            format!("ResourceNotFoundException: User pool {} does not exist.", pool.id)
        );
        assert!(pool.user("ada").await.is_ok());
    }
}
