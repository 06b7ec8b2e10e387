//! What is sealed with the keys of a pool while they are exchanged.

use conclave_crypto::seal::{OVERHEAD, sealed_version};
use conclave_store::records::{PoolKeysRecord, PoolResealRecord};
use prost::Message as _;

use super::{mfa::asking, *};
use crate::{
    identity_providers::create_identity_provider,
    pool_keys::{Timing, advance, order},
    pools::get_signing_certificate,
    signing_keys::order::OrderError,
};

const TIMING: Timing = Timing { settle: Duration::from_secs(180), keep: Duration::from_secs(900) };
pub(super) const LATER: Duration = Duration::from_secs(900);

impl Fixture {
    pub(super) async fn order_reseal(&self) {
        // a key that was made at the time of the order counts as made for it
        self.advance(1);
        let (store, entropy) = (&*self.test.world.store, &*self.test.world.entropy);
        order::reseal(store, entropy, None).await.expect("is taken");
    }

    pub(super) async fn reseal_on(&self) {
        while advance(&self.test, TIMING).await.expect("goes on") {}
    }

    pub(super) async fn reseal_state(&self) -> PoolResealRecord {
        order::status(&*self.test.world.store).await.expect("answers")
    }

    fn rows(&self) -> Vec<(Vec<u8>, Vec<u8>)> {
        let rows = self.store.physical_rows().into_iter();
        rows.filter_map(|(physical, value)| {
            let (scope, key) = keys::parse_row(&physical)?;
            (scope == self.pool_id).then(|| (key.to_vec(), value))
        })
        .collect()
    }

    /// The versions of the pool's key.
    pub(super) async fn versions(&self) -> Vec<u32> {
        versions_of(self, &self.pool_id).await
    }

    /// Writes something in a row of the pool, whatever it is.
    async fn put_raw(&self, key: Vec<u8>, value: Vec<u8>) {
        let put = proto::Put { value: value.into(), expires_at_ms: None };
        let write = proto::Write { key: key.into(), action: Some(proto::write::Action::Put(put)) };
        let commit = proto::Commit {
            id: vec![7; 16].into(),
            scope: self.pool_id.clone(),
            decided_ms: self.clock.now_ms(),
            writes: vec![write],
            ..Default::default()
        };
        self.store.commit(commit).await.expect("is committed");
    }

    /// The first bytes of rows in which something begins like a box of this version, wherever it is. Not of what wraps the
    /// pool's keys, and what is sealed for clients.
    pub(super) fn rows_with_boxes_of(&self, version: u32) -> Vec<u8> {
        let header = [&[1], &version.to_be_bytes()[..]].concat();
        let mut found: Vec<u8> = Vec::new();
        for (key, value) in self.rows() {
            let is_box = |at: usize| sealed_version(&value[at..]) == Some(version);
            let boxes = value.windows(OVERHEAD).enumerate();
            if boxes.filter(|(at, part)| part.starts_with(&header) && is_box(*at)).count() > 0 {
                found.push(key[0]);
            }
        }
        found.retain(|tag| *tag != keys::Tag::PoolKeys as u8);
        found.dedup();
        found
    }
}

async fn versions_of(fixture: &Fixture, pool_id: &str) -> Vec<u32> {
    let read = proto::Read {
        scope: pool_id.to_owned(),
        gets: vec![keys::pool_keys().into()],
        ..Default::default()
    };
    let result = fixture.store.read(read).await.expect("reads");
    let value = result.rows[0].value.clone().expect("is there");
    let record = PoolKeysRecord::decode(value).expect("decodes");
    record.keys.iter().map(|key| key.version).collect()
}

/// A pool with everything in it that is sealed.
struct Filled {
    pool: Fixture,
    app: super::mfa::App,
    confidential: (String, String),
    tokens: types::AuthenticationResultType,
}

async fn filled() -> Filled {
    let pool = asking("OPTIONAL").await;
    for number in 0..120 {
        pool.user(&format!("user{number}"), &[]).await;
    }
    let (_, app) = pool.user_with_app("ada", &[]).await;
    let request = types::UpdateUserPoolRequest {
        user_pool_id: Some(pool.pool_id.clone()),
        policies: Some(types::UserPoolPolicyType {
            password_policy: Some(types::PasswordPolicyType {
                minimum_length: Some(8),
                password_history_size: Some(3),
                ..Default::default()
            }),
            ..Default::default()
        }),
        user_pool_tier: Some("ESSENTIALS".to_owned()),
        ..Default::default()
    };
    crate::pools::update_user_pool(&pool.test, &signed_call(), request).await.expect("updates");
    // the second one puts the first into the history
    set_password(&pool.test, &pool.pool_id, "user1", NEW).await;
    let confidential = pool.confidential(false).await;
    let request = types::CreateIdentityProviderRequest {
        user_pool_id: Some(pool.pool_id.clone()),
        provider_name: Some("Google".to_owned()),
        provider_type: Some("Google".to_owned()),
        provider_details: Some(types::StringMap {
            items: map(&[
                ("client_id", "1.apps.googleusercontent.com"),
                ("client_secret", "secret of a provider"),
                ("authorize_scopes", "openid email"),
            ]),
        }),
        ..Default::default()
    };
    create_identity_provider(&pool.test, &signed_call(), request).await.expect("is made");
    let request = types::GetSigningCertificateRequest { user_pool_id: Some(pool.pool_id.clone()) };
    get_signing_certificate(&pool.test, &signed_call(), request).await.expect("is made");
    let tokens = pool.tokens("user0").await;
    Filled { pool, app, confidential, tokens }
}

impl Filled {
    /// Everything opens, for a gateway that remembers and for one that has just started.
    async fn check(&self) {
        let pool = &self.pool;
        for fresh in [false, true] {
            if fresh {
                pool.world.configs.remove(&pool.pool_id);
                pool.test.world.configs.remove(&pool.pool_id);
            }
            pool.tokens("user7").await;
            assert!(pool.srp(&pool.client_id, "user8", PASSWORD).await.is_ok());
            assert!(pool.get_user(access(&self.tokens)).await.is_ok());
            let refreshed = pool.refresh(&pool.client_id, refresh_token(&self.tokens)).await;
            assert!(refreshed.is_ok());
            let request = types::DescribeIdentityProviderRequest {
                user_pool_id: Some(pool.pool_id.clone()),
                provider_name: Some("Google".to_owned()),
            };
            let described = crate::identity_providers::describe_identity_provider(
                &pool.test,
                &signed_call(),
                request,
            )
            .await
            .expect("opens");
            let details = described.identity_provider.unwrap().provider_details;
            assert_eq!(details["client_secret"], "secret of a provider");
            let request = types::DescribeUserPoolClientRequest {
                user_pool_id: Some(pool.pool_id.clone()),
                client_id: Some(self.confidential.0.clone()),
            };
            let described =
                crate::clients::describe_user_pool_client(&pool.test, &signed_call(), request)
                    .await
                    .expect("opens");
            let secret = described.user_pool_client.unwrap().client_secret;
            assert_eq!(secret.as_deref(), Some(self.confidential.1.as_str()));
        }
        // a code of an app is good once
        pool.advance(30);
        let session = pool.session_of("ada", "SOFTWARE_TOKEN_MFA").await;
        assert!(pool.answer_app("ada", &session, &self.app.code(pool)).await.is_ok());
    }
}

#[tokio::test]
async fn everything_is_sealed_again_and_the_older_key_is_deleted() {
    let filled = filled().await;
    let pool = &filled.pool;
    let before = pool.rows_with_boxes_of(1);
    for tag in [
        keys::Tag::SigningKey,
        keys::Tag::Client,
        keys::Tag::UserChild,
        keys::Tag::ProviderDetails,
        keys::Tag::SamlKey,
    ] {
        assert!(before.contains(&(tag as u8)), "nothing is sealed in {tag:?}");
    }
    assert!(!advance(&pool.test, TIMING).await.unwrap(), "nobody has asked");
    pool.order_reseal().await;
    pool.reseal_on().await;
    let state = pool.reseal_state().await;
    assert_eq!((state.pass, state.is_over, state.failed), (2, true, 0));
    assert!(state.resealed > 120 && state.looked_at > state.resealed);
    assert_eq!(pool.versions().await, [1, 2], "the old version may be needed yet");
    assert_eq!(pool.rows_with_boxes_of(1), [0_u8; 0]);
    let (store, entropy) = (&*pool.test.world.store, &*pool.test.world.entropy);
    let again = order::reseal(store, entropy, None).await;
    assert!(matches!(again, Err(OrderError::ResealUnderWay)));
    filled.check().await;

    pool.clock.advance(LATER);
    pool.reseal_on().await;
    assert_eq!(pool.versions().await, [2]);
    let state = pool.reseal_state().await;
    assert!(state.started_ms == 0 && state.finished_ms > 0);
    filled.check().await;

    // and once more
    pool.order_reseal().await;
    pool.reseal_on().await;
    pool.clock.advance(LATER);
    pool.reseal_on().await;
    assert_eq!(pool.versions().await, [3]);
    filled.check().await;
}

#[tokio::test]
async fn sign_ins_that_have_begun_go_on_while_their_secrets_are_sealed_again() {
    let pool = Fixture::new().await;
    pool.user("ada", &[]).await;
    pool.temporary_user("grace", &[]).await;
    let challenge = pool.start_srp(&pool.client_id, "ada", &[]).await.unwrap();
    let session = pool.new_password_session(&pool.client_id, "grace").await;
    pool.order_reseal().await;
    pool.reseal_on().await;
    assert_eq!(pool.rows_with_boxes_of(1), [0_u8; 0]);
    let claim = pool.claim(&challenge, PASSWORD);
    assert!(pool.answer_srp(&pool.client_id, claim).await.is_ok());
    let answer = [("USERNAME", "grace"), ("NEW_PASSWORD", NEW)];
    assert!(pool.answer_new_password(&session, &answer).await.is_ok());
    // and one that began before the password was changed does not
    let challenge = pool.start_srp(&pool.client_id, "ada", &[]).await.unwrap();
    set_password(&pool.test, &pool.pool_id, "ada", NEW).await;
    let claim = pool.claim(&challenge, PASSWORD);
    assert_eq!(refusal(pool.answer_srp(&pool.client_id, claim).await), INCORRECT);
}

/// A gateway decides before the new version is there, and its commit comes when the first passes are over.
#[tokio::test]
async fn what_older_versions_have_sealed_meanwhile_is_found_by_the_last_pass() {
    let pool = Fixture::new().await;
    pool.user("ada", &[]).await;
    pool.advance(1);
    let test = gateway(&pool.test, Arc::clone(&pool.test.world.store));
    *pool.hooked.before_commit.lock() = Some(Box::pin(async move {
        let entropy = Arc::clone(&test.entropy);
        order::reseal(&*test.store, &*entropy, None).await.expect("is taken");
        while advance(&test, TIMING).await.expect("goes on") {}
    }));
    set_password(&pool.world, &pool.pool_id, "ada", NEW).await;
    pool.clock.advance(LATER);
    pool.reseal_on().await;
    assert_eq!(pool.versions().await, [2]);
    assert_eq!(pool.rows_with_boxes_of(1), [0_u8; 0]);
    assert!(pool.sign_in(&pool.client_id, "ada", NEW).await.is_ok());
    assert_eq!(refusal(pool.sign_in(&pool.client_id, "ada", PASSWORD).await), INCORRECT);
}

#[tokio::test]
async fn a_code_keeps_the_key_that_it_is_checked_with_until_it_expires() {
    let pool = Fixture::with(types::CreateUserPoolRequest {
        auto_verified_attributes: strings(&["email"]),
        ..Default::default()
    })
    .await;
    pool.user("ada", &super::mfa::EMAIL).await;
    let forgot = types::ForgotPasswordRequest {
        client_id: Some(pool.client_id.clone()),
        username: Some("ada".to_owned()),
        ..Default::default()
    };
    users::forgot_password(&pool.test, &unsigned_call(), forgot).await.expect("sends a code");
    let code = pool.sent_code();
    pool.order_reseal().await;
    pool.reseal_on().await;
    pool.clock.advance(LATER);
    pool.reseal_on().await;
    assert_eq!(pool.versions().await, [1, 2]);
    assert_eq!(pool.reseal_state().await.waiting, 1);
    let confirm = types::ConfirmForgotPasswordRequest {
        client_id: Some(pool.client_id.clone()),
        username: Some("ada".to_owned()),
        confirmation_code: Some(code),
        password: Some(NEW.to_owned()),
        ..Default::default()
    };
    users::confirm_forgot_password(&pool.test, &unsigned_call(), confirm).await.expect("is right");
    pool.clock.advance(LATER);
    pool.reseal_on().await;
    assert_eq!(pool.versions().await, [2]);
    assert!(pool.sign_in(&pool.client_id, "ada", NEW).await.is_ok());
}

/// Whoever dies before any of the commits leaves everything readable, and the next one goes on.
#[tokio::test]
async fn a_crash_at_any_commit_loses_nothing() {
    for (round, nth) in (0..2).flat_map(|round| (1..=16).map(move |nth| (round, nth))) {
        let pool = Fixture::new().await;
        let (client_id, secret) = pool.confidential(false).await;
        pool.user("ada", &[]).await;
        pool.order_reseal().await;
        for present in 0..4 {
            pool.store.fail_commit(if present == round { nth } else { 0 });
            let _ = advance(&pool.test, TIMING).await;
            pool.store.fail_commit(0);
            pool.tokens("ada").await;
            pool.clock.advance(LATER);
        }
        for _ in 0..3 {
            pool.reseal_on().await;
            pool.clock.advance(LATER);
        }
        assert_eq!(pool.versions().await, [2], "commit {nth} failed");
        assert_eq!(pool.rows_with_boxes_of(1), [0_u8; 0], "commit {nth} failed");
        pool.world.configs.remove(&pool.pool_id);
        assert!(pool.srp(&pool.client_id, "ada", PASSWORD).await.is_ok());
        let request = types::DescribeUserPoolClientRequest {
            user_pool_id: Some(pool.pool_id.clone()),
            client_id: Some(client_id),
        };
        let described =
            crate::clients::describe_user_pool_client(&pool.world, &signed_call(), request).await;
        let client = described.expect("opens").user_pool_client.unwrap();
        assert_eq!(client.client_secret, Some(secret));
    }
}

#[tokio::test]
async fn one_pool_can_be_meant_and_the_others_keep_their_keys() {
    let pool = Fixture::new().await;
    let other = new_pool_with(&pool.test, types::CreateUserPoolRequest::default()).await;
    let (store, entropy) = (&*pool.test.world.store, &*pool.test.world.entropy);
    let unknown = order::reseal(store, entropy, Some("us-east-1_nothing")).await;
    assert!(matches!(unknown, Err(OrderError::NoSuchPool(_))));
    order::reseal(store, entropy, Some(&other)).await.expect("is taken");
    for _ in 0..2 {
        pool.reseal_on().await;
        pool.clock.advance(LATER);
    }
    assert!(pool.reseal_state().await.finished_ms > 0);
    assert_eq!(pool.versions().await, [1]);
}

#[tokio::test]
async fn a_pool_that_is_frozen_meanwhile_keeps_its_keys_and_ends_nothing() {
    let pool = Fixture::new().await;
    pool.user("ada", &[]).await;
    let other = new_pool_with(&pool.test, types::CreateUserPoolRequest::default()).await;
    pool.order_reseal().await;
    pool.reseal_on().await;
    assert_eq!(pool.versions().await, [1, 2]);
    let (store, entropy) = (&*pool.test.world.store, &*pool.test.world.entropy);
    crate::pool_moves::freeze::freeze(store, entropy, &pool.pool_id, Some(true), "somebody")
        .await
        .expect("freezes");
    pool.clock.advance(LATER);
    pool.reseal_on().await;
    let state = pool.reseal_state().await;
    assert!(state.started_ms == 0 && state.finished_ms > 0, "in pass {}", state.pass);
    assert_eq!((state.kept, state.failed), (1, 0));
    assert_eq!(pool.versions().await, [1, 2]);
    assert_eq!(versions_of(&pool, &other).await, [2]);
}

#[tokio::test]
async fn a_pool_with_something_that_does_not_open_keeps_every_key_and_the_rest_is_sealed_again() {
    let pool = Fixture::new().await;
    pool.user("ada", &[]).await;
    pool.user("grace", &[]).await;
    let (key, _) = pool
        .rows()
        .into_iter()
        .find(|(key, _)| keys::user_child_kind(key) == Some(keys::UserChild::Credentials as u8))
        .expect("somebody has a password");
    pool.put_raw(key, b"nothing that decodes".to_vec()).await;
    pool.order_reseal().await;
    for _ in 0..2 {
        pool.reseal_on().await;
        pool.clock.advance(LATER);
    }
    pool.reseal_on().await;
    let state = pool.reseal_state().await;
    assert!(state.started_ms == 0 && state.finished_ms > 0, "in pass {}", state.pass);
    assert_eq!((state.damaged, state.failed), (1, 0));
    assert_eq!(pool.versions().await, [1, 2]);
    assert_eq!(pool.rows_with_boxes_of(1), [0_u8; 0], "of the other user, too");
}

/// An election in the middle of a pool, however large it is, costs no more than a look.
#[tokio::test]
async fn a_group_that_does_not_answer_for_a_moment_loses_no_place() {
    let pool = Fixture::new().await;
    for number in 0..120 {
        pool.user(&format!("user{number}"), &[]).await;
    }
    pool.order_reseal().await;
    let mut failed = 0;
    for nth in 3..12 {
        pool.store.fail_commit(nth);
        while advance(&pool.test, TIMING).await.unwrap_or_default() {}
        pool.store.fail_commit(0);
        let state = pool.reseal_state().await;
        failed += state.tries;
        assert_eq!(state.failed, 0);
    }
    assert!(failed > 0, "nothing has failed");
    pool.reseal_on().await;
    assert_eq!(pool.rows_with_boxes_of(1), [0_u8; 0]);
    assert_eq!(pool.reseal_state().await.tries, 0);
}
