//! AdminAddUserToGroup.

use async_trait::async_trait;
use conclave_api::{ApiError, types};

use super::{lookup, membership};
use crate::{
    call::Call,
    pool_access,
    tx::{Decision, Query, Transaction, Tx, transact},
    users::{admin_user, lookup as users},
    world::World,
};

/// Puts a user into a group; one who is in it stays so. One read and one commit.
///
/// # Errors
/// Those of the API reference.
pub async fn admin_add_user_to_group(
    world: &World,
    call: &Call,
    input: types::AdminAddUserToGroupRequest,
) -> Result<types::AdminAddUserToGroupResponse, ApiError> {
    transact(world, &AdminAddUserToGroup { call, input: &input }).await
}

struct AdminAddUserToGroup<'a> {
    call: &'a Call,
    input: &'a types::AdminAddUserToGroupRequest,
}

#[async_trait]
impl Transaction for AdminAddUserToGroup<'_> {
    type Output = types::AdminAddUserToGroupResponse;

    fn scope(&self) -> &str {
        self.input.user_pool_id.as_deref().unwrap_or_default()
    }

    async fn decide(&self, tx: &mut Tx<'_>) -> Decision<Self::Output> {
        let name = self.input.group_name.as_deref().unwrap_or_default();
        let username = self.input.username.as_deref().unwrap_or_default();
        let query = users::admin_query(Query::new(), username, &[membership::WITH]);
        tx.load(lookup::query(query, name)).await?;
        pool_access::owned_pool(tx, self.call)?;
        let group = lookup::find(tx, name)?;
        let user = admin_user::find(tx, self.call, username)?;
        membership::join(tx, &user.sub, &group).await?;
        Ok(types::AdminAddUserToGroupResponse::default().into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        groups::fixtures::{self, add, groups_of, remove, users_of},
        testing::{signed_call, signed_call_of},
        users::{
            admin_delete_user,
            fixtures::{TestPool, alias_pool, plain_pool, refusal, trips},
        },
    };

    async fn delete_user(pool: &TestPool, username: &str) -> Result<(), ApiError> {
        let request = types::AdminDeleteUserRequest {
            user_pool_id: Some(pool.id.clone()),
            username: Some(username.to_owned()),
        };
        admin_delete_user(pool, &signed_call(), request).await.map(|_| ())
    }

    #[tokio::test]
    async fn users_come_and_go() {
        let pool = alias_pool().await;
        let sub = pool.confirmed_user("ada", &[("email", "ada@example.com")]).await;
        pool.sign_up("eve", &[]).await.unwrap();
        for group in ["staff", "guests"] {
            fixtures::create(&pool, group).await.unwrap();
        }
        pool.store.take_trips();
        add(&pool, "ada@example.com", "staff").await.unwrap();
        assert_eq!(pool.store.take_trips(), trips(1, 1));
        // who is in it stays so, by any name and in any case of the group's
        add(&pool, &sub, "STAFF").await.unwrap();
        assert_eq!(pool.store.take_trips(), trips(1, 0));
        add(&pool, "eve", "staff").await.unwrap();
        add(&pool, "ada", "guests").await.unwrap();
        assert_eq!(users_of(&pool, "staff").await, ["ada", "eve"]);
        assert_eq!(users_of(&pool, "guests").await, ["ada"]);
        assert_eq!(groups_of(&pool, "ada").await, ["guests", "staff"]);

        pool.store.take_trips();
        remove(&pool, "ada", "staff").await.unwrap();
        assert_eq!(pool.store.take_trips(), trips(1, 1));
        // who is not in it stays out
        remove(&pool, "ada", "staff").await.unwrap();
        assert_eq!(users_of(&pool, "staff").await, ["eve"]);
        assert_eq!(groups_of(&pool, "ada").await, ["guests"]);
    }

    #[tokio::test]
    async fn a_user_who_goes_leaves_every_group() {
        let pool = plain_pool().await;
        fixtures::create(&pool, "staff").await.unwrap();
        for _ in 0..2 {
            pool.sign_up("ada", &[]).await.unwrap();
            assert!(users_of(&pool, "staff").await.is_empty());
            assert!(groups_of(&pool, "ada").await.is_empty());
            add(&pool, "ada", "staff").await.unwrap();
            delete_user(&pool, "ada").await.unwrap();
            assert_eq!(fixtures::member_rows(&pool).await, 0);
        }
    }

    #[tokio::test]
    async fn a_group_that_goes_leaves_nobody_in_it() {
        let pool = plain_pool().await;
        pool.sign_up("ada", &[]).await.unwrap();
        for _ in 0..2 {
            fixtures::create(&pool, "staff").await.unwrap();
            assert!(users_of(&pool, "staff").await.is_empty());
            assert!(groups_of(&pool, "ada").await.is_empty());
            add(&pool, "ada", "staff").await.unwrap();
            assert_eq!(groups_of(&pool, "ada").await, ["staff"]);
            fixtures::delete(&pool, "staff").await.unwrap();
            assert_eq!(fixtures::member_rows(&pool).await, 0);
        }
    }

    #[tokio::test]
    async fn whoever_goes_while_the_other_is_added_is_gone() {
        for user_goes in [true, false] {
            let mut pool = plain_pool().await;
            pool.sign_up("ada", &[]).await.unwrap();
            fixtures::create(&pool, "staff").await.unwrap();
            pool.race(1);
            let added = add(&pool, "ada", "staff");
            let outcome = if user_goes {
                tokio::join!(added, delete_user(&pool, "ada"))
            } else {
                tokio::join!(added, fixtures::delete(&pool, "staff"))
            };
            assert_eq!(outcome.1, Ok(()));
            assert_eq!(fixtures::member_rows(&pool).await, 0, "{outcome:?}");
        }
    }

    #[tokio::test]
    async fn a_user_is_in_a_hundred_groups_at_most() {
        let pool = plain_pool().await;
        pool.sign_up("ada", &[]).await.unwrap();
        for number in 0..102 {
            fixtures::create(&pool, &format!("group{number}")).await.unwrap();
        }
        for number in 0..100 {
            add(&pool, "ada", &format!("group{number}")).await.unwrap();
        }
        assert_eq!(
            refusal(add(&pool, "ada", "group100").await),
            "InvalidParameterException: A user cannot be in more than 100 groups."
        );
        // what is gone does not count
        fixtures::delete(&pool, "group0").await.unwrap();
        add(&pool, "ada", "group100").await.unwrap();
        assert!(add(&pool, "ada", "group101").await.is_err());
        assert_eq!(groups_of(&pool, "ada").await.len(), 100);
        delete_user(&pool, "ada").await.unwrap();
        assert_eq!(fixtures::member_rows(&pool).await, 0);
    }

    #[tokio::test]
    async fn unknown_groups_users_and_foreign_pools_are_refused() {
        let pool = plain_pool().await;
        pool.sign_up("ada", &[]).await.unwrap();
        fixtures::create(&pool, "staff").await.unwrap();
        let no_group = "ResourceNotFoundException: Group not found.";
        let no_user = "UserNotFoundException: User does not exist.";
        assert_eq!(refusal(add(&pool, "ada", "none").await), no_group);
        assert_eq!(refusal(remove(&pool, "ada", "none").await), no_group);
        assert_eq!(refusal(add(&pool, "nobody", "staff").await), no_user);
        assert_eq!(refusal(remove(&pool, "nobody", "staff").await), no_user);
        let foreign = signed_call_of("999999999999", "us-east-1");
        let request = types::AdminAddUserToGroupRequest {
            user_pool_id: Some(pool.id.clone()),
            username: Some("ada".to_owned()),
            group_name: Some("staff".to_owned()),
        };
        assert_eq!(
            refusal(admin_add_user_to_group(&pool, &foreign, request).await),
            format!("ResourceNotFoundException: User pool {} does not exist.", pool.id)
        );
    }
}
