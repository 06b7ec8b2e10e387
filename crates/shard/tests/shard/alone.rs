//! One node, embedded.

use std::sync::Arc;

use conclave_shard::{GroupHost, StartError};
use conclave_store::{DIRECTORY_SCOPE, StoreError, keys, proto, records::PoolLocationRecord};
use prost::Message;

use crate::support::*;

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_is_read_back_and_survives_a_restart() {
    let dir = tempfile::tempdir().expect("a directory");
    let clock = TestClock::new();
    let host = start_alone(dir.path(), &clock).await;
    let store = host.store();
    committed(&*store, root(POOL, &clock)).await;
    let seq = committed(&*store, commit(POOL, &clock, vec![put(b"\x20a", b"1")])).await;
    assert_eq!(get(&*store, POOL, b"\x20a").await.as_deref(), Some(&b"1"[..]));
    drop(store);
    host.shutdown().await;

    let host = start_alone(dir.path(), &clock).await;
    assert_eq!(get(&*host.store(), POOL, b"\x20a").await.as_deref(), Some(&b"1"[..]));
    let next = committed(&*host.store(), commit(POOL, &clock, vec![put(b"\x20a", b"2")])).await;
    assert_eq!(next, seq + 1);
    host.kill().await;

    let host = start_alone(dir.path(), &clock).await;
    assert_eq!(get(&*host.store(), POOL, b"\x20a").await.as_deref(), Some(&b"2"[..]));
    host.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_that_is_repeated_answers_what_it_answered() {
    let dir = tempfile::tempdir().expect("a directory");
    let clock = TestClock::new();
    let host = start_alone(dir.path(), &clock).await;
    let store = host.store();
    committed(&*store, root(POOL, &clock)).await;
    let once = commit(POOL, &clock, vec![put(b"\x20a", b"1")]);
    let first = store.commit(once.clone()).await.expect("answers");
    committed(&*store, commit(POOL, &clock, vec![put(b"\x20a", b"2")])).await;
    assert_eq!(store.commit(once.clone()).await.expect("answers"), first);
    drop(store);
    host.kill().await;
    let host = start_alone(dir.path(), &clock).await;
    assert_eq!(host.store().commit(once).await.expect("answers"), first);
    assert_eq!(get(&*host.store(), POOL, b"\x20a").await.as_deref(), Some(&b"2"[..]));
    host.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_commits_at_once_are_all_there_after_a_crash() {
    let dir = tempfile::tempdir().expect("a directory");
    let clock = TestClock::new();
    let host = start_alone(dir.path(), &clock).await;
    let store = host.store();
    for group in 1..GROUPS {
        committed(&*store, root(&format!("pool-{group}"), &clock)).await;
    }
    let commits: Vec<_> = (0..200u32)
        .map(|number| {
            let (store, clock) = (store.clone(), clock.clone());
            tokio::spawn(async move {
                let scope = format!("pool-{}", 1 + number % (GROUPS - 1));
                let key = [b"\x20", &number.to_be_bytes()[..]].concat();
                committed(&*store, commit(&scope, &clock, vec![put(&key, b"v")])).await;
                (scope, key)
            })
        })
        .collect();
    let mut expected = Vec::new();
    for commit in commits {
        expected.push(commit.await.expect("commits"));
    }
    let status = host.status();
    assert_eq!(status.groups.iter().map(|group| group.commits).sum::<u64>(), 202);
    drop(store);
    host.kill().await;

    let host = start_alone(dir.path(), &clock).await;
    for (scope, key) in expected {
        assert!(get(&*host.store(), &scope, &key).await.is_some(), "{scope} {key:?}");
    }
    host.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_directory_tells_where_a_scope_lives_that_its_name_does_not() {
    let dir = tempfile::tempdir().expect("a directory");
    let clock = TestClock::new();
    let host = start_alone(dir.path(), &clock).await;
    let store = host.store();
    let imported = "us-east-1_imported";
    let gone = store.commit(commit(imported, &clock, vec![put(b"\x20", b"v")])).await;
    let gone = gone.expect("answers").result.expect("an answer");
    assert!(matches!(gone, proto::outcome::Result::ScopeGone(_)), "{gone:?}");
    let read = proto::Read { scope: imported.to_owned(), ..proto::Read::default() };
    assert!(!store.read(read).await.expect("answers").scope_exists);

    committed(&*store, root(DIRECTORY_SCOPE, &clock)).await;
    let location = PoolLocationRecord { group: 2, ..PoolLocationRecord::default() };
    let row = put(&keys::pool_location(imported), &location.encode_to_vec());
    committed(&*store, commit(DIRECTORY_SCOPE, &clock, vec![row])).await;
    let before = host.status().groups[2].applied_index;
    committed(&*store, root(imported, &clock)).await;
    assert!(host.status().groups[2].applied_index > before, "it is in group 2");
    host.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn expired_rows_are_swept() {
    let dir = tempfile::tempdir().expect("a directory");
    let clock = TestClock::new();
    let host = start_alone(dir.path(), &clock).await;
    let store = host.store();
    committed(&*store, root(POOL, &clock)).await;
    let expires = conclave_store::Clock::now_ms(&*clock) + 1_000;
    let rows = (0..300u32)
        .map(|n| put_until(&[b"\x20", &n.to_be_bytes()[..]].concat(), b"v", Some(expires)));
    for rows in rows.collect::<Vec<_>>().chunks(200) {
        committed(&*store, commit(POOL, &clock, rows.to_vec())).await;
    }
    let before = host.status().groups[1].applied_index;
    clock.advance(1_000);
    assert_eq!(get(&*store, POOL, &[b"\x20", &[0; 4][..]].concat()).await, None);
    // two entries: 256 rows and the rest
    let swept = async {
        while host.status().groups[1].applied_index < before + 2 {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(READY, swept).await.expect("sweeps");
    host.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn logs_are_purged_behind_a_snapshot_and_the_node_restarts_from_it() {
    let dir = tempfile::tempdir().expect("a directory");
    let clock = TestClock::new();
    let start = async || {
        let mut options = alone(dir.path());
        options.limits.retention = eager_retention();
        let host =
            GroupHost::start(options, clock.clone(), Arc::new(ByName)).await.expect("starts");
        assert!(host.wait_ready(READY).await);
        host
    };
    let host = start().await;
    let store = host.store();
    committed(&*store, root(POOL, &clock)).await;
    for number in 0..60u32 {
        let key = [b"\x20", &number.to_be_bytes()[..]].concat();
        committed(&*store, commit(POOL, &clock, vec![put(&key, b"v")])).await;
    }
    let purged = async {
        while host.status().groups[1].purged_index < 40 {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(READY, purged).await.expect("purges");
    drop(store);
    host.kill().await;
    for _ in 0..2 {
        let host = start().await;
        assert!(host.status().groups[1].purged_index >= 40);
        for number in 0..60u32 {
            let key = [b"\x20", &number.to_be_bytes()[..]].concat();
            assert!(get(&*host.store(), POOL, &key).await.is_some());
        }
        host.kill().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_breaks_a_limit_is_refused_and_too_much_at_once_is_turned_away() {
    let dir = tempfile::tempdir().expect("a directory");
    let clock = TestClock::new();
    let mut options = alone(dir.path());
    options.limits.commits_in_flight_max = 1;
    let host = GroupHost::start(options, clock.clone(), Arc::new(ByName)).await.expect("starts");
    assert!(host.wait_ready(READY).await);
    let store = host.store();
    let mut long = commit(POOL, &clock, Vec::new());
    long.id = vec![1].into();
    assert!(matches!(store.commit(long).await, Err(StoreError::Invalid { .. })));

    committed(&*store, root(POOL, &clock)).await;
    let attempts = (0..50).map(|_| store.commit(commit(POOL, &clock, vec![put(b"\x20", b"v")])));
    let answers = futures::future::join_all(attempts).await;
    assert!(answers.iter().any(Result::is_ok));
    assert!(answers.iter().any(|answer| matches!(answer, Err(StoreError::Overloaded { .. }))));
    host.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_data_directory_of_another_cluster_is_refused() {
    let dir = tempfile::tempdir().expect("a directory");
    let clock = TestClock::new();
    start_alone(dir.path(), &clock).await.shutdown().await;
    let mut options = alone(dir.path());
    options.cluster_id = "another".to_owned();
    let refused = GroupHost::start(options, clock, Arc::new(ByName)).await;
    assert!(matches!(refused, Err(StartError::Io(_))));
}
