//! UpdateUserPoolClient.

use async_trait::async_trait;
use conclave_api::{ApiError, types};
use conclave_store::keys;

use super::{client_not_found, describe, references::References, settings};
use crate::{
    call::Call,
    pool_access::owned_pool,
    tx::{Decision, Query, Transaction, Tx, transact},
    world::World,
};

/// Sets a client's settings anew: what the request leaves out goes back to its default, except for the
/// name. The secrets stay.
///
/// Source: API reference, `UpdateUserPoolClient`.
///
/// # Errors
/// ResourceNotFoundException when the caller has no such pool, or the pool no such client; what
/// [`settings::updated_client`] refuses.
pub async fn update_user_pool_client(
    world: &World,
    call: &Call,
    input: types::UpdateUserPoolClientRequest,
) -> Result<types::UpdateUserPoolClientResponse, ApiError> {
    transact(world, &Update { call, input: &input }).await
}

struct Update<'a> {
    call: &'a Call,
    input: &'a types::UpdateUserPoolClientRequest,
}

#[async_trait]
impl Transaction for Update<'_> {
    type Output = types::UpdateUserPoolClientResponse;

    fn scope(&self) -> &str {
        self.input.user_pool_id.as_deref().unwrap_or_default()
    }

    async fn decide(&self, tx: &mut Tx<'_>) -> Decision<Self::Output> {
        let client_id = self.input.client_id.as_deref().unwrap_or_default();
        let references = References::of_update(self.input);
        references.load(tx, Query::new().client(client_id)).await?;
        let pool = owned_pool(tx, self.call)?;
        let client = tx.client().ok_or_else(client_not_found)?;
        let mut record =
            settings::updated_client(&pool.record, &client.record, self.input.clone())?;
        references.check(tx, pool.id())?;
        record.modified_ms = tx.now_ms();
        tx.put(keys::client(client_id), &record);
        tx.bump_epoch();
        let client = describe(pool.id(), &record, &client.secrets);
        Ok(types::UpdateUserPoolClientResponse { user_pool_client: Some(client) }.into())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{
        clients::describe_user_pool_client,
        errors,
        testing::{
            ACCOUNT, START_MS, new_client_with, new_pool, signed_call, signed_call_of, test_world,
        },
    };

    fn text(text: &str) -> Option<String> {
        Some(text.to_owned())
    }

    fn of(client: &types::UserPoolClientType) -> types::UpdateUserPoolClientRequest {
        types::UpdateUserPoolClientRequest {
            user_pool_id: client.user_pool_id.clone(),
            client_id: client.client_id.clone(),
            ..Default::default()
        }
    }

    async fn described(
        world: &World,
        client: &types::UserPoolClientType,
    ) -> types::UserPoolClientType {
        let input = types::DescribeUserPoolClientRequest {
            user_pool_id: client.user_pool_id.clone(),
            client_id: client.client_id.clone(),
        };
        let answer = describe_user_pool_client(world, &signed_call(), input).await.unwrap();
        answer.user_pool_client.unwrap()
    }

    /// A client in which nothing is as by default.
    async fn unusual_client(world: &World) -> types::UserPoolClientType {
        let pool_id = new_pool(world).await;
        let input = types::CreateUserPoolClientRequest {
            client_name: text("unusual"),
            generate_secret: Some(true),
            refresh_token_validity: Some(2),
            access_token_validity: Some(10),
            token_validity_units: Some(types::TokenValidityUnitsType {
                access_token: text("minutes"),
                ..Default::default()
            }),
            read_attributes: vec!["email".to_owned()],
            write_attributes: vec!["email".to_owned()],
            explicit_auth_flows: vec!["ALLOW_USER_SRP_AUTH".to_owned()],
            supported_identity_providers: vec!["COGNITO".to_owned()],
            prevent_user_existence_errors: text("ENABLED"),
            enable_token_revocation: Some(false),
            enable_propagate_additional_user_context_data: Some(true),
            auth_session_validity: Some(15),
            ..Default::default()
        };
        new_client_with(world, &pool_id, input).await
    }

    #[tokio::test]
    async fn what_is_left_out_goes_back_to_its_default_and_the_secret_stays() {
        let world = test_world().await;
        let before = unusual_client(&world).await;
        let pool_id = before.user_pool_id.clone().unwrap();
        let plain = new_client_with(&world, &pool_id, Default::default()).await;
        let answer = update_user_pool_client(&world, &signed_call(), of(&before)).await.unwrap();
        let after = described(&world, &before).await;
        let expected = types::UserPoolClientType {
            client_id: before.client_id,
            client_name: text("unusual"),
            client_secret: before.client_secret,
            ..plain
        };
        assert_eq!(after, expected);
        assert_eq!(answer.user_pool_client, Some(after));
    }

    #[tokio::test]
    async fn every_setting_is_described_back() {
        let world = test_world().await;
        let pool_id = new_pool(&world).await;
        let client = new_client_with(&world, &pool_id, Default::default()).await;
        world.clock.advance(Duration::from_secs(60));
        let input = types::UpdateUserPoolClientRequest {
            client_name: text("another"),
            refresh_token_validity: Some(3),
            id_token_validity: Some(2),
            read_attributes: vec!["email".to_owned(), "name".to_owned()],
            write_attributes: vec!["name".to_owned()],
            explicit_auth_flows: vec!["ALLOW_REFRESH_TOKEN_AUTH".to_owned()],
            prevent_user_existence_errors: text("LEGACY"),
            enable_token_revocation: Some(false),
            auth_session_validity: Some(5),
            ..of(&client)
        };
        update_user_pool_client(&world, &signed_call(), input).await.unwrap();
        let after = described(&world, &client).await;
        let expected = types::UserPoolClientType {
            client_name: text("another"),
            refresh_token_validity: Some(3),
            id_token_validity: Some(2),
            read_attributes: vec!["email".to_owned(), "name".to_owned()],
            write_attributes: vec!["name".to_owned()],
            explicit_auth_flows: vec!["ALLOW_REFRESH_TOKEN_AUTH".to_owned()],
            prevent_user_existence_errors: text("LEGACY"),
            enable_token_revocation: Some(false),
            auth_session_validity: Some(5),
            last_modified_date: Some(START_MS + 60_000),
            ..client
        };
        assert_eq!(after, expected);
    }

    /// That the texts say "updating" is judgement, from those of CreateUserPoolClient.
    #[tokio::test]
    async fn what_a_client_may_not_be_is_refused_and_changes_nothing() {
        let world = test_world().await;
        let pool_id = new_pool(&world).await;
        let client = new_client_with(&world, &pool_id, Default::default()).await;
        for (input, text) in [
            (
                types::UpdateUserPoolClientRequest {
                    read_attributes: vec!["custom:none".to_owned()],
                    ..of(&client)
                },
                "Invalid read attributes specified while updating a client",
            ),
            (
                types::UpdateUserPoolClientRequest {
                    write_attributes: vec!["sub".to_owned()],
                    ..of(&client)
                },
                "Invalid write attributes specified while updating a client",
            ),
            (
                types::UpdateUserPoolClientRequest {
                    access_token_validity: Some(25),
                    ..of(&client)
                },
                "Invalid range for token validity.",
            ),
            (
                types::UpdateUserPoolClientRequest {
                    enable_propagate_additional_user_context_data: Some(true),
                    ..of(&client)
                },
                "Client Secret is required to set EnablePropagateAdditionalUserContextData as true",
            ),
        ] {
            let error = update_user_pool_client(&world, &signed_call(), input).await.unwrap_err();
            assert_eq!(error, errors::invalid_parameter(text));
        }
        assert_eq!(described(&world, &client).await, client);
    }

    #[tokio::test]
    async fn a_client_that_is_not_in_the_pool_is_not_found() {
        let world = test_world().await;
        let client = unusual_client(&world).await;
        let other_pool = new_pool(&world).await;
        let missing = types::UpdateUserPoolClientRequest { client_id: text("gone"), ..of(&client) };
        let elsewhere =
            types::UpdateUserPoolClientRequest { user_pool_id: Some(other_pool), ..of(&client) };
        for input in [missing, elsewhere] {
            let error = update_user_pool_client(&world, &signed_call(), input).await;
            assert_eq!(error, Err(client_not_found()));
        }
    }

    #[tokio::test]
    async fn a_pool_of_another_account_or_region_looks_like_none() {
        let world = test_world().await;
        let client = unusual_client(&world).await;
        let pool_id = client.user_pool_id.clone().unwrap();
        for call in
            [signed_call_of("444455556666", "us-east-1"), signed_call_of(ACCOUNT, "eu-west-1")]
        {
            let error = update_user_pool_client(&world, &call, of(&client)).await.unwrap_err();
            assert_eq!(error, errors::user_pool_not_found(&pool_id));
        }
        assert_eq!(described(&world, &client).await, client);
    }
}
