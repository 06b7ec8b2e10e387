//! How many sessions a user can have.

use super::*;
use crate::auth::tokens::SESSIONS_MAX;

/// Gives a user sessions, the same number in each bucket, from the oldest to the youngest.
struct AddSessions<'a> {
    pool_id: &'a str,
    client_id: &'a str,
    sub: &'a str,
    buckets: std::ops::Range<usize>,
    each: usize,
}

#[async_trait]
impl Transaction for AddSessions<'_> {
    type Output = ();

    fn scope(&self) -> &str {
        self.pool_id
    }

    async fn decide(&self, tx: &mut Tx<'_>) -> Decision<()> {
        tx.load(Query::new()).await?;
        for (bucket, number) in self
            .buckets
            .clone()
            .flat_map(|bucket| (0..self.each).map(move |number| (bucket, number)))
        {
            let origin_jti = format!("{bucket:02x}000000-0000-4000-8000-{number:012x}");
            let session = SessionRecord {
                origin_jti: origin_jti.clone(),
                client_id: self.client_id.to_owned(),
                created_ms: tx.now_ms() + number as i64,
                expires_ms: tx.now_ms() + 3_600_000,
                ..Default::default()
            };
            let key = crate::auth::access_token::session_key(self.sub, &origin_jti);
            tx.put_expiring(key, &session, session.expires_ms);
        }
        Ok(().into())
    }
}

#[tokio::test]
async fn sessions_of_a_user_are_capped_and_the_oldest_go_first() {
    let pool = Fixture::new().await;
    let sub = pool.user("ada", &[]).await;
    let each = SESSIONS_MAX / 256;
    for first in (0..256).step_by(16) {
        let add = AddSessions {
            pool_id: &pool.pool_id,
            client_id: &pool.client_id,
            sub: &sub,
            buckets: first..first + 16,
            each,
        };
        transact(&pool.test.world, &add).await.unwrap();
    }
    pool.advance(60);
    let mut tokens = Vec::new();
    for _ in 0..20 {
        tokens.push(pool.tokens("ada").await);
        let challenge = pool.start_srp(&pool.client_id, "ada", &[]).await.unwrap();
        pool.store.take_trips();
        let claim = pool.claim(&challenge, PASSWORD);
        let response = pool.answer_srp(&pool.client_id, claim).await.unwrap();
        assert_eq!(pool.store.take_trips(), trips(1, 1));
        tokens.push(response.authentication_result.unwrap());
    }
    for tokens in &tokens {
        assert!(pool.refresh(&pool.client_id, refresh_token(tokens)).await.is_ok());
        assert!(pool.get_user(access(tokens)).await.is_ok());
    }
    let mut left = pool.session_ids(&sub).await;
    left.sort_unstable();
    assert_eq!(left.len(), SESSIONS_MAX);
    // what went is the oldest of its bucket, and where two new ones fell into one, the next
    let gone_first = (0..256).filter(|bucket| {
        let oldest = format!("{bucket:02x}000000-0000-4000-8000-{:012x}", 0);
        !left.contains(&oldest)
    });
    assert!((30..=40).contains(&gone_first.count()));
}

#[tokio::test]
async fn a_few_hundred_sessions_live_side_by_side() {
    let pool = Fixture::new().await;
    let sub = pool.user("ada", &[]).await;
    for _ in 0..150 {
        pool.sign_in(&pool.client_id, "ada", PASSWORD).await.unwrap();
    }
    assert_eq!(pool.session_ids(&sub).await.len(), 150);
}

#[tokio::test]
async fn many_sign_ins_of_one_user_at_once_all_succeed() {
    let pool = Fixture::new().await;
    pool.user("ada", &[]).await;
    let sign_ins = (0..30).map(|_| pool.sign_in(&pool.client_id, "ada", PASSWORD));
    let results = futures::future::join_all(sign_ins).await;
    assert!(results.iter().all(Result::is_ok));
}
