//! AdminInitiateAuth and AdminRespondToAuthChallenge: what differs from the operations of apps.

use super::*;
use crate::{
    auth::{admin_initiate_auth, admin_respond_to_auth_challenge},
    call::Call,
    testing::signed_call_of,
};

impl Fixture {
    async fn admin_initiate(
        &self,
        call: &Call,
        client_id: &str,
        flow: &str,
        parameters: &[(&str, &str)],
    ) -> Result<types::AdminInitiateAuthResponse, ApiError> {
        let request = types::AdminInitiateAuthRequest {
            user_pool_id: Some(self.pool_id.clone()),
            client_id: Some(client_id.to_owned()),
            auth_flow: Some(flow.to_owned()),
            auth_parameters: map(parameters),
            context_data: Some(types::ContextDataType {
                ip_address: Some("192.0.2.1".to_owned()),
                server_name: Some("app".to_owned()),
                server_path: Some("/".to_owned()),
                ..Default::default()
            }),
            ..Default::default()
        };
        declared("AdminInitiateAuth", admin_initiate_auth(&self.world, call, request).await)
    }

    async fn admin_client(&self, flows: &[&str]) -> String {
        self.client(types::CreateUserPoolClientRequest {
            explicit_auth_flows: strings(flows),
            ..Default::default()
        })
        .await
    }
}

const ADA: [(&str, &str); 2] = [("USERNAME", "ada"), ("PASSWORD", PASSWORD)];

#[tokio::test]
async fn a_server_signs_its_user_in_by_password_srp_and_refresh_token() {
    let pool = Fixture::new().await;
    pool.user("ada", &[]).await;
    let client = pool
        .admin_client(&[
            "ALLOW_ADMIN_USER_PASSWORD_AUTH",
            "ALLOW_USER_SRP_AUTH",
            "ALLOW_REFRESH_TOKEN_AUTH",
        ])
        .await;
    for flow in ["ADMIN_USER_PASSWORD_AUTH", "ADMIN_NO_SRP_AUTH"] {
        pool.store.take_trips();
        let answer = pool.admin_initiate(&signed_call(), &client, flow, &ADA).await.unwrap();
        assert_eq!(pool.store.take_trips(), trips(1, 1));
        let tokens = answer.authentication_result.unwrap();
        assert!(pool.get_user(access(&tokens)).await.is_ok());
        for flow in ["REFRESH_TOKEN_AUTH", "REFRESH_TOKEN"] {
            let token = [("REFRESH_TOKEN", refresh_token(&tokens))];
            let answer = pool.admin_initiate(&signed_call(), &client, flow, &token).await.unwrap();
            assert!(answer.authentication_result.unwrap().access_token.is_some());
        }
    }
    let session = client::Session::with_private(&[7; 32]).unwrap();
    let public = session.public_hex();
    let parameters = [("USERNAME", "ada"), ("SRP_A", &*public)];
    let begun = pool.admin_initiate(&signed_call(), &client, "USER_SRP_AUTH", &parameters).await;
    let begun = begun.unwrap();
    assert_eq!(begun.challenge_name.as_deref(), Some("PASSWORD_VERIFIER"));
    let challenge = Challenge { session, parameters: begun.challenge_parameters };
    let request = types::AdminRespondToAuthChallengeRequest {
        user_pool_id: Some(pool.pool_id.clone()),
        client_id: Some(client.clone()),
        challenge_name: Some("PASSWORD_VERIFIER".to_owned()),
        challenge_responses: pool.claim(&challenge, PASSWORD),
        ..Default::default()
    };
    let answer =
        admin_respond_to_auth_challenge(&pool.world, &signed_call(), request.clone()).await;
    let answer = declared("AdminRespondToAuthChallenge", answer).unwrap();
    assert!(answer.authentication_result.is_some());
    // S17: the block is used
    let again = admin_respond_to_auth_challenge(&pool.world, &signed_call(), request).await;
    assert_eq!(refusal(again), INCORRECT);
}

/// S19.
#[tokio::test]
async fn s19_flows_are_allowed_one_by_one_and_those_of_apps_are_not_a_server_s() {
    let pool = Fixture::new().await;
    pool.user("ada", &[]).await;
    let not_enabled = "InvalidParameterException: Auth flow not enabled for this client";
    let not_supported = "InvalidParameterException: Initiate Auth method not supported.";
    for flow in ["ADMIN_USER_PASSWORD_AUTH", "ADMIN_NO_SRP_AUTH"] {
        let call = signed_call();
        let answer = pool.admin_initiate(&call, &pool.client_id, flow, &ADA).await;
        assert_eq!(refusal(answer), not_enabled);
        assert_eq!(refusal(pool.initiate(&pool.client_id, flow, &ADA).await), not_supported);
    }
    let answer =
        pool.admin_initiate(&signed_call(), &pool.client_id, "USER_PASSWORD_AUTH", &ADA).await;
    assert_eq!(refusal(answer), not_supported);
    let legacy = pool.admin_client(&["ADMIN_NO_SRP_AUTH"]).await;
    let answer =
        pool.admin_initiate(&signed_call(), &legacy, "ADMIN_NO_SRP_AUTH", &ADA).await.unwrap();
    assert!(answer.authentication_result.is_some());
}

/// S54: another tenant's pool looks like none, and a client of another pool like none of this one.
#[tokio::test]
async fn s54_pools_of_others_and_clients_of_other_pools_are_not_found() {
    let pool = Fixture::new().await;
    pool.user("ada", &[]).await;
    let client = pool.admin_client(&["ALLOW_ADMIN_USER_PASSWORD_AUTH"]).await;
    let flow = "ADMIN_USER_PASSWORD_AUTH";
    let no_pool = format!("ResourceNotFoundException: User pool {} does not exist.", pool.pool_id);
    for call in
        [signed_call_of("444455556666", "us-east-1"), signed_call_of("111122223333", "eu-west-1")]
    {
        assert_eq!(refusal(pool.admin_initiate(&call, &client, flow, &ADA).await), no_pool);
        let request = types::AdminRespondToAuthChallengeRequest {
            user_pool_id: Some(pool.pool_id.clone()),
            client_id: Some(client.clone()),
            challenge_name: Some("NEW_PASSWORD_REQUIRED".to_owned()),
            ..Default::default()
        };
        let answer = admin_respond_to_auth_challenge(&pool.world, &call, request).await;
        assert_eq!(refusal(declared("AdminRespondToAuthChallenge", answer)), no_pool);
    }
    let other_pool = new_pool_with(&pool.test, types::CreateUserPoolRequest::default()).await;
    let request = types::CreateUserPoolClientRequest::default();
    let other = new_client_with(&pool.test, &other_pool, request).await.client_id.unwrap();
    assert_eq!(
        refusal(pool.admin_initiate(&signed_call(), &other, flow, &ADA).await),
        format!("ResourceNotFoundException: User pool client {other} does not exist.")
    );
}

/// S01, S08: a server's guesses count like an app's.
#[tokio::test]
async fn s08_a_server_s_wrong_passwords_count_too() {
    let pool = Fixture::new().await;
    pool.user("ada", &[]).await;
    let client = pool
        .client(types::CreateUserPoolClientRequest {
            explicit_auth_flows: strings(&["ALLOW_ADMIN_USER_PASSWORD_AUTH"]),
            prevent_user_existence_errors: Some("ENABLED".to_owned()),
            ..Default::default()
        })
        .await;
    for name in ["ada", "nobody"] {
        let wrong = [("USERNAME", name), ("PASSWORD", WRONG)];
        let flow = "ADMIN_USER_PASSWORD_AUTH";
        for _ in 0..5 {
            let answer = pool.admin_initiate(&signed_call(), &client, flow, &wrong).await;
            assert_eq!(refusal(answer), INCORRECT);
        }
        let answer = pool.admin_initiate(&signed_call(), &client, flow, &wrong).await;
        assert_eq!(refusal(answer), LOCKED, "{name}");
    }
}

#[tokio::test]
async fn a_server_sets_the_new_password_of_an_invited_user() {
    let pool = Fixture::new().await;
    pool.temporary_user("ada", &[]).await;
    let client = pool.admin_client(&["ALLOW_ADMIN_USER_PASSWORD_AUTH"]).await;
    let flow = "ADMIN_USER_PASSWORD_AUTH";
    let begun = pool.admin_initiate(&signed_call(), &client, flow, &ADA).await.unwrap();
    assert_eq!(begun.challenge_name.as_deref(), Some("NEW_PASSWORD_REQUIRED"));
    let request = types::AdminRespondToAuthChallengeRequest {
        user_pool_id: Some(pool.pool_id.clone()),
        client_id: Some(client),
        challenge_name: begun.challenge_name,
        session: begun.session,
        challenge_responses: map(&[("USERNAME", "ada"), ("NEW_PASSWORD", NEW)]),
        ..Default::default()
    };
    let answer = admin_respond_to_auth_challenge(&pool.world, &signed_call(), request).await;
    assert!(answer.unwrap().authentication_result.is_some());
}
