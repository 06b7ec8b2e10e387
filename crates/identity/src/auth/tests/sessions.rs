//! How many sessions a user can have.

use super::*;

#[tokio::test]
async fn sessions_of_a_user_are_capped_and_the_oldest_go_first() {
    let pool = Fixture::new().await;
    let sub = pool.user("ada", &[]).await;
    let first = pool.tokens("ada").await;
    let mut last = first.clone();
    let most = crate::auth::tokens::SESSIONS_MAX;
    for _ in 0..most * 2 {
        pool.advance(1);
        let response = pool.sign_in(&pool.client_id, "ada", PASSWORD).await.unwrap();
        assert_eq!(pool.store.take_trips(), trips(1, 1));
        last = response.authentication_result.unwrap();
    }
    let sessions = pool.sessions(&sub).await;
    assert!(sessions.len() <= most, "{}", sessions.len());
    assert!(sessions.len() >= most / 2, "{}", sessions.len());
    assert!(pool.refresh(&pool.client_id, refresh_token(&last)).await.is_ok());
    assert_eq!(
        refusal(pool.refresh(&pool.client_id, refresh_token(&first)).await),
        "NotAuthorizedException: Invalid Refresh Token"
    );
    assert_eq!(
        refusal(pool.get_user(access(&first)).await),
        "NotAuthorizedException: Access Token has been revoked"
    );
}

#[tokio::test]
async fn a_few_hundred_sessions_live_side_by_side() {
    let pool = Fixture::new().await;
    let sub = pool.user("ada", &[]).await;
    for _ in 0..200 {
        pool.sign_in(&pool.client_id, "ada", PASSWORD).await.unwrap();
    }
    assert_eq!(pool.sessions(&sub).await.len(), 200);
}

#[tokio::test]
async fn many_sign_ins_of_one_user_at_once_all_succeed() {
    let pool = Fixture::new().await;
    pool.user("ada", &[]).await;
    let sign_ins = (0..30).map(|_| pool.sign_in(&pool.client_id, "ada", PASSWORD));
    let results = futures::future::join_all(sign_ins).await;
    assert!(results.iter().all(Result::is_ok));
}
