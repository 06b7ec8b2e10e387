//! AdminConfirmSignUp: an administrator confirms a user without a code.

use std::collections::BTreeMap;

use async_trait::async_trait;
use conclave_api::{ApiError, types};

use super::{
    admin_user,
    codes::{self, CodePurpose},
    index, status,
};
use crate::{
    call::Call,
    triggers::{
        Circumstances,
        post_confirmation::{self, Confirmed},
    },
    tx::{Decision, Transaction, Tx, transact},
    world::World,
};

/// Confirms a user. No address becomes verified by it. One read and one commit.
///
/// # Errors
/// Those of the API reference.
pub async fn admin_confirm_sign_up(
    world: &World,
    call: &Call,
    input: types::AdminConfirmSignUpRequest,
) -> Result<types::AdminConfirmSignUpResponse, ApiError> {
    let confirm = AdminConfirmSignUp {
        call,
        pool_id: input.user_pool_id.unwrap_or_default(),
        username: input.username.unwrap_or_default(),
        client_metadata: input.client_metadata,
    };
    transact(world, &confirm).await
}

struct AdminConfirmSignUp<'a> {
    call: &'a Call,
    pool_id: String,
    username: String,
    client_metadata: BTreeMap<String, String>,
}

#[async_trait]
impl Transaction for AdminConfirmSignUp<'_> {
    type Output = types::AdminConfirmSignUpResponse;

    fn scope(&self) -> &str {
        &self.pool_id
    }

    fn circumstances(&self) -> Circumstances<'_> {
        Circumstances { client_metadata: Some(&self.client_metadata), ..Default::default() }
    }

    async fn decide(&self, tx: &mut Tx<'_>) -> Decision<Self::Output> {
        let user = admin_user::load(tx, self.call, &self.username).await?;
        status::check_can_be_confirmed(&user.status)?;
        let mut confirmed = user.clone();
        status::CONFIRMED.clone_into(&mut confirmed.status);
        confirmed.modified_ms = tx.now_ms();
        index::write_user(tx, Some(&user), &confirmed)?;
        tx.delete(codes::key(&user.sub, CodePurpose::SignUp));
        post_confirmation::tell(tx, Confirmed::SignUp, &confirmed)?;
        Ok(types::AdminConfirmSignUpResponse::default().into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        testing::{signed_call, signed_call_of},
        users::fixtures::{TestPool, refusal, trips, verifying_pool},
    };

    async fn confirm(pool: &TestPool, call: &Call, username: &str) -> Result<(), ApiError> {
        let request = types::AdminConfirmSignUpRequest {
            user_pool_id: Some(pool.id.clone()),
            username: Some(username.to_owned()),
            ..Default::default()
        };
        admin_confirm_sign_up(pool, call, request).await.map(|_| ())
    }

    #[tokio::test]
    async fn a_user_is_confirmed_and_the_address_stays_unverified() {
        let pool = verifying_pool().await;
        pool.sign_up("ada", &[("email", "ada@example.com")]).await.unwrap();
        pool.store.take_trips();
        confirm(&pool, &signed_call(), "ada").await.unwrap();
        assert_eq!(pool.store.take_trips(), trips(1, 1));
        assert_eq!(pool.status_of("ada").await, "CONFIRMED");
        assert_eq!(
            pool.attributes_of("ada").await,
            ["email=ada@example.com", "email_verified=false"]
        );
        assert_eq!(
            refusal(confirm(&pool, &signed_call(), "ada").await),
            "NotAuthorizedException: User cannot be confirmed. Current status is CONFIRMED"
        );
    }

    #[tokio::test]
    async fn unknown_users_and_foreign_pools_are_refused() {
        let pool = verifying_pool().await;
        pool.sign_up("ada", &[]).await.unwrap();
        assert_eq!(
            refusal(confirm(&pool, &signed_call(), "nobody").await),
            "UserNotFoundException: User does not exist."
        );
        for call in [
            signed_call_of("999999999999", "us-east-1"),
            signed_call_of("111122223333", "eu-west-1"),
        ] {
            assert_eq!(
                refusal(confirm(&pool, &call, "ada").await),
                format!("ResourceNotFoundException: User pool {} does not exist.", pool.id)
            );
        }
        assert_eq!(pool.status_of("ada").await, "UNCONFIRMED");
    }
}
