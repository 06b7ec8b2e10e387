//! What tokens are good for while the keys that sign them come and go. The rows of the specification are in the names.

use conclave_crypto::token::SigningKey;
use conclave_store::records::{SigningKeyRecord, signing_key_record::State};
use prost::Message as _;
use serde_json::json;

use super::*;
use crate::{
    config::TokenUse,
    issuer,
    signing_keys::{Timing, advance::advance, order, set::USES},
};

const UNVERIFIED: &str = "NotAuthorizedException: Could not verify signature for Access Token";
const INVALID: &str = "NotAuthorizedException: Invalid Access Token";
const REVOKED: &str = "NotAuthorizedException: Access Token has been revoked";
const TIMING: Timing = Timing {
    publish: Duration::from_secs(60),
    rotate_after: None,
    retire: Duration::from_secs(4_000),
    lease: Duration::from_secs(30),
    check: Duration::ZERO,
};

impl Fixture {
    async fn settle_keys(&self) {
        while advance(&self.test, &self.pool_id, &TIMING).await.expect("goes on").changed {}
    }

    async fn rotate_keys(&self) {
        let (store, entropy) = (&*self.test.world.store, &*self.test.world.entropy);
        order::rotate(store, entropy, &self.pool_id, &USES, None).await.expect("is taken");
        self.settle_keys().await;
    }

    async fn revoke_key(&self, kid: &str) {
        let (store, entropy) = (&*self.test.world.store, &*self.test.world.entropy);
        order::revoke(store, entropy, &self.pool_id, kid, None).await.expect("is done");
    }

    async fn jwks_kids(&self) -> Vec<String> {
        let jwks = issuer::jwks(&self.world, &self.pool_id).await.unwrap().unwrap();
        jwks.keys.into_iter().map(|key| key.kid).collect()
    }
}

fn kid(token: &str) -> String {
    part(token, 0)["kid"].as_str().expect("has a kid").to_owned()
}

#[tokio::test]
async fn tokens_of_a_key_are_good_until_it_is_removed() {
    let pool = Fixture::new().await;
    pool.user("ada", &[]).await;
    pool.settle_keys().await;
    let first = pool.tokens("ada").await;
    pool.advance(60);
    pool.rotate_keys().await;
    let second = pool.tokens("ada").await;
    assert_ne!(kid(access(&first)), kid(access(&second)));
    assert_ne!(kid(id(&first)), kid(id(&second)));
    for tokens in [&first, &second] {
        pool.get_user(access(tokens)).await.expect("both are good");
        assert!(pool.jwks_kids().await.contains(&kid(id(tokens))));
    }
    pool.advance(3_000);
    pool.settle_keys().await;
    pool.get_user(access(&first)).await.expect("is as long good as it says");
    pool.advance(1_000);
    pool.settle_keys().await;
    assert!(!pool.jwks_kids().await.contains(&kid(access(&first))));
    assert_eq!(refusal(pool.get_user(access(&first)).await), UNVERIFIED);
}

/// K4, on one machine: whichever gateway is asked next refuses the tokens, however warm its cache is.
#[tokio::test]
async fn k4_a_revoked_key_is_refused_by_every_gateway_at_once() {
    let pool = Fixture::new().await;
    pool.user("ada", &[]).await;
    pool.settle_keys().await;
    let tokens = pool.tokens("ada").await;
    pool.get_user(access(&tokens)).await.expect("is good, and cached");
    let bad = kid(access(&tokens));
    pool.revoke_key(&bad).await;
    assert_eq!(refusal(pool.get_user(access(&tokens)).await), UNVERIFIED);
    assert!(!pool.jwks_kids().await.contains(&bad));
    // the ID token was signed by another key, and the session goes on
    assert!(pool.jwks_kids().await.contains(&kid(id(&tokens))));
    pool.advance(1);
    let renewed = pool.refresh(&pool.client_id, refresh_token(&tokens)).await.expect("renews");
    assert_ne!(kid(access(&renewed)), bad);
    pool.get_user(access(&renewed)).await.expect("the successor signs");
}

/// Whoever has the key makes tokens of any time: no key that has signed in its place counts for those.
#[tokio::test]
async fn what_was_issued_before_a_revocation_counts_no_more() {
    let pool = Fixture::new().await;
    pool.user("ada", &[]).await;
    pool.settle_keys().await;
    let old = pool.tokens("ada").await;
    pool.advance(60);
    pool.rotate_keys().await;
    let signing = pool.tokens("ada").await;
    pool.advance(10);
    pool.revoke_key(&kid(access(&signing))).await;
    // of a key that is on its way out, and from before
    assert_eq!(refusal(pool.get_user(access(&old)).await), REVOKED);
    assert_eq!(refusal(pool.get_user(access(&signing)).await), UNVERIFIED);
    let new = pool.tokens("ada").await;
    pool.get_user(access(&new)).await.expect("what comes in the same second is good");
    // a key that is on its way out takes nothing with it that came after
    pool.settle_keys().await;
    pool.revoke_key(&kid(access(&old))).await;
    pool.get_user(access(&new)).await.expect("is good");
}

/// K5: between the commit of a sign-in and its signatures a gateway stands still for longer than its lease, and the key
/// that it would have signed with is revoked meanwhile.
#[tokio::test(start_paused = true)]
async fn k5_a_gateway_that_stood_still_past_its_lease_signs_with_what_is_good_now() {
    let pool = Fixture::new().await;
    pool.user("ada", &[]).await;
    pool.settle_keys().await;
    let before = pool.tokens("ada").await;
    let bad = [kid(id(&before)), kid(access(&before))];
    pool.after_commit(|other, pool_id| async move {
        for kid in bad {
            order::revoke(&*other.store, &*other.entropy, &pool_id, &kid, None).await.unwrap();
        }
        tokio::time::advance(Duration::from_secs(30)).await;
    });
    let after = pool.tokens("ada").await;
    let good = pool.jwks_kids().await;
    for token in [id(&after), access(&after)] {
        assert!(good.contains(&kid(token)));
    }
    pool.get_user(access(&after)).await.expect("is good");
}

#[tokio::test(start_paused = true)]
async fn k5_without_a_quorum_nothing_is_signed_past_the_lease() {
    let pool = Fixture::new().await;
    pool.user("ada", &[]).await;
    let hooked = Arc::clone(&pool.hooked);
    pool.after_commit(|_, _| async move {
        hooked.is_down.store(true, Ordering::SeqCst);
        tokio::time::advance(Duration::from_secs(30)).await;
    });
    let refused = pool.sign_in(&pool.client_id, "ada", PASSWORD).await;
    assert_eq!(refused.unwrap_err().code, ExceptionName::ServiceUnavailable);
}

/// K8: a sealed key opens in its own row of its own pool, and nowhere else.
#[tokio::test]
async fn k8_a_sealed_key_that_is_moved_does_not_open() {
    let pool = Fixture::new().await;
    pool.user("ada", &[]).await;
    let other = new_pool_with(&pool.test, types::CreateUserPoolRequest::default()).await;
    let of = async |scope: &str| {
        let (set, _) = order::list(&*pool.test.world.store, scope).await.unwrap();
        set.keys().to_vec()
    };
    let (own, others) = (of(&pool.pool_id).await, of(&other).await);
    let put = async |records: Vec<SigningKeyRecord>| {
        let write = |record: SigningKeyRecord| proto::Write {
            key: keys::signing_key(&record.kid).into(),
            action: Some(proto::write::Action::Put(proto::Put {
                value: record.encode_to_vec().into(),
                expires_at_ms: None,
            })),
        };
        let mut writes: Vec<_> = records.into_iter().map(write).collect();
        writes.push(proto::Write {
            key: keys::EPOCH.to_vec().into(),
            action: Some(proto::write::Action::Add(proto::Add { delta: 1, ..Default::default() })),
        });
        let id: [u8; 16] = conclave_crypto::entropy::bytes(&*pool.test.world.entropy);
        let commit = proto::Commit {
            id: id.to_vec().into(),
            scope: pool.pool_id.clone(),
            decided_ms: pool.clock.now_ms(),
            writes,
            ..Default::default()
        };
        pool.store.commit(commit).await.unwrap();
    };
    let with = |into: &SigningKeyRecord, from: &SigningKeyRecord| SigningKeyRecord {
        sealed_private_key: from.sealed_private_key.clone(),
        ..into.clone()
    };
    pool.tokens("ada").await;
    // of two rows of one pool, and of another pool
    for swapped in [
        vec![with(&own[0], &own[1]), with(&own[1], &own[0])],
        vec![with(&own[0], &others[0]), own[1].clone()],
        // the row of another pool as a whole
        vec![
            others[0].clone(),
            SigningKeyRecord { state: State::Retiring as i32, ..own[0].clone() },
        ],
    ] {
        put(swapped).await;
        let refused = pool.sign_in(&pool.client_id, "ada", PASSWORD).await;
        assert_eq!(refused.unwrap_err().code, ExceptionName::InternalErrorException);
        put(own.clone()).await;
    }
}

/// K9: a key id is looked up and nothing else.
#[tokio::test]
async fn k9_a_key_id_that_is_not_known_is_refused_whatever_it_looks_like() {
    let pool = Fixture::new().await;
    pool.user("ada", &[]).await;
    pool.settle_keys().await;
    let tokens = pool.tokens("ada").await;
    let payload = Value::from(claims(access(&tokens)));
    let (attacker, _) = SigningKey::generate().unwrap();
    let own = kid(access(&tokens));
    let signature_of = |kid: &Value| {
        let header = encoding::base64url(json!({ "kid": kid, "alg": "RS256" }).to_string());
        let signed = attacker.sign(&payload).unwrap();
        let mut parts = signed.split('.');
        parts.next();
        format!("{header}.{}.{}", parts.next().unwrap(), parts.next().unwrap())
    };
    let mut texts: Vec<String> = [
        "",
        " ",
        "/",
        "..",
        "../../etc/passwd",
        "' OR 1=1 --",
        "\u{0}",
        "\u{202e}",
        "%00",
        "null",
        "https://evil.example/jwks.json",
        "file:///dev/null",
        "{}",
        "*",
        "\\",
        "\n",
        "kid",
    ]
    .map(str::to_owned)
    .into();
    texts.extend([
        own.clone(),
        own.to_lowercase(),
        format!("{own} "),
        own.trim_end_matches('=').to_owned(),
    ]);
    texts.extend(pool.jwks_kids().await);
    for index in 0..own.len() {
        let mut bytes = own.clone().into_bytes();
        bytes[index] = if bytes[index] == b'A' { b'B' } else { b'A' };
        texts.push(String::from_utf8(bytes).unwrap());
    }
    texts.extend([1, 100, 10_000, 90_000].map(|length| "k".repeat(length)));
    for text in texts {
        let refused = refusal(pool.get_user(&signature_of(&json!(text))).await);
        let short: String = text.chars().take(40).collect();
        assert!(refused == UNVERIFIED || refused == INVALID, "{short}: {refused}");
    }
    for odd in [json!(7), json!(null), json!(["a"]), json!({ "a": 1 }), json!(true)] {
        assert_eq!(refusal(pool.get_user(&signature_of(&odd)).await), INVALID);
    }
    let known = pool.world.configs.get(&pool.pool_id).unwrap();
    assert!(known.verifying_key(TokenUse::Access, &own).is_some());
}
