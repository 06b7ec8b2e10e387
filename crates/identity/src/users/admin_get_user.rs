//! AdminGetUser: what is known of a user.

use async_trait::async_trait;
use conclave_api::{ApiError, types};

use super::{admin_user, attributes, mfa_preference};
use crate::{
    call::Call,
    tx::{Decision, Transaction, Tx, transact},
    world::World,
};

/// Describes a user. One read.
///
/// # Errors
/// Those of the API reference.
pub async fn admin_get_user(
    world: &World,
    call: &Call,
    input: types::AdminGetUserRequest,
) -> Result<types::AdminGetUserResponse, ApiError> {
    let get = AdminGetUser {
        call,
        pool_id: input.user_pool_id.unwrap_or_default(),
        username: input.username.unwrap_or_default(),
    };
    transact(world, &get).await
}

struct AdminGetUser<'a> {
    call: &'a Call,
    pool_id: String,
    username: String,
}

#[async_trait]
impl Transaction for AdminGetUser<'_> {
    type Output = types::AdminGetUserResponse;

    fn scope(&self) -> &str {
        &self.pool_id
    }

    async fn decide(&self, tx: &mut Tx<'_>) -> Decision<Self::Output> {
        let user = admin_user::load(tx, self.call, &self.username).await?;
        let response = types::AdminGetUserResponse {
            user_attributes: attributes::described(&user),
            mfa_options: mfa_preference::options(&user),
            preferred_mfa_setting: mfa_preference::preferred(&user),
            user_mfa_setting_list: mfa_preference::listed(&user),
            user_create_date: Some(user.created_ms),
            user_last_modified_date: Some(user.modified_ms),
            enabled: Some(user.enabled),
            user_status: Some(user.status),
            username: Some(user.username),
        };
        Ok(response.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        testing::{START_MS, signed_call_of},
        users::fixtures::{alias_pool, plain_pool, refusal, trips},
    };

    #[tokio::test]
    async fn a_user_is_described_under_the_stored_name_however_it_is_named() {
        let pool = alias_pool().await;
        let sub = pool.confirmed_user("ada", &[("email", "ada@example.com")]).await;
        pool.store.take_trips();
        for name in ["ada", "ada@example.com", &sub] {
            let user = pool.user(name).await.unwrap();
            assert_eq!(pool.store.take_trips(), trips(1, 0));
            assert_eq!(user.username.as_deref(), Some("ada"));
            assert_eq!(user.user_create_date, Some(START_MS));
            let names: Vec<_> =
                user.user_attributes.iter().filter_map(|a| a.name.as_deref()).collect();
            assert_eq!(names, ["email", "email_verified", "sub"]);
            assert_eq!(user.mfa_options, []);
            assert_eq!(user.preferred_mfa_setting, None);
        }
    }

    #[tokio::test]
    async fn nobody_hides_a_user_behind_that_user_s_sub() {
        let pool = plain_pool().await;
        let sub = pool.sign_up("ada", &[]).await.unwrap().user_sub.unwrap();
        pool.sign_up(&sub, &[]).await.unwrap();
        assert_eq!(pool.user(&sub).await.unwrap().username.as_deref(), Some("ada"));
    }

    #[tokio::test]
    async fn unknown_users_and_pools_are_refused() {
        let pool = plain_pool().await;
        pool.sign_up("ada", &[]).await.unwrap();
        for name in ["nobody", "01234567-89ab-cdef-0123-456789abcdef"] {
            assert_eq!(
                refusal(pool.user(name).await),
                "UserNotFoundException: User does not exist."
            );
        }
        let get = |call: Call, pool_id: String| {
            let request = types::AdminGetUserRequest {
                user_pool_id: Some(pool_id),
                username: Some("ada".to_owned()),
            };
            let world = &pool;
            async move { refusal(admin_get_user(world, &call, request).await) }
        };
        let foreign = get(signed_call_of("999999999999", "us-east-1"), pool.id.clone()).await;
        assert_eq!(
            foreign,
            format!("ResourceNotFoundException: User pool {} does not exist.", pool.id)
        );
        assert_eq!(
            get(crate::testing::signed_call(), "us-east-1_AAAAAAAAA".to_owned()).await,
            "ResourceNotFoundException: User pool us-east-1_AAAAAAAAA does not exist."
        );
    }
}
