//! UpdateUserAttributes: a user who is signed in changes attributes.

use std::collections::BTreeMap;

use async_trait::async_trait;
use conclave_api::{ApiError, types};

use super::{
    aliases,
    attribute_changes::{self, Changes},
    attributes::{self, Writer},
    codes::Limited,
    delivery::Destination,
    index, token_user,
};
use crate::{
    auth::access_token::PresentedToken,
    call::Call,
    triggers::Circumstances,
    tx::{Decision, Query, Transaction, Tx, transact},
    world::World,
};

/// Changes what the app client may write. A new address that the pool verifies by itself gets a code; it
/// is unverified until then, or not the user's at all where the pool wants it so. One read and one commit.
///
/// # Errors
/// Those of the API reference.
pub async fn update_user_attributes(
    world: &World,
    _call: &Call,
    input: types::UpdateUserAttributesRequest,
) -> Result<types::UpdateUserAttributesResponse, ApiError> {
    let update = UpdateUserAttributes {
        token: PresentedToken::parse(input.access_token.as_deref().unwrap_or_default())?,
        changes: attribute_changes::collect(&input.user_attributes.unwrap_or_default().items)?,
        client_metadata: input.client_metadata,
    };
    transact(world, &update).await
}

struct UpdateUserAttributes<'a> {
    token: PresentedToken<'a>,
    changes: Changes,
    client_metadata: BTreeMap<String, String>,
}

#[async_trait]
impl Transaction for UpdateUserAttributes<'_> {
    type Output = types::UpdateUserAttributesResponse;

    fn scope(&self) -> &str {
        &self.token.pool_id
    }

    fn circumstances(&self) -> Circumstances<'_> {
        Circumstances { client_metadata: Some(&self.client_metadata), ..Default::default() }
    }

    async fn decide(&self, tx: &mut Tx<'_>) -> Decision<Self::Output> {
        let values = attribute_changes::values(&self.changes);
        let query = aliases::query(Query::new(), &values);
        let (user, client) = token_user::load(tx, &self.token, query).await?;
        let pool = tx.pool()?;
        tx.rely_on_config();
        attributes::check_permission(Writer::Client(&client), self.changes.keys())?;
        let applied = attribute_changes::apply(&pool, &user, &self.changes, tx.now_ms())?;
        let expected = applied.expected();
        aliases::take(tx, &pool, (&user, &expected), &values, false).await?;
        index::write_user(tx, Some(&user), &applied.user)?;
        let sent = applied.send_codes(tx, &pool, &user, Limited::UpdateUserAttributes)?;
        let code_delivery_details_list = sent.iter().map(Destination::details).collect();
        Ok(types::UpdateUserAttributesResponse { code_delivery_details_list }.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        testing::unsigned_call,
        users::{
            fixtures::{
                PASSWORD, TestPool, alias_pool, attributes, email_name_pool, pool, refusal,
                strings, trips, verifying, verifying_pool,
            },
            forgot_password, verify_user_attribute,
        },
    };

    const EMAIL: [(&str, &str); 1] = [("email", "ada@example.com")];

    async fn update(
        pool: &TestPool,
        token: &str,
        pairs: &[(&str, &str)],
    ) -> Result<Vec<types::CodeDeliveryDetailsType>, ApiError> {
        let request = types::UpdateUserAttributesRequest {
            access_token: Some(token.to_owned()),
            user_attributes: Some(types::AttributeTypeList { items: attributes(pairs) }),
            ..Default::default()
        };
        let response = update_user_attributes(pool, &unsigned_call(), request).await?;
        Ok(response.code_delivery_details_list)
    }

    async fn verify(pool: &TestPool, token: &str, name: &str, code: &str) -> Result<(), ApiError> {
        let request = types::VerifyUserAttributeRequest {
            access_token: Some(token.to_owned()),
            attribute_name: Some(name.to_owned()),
            code: Some(code.to_owned()),
        };
        verify_user_attribute(pool, &unsigned_call(), request).await.map(|_| ())
    }

    async fn signed_in(pool: &TestPool) -> String {
        pool.confirmed_user("ada", &EMAIL).await;
        pool.token("ada").await
    }

    #[tokio::test]
    async fn s25_a_new_address_is_live_and_unverified_until_the_code_is_shown() {
        let pool = verifying_pool().await;
        let token = signed_in(&pool).await;
        let details = update(&pool, &token, &[("email", "new@example.com"), ("name", "Ada")]);
        let details = details.await.unwrap();
        assert_eq!(pool.store.take_trips(), trips(1, 1));
        assert_eq!(details.len(), 1);
        assert_eq!(details[0].attribute_name.as_deref(), Some("email"));
        assert_eq!(details[0].destination.as_deref(), Some("n***@e***"));
        assert_eq!(
            pool.attributes_of("ada").await,
            ["email=new@example.com", "email_verified=false", "name=Ada"]
        );
        // no reset goes to an address that nobody has verified
        let forgot = types::ForgotPasswordRequest {
            client_id: Some(pool.client_id.clone()),
            username: Some("ada".to_owned()),
            ..Default::default()
        };
        let message = pool.outbox.take().pop().unwrap();
        assert_eq!(message.to, "new@example.com");
        assert!(
            refusal(forgot_password(&pool, &unsigned_call(), forgot).await)
                .starts_with("InvalidParameterException: Cannot reset password")
        );
        pool.store.take_trips();
        verify(&pool, &token, "email", &message.code.unwrap()).await.unwrap();
        assert_eq!(pool.store.take_trips(), trips(1, 1));
        assert!(pool.attributes_of("ada").await.contains(&"email_verified=true".to_owned()));
        // what stays as it was, or is no address, gets no code
        for quiet in [&[("email", "new@example.com")][..], &[("name", "A")], &[("name", "")]] {
            assert_eq!(update(&pool, &token, quiet).await.unwrap(), []);
        }
        assert!(pool.outbox.take().is_empty());
    }

    /// Whoever is signed in has mail sent to anybody only so often, and what sends none is not counted.
    #[tokio::test]
    async fn five_codes_an_hour_are_sent() {
        let pool = verifying_pool().await;
        let token = signed_in(&pool).await;
        pool.outbox.take();
        for number in 0..5 {
            update(&pool, &token, &[("email", &format!("{number}@example.com"))]).await.unwrap();
            update(&pool, &token, &[("name", &format!("{number}"))]).await.unwrap();
        }
        assert_eq!(
            refusal(update(&pool, &token, &[("email", "6@example.com"), ("name", "6")]).await),
            "TooManyRequestsException: Attempt limit exceeded, please try after some time."
        );
        assert_eq!(pool.outbox.take().len(), 5);
        assert_eq!(
            pool.attributes_of("ada").await,
            ["email=4@example.com", "email_verified=false", "name=4"]
        );
        update(&pool, &token, &[("name", "7")]).await.unwrap();
        pool.clock.advance(std::time::Duration::from_secs(60 * 60 - 1));
        let token = pool.token("ada").await;
        pool.clock.advance(std::time::Duration::from_secs(1));
        update(&pool, &token, &[("email", "8@example.com")]).await.unwrap();
    }

    /// S24: where the pool wants it, a new address is the user's only once it is verified.
    #[tokio::test]
    async fn s24_the_old_address_stays_until_the_new_one_is_verified() {
        let request = types::CreateUserPoolRequest {
            alias_attributes: strings(&["email"]),
            user_attribute_update_settings: Some(types::UserAttributeUpdateSettingsType {
                attributes_require_verification_before_update: strings(&["email"]),
            }),
            ..verifying(&["email"])
        };
        let pool = pool(request).await;
        let token = signed_in(&pool).await;
        for address in ["first@example.com", "new@example.com"] {
            let pairs = [("email", address), ("name", "Ada")];
            assert_eq!(update(&pool, &token, &pairs).await.unwrap().len(), 1);
            assert_eq!(
                pool.attributes_of("ada").await,
                ["email=ada@example.com", "email_verified=true", "name=Ada"]
            );
        }
        assert!(pool.sign_in("ada@example.com", PASSWORD).await.is_ok());
        assert!(pool.sign_in("new@example.com", PASSWORD).await.is_err());
        let mut sent = pool.outbox.take();
        let (new, first) = (sent.pop().unwrap(), sent.pop().unwrap());
        assert_eq!((first.to.as_str(), new.to.as_str()), ("first@example.com", "new@example.com"));
        if first.code != new.code {
            assert!(verify(&pool, &token, "email", &first.code.unwrap()).await.is_err());
        }
        verify(&pool, &token, "email", &new.code.unwrap()).await.unwrap();
        assert_eq!(
            pool.attributes_of("ada").await,
            ["email=new@example.com", "email_verified=true", "name=Ada"]
        );
        assert!(pool.sign_in("new@example.com", PASSWORD).await.is_ok());
        assert!(pool.sign_in("ada@example.com", PASSWORD).await.is_err());
    }

    #[tokio::test]
    async fn a_pending_address_ends_with_a_change_by_an_administrator() {
        let request = types::CreateUserPoolRequest {
            user_attribute_update_settings: Some(types::UserAttributeUpdateSettingsType {
                attributes_require_verification_before_update: strings(&["email"]),
            }),
            ..verifying(&["email"])
        };
        let pool = pool(request).await;
        let token = signed_in(&pool).await;
        update(&pool, &token, &[("email", "new@example.com")]).await.unwrap();
        let code = pool.code();
        let by_admin = |pairs: &[(&str, &str)]| types::AdminUpdateUserAttributesRequest {
            user_pool_id: Some(pool.id.clone()),
            username: Some("ada".to_owned()),
            user_attributes: Some(types::AttributeTypeList { items: attributes(pairs) }),
            ..Default::default()
        };
        let call = crate::testing::signed_call();
        let vouched = by_admin(&[("email", "other@example.com"), ("email_verified", "true")]);
        crate::users::admin_update_user_attributes(&pool, &call, vouched).await.unwrap();
        let now = ["email=other@example.com", "email_verified=true"];
        assert_eq!(pool.attributes_of("ada").await, now);
        assert!(refusal(verify(&pool, &token, "email", &code).await).starts_with("Expired"));
        // without that word it is pending for administrators too
        let unvouched = by_admin(&[("email", "third@example.com")]);
        crate::users::admin_update_user_attributes(&pool, &call, unvouched).await.unwrap();
        assert_eq!(pool.attributes_of("ada").await, now);
        assert_eq!(pool.outbox.take().pop().unwrap().to, "third@example.com");
    }

    /// S21 and S22: what only the service or an administrator sets, and what the client may not write.
    #[tokio::test]
    async fn s21_s22_users_write_what_their_client_may() {
        let pool = verifying_pool().await;
        let token = signed_in(&pool).await;
        for name in ["email_verified", "phone_number_verified", "sub"] {
            assert_eq!(
                refusal(update(&pool, &token, &[(name, "true")]).await),
                format!(
                    "InvalidParameterException: Cannot modify the non-mutable attribute {name}"
                )
            );
        }
        let unauthorized =
            "NotAuthorizedException: A client attempted to write unauthorized attribute";
        for name in ["identities", "dev:custom:x"] {
            assert_eq!(refusal(update(&pool, &token, &[(name, "x")]).await), unauthorized);
        }
        for name in ["custom:role", "cognito:username"] {
            assert_eq!(
                refusal(update(&pool, &token, &[(name, "x")]).await),
                format!(
                    "InvalidParameterException: user.{name}: Attribute does not exist in the \
                     schema.\n"
                )
            );
        }
        let request = types::CreateUserPoolClientRequest {
            explicit_auth_flows: strings(&["ALLOW_USER_PASSWORD_AUTH"]),
            write_attributes: strings(&["name"]),
            ..Default::default()
        };
        let narrow = pool.new_client(request).await.client_id.unwrap();
        let token = pool.token_at(&narrow, "ada").await;
        for value in ["A", ""] {
            assert_eq!(refusal(update(&pool, &token, &[("nickname", value)]).await), unauthorized);
        }
        update(&pool, &token, &[("name", "Ada")]).await.unwrap();
        assert_eq!(
            pool.attributes_of("ada").await,
            ["email=ada@example.com", "email_verified=true", "name=Ada"]
        );
    }

    #[tokio::test]
    async fn names_of_others_are_refused() {
        let pool = alias_pool().await;
        pool.confirmed_user("eve", &[("preferred_username", "boss"), ("email", "e@example.com")])
            .await;
        let token = signed_in(&pool).await;
        assert_eq!(
            refusal(update(&pool, &token, &[("preferred_username", "boss")]).await),
            "AliasExistsException: User account already exists for the alias."
        );
        // an address of another can be claimed, and not be verified
        update(&pool, &token, &[("email", "e@example.com")]).await.unwrap();
        let code = pool.code();
        pool.store.take_trips();
        assert_eq!(
            refusal(verify(&pool, &token, "email", &code).await),
            "AliasExistsException: An account with the given email already exists."
        );
        assert_eq!(pool.store.take_trips(), trips(2, 1));
        assert_eq!(pool.user("e@example.com").await.unwrap().username.as_deref(), Some("eve"));
        assert!(pool.user("ada@example.com").await.is_err(), "given up");

        let pool = email_name_pool().await;
        pool.confirmed_user("eve@example.com", &[]).await;
        pool.confirmed_user("ada@example.com", &[]).await;
        let token = pool.token("ada@example.com").await;
        assert_eq!(
            refusal(update(&pool, &token, &[("email", "EVE@example.com")]).await),
            "AliasExistsException: An account with the given email already exists."
        );
    }

    #[tokio::test]
    async fn of_two_who_take_a_name_at_once_one_wins() {
        let mut pool = alias_pool().await;
        pool.confirmed_user("ada", &EMAIL).await;
        pool.confirmed_user("eve", &[("email", "e@example.com")]).await;
        let (ada, eve) = (pool.token("ada").await, pool.token("eve").await);
        pool.race(1);
        let boss = [("preferred_username", "boss")];
        let (a, b) = tokio::join!(update(&pool, &ada, &boss), update(&pool, &eve, &boss));
        assert_eq!(usize::from(a.is_ok()) + usize::from(b.is_ok()), 1);
    }
}
