//! AdminDeleteUserAttributes: an administrator takes attributes of a user away.

use async_trait::async_trait;
use conclave_api::{ApiError, types};

use super::{
    admin_user,
    attribute_changes::{self, Changes},
    codes::Limited,
    index,
};
use crate::{
    call::Call,
    tx::{Decision, Transaction, Tx, transact},
    world::World,
};

/// Takes attributes away; with an address goes what says that it is verified. One read and one commit.
///
/// # Errors
/// Those of the API reference.
pub async fn admin_delete_user_attributes(
    world: &World,
    call: &Call,
    input: types::AdminDeleteUserAttributesRequest,
) -> Result<types::AdminDeleteUserAttributesResponse, ApiError> {
    let delete = AdminDeleteUserAttributes {
        call,
        pool_id: input.user_pool_id.unwrap_or_default(),
        username: input.username.unwrap_or_default(),
        changes: attribute_changes::removals(&input.user_attribute_names.unwrap_or_default().items),
    };
    transact(world, &delete).await
}

struct AdminDeleteUserAttributes<'a> {
    call: &'a Call,
    pool_id: String,
    username: String,
    changes: Changes,
}

#[async_trait]
impl Transaction for AdminDeleteUserAttributes<'_> {
    type Output = types::AdminDeleteUserAttributesResponse;

    fn scope(&self) -> &str {
        &self.pool_id
    }

    async fn decide(&self, tx: &mut Tx<'_>) -> Decision<Self::Output> {
        let user = admin_user::load(tx, self.call, &self.username).await?;
        let pool = tx.pool()?;
        tx.rely_on_config();
        let applied = attribute_changes::apply(&pool, &user, &self.changes, tx.now_ms())?;
        index::write_user(tx, Some(&user), &applied.user)?;
        applied.send_codes(tx, &pool, &user, Limited::AdminUpdateUserAttributes)?;
        Ok(types::AdminDeleteUserAttributesResponse::default().into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        testing::{signed_call, signed_call_of},
        users::fixtures::{TestPool, alias_pool, pool, refusal, strings, trips},
    };

    async fn delete(
        pool: &TestPool,
        call: &Call,
        username: &str,
        names: &[&str],
    ) -> Result<(), ApiError> {
        let request = types::AdminDeleteUserAttributesRequest {
            user_pool_id: Some(pool.id.clone()),
            username: Some(username.to_owned()),
            user_attribute_names: Some(types::StringList { items: strings(names) }),
        };
        admin_delete_user_attributes(pool, call, request).await.map(|_| ())
    }

    #[tokio::test]
    async fn attributes_go_with_the_names_that_they_were() {
        let pool = alias_pool().await;
        let pairs = [("email", "ada@example.com"), ("preferred_username", "boss"), ("name", "Ada")];
        pool.confirmed_user("ada", &pairs).await;
        pool.store.take_trips();
        delete(&pool, &signed_call(), "boss", &["email", "preferred_username"]).await.unwrap();
        assert_eq!(pool.store.take_trips(), trips(1, 1));
        assert_eq!(pool.attributes_of("ada").await, ["name=Ada"]);
        for name in ["boss", "ada@example.com"] {
            assert!(pool.user(name).await.is_err(), "{name}");
        }
        // what is not there is no mistake
        delete(&pool, &signed_call(), "ada", &["nickname", "name", "name"]).await.unwrap();
        delete(&pool, &signed_call(), "ada", &[]).await.unwrap();
        assert!(pool.attributes_of("ada").await.is_empty());
        pool.confirmed_user("eve", &pairs).await;
    }

    #[tokio::test]
    async fn an_address_can_become_unverified_and_stay() {
        let pool = alias_pool().await;
        pool.confirmed_user("ada", &[("email", "ada@example.com")]).await;
        delete(&pool, &signed_call(), "ada", &["email_verified"]).await.unwrap();
        assert_eq!(pool.attributes_of("ada").await, ["email=ada@example.com"]);
        assert!(pool.user("ada@example.com").await.is_err());
    }

    #[tokio::test]
    async fn what_must_stay_is_refused() {
        let required = types::SchemaAttributeType {
            name: Some("name".to_owned()),
            required: Some(true),
            ..Default::default()
        };
        let request = types::CreateUserPoolRequest {
            schema: Some(types::SchemaAttributeTypeList { items: vec![required] }),
            ..Default::default()
        };
        let pool = pool(request).await;
        pool.sign_up("ada", &[("name", "Ada"), ("locale", "en")]).await.unwrap();
        let call = signed_call();
        for (name, text) in [
            ("sub", "user.sub: Attribute cannot be updated.\n"),
            ("custom:role", "user.custom:role: Attribute does not exist in the schema.\n"),
            // by analogy to SignUp: no text is known
            (
                "name",
                "Attributes did not conform to the schema: name.formatted: The attribute \
                 name.formatted is required",
            ),
        ] {
            assert_eq!(
                refusal(delete(&pool, &call, "ada", &["locale", name]).await),
                format!("InvalidParameterException: {text}")
            );
        }
        assert_eq!(pool.attributes_of("ada").await, ["name=Ada", "locale=en"]);
        assert_eq!(
            refusal(delete(&pool, &call, "nobody", &["locale"]).await),
            "UserNotFoundException: User does not exist."
        );
        let foreign = signed_call_of("999999999999", "us-east-1");
        assert_eq!(
            refusal(delete(&pool, &foreign, "ada", &["locale"]).await),
            format!("ResourceNotFoundException: User pool {} does not exist.", pool.id)
        );
    }
}
