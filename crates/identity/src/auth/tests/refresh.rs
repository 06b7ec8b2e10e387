//! REFRESH_TOKEN_AUTH.

use super::*;

#[tokio::test]
async fn a_refresh_takes_one_read_and_keeps_what_names_the_sign_in() {
    let pool = Fixture::new().await;
    pool.user("ada", &[]).await;
    let tokens = pool.tokens("ada").await;
    pool.advance(600);
    for flow in ["REFRESH_TOKEN_AUTH", "REFRESH_TOKEN"] {
        let parameters = [("REFRESH_TOKEN", refresh_token(&tokens))];
        pool.store.take_trips();
        let response = pool.initiate(&pool.client_id, flow, &parameters).await.unwrap();
        assert_eq!(pool.store.take_trips(), trips(1, 0));
        let renewed = response.authentication_result.unwrap();
        assert_eq!(renewed.refresh_token, None);
        assert_eq!(renewed.expires_in, Some(3_600));
        for (old, new) in [(access(&tokens), access(&renewed)), (id(&tokens), id(&renewed))] {
            assert_eq!(part(old, 0), part(new, 0));
            let (old, new) = (claims(old), claims(new));
            assert_eq!(names(&old), names(&new));
            for kept in ["sub", "origin_jti", "event_id", "auth_time", "iss", "token_use"] {
                assert_eq!(old[kept], new[kept], "{kept}");
            }
            assert_ne!(old["jti"], new["jti"]);
            for moved in ["iat", "exp"] {
                assert_eq!(old[moved].as_i64().unwrap() + 600, new[moved].as_i64().unwrap());
            }
        }
        assert!(pool.get_user(access(&renewed)).await.is_ok());
    }
}

#[tokio::test]
async fn what_is_no_refresh_token_of_this_pool_is_refused() {
    let pool = Fixture::new().await;
    pool.user("ada", &[]).await;
    let tokens = pool.tokens("ada").await;
    let token = refresh_token(&tokens);
    let other_pool = new_pool_with(&pool.test, types::CreateUserPoolRequest::default()).await;
    let request = types::CreateUserPoolClientRequest::default();
    let foreign = new_client_with(&pool.test, &other_pool, request).await.client_id.unwrap();
    let mut altered = encoding::base64url_decode(token).unwrap();
    *altered.last_mut().unwrap() ^= 1;
    let altered = encoding::base64url(&altered);
    let invalid = "NotAuthorizedException: Invalid Refresh Token";
    for (client, token) in [
        (&pool.client_id, "x"),
        (&pool.client_id, access(&tokens)),
        (&pool.client_id, &token[..token.len() - 1]),
        (&pool.client_id, &altered),
        (&pool.client_id, &"A".repeat(100_000)),
        (&foreign, token),
    ] {
        assert_eq!(refusal(pool.refresh(client, token).await), invalid);
    }
    assert_eq!(
        refusal(pool.refresh(&pool.client_id, "").await),
        "InvalidParameterException: Missing required parameter REFRESH_TOKEN"
    );
}

#[tokio::test]
async fn a_refresh_token_belongs_to_one_client() {
    let pool = Fixture::new().await;
    pool.user("ada", &[]).await;
    let tokens = pool.tokens("ada").await;
    let other = pool.client(types::CreateUserPoolClientRequest::default()).await;
    assert_eq!(
        refusal(pool.refresh(&other, refresh_token(&tokens)).await),
        "NotAuthorizedException: Refresh Token has different Client"
    );
}

#[tokio::test]
async fn a_client_that_may_not_refresh_does_not() {
    let pool = Fixture::new().await;
    pool.user("ada", &[]).await;
    let client = pool
        .client(types::CreateUserPoolClientRequest {
            explicit_auth_flows: strings(&["ALLOW_USER_PASSWORD_AUTH"]),
            ..Default::default()
        })
        .await;
    let response = pool.sign_in(&client, "ada", PASSWORD).await.unwrap();
    let tokens = response.authentication_result.unwrap();
    assert_eq!(
        refusal(pool.refresh(&client, refresh_token(&tokens)).await),
        "InvalidParameterException: REFRESH_TOKEN_AUTH flow not enabled for this client"
    );
}

#[tokio::test]
async fn a_user_who_is_disabled_deleted_or_signed_out_gets_no_new_tokens() {
    let pool = Fixture::new().await;
    let sub = pool.user("ada", &[]).await;
    let tokens = pool.tokens("ada").await;
    let token = refresh_token(&tokens);

    pool.disable(&sub).await;
    assert_eq!(
        refusal(pool.refresh(&pool.client_id, token).await),
        "NotAuthorizedException: User is disabled."
    );
    pool.edit(&sub, |user| user.enabled = true).await;
    assert!(pool.refresh(&pool.client_id, token).await.is_ok());

    pool.sign_out_everywhere(&sub).await;
    assert_eq!(
        refusal(pool.refresh(&pool.client_id, token).await),
        "NotAuthorizedException: Refresh Token has been revoked"
    );
    pool.advance(1);
    let later = pool.tokens("ada").await;
    assert!(pool.refresh(&pool.client_id, refresh_token(&later)).await.is_ok());

    delete_user(&pool.test, &pool.pool_id, "ada").await;
    pool.user("ada", &[]).await;
    assert_eq!(
        refusal(pool.refresh(&pool.client_id, refresh_token(&later)).await),
        "NotAuthorizedException: The user has been deleted for the associated refresh token"
    );
}

#[tokio::test]
async fn a_new_password_ends_no_session() {
    let pool = Fixture::new().await;
    let sub = pool.user("ada", &[]).await;
    let tokens = pool.tokens("ada").await;
    set_password(&pool.test, &pool.pool_id, "ada", NEW).await;
    assert!(pool.refresh(&pool.client_id, refresh_token(&tokens)).await.is_ok());
    pool.edit(&sub, |user| user.status = "FORCE_CHANGE_PASSWORD".to_owned()).await;
    assert!(pool.refresh(&pool.client_id, refresh_token(&tokens)).await.is_ok());
}

#[tokio::test]
async fn a_refresh_token_ends_in_its_time() {
    let pool = Fixture::new().await;
    pool.user("ada", &[]).await;
    let hour = types::TokenValidityUnitsType {
        refresh_token: Some("minutes".to_owned()),
        ..Default::default()
    };
    let client = pool
        .client(types::CreateUserPoolClientRequest {
            refresh_token_validity: Some(90),
            token_validity_units: Some(hour),
            ..Default::default()
        })
        .await;
    for (client, seconds) in [(pool.client_id.clone(), 30 * 24 * 3_600), (client, 90 * 60)] {
        let response = pool.sign_in(&client, "ada", PASSWORD).await.unwrap();
        let tokens = response.authentication_result.unwrap();
        pool.advance(seconds - 1);
        assert!(pool.refresh(&client, refresh_token(&tokens)).await.is_ok());
        pool.advance(1);
        assert_eq!(
            refusal(pool.refresh(&client, refresh_token(&tokens)).await),
            "NotAuthorizedException: Refresh Token has expired"
        );
        pool.advance(24 * 3_600);
        assert_eq!(
            refusal(pool.refresh(&client, refresh_token(&tokens)).await),
            "NotAuthorizedException: Invalid Refresh Token"
        );
    }
}

#[tokio::test]
async fn a_secret_is_proved_for_the_canonical_name() {
    let pool = Fixture::with(types::CreateUserPoolRequest {
        username_attributes: strings(&["email"]),
        auto_verified_attributes: strings(&["email"]),
        ..Default::default()
    })
    .await;
    let sub = pool.user("ada@example.com", &[]).await;
    let (client, secret) = pool.confidential(false).await;
    let hash = |name: &str| secret_hash(&secret, name, &client);
    let first = hash("ada@example.com");
    let parameters =
        [("USERNAME", "ada@example.com"), ("PASSWORD", PASSWORD), ("SECRET_HASH", first.as_str())];
    let response = pool.initiate(&client, "USER_PASSWORD_AUTH", &parameters).await.unwrap();
    let tokens = response.authentication_result.unwrap();
    let refresh = async |hash: &str| {
        let parameters = [("REFRESH_TOKEN", refresh_token(&tokens)), ("SECRET_HASH", hash)];
        pool.initiate(&client, "REFRESH_TOKEN_AUTH", &parameters).await
    };
    assert_eq!(
        refusal(refresh("").await),
        format!(
            "NotAuthorizedException: Client {client} is configured with secret but SECRET_HASH was \
             not received"
        )
    );
    assert_eq!(
        refusal(refresh(&first).await),
        format!("NotAuthorizedException: Unable to verify secret hash for client {client}")
    );
    assert!(refresh(&hash(&sub)).await.is_ok());
}

#[tokio::test]
async fn new_tokens_show_the_user_as_it_is_now() {
    let pool = Fixture::new().await;
    let sub = pool.user("ada", &[("given_name", "Ada")]).await;
    let tokens = pool.tokens("ada").await;
    pool.edit(&sub, |user| users::attributes::set(user, "given_name", "Augusta")).await;
    let renewed = pool.refresh(&pool.client_id, refresh_token(&tokens)).await.unwrap();
    assert_eq!(claims(id(&tokens))["given_name"], "Ada");
    assert_eq!(claims(id(&renewed))["given_name"], "Augusta");
}
