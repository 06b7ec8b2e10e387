//! UserMigration: who is known elsewhere comes along at the first sign-in, or by way of a reset.

use conclave_outbound::InvokeError;
use serde_json::json;

use super::*;

const ARN: &str = "arn:aws:lambda:us-east-1:111122223333:function:migrate";

/// A pool beside another directory, in which ada has [`PASSWORD`].
async fn beside(hides: bool) -> (Fixture, String) {
    let pool = Fixture::with(types::CreateUserPoolRequest {
        lambda_config: Some(types::LambdaConfigType {
            user_migration: Some(ARN.to_owned()),
            ..Default::default()
        }),
        ..Default::default()
    })
    .await;
    let client = pool
        .client(types::CreateUserPoolClientRequest {
            explicit_auth_flows: strings(&["ALLOW_USER_PASSWORD_AUTH", "ALLOW_USER_SRP_AUTH"]),
            prevent_user_existence_errors: hides.then(|| "ENABLED".to_owned()),
            ..Default::default()
        })
        .await;
    pool.functions.answer(|event| {
        let is_ada = event["userName"] == "ada";
        let resets = event["triggerSource"] == "UserMigration_ForgotPassword";
        if !is_ada || !(resets || event["request"]["password"] == PASSWORD) {
            return Err(InvokeError::Failed("Bad password".to_owned()));
        }
        Ok(json!({
            "userAttributes": {"email": "ada@example.com", "email_verified": "true"},
            "finalUserStatus": "CONFIRMED",
            "messageAction": "SUPPRESS",
        }))
    });
    pool.functions.take();
    (pool, client)
}

async fn user(pool: &Fixture, name: &str) -> Option<types::AdminGetUserResponse> {
    let request = types::AdminGetUserRequest {
        user_pool_id: Some(pool.pool_id.clone()),
        username: Some(name.to_owned()),
    };
    users::admin_get_user(&pool.test, &signed_call(), request).await.ok()
}

async fn forget(
    pool: &Fixture,
    client: &str,
    name: &str,
) -> Result<types::ForgotPasswordResponse, ApiError> {
    let request = types::ForgotPasswordRequest {
        client_id: Some(client.to_owned()),
        username: Some(name.to_owned()),
        ..Default::default()
    };
    declared("ForgotPassword", users::forgot_password(&pool.world, &unsigned_call(), request).await)
}

#[tokio::test]
async fn who_is_known_elsewhere_comes_along_with_the_password() {
    for hides in [false, true] {
        let (pool, client) = beside(hides).await;
        let told = pool.sign_in(&client, "ada", PASSWORD).await.unwrap();
        assert!(told.authentication_result.is_some());
        let event = pool.functions.take().remove(0);
        assert_eq!(event["triggerSource"], "UserMigration_Authentication");
        assert_eq!(event["userName"], "ada");
        assert_eq!(event["request"], json!({"password": PASSWORD, "validationData": null}));
        let found = user(&pool, "ada").await.unwrap();
        assert_eq!(found.user_status.as_deref(), Some("CONFIRMED"));
        assert!(pool.outbox.take().is_empty());
        // from now on it is a user like others, by SRP too
        assert!(pool.srp(&client, "ada", PASSWORD).await.is_ok());
        assert_eq!(refusal(pool.sign_in(&client, "ada", WRONG).await), INCORRECT);
        assert!(pool.functions.take().is_empty());
    }
}

#[tokio::test]
async fn who_is_refused_elsewhere_is_not_made() {
    let (pool, client) = beside(false).await;
    let unknown = format!("UserNotFoundException: Exception migrating user in app client {client}");
    for (name, password) in [("ada", WRONG), ("nobody", PASSWORD)] {
        assert_eq!(refusal(pool.sign_in(&client, name, password).await), unknown);
        assert!(user(&pool, name).await.is_none());
    }
    // guesses at passwords of the other directory count
    for _ in 0..4 {
        assert_eq!(refusal(pool.sign_in(&client, "ada", WRONG).await), unknown);
    }
    pool.functions.take();
    assert_eq!(refusal(pool.sign_in(&client, "ada", PASSWORD).await), LOCKED);
    assert!(pool.functions.take().is_empty());

    let (pool, client) = beside(true).await;
    for (name, password) in [("ada", WRONG), ("nobody", PASSWORD)] {
        assert_eq!(refusal(pool.sign_in(&client, name, password).await), INCORRECT);
        assert!(user(&pool, name).await.is_none());
    }
    for _ in 0..4 {
        assert_eq!(refusal(pool.sign_in(&client, "ada", WRONG).await), INCORRECT);
    }
    assert_eq!(refusal(pool.sign_in(&client, "ada", PASSWORD).await), LOCKED);
}

#[tokio::test]
async fn an_empty_answer_is_that_there_is_nobody() {
    for (hides, expected) in
        [(false, "UserNotFoundException: User does not exist."), (true, INCORRECT)]
    {
        let (pool, client) = beside(hides).await;
        pool.functions.answer(|event| Ok(event["response"].clone()));
        assert_eq!(refusal(pool.sign_in(&client, "ada", PASSWORD).await), expected);
        assert!(user(&pool, "ada").await.is_none());
    }
}

#[tokio::test]
async fn a_function_that_cannot_be_called_makes_nobody() {
    let (pool, client) = beside(true).await;
    pool.functions.answer(|_| Err(InvokeError::TimedOut));
    assert_eq!(
        refusal(pool.sign_in(&client, "ada", PASSWORD).await),
        "UnexpectedLambdaException: UserMigration invocation failed due to error Socket timeout while \
         invoking Lambda function."
    );
    assert!(user(&pool, "ada").await.is_none());
}

#[tokio::test]
async fn who_has_to_set_a_password_is_told_so() {
    let (pool, client) = beside(false).await;
    pool.functions.answer(|_| Ok(json!({"userAttributes": {"email": "ada@example.com"}})));
    let reset = "PasswordResetRequiredException: Password reset required for the user";
    assert_eq!(refusal(pool.sign_in(&client, "ada", PASSWORD).await), reset);
    let found = user(&pool, "ada").await.unwrap();
    assert_eq!(found.user_status.as_deref(), Some("RESET_REQUIRED"));
}

#[tokio::test]
async fn a_reset_brings_a_user_along_too() {
    let (pool, client) = beside(false).await;
    forget(&pool, &client, "ada").await.unwrap();
    let event = pool.functions.take().remove(0);
    assert_eq!(event["triggerSource"], "UserMigration_ForgotPassword");
    assert_eq!(event["request"]["password"], Value::Null);
    let request = types::ConfirmForgotPasswordRequest {
        client_id: Some(client.clone()),
        username: Some("ada".to_owned()),
        confirmation_code: Some(pool.sent_code()),
        password: Some(NEW.to_owned()),
        ..Default::default()
    };
    users::confirm_forgot_password(&pool.world, &unsigned_call(), request).await.unwrap();
    assert!(pool.sign_in(&client, "ada", NEW).await.is_ok());
    assert_eq!(
        refusal(forget(&pool, &client, "nobody").await),
        format!("UserNotFoundException: Exception migrating user in app client {client}")
    );
}

#[tokio::test]
async fn of_two_first_sign_ins_at_once_both_are_one_user() {
    let (pool, client) = beside(false).await;
    let (a, b) = tokio::join!(
        pool.sign_in(&client, "ada", PASSWORD),
        pool.sign_in(&client, "ada", PASSWORD)
    );
    let subs = [a, b]
        .map(|told| claims(access(&told.unwrap().authentication_result.unwrap()))["sub"].clone());
    assert_eq!(subs[0], subs[1]);
}
