//! Nodes come and go, and nothing is lost.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use conclave_cluster::RoutingStore;
use conclave_shard::{Admin, GroupInfo, NodeState};
use conclave_store::{Store, proto::outcome::Result as Answer};
use tokio::{task::JoinHandle, time::timeout};

use crate::support::*;

const SETTLED: Duration = Duration::from_secs(60);

/// Waits until the cluster is as `wanted` says, of what the groups are.
async fn until(admin: &Admin, what: &str, wanted: impl Fn(&[GroupInfo]) -> bool) {
    let waiting = async {
        loop {
            if admin.groups().await.is_ok_and(|groups| wanted(&groups)) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    if timeout(SETTLED, waiting).await.is_err() {
        panic!("{what}: {:?} {:#?}", admin.progress().await, admin.groups().await);
    }
}

/// Whether every group has these voters, and nothing is being done to it.
fn voters(groups: &[GroupInfo], wanted: &[u64]) -> bool {
    groups.len() == GROUPS as usize
        && groups.iter().all(|group| {
            group.voters == wanted
                && group.learners.is_empty()
                && !group.changing
                && group.leader.is_some()
                && replicas(group) == wanted
        })
}

fn replicas(group: &GroupInfo) -> Vec<u64> {
    group.replicas.iter().map(|replica| replica.node_id).collect()
}

async fn state(admin: &Admin, node_id: u64, wanted: NodeState) {
    let waiting = async {
        loop {
            let nodes = admin.nodes().await.unwrap_or_default();
            let node = nodes.iter().find(|node| node.registered.node_id == node_id);
            if node.is_some_and(|node| node.registered.state == wanted) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let waited = timeout(SETTLED, waiting).await;
    assert!(waited.is_ok(), "{wanted:?}: {:#?}", admin.nodes().await);
}

/// Writes to every group of pools without pause.
struct Load {
    stop: Arc<AtomicBool>,
    writer: JoinHandle<(Vec<u32>, u32)>,
}

impl Load {
    async fn start(cluster: &Cluster, store: RoutingStore) -> Self {
        let clock = cluster.clock.clone();
        for group in 1..GROUPS {
            committed(&store, root(&format!("pool-{group}"), &clock)).await;
        }
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let store = Arc::new(store);
        tokio::spawn(look_for_nodes(Arc::downgrade(&store)));
        let writer = tokio::spawn(async move {
            let (mut acknowledged, mut failed) = (Vec::new(), 0);
            for number in 0_u32.. {
                if stopped.load(Ordering::Relaxed) {
                    break;
                }
                let scope = format!("pool-{}", 1 + number % (GROUPS - 1));
                let write = put(&key(number), b"acknowledged");
                match store.commit(commit(&scope, &clock, vec![write])).await {
                    Ok(outcome) => match outcome.result {
                        Some(Answer::Committed(_)) => acknowledged.push(number),
                        other => panic!("refused: {other:?}"),
                    },
                    Err(_) => failed += 1,
                }
            }
            (acknowledged, failed)
        });
        Self { stop, writer }
    }

    /// Nothing acknowledged is lost, and nothing failed.
    async fn check(self, store: &RoutingStore) {
        let failed = self.check_some(store).await;
        assert_eq!(failed, 0);
    }

    /// Nothing acknowledged is lost. How many writes had no answer.
    async fn check_some(self, store: &RoutingStore) -> u32 {
        self.stop.store(true, Ordering::Relaxed);
        let (acknowledged, failed) = self.writer.await.expect("writes");
        assert!(acknowledged.len() > 20, "only {} writes", acknowledged.len());
        for number in acknowledged {
            let scope = format!("pool-{}", 1 + number % (GROUPS - 1));
            let found = get(store, &scope, &key(number)).await;
            assert_eq!(found.as_deref(), Some(&b"acknowledged"[..]), "{number}");
        }
        failed
    }
}

fn key(number: u32) -> Vec<u8> {
    [&b"\x20"[..], &number.to_be_bytes()].concat()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_grows_from_one_node_to_three_and_five_and_shrinks_to_one_under_load() {
    let mut cluster = Cluster::start_managed_with_snapshots(1).await;
    let admin = cluster.admin();
    let load = Load::start(&cluster, cluster.store()).await;
    cluster.start_joining().await;
    cluster.start_joining().await;
    until(&admin, "three nodes have every group", |groups| voters(groups, &[1, 2, 3])).await;

    cluster.start_joining().await;
    cluster.start_joining().await;
    until(&admin, "five nodes share the groups", |groups| {
        let used: BTreeSet<u64> = groups.iter().flat_map(|g| g.voters.clone()).collect();
        used.len() == 5
            && groups.iter().all(|g| g.voters.len() == 3 && !g.changing && replicas(g) == g.voters)
    })
    .await;

    // the first node, which has led everything, goes too
    admin.drain(1).await.expect("drains");
    admin.drain(4).await.expect("drains");
    until(&admin, "three others have every group", |groups| voters(groups, &[2, 3, 5])).await;
    for node_id in [1, 4] {
        state(&admin, node_id, NodeState::Drained).await;
        admin.remove(node_id).await.expect("removes");
        let mut fatal = cluster.host(node_id as usize - 1).fatal();
        let told = timeout(READY, fatal.wait_for(Option::is_some)).await.expect("is told");
        let reason = told.expect("tells").clone().unwrap_or_default();
        assert!(reason.contains("removed"), "{reason}");
        cluster.kill(node_id as usize - 1).await;
    }
    admin.drain(2).await.expect("drains");
    admin.drain(3).await.expect("drains");
    until(&admin, "the last one has every group", |groups| voters(groups, &[5])).await;
    assert!(admin.drain(5).await.is_err(), "the last one stays");
    load.check(&cluster.store()).await;
}

/// A group that has gone to the second node alone comes back to the first one at once.
#[tokio::test(flavor = "multi_thread")]
async fn a_third_node_comes_just_when_the_second_one_has_been_given_groups() {
    let mut cluster = Cluster::start_managed_with_snapshots(1).await;
    let admin = cluster.admin();
    let load = Load::start(&cluster, cluster.store()).await;
    cluster.start_joining().await;
    until(&admin, "the second one has a group alone", |groups| {
        groups.iter().any(|group| group.voters == [2] && replicas(group) == [2])
    })
    .await;
    cluster.start_joining().await;
    until(&admin, "three nodes have every group", |groups| voters(groups, &[1, 2, 3])).await;
    for node in 0..3 {
        assert_eq!(*cluster.host(node).fatal().borrow(), None);
        for group in cluster.host(node).status().groups {
            assert_eq!(group.reopened, 0, "group {} on node {}", group.group, node + 1);
        }
    }
    load.check(&cluster.store()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_node_is_replaced_by_the_one_that_the_operator_names_and_never_comes_back() {
    let mut cluster = Cluster::start_managed(3).await;
    let admin = cluster.admin();
    let load = Load::start(&cluster, cluster.store()).await;
    until(&admin, "three nodes have every group", |groups| voters(groups, &[1, 2, 3])).await;
    // a spare one that could take the place too
    cluster.start_joining().await;
    cluster.start_joining().await;
    for node_id in 1..=5 {
        state(&admin, node_id, NodeState::Active).await;
    }
    let settled = async {
        while !admin.progress().await.is_ok_and(|progress| progress.settled) {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(SETTLED, settled).await.expect("settles");
    let groups = admin.groups().await.expect("answers");
    let dead = groups[1].voters.iter().copied().find(|id| Some(*id) != groups[1].leader);
    let dead = dead.expect("there is a follower");
    let with = if dead == 5 { 4 } else { 5 };
    assert!(admin.replace(dead, Some(with)).await.is_err(), "it answers");
    cluster.kill(dead as usize - 1).await;
    admin.replace(dead, Some(with)).await.expect("replaces");
    state(&admin, dead, NodeState::Removed).await;
    until(&admin, "no group has the dead one", |groups| {
        groups.iter().all(|group| !group.voters.contains(&dead) && group.voters.len() == 3)
    })
    .await;

    cluster.start_node(dead as usize - 1).await;
    let mut fatal = cluster.host(dead as usize - 1).fatal();
    let told = timeout(READY, fatal.wait_for(Option::is_some)).await.expect("is told");
    let reason = told.expect("tells").clone().unwrap_or_default();
    assert!(reason.contains("removed"), "{reason}");
    cluster.kill(dead as usize - 1).await;
    load.check_some(&cluster.store()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_away_for_long_is_replaced_by_a_spare_one_and_is_a_spare_one_when_it_is_back()
 {
    let mut cluster = Cluster::start_managed(3).await;
    cluster.dead_after = Duration::from_secs(1);
    for index in 0..3 {
        cluster.kill(index).await;
        cluster.start_node(index).await;
    }
    cluster.ready().await;
    let admin = cluster.admin();
    let load = Load::start(&cluster, cluster.store()).await;
    cluster.start_joining().await;
    for node_id in 1..=4 {
        state(&admin, node_id, NodeState::Active).await;
    }
    cluster.kill(2).await;
    until(&admin, "the spare one has taken its place", |groups| {
        groups.iter().all(|group| group.voters == [1, 2, 4] && !group.changing)
    })
    .await;
    cluster.start_node(2).await;
    until(&admin, "the groups are shared again", |groups| {
        let has = |id| groups.iter().filter(|group| group.voters.contains(&id)).count();
        (1..=4).all(|id| has(id) >= 2) && groups.iter().all(|g| replicas(g) == g.voters)
    })
    .await;
    load.check_some(&cluster.store()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_voter_that_dies_before_it_has_registered_is_replaced() {
    for by_an_operator in [false, true] {
        let dead_after = Duration::from_secs(if by_an_operator { 300 } else { 2 });
        let mut cluster = Cluster::start_managed_but(3, 2, dead_after).await;
        // without a controller of its own it must not lead the directory
        if cluster.leader(0).await == 2 {
            cluster.host(2).transfer_leadership(0, 1).await;
            let moved = async {
                while cluster.leader(0).await == 2 {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            };
            timeout(READY, moved).await.expect("another one leads");
        }
        let admin = cluster.admin();
        let load = Load::start(&cluster, cluster.store()).await;
        cluster.start_joining().await;
        for node_id in [1, 2, 4] {
            state(&admin, node_id, NodeState::Active).await;
        }
        until(&admin, "it votes", |groups| groups.iter().all(|group| group.voters == [1, 2, 3]))
            .await;
        let refused = admin.replace(3, Some(4)).await.expect_err("it answers").to_string();
        assert!(refused.contains("node 3 answers"), "{refused}");
        cluster.kill(2).await;
        if by_an_operator {
            admin.replace(3, Some(4)).await.expect("replaces");
            state(&admin, 3, NodeState::Removed).await;
        }
        until(&admin, "the new one has its place", |groups| {
            groups.iter().all(|group| group.voters == [1, 2, 4] && !group.changing)
        })
        .await;
        load.check_some(&cluster.store()).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn moves_go_on_when_the_controller_is_killed_again_and_again() {
    let mut cluster = Cluster::start_managed(3).await;
    let admin = cluster.admin();
    let load = Load::start(&cluster, cluster.store()).await;
    cluster.start_joining().await;
    cluster.start_joining().await;
    for node_id in 1..=5 {
        state(&admin, node_id, NodeState::Active).await;
    }
    admin.drain(1).await.expect("drains");
    for _ in 0..4 {
        let controller = async {
            loop {
                let groups = admin.groups().await.unwrap_or_default();
                if let Some(leader) = groups.first().and_then(|directory| directory.leader) {
                    return leader as usize - 1;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let controller = timeout(READY, controller).await.expect("the directory is led");
        cluster.kill(controller).await;
        tokio::time::sleep(Duration::from_millis(400)).await;
        cluster.start_node(controller).await;
    }
    state(&admin, 1, NodeState::Drained).await;
    until(&admin, "four nodes share the groups", |groups| {
        let used: BTreeSet<u64> = groups.iter().flat_map(|g| g.voters.clone()).collect();
        used == BTreeSet::from([2, 3, 4, 5])
            && groups.iter().all(|g| g.voters.len() == 3 && replicas(g) == g.voters)
    })
    .await;
    load.check_some(&cluster.store()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drained_node_takes_groups_again_and_what_it_gets_is_whole() {
    let mut cluster = Cluster::start_managed_with_snapshots(3).await;
    cluster.start_joining().await;
    let admin = cluster.admin();
    let load = Load::start(&cluster, cluster.store()).await;
    state(&admin, 4, NodeState::Active).await;
    state(&admin, 2, NodeState::Active).await;
    for _ in 0..2 {
        admin.drain(2).await.expect("drains");
        until(&admin, "three others have every group", |groups| voters(groups, &[1, 3, 4])).await;
        state(&admin, 2, NodeState::Drained).await;
        admin.undrain(2).await.expect("undrains");
        admin.drain(4).await.expect("drains");
        until(&admin, "it has every group again", |groups| voters(groups, &[1, 2, 3])).await;
        state(&admin, 4, NodeState::Drained).await;
        admin.undrain(4).await.expect("undrains");
    }
    admin.drain(4).await.expect("drains");
    until(&admin, "it has every group again", |groups| voters(groups, &[1, 2, 3])).await;
    // the others go: what it has been given counts
    cluster.kill(3).await;
    cluster.kill(0).await;
    let store = cluster.store();
    load.check_some(&store).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_number_that_another_data_directory_has_used_is_refused() {
    let mut cluster = Cluster::start_managed(1).await;
    let admin = cluster.admin();
    let index = cluster.start_joining().await;
    state(&admin, 2, NodeState::Active).await;
    cluster.kill(index).await;
    cluster.dirs[index] = tempfile::tempdir().expect("a directory");
    cluster.start_node_as_joining(index).await;
    let mut fatal = cluster.host(index).fatal();
    let told = timeout(READY, fatal.wait_for(Option::is_some)).await.expect("is told");
    let reason = told.expect("tells").clone().unwrap_or_default();
    assert!(reason.contains("other data"), "{reason}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_outlives_the_nodes_that_it_was_told_of() {
    let mut cluster = Cluster::start_managed(1).await;
    let clock = cluster.clock.clone();
    let store = cluster.store();
    committed(&store, root(POOL, &clock)).await;
    let admin = cluster.admin();
    for node_id in 2..=4 {
        cluster.start_joining().await;
        state(&admin, node_id, NodeState::Active).await;
    }
    state(&admin, 1, NodeState::Active).await;
    admin.drain(1).await.expect("drains");
    until(&admin, "three others have every group", |groups| voters(groups, &[2, 3, 4])).await;
    // whom it was told of holds nothing any more, and names the others
    committed(&store, commit(POOL, &clock, vec![put(b"\x20a", b"0")])).await;
    cluster.kill(0).await;
    committed(&store, commit(POOL, &clock, vec![put(b"\x20a", b"1")])).await;
    assert_eq!(get(&store, POOL, b"\x20a").await.as_deref(), Some(&b"1"[..]));
}

#[tokio::test(flavor = "multi_thread")]
async fn leaders_are_shared_by_the_nodes() {
    let mut cluster = Cluster::start_managed(3).await;
    let admin = cluster.admin();
    // one node has led everything
    for index in [1, 2] {
        cluster.stop(index).await;
        cluster.start_node(index).await;
        cluster.ready().await;
    }
    until(&admin, "each leads one", |groups| {
        groups.len() == 3
            && groups.iter().filter_map(|g| g.leader).collect::<BTreeSet<_>>().len() == 3
    })
    .await;
}
