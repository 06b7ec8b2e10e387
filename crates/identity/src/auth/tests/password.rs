//! USER_PASSWORD_AUTH.

use super::*;

#[tokio::test]
async fn a_password_signs_in_with_one_read_and_one_commit() {
    let pool = Fixture::new().await;
    pool.user("ada", &[]).await;
    let response = pool.sign_in(&pool.client_id, "ada", PASSWORD).await.unwrap();
    assert_eq!(pool.store.take_trips(), trips(1, 1));
    assert_eq!((response.challenge_name, response.session), (None, None));
    assert!(response.challenge_parameters.is_empty());
    let tokens = response.authentication_result.unwrap();
    assert_eq!(tokens.expires_in, Some(3_600));
    assert_eq!(tokens.token_type.as_deref(), Some("Bearer"));
    assert_eq!(pool.get_user(access(&tokens)).await.unwrap().username.as_deref(), Some("ada"));
}

#[tokio::test]
async fn what_is_missing_is_named() {
    let pool = Fixture::new().await;
    for (parameters, missing) in [
        (&[][..], "USERNAME"),
        (&[("USERNAME", ""), ("PASSWORD", "")], "USERNAME"),
        (&[("USERNAME", "ada")], "PASSWORD"),
        (&[("USERNAME", "ada"), ("PASSWORD", "")], "PASSWORD"),
    ] {
        assert_eq!(
            refusal(pool.initiate(&pool.client_id, "USER_PASSWORD_AUTH", parameters).await),
            format!("InvalidParameterException: Missing required parameter {missing}")
        );
    }
}

#[tokio::test]
async fn a_client_that_does_not_exist_is_named() {
    let pool = Fixture::new().await;
    for unknown in ["2example5example8example1", "x"] {
        assert_eq!(
            refusal(pool.sign_in(unknown, "ada", PASSWORD).await),
            format!("ResourceNotFoundException: User pool client {unknown} does not exist.")
        );
    }
}

#[tokio::test]
async fn a_flow_that_the_client_does_not_allow_is_refused_whoever_asks() {
    let pool = Fixture::new().await;
    pool.user("ada", &[]).await;
    let client = pool
        .client(types::CreateUserPoolClientRequest {
            explicit_auth_flows: strings(&["ALLOW_REFRESH_TOKEN_AUTH"]),
            ..Default::default()
        })
        .await;
    for username in ["ada", "nobody"] {
        for flow in ["USER_PASSWORD_AUTH", "USER_SRP_AUTH"] {
            let parameters = [("USERNAME", username), ("PASSWORD", PASSWORD), ("SRP_A", "2")];
            assert_eq!(
                refusal(pool.initiate(&client, flow, &parameters).await),
                format!("InvalidParameterException: {flow} flow not enabled for this client")
            );
        }
    }
    for flow in ["ADMIN_USER_PASSWORD_AUTH", "ADMIN_NO_SRP_AUTH"] {
        assert_eq!(
            refusal(pool.initiate(&pool.client_id, flow, &[]).await),
            "InvalidParameterException: Initiate Auth method not supported."
        );
    }
    assert!(pool.initiate(&pool.client_id, "SOMETHING", &[]).await.is_err());
}

#[tokio::test]
async fn a_wrong_password_is_refused_and_the_whole_password_counts() {
    let pool = Fixture::new().await;
    pool.user("ada", &[]).await;
    let cut = &PASSWORD[..PASSWORD.len() - 1];
    for wrong in [WRONG, cut, &format!("{cut}2"), &format!("{PASSWORD} "), &"a".repeat(100_000)] {
        assert_eq!(refusal(pool.sign_in(&pool.client_id, "ada", wrong).await), INCORRECT);
        assert_eq!(pool.store.take_trips(), trips(1, 1));
        pool.advance(3_600);
    }
}

#[tokio::test]
async fn a_client_that_may_know_learns_who_does_not_exist() {
    let pool = Fixture::new().await;
    assert_eq!(
        refusal(pool.sign_in(&pool.client_id, "nobody", PASSWORD).await),
        "UserNotFoundException: User does not exist."
    );
}

#[tokio::test]
async fn the_state_of_a_user_is_told_before_the_password_is_looked_at() {
    let pool = Fixture::new().await;
    let sub = pool.user("ada", &[]).await;
    pool.disable(&sub).await;
    pool.unconfirmed_user("eve").await;
    for password in [PASSWORD, WRONG] {
        assert_eq!(
            refusal(pool.sign_in(&pool.client_id, "ada", password).await),
            "NotAuthorizedException: User is disabled."
        );
        assert_eq!(
            refusal(pool.sign_in(&pool.client_id, "eve", password).await),
            "UserNotConfirmedException: User is not confirmed."
        );
    }
}

#[tokio::test]
async fn a_client_that_hides_users_is_told_the_state_only_after_the_right_password() {
    let pool = Fixture::new().await;
    let client_id = pool.hiding().await;
    let sub = pool.user("ada", &[]).await;
    pool.disable(&sub).await;
    pool.unconfirmed_user("eve").await;
    for name in ["ada", "eve", "nobody"] {
        assert_eq!(refusal(pool.sign_in(&client_id, name, WRONG).await), INCORRECT);
        assert_eq!(refusal(pool.srp(&client_id, name, WRONG).await), INCORRECT);
    }
    let (disabled, unconfirmed) = (
        "NotAuthorizedException: User is disabled.",
        "UserNotConfirmedException: User is not confirmed.",
    );
    assert_eq!(refusal(pool.sign_in(&client_id, "ada", PASSWORD).await), disabled);
    assert_eq!(refusal(pool.sign_in(&client_id, "eve", PASSWORD).await), unconfirmed);
    assert_eq!(refusal(pool.srp(&client_id, "ada", PASSWORD).await), disabled);
    assert_eq!(refusal(pool.srp(&client_id, "eve", PASSWORD).await), unconfirmed);
}

#[tokio::test]
async fn a_status_of_a_later_version_gets_no_tokens() {
    let pool = Fixture::new().await;
    let sub = pool.user("ada", &[]).await;
    let tokens = pool.tokens("ada").await;
    pool.edit(&sub, |user| user.status = "EXTERNAL_PROVIDER".to_owned()).await;
    assert_eq!(refusal(pool.sign_in(&pool.client_id, "ada", PASSWORD).await), INCORRECT);
    assert!(pool.srp(&pool.client_id, "ada", PASSWORD).await.is_err());
    assert!(pool.refresh(&pool.client_id, refresh_token(&tokens)).await.is_err());
}

#[tokio::test]
async fn who_must_reset_the_password_is_told_so_after_showing_the_old_one() {
    let pool = Fixture::new().await;
    let sub = pool.user("ada", &[]).await;
    pool.edit(&sub, |user| user.status = "RESET_REQUIRED".to_owned()).await;
    assert_eq!(refusal(pool.sign_in(&pool.client_id, "ada", WRONG).await), INCORRECT);
    let text = "PasswordResetRequiredException: Password reset required for the user";
    assert_eq!(refusal(pool.sign_in(&pool.client_id, "ada", PASSWORD).await), text);
    assert_eq!(refusal(pool.srp(&pool.client_id, "ada", PASSWORD).await), text);
    assert!(pool.sessions(&sub).await.is_empty());
}

#[tokio::test]
async fn s48_a_temporary_password_stops_working_in_its_time() {
    let pool = Fixture::new().await;
    let sub = pool.temporary_user("ada", &[]).await;
    pool.advance(7 * 24 * 3_600 - 1);
    pool.new_password_session(&pool.client_id, "ada").await;
    pool.advance(1);
    assert_eq!(refusal(pool.sign_in(&pool.client_id, "ada", WRONG).await), INCORRECT);
    let text = "NotAuthorizedException: Temporary password has expired and must be reset by an \
                administrator.";
    assert_eq!(refusal(pool.sign_in(&pool.client_id, "ada", PASSWORD).await), text);
    assert_eq!(refusal(pool.srp(&pool.client_id, "ada", PASSWORD).await), text);
    assert!(pool.sessions(&sub).await.is_empty());
}

#[tokio::test]
async fn a_client_with_a_secret_proves_it_for_the_name_that_is_sent() {
    let pool = Fixture::with(types::CreateUserPoolRequest {
        alias_attributes: strings(&["email"]),
        auto_verified_attributes: strings(&["email"]),
        ..Default::default()
    })
    .await;
    pool.user("ada", &[("email", "ada@example.com"), ("email_verified", "true")]).await;
    let (client, secret) = pool.confidential(false).await;
    let wrong = format!("NotAuthorizedException: Unable to verify secret hash for client {client}");
    let of = |name: &str| secret_hash(&secret, name, &client);
    for (username, hash, expected) in [
        ("ada", of("ada"), None),
        ("ada@example.com", of("ada@example.com"), None),
        ("ada@example.com", of("ada"), Some(wrong.clone())),
        ("ada", of("eve"), Some(wrong.clone())),
        ("nobody", of("ada"), Some(wrong.clone())),
        ("ada", secret_hash("another secret", "ada", &client), Some(wrong.clone())),
        ("ada", "not base64 \u{e9}".to_owned(), Some(wrong)),
        (
            "ada",
            String::new(),
            Some(format!(
                "NotAuthorizedException: Client {client} is configured with secret but SECRET_HASH \
                 was not received"
            )),
        ),
    ] {
        let parameters =
            [("USERNAME", username), ("PASSWORD", PASSWORD), ("SECRET_HASH", hash.as_str())];
        let result = pool.initiate(&client, "USER_PASSWORD_AUTH", &parameters).await;
        match expected {
            None => assert!(result.is_ok()),
            Some(text) => assert_eq!(refusal(result), text),
        }
    }
    let parameters = [("USERNAME", "ada"), ("PASSWORD", PASSWORD), ("SECRET_HASH", "AAAA")];
    assert_eq!(
        refusal(pool.initiate(&pool.client_id, "USER_PASSWORD_AUTH", &parameters).await),
        format!(
            "NotAuthorizedException: Unable to verify secret hash for client {}",
            pool.client_id
        )
    );
}

#[tokio::test]
async fn a_user_signs_in_by_every_alias_that_is_verified() {
    let pool = Fixture::with(types::CreateUserPoolRequest {
        alias_attributes: strings(&["email", "preferred_username"]),
        auto_verified_attributes: strings(&["email"]),
        ..Default::default()
    })
    .await;
    pool.user(
        "ada",
        &[("email", "ada@example.com"), ("email_verified", "true"), ("preferred_username", "boss")],
    )
    .await;
    pool.user("eve", &[("email", "eve@example.com")]).await;
    for name in ["ada", "ada@example.com", "boss"] {
        pool.store.take_trips();
        let response = pool.sign_in(&pool.client_id, name, PASSWORD).await.unwrap();
        assert_eq!(pool.store.take_trips(), trips(1, 1));
        let tokens = response.authentication_result.unwrap();
        assert_eq!(claims(access(&tokens))["username"], "ada");
    }
    assert_eq!(
        refusal(pool.sign_in(&pool.client_id, "eve@example.com", PASSWORD).await),
        "UserNotFoundException: User does not exist."
    );
}

#[tokio::test]
async fn nothing_is_hashed_for_who_is_refused_anyway() {
    let pool = Fixture::new().await;
    let sub = pool.user("ada", &[]).await;
    pool.unconfirmed_user("eve").await;
    let hiding = pool.hiding().await;
    let (confidential, _) = pool.confidential(false).await;
    let locked = pool.user("locked", &[]).await;
    for _ in 0..5 {
        let _ = pool.sign_in(&pool.client_id, "locked", WRONG).await;
    }
    assert!(!locked.is_empty());
    let pool = pool.without_processor();
    let busy = "TooManyRequestsException: Too many requests";
    // whoever gets as far as the password is refused for want of a processor
    assert_eq!(refusal(pool.sign_in(&pool.client_id, "ada", PASSWORD).await), busy);
    assert_eq!(refusal(pool.sign_in(&hiding, "nobody", PASSWORD).await), busy);
    assert_eq!(refusal(pool.sign_in(&pool.client_id, "locked", PASSWORD).await), LOCKED);
    for (client, username) in
        [(&confidential, "ada"), (&pool.client_id, "eve"), (&pool.client_id, "nobody")]
    {
        assert_ne!(refusal(pool.sign_in(client, username, PASSWORD).await), busy);
    }
    pool.disable(&sub).await;
    assert_ne!(refusal(pool.sign_in(&pool.client_id, "ada", PASSWORD).await), busy);
}

#[tokio::test]
async fn names_of_any_form_are_answered() {
    let pool = Fixture::new().await;
    let hiding = pool.hiding().await;
    for name in ["\0", "\u{1f600}", "a@b@c", "+", &"x".repeat(513), &"\u{130}".repeat(1_000)] {
        assert_eq!(refusal(pool.sign_in(&hiding, name, PASSWORD).await), INCORRECT);
        assert_eq!(refusal(pool.srp(&hiding, name, PASSWORD).await), INCORRECT);
    }
}
