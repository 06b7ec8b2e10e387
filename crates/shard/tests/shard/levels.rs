//! Nodes of different versions in one cluster: which feature level their groups have.

use std::{sync::Arc, time::Duration};

use conclave_shard::{GroupHost, Listen, StartError};
use conclave_store::levels::FIRST;
use tokio::time::{Instant, sleep, timeout};

use crate::support::*;

const NEXT: u32 = FIRST + 1;

fn levels(cluster: &Cluster, index: usize) -> Vec<u32> {
    cluster.host(index).status().groups.iter().map(|group| group.feature_level).collect()
}

/// Waits until every running node has applied that every group has a level.
async fn raised(cluster: &Cluster, level: u32) {
    let running = || (0..cluster.hosts.len()).filter(|index| cluster.hosts[*index].is_some());
    let all = async {
        while !running().all(|index| levels(cluster, index) == [level; GROUPS as usize]) {
            sleep(Duration::from_millis(10)).await;
        }
    };
    let seen = || running().map(|index| levels(cluster, index)).collect::<Vec<_>>();
    assert!(timeout(READY, all).await.is_ok(), "{:?}", seen());
}

/// Starts a stopped node as a version that knows less than its groups have: says why it does not.
async fn refused(cluster: &mut Cluster, index: usize) -> String {
    let address = cluster.members[index].address.parse().expect("an address");
    let clock = cluster.clock.clone();
    let deadline = Instant::now() + READY;
    let started = loop {
        let options = cluster.options(index, Listen::Address(address));
        match GroupHost::start(options, clock.clone(), Arc::new(ByName)).await {
            // in one process, requests that the stopped node was answering hold its files for a moment
            Err(error)
                if error.to_string().contains("lock hold by current process")
                    && Instant::now() < deadline =>
            {
                sleep(Duration::from_millis(50)).await;
            }
            started => break started,
        }
    };
    match started {
        Err(StartError::Io(error)) => error.to_string(),
        Err(error) => panic!("another error: {error}"),
        // what is in its log and not in its state yet is found when it is applied
        Ok(host) => {
            crate::exit::without_destructors();
            let mut fatal = host.fatal();
            let told = timeout(READY, fatal.wait_for(Option::is_some)).await;
            let reason = told.expect("is told").expect("a reason").clone().unwrap_or_default();
            host.kill().await;
            reason
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rolling_upgrade_raises_the_groups_with_its_last_node_and_no_version_goes_back() {
    let mut cluster = Cluster::start().await;
    let clock = cluster.clock.clone();
    let store = cluster.store();
    committed(&store, root(POOL, &clock)).await;
    for index in 0..2 {
        cluster.levels = [NEXT, NEXT].into_iter().take(index + 1).collect();
        cluster.stop(index).await;
        cluster.start_node(index).await;
        cluster.ready().await;
        committed(&store, commit(POOL, &clock, vec![put(&[0x20, index as u8], b"v")])).await;
    }
    // several looks of the leaders: one member knows less
    sleep(Duration::from_secs(3)).await;
    raised(&cluster, FIRST).await;

    cluster.levels = vec![NEXT; 3];
    cluster.stop(2).await;
    cluster.start_node(2).await;
    raised(&cluster, NEXT).await;
    for group in 0..GROUPS {
        cluster.same_history(group).await;
    }

    // the version of before
    cluster.stop(2).await;
    cluster.levels = vec![NEXT, NEXT, FIRST];
    let reason = refused(&mut cluster, 2).await;
    assert!(reason.contains("needs feature level 2, and this version"), "{reason}");
    committed(&store, commit(POOL, &clock, vec![put(b"\x20z", b"v")])).await;

    // nothing is damaged: what knows it goes on, and has what was written meanwhile
    cluster.levels = vec![NEXT; 3];
    cluster.start_node(2).await;
    cluster.ready().await;
    cluster.caught_up(2, 1).await;
    cluster.same_history(1).await;
    assert_eq!(levels(&cluster, 2), [NEXT; GROUPS as usize]);
    assert_eq!(get(&store, POOL, b"\x20z").await.as_deref(), Some(&b"v"[..]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_that_finds_in_its_log_what_it_does_not_know_ends() {
    let mut cluster = Cluster::start().await;
    let clock = cluster.clock.clone();
    let store = cluster.store();
    committed(&store, root(POOL, &clock)).await;
    cluster.levels = vec![NEXT; 3];
    for index in 0..3 {
        cluster.stop(index).await;
        cluster.start_node(index).await;
        cluster.ready().await;
    }
    raised(&cluster, NEXT).await;
    committed(&store, commit(POOL, &clock, vec![put(b"\x20a", b"v")])).await;
    cluster.stop(2).await;
    // the states are made again from the logs, and do not say at the start what is to come
    for group in 0..GROUPS {
        let state = cluster.dirs[2].path().join(format!("group-{group}"));
        std::fs::remove_dir_all(state).expect("removes");
    }
    cluster.levels = vec![NEXT, NEXT, FIRST];
    let reason = refused(&mut cluster, 2).await;
    assert!(reason.contains("log entry") && reason.contains("needs feature level 2"), "{reason}");
    cluster.levels = vec![NEXT; 3];
    cluster.start_node(2).await;
    cluster.ready().await;
    cluster.caught_up(2, 1).await;
    cluster.same_history(1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_node_that_knows_less_is_given_no_group() {
    let mut cluster = Cluster::start_managed(1).await;
    cluster.levels = vec![NEXT];
    cluster.stop(0).await;
    cluster.start_node(0).await;
    raised(&cluster, NEXT).await;
    let admin = cluster.admin();
    cluster.levels = vec![NEXT, FIRST, NEXT];
    cluster.start_joining().await;
    cluster.start_joining().await;
    let named = async {
        loop {
            let progress = admin.progress().await.unwrap_or_default();
            if let Some(why) = progress.waiting.iter().find(|why| why.contains("feature level")) {
                return why.clone();
            }
            sleep(Duration::from_millis(50)).await;
        }
    };
    let why = timeout(READY, named).await.expect("is refused");
    assert!(
        why.contains("node 2 knows feature levels up to 1, and group 0 has 2: start a later"),
        "{why}"
    );
    assert!(cluster.host(1).status().groups.is_empty());
    let shown = async {
        loop {
            let nodes = admin.nodes().await.unwrap_or_default();
            let known: Vec<_> = nodes.iter().map(|node| node.feature_level).collect();
            if known == [Some(NEXT), Some(FIRST), Some(NEXT)] {
                return;
            }
            sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(READY, shown).await.expect("every node says what it knows");
    let groups = admin.groups().await.expect("answers");
    assert!(groups.iter().all(|group| group.feature_level == NEXT));

    // the same node with the version of the others
    cluster.stop(1).await;
    cluster.levels = vec![NEXT; 3];
    cluster.start_node_as_joining(1).await;
    let given = async {
        while cluster.host(1).status().groups.len() < GROUPS as usize {
            sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(4 * READY, given).await.expect("is given groups");
}
