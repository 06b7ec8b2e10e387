//! AddUserPoolClientSecret.

use conclave_api::{ApiError, ExceptionName, types};
use conclave_crypto::{ids, secret::SecretString};

use super::{change::ChangeClient, secrets};
use crate::{
    call::Call,
    config::{ClientConfig, PoolConfig},
    errors,
    tx::{Tx, transact},
    world::World,
};

/// What is answered when the secret that is to be added is there. The text is judgement.
pub const ALREADY_HAS_SECRET: &str = "The app client already has this client secret.";

/// Gives a client another secret beside the one that it has, so that an app can go over to it. Both are
/// accepted. The answer shows a secret that was made, and not one that was given.
///
/// Source: API reference, `AddUserPoolClientSecret`; the texts are judgement.
///
/// # Errors
/// ResourceNotFoundException when the caller has no such pool, or the pool no such client;
/// InvalidParameterException for a client without secrets, or a secret that it has already;
/// LimitExceededException when it has as many as there may be.
pub async fn add_user_pool_client_secret(
    world: &World,
    call: &Call,
    input: types::AddUserPoolClientSecretRequest,
) -> Result<types::AddUserPoolClientSecretResponse, ApiError> {
    let given = input.client_secret.map(SecretString::new);
    let made = given.is_none().then(|| ids::client_secret(&*world.entropy));
    let secret = given.as_ref().or(made.as_ref());
    let client_id = input.client_id.unwrap_or_default();
    let pool_id = input.user_pool_id.unwrap_or_default();
    let max = world.settings.limits.secrets_per_client;
    let change = |tx: &Tx<'_>, pool: &PoolConfig, client: &ClientConfig| {
        let secret = secret.ok_or_else(|| errors::internal("there is no secret to add"))?;
        if !client.has_secret() {
            return Err(errors::invalid_parameter(
                "A client secret can only be added to an app client that has a client secret.",
            ));
        }
        if client.secrets.iter().any(|present| present.expose() == secret.expose()) {
            return Err(errors::invalid_parameter(ALREADY_HAS_SECRET));
        }
        if client.secrets.len() >= max {
            return Err(ApiError::new(
                ExceptionName::LimitExceededException,
                format!("An app client can have at most {max} client secrets."),
            ));
        }
        let mut record = client.record.clone();
        let secret = secrets::new_secret(tx, pool, &record.client_id, secret)?;
        let descriptor = secrets::describe(&secret);
        record.secrets.push(secret);
        Ok((record, descriptor))
    };
    let change = ChangeClient { call, pool_id: &pool_id, client_id: &client_id, change };
    let (_, mut descriptor) = transact(world, &change).await?;
    descriptor.client_secret_value = made.map(|secret| secret.expose().clone());
    Ok(types::AddUserPoolClientSecretResponse { client_secret_descriptor: Some(descriptor) })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{
        clients::{
            client_not_found, delete_user_pool_client_secret, describe_user_pool_client,
            list_user_pool_client_secrets,
        },
        testing::{
            ACCOUNT, START_MS, new_client_with, new_pool, signed_call, signed_call_of, test_world,
        },
    };

    const GIVEN: &str = "my_own_secret_with_24_characters";

    async fn confidential(world: &World) -> types::UserPoolClientType {
        let input = types::CreateUserPoolClientRequest {
            generate_secret: Some(true),
            ..Default::default()
        };
        new_client_with(world, &new_pool(world).await, input).await
    }

    fn request(
        client: &types::UserPoolClientType,
        secret: Option<&str>,
    ) -> types::AddUserPoolClientSecretRequest {
        types::AddUserPoolClientSecretRequest {
            user_pool_id: client.user_pool_id.clone(),
            client_id: client.client_id.clone(),
            client_secret: secret.map(str::to_owned),
        }
    }

    async fn list(
        world: &World,
        client: &types::UserPoolClientType,
    ) -> Vec<types::ClientSecretDescriptorType> {
        let input = types::ListUserPoolClientSecretsRequest {
            user_pool_id: client.user_pool_id.clone(),
            client_id: client.client_id.clone(),
            ..Default::default()
        };
        list_user_pool_client_secrets(world, &signed_call(), input).await.unwrap().client_secrets
    }

    async fn delete(
        world: &World,
        client: &types::UserPoolClientType,
        id: Option<String>,
    ) -> Result<(), ApiError> {
        let input = types::DeleteUserPoolClientSecretRequest {
            user_pool_id: client.user_pool_id.clone(),
            client_id: client.client_id.clone(),
            client_secret_id: id,
        };
        delete_user_pool_client_secret(world, &signed_call(), input).await.map(|_| ())
    }

    #[tokio::test]
    async fn a_secret_is_exchanged_in_three_steps() {
        let world = test_world().await;
        let client = confidential(&world).await;
        let first = list(&world, &client).await;
        assert_eq!(first.len(), 1);
        assert_eq!(first[0].client_secret_create_date, Some(START_MS));
        world.clock.advance(Duration::from_secs(60));
        let answer =
            add_user_pool_client_secret(&world, &signed_call(), request(&client, None)).await;
        let added = answer.unwrap().client_secret_descriptor.unwrap();
        let value = added.client_secret_value.clone().unwrap();
        assert_eq!(value.len(), 52);
        assert_eq!(added.client_secret_create_date, Some(START_MS + 60_000));
        let both = list(&world, &client).await;
        let shown = types::ClientSecretDescriptorType { client_secret_value: None, ..added };
        assert_eq!(both, [first[0].clone(), shown.clone()], "no list shows a value");
        delete(&world, &client, first[0].client_secret_id.clone()).await.unwrap();
        assert_eq!(list(&world, &client).await, [shown]);
        let input = types::DescribeUserPoolClientRequest {
            user_pool_id: client.user_pool_id.clone(),
            client_id: client.client_id.clone(),
        };
        let described = describe_user_pool_client(&world, &signed_call(), input).await.unwrap();
        assert_eq!(described.user_pool_client.unwrap().client_secret, Some(value));
    }

    #[tokio::test]
    async fn a_secret_that_was_given_is_not_answered() {
        let world = test_world().await;
        let client = confidential(&world).await;
        let input = request(&client, Some(GIVEN));
        let answer = add_user_pool_client_secret(&world, &signed_call(), input).await.unwrap();
        let added = answer.client_secret_descriptor.unwrap();
        assert_eq!(added.client_secret_value, None);
        assert!(added.client_secret_id.is_some());
    }

    #[tokio::test]
    async fn there_are_two_at_a_time_and_never_none() {
        let world = test_world().await;
        let client = confidential(&world).await;
        let only = list(&world, &client).await.remove(0).client_secret_id;
        let error = delete(&world, &client, only).await.unwrap_err();
        assert_eq!(error.code.as_str(), "InvalidParameterException");
        let call = signed_call();
        let (one, two) = tokio::join!(
            add_user_pool_client_secret(&world, &call, request(&client, None)),
            add_user_pool_client_secret(&world, &call, request(&client, None)),
        );
        let refused: Vec<_> = [one, two].into_iter().filter_map(Result::err).collect();
        assert_eq!(refused.len(), 1);
        assert_eq!(refused[0].code.as_str(), "LimitExceededException");
        assert_eq!(list(&world, &client).await.len(), 2);
    }

    #[tokio::test]
    async fn the_same_secret_is_not_added_twice() {
        let world = test_world().await;
        let client = confidential(&world).await;
        let input = request(&client, client.client_secret.as_deref());
        let error = add_user_pool_client_secret(&world, &signed_call(), input).await.unwrap_err();
        assert_eq!(error.code.as_str(), "InvalidParameterException");
        assert_eq!(list(&world, &client).await.len(), 1);
    }

    #[tokio::test]
    async fn a_public_client_stays_public() {
        let world = test_world().await;
        let client = new_client_with(&world, &new_pool(&world).await, Default::default()).await;
        let input = request(&client, Some(GIVEN));
        let error = add_user_pool_client_secret(&world, &signed_call(), input).await.unwrap_err();
        assert_eq!(error.code.as_str(), "InvalidParameterException");
        assert_eq!(list(&world, &client).await, []);
    }

    #[tokio::test]
    async fn what_is_not_there_is_not_found() {
        let world = test_world().await;
        let client = confidential(&world).await;
        let missing =
            types::UserPoolClientType { client_id: Some("gone".to_owned()), ..client.clone() };
        let error =
            add_user_pool_client_secret(&world, &signed_call(), request(&missing, None)).await;
        assert_eq!(error, Err(client_not_found()));
        let error = delete(&world, &client, Some("none".to_owned())).await.unwrap_err();
        assert_eq!(error.code.as_str(), "ResourceNotFoundException");
    }

    #[tokio::test]
    async fn a_pool_of_another_account_or_region_looks_like_none() {
        let world = test_world().await;
        let client = confidential(&world).await;
        let expected = errors::user_pool_not_found(client.user_pool_id.as_deref().unwrap());
        for call in
            [signed_call_of("444455556666", "us-east-1"), signed_call_of(ACCOUNT, "eu-west-1")]
        {
            let add = add_user_pool_client_secret(&world, &call, request(&client, None)).await;
            assert_eq!(add, Err(expected.clone()));
            let input = types::ListUserPoolClientSecretsRequest {
                user_pool_id: client.user_pool_id.clone(),
                client_id: client.client_id.clone(),
                ..Default::default()
            };
            let listed = list_user_pool_client_secrets(&world, &call, input).await;
            assert_eq!(listed, Err(expected.clone()));
            let input = types::DeleteUserPoolClientSecretRequest {
                user_pool_id: client.user_pool_id.clone(),
                client_id: client.client_id.clone(),
                client_secret_id: list(&world, &client).await[0].client_secret_id.clone(),
            };
            let deleted = delete_user_pool_client_secret(&world, &call, input).await;
            assert_eq!(deleted, Err(expected.clone()));
        }
        assert_eq!(list(&world, &client).await.len(), 1);
    }
}
