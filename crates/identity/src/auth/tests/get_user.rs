//! GetUser, and with it what makes an access token good: S29 to S34 of the security checklist.

use super::*;
use crate::clients;
use conclave_crypto::token::SigningKey;
use serde_json::json;

const INVALID: &str = "NotAuthorizedException: Invalid Access Token";
const REVOKED: &str = "NotAuthorizedException: Access Token has been revoked";
const UNVERIFIED: &str = "NotAuthorizedException: Could not verify signature for Access Token";

fn encoded(header: &Value, claims: &Value, signature: &str) -> String {
    let part = |value: &Value| encoding::base64url(value.to_string());
    format!("{}.{}.{signature}", part(header), part(claims))
}

#[tokio::test]
async fn a_user_reads_itself_with_one_read() {
    let pool = Fixture::new().await;
    let sub = pool.user("ada", &[("email", "ada@example.com"), ("given_name", "Ada")]).await;
    let tokens = pool.tokens("ada").await;
    let response = pool.get_user(access(&tokens)).await.unwrap();
    assert_eq!(pool.store.take_trips(), trips(1, 0));
    assert_eq!(response.username.as_deref(), Some("ada"));
    let shown: Vec<_> = response
        .user_attributes
        .iter()
        .map(|held| (held.name.as_deref().unwrap(), held.value.as_deref().unwrap()))
        .collect();
    assert_eq!(shown, [("email", "ada@example.com"), ("given_name", "Ada"), ("sub", &sub)]);
    assert!(response.user_mfa_setting_list.is_empty() && response.preferred_mfa_setting.is_none());
}

#[tokio::test]
async fn what_is_no_access_token_is_refused() {
    let pool = Fixture::new().await;
    pool.user("ada", &[]).await;
    let tokens = pool.tokens("ada").await;
    let good = access(&tokens);
    let (header, payload) = (Value::from(part(good, 0)), Value::from(part(good, 1)));
    let signature = good.rsplit_once('.').unwrap().1;
    let header_with = |name: &str, value: Value| {
        let mut header = header.clone();
        header[name] = value;
        encoded(&header, &payload, signature)
    };
    let claims_with = |name: &str, value: Value| {
        let mut payload = payload.clone();
        payload[name] = value;
        encoded(&header, &payload, signature)
    };
    for (token, expected) in [
        (String::new(), INVALID),
        ("x".to_owned(), INVALID),
        ("a.b.c".to_owned(), INVALID),
        (id(&tokens).to_owned(), INVALID),
        (refresh_token(&tokens).to_owned(), INVALID),
        (header_with("alg", json!("none")), INVALID),
        (header_with("alg", json!("NONE")), INVALID),
        (header_with("alg", json!("HS256")), INVALID),
        (header_with("jku", json!("https://evil.example/jwks")), INVALID),
        (header_with("crit", json!(["exp"])), INVALID),
        (header_with("kid", json!("../../key")), UNVERIFIED),
        (header_with("kid", json!(part(id(&tokens), 0)["kid"])), UNVERIFIED),
        (claims_with("exp", json!(9_999_999_999_i64)), UNVERIFIED),
        (claims_with("username", json!("root")), UNVERIFIED),
        (claims_with("token_use", json!("id")), INVALID),
        (claims_with("iss", json!("https://id.example.com/us-east-1_other")), INVALID),
        (claims_with("iss", json!("https://id.example.com/directory")), INVALID),
        (claims_with("iss", json!("directory")), INVALID),
        (claims_with("iss", json!(format!("https://id.example.com/{}", "a".repeat(300)))), INVALID),
        (claims_with("sub", json!("x".repeat(10_000))), INVALID),
        (claims_with("sub", json!(7)), INVALID),
        (format!("{good}A"), UNVERIFIED),
        (format!("{good}="), INVALID),
        (format!("{} {signature}", good.rsplit_once('.').unwrap().0), INVALID),
        (good[..good.len() - 10].to_owned(), UNVERIFIED),
        ("x".repeat(200_000), INVALID),
    ] {
        let short: String = token.chars().take(80).collect();
        assert_eq!(refusal(pool.get_user(&token).await), expected, "{short}");
    }
}

/// Tokens that the pool's own key has signed and that still are no proof.
#[tokio::test]
async fn a_good_signature_is_not_enough() {
    let pool = Fixture::new().await;
    pool.user("ada", &[]).await;
    let tokens = pool.tokens("ada").await;
    let config = pool.world.configs.get(&pool.pool_id).unwrap();
    let key = config.active_key(crate::config::TokenUse::Access).unwrap();
    let id_key = config.active_key(crate::config::TokenUse::Id).unwrap();
    let good = Value::from(claims(access(&tokens)));
    let now_s = pool.clock.now_ms() / 1_000;
    let with = |name: &str, value: Value| {
        let mut claims = good.clone();
        claims[name] = value;
        key.sign(&claims).unwrap()
    };
    let scopes = "NotAuthorizedException: Access Token does not have required scopes";
    let expired = "NotAuthorizedException: Access Token has expired";
    for (token, expected) in [
        (with("scope", json!("openid email")), scopes),
        (with("scope", json!("aws.cognito.signin.user.administrator")), scopes),
        (with("scope", json!("")), scopes),
        (with("scope", json!(["aws.cognito.signin.user.admin"])), scopes),
        (with("exp", json!(now_s)), expired),
        (with("exp", json!("9999999999")), INVALID),
        (with("exp", json!(1e300)), INVALID),
        (with("nbf", json!(now_s + 61)), INVALID),
        (with("iat", json!(now_s + 61)), INVALID),
        (with("iss", json!(format!("https://evil.example/{}", pool.pool_id))), INVALID),
        (id_key.sign(&good).unwrap(), UNVERIFIED),
        (SigningKey::generate().unwrap().0.sign(&good).unwrap(), UNVERIFIED),
    ] {
        assert_eq!(refusal(pool.get_user(&token).await), expected);
    }
    assert!(pool.get_user(&with("iat", json!(now_s + 59))).await.is_ok());
    let mut scoped = good.clone();
    scoped["scope"] = json!("openid aws.cognito.signin.user.admin");
    assert!(pool.get_user(&key.sign(&scoped).unwrap()).await.is_ok());
}

#[tokio::test]
async fn a_token_of_another_pool_is_refused() {
    let pool = Fixture::new().await;
    pool.user("ada", &[]).await;
    let tokens = pool.tokens("ada").await;
    let other_pool = new_pool_with(&pool.test, types::CreateUserPoolRequest::default()).await;
    let mut payload = Value::from(claims(access(&tokens)));
    payload["iss"] = json!(format!("https://id.example.com/{other_pool}"));
    let config = pool.world.configs.get(&pool.pool_id).unwrap();
    let key = config.active_key(crate::config::TokenUse::Access).unwrap();
    assert_eq!(refusal(pool.get_user(&key.sign(&payload).unwrap()).await), UNVERIFIED);
}

#[tokio::test]
async fn a_sign_out_everywhere_ends_what_came_before_and_nothing_else() {
    let pool = Fixture::new().await;
    let sub = pool.user("ada", &[]).await;
    pool.user("eve", &[]).await;
    let (before, others) = (pool.tokens("ada").await, pool.tokens("eve").await);
    let renewed = pool.refresh(&pool.client_id, refresh_token(&before)).await.unwrap();
    pool.sign_out_everywhere(&sub).await;
    pool.advance(1);
    let after = pool.tokens("ada").await;
    for (tokens, expected) in [(&before, false), (&renewed, false), (&after, true), (&others, true)]
    {
        match pool.get_user(access(tokens)).await {
            Ok(_) => assert!(expected),
            refused => {
                assert!(!expected);
                assert_eq!(refusal(refused), REVOKED);
            }
        }
    }
}

#[tokio::test]
async fn the_user_s_state_counts_before_the_session() {
    let pool = Fixture::new().await;
    let sub = pool.user("ada", &[]).await;
    let tokens = pool.tokens("ada").await;
    pool.sign_out_everywhere(&sub).await;
    pool.disable(&sub).await;
    assert_eq!(
        refusal(pool.get_user(access(&tokens)).await),
        "NotAuthorizedException: User is disabled."
    );
    delete_user(&pool.test, &pool.pool_id, "ada").await;
    assert_eq!(
        refusal(pool.get_user(access(&tokens)).await),
        "UserNotFoundException: User does not exist."
    );
}

#[tokio::test]
async fn who_has_a_deleted_user_s_name_is_somebody_else() {
    let pool = Fixture::new().await;
    pool.user("ada", &[]).await;
    let tokens = pool.tokens("ada").await;
    delete_user(&pool.test, &pool.pool_id, "ada").await;
    pool.store.take_trips();
    assert_eq!(
        refusal(pool.get_user(access(&tokens)).await),
        "UserNotFoundException: User does not exist."
    );
    assert_eq!(pool.store.take_trips(), trips(2, 0));
    pool.unconfirmed_user("ada").await;
    assert_eq!(
        refusal(pool.get_user(access(&tokens)).await),
        "UserNotConfirmedException: User is not confirmed."
    );
    delete_user(&pool.test, &pool.pool_id, "ada").await;
    pool.user("ada", &[]).await;
    assert_eq!(
        refusal(pool.get_user(access(&tokens)).await),
        "NotAuthorizedException: Invalid access token."
    );
    // nobody gets a second read for a token that is not genuine
    let mut payload = Value::from(claims(access(&tokens)));
    payload["sub"] = json!("00000000-0000-4000-8000-000000000000");
    let forged = encoded(&Value::from(part(access(&tokens), 0)), &payload, "AAAA");
    pool.store.take_trips();
    assert_eq!(refusal(pool.get_user(&forged).await), UNVERIFIED);
    assert_eq!(pool.store.take_trips(), trips(1, 0));
}

#[tokio::test]
async fn a_deleted_client_s_tokens_are_refused_at_once() {
    let pool = Fixture::new().await;
    pool.user("ada", &[]).await;
    let tokens = pool.tokens("ada").await;
    let request = types::DeleteUserPoolClientRequest {
        user_pool_id: Some(pool.pool_id.clone()),
        client_id: Some(pool.client_id.clone()),
    };
    // by another gateway, so that this one has to notice
    clients::delete_user_pool_client(&pool.test, &signed_call(), request).await.unwrap();
    let gone =
        format!("ResourceNotFoundException: User pool client {} does not exist.", pool.client_id);
    assert_eq!(refusal(pool.get_user(access(&tokens)).await), gone);
    assert_eq!(refusal(pool.refresh(&pool.client_id, refresh_token(&tokens)).await), gone);
    assert_eq!(refusal(pool.sign_in(&pool.client_id, "ada", PASSWORD).await), gone);
}

#[tokio::test]
async fn a_deleted_pool_s_tokens_are_no_tokens() {
    let pool = Fixture::new().await;
    pool.user("ada", &[]).await;
    let tokens = pool.tokens("ada").await;
    let request = types::DeleteUserPoolRequest { user_pool_id: Some(pool.pool_id.clone()) };
    crate::pools::delete_user_pool(&pool.test, &signed_call(), request).await.unwrap();
    assert_eq!(refusal(pool.get_user(access(&tokens)).await), INVALID);
    assert_eq!(
        refusal(pool.refresh(&pool.client_id, refresh_token(&tokens)).await),
        format!("ResourceNotFoundException: User pool client {} does not exist.", pool.client_id)
    );
}
