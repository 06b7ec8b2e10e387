//! DeleteUserAttributes: a user who is signed in takes attributes away.

use async_trait::async_trait;
use conclave_api::{ApiError, types};

use super::{
    attribute_changes::{self, Changes},
    attributes::{self, Writer},
    codes::Limited,
    index, token_user,
};
use crate::{
    auth::access_token::PresentedToken,
    call::Call,
    tx::{Decision, Query, Transaction, Tx, transact},
    world::World,
};

/// Takes away what the app client may write. One read and one commit.
///
/// # Errors
/// Those of the API reference.
pub async fn delete_user_attributes(
    world: &World,
    _call: &Call,
    input: types::DeleteUserAttributesRequest,
) -> Result<types::DeleteUserAttributesResponse, ApiError> {
    let names = input.user_attribute_names.unwrap_or_default().items;
    let delete = DeleteUserAttributes {
        token: PresentedToken::parse(input.access_token.as_deref().unwrap_or_default())?,
        changes: attribute_changes::removals(&names),
    };
    transact(world, &delete).await
}

struct DeleteUserAttributes<'a> {
    token: PresentedToken<'a>,
    changes: Changes,
}

#[async_trait]
impl Transaction for DeleteUserAttributes<'_> {
    type Output = types::DeleteUserAttributesResponse;

    fn scope(&self) -> &str {
        &self.token.pool_id
    }

    async fn decide(&self, tx: &mut Tx<'_>) -> Decision<Self::Output> {
        let (user, client) = token_user::load(tx, &self.token, Query::new()).await?;
        let pool = tx.pool()?;
        tx.rely_on_config();
        attributes::check_permission(Writer::Client(&client), self.changes.keys())?;
        let applied = attribute_changes::apply(&pool, &user, &self.changes, tx.now_ms())?;
        index::write_user(tx, Some(&user), &applied.user)?;
        applied.send_codes(tx, &pool, &user, Limited::UpdateUserAttributes)?;
        Ok(types::DeleteUserAttributesResponse::default().into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        testing::unsigned_call,
        users::fixtures::{TestPool, alias_pool, refusal, strings, trips},
    };

    async fn delete(pool: &TestPool, token: &str, names: &[&str]) -> Result<(), ApiError> {
        let request = types::DeleteUserAttributesRequest {
            access_token: Some(token.to_owned()),
            user_attribute_names: Some(types::StringList { items: strings(names) }),
        };
        delete_user_attributes(pool, &unsigned_call(), request).await.map(|_| ())
    }

    #[tokio::test]
    async fn a_user_takes_attributes_away_with_the_names_that_they_were() {
        let pool = alias_pool().await;
        let pairs = [("email", "ada@example.com"), ("name", "Ada"), ("locale", "en")];
        pool.confirmed_user("ada", &pairs).await;
        let token = pool.token("ada").await;
        delete(&pool, &token, &["email", "name", "nickname"]).await.unwrap();
        assert_eq!(pool.store.take_trips(), trips(1, 1));
        assert_eq!(pool.attributes_of("ada").await, ["locale=en"]);
        assert!(pool.user("ada@example.com").await.is_err());
        for (name, text) in [
            (
                "email_verified",
                "InvalidParameterException: Cannot modify the non-mutable attribute email_verified",
            ),
            (
                "dev:custom:x",
                "NotAuthorizedException: A client attempted to write unauthorized attribute",
            ),
            (
                "custom:x",
                "InvalidParameterException: user.custom:x: Attribute does not exist in the \
                 schema.\n",
            ),
        ] {
            assert_eq!(refusal(delete(&pool, &token, &["locale", name]).await), text);
        }
        assert_eq!(pool.attributes_of("ada").await, ["locale=en"]);
    }
}
