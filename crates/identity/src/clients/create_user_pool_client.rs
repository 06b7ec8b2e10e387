//! CreateUserPoolClient.
//!
//! The directory learns of a client before the pool does, so that a crash in between leaves no more than
//! the name of a client that there never was.

use async_trait::async_trait;
use bytes::Bytes;
use conclave_api::{ApiError, ExceptionName, types};
use conclave_crypto::{ids, secret::SecretString};
use conclave_store::{DIRECTORY_SCOPE, keys, records::ClientRecord};
use prost::Message;

use super::{describe, references::References, secrets, settings};
use crate::{
    call::Call,
    errors,
    pool_access::owned_pool,
    pools::make_ms_max,
    tx::{Decision, Query, Transaction, Tx, transact},
    world::World,
};

/// Makes an app client.
///
/// # Errors
/// ResourceNotFoundException when the caller has no such pool; what [`settings::new_client`] refuses;
/// LimitExceededException when the pool has too many clients.
pub async fn create_user_pool_client(
    world: &World,
    call: &Call,
    input: types::CreateUserPoolClientRequest,
) -> Result<types::CreateUserPoolClientResponse, ApiError> {
    let pool_id = input.user_pool_id.as_deref().unwrap_or_default();
    transact(world, &Check { call, pool_id, input: &input }).await?;
    let client_id = ids::client_id(pool_id, &world.hint_key, &*world.entropy);
    let secret = match &input.client_secret {
        Some(given) => Some(SecretString::new(given.clone())),
        None => (input.generate_secret == Some(true)).then(|| ids::client_secret(&*world.entropy)),
    };
    let entered_ms = transact(world, &Enter { pool_id, client_id: &client_id }).await?;
    conclave_fault::point("create.after_directory");
    let make = Make {
        call,
        pool_id,
        client_id: &client_id,
        entered_ms,
        secret: secret.as_ref(),
        input: &input,
    };
    let record = transact(world, &make).await?;
    let client = describe(pool_id, &record, secret.as_slice());
    Ok(types::CreateUserPoolClientResponse { user_pool_client: Some(client) })
}

fn too_many_clients() -> ApiError {
    ApiError::new(
        ExceptionName::LimitExceededException,
        "The maximum number of app clients for this user pool has been reached.",
    )
}

/// Refuses what can be refused before anything is written.
struct Check<'a> {
    call: &'a Call,
    pool_id: &'a str,
    input: &'a types::CreateUserPoolClientRequest,
}

#[async_trait]
impl Transaction for Check<'_> {
    type Output = ();

    fn scope(&self) -> &str {
        self.pool_id
    }

    async fn decide(&self, tx: &mut Tx<'_>) -> Decision<()> {
        let count = keys::client_count();
        let references = References::of_new(self.input);
        references.load(tx, Query::new().get(count.clone())).await?;
        let pool = owned_pool(tx, self.call)?;
        settings::new_client(&pool.record, self.input)?;
        references.check(tx, pool.id())?;
        let count = tx.get_bytes(&count).and_then(|count| count[..].try_into().ok());
        if count.map_or(0, i64::from_be_bytes) >= tx.world().settings.clients_per_pool_max {
            return Err(too_many_clients().into());
        }
        Ok(().into())
    }
}

/// Enters the client in the directory.
struct Enter<'a> {
    pool_id: &'a str,
    client_id: &'a str,
}

#[async_trait]
impl Transaction for Enter<'_> {
    /// When it was entered, on the directory's clock.
    type Output = i64;

    fn scope(&self) -> &str {
        DIRECTORY_SCOPE
    }

    async fn decide(&self, tx: &mut Tx<'_>) -> Decision<i64> {
        tx.load(Query::new()).await?;
        let pool_id = Bytes::copy_from_slice(self.pool_id.as_bytes());
        tx.put_new(keys::client_location(self.client_id), pool_id, None);
        Ok(tx.now_ms().into())
    }
}

/// Makes the client in its pool, by the pool's settings as they are now.
struct Make<'a> {
    call: &'a Call,
    pool_id: &'a str,
    client_id: &'a str,
    entered_ms: i64,
    secret: Option<&'a SecretString>,
    input: &'a types::CreateUserPoolClientRequest,
}

#[async_trait]
impl Transaction for Make<'_> {
    type Output = ClientRecord;

    fn scope(&self) -> &str {
        self.pool_id
    }

    async fn decide(&self, tx: &mut Tx<'_>) -> Decision<ClientRecord> {
        let references = References::of_new(self.input);
        references.load(tx, Query::new()).await?;
        let world = tx.world();
        let pool = owned_pool(tx, self.call)?;
        // the reconciler may have cleared the client's row away by now
        if tx.now_ms() - self.entered_ms > make_ms_max() {
            return Err(errors::unavailable().into());
        }
        let mut record = settings::new_client(&pool.record, self.input)?;
        references.check(tx, pool.id())?;
        record.client_id = self.client_id.to_owned();
        record.created_ms = tx.now_ms();
        record.modified_ms = tx.now_ms();
        let row = keys::client(self.client_id);
        if let Some(secret) = self.secret {
            record.secrets.push(secrets::new_secret(tx, &pool, self.client_id, secret)?);
        }
        let max = world.settings.clients_per_pool_max;
        tx.put_new(row, record.encode_to_vec().into(), None);
        tx.add(keys::client_count(), 1, Some((max, too_many_clients())), None);
        tx.bump_epoch();
        Ok(record.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        clients::{describe_user_pool_client, list_user_pool_clients},
        testing::{
            ACCOUNT, START_MS, new_client_with, new_pool, new_pool_with, signed_call,
            signed_call_of, test_world,
        },
    };

    fn named(pool_id: &str) -> types::CreateUserPoolClientRequest {
        types::CreateUserPoolClientRequest {
            user_pool_id: Some(pool_id.to_owned()),
            client_name: Some("app".to_owned()),
            ..Default::default()
        }
    }

    fn texts(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|text| (*text).to_owned()).collect()
    }

    /// A pool whose users must have a family name, with a custom and a developer's attribute.
    async fn demanding_pool(world: &World) -> String {
        let attribute = |name: &str, developer_only| types::SchemaAttributeType {
            name: Some(name.to_owned()),
            attribute_data_type: Some("String".to_owned()),
            developer_only_attribute: Some(developer_only),
            ..Default::default()
        };
        let required =
            types::SchemaAttributeType { required: Some(true), ..attribute("family_name", false) };
        let items = vec![required, attribute("team", false), attribute("role", true)];
        let schema = Some(types::SchemaAttributeTypeList { items });
        new_pool_with(world, types::CreateUserPoolRequest { schema, ..Default::default() }).await
    }

    async fn refused(
        world: &crate::testing::TestWorld,
        input: types::CreateUserPoolClientRequest,
        text: &str,
    ) {
        world.store.take_trips();
        let error = create_user_pool_client(world, &signed_call(), input).await.unwrap_err();
        assert_eq!((error.code.as_str(), &*error.message), ("InvalidParameterException", text));
        assert_eq!(world.store.take_trips().commits, 0, "refused before anything is written");
    }

    /// The answer of the service itself, recorded in September 2026.
    #[tokio::test]
    async fn a_client_with_a_name_alone_has_the_defaults_of_the_service() {
        let world = test_world().await;
        let pool_id = new_pool(&world).await;
        let response =
            create_user_pool_client(&world, &signed_call(), named(&pool_id)).await.unwrap();
        let mut body = Vec::new();
        conclave_api::Message::encode_json(&response, &mut body);
        let mut shown: serde_json::Value = serde_json::from_slice(&body).unwrap();
        let mut shown = shown["UserPoolClient"].take();
        for date in ["CreationDate", "LastModifiedDate"] {
            assert_eq!(shown[date].as_f64(), Some(START_MS as f64 / 1_000.0), "{date}");
            shown.as_object_mut().unwrap().remove(date);
        }
        let client_id = response.user_pool_client.unwrap().client_id.unwrap();
        assert_eq!(client_id.len(), 26);
        assert!(client_id.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit()));
        assert_eq!(ids::client_pool(&client_id, &world.hint_key), Some(pool_id.clone()));
        let expected = serde_json::json!({
            "AllowedOAuthFlowsUserPoolClient": false,
            "AuthSessionValidity": 3,
            "ClientId": client_id,
            "ClientName": "app",
            "EnablePropagateAdditionalUserContextData": false,
            "EnableTokenRevocation": true,
            "RefreshTokenValidity": 30,
            "TokenValidityUnits": {},
            "UserPoolId": pool_id,
        });
        assert_eq!(shown, expected);
    }

    #[tokio::test]
    async fn every_setting_is_answered_as_it_was_given() {
        let world = test_world().await;
        let pool_id = demanding_pool(&world).await;
        let text = |text: &str| Some(text.to_owned());
        let units = types::TokenValidityUnitsType {
            access_token: text("minutes"),
            refresh_token: text("hours"),
            ..Default::default()
        };
        let input = types::CreateUserPoolClientRequest {
            refresh_token_validity: Some(48),
            access_token_validity: Some(15),
            id_token_validity: Some(2),
            token_validity_units: Some(units.clone()),
            read_attributes: texts(&["family_name", "custom:team", "email_verified", "sub"]),
            write_attributes: texts(&["nickname", "family_name", "custom:team"]),
            supported_identity_providers: texts(&["COGNITO"]),
            prevent_user_existence_errors: text("ENABLED"),
            enable_token_revocation: Some(false),
            auth_session_validity: Some(15),
            ..Default::default()
        };
        let client = new_client_with(&world, &pool_id, input.clone()).await;
        assert_eq!(client.refresh_token_validity, Some(48));
        assert_eq!(client.access_token_validity, Some(15));
        assert_eq!(client.id_token_validity, Some(2));
        assert_eq!(client.token_validity_units, Some(units));
        assert_eq!(client.read_attributes, input.read_attributes);
        assert_eq!(client.write_attributes, input.write_attributes);
        assert_eq!(client.supported_identity_providers, input.supported_identity_providers);
        assert_eq!(client.prevent_user_existence_errors.as_deref(), Some("ENABLED"));
        assert_eq!(client.enable_token_revocation, Some(false));
        assert_eq!(client.auth_session_validity, Some(15));
        let request = types::DescribeUserPoolClientRequest {
            user_pool_id: Some(pool_id),
            client_id: client.client_id.clone(),
        };
        let described = describe_user_pool_client(&world, &signed_call(), request).await.unwrap();
        assert_eq!(described.user_pool_client, Some(client));
    }

    #[tokio::test]
    async fn a_secret_is_made_on_request_or_taken_as_given() {
        let world = test_world().await;
        let pool_id = new_pool(&world).await;
        let made = types::CreateUserPoolClientRequest {
            generate_secret: Some(true),
            ..Default::default()
        };
        let first = new_client_with(&world, &pool_id, made.clone()).await.client_secret.unwrap();
        let second = new_client_with(&world, &pool_id, made).await.client_secret.unwrap();
        assert_eq!(first.len(), 52);
        assert_ne!(first, second);
        let given = "my_own_secret_with_24_characters";
        let input = types::CreateUserPoolClientRequest {
            client_secret: Some(given.to_owned()),
            ..Default::default()
        };
        let client = new_client_with(&world, &pool_id, input).await;
        assert_eq!(client.client_secret.as_deref(), Some(given));
        let none = types::CreateUserPoolClientRequest {
            generate_secret: Some(false),
            ..Default::default()
        };
        assert_eq!(new_client_with(&world, &pool_id, none).await.client_secret, None);
        let both = types::CreateUserPoolClientRequest {
            generate_secret: Some(true),
            client_secret: Some(given.to_owned()),
            ..named(&pool_id)
        };
        refused(&world, both, "Only one of GenerateSecret or ClientSecret can be set.").await;
    }

    #[tokio::test]
    async fn flows_are_answered_in_the_service_s_order() {
        let world = test_world().await;
        let pool_id = new_pool(&world).await;
        let flows = |flows: &[&str]| types::CreateUserPoolClientRequest {
            explicit_auth_flows: texts(flows),
            ..Default::default()
        };
        let input = flows(&[
            "ALLOW_USER_SRP_AUTH",
            "ALLOW_REFRESH_TOKEN_AUTH",
            "ALLOW_ADMIN_USER_PASSWORD_AUTH",
            "ALLOW_USER_PASSWORD_AUTH",
            "ALLOW_USER_SRP_AUTH",
            "ALLOW_CUSTOM_AUTH",
        ]);
        assert_eq!(
            new_client_with(&world, &pool_id, input).await.explicit_auth_flows,
            [
                "ALLOW_CUSTOM_AUTH",
                "ALLOW_USER_PASSWORD_AUTH",
                "ALLOW_ADMIN_USER_PASSWORD_AUTH",
                "ALLOW_USER_SRP_AUTH",
                "ALLOW_REFRESH_TOKEN_AUTH",
            ]
        );
        let legacy = flows(&["USER_PASSWORD_AUTH", "ADMIN_NO_SRP_AUTH"]);
        assert_eq!(
            new_client_with(&world, &pool_id, legacy).await.explicit_auth_flows,
            ["USER_PASSWORD_AUTH", "ADMIN_NO_SRP_AUTH"]
        );
    }

    #[tokio::test]
    async fn older_and_newer_names_of_flows_do_not_mix() {
        let world = test_world().await;
        let pool_id = new_pool(&world).await;
        let input = types::CreateUserPoolClientRequest {
            explicit_auth_flows: texts(&["USER_PASSWORD_AUTH", "ALLOW_REFRESH_TOKEN_AUTH"]),
            ..named(&pool_id)
        };
        let text = "Auth flow name with prefix 'ALLOW' cannot be used with legacy auth flow names.";
        refused(&world, input, text).await;
    }

    #[tokio::test]
    async fn attributes_must_be_in_the_schema() {
        let world = test_world().await;
        let pool_id = demanding_pool(&world).await;
        for unknown in ["custom:other", "team", "Email", ""] {
            let input = types::CreateUserPoolClientRequest {
                read_attributes: texts(&["email", unknown]),
                ..named(&pool_id)
            };
            refused(&world, input, "Invalid read attributes specified while creating a client")
                .await;
        }
        let invalid = [
            &["family_name", "custom:other"][..],
            &["email"],
            &["family_name", "sub"],
            &["family_name", "email_verified"],
            &["family_name", "phone_number_verified"],
            &["family_name", "dev:custom:role"],
        ];
        for names in invalid {
            let input = types::CreateUserPoolClientRequest {
                write_attributes: texts(names),
                ..named(&pool_id)
            };
            refused(&world, input, "Invalid write attributes specified while creating a client")
                .await;
        }
    }

    #[tokio::test]
    async fn a_zero_for_the_refresh_token_means_thirty_days() {
        let world = test_world().await;
        let pool_id = new_pool(&world).await;
        let input = types::CreateUserPoolClientRequest {
            refresh_token_validity: Some(0),
            ..Default::default()
        };
        let client = new_client_with(&world, &pool_id, input).await;
        assert_eq!(client.refresh_token_validity, Some(30));
    }

    #[tokio::test]
    async fn lives_of_tokens_have_limits() {
        let world = test_world().await;
        let pool_id = new_pool(&world).await;
        let input = types::CreateUserPoolClientRequest {
            access_token_validity: Some(25),
            ..named(&pool_id)
        };
        refused(&world, input, "Invalid range for token validity.").await;
    }

    #[tokio::test]
    async fn propagating_the_user_s_context_needs_a_secret() {
        let world = test_world().await;
        let pool_id = new_pool(&world).await;
        let input = types::CreateUserPoolClientRequest {
            enable_propagate_additional_user_context_data: Some(true),
            ..named(&pool_id)
        };
        let text =
            "Client Secret is required to set EnablePropagateAdditionalUserContextData as true";
        refused(&world, input, text).await;
        let input = types::CreateUserPoolClientRequest {
            enable_propagate_additional_user_context_data: Some(true),
            generate_secret: Some(true),
            ..Default::default()
        };
        let client = new_client_with(&world, &pool_id, input).await;
        assert_eq!(client.enable_propagate_additional_user_context_data, Some(true));
    }

    #[tokio::test]
    async fn a_provider_must_exist() {
        let world = test_world().await;
        let pool_id = new_pool(&world).await;
        let input = types::CreateUserPoolClientRequest {
            supported_identity_providers: texts(&["COGNITO", "Google"]),
            ..named(&pool_id)
        };
        let text = format!("The provider Google does not exist for User Pool {pool_id}.");
        refused(&world, input, &text).await;
    }

    #[tokio::test]
    async fn a_pool_of_another_account_or_region_looks_like_none() {
        let world = test_world().await;
        let pool_id = new_pool(&world).await;
        world.store.take_trips();
        let own = signed_call();
        for (call, id) in [
            (&own, "us-east-1_000000000"),
            (&signed_call_of("444455556666", "us-east-1"), &pool_id),
            (&signed_call_of(ACCOUNT, "eu-west-1"), &pool_id),
        ] {
            let error = create_user_pool_client(&world, call, named(id)).await.unwrap_err();
            assert_eq!(error, errors::user_pool_not_found(id));
        }
        assert_eq!(world.store.take_trips().commits, 0);
    }

    #[tokio::test]
    async fn a_pool_has_a_limit_of_clients() {
        let mut world = test_world().await;
        world.world.settings.clients_per_pool_max = 1;
        let pool_id = new_pool(&world).await;
        new_client_with(&world, &pool_id, Default::default()).await;
        world.store.take_trips();
        let error =
            create_user_pool_client(&world, &signed_call(), named(&pool_id)).await.unwrap_err();
        assert_eq!(error.code.as_str(), "LimitExceededException");
        assert_eq!(world.store.take_trips().commits, 0, "refused before anything is written");
    }

    #[tokio::test]
    async fn the_limit_holds_when_another_client_comes_between_the_look_and_the_commit() {
        let mut world = test_world().await;
        world.world.settings.clients_per_pool_max = 1;
        let pool_id = new_pool(&world).await;
        let (call, input) = (signed_call(), named(&pool_id));
        transact(&world, &Check { call: &call, pool_id: &pool_id, input: &input }).await.unwrap();
        new_client_with(&world, &pool_id, Default::default()).await;
        let make = Make {
            call: &call,
            pool_id: &pool_id,
            client_id: "late",
            entered_ms: START_MS,
            secret: None,
            input: &input,
        };
        let error = transact(&world, &make).await.map(|_| ()).unwrap_err();
        assert_eq!(error.code.as_str(), "LimitExceededException");
    }

    #[tokio::test]
    async fn a_crash_after_the_directory_leaves_no_client() {
        let world = test_world().await;
        let pool_id = new_pool(&world).await;
        world.store.fail_commit(2);
        let error =
            create_user_pool_client(&world, &signed_call(), named(&pool_id)).await.unwrap_err();
        assert_eq!(error.code.as_str(), "ServiceUnavailable");
        let input =
            types::ListUserPoolClientsRequest { user_pool_id: Some(pool_id), ..Default::default() };
        let listed = list_user_pool_clients(&world, &signed_call(), input).await.unwrap();
        assert_eq!(listed.user_pool_clients, []);
    }
}
