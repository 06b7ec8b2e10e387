//! What tokens say, member by member and in Cognito's order.

use super::*;
use crate::issuer;
use conclave_crypto::{ids, token::KeySet};
use serde_json::json;

#[tokio::test]
async fn an_access_token_has_cognito_s_claims_in_order() {
    let pool = Fixture::new().await;
    let sub = pool.user("ada", &[("email", "ada@example.com")]).await;
    let tokens = pool.tokens("ada").await;
    let claims = claims(access(&tokens));
    assert_eq!(
        names(&claims),
        "sub iss client_id origin_jti event_id token_use scope auth_time exp iat jti username"
    );
    let now_s = pool.clock.now_ms() / 1_000;
    let expected = json!({
        "sub": sub,
        "iss": format!("https://id.example.com/{}", pool.pool_id),
        "client_id": pool.client_id,
        "origin_jti": claims["origin_jti"],
        "event_id": unsigned_call().request_id,
        "token_use": "access",
        "scope": "aws.cognito.signin.user.admin",
        "auth_time": now_s,
        "exp": now_s + 3_600,
        "iat": now_s,
        "jti": claims["jti"],
        "username": "ada",
    });
    assert_eq!(Value::from(claims.clone()), expected);
    for id in ["origin_jti", "jti"] {
        assert!(ids::uuid_to_bytes(claims[id].as_str().unwrap()).is_some());
    }
    assert_ne!(claims["origin_jti"], claims["jti"]);
}

#[tokio::test]
async fn an_id_token_has_cognito_s_claims_in_order() {
    let pool = Fixture::new().await;
    let sub = pool.user("ada", &[]).await;
    let tokens = pool.tokens("ada").await;
    let bare = claims(id(&tokens));
    assert_eq!(
        names(&bare),
        "origin_jti sub aud event_id token_use auth_time iss cognito:username exp iat jti"
    );
    let now_s = pool.clock.now_ms() / 1_000;
    assert_eq!(bare["sub"], sub.as_str());
    assert_eq!(bare["aud"], pool.client_id.as_str());
    assert_eq!(bare["token_use"], "id");
    assert_eq!(bare["cognito:username"], "ada");
    assert_eq!((&bare["iat"], &bare["exp"]), (&json!(now_s), &json!(now_s + 3_600)));
    let access = claims(access(&tokens));
    for same in ["origin_jti", "event_id", "auth_time", "iss"] {
        assert_eq!(bare[same], access[same], "{same}");
    }
    assert_ne!(bare["jti"], access["jti"]);
}

#[tokio::test]
async fn an_id_token_shows_the_attributes_that_the_client_may_read() {
    let pool = Fixture::new().await;
    pool.user(
        "ada",
        &[
            ("email", "ada@example.com"),
            ("email_verified", "true"),
            ("given_name", "Ada"),
            ("family_name", "King"),
            ("address", "12 St James's Square"),
        ],
    )
    .await;
    let shown = claims(id(&pool.tokens("ada").await));
    assert_eq!(shown["email_verified"], json!(true));
    assert_eq!(shown["address"], json!({ "formatted": "12 St James's Square" }));
    assert_eq!(shown["given_name"], "Ada");
    let client = pool
        .client(types::CreateUserPoolClientRequest {
            read_attributes: strings(&["given_name"]),
            ..Default::default()
        })
        .await;
    let response = pool.sign_in(&client, "ada", PASSWORD).await.unwrap();
    let tokens = response.authentication_result.unwrap();
    assert_eq!(
        names(&claims(id(&tokens))),
        "sub iss cognito:username given_name origin_jti aud event_id token_use auth_time exp iat jti"
    );
    let user = pool.get_user(access(&tokens)).await.unwrap();
    let read: Vec<_> = user.user_attributes.into_iter().filter_map(|held| held.name).collect();
    assert_eq!(read, ["given_name", "sub"]);
}

#[tokio::test]
async fn without_revocation_tokens_do_not_name_their_sign_in() {
    let pool = Fixture::new().await;
    let sub = pool.user("ada", &[]).await;
    let client = pool
        .client(types::CreateUserPoolClientRequest {
            enable_token_revocation: Some(false),
            ..Default::default()
        })
        .await;
    let response = pool.sign_in(&client, "ada", PASSWORD).await.unwrap();
    let tokens = response.authentication_result.unwrap();
    assert_eq!(
        names(&claims(access(&tokens))),
        "sub iss client_id event_id token_use scope auth_time exp iat jti username"
    );
    assert_eq!(
        names(&claims(id(&tokens))),
        "sub aud event_id token_use auth_time iss cognito:username exp iat"
    );
    assert!(pool.get_user(access(&tokens)).await.is_ok());
    pool.advance(1);
    pool.sign_out_everywhere(&sub).await;
    assert_eq!(
        refusal(pool.get_user(access(&tokens)).await),
        "NotAuthorizedException: Access Token has been revoked"
    );
}

#[tokio::test]
async fn tokens_live_as_long_as_the_client_says() {
    let pool = Fixture::new().await;
    pool.user("ada", &[]).await;
    let client = pool
        .client(types::CreateUserPoolClientRequest {
            access_token_validity: Some(10),
            id_token_validity: Some(2),
            token_validity_units: Some(types::TokenValidityUnitsType {
                access_token: Some("minutes".to_owned()),
                ..Default::default()
            }),
            ..Default::default()
        })
        .await;
    let response = pool.sign_in(&client, "ada", PASSWORD).await.unwrap();
    let tokens = response.authentication_result.unwrap();
    assert_eq!(tokens.expires_in, Some(600));
    let life = |token: &str| {
        let claims = claims(token);
        claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap()
    };
    assert_eq!((life(access(&tokens)), life(id(&tokens))), (600, 7_200));
    pool.advance(599);
    assert!(pool.get_user(access(&tokens)).await.is_ok());
    pool.advance(1);
    assert_eq!(
        refusal(pool.get_user(access(&tokens)).await),
        "NotAuthorizedException: Access Token has expired"
    );
}

#[tokio::test]
async fn tokens_verify_against_the_published_keys_one_for_each_use() {
    let pool = Fixture::new().await;
    pool.user("ada", &[]).await;
    let tokens = pool.tokens("ada").await;
    let jwks = issuer::jwks(&pool.world, &pool.pool_id).await.unwrap().unwrap();
    let keys = KeySet::new(&jwks.keys).unwrap();
    assert!(keys.verify(access(&tokens)).is_ok());
    assert!(keys.verify(id(&tokens)).is_ok());
    let kids: Vec<_> = jwks.keys.iter().map(|key| json!(key.kid)).collect();
    assert_eq!(
        kids,
        [part(id(&tokens), 0)["kid"].clone(), part(access(&tokens), 0)["kid"].clone()]
    );
    assert_eq!(names(&part(access(&tokens), 0)), "kid alg");
    let issued = issuer::issuer(&pool.world, &pool.pool_id).await.unwrap().unwrap();
    assert_eq!(claims(access(&tokens))["iss"], issued.as_str());
}

#[tokio::test]
async fn the_published_keys_outlast_the_store() {
    let mut pool = Fixture::new().await;
    let jwks = issuer::jwks(&pool.world, &pool.pool_id).await.unwrap().unwrap();
    pool.world.store = Arc::new(NoStore);
    assert_eq!(issuer::jwks(&pool.world, &pool.pool_id).await.unwrap(), Some(jwks));
    assert!(issuer::issuer(&pool.world, &pool.pool_id).await.unwrap().is_some());
    assert!(issuer::jwks(&pool.world, "us-east-1_neverSeen").await.is_err());
}

#[tokio::test]
async fn a_pool_that_does_not_exist_has_no_keys() {
    let pool = Fixture::new().await;
    for id in ["us-east-1_neverSeen", "directory", "", "_", "us-east-1_"] {
        assert_eq!(issuer::jwks(&pool.world, id).await, Ok(None), "{id:?}");
    }
}

/// A store without a quorum.
struct NoStore;

#[async_trait]
impl Store for NoStore {
    async fn read(&self, _: proto::Read) -> Result<proto::ReadResult, StoreError> {
        Err(StoreError::Unavailable { detail: "no quorum".to_owned() })
    }

    async fn commit(&self, _: proto::Commit) -> Result<proto::Outcome, StoreError> {
        Err(StoreError::Unavailable { detail: "no quorum".to_owned() })
    }
}
