//! One user's life through the AWS SDK for Rust.

use aws_sdk_cognitoidentityprovider::types::{
    AttributeType, AuthFlowType, ChallengeNameType, ExplicitAuthFlowsType, MessageActionType,
    UserStatusType,
};
use conclave_rust_sdk_tests::client;

const PASSWORD: &str = "Correct-horse-7";
const NEW_PASSWORD: &str = "Battery-staple-8";

type Failure = Box<dyn std::error::Error>;

async fn pool_and_client() -> Result<(String, String), Failure> {
    let pool = client().create_user_pool().pool_name("rust").send().await?;
    let pool_id = pool.user_pool().and_then(|pool| pool.id()).ok_or("no pool id")?.to_owned();
    let app = client()
        .create_user_pool_client()
        .user_pool_id(&pool_id)
        .client_name("rust")
        .explicit_auth_flows(ExplicitAuthFlowsType::AllowUserPasswordAuth)
        .explicit_auth_flows(ExplicitAuthFlowsType::AllowRefreshTokenAuth)
        .send()
        .await?;
    let client_id =
        app.user_pool_client().and_then(|app| app.client_id()).ok_or("no client id")?.to_owned();
    Ok((pool_id, client_id))
}

#[tokio::test]
async fn a_user_signs_up_and_in() -> Result<(), Failure> {
    let (pool_id, client_id) = pool_and_client().await?;
    let email = AttributeType::builder().name("email").value("ada@example.com").build()?;
    let signed_up = client()
        .sign_up()
        .client_id(&client_id)
        .username("ada")
        .password(PASSWORD)
        .user_attributes(email)
        .send()
        .await?;
    assert!(!signed_up.user_confirmed());
    client().admin_confirm_sign_up().user_pool_id(&pool_id).username("ada").send().await?;
    let signed_in = client()
        .initiate_auth()
        .client_id(&client_id)
        .auth_flow(AuthFlowType::UserPasswordAuth)
        .auth_parameters("USERNAME", "ada")
        .auth_parameters("PASSWORD", PASSWORD)
        .send()
        .await?;
    let tokens = signed_in.authentication_result().ok_or("no tokens")?;
    let user =
        client().get_user().access_token(tokens.access_token().unwrap_or_default()).send().await?;
    assert_eq!(user.username(), "ada");
    let refreshed = client()
        .initiate_auth()
        .client_id(&client_id)
        .auth_flow(AuthFlowType::RefreshTokenAuth)
        .auth_parameters("REFRESH_TOKEN", tokens.refresh_token().unwrap_or_default())
        .send()
        .await?;
    assert!(refreshed.authentication_result().is_some_and(|tokens| tokens.id_token().is_some()));
    Ok(())
}

#[tokio::test]
async fn an_invited_user_sets_a_new_password() -> Result<(), Failure> {
    let (pool_id, client_id) = pool_and_client().await?;
    let created = client()
        .admin_create_user()
        .user_pool_id(&pool_id)
        .username("grace")
        .temporary_password(PASSWORD)
        .message_action(MessageActionType::Suppress)
        .send()
        .await?;
    let status = created.user().and_then(|user| user.user_status());
    assert_eq!(status, Some(&UserStatusType::ForceChangePassword));
    let challenge = client()
        .initiate_auth()
        .client_id(&client_id)
        .auth_flow(AuthFlowType::UserPasswordAuth)
        .auth_parameters("USERNAME", "grace")
        .auth_parameters("PASSWORD", PASSWORD)
        .send()
        .await?;
    assert_eq!(challenge.challenge_name(), Some(&ChallengeNameType::NewPasswordRequired));
    let answered = client()
        .respond_to_auth_challenge()
        .client_id(&client_id)
        .challenge_name(ChallengeNameType::NewPasswordRequired)
        .set_session(challenge.session().map(str::to_owned))
        .challenge_responses("USERNAME", "grace")
        .challenge_responses("NEW_PASSWORD", NEW_PASSWORD)
        .send()
        .await?;
    assert!(answered.authentication_result().is_some());
    Ok(())
}

#[tokio::test]
async fn errors_are_the_models() -> Result<(), Failure> {
    let (pool_id, _) = pool_and_client().await?;
    let error = client().admin_get_user().user_pool_id(&pool_id).username("nobody").send().await;
    let error = error.expect_err("there is nobody").into_service_error();
    assert!(error.is_user_not_found_exception(), "{error}");
    assert_eq!(error.meta().message(), Some("User does not exist."));
    Ok(())
}

#[tokio::test]
async fn pages_are_followed() -> Result<(), Failure> {
    let (pool_id, _) = pool_and_client().await?;
    for i in 0..5 {
        let user =
            client().admin_create_user().user_pool_id(&pool_id).username(format!("user-{i}"));
        user.message_action(MessageActionType::Suppress).send().await?;
    }
    let pages =
        client().list_users().user_pool_id(&pool_id).limit(2).into_paginator().items().send();
    let users = pages.collect::<Result<Vec<_>, _>>().await?;
    assert_eq!(users.len(), 5);
    client().delete_user_pool().user_pool_id(&pool_id).send().await?;
    Ok(())
}
