//! AdminUpdateUserAttributes: an administrator sets attributes of a user, or takes them away.

use std::collections::BTreeMap;

use async_trait::async_trait;
use conclave_api::{ApiError, types};

use super::{
    admin_user, aliases,
    attribute_changes::{self, Changes},
    codes::Limited,
    index,
    lookup::{self, With},
};
use crate::{
    call::Call,
    triggers::Circumstances,
    tx::{Decision, Query, Transaction, Tx, transact},
    world::World,
};

/// Changes attributes. An address that the pool verifies by itself gets a code, unless the administrator
/// says that it is verified; an address that is said to be verified, and is a name to sign in by, moves
/// from the user who had it. One read and one commit; one read more where an address becomes a name
/// that the request does not hold.
///
/// # Errors
/// Those of the API reference.
pub async fn admin_update_user_attributes(
    world: &World,
    call: &Call,
    input: types::AdminUpdateUserAttributesRequest,
) -> Result<types::AdminUpdateUserAttributesResponse, ApiError> {
    let update = AdminUpdateUserAttributes {
        call,
        pool_id: input.user_pool_id.unwrap_or_default(),
        username: input.username.unwrap_or_default(),
        changes: attribute_changes::collect(&input.user_attributes.unwrap_or_default().items)?,
        client_metadata: input.client_metadata,
    };
    transact(world, &update).await
}

struct AdminUpdateUserAttributes<'a> {
    call: &'a Call,
    pool_id: String,
    username: String,
    changes: Changes,
    client_metadata: BTreeMap<String, String>,
}

#[async_trait]
impl Transaction for AdminUpdateUserAttributes<'_> {
    type Output = types::AdminUpdateUserAttributesResponse;

    fn scope(&self) -> &str {
        &self.pool_id
    }

    fn circumstances(&self) -> Circumstances<'_> {
        Circumstances { client_metadata: Some(&self.client_metadata), ..Default::default() }
    }

    async fn decide(&self, tx: &mut Tx<'_>) -> Decision<Self::Output> {
        let values = attribute_changes::values(&self.changes);
        let query = lookup::admin_query(Query::new(), &self.username, &[With::Nothing]);
        tx.load(aliases::query(query, &values)).await?;
        let user = admin_user::find(tx, self.call, &self.username)?;
        let pool = tx.pool()?;
        tx.rely_on_config();

        let applied = attribute_changes::apply(&pool, &user, &self.changes, tx.now_ms())?;
        let expected = applied.expected();
        let moved = aliases::take(tx, &pool, (&user, &expected), &values, true).await?;
        let mut writes = vec![(Some(&user), &applied.user)];
        writes.extend(moved.iter().map(|(owner, without)| (Some(owner), without)));
        index::write_users(tx, &writes)?;
        applied.send_codes(tx, &pool, &user, Limited::AdminUpdateUserAttributes)?;
        Ok(types::AdminUpdateUserAttributesResponse::default().into())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{
        testing::{START_MS, signed_call, signed_call_of},
        users::fixtures::{
            TestPool, alias_pool, attributes, email_name_pool, plain_pool, pool, refusal, strings,
            trips, verifying,
        },
    };

    const PREFIX: &str = "InvalidParameterException: ";

    async fn update_as(
        pool: &TestPool,
        call: &Call,
        username: &str,
        pairs: &[(&str, &str)],
    ) -> Result<(), ApiError> {
        let request = types::AdminUpdateUserAttributesRequest {
            user_pool_id: Some(pool.id.clone()),
            username: Some(username.to_owned()),
            user_attributes: Some(types::AttributeTypeList { items: attributes(pairs) }),
            ..Default::default()
        };
        admin_update_user_attributes(pool, call, request).await.map(|_| ())
    }

    async fn update(
        pool: &TestPool,
        username: &str,
        pairs: &[(&str, &str)],
    ) -> Result<(), ApiError> {
        update_as(pool, &signed_call(), username, pairs).await
    }

    #[tokio::test]
    async fn attributes_are_set_replaced_and_taken_away() {
        let pool = plain_pool().await;
        pool.sign_up("ada", &[("name", "Ada"), ("nickname", "A")]).await.unwrap();
        pool.clock.advance(Duration::from_secs(1));
        pool.store.take_trips();
        update(&pool, "ada", &[("name", "Ada L"), ("nickname", ""), ("locale", "en")])
            .await
            .unwrap();
        assert_eq!(pool.store.take_trips(), trips(1, 1));
        assert_eq!(pool.attributes_of("ada").await, ["name=Ada L", "locale=en"]);
        assert_eq!(pool.user("ada").await.unwrap().user_last_modified_date, Some(START_MS + 1_000));
        // the last of equal names counts
        update(&pool, "ada", &[("name", "1"), ("name", "2")]).await.unwrap();
        update(&pool, "ada", &[("locale", "fr"), ("locale", "")]).await.unwrap();
        assert_eq!(pool.attributes_of("ada").await, ["name=2"]);
    }

    #[tokio::test]
    async fn a_new_address_is_unverified_unless_the_administrator_says_otherwise() {
        let pool = plain_pool().await;
        pool.sign_up("ada", &[]).await.unwrap();
        let mut expected = Vec::new();
        for (pairs, flag) in [
            (&[("email", "a@b.co")][..], "false"),
            (&[("email", "c@d.co"), ("email_verified", "True")], "true"),
            // the same address stays as it is
            (&[("email", "c@d.co")], "true"),
            (&[("email", "e@f.co")], "false"),
            (&[("email_verified", "true")], "true"),
            (&[("email_verified", "")], ""),
        ] {
            update(&pool, "ada", pairs).await.unwrap();
            if let Some(("email", email)) = pairs.first() {
                expected = vec![format!("email={email}")];
            }
            expected.truncate(1);
            if !flag.is_empty() {
                expected.push(format!("email_verified={flag}"));
            }
            assert_eq!(pool.attributes_of("ada").await, expected, "{pairs:?}");
        }
        update(&pool, "ada", &[("email", "")]).await.unwrap();
        assert!(pool.attributes_of("ada").await.is_empty());
    }

    #[tokio::test]
    async fn twenty_codes_an_hour_are_sent() {
        let pool = pool(verifying(&["email"])).await;
        pool.create("ada", &[]).await.unwrap();
        pool.outbox.take();
        for number in 0..20 {
            update(&pool, "ada", &[("email", &format!("{number}@example.com"))]).await.unwrap();
        }
        assert_eq!(
            refusal(update(&pool, "ada", &[("email", "21@example.com")]).await),
            "TooManyRequestsException: Attempt limit exceeded, please try after some time."
        );
        assert_eq!(pool.outbox.take().len(), 20);
        // what is vouched for sends no code
        let pairs = [("email", "22@example.com"), ("email_verified", "true")];
        update(&pool, "ada", &pairs).await.unwrap();
    }

    // the texts are those that other implementations have seen from the service
    #[tokio::test]
    async fn what_the_schema_does_not_allow_is_refused() {
        let attribute = |name: &str, mutable: bool| types::SchemaAttributeType {
            name: Some(name.to_owned()),
            attribute_data_type: Some("String".to_owned()),
            mutable: Some(mutable),
            required: Some(name == "family_name"),
            string_attribute_constraints: Some(types::StringAttributeConstraintsType {
                min_length: Some("2".to_owned()),
                max_length: Some("4".to_owned()),
            }),
            ..Default::default()
        };
        let items = vec![
            attribute("team", true),
            attribute("fixed", false),
            attribute("family_name", true),
        ];
        let request = types::CreateUserPoolRequest {
            schema: Some(types::SchemaAttributeTypeList { items }),
            ..Default::default()
        };
        let pool = pool(request).await;
        let signed_up = [("custom:fixed", "abc"), ("family_name", "Love")];
        pool.sign_up("ada", &signed_up).await.unwrap();
        let schema = "Attributes did not conform to the schema:";
        for (pair, text) in [
            (
                ("custom:role", "x"),
                "user.custom:role: Attribute does not exist in the schema.\n".into(),
            ),
            (
                ("identities", "x"),
                "user.identities: Attribute does not exist in the schema.\n".into(),
            ),
            (("custom:fixed", "abc"), "user.custom:fixed: Attribute cannot be updated.\n".into()),
            (("custom:fixed", ""), "user.custom:fixed: Attribute cannot be updated.\n".into()),
            (("sub", "x"), "user.sub: Attribute cannot be updated.\n".into()),
            (
                ("custom:team", "1"),
                format!("{schema} custom:team: String must be longer than 2 characters"),
            ),
            (
                ("custom:team", "12345"),
                format!("{schema} custom:team: String must be no longer than 4 characters"),
            ),
            // by analogy to SignUp: no text is known
            (
                ("family_name", ""),
                format!("{schema} name.familyName: The attribute name.familyName is required"),
            ),
            (("email", "nobody"), "Invalid email address format.".into()),
            (("phone_number", "1"), "Invalid phone number format.".into()),
            (("email_verified", "true"), "Email is required to verify/un-verify an email".into()),
            (
                ("phone_number_verified", "false"),
                "Phone Number is required to verify/un-verify a phone number".into(),
            ),
            (("updated_at", "now"), format!("{schema} updated_at: Attribute must be a number")),
        ] {
            assert_eq!(refusal(update(&pool, "ada", &[pair]).await), format!("{PREFIX}{text}"));
        }
        assert_eq!(pool.attributes_of("ada").await, ["family_name=Love", "custom:fixed=abc"]);
    }

    #[tokio::test]
    async fn a_record_that_no_row_holds_is_refused() {
        let items = (0..50).map(|number| types::SchemaAttributeType {
            name: Some(format!("a{number}")),
            attribute_data_type: Some("String".to_owned()),
            mutable: Some(true),
            ..Default::default()
        });
        let request = types::CreateUserPoolRequest {
            schema: Some(types::SchemaAttributeTypeList { items: items.collect() }),
            ..Default::default()
        };
        let pool = pool(request).await;
        pool.sign_up("ada", &[]).await.unwrap();
        let (names, value): (Vec<_>, _) =
            ((0..50).map(|number| format!("custom:a{number}")).collect(), "漢".repeat(2_048));
        let pairs: Vec<_> = names.iter().map(|name| (name.as_str(), value.as_str())).collect();
        update(&pool, "ada", &pairs[..40]).await.unwrap();
        assert_eq!(
            refusal(update(&pool, "ada", &pairs[40..]).await),
            format!("{PREFIX}The attributes of a user can have 262144 bytes together.")
        );
        assert_eq!(pool.attributes_of("ada").await.len(), 40);
    }

    #[tokio::test]
    async fn a_new_address_gets_a_code_where_the_pool_verifies() {
        let pool = pool(verifying(&["email", "phone_number"])).await;
        pool.create("ada", &[]).await.unwrap();
        pool.outbox.take();
        let both = [("email", "a@b.co"), ("phone_number", "+12065550100")];
        update(&pool, "ada", &both).await.unwrap();
        let sent = pool.outbox.take();
        let to: Vec<_> = sent.iter().map(|message| message.to.as_str()).collect();
        assert_eq!(to, ["+12065550100", "a@b.co"]);
        assert_ne!(sent[0].code, sent[1].code);
        assert_eq!(
            sent[1].body,
            format!("Your confirmation code is {}", sent[1].code.as_deref().unwrap())
        );
        for quiet in [
            &both[..],
            &[("name", "Ada")],
            &[("email", "c@d.co"), ("email_verified", "true")],
            &[("email", "")],
        ] {
            update(&pool, "ada", quiet).await.unwrap();
            assert_eq!(pool.outbox.take(), [], "{quiet:?}");
        }
    }

    #[tokio::test]
    async fn listing_follows_every_change() {
        let pool = plain_pool().await;
        pool.sign_up("ada", &[("email", "a@b.co")]).await.unwrap();
        update(&pool, "ada", &[("email", "c@d.co")]).await.unwrap();
        let found = |filter: &str| {
            let request = types::ListUsersRequest {
                user_pool_id: Some(pool.id.clone()),
                filter: Some(filter.to_owned()),
                ..Default::default()
            };
            let pool = &pool;
            async move {
                let call = signed_call();
                crate::users::list_users(pool, &call, request).await.unwrap().users.len()
            }
        };
        assert_eq!(found("email = \"a@b.co\"").await, 0);
        assert_eq!(found("email = \"c@d.co\"").await, 1);
        update(&pool, "ada", &[("email", "")]).await.unwrap();
        assert_eq!(found("email ^= \"c\"").await, 0);
    }

    /// S27: who has an address verified signs in by it, and whoever had it before does not.
    #[tokio::test]
    async fn s27_a_verified_address_moves_as_a_name() {
        let pool = alias_pool().await;
        pool.confirmed_user("ada", &[("email", "ada@example.com")]).await;
        pool.create("eve", &[]).await.unwrap();
        pool.store.take_trips();
        update(&pool, "eve", &[("email", "ada@example.com")]).await.unwrap();
        assert_eq!(pool.user("ada@example.com").await.unwrap().username.as_deref(), Some("ada"));
        pool.store.take_trips();
        // one read more: the address is not in the request
        update(&pool, "eve", &[("email_verified", "true")]).await.unwrap();
        assert_eq!(pool.store.take_trips(), trips(2, 1));
        assert_eq!(pool.user("ada@example.com").await.unwrap().username.as_deref(), Some("eve"));
        assert_eq!(
            pool.attributes_of("ada").await,
            ["email=ada@example.com", "email_verified=false"]
        );
        let back = [("email", "ada@example.com"), ("email_verified", "true")];
        pool.store.take_trips();
        update(&pool, "ada", &back).await.unwrap();
        assert_eq!(pool.store.take_trips(), trips(1, 1));
        assert_eq!(pool.user("ada@example.com").await.unwrap().username.as_deref(), Some("ada"));
        // a name that is given up is free
        update(&pool, "ada", &[("email", "ada@example.org")]).await.unwrap();
        assert!(pool.user("ada@example.com").await.is_err());
        assert!(pool.user("ada@example.org").await.is_err(), "it is not verified");
    }

    #[tokio::test]
    async fn two_addresses_move_from_one_user_at_once() {
        let request = types::CreateUserPoolRequest {
            alias_attributes: strings(&["email", "phone_number"]),
            ..Default::default()
        };
        let pool = pool(request).await;
        let both = [
            ("email", "a@b.co"),
            ("email_verified", "true"),
            ("phone_number", "+12065550100"),
            ("phone_number_verified", "true"),
        ];
        pool.create("ada", &both).await.unwrap();
        pool.create("eve", &[]).await.unwrap();
        update(&pool, "eve", &both).await.unwrap();
        for name in ["a@b.co", "+12065550100"] {
            assert_eq!(pool.user(name).await.unwrap().username.as_deref(), Some("eve"), "{name}");
        }
        let flags = ["email_verified=false".to_owned(), "phone_number_verified=false".to_owned()];
        let attributes = pool.attributes_of("ada").await;
        assert!(flags.iter().all(|flag| attributes.contains(flag)), "{attributes:?}");
        let request = types::AdminCreateUserRequest {
            force_alias_creation: Some(true),
            ..pool.create_request("bob", &both)
        };
        pool.send_create(request).await.unwrap();
        let attributes = pool.attributes_of("eve").await;
        assert!(flags.iter().all(|flag| attributes.contains(flag)), "{attributes:?}");
    }

    #[tokio::test]
    async fn names_are_not_taken_from_anybody() {
        let pool = alias_pool().await;
        pool.sign_up("ada", &[("preferred_username", "boss")]).await.unwrap();
        pool.sign_up("eve", &[]).await.unwrap();
        for name in ["boss", "ada"] {
            assert_eq!(
                refusal(update(&pool, "eve", &[("preferred_username", name)]).await),
                "AliasExistsException: User account already exists for the alias."
            );
        }
        update(&pool, "eve", &[("preferred_username", "chief")]).await.unwrap();
        assert_eq!(pool.user("chief").await.unwrap().username.as_deref(), Some("eve"));

        let pool = email_name_pool().await;
        pool.sign_up("ada@example.com", &[]).await.unwrap();
        pool.sign_up("eve@example.com", &[]).await.unwrap();
        let taken = [("email", "ADA@example.com"), ("email_verified", "true")];
        assert_eq!(
            refusal(update(&pool, "eve@example.com", &taken).await),
            "AliasExistsException: An account with the given email already exists."
        );
        update(&pool, "eve@example.com", &[("email", "e@example.com")]).await.unwrap();
        assert!(pool.user("eve@example.com").await.is_err());
        assert!(pool.user("e@example.com").await.is_ok());
    }

    #[tokio::test]
    async fn of_two_who_take_a_name_at_once_one_wins() {
        let mut pool = alias_pool().await;
        pool.sign_up("ada", &[]).await.unwrap();
        pool.sign_up("eve", &[]).await.unwrap();
        pool.race(1);
        let boss = [("preferred_username", "boss")];
        let (a, b) = tokio::join!(update(&pool, "ada", &boss), update(&pool, "eve", &boss));
        assert_eq!(usize::from(a.is_ok()) + usize::from(b.is_ok()), 1);
    }

    #[tokio::test]
    async fn unknown_users_and_foreign_pools_are_refused() {
        let pool = plain_pool().await;
        pool.sign_up("ada", &[]).await.unwrap();
        assert_eq!(
            refusal(update(&pool, "nobody", &[("name", "A")]).await),
            "UserNotFoundException: User does not exist."
        );
        let foreign = signed_call_of("999999999999", "us-east-1");
        assert_eq!(
            refusal(update_as(&pool, &foreign, "ada", &[("name", "A")]).await),
            format!("ResourceNotFoundException: User pool {} does not exist.", pool.id)
        );
        assert!(pool.attributes_of("ada").await.is_empty());
    }
}
