//! DeleteUser: a user who is signed in goes, with everything that belongs to it.

use async_trait::async_trait;
use conclave_api::{ApiError, types};

use super::{index, token_user};
use crate::{
    auth::access_token::PresentedToken,
    call::Call,
    groups::membership,
    passkeys,
    tx::{Decision, Query, Transaction, Tx, transact},
    world::World,
};

/// Deletes the token's user. One read and one commit.
///
/// # Errors
/// Those of the API reference.
pub async fn delete_user(
    world: &World,
    _call: &Call,
    input: types::DeleteUserRequest,
) -> Result<types::DeleteUserResponse, ApiError> {
    let token = PresentedToken::parse(input.access_token.as_deref().unwrap_or_default())?;
    transact(world, &DeleteUser { token }).await
}

struct DeleteUser<'a> {
    token: PresentedToken<'a>,
}

#[async_trait]
impl Transaction for DeleteUser<'_> {
    type Output = types::DeleteUserResponse;

    fn scope(&self) -> &str {
        &self.token.pool_id
    }

    async fn decide(&self, tx: &mut Tx<'_>) -> Decision<Self::Output> {
        let sub = self.token.sub();
        let query = Query::new().get(membership::key(sub)).get(passkeys::rows::key(sub));
        let (user, _) = token_user::load(tx, &self.token, query).await?;
        index::delete_user(tx, &user)?;
        Ok(types::DeleteUserResponse::default().into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        groups::fixtures,
        testing::unsigned_call,
        users::fixtures::{TestPool, alias_pool, refusal, trips},
    };

    async fn delete(pool: &TestPool, token: &str) -> Result<(), ApiError> {
        let request = types::DeleteUserRequest { access_token: Some(token.to_owned()) };
        delete_user(pool, &unsigned_call(), request).await.map(|_| ())
    }

    #[tokio::test]
    async fn a_user_goes_under_every_name_and_out_of_every_group() {
        let pool = alias_pool().await;
        let pairs = [("email", "ada@example.com"), ("preferred_username", "boss")];
        let sub = pool.confirmed_user("ada", &pairs).await;
        fixtures::create(&pool, "staff").await.unwrap();
        fixtures::add(&pool, "ada", "staff").await.unwrap();
        let token = pool.token("ada").await;
        delete(&pool, &token).await.unwrap();
        assert_eq!(pool.store.take_trips(), trips(1, 1));
        for name in ["ada", "ada@example.com", "boss", &sub] {
            assert!(pool.user(name).await.is_err(), "{name}");
        }
        assert_eq!(fixtures::member_rows(&pool).await, 0);
        assert_eq!(
            refusal(delete(&pool, &token).await),
            "UserNotFoundException: User does not exist."
        );
        // whoever has the name next is not deleted by the old token
        pool.confirmed_user("ada", &pairs).await;
        assert!(delete(&pool, &token).await.is_err());
        assert!(pool.user("ada").await.is_ok());
    }
}
