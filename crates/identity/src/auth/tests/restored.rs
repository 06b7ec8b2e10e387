//! What a pool that was restored from a backup takes of what was issued before.

use bytes::Bytes;
use conclave_store::{
    Store as _,
    proto::{self, write::Action},
    records::PoolRecord,
};
use prost::Message as _;

use super::*;

const REVOKED: &str = "NotAuthorizedException: Access Token has been revoked";

impl Fixture {
    /// As a restore at this time does, without waiting for it.
    async fn restore_at(&self, now_ms: i64) {
        let read = proto::Read {
            scope: self.pool_id.clone(),
            gets: vec![Bytes::from_static(keys::ROOT)],
            ..Default::default()
        };
        let result = self.store.read(read).await.expect("reads");
        let value = result.rows[0].value.clone().expect("is there");
        let mut pool = PoolRecord::decode(value).expect("decodes");
        pool.tokens_not_before_ms = now_ms;
        let put = proto::Put { value: pool.encode_to_vec().into(), expires_at_ms: None };
        let add = proto::Add { delta: 1, ..Default::default() };
        let write =
            |key, action| proto::Write { key: Bytes::from_static(key), action: Some(action) };
        let commit = proto::Commit {
            id: Bytes::from_static(b"a restore's id16"),
            scope: self.pool_id.clone(),
            decided_ms: result.now_ms,
            writes: vec![write(keys::ROOT, Action::Put(put)), write(keys::EPOCH, Action::Add(add))],
            ..Default::default()
        };
        self.store.commit(commit).await.expect("commits");
    }
}

#[tokio::test]
async fn access_tokens_from_before_a_restore_are_refused_and_those_after_it_are_not() {
    let pool = Fixture::new().await;
    pool.user("ada", &[]).await;
    let before = pool.tokens("ada").await;
    pool.advance(5);
    pool.restore_at(pool.clock.now_ms()).await;
    assert_eq!(refusal(pool.get_user(access(&before)).await), REVOKED);
    let after = pool.tokens("ada").await;
    assert!(pool.get_user(access(&after)).await.is_ok());
    // where the operator keeps refresh tokens, they make new ones
    let renewed = pool.refresh(&pool.client_id, refresh_token(&before)).await.expect("refreshes");
    assert!(pool.get_user(access(&renewed)).await.is_ok());
}

#[tokio::test]
async fn access_tokens_of_the_very_second_of_a_restore_are_refused() {
    let pool = Fixture::new().await;
    pool.user("ada", &[]).await;
    pool.clock.advance(Duration::from_millis(300));
    let before = pool.tokens("ada").await;
    pool.clock.advance(Duration::from_millis(300));
    pool.restore_at(pool.clock.now_ms()).await;
    assert_eq!(refusal(pool.get_user(access(&before)).await), REVOKED);
    pool.clock.advance(Duration::from_millis(400));
    let after = pool.tokens("ada").await;
    assert!(pool.get_user(access(&after)).await.is_ok());
}

#[tokio::test]
async fn a_challenge_that_was_issued_before_a_restore_cannot_be_answered() {
    let pool = Fixture::new().await;
    let parameters = [("USERNAME", "ada"), ("PASSWORD", PASSWORD)];
    pool.user("ada", &[]).await;
    let client_id = pool
        .client(types::CreateUserPoolClientRequest {
            explicit_auth_flows: vec!["ALLOW_USER_AUTH".to_owned()],
            ..Default::default()
        })
        .await;
    let begin = async || {
        let begun = pool.initiate(&client_id, "USER_AUTH", &parameters[..1]).await;
        begun.expect("begins").session.expect("answers a session")
    };
    let answer = async |session: &str| {
        let responses = map(&[("USERNAME", "ada"), ("ANSWER", "PASSWORD"), ("PASSWORD", PASSWORD)]);
        pool.respond(&client_id, "SELECT_CHALLENGE", Some(session), responses).await
    };
    let before = begin().await;
    pool.advance(1);
    pool.restore_at(pool.clock.now_ms()).await;
    let refused = refusal(answer(&before).await);
    assert_eq!(refused, "NotAuthorizedException: Invalid session for the user.");
    assert!(answer(&begin().await).await.is_ok());
}
