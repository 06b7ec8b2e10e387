//! AdminDisableUser: a user can no longer sign in, and the tokens that are out end.

use async_trait::async_trait;
use conclave_api::{ApiError, types};

use super::{admin_user, index, sign_out};
use crate::{
    call::Call,
    tx::{Decision, Transaction, Tx, transact},
    world::World,
};

/// Disables a user, and ends every session for good: enabling the user again brings none back. One read
/// and one commit; a user who is disabled already stays as it is.
///
/// # Errors
/// Those of the API reference.
pub async fn admin_disable_user(
    world: &World,
    call: &Call,
    input: types::AdminDisableUserRequest,
) -> Result<types::AdminDisableUserResponse, ApiError> {
    let disable = AdminDisableUser {
        call,
        pool_id: input.user_pool_id.unwrap_or_default(),
        username: input.username.unwrap_or_default(),
    };
    transact(world, &disable).await
}

struct AdminDisableUser<'a> {
    call: &'a Call,
    pool_id: String,
    username: String,
}

#[async_trait]
impl Transaction for AdminDisableUser<'_> {
    type Output = types::AdminDisableUserResponse;

    fn scope(&self) -> &str {
        &self.pool_id
    }

    async fn decide(&self, tx: &mut Tx<'_>) -> Decision<Self::Output> {
        let user = admin_user::load(tx, self.call, &self.username).await?;
        if user.enabled {
            let mut disabled = user.clone();
            disabled.enabled = false;
            disabled.modified_ms = tx.now_ms();
            disabled.sessions_valid_from_ms = sign_out::valid_from_ms(&user, tx.now_ms());
            index::write_user(tx, Some(&user), &disabled)?;
        }
        Ok(types::AdminDisableUserResponse::default().into())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{
        testing::{START_MS, signed_call, signed_call_of},
        users::{
            admin_enable_user,
            fixtures::{TestPool, plain_pool, refusal, trips},
            list_users,
        },
    };

    async fn disable(pool: &TestPool, call: &Call, username: &str) -> Result<(), ApiError> {
        let request = types::AdminDisableUserRequest {
            user_pool_id: Some(pool.id.clone()),
            username: Some(username.to_owned()),
        };
        admin_disable_user(pool, call, request).await.map(|_| ())
    }

    async fn enable(pool: &TestPool, call: &Call, username: &str) -> Result<(), ApiError> {
        let request = types::AdminEnableUserRequest {
            user_pool_id: Some(pool.id.clone()),
            username: Some(username.to_owned()),
        };
        admin_enable_user(pool, call, request).await.map(|_| ())
    }

    async fn disabled(pool: &TestPool) -> usize {
        let request = types::ListUsersRequest {
            user_pool_id: Some(pool.id.clone()),
            filter: Some("status = \"Disabled\"".to_owned()),
            ..Default::default()
        };
        list_users(pool, &signed_call(), request).await.unwrap().users.len()
    }

    #[tokio::test]
    async fn a_user_is_disabled_and_enabled_again() {
        let pool = plain_pool().await;
        pool.sign_up("ada", &[]).await.unwrap();
        pool.sign_up("eve", &[]).await.unwrap();
        pool.store.take_trips();
        for seconds in 1..4 {
            pool.clock.advance(Duration::from_secs(1));
            let modified = Some(START_MS + seconds * 1_000);
            let act_again = seconds % 2 == 0;
            if act_again {
                enable(&pool, &signed_call(), "ada").await.unwrap();
            } else {
                disable(&pool, &signed_call(), "ada").await.unwrap();
            }
            assert_eq!(pool.store.take_trips(), trips(1, 1));
            let user = pool.user("ada").await.unwrap();
            assert_eq!((user.enabled, user.user_last_modified_date), (Some(act_again), modified));
            assert_eq!(user.user_status.as_deref(), Some("UNCONFIRMED"));
            assert_eq!(disabled(&pool).await, usize::from(!act_again));
            pool.store.take_trips();
        }
        // what is so already is not written
        disable(&pool, &signed_call(), "ada").await.unwrap();
        enable(&pool, &signed_call(), "eve").await.unwrap();
        assert_eq!(pool.store.take_trips(), trips(2, 0));
    }

    #[tokio::test]
    async fn unknown_users_and_foreign_pools_are_refused() {
        let pool = plain_pool().await;
        pool.sign_up("ada", &[]).await.unwrap();
        let (own, foreign) = (signed_call(), signed_call_of("999999999999", "us-east-1"));
        let unknown = "UserNotFoundException: User does not exist.";
        assert_eq!(refusal(disable(&pool, &own, "nobody").await), unknown);
        assert_eq!(refusal(enable(&pool, &own, "nobody").await), unknown);
        let gone = format!("ResourceNotFoundException: User pool {} does not exist.", pool.id);
        assert_eq!(refusal(disable(&pool, &foreign, "ada").await), gone);
        disable(&pool, &own, "ada").await.unwrap();
        assert_eq!(refusal(enable(&pool, &foreign, "ada").await), gone);
        assert_eq!(pool.user("ada").await.unwrap().enabled, Some(false));
    }
}
