//! RevokeToken, GlobalSignOut and AdminUserGlobalSignOut.

use super::*;
use crate::clients;

const REFRESH_REVOKED: &str = "NotAuthorizedException: Refresh Token has been revoked";
const ACCESS_REVOKED: &str = "NotAuthorizedException: Access Token has been revoked";

impl Fixture {
    async fn admin_sign_out(&self, username: &str) -> Result<(), ApiError> {
        let request = types::AdminUserGlobalSignOutRequest {
            user_pool_id: Some(self.pool_id.clone()),
            username: Some(username.to_owned()),
        };
        let result = users::admin_user_global_sign_out(&self.world, &signed_call(), request).await;
        declared("AdminUserGlobalSignOut", result).map(|_| ())
    }

    /// A client whose tokens cannot be revoked.
    async fn unrevocable(&self) -> String {
        self.client(types::CreateUserPoolClientRequest {
            enable_token_revocation: Some(false),
            ..Default::default()
        })
        .await
    }

    async fn tokens_at(&self, client_id: &str) -> types::AuthenticationResultType {
        let response = self.sign_in(client_id, "ada", PASSWORD).await.expect("signs in");
        response.authentication_result.expect("answers tokens")
    }
}

#[tokio::test]
async fn a_revoked_session_is_over_and_the_others_go_on() {
    let pool = Fixture::new().await;
    pool.user("ada", &[]).await;
    let (ended, other) = (pool.tokens("ada").await, pool.tokens("ada").await);
    let renewed = pool.refresh(&pool.client_id, refresh_token(&ended)).await.unwrap();
    pool.store.take_trips();
    pool.revoke(&pool.client_id, refresh_token(&ended)).await.unwrap();
    assert_eq!(pool.store.take_trips(), trips(1, 1));
    for tokens in [&ended, &renewed] {
        assert_eq!(refusal(pool.get_user(access(tokens)).await), ACCESS_REVOKED);
    }
    assert_eq!(
        refusal(pool.refresh(&pool.client_id, refresh_token(&ended)).await),
        REFRESH_REVOKED
    );
    let got = pool.get_tokens(&pool.client_id, refresh_token(&ended)).await;
    assert_eq!(refusal(got), REFRESH_REVOKED);
    assert!(pool.get_user(access(&other)).await.is_ok());
    assert!(pool.refresh(&pool.client_id, refresh_token(&other)).await.is_ok());
    // once more is no error and changes nothing
    pool.store.take_trips();
    pool.revoke(&pool.client_id, refresh_token(&ended)).await.unwrap();
    assert_eq!(pool.store.take_trips(), trips(1, 0));
    // it is remembered for as long as an access token of it could have lived
    pool.advance(24 * 3_600 - 1);
    assert_eq!(
        refusal(pool.refresh(&pool.client_id, refresh_token(&ended)).await),
        REFRESH_REVOKED
    );
    pool.advance(1);
    assert_eq!(
        refusal(pool.refresh(&pool.client_id, refresh_token(&ended)).await),
        "NotAuthorizedException: Invalid Refresh Token"
    );
}

/// Developer guide, "The token revocation endpoint": an invalid token is no error.
#[tokio::test]
async fn a_token_that_nobody_has_is_revoked_already() {
    let pool = Fixture::new().await;
    pool.user("ada", &[]).await;
    let tokens = pool.tokens("ada").await;
    let mut altered = encoding::base64url_decode(refresh_token(&tokens)).unwrap();
    *altered.last_mut().unwrap() ^= 1;
    let altered = encoding::base64url(&altered);
    let other_pool = new_pool_with(&pool.test, types::CreateUserPoolRequest::default()).await;
    let request = types::CreateUserPoolClientRequest::default();
    let foreign = new_client_with(&pool.test, &other_pool, request).await.client_id.unwrap();
    pool.store.take_trips();
    for (client, token) in [
        (&pool.client_id, altered.as_str()),
        (&pool.client_id, "x"),
        (&pool.client_id, "a.b.c"),
        (&foreign, refresh_token(&tokens)),
    ] {
        pool.revoke(client, token).await.unwrap();
        assert_eq!(pool.store.take_trips().commits, 0);
    }
    assert!(pool.refresh(&pool.client_id, refresh_token(&tokens)).await.is_ok());
}

/// `security.md` S33. The exceptions are documented, the texts are judgement.
#[tokio::test]
async fn s33_only_a_refresh_token_of_one_s_own_is_revoked() {
    let pool = Fixture::new().await;
    pool.user("ada", &[]).await;
    let tokens = pool.tokens("ada").await;
    let other = pool.client(types::CreateUserPoolClientRequest::default()).await;
    assert_eq!(
        refusal(pool.revoke(&other, refresh_token(&tokens)).await),
        "UnauthorizedException: Refresh Token has different Client"
    );
    for token in [access(&tokens), id(&tokens)] {
        assert_eq!(
            refusal(pool.revoke(&pool.client_id, token).await),
            "UnsupportedTokenTypeException: The token type is not supported. Only refresh tokens can \
             be revoked."
        );
    }
    assert_eq!(
        refusal(pool.revoke("nobody", refresh_token(&tokens)).await),
        "UnauthorizedException: User pool client nobody does not exist."
    );
    assert!(pool.get_user(access(&tokens)).await.is_ok());
    assert!(pool.refresh(&pool.client_id, refresh_token(&tokens)).await.is_ok());
}

#[tokio::test]
async fn a_client_that_does_not_revoke_refuses_to() {
    let pool = Fixture::new().await;
    pool.user("ada", &[]).await;
    let client = pool.unrevocable().await;
    let tokens = pool.tokens_at(&client).await;
    let refused = "UnsupportedOperationException: Token revocation is not enabled for the client.";
    for token in [refresh_token(&tokens), "x", access(&tokens)] {
        assert_eq!(refusal(pool.revoke(&client, token).await), refused);
    }
    assert!(pool.refresh(&client, refresh_token(&tokens)).await.is_ok());
    for (token, has) in [(access(&tokens), true), (id(&tokens), false)] {
        assert!(!claims(token).contains_key("origin_jti"));
        assert_eq!(claims(token).contains_key("jti"), has);
    }
    // switched on later, it holds for sessions that began before
    pool.edit_client(&client, |client| client.enable_token_revocation = true).await;
    let renewed = pool.refresh(&client, refresh_token(&tokens)).await.unwrap();
    pool.revoke(&client, refresh_token(&tokens)).await.unwrap();
    assert_eq!(refusal(pool.refresh(&client, refresh_token(&tokens)).await), REFRESH_REVOKED);
    assert_eq!(refusal(pool.get_user(access(&renewed)).await), ACCESS_REVOKED);
    // and switched off, what was revoked stays so
    let tokens = pool.tokens_at(&pool.client_id).await;
    pool.revoke(&pool.client_id, refresh_token(&tokens)).await.unwrap();
    pool.edit_client(&pool.client_id, |client| client.enable_token_revocation = false).await;
    assert_eq!(refusal(pool.get_user(access(&tokens)).await), ACCESS_REVOKED);
}

#[tokio::test]
async fn a_client_with_a_secret_proves_it_to_revoke() {
    let pool = Fixture::new().await;
    pool.user("ada", &[]).await;
    let (client, secret) = pool.confidential(false).await;
    let revoke = async |secret: Option<&str>| {
        let request = types::RevokeTokenRequest {
            client_id: Some(client.clone()),
            token: Some("x".to_owned()),
            client_secret: secret.map(str::to_owned),
            ..Default::default()
        };
        declared("RevokeToken", revoke_token(&pool.world, &unsigned_call(), request).await)
    };
    assert_eq!(
        refusal(revoke(None).await),
        format!(
            "UnauthorizedException: Client {client} is configured for secret but secret was not \
             received"
        )
    );
    assert_eq!(
        refusal(revoke(Some("wrong_secret_wrong_secret")).await),
        format!("UnauthorizedException: Unable to verify secret for client {client}")
    );
    assert!(revoke(Some(&secret)).await.is_ok());
}

#[tokio::test]
async fn any_token_of_a_family_revokes_the_session() {
    let pool = Fixture::new().await;
    pool.user("ada", &[]).await;
    let client = pool
        .client(types::CreateUserPoolClientRequest {
            explicit_auth_flows: strings(&["ALLOW_USER_PASSWORD_AUTH"]),
            refresh_token_rotation: Some(types::RefreshTokenRotationType {
                feature: Some("ENABLED".to_owned()),
                retry_grace_period_seconds: None,
            }),
            ..Default::default()
        })
        .await;
    for generation in 0..3 {
        let mut tokens = vec![refresh_token(&pool.tokens_at(&client).await).to_owned()];
        for _ in 0..2 {
            let next = pool.get_tokens(&client, tokens.last().unwrap()).await.unwrap();
            tokens.push(refresh_token(&next).to_owned());
        }
        pool.revoke(&client, &tokens[generation]).await.unwrap();
        assert_eq!(refusal(pool.get_tokens(&client, &tokens[2]).await), REFRESH_REVOKED);
    }
}

/// `security.md` S32.
#[tokio::test]
async fn s32_a_sign_out_everywhere_ends_every_session_and_none_that_follows() {
    let pool = Fixture::new().await;
    pool.user("ada", &[]).await;
    pool.user("eve", &[]).await;
    let unrevocable = pool.unrevocable().await;
    let others = pool.tokens("eve").await;
    for by_admin in [false, true] {
        let clients = [&pool.client_id, &unrevocable];
        let mut before = Vec::new();
        for client in clients {
            before.push((client, pool.tokens_at(client).await));
        }
        pool.store.take_trips();
        if by_admin {
            pool.admin_sign_out("ada").await.unwrap();
        } else {
            pool.global_sign_out(access(&before[0].1)).await.unwrap();
        }
        assert_eq!(pool.store.take_trips(), trips(1, 1));
        for (client, tokens) in &before {
            assert_eq!(refusal(pool.get_user(access(tokens)).await), ACCESS_REVOKED);
            let refreshed = pool.refresh(client, refresh_token(tokens)).await;
            assert_eq!(refusal(refreshed), REFRESH_REVOKED);
            assert_eq!(refusal(pool.global_sign_out(access(tokens)).await), ACCESS_REVOKED);
        }
        // in the very millisecond of the sign-out
        for client in clients {
            let after = pool.tokens_at(client).await;
            assert!(pool.get_user(access(&after)).await.is_ok());
            assert!(pool.refresh(client, refresh_token(&after)).await.is_ok());
        }
    }
    assert!(pool.get_user(access(&others)).await.is_ok());
    // the token is still what it was: who checks it alone does not learn of the sign-out
    let config = pool.world.configs.get(&pool.pool_id).unwrap();
    assert_eq!(config.jwks().keys.len(), 2);
}

#[tokio::test]
async fn an_administrator_signs_out_users_in_every_state() {
    let pool = Fixture::new().await;
    let sub = pool.user("ada", &[]).await;
    pool.unconfirmed_user("new").await;
    pool.admin_sign_out("new").await.unwrap();
    pool.disable(&sub).await;
    pool.admin_sign_out(&sub).await.unwrap();
    assert_eq!(
        refusal(pool.admin_sign_out("nobody").await),
        "UserNotFoundException: User does not exist."
    );
    let before = users_last_modified(&pool).await;
    pool.advance(5);
    pool.admin_sign_out("ada").await.unwrap();
    assert_eq!(users_last_modified(&pool).await, before, "a sign-out changes no profile");
}

async fn users_last_modified(pool: &Fixture) -> Option<i64> {
    let request = types::AdminGetUserRequest {
        user_pool_id: Some(pool.pool_id.clone()),
        username: Some("ada".to_owned()),
    };
    let user = users::admin_get_user(&pool.world, &signed_call(), request).await.unwrap();
    user.user_last_modified_date
}

#[tokio::test]
async fn a_sign_out_asks_for_a_token_with_the_scope() {
    let pool = Fixture::new().await;
    pool.user("ada", &[]).await;
    let tokens = pool.tokens("ada").await;
    for bad in [id(&tokens), "a.b.c"] {
        assert_eq!(
            refusal(pool.global_sign_out(bad).await),
            "NotAuthorizedException: Invalid Access Token"
        );
    }
    assert!(pool.get_user(access(&tokens)).await.is_ok());
}

/// A token that is issued after the sign-out was acknowledged is what must not be: the rotation that
/// has read before it finds out when it commits.
#[tokio::test]
async fn a_sign_out_between_the_read_and_the_commit_of_a_refresh_wins() {
    let pool = Fixture::new().await;
    pool.user("ada", &[]).await;
    let client = pool
        .client(types::CreateUserPoolClientRequest {
            explicit_auth_flows: strings(&["ALLOW_USER_PASSWORD_AUTH"]),
            refresh_token_rotation: Some(types::RefreshTokenRotationType {
                feature: Some("ENABLED".to_owned()),
                retry_grace_period_seconds: Some(60),
            }),
            ..Default::default()
        })
        .await;
    for way in ["global", "admin", "revoke", "disable", "delete client"] {
        let tokens = pool.tokens_at(&client).await;
        let (access_token, token) = (access(&tokens).to_owned(), refresh_token(&tokens).to_owned());
        let (doomed, revoked) = (client.clone(), token.clone());
        pool.meanwhile(|other, pool_id| async move {
            match way {
                "global" => {
                    let request = types::GlobalSignOutRequest { access_token: Some(access_token) };
                    users::global_sign_out(&other, &unsigned_call(), request).await.unwrap();
                }
                "admin" => {
                    let request = types::AdminUserGlobalSignOutRequest {
                        user_pool_id: Some(pool_id),
                        username: Some("ada".to_owned()),
                    };
                    users::admin_user_global_sign_out(&other, &signed_call(), request)
                        .await
                        .unwrap();
                }
                "revoke" => {
                    let request = types::RevokeTokenRequest {
                        client_id: Some(doomed),
                        token: Some(revoked),
                        ..Default::default()
                    };
                    revoke_token(&other, &unsigned_call(), request).await.unwrap();
                }
                "disable" => {
                    let request = types::AdminDisableUserRequest {
                        user_pool_id: Some(pool_id.clone()),
                        username: Some("ada".to_owned()),
                    };
                    users::admin_disable_user(&other, &signed_call(), request).await.unwrap();
                }
                _ => {
                    let request = types::DeleteUserPoolClientRequest {
                        user_pool_id: Some(pool_id),
                        client_id: Some(doomed),
                    };
                    clients::delete_user_pool_client(&other, &signed_call(), request)
                        .await
                        .unwrap();
                }
            }
        });
        let expected = match way {
            "disable" => "NotAuthorizedException: User is disabled.".to_owned(),
            "delete client" => {
                format!("ResourceNotFoundException: User pool client {client} does not exist.")
            }
            _ => REFRESH_REVOKED.to_owned(),
        };
        assert_eq!(refusal(pool.get_tokens(&client, &token).await), expected, "{way}");
        if way == "disable" {
            let request = types::AdminEnableUserRequest {
                user_pool_id: Some(pool.pool_id.clone()),
                username: Some("ada".to_owned()),
            };
            users::admin_enable_user(&pool.test, &signed_call(), request).await.unwrap();
        }
    }
}
