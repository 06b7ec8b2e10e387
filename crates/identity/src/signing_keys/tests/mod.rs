//! Key sets over time, on a store in memory. What their tokens are good for is in `auth/tests/signing_keys.rs`.

use std::{collections::HashSet, time::Duration};

use conclave_crypto::token::{Jwks, KeySet as VerifyingKeys};
use conclave_store::{
    Clock as _, keys,
    records::{SigningKeyRecord, signing_key_record::State},
};
use prost::Message as _;

use super::{
    Timing,
    advance::advance,
    order::{self, OrderError},
    set::{KeySet, Refused, USES},
    worker::{Report, Worker},
};
use crate::{
    config::TokenUse,
    issuer,
    testing::{TestWorld, new_pool, test_world},
};

const TIMING: Timing = Timing {
    publish: Duration::from_secs(60),
    rotate_after: Some(Duration::from_secs(1_000)),
    retire: Duration::from_secs(300),
    lease: Duration::from_secs(30),
    check: Duration::ZERO,
};
const BY_ORDER: Timing = Timing { rotate_after: None, ..TIMING };

async fn states(world: &TestWorld, pool_id: &str) -> Vec<(String, State, String)> {
    let (set, _) = order::list(&*world.store, pool_id).await.expect("lists");
    let mut keys: Vec<_> =
        set.keys().iter().map(|key| (key.r#use.clone(), key.state(), key.kid.clone())).collect();
    keys.sort_by(|a, b| (&a.0, a.1 as i32).cmp(&(&b.0, b.1 as i32)));
    keys
}

async fn count(world: &TestWorld, pool_id: &str, state: State) -> usize {
    states(world, pool_id).await.iter().filter(|key| key.1 == state).count()
}

async fn kid(world: &TestWorld, pool_id: &str, token_use: TokenUse, state: State) -> String {
    let keys = states(world, pool_id).await;
    let found = keys.into_iter().find(|key| key.0 == token_use.as_str() && key.1 == state);
    found.expect("there is one").2
}

async fn version(world: &TestWorld, pool_id: &str) -> u64 {
    order::list(&*world.store, pool_id).await.expect("lists").0.record().version
}

/// Until nothing is left to do.
async fn settle(world: &TestWorld, pool_id: &str, timing: &Timing) -> Option<i64> {
    for _ in 0..8 {
        let step = advance(world, pool_id, timing).await.expect("takes a step");
        if !step.changed {
            return step.next_ms;
        }
    }
    panic!("there is always something to do");
}

async fn jwks(world: &TestWorld, pool_id: &str) -> Jwks {
    issuer::jwks(world, pool_id).await.expect("answers").expect("there is a pool")
}

fn kids(jwks: &Jwks) -> HashSet<String> {
    jwks.keys.iter().map(|key| key.kid.clone()).collect()
}

/// A token of each use, signed by whatever signs now.
async fn tokens(world: &TestWorld, pool_id: &str) -> [String; 2] {
    let (config, _) = issuer::fresh(world, pool_id).await.expect("answers");
    USES.map(|token_use| {
        let key = config.active_key(token_use).expect("one signs");
        key.sign(&serde_json::json!({ "iat": world.clock.now_ms() / 1_000 })).expect("signs")
    })
}

#[tokio::test]
async fn a_key_is_published_before_it_signs_and_stays_until_its_tokens_have_expired() {
    let world = test_world().await;
    let pool_id = new_pool(&world).await;
    assert_eq!(count(&world, &pool_id, State::Active).await, 2);
    settle(&world, &pool_id, &TIMING).await;
    assert_eq!(count(&world, &pool_id, State::Pending).await, 2);
    let first = kids(&jwks(&world, &pool_id).await);
    assert_eq!(first.len(), 4);

    // nothing happens before its time
    world.clock.advance(Duration::from_secs(999));
    let next_ms = settle(&world, &pool_id, &TIMING).await.expect("a rotation is due");
    assert_eq!(next_ms, world.clock.now_ms() + 1_000);
    assert_eq!(count(&world, &pool_id, State::Retiring).await, 0);
    let signing = kid(&world, &pool_id, TokenUse::Id, State::Active).await;
    let following = kid(&world, &pool_id, TokenUse::Id, State::Pending).await;

    world.clock.advance(Duration::from_secs(1));
    settle(&world, &pool_id, &TIMING).await;
    assert_eq!(kid(&world, &pool_id, TokenUse::Id, State::Active).await, following);
    assert_eq!(kid(&world, &pool_id, TokenUse::Id, State::Retiring).await, signing);
    // two that sign, two that follow, two on their way out
    let second = jwks(&world, &pool_id).await;
    assert_eq!(second.keys.len(), 6);
    assert!(kids(&second).is_superset(&first));
    // what signs comes first, as in Cognito's
    assert_eq!(second.keys[0].kid, following);
    assert_eq!(second.keys[1].kid, kid(&world, &pool_id, TokenUse::Access, State::Active).await);

    world.clock.advance(Duration::from_secs(299));
    settle(&world, &pool_id, &TIMING).await;
    assert!(kids(&jwks(&world, &pool_id).await).contains(&signing));
    world.clock.advance(Duration::from_secs(1));
    settle(&world, &pool_id, &TIMING).await;
    assert!(!kids(&jwks(&world, &pool_id).await).contains(&signing));
    assert_eq!(states(&world, &pool_id).await.len(), 4);
}

#[tokio::test]
async fn a_key_that_signs_no_more_has_no_private_half() {
    let world = test_world().await;
    let pool_id = new_pool(&world).await;
    settle(&world, &pool_id, &TIMING).await;
    world.clock.advance(Duration::from_secs(1_000));
    settle(&world, &pool_id, &TIMING).await;
    let (set, _) = order::list(&*world.store, &pool_id).await.unwrap();
    for key in set.keys() {
        let has_private = !key.sealed_private_key.is_empty();
        assert_eq!(has_private, key.state() != State::Retiring, "{}", key.state().as_str_name());
    }
}

/// K2: whoever has read the JWKS just before a key came into it, and keeps it for almost as long as keys are published
/// ahead, verifies every token.
#[tokio::test]
async fn k2_a_jwks_that_is_almost_as_old_as_it_may_be_verifies_every_token() {
    let world = test_world().await;
    let pool_id = new_pool(&world).await;
    settle(&world, &pool_id, &BY_ORDER).await;
    let mut cached = (world.clock.now_ms(), jwks(&world, &pool_id).await);
    let mut seen = HashSet::new();
    for step in 0..400 {
        if step % 7 == 0 {
            let asked = order::rotate(&*world.store, &*world.entropy, &pool_id, &USES, None).await;
            asked.expect("is taken");
        }
        world.clock.advance(Duration::from_secs(10));
        settle(&world, &pool_id, &BY_ORDER).await;
        if world.clock.now_ms() - cached.0 >= 60_000 {
            cached = (world.clock.now_ms(), jwks(&world, &pool_id).await);
        }
        let stale = VerifyingKeys::new(&cached.1.keys).expect("parses");
        for token in tokens(&world, &pool_id).await {
            stale.verify(&token).expect("a stale JWKS verifies it");
            seen.insert(token.split('.').next().map(str::to_owned));
        }
    }
    assert!(seen.len() > 20, "{} keys have signed", seen.len());
}

/// K3: of two rotations that mean the same version, one is refused, and it is one rotation.
#[tokio::test]
async fn k3_of_two_rotations_of_one_version_one_wins() {
    let world = test_world().await;
    let pool_id = new_pool(&world).await;
    settle(&world, &pool_id, &BY_ORDER).await;
    world.clock.advance(Duration::from_secs(60));
    let before = version(&world, &pool_id).await;
    let rotate = || order::rotate(&*world.store, &*world.entropy, &pool_id, &USES, Some(before));
    let (one, other) = tokio::join!(rotate(), rotate());
    let refused = |result: &Result<u64, OrderError>| matches!(result, Err(OrderError::Refused(Refused::Changed(version))) if *version == before + 1);
    assert!(one.is_ok() != other.is_ok());
    assert!(refused(&one) || refused(&other));
    // two gateways carry it out at once
    let advance = || advance(&world, &pool_id, &BY_ORDER);
    let (one, other) = tokio::join!(advance(), advance());
    one.unwrap();
    other.unwrap();
    settle(&world, &pool_id, &BY_ORDER).await;
    assert_eq!(count(&world, &pool_id, State::Retiring).await, 2);
    assert_eq!(count(&world, &pool_id, State::Active).await, 2);
    assert_eq!(count(&world, &pool_id, State::Pending).await, 2);
}

#[tokio::test]
async fn a_rotation_by_order_waits_for_the_dwell_and_happens_once() {
    let world = test_world().await;
    let pool_id = new_pool(&world).await;
    let uses = [TokenUse::Access];
    order::rotate(&*world.store, &*world.entropy, &pool_id, &uses, None).await.unwrap();
    settle(&world, &pool_id, &BY_ORDER).await;
    world.clock.advance(Duration::from_secs(59));
    settle(&world, &pool_id, &BY_ORDER).await;
    assert_eq!(count(&world, &pool_id, State::Retiring).await, 0);
    world.clock.advance(Duration::from_secs(1));
    settle(&world, &pool_id, &BY_ORDER).await;
    let retiring: Vec<_> = states(&world, &pool_id).await;
    let retiring: Vec<_> = retiring.iter().filter(|key| key.1 == State::Retiring).collect();
    assert_eq!(retiring.len(), 1);
    assert_eq!(retiring[0].0, "access");
    world.clock.advance(Duration::from_secs(100_000));
    settle(&world, &pool_id, &BY_ORDER).await;
    assert_eq!(states(&world, &pool_id).await.len(), 4);
}

#[tokio::test]
async fn a_revoked_key_has_a_successor_in_the_same_commit() {
    let world = test_world().await;
    let pool_id = new_pool(&world).await;
    settle(&world, &pool_id, &BY_ORDER).await;
    let bad = kid(&world, &pool_id, TokenUse::Access, State::Active).await;
    let spare = kid(&world, &pool_id, TokenUse::Access, State::Pending).await;
    let before = version(&world, &pool_id).await;
    world.store.take_trips();
    let after = order::revoke(&*world.store, &*world.entropy, &pool_id, &bad, None).await.unwrap();
    assert_eq!(after, before + 1);
    // one of them is the order for the next spare, in the directory
    assert_eq!(world.store.take_trips().commits, 2);
    assert_eq!(kid(&world, &pool_id, TokenUse::Access, State::Active).await, spare);
    assert_eq!(kid(&world, &pool_id, TokenUse::Access, State::Revoked).await, bad);
    assert!(!kids(&jwks(&world, &pool_id).await).contains(&bad));
    // again is nothing, and what there is not is refused
    let again = order::revoke(&*world.store, &*world.entropy, &pool_id, &bad, None).await.unwrap();
    assert_eq!(again, after);
    let error = order::revoke(&*world.store, &*world.entropy, &pool_id, "../x", None).await;
    assert_eq!(error.unwrap_err().to_string(), "the pool has no signing key ../x");
    // the next spare, and the end of the row
    settle(&world, &pool_id, &BY_ORDER).await;
    assert_eq!(count(&world, &pool_id, State::Pending).await, 2);
    world.clock.advance(Duration::from_secs(300));
    settle(&world, &pool_id, &BY_ORDER).await;
    assert_eq!(count(&world, &pool_id, State::Revoked).await, 0);
}

#[tokio::test]
async fn a_revocation_that_finds_no_spare_stops_signing_until_there_is_a_key() {
    let world = test_world().await;
    let pool_id = new_pool(&world).await;
    let bad = kid(&world, &pool_id, TokenUse::Id, State::Active).await;
    order::revoke(&*world.store, &*world.entropy, &pool_id, &bad, None).await.unwrap();
    let (config, _) = issuer::fresh(&world, &pool_id).await.unwrap();
    assert!(config.active_key(TokenUse::Id).is_err());
    assert!(config.active_key(TokenUse::Access).is_ok());
    settle(&world, &pool_id, &BY_ORDER).await;
    assert_ne!(kid(&world, &pool_id, TokenUse::Id, State::Active).await, bad);
    tokens(&world, &pool_id).await;
}

#[tokio::test]
async fn what_is_no_pool_has_no_keys() {
    let world = test_world().await;
    for scope in ["directory", "nodes", "", "us-east-1_doesnotexist", "../x"] {
        let error = order::list(&*world.store, scope).await.err().expect("is refused");
        assert!(matches!(error, OrderError::NoSuchPool(_)), "{error}");
        let error = order::rotate(&*world.store, &*world.entropy, scope, &USES, None).await;
        assert!(matches!(error, Err(OrderError::NoSuchPool(_))));
    }
}

/// A record as it was written before keys were rotated: its bytes are in every pool of that time.
#[tokio::test]
async fn keys_of_pools_that_were_made_before_are_taken_over() {
    // use = "id", kid = "k", state = 2, sealed = "s", n = "n", e = "e", created = 1
    let old = [
        0x0a, 2, b'i', b'd', 0x12, 1, b'k', 0x18, 2, 0x22, 1, b's', 0x2a, 1, b'n', 0x32, 1, b'e',
        0x38, 1,
    ];
    let record = SigningKeyRecord::decode(&old[..]).unwrap();
    assert_eq!((record.state, record.activated_ms), (State::Active as i32, 0));
    let mut set = KeySet::read(None, [bytes::Bytes::copy_from_slice(&old)].iter()).unwrap();
    assert_eq!(set.record().version, 0);
    let due = set.advance(&TIMING, 5);
    // it goes on signing, and gets a spare; the other use has nothing, and gets both
    let lacking = due.lacking.iter().map(|(token_use, state)| (*token_use, *state as i32));
    let expected = [
        (TokenUse::Id, State::Pending as i32),
        (TokenUse::Access, State::Active as i32),
        (TokenUse::Access, State::Pending as i32),
    ];
    assert_eq!(lacking.collect::<Vec<_>>(), expected);
    assert_eq!(set.keys()[0].state, State::Active as i32);

    // a key that was retired without a time is kept for the whole window from now on
    let retired = SigningKeyRecord { state: 3, ..record };
    let mut set = KeySet::read(None, [retired.encode_to_vec().into()].iter()).unwrap();
    let due = set.advance(&TIMING, 5);
    assert_eq!((set.keys()[0].retired_ms, due.next_ms), (5, Some(300_005)));
    let (puts, deletes) = set.writes();
    assert!(deletes.is_empty());
    assert_eq!(puts[0].0, keys::signing_key("k"));
}

#[tokio::test]
async fn there_are_never_too_many_rows() {
    let world = test_world().await;
    let pool_id = new_pool(&world).await;
    let fast = Timing { publish: Duration::ZERO, retire: Duration::from_hours(24), ..BY_ORDER };
    for _ in 0..20 {
        order::rotate(&*world.store, &*world.entropy, &pool_id, &[TokenUse::Id], None)
            .await
            .unwrap();
        settle(&world, &pool_id, &fast).await;
        world.clock.advance(Duration::from_secs(1));
    }
    assert_eq!(count(&world, &pool_id, State::Retiring).await, 16);
    for _ in 0..12 {
        let bad = kid(&world, &pool_id, TokenUse::Id, State::Active).await;
        order::revoke(&*world.store, &*world.entropy, &pool_id, &bad, None).await.unwrap();
        world.clock.advance(Duration::from_secs(1));
        settle(&world, &pool_id, &fast).await;
    }
    assert!(count(&world, &pool_id, State::Revoked).await <= 8);
    assert!(states(&world, &pool_id).await.len() <= super::set::ROWS_MAX as usize);
    tokens(&world, &pool_id).await;
}

fn worker(number: u8, timing: Timing) -> Worker {
    Worker::new([number; 16], timing)
}

#[tokio::test(start_paused = true)]
async fn one_worker_looks_after_all_pools_and_another_one_goes_on() {
    let world = test_world().await;
    let pools = [new_pool(&world).await, new_pool(&world).await];
    let (mut one, mut other) = (worker(1, TIMING), worker(2, TIMING));
    let report = one.look(&world).await.unwrap();
    assert_eq!(report, Report { works: true, pools: 2, changed: 2 });
    assert_eq!(other.look(&world).await.unwrap(), Report::default());
    // nothing is read that is not due
    assert_eq!(one.look(&world).await.unwrap(), Report { works: true, pools: 0, changed: 0 });
    world.clock.advance(Duration::from_secs(1_000));
    // the first is gone, and its turn over
    assert_eq!(other.look(&world).await.unwrap(), Report { works: true, pools: 2, changed: 2 });
    assert!(!one.look(&world).await.unwrap().works);
    for pool_id in &pools {
        assert_eq!(count(&world, pool_id, State::Retiring).await, 2);
    }
}

#[tokio::test(start_paused = true)]
async fn an_order_is_carried_out_at_the_next_look() {
    let world = test_world().await;
    let pool_id = new_pool(&world).await;
    let seldom = Timing { check: Duration::from_hours(1), ..BY_ORDER };
    let mut worker = worker(1, seldom);
    worker.look(&world).await.unwrap();
    world.clock.advance(Duration::from_secs(60));
    order::rotate(&*world.store, &*world.entropy, &pool_id, &USES, None).await.unwrap();
    worker.look(&world).await.unwrap();
    assert_eq!(count(&world, &pool_id, State::Retiring).await, 2);
    // and is no order any more
    let read = conclave_store::proto::Read {
        scope: conclave_store::DIRECTORY_SCOPE.to_owned(),
        gets: vec![keys::key_order(&pool_id).into()],
        ..Default::default()
    };
    let rows = crate::tx::read(&world, read).await.unwrap().rows;
    assert!(rows.iter().all(|row| row.value.is_none()));
}

/// A gateway that dies before any of its commits leaves every key as it was, and the next one goes on.
#[tokio::test(start_paused = true)]
async fn a_crash_at_any_commit_leaves_a_set_that_signs() {
    for nth in 1..=12 {
        let world = test_world().await;
        let pool_id = new_pool(&world).await;
        let mut one = worker(1, TIMING);
        world.store.fail_commit(nth);
        let mut ids = HashSet::new();
        for _ in 0..4 {
            // what it could not do it says, and others are not stopped by it
            let _ = one.look(&world).await;
            ids.extend(kids(&jwks(&world, &pool_id).await));
            for token in tokens(&world, &pool_id).await {
                let now = VerifyingKeys::new(&jwks(&world, &pool_id).await.keys).unwrap();
                now.verify(&token).expect("what signs is in the JWKS");
            }
            world.clock.advance(Duration::from_secs(1_000));
        }
        let mut other = worker(2, TIMING);
        // the one commit that fails can be one of its own
        if other.look(&world).await.is_err() {
            other.look(&world).await.unwrap();
        }
        other.look(&world).await.unwrap();
        assert_eq!(count(&world, &pool_id, State::Active).await, 2, "commit {nth} failed");
        assert_eq!(count(&world, &pool_id, State::Pending).await, 2);
    }
}
