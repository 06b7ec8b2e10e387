//! What a device is worth where a second factor is asked for: `security.md` S50.

use super::*;
use crate::auth::tests::mfa::App;

const APP: &str = "SOFTWARE_TOKEN_MFA";

/// A pool that asks as `configuration` says, a user with an authenticator app, and a device of the user's
/// that is remembered. Whether it stands for the app is what `suffices` says.
async fn careful(configuration: &str, suffices: bool) -> (Fixture, App, Device) {
    let pool = tracking_with(false, suffices).await;
    pool.set_mfa("OPTIONAL", false, true, false).await;
    let (_, app) = pool.user_with_app("ada", &[]).await;
    pool.set_mfa(configuration, false, true, false).await;
    let tokens = with_app(&pool, &app, &pool.session_of("ada", APP).await).await;
    let device = new_device(&tokens);
    pool.confirm(access(&tokens), &device).await.expect("confirms");
    // the code is used
    pool.advance(60);
    (pool, app, device)
}

async fn with_app(pool: &Fixture, app: &App, session: &str) -> types::AuthenticationResultType {
    let response = pool.answer_app("ada", session, &app.code(pool)).await.expect("goes on");
    response.authentication_result.expect("answers tokens")
}

/// What follows the password on a device.
async fn after_password(pool: &Fixture, key: &str) -> (String, String) {
    let response = pool.sign_in_on("ada", PASSWORD, key).await.expect("goes on");
    assert!(response.authentication_result.is_none(), "tokens without a second factor");
    (response.challenge_name.expect("is challenged"), response.session.expect("has a session"))
}

#[tokio::test]
async fn s50_a_device_stands_for_the_second_factor_once_it_has_proved_itself() {
    for configuration in ["OPTIONAL", "ON"] {
        let (pool, app, device) = careful(configuration, true).await;
        let (challenge, session) = after_password(&pool, &device.key).await;
        assert_eq!(challenge, "DEVICE_SRP_AUTH");
        let impostor = Device { password: "guessed".to_owned(), ..device.clone() };
        let next = pool.answer_device_srp(&session, "ada", &device.key).await.unwrap();
        assert_eq!(
            refusal(pool.answer_device(pool.device_claim(&next, &impostor)).await),
            INCORRECT
        );
        let tokens = pool.on_device("ada", &device).await.unwrap();
        assert_eq!(tokens.new_device_metadata, None);

        // without the device, and with one that does not count
        assert_eq!(pool.challenged("ada").await.challenge_name.as_deref(), Some(APP));
        pool.set_remembered(access(&tokens), &device.key, "not_remembered").await.unwrap();
        let (challenge, session) = after_password(&pool, &device.key).await;
        assert_eq!(challenge, APP);
        let tokens = with_app(&pool, &app, &session).await;
        assert_eq!(tokens.new_device_metadata, None);
    }
}

#[tokio::test]
async fn s50_where_it_does_not_stand_for_it_the_device_comes_after_the_second_factor() {
    for configuration in ["OPTIONAL", "ON"] {
        let (pool, app, device) = careful(configuration, false).await;
        let (challenge, session) = after_password(&pool, &device.key).await;
        assert_eq!(challenge, APP);
        let response = pool.answer_app("ada", &session, &app.code(&pool)).await.unwrap();
        assert_eq!(response.challenge_name.as_deref(), Some("DEVICE_SRP_AUTH"));
        assert!(response.authentication_result.is_none());
        let session = response.session.unwrap();
        let next = pool.answer_device_srp(&session, "ada", &device.key).await.unwrap();
        let tokens = pool.answer_device(pool.device_claim(&next, &device)).await.unwrap();
        assert_eq!(claims(access(&tokens))["device_key"], device.key.as_str());
    }
}

/// The device's challenge was opened when nothing else was asked for.
#[tokio::test]
async fn s50_a_second_factor_that_is_switched_on_between_the_steps_is_asked_for() {
    for suffices in [false, true] {
        let pool = tracking_with(false, suffices).await;
        pool.set_mfa("OPTIONAL", false, true, false).await;
        pool.user("ada", &[]).await;
        let (device, tokens) = pool.device("ada").await;
        let session = pool.device_session("ada", &device).await;
        let next = pool.answer_device_srp(&session, "ada", &device.key).await.unwrap();
        pool.set_up_app(access(&tokens)).await;
        pool.prefer("ada", [None, Some(true), None]).await.unwrap();
        let answer = pool.answer_device(pool.device_claim(&next, &device)).await;
        if suffices {
            assert!(answer.is_ok());
        } else {
            assert_eq!(refusal(answer), INVALID_SESSION);
        }
    }
}

#[tokio::test]
async fn a_device_spares_nobody_from_setting_a_second_factor_up() {
    let pool = tracking_with(false, true).await;
    pool.user("ada", &[]).await;
    let (device, _) = pool.device("ada").await;
    pool.set_mfa("ON", false, true, false).await;
    let (challenge, _) = after_password(&pool, &device.key).await;
    assert_eq!(challenge, "MFA_SETUP");
}

#[tokio::test]
async fn a_device_proves_itself_after_a_new_password_too() {
    let pool = tracking_with(false, true).await;
    pool.user("ada", &[]).await;
    let (device, _) = pool.device("ada").await;
    pool.advance(1);
    let request = types::AdminSetUserPasswordRequest {
        user_pool_id: Some(pool.pool_id.clone()),
        username: Some("ada".to_owned()),
        password: Some(PASSWORD.to_owned()),
        permanent: Some(false),
    };
    users::admin_set_user_password(&pool.test, &signed_call(), request).await.unwrap();
    let (challenge, session) = after_password(&pool, &device.key).await;
    assert_eq!(challenge, "NEW_PASSWORD_REQUIRED");
    let responses = [("USERNAME", "ada"), ("NEW_PASSWORD", NEW)];
    let response = pool.answer_new_password(&session, &responses).await.unwrap();
    assert_eq!(response.challenge_name.as_deref(), Some("DEVICE_SRP_AUTH"));
    let session = response.session.unwrap();
    let next = pool.answer_device_srp(&session, "ada", &device.key).await.unwrap();
    assert!(pool.answer_device(pool.device_claim(&next, &device)).await.is_ok());
}

#[tokio::test]
async fn a_choice_of_the_password_names_the_device_too() {
    let pool = tracking_with(false, true).await;
    let client = pool
        .client(types::CreateUserPoolClientRequest {
            explicit_auth_flows: strings(&["ALLOW_USER_AUTH"]),
            ..Default::default()
        })
        .await;
    pool.user("ada", &[]).await;
    let (device, _) = pool.device("ada").await;
    let parameters = [
        ("USERNAME", "ada"),
        ("PASSWORD", PASSWORD),
        ("PREFERRED_CHALLENGE", "PASSWORD"),
        ("DEVICE_KEY", device.key.as_str()),
    ];
    let response = pool.initiate(&client, "USER_AUTH", &parameters).await.unwrap();
    assert_eq!(response.challenge_name.as_deref(), Some("DEVICE_SRP_AUTH"));
    assert!(response.authentication_result.is_none());
}
