//! GetTokensFromRefreshToken and RefreshTokenRotation.

use super::*;
use crate::clients;

const REUSED: &str = "RefreshTokenReuseException: Refresh Token has been used already and is not valid \
                      any more.";
const REVOKED: &str = "NotAuthorizedException: Refresh Token has been revoked";

fn rotation(feature: &str, grace_s: Option<i32>) -> types::RefreshTokenRotationType {
    types::RefreshTokenRotationType {
        feature: Some(feature.to_owned()),
        retry_grace_period_seconds: grace_s,
    }
}

impl Fixture {
    /// A client whose refresh tokens rotate.
    async fn rotating(&self, grace_s: i32) -> String {
        self.client(types::CreateUserPoolClientRequest {
            explicit_auth_flows: strings(&["ALLOW_USER_PASSWORD_AUTH"]),
            refresh_token_rotation: Some(rotation("ENABLED", Some(grace_s))),
            ..Default::default()
        })
        .await
    }

    /// The refresh token of a sign-in, and its access token.
    async fn signed_in(&self, client_id: &str) -> (String, String) {
        let response = self.sign_in(client_id, "ada", PASSWORD).await.expect("signs in");
        let tokens = response.authentication_result.expect("answers tokens");
        self.store.take_trips();
        (refresh_token(&tokens).to_owned(), access(&tokens).to_owned())
    }

    /// The refresh token that replaces one.
    async fn next(&self, client_id: &str, token: &str) -> String {
        let tokens = self.get_tokens(client_id, token).await.expect("answers tokens");
        refresh_token(&tokens).to_owned()
    }
}

#[tokio::test]
async fn without_rotation_the_token_stays_and_nothing_is_written() {
    let pool = Fixture::new().await;
    pool.user("ada", &[]).await;
    let no_rotation = pool
        .client(types::CreateUserPoolClientRequest {
            refresh_token_rotation: Some(rotation("DISABLED", Some(60))),
            ..Default::default()
        })
        .await;
    for client in [&pool.client_id, &no_rotation] {
        let (token, _) = pool.signed_in(client).await;
        for _ in 0..2 {
            let tokens = pool.get_tokens(client, &token).await.unwrap();
            assert_eq!(pool.store.take_trips(), trips(1, 0));
            assert_eq!((tokens.refresh_token.as_deref(), tokens.expires_in), (None, Some(3_600)));
            assert!(pool.get_user(access(&tokens)).await.is_ok());
            pool.store.take_trips();
        }
    }
}

#[tokio::test]
async fn each_refresh_replaces_the_token_in_one_read_and_one_commit() {
    let pool = Fixture::new().await;
    pool.user("ada", &[]).await;
    let client = pool.rotating(0).await;
    let (mut token, first) = pool.signed_in(&client).await;
    for _ in 0..5 {
        pool.advance(60);
        let tokens = pool.get_tokens(&client, &token).await.unwrap();
        assert_eq!(pool.store.take_trips(), trips(1, 1));
        assert_ne!(refresh_token(&tokens), token);
        let (old, new) = (claims(&first), claims(access(&tokens)));
        for kept in ["sub", "origin_jti", "event_id", "auth_time"] {
            assert_eq!(old[kept], new[kept], "{kept}");
        }
        token = refresh_token(&tokens).to_owned();
    }
    // what has been replaced is not remembered for good
    let session = pool.sessions(claims(&first)["sub"].as_str().unwrap()).await.pop().unwrap();
    assert_eq!(session.replaced.len(), 1);
}

/// `security.md` S35. The text of the exception is judgement; that the session ends is ours.
#[tokio::test]
async fn s35_a_token_that_was_replaced_ends_the_session_when_it_comes_back() {
    let pool = Fixture::new().await;
    let sub = pool.user("ada", &[]).await;
    for grace_s in [0, 60] {
        let client = pool.rotating(grace_s).await;
        for generations in 1..4 {
            let (stolen, _) = pool.signed_in(&client).await;
            let (other, _) = pool.signed_in(&client).await;
            let mut token = stolen.clone();
            for _ in 0..generations {
                token = pool.next(&client, &token).await;
            }
            let tokens = pool.get_tokens(&client, &token).await.unwrap();
            let current = refresh_token(&tokens);
            pool.advance(u64::try_from(grace_s).unwrap());
            assert!(pool.get_user(access(&tokens)).await.is_ok());

            assert_eq!(refusal(pool.get_tokens(&client, &stolen).await), REUSED);
            assert_eq!(refusal(pool.get_tokens(&client, current).await), REVOKED);
            assert_eq!(refusal(pool.get_tokens(&client, &stolen).await), REUSED);
            assert_eq!(
                refusal(pool.get_user(access(&tokens)).await),
                "NotAuthorizedException: Access Token has been revoked"
            );
            // other sessions of the user go on
            assert!(pool.get_tokens(&client, &other).await.is_ok());
        }
    }
    assert_eq!(pool.sessions(&sub).await.len(), 12);
}

/// `security.md` S35.
#[tokio::test]
async fn s35_a_client_that_rotates_has_no_refresh_token_auth() {
    let pool = Fixture::new().await;
    pool.user("ada", &[]).await;
    let refused = "InvalidParameterException: REFRESH_TOKEN_AUTH flow not enabled for this client";
    let listed = pool.rotating(60).await;
    let (token, _) = pool.signed_in(&listed).await;
    assert_eq!(refusal(pool.refresh(&listed, &token).await), refused);

    // a client that names no flows has this one unless it rotates
    let client = pool.rotating(60).await;
    let (token, _) = pool.signed_in(&client).await;
    pool.edit_client(&client, |client| client.explicit_auth_flows.clear()).await;
    assert_eq!(refusal(pool.refresh(&client, &token).await), refused);
    let next = pool.next(&client, &token).await;
    // once rotation is off again, the flow takes what is good, and what was replaced ends the session
    pool.edit_client(&client, |client| client.refresh_token_rotation = None).await;
    for token in [&token, &next] {
        assert!(pool.refresh(&client, token).await.is_ok());
    }
    pool.advance(60);
    assert!(pool.refresh(&client, &next).await.is_ok());
    assert_eq!(refusal(pool.refresh(&client, &token).await), REVOKED);
    assert_eq!(refusal(pool.refresh(&client, &next).await), REVOKED);
}

#[tokio::test]
async fn within_the_grace_period_a_replaced_token_is_answered_with_its_successor() {
    let pool = Fixture::new().await;
    pool.user("ada", &[]).await;
    let client = pool.rotating(10).await;
    let (first, _) = pool.signed_in(&client).await;
    let second = pool.next(&client, &first).await;
    pool.advance(5);
    pool.store.take_trips();
    assert_eq!(pool.next(&client, &first).await, second);
    assert_eq!(pool.store.take_trips(), trips(1, 0));
    // also when that has been replaced meanwhile
    let third = pool.next(&client, &second).await;
    assert_eq!(pool.next(&client, &first).await, third);
    assert_eq!(pool.next(&client, &second).await, third);
    pool.advance(5);
    assert_eq!(pool.next(&client, &second).await, third);
    assert_eq!(refusal(pool.get_tokens(&client, &first).await), REUSED);
}

#[tokio::test]
async fn a_client_that_refreshes_without_end_keeps_a_few_replaced_tokens() {
    let pool = Fixture::new().await;
    let sub = pool.user("ada", &[]).await;
    let client = pool.rotating(60).await;
    let (mut token, _) = pool.signed_in(&client).await;
    let mut tokens = Vec::new();
    for _ in 0..20 {
        tokens.push(token.clone());
        token = pool.next(&client, &token).await;
    }
    assert_eq!(pool.sessions(&sub).await[0].replaced.len(), 16);
    assert_eq!(pool.next(&client, &tokens[4]).await, token);
    assert_eq!(refusal(pool.get_tokens(&client, &tokens[3]).await), REUSED);
}

#[tokio::test]
async fn a_new_token_lives_for_the_rest_of_the_first_one_s_time() {
    let pool = Fixture::new().await;
    pool.user("ada", &[]).await;
    let client = pool.rotating(0).await;
    let (token, _) = pool.signed_in(&client).await;
    pool.advance(30 * 24 * 3_600 - 10);
    let token = pool.next(&client, &token).await;
    pool.advance(9);
    let token = pool.next(&client, &token).await;
    pool.advance(1);
    assert_eq!(
        refusal(pool.get_tokens(&client, &token).await),
        "NotAuthorizedException: Refresh Token has expired"
    );
}

#[tokio::test]
async fn two_refreshes_at_once_end_as_the_grace_period_says() {
    let pool = Fixture::new().await;
    pool.user("ada", &[]).await;
    for grace_s in [0, 60] {
        let client = pool.rotating(grace_s).await;
        let (token, _) = pool.signed_in(&client).await;
        let request = get_tokens_request(&client, &token);
        let (send, received) = tokio::sync::oneshot::channel();
        pool.meanwhile(|other, _| async move {
            let answer = get_tokens_from_refresh_token(&other, &unsigned_call(), request).await;
            let tokens = answer.unwrap().authentication_result.unwrap();
            send.send(refresh_token(&tokens).to_owned()).unwrap();
        });
        let mine = pool.get_tokens(&client, &token).await;
        let theirs = received.await.unwrap();
        if grace_s == 0 {
            assert_eq!(refusal(mine), REUSED);
            assert_eq!(refusal(pool.get_tokens(&client, &theirs).await), REVOKED);
        } else {
            assert_eq!(refresh_token(&mine.unwrap()), theirs);
            assert!(pool.get_tokens(&client, &theirs).await.is_ok());
        }
    }
}

#[tokio::test]
async fn a_rotation_whose_answer_is_lost_is_found_done() {
    let pool = Fixture::new().await;
    pool.user("ada", &[]).await;
    let client = pool.rotating(0).await;
    for faults in [&[Fault::AnswerLost][..], &[Fault::RequestLost], &[Fault::Stale]] {
        let (token, _) = pool.signed_in(&client).await;
        pool.commits_meet(faults);
        let next = pool.next(&client, &token).await;
        assert!(pool.get_tokens(&client, &next).await.is_ok());
    }
}

#[tokio::test]
async fn rotation_that_is_switched_off_leaves_the_newest_token_good() {
    let pool = Fixture::new().await;
    pool.user("ada", &[]).await;
    let client = pool.rotating(60).await;
    let (first, _) = pool.signed_in(&client).await;
    let second = pool.next(&client, &first).await;
    pool.edit_client(&client, |client| client.refresh_token_rotation = None).await;
    // whoever has missed the last rotation still learns of it
    assert_eq!(pool.next(&client, &first).await, second);
    let tokens = pool.get_tokens(&client, &second).await.unwrap();
    assert_eq!(tokens.refresh_token, None);
    pool.advance(60);
    assert_eq!(refusal(pool.get_tokens(&client, &first).await), REUSED);
}

#[tokio::test]
async fn what_is_no_token_of_the_client_is_refused() {
    let pool = Fixture::new().await;
    pool.user("ada", &[]).await;
    let client = pool.rotating(60).await;
    let (token, access_token) = pool.signed_in(&client).await;
    let mut altered = encoding::base64url_decode(&token).unwrap();
    *altered.last_mut().unwrap() ^= 1;
    let altered = encoding::base64url(&altered);
    for bad in [altered.as_str(), "x", &access_token] {
        assert_eq!(
            refusal(pool.get_tokens(&client, bad).await),
            "NotAuthorizedException: Invalid Refresh Token"
        );
    }
    let other = pool.rotating(60).await;
    let foreign = "NotAuthorizedException: Refresh Token has different Client";
    assert_eq!(refusal(pool.get_tokens(&other, &token).await), foreign);
    // also an old one, and the session of the right client goes on
    let next = pool.next(&client, &token).await;
    pool.advance(60);
    assert_eq!(refusal(pool.get_tokens(&other, &token).await), foreign);
    assert!(pool.get_tokens(&client, &next).await.is_ok());
    assert_eq!(
        refusal(pool.get_tokens("nobody", &token).await),
        "ResourceNotFoundException: User pool client nobody does not exist."
    );
}

#[tokio::test]
async fn before_the_first_rotation_a_half_right_token_is_none() {
    let pool = Fixture::new().await;
    pool.user("ada", &[]).await;
    let client = pool.rotating(0).await;
    let (token, _) = pool.signed_in(&client).await;
    let mut altered = encoding::base64url_decode(&token).unwrap();
    *altered.last_mut().unwrap() ^= 1;
    let altered = encoding::base64url(&altered);
    assert_eq!(
        refusal(pool.get_tokens(&client, &altered).await),
        "NotAuthorizedException: Invalid Refresh Token"
    );
    assert!(pool.get_tokens(&client, &token).await.is_ok());
}

#[tokio::test]
async fn a_client_with_a_secret_sends_it() {
    let pool = Fixture::new().await;
    pool.user("ada", &[]).await;
    let (client, secret) = pool.confidential(false).await;
    let hash = secret_hash(&secret, "ada", &client);
    let parameters = [("USERNAME", "ada"), ("PASSWORD", PASSWORD), ("SECRET_HASH", hash.as_str())];
    let response = pool.initiate(&client, "USER_PASSWORD_AUTH", &parameters).await.unwrap();
    let tokens = response.authentication_result.unwrap();
    let get_tokens = async |secret: Option<&str>| {
        let request = types::GetTokensFromRefreshTokenRequest {
            client_secret: secret.map(str::to_owned),
            ..get_tokens_request(&client, refresh_token(&tokens))
        };
        get_tokens_from_refresh_token(&pool.world, &unsigned_call(), request).await
    };
    assert_eq!(
        refusal(get_tokens(None).await),
        format!(
            "NotAuthorizedException: Client {client} is configured for secret but secret was not \
             received"
        )
    );
    assert_eq!(
        refusal(get_tokens(Some("wrong_secret_wrong_secret")).await),
        format!("NotAuthorizedException: Unable to verify secret for client {client}")
    );
    assert!(get_tokens(Some(&secret)).await.is_ok());
}

/// The rule is documented, the text is judgement.
#[tokio::test]
async fn rotation_and_refresh_token_auth_exclude_each_other() {
    let pool = Fixture::new().await;
    let refused = "InvalidParameterException: ALLOW_REFRESH_TOKEN_AUTH is not supported when refresh \
                   token rotation is enabled.";
    let request = |flows: &[&str], rotation| types::CreateUserPoolClientRequest {
        user_pool_id: Some(pool.pool_id.clone()),
        client_name: Some("c".to_owned()),
        explicit_auth_flows: strings(flows),
        refresh_token_rotation: Some(rotation),
        ..Default::default()
    };
    let create = async |request| {
        let response =
            clients::create_user_pool_client(&pool.test, &signed_call(), request).await?;
        Ok::<_, ApiError>(response.user_pool_client.unwrap())
    };
    let both = ["ALLOW_REFRESH_TOKEN_AUTH", "ALLOW_USER_SRP_AUTH"];
    assert_eq!(refusal(create(request(&both, rotation("ENABLED", None))).await), refused);
    let client = create(request(&both, rotation("DISABLED", None))).await.unwrap();
    let described = client.refresh_token_rotation.clone();
    assert_eq!(described, Some(rotation("DISABLED", Some(0))));
    for flows in [&[][..], &["ALLOW_USER_SRP_AUTH"], &["ADMIN_NO_SRP_AUTH"]] {
        let client = create(request(flows, rotation("ENABLED", Some(60)))).await.unwrap();
        assert_eq!(client.refresh_token_rotation, Some(rotation("ENABLED", Some(60))));
    }
    let update = types::UpdateUserPoolClientRequest {
        user_pool_id: Some(pool.pool_id.clone()),
        client_id: client.client_id,
        explicit_auth_flows: strings(&both),
        refresh_token_rotation: Some(rotation("ENABLED", Some(3))),
        ..Default::default()
    };
    let updated =
        async |update| clients::update_user_pool_client(&pool.test, &signed_call(), update).await;
    assert_eq!(refusal(updated(update.clone()).await), refused);
    let update = types::UpdateUserPoolClientRequest { explicit_auth_flows: Vec::new(), ..update };
    let after = updated(update.clone()).await.unwrap().user_pool_client.unwrap();
    assert_eq!(after.refresh_token_rotation, Some(rotation("ENABLED", Some(3))));
    // what an update leaves out goes back to its default
    let update = types::UpdateUserPoolClientRequest { refresh_token_rotation: None, ..update };
    let after = updated(update).await.unwrap().user_pool_client.unwrap();
    assert_eq!(after.refresh_token_rotation, None);
}
