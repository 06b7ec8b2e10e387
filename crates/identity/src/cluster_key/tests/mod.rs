//! Rotations of the key-encryption key and of the cluster's key, on a store in memory. K6 and K7 are rows of the
//! specification.

use conclave_api::types;
use conclave_crypto::seal::StaticKek;

use super::*;
use crate::{
    directory::{self, NewAccessKey, NewCluster, OpenError},
    issuer,
    testing::{TestWorld, new_client_with, new_pool, test_world},
};

const SETTLE: Duration = Duration::from_secs(180);

fn key(byte: u8) -> Key256 {
    Key256::new([byte; 32])
}

/// The one of the test's world, which is 7.
fn kek() -> StaticKek {
    StaticKek::new(key(7), Vec::new())
}

/// Whether a process could start now, with a key-encryption key.
async fn opens(world: &TestWorld, kek: &StaticKek) -> Result<directory::Directory, OpenError> {
    let new = NewCluster { cluster_id: "test".to_owned(), pool_groups: 3 };
    directory::open(&*world.store, kek, &*world.entropy, &new).await
}

async fn record(world: &TestWorld) -> ClusterRecord {
    order::status(&*world.store).await.expect("answers").cluster
}

async fn rotation(world: &TestWorld) -> KeyRotationRecord {
    order::status(&*world.store).await.expect("answers").rotation
}

/// Three pools with clients that have secrets, and an access key.
async fn filled(world: &TestWorld) -> Vec<String> {
    directory::create_account(world, Some("111122223333"), "test").await.expect("is made");
    let new = NewAccessKey {
        account_id: "111122223333".to_owned(),
        principal: "user/test".to_owned(),
        ..Default::default()
    };
    directory::create_access_key(world, new).await.expect("is made");
    let mut pools = Vec::new();
    for _ in 0..3 {
        let pool_id = new_pool(world).await;
        let request = types::CreateUserPoolClientRequest {
            generate_secret: Some(true),
            ..Default::default()
        };
        new_client_with(world, &pool_id, request).await;
        pools.push(pool_id);
    }
    pools
}

/// Reads everything as a process that has just started.
async fn check(world: &TestWorld, kek: &StaticKek, pools: &[String]) {
    let opened = opens(world, kek).await.expect("opens");
    assert_eq!(opened.hint_key.expose(), world.hint_key.expose());
    world.cluster_keys.learn(Some(opened.cluster_keys), Instant::now());
    for pool_id in pools {
        world.configs.remove(pool_id);
        let (config, _) = issuer::fresh(world, pool_id).await.expect("opens");
        assert!(config.active_key(config::TokenUse::Id).is_ok());
    }
    for listed in directory::list_access_keys(world).await.expect("lists") {
        let found = directory::find_access_key(world, &listed.access_key_id).await;
        assert!(found.expect("opens").is_some());
    }
}

/// K6, for the key-encryption key: it is exchanged while everything works, and the old one is needed no more.
#[tokio::test]
async fn k6_another_key_encryption_key_takes_the_place_of_the_old_one() {
    let world = test_world().await;
    let pools = filled(&world).await;
    let both = StaticKek::new(key(8), vec![key(7)]);
    let new = StaticKek::new(key(8), Vec::new());
    assert!(!rewrap(&world, &kek(), true).await.unwrap(), "nothing has changed");
    assert!(matches!(opens(&world, &new).await, Err(OpenError::Kek(KekError::UnknownKek(_)))));
    assert!(rewrap(&world, &both, true).await.unwrap());
    assert!(!rewrap(&world, &both, true).await.unwrap());
    assert_eq!(record(&world).await.keys[0].wrapped_by, new.key_id());
    check(&world, &new, &pools).await;
    assert!(matches!(opens(&world, &kek()).await, Err(OpenError::Kek(KekError::UnknownKek(_)))));
}

#[tokio::test]
async fn a_rewrap_that_was_asked_for_does_not_wait() {
    let world = test_world().await;
    let both = StaticKek::new(key(8), vec![key(7)]);
    assert!(!rewrap(&world, &both, false).await.unwrap());
    order::rewrap(&*world.store, &*world.entropy).await.unwrap();
    assert!(rewrap(&world, &both, false).await.unwrap());
    assert_eq!(rotation(&world).await.rewrap_asked_ms, 0);
}

/// K7: a key-encryption key that is not the one is told, and nothing is written.
#[tokio::test]
async fn k7_a_wrong_key_encryption_key_opens_nothing_and_harms_nothing() {
    let world = test_world().await;
    let pools = filled(&world).await;
    let before = record(&world).await;
    let wrong = StaticKek::new(key(9), Vec::new());
    world.store.take_trips();
    assert!(matches!(opens(&world, &wrong).await, Err(OpenError::Kek(KekError::UnknownKek(_)))));
    assert!(rewrap(&world, &wrong, true).await.is_err());
    order::rotate(&*world.store, &*world.entropy).await.unwrap();
    assert_eq!(world.store.take_trips().commits, 1, "the order alone is written");
    assert!(record(&world).await == before);
    check(&world, &kek(), &pools).await;
}

#[tokio::test]
async fn k6_the_cluster_s_key_is_rotated_while_everything_works() {
    let world = test_world().await;
    let pools = filled(&world).await;
    assert!(!advance(&world, &kek(), SETTLE).await.unwrap(), "nobody has asked");
    order::rotate(&*world.store, &*world.entropy).await.unwrap();
    // entered, and not in use yet
    assert!(advance(&world, &kek(), SETTLE).await.unwrap());
    let entered = record(&world).await;
    assert_eq!((entered.keys.len(), entered.current_key), (2, 1));
    assert_eq!(world.cluster_keys.get().current(), 1);
    let again = order::rotate(&*world.store, &*world.entropy).await;
    assert!(matches!(again, Err(crate::signing_keys::order::OrderError::UnderWay)));
    check(&world, &kek(), &pools).await;

    // in use, and everything of before is sealed again; what older versions have sealed since is waited for
    world.clock.advance(SETTLE);
    advance(&world, &kek(), SETTLE).await.unwrap();
    let passed = rotation(&world).await;
    assert_eq!((passed.target, passed.pass, passed.is_over), (2, 1, true));
    assert_eq!(passed.resealed, 4);
    assert_eq!(record(&world).await.keys.len(), 2, "the old version may be needed yet");
    check(&world, &kek(), &pools).await;

    world.clock.advance(SETTLE);
    while advance(&world, &kek(), SETTLE).await.unwrap() {}
    let over = record(&world).await;
    assert_eq!((over.keys.len(), over.keys[0].version, over.current_key), (1, 2, 2));
    assert_eq!(rotation(&world).await.last_target, 2);
    check(&world, &kek(), &pools).await;

    // and once more
    order::rotate(&*world.store, &*world.entropy).await.unwrap();
    for _ in 0..4 {
        advance(&world, &kek(), SETTLE).await.unwrap();
        world.clock.advance(SETTLE);
    }
    assert_eq!(record(&world).await.keys[0].version, 3);
    check(&world, &kek(), &pools).await;
}

/// A gateway that has not learned of the new version makes a pool while the first pass is over already.
#[tokio::test]
async fn what_is_sealed_by_an_older_version_meanwhile_is_found_by_the_second_pass() {
    let world = test_world().await;
    let mut pools = filled(&world).await;
    order::rotate(&*world.store, &*world.entropy).await.unwrap();
    advance(&world, &kek(), SETTLE).await.unwrap();
    let old = world.cluster_keys.get();
    world.clock.advance(SETTLE);
    advance(&world, &kek(), SETTLE).await.unwrap();
    let new = world.cluster_keys.get();
    assert_eq!((old.current(), new.current()), (1, 2));
    world.cluster_keys.learn(Some((*old).clone()), Instant::now());
    pools.push(new_pool(&world).await);
    world.cluster_keys.learn(Some((*new).clone()), Instant::now());
    world.clock.advance(SETTLE);
    while advance(&world, &kek(), SETTLE).await.unwrap() {}
    assert_eq!(rotation(&world).await.resealed, 5);
    assert_eq!(record(&world).await.keys.len(), 1);
    check(&world, &kek(), &pools).await;
}

#[tokio::test(start_paused = true)]
async fn a_gateway_that_has_not_read_the_directory_for_long_seals_nothing() {
    let world = test_world().await;
    let keys = ClusterKeys::new((*world.cluster_keys.get()).clone(), Duration::from_secs(30));
    assert!(keys.for_sealing().is_ok());
    tokio::time::advance(Duration::from_secs(30)).await;
    assert!(keys.for_sealing().is_err());
    assert_eq!(keys.get().current(), 1);
    keys.learn(None, Instant::now());
    assert!(keys.for_sealing().is_ok());
}

/// A gateway that dies before any of the commits leaves everything readable, and the next one goes on.
#[tokio::test]
async fn a_crash_at_any_commit_loses_nothing() {
    for nth in 1..=14 {
        let world = test_world().await;
        let pools = filled(&world).await;
        order::rotate(&*world.store, &*world.entropy).await.unwrap();
        world.store.fail_commit(nth);
        for _ in 0..6 {
            let _ = advance(&world, &kek(), SETTLE).await;
            check(&world, &kek(), &pools).await;
            world.clock.advance(SETTLE);
        }
        while advance(&world, &kek(), SETTLE).await.unwrap() {}
        assert_eq!(record(&world).await.keys.len(), 1, "commit {nth} failed");
        assert_eq!(rotation(&world).await.last_target, 2);
        check(&world, &kek(), &pools).await;
    }
}

/// What a directory holds that was made before keys were rotated.
#[test]
fn the_last_version_seals_where_a_record_does_not_say() {
    let version = |version| WrappedKey { version, ..Default::default() };
    let mut record = ClusterRecord { keys: vec![version(1), version(2)], ..Default::default() };
    assert_eq!(current(&record), Some(2));
    record.current_key = 1;
    assert_eq!(current(&record), Some(1));
    assert_eq!(current(&ClusterRecord::default()), None);
}
