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
        panic!("{what}: {:#?} {:#?}", admin.progress().await, admin.groups().await);
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
        self.stop.store(true, Ordering::Relaxed);
        let (acknowledged, failed) = self.writer.await.expect("writes");
        assert!(acknowledged.len() > 20, "only {} writes", acknowledged.len());
        assert_eq!(failed, 0, "of {}", acknowledged.len() + failed as usize);
        for number in acknowledged {
            let scope = format!("pool-{}", 1 + number % (GROUPS - 1));
            let found = get(store, &scope, &key(number)).await;
            assert_eq!(found.as_deref(), Some(&b"acknowledged"[..]), "{number}");
        }
    }
}

fn key(number: u32) -> Vec<u8> {
    [&b"\x20"[..], &number.to_be_bytes()].concat()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_grows_from_one_node_to_three_and_five_and_shrinks_to_one_under_load() {
    let mut cluster = Cluster::start_managed(1).await;
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
