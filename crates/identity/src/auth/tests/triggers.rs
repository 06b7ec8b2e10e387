//! PreAuthentication, PostAuthentication and PreTokenGeneration, on every path that leads to tokens.

use conclave_outbound::InvokeError;
use serde_json::json;

use super::*;

const ARN: &str = "arn:aws:lambda:us-east-1:111122223333:function:";
const PRE: &str = "PreAuthentication_Authentication";
const POST: &str = "PostAuthentication_Authentication";
const TOKENS: &str = "TokenGeneration_Authentication";

fn functions(version: Option<&str>) -> types::LambdaConfigType {
    let arn = |name: &str| Some(format!("{ARN}{name}"));
    types::LambdaConfigType {
        pre_authentication: arn("before"),
        post_authentication: arn("after"),
        pre_token_generation: arn("tokens"),
        pre_token_generation_config: version.map(|version| {
            types::PreTokenGenerationVersionConfigType {
                lambda_version: Some(version.to_owned()),
                lambda_arn: arn("tokens"),
            }
        }),
        ..Default::default()
    }
}

async fn pool(version: Option<&str>) -> Fixture {
    Fixture::with(types::CreateUserPoolRequest {
        lambda_config: Some(functions(version)),
        ..Default::default()
    })
    .await
}

fn fails(source: &'static str) -> impl Fn(&Value) -> Result<Value, InvokeError> + Send + Sync {
    move |event| match event["triggerSource"] == source {
        true => Err(InvokeError::Failed("not today".to_owned())),
        false => Ok(event["response"].clone()),
    }
}

#[tokio::test]
async fn every_sign_in_asks_before_and_tells_after() {
    let pool = pool(None).await;
    let sub = pool.user("ada", &[("email", "ada@example.com")]).await;
    pool.functions.take();
    let tokens = pool.tokens("ada").await;
    let events = pool.functions.take();
    let sources: Vec<_> = events.iter().map(|event| event["triggerSource"].clone()).collect();
    assert_eq!(sources, [PRE, POST, TOKENS]);
    let shown = json!({
        "sub": sub, "cognito:user_status": "CONFIRMED", "email": "ada@example.com",
    });
    assert_eq!(events[0]["request"], json!({"userAttributes": shown, "validationData": null}));
    assert_eq!(events[1]["request"], json!({"userAttributes": shown, "newDeviceUsed": false}));
    let groups = json!({"groupsToOverride": [], "iamRolesToOverride": [], "preferredRole": null});
    assert_eq!(
        events[2]["request"],
        json!({"userAttributes": shown, "groupConfiguration": groups})
    );
    assert_eq!(events[2]["version"], "1");
    pool.refresh(&pool.client_id, refresh_token(&tokens)).await.unwrap();
    assert_eq!(pool.functions.sources(), ["TokenGeneration_RefreshTokens"]);
    pool.srp(&pool.client_id, "ada", PASSWORD).await.unwrap();
    assert_eq!(pool.functions.sources(), [PRE, POST, TOKENS]);
}

#[tokio::test]
async fn a_new_password_says_what_led_to_tokens() {
    let pool = pool(None).await;
    pool.temporary_user("ada", &[]).await;
    pool.functions.take();
    let session = pool.new_password_session(&pool.client_id, "ada").await;
    assert_eq!(pool.functions.sources(), [PRE]);
    let request = types::RespondToAuthChallengeRequest {
        client_id: Some(pool.client_id.clone()),
        challenge_name: Some("NEW_PASSWORD_REQUIRED".to_owned()),
        session: Some(session),
        challenge_responses: map(&[("USERNAME", "ada"), ("NEW_PASSWORD", NEW)]),
        client_metadata: map(&[("from", "app")]),
        ..Default::default()
    };
    respond_to_auth_challenge(&pool.world, &unsigned_call(), request).await.unwrap();
    let events = pool.functions.take();
    assert_eq!(events[1]["triggerSource"], "TokenGeneration_NewPasswordChallenge");
    for event in events {
        assert_eq!(event["request"]["clientMetadata"], json!({"from": "app"}));
        assert_eq!(event["request"]["userAttributes"]["cognito:user_status"], "CONFIRMED");
    }
}

#[tokio::test]
async fn whoever_is_refused_before_is_not_even_asked_for_the_password() {
    let pool = pool(None).await;
    let sub = pool.user("ada", &[]).await;
    pool.functions.answer(fails(PRE));
    let refused = "UserLambdaValidationException: PreAuthentication failed with error not today.";
    for password in [PASSWORD, WRONG] {
        assert_eq!(refusal(pool.sign_in(&pool.client_id, "ada", password).await), refused);
    }
    let public = client::Session::with_private(&[7; 32]).unwrap().public_hex();
    let parameters = [("USERNAME", "ada"), ("SRP_A", public.as_str())];
    let started = pool.initiate(&pool.client_id, "USER_SRP_AUTH", &parameters).await;
    assert_eq!(refusal(started), refused);
    assert!(pool.sessions(&sub).await.is_empty());
    // a name that no user has is asked about where the client hides that, and only there
    pool.functions.take();
    assert!(
        refusal(pool.sign_in(&pool.client_id, "nobody", WRONG).await).starts_with("UserNotFound")
    );
    assert!(pool.functions.take().is_empty());
    let hiding = pool.hiding().await;
    pool.functions.take();
    assert_eq!(refusal(pool.sign_in(&hiding, "nobody", WRONG).await), refused);
    let event = pool.functions.take().remove(0);
    assert_eq!(
        event["request"],
        json!({"userAttributes": {}, "validationData": null, "userNotFound": true})
    );
}

#[tokio::test]
async fn what_an_app_sends_along_is_told_before_and_not_after() {
    let pool = pool(None).await;
    pool.user("ada", &[]).await;
    pool.functions.take();
    let request = types::InitiateAuthRequest {
        auth_flow: Some("USER_PASSWORD_AUTH".to_owned()),
        auth_parameters: map(&[("USERNAME", "ada"), ("PASSWORD", PASSWORD)]),
        client_id: Some(pool.client_id.clone()),
        client_metadata: map(&[("from", "app")]),
        ..Default::default()
    };
    initiate_auth(&pool.world, &unsigned_call(), request).await.unwrap();
    let events = pool.functions.take();
    assert_eq!(events[0]["request"]["validationData"], json!({"from": "app"}));
    assert!(events[1..].iter().all(|event| event["request"].get("clientMetadata").is_none()));
}

#[tokio::test]
async fn nobody_gets_tokens_whom_a_function_refuses_afterwards() {
    let pool = pool(None).await;
    pool.user("ada", &[]).await;
    for (source, trigger) in [(POST, "PostAuthentication"), (TOKENS, "PreTokenGeneration")] {
        pool.functions.answer(fails(source));
        let refused =
            format!("UserLambdaValidationException: {trigger} failed with error not today.");
        assert_eq!(refusal(pool.sign_in(&pool.client_id, "ada", PASSWORD).await), refused);
        assert_eq!(refusal(pool.srp(&pool.client_id, "ada", PASSWORD).await), refused);
    }
}

#[tokio::test]
async fn a_locked_user_is_no_work_for_functions() {
    let pool = pool(None).await;
    pool.user("ada", &[]).await;
    for _ in 0..5 {
        let _ = pool.sign_in(&pool.client_id, "ada", WRONG).await;
    }
    pool.functions.take();
    assert_eq!(refusal(pool.sign_in(&pool.client_id, "ada", PASSWORD).await), LOCKED);
    assert!(pool.functions.take().is_empty());
}

#[tokio::test]
async fn s55_functions_change_what_tokens_say_and_not_whose_they_are() {
    let pool = pool(Some("V2_0")).await;
    let sub = pool.user("ada", &[]).await;
    pool.functions.answer(|event| {
        let evil = json!({"tenant": "acme", "sub": "evil", "iss": "evil", "token_use": "evil", "aud": "evil"});
        Ok(match event["triggerSource"].as_str().unwrap().starts_with("TokenGeneration") {
            true => json!({"claimsAndScopeOverrideDetails": {
                "idTokenGeneration": {"claimsToAddOrOverride": evil, "claimsToSuppress": ["sub"]},
                "accessTokenGeneration": {
                    "claimsToAddOrOverride": evil, "claimsToSuppress": ["client_id"],
                    "scopesToAdd": ["orders/read"],
                },
                "groupOverrideDetails": {"groupsToOverride": ["staff"]},
            }}),
            false => json!({}),
        })
    });
    let tokens = pool.tokens("ada").await;
    let renewed = pool.refresh(&pool.client_id, refresh_token(&tokens)).await.unwrap();
    for tokens in [&tokens, &renewed] {
        for (token, token_use) in [(id(tokens), "id"), (access(tokens), "access")] {
            let claims = claims(token);
            assert_eq!(claims["tenant"], "acme");
            assert_eq!(claims["sub"], sub.as_str());
            assert_eq!(claims["token_use"], token_use);
            assert_eq!(claims["cognito:groups"], json!(["staff"]));
            assert_ne!(claims["iss"], "evil");
        }
        assert_eq!(claims(id(tokens))["aud"], pool.client_id.as_str());
        assert_eq!(claims(access(tokens))["client_id"], pool.client_id.as_str());
        assert_eq!(claims(access(tokens))["scope"], "aws.cognito.signin.user.admin orders/read");
        pool.get_user(access(tokens)).await.unwrap();
    }
    let event = pool.functions.take().pop().unwrap();
    assert_eq!(event["version"], "2");
    assert_eq!(event["request"]["scopes"], json!(["aws.cognito.signin.user.admin"]));
}

/// A function takes the scope away by which users act for themselves.
#[tokio::test]
async fn s30_a_token_without_its_scope_is_no_token_of_the_user_pool() {
    let pool = pool(Some("V3_0")).await;
    pool.user("ada", &[]).await;
    pool.functions.answer(|_| {
        Ok(json!({"claimsAndScopeOverrideDetails": {"accessTokenGeneration": {
            "scopesToSuppress": ["aws.cognito.signin.user.admin"],
        }}}))
    });
    let tokens = pool.tokens("ada").await;
    assert_eq!(
        refusal(pool.get_user(access(&tokens)).await),
        "NotAuthorizedException: Access Token does not have required scopes"
    );
}

#[tokio::test]
async fn a_refresh_token_is_not_replaced_where_the_function_fails() {
    let pool = pool(None).await;
    pool.user("ada", &[]).await;
    let rotating = pool
        .client(types::CreateUserPoolClientRequest {
            explicit_auth_flows: strings(&["ALLOW_USER_PASSWORD_AUTH"]),
            refresh_token_rotation: Some(types::RefreshTokenRotationType {
                feature: Some("ENABLED".to_owned()),
                retry_grace_period_seconds: Some(0),
            }),
            ..Default::default()
        })
        .await;
    let signed_in = pool.sign_in(&rotating, "ada", PASSWORD).await.unwrap();
    let tokens = signed_in.authentication_result.unwrap();
    pool.functions.answer(fails("TokenGeneration_RefreshTokens"));
    assert_eq!(
        refusal(pool.get_tokens(&rotating, refresh_token(&tokens)).await),
        "UserLambdaValidationException: PreTokenGeneration failed with error not today."
    );
    pool.functions.answer(|event| Ok(event["response"].clone()));
    let renewed = pool.get_tokens(&rotating, refresh_token(&tokens)).await.unwrap();
    assert_ne!(refresh_token(&renewed), refresh_token(&tokens));
}

#[tokio::test]
async fn a_request_that_is_decided_again_asks_once() {
    let pool = pool(None).await;
    let sub = pool.user("ada", &[]).await;
    pool.functions.take();
    let other_sub = sub.clone();
    pool.meanwhile(move |world, pool_id| async move {
        edit_user(&world, &pool_id, &other_sub, |user| user.modified_ms += 1).await;
    });
    pool.tokens("ada").await;
    assert_eq!(pool.functions.sources(), [PRE, POST, TOKENS]);
}

#[tokio::test]
async fn a_function_that_cannot_be_called_lets_nobody_in() {
    let pool = pool(None).await;
    pool.user("ada", &[]).await;
    let unexpected = |why: &str| {
        format!(
            "UnexpectedLambdaException: PreAuthentication invocation failed due to error {why}."
        )
    };
    for (error, expected) in [
        (InvokeError::TimedOut, unexpected("Socket timeout while invoking Lambda function")),
        (
            InvokeError::Refused("AccessDeniedException".to_owned()),
            unexpected("AccessDeniedException"),
        ),
        (
            InvokeError::NotConfigured,
            unexpected("no endpoint is configured for the function"),
        ),
        (InvokeError::NotAllowed, unexpected("calls may not go to its address")),
        (InvokeError::Unreachable("x"), unexpected("the function cannot be reached")),
        (
            InvokeError::TooLong,
            "InvalidLambdaResponseException: Invalid lambda function output : The response is too long"
                .to_owned(),
        ),
        (InvokeError::Overloaded, "TooManyRequestsException: Too many requests".to_owned()),
    ] {
        pool.functions.answer(move |_| Err(error.clone()));
        assert_eq!(refusal(pool.sign_in(&pool.client_id, "ada", PASSWORD).await), expected);
    }
}
