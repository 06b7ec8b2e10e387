//! Three nodes over loopback.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use conclave_cluster::RoutingLimits;
use conclave_shard::{GroupHost, Limits, Listen, StartError};
use conclave_store::{StoreError, proto};
use conclave_tls::MutualFiles;

use crate::support::*;

#[tokio::test(flavor = "multi_thread")]
async fn commits_go_on_after_the_leader_is_killed_and_it_catches_up_when_it_is_back() {
    let mut cluster = Cluster::start().await;
    let clock = cluster.clock.clone();
    let store = cluster.store();
    committed(&store, root(POOL, &clock)).await;
    committed(&store, commit(POOL, &clock, vec![put(b"\x20a", b"1")])).await;

    let killed = cluster.leader(1).await;
    cluster.kill(killed).await;
    committed(&store, commit(POOL, &clock, vec![put(b"\x20b", b"2")])).await;
    assert_eq!(get(&store, POOL, b"\x20a").await.as_deref(), Some(&b"1"[..]));

    cluster.start_node(killed).await;
    cluster.ready().await;
    cluster.caught_up(killed, 1).await;
    // what it has caught up with counts: another one goes
    let other = (killed + 1) % 3;
    cluster.kill(other).await;
    assert_eq!(get(&store, POOL, b"\x20b").await.as_deref(), Some(&b"2"[..]));
    committed(&store, commit(POOL, &clock, vec![put(b"\x20c", b"3")])).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_when_all_nodes_are_killed() {
    let mut cluster = Cluster::start().await;
    let clock = cluster.clock.clone();
    let store = cluster.store();
    committed(&store, root(POOL, &clock)).await;
    for number in 0..30u8 {
        committed(&store, commit(POOL, &clock, vec![put(&[0x20, number], b"v")])).await;
    }
    for index in 0..3 {
        cluster.kill(index).await;
    }
    for index in 0..3 {
        cluster.start_node(index).await;
    }
    cluster.ready().await;
    let store = cluster.store();
    for number in 0..30u8 {
        assert!(get(&store, POOL, &[0x20, number]).await.is_some(), "{number}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_repeated_at_the_next_leader_answers_what_it_answered() {
    let mut cluster = Cluster::start().await;
    let clock = cluster.clock.clone();
    let store = cluster.store();
    committed(&store, root(POOL, &clock)).await;
    let once = commit(POOL, &clock, vec![put(b"\x20a", b"1")]);
    let first = committed(&store, once.clone()).await;
    let killed = cluster.leader(1).await;
    cluster.kill(killed).await;
    assert_eq!(committed(&store, once).await, first);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_that_needs_purged_entries_gets_a_snapshot() {
    let limits = Limits { retention: eager_retention(), ..Limits::default() };
    let mut cluster = Cluster::start_with(limits).await;
    let clock = cluster.clock.clone();
    let store = cluster.store();
    committed(&store, root(POOL, &clock)).await;
    let leader = cluster.leader(1).await;
    let lagging = (leader + 1) % 3;
    cluster.kill(lagging).await;
    for number in 0..80u8 {
        committed(&store, commit(POOL, &clock, vec![put(&[0x20, number], &[number; 1000])])).await;
    }
    let leader = cluster.leader(1).await;
    let purged = async {
        while cluster.host(leader).status().groups[1].purged_index < 60 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(READY, purged).await.expect("purges");

    cluster.start_node(lagging).await;
    cluster.ready().await;
    cluster.caught_up(lagging, 1).await;
    assert!(cluster.host(lagging).status().groups[1].snapshot_index >= 60);
    // it serves from what it has received, also after a restart
    cluster.kill(lagging).await;
    cluster.start_node(lagging).await;
    cluster.ready().await;
    cluster.caught_up(lagging, 1).await;
    cluster.kill(leader).await;
    for number in 0..80u8 {
        let value = get(&store, POOL, &[0x20, number]).await;
        assert_eq!(value.as_deref(), Some(&[number; 1000][..]));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_quorum_nothing_is_answered() {
    let mut cluster = Cluster::start().await;
    let clock = cluster.clock.clone();
    let store = cluster.store();
    committed(&store, root(POOL, &clock)).await;
    let leader = cluster.leader(1).await;
    // that a quorum has answered before, by a clock that stands still, says nothing
    assert!(get(&store, POOL, b"\x20a").await.is_none());
    for index in (0..3).filter(|index| *index != leader) {
        cluster.kill(index).await;
    }
    let store = cluster.impatient_store();
    let read = try_get(&store, POOL, b"\x20a").await;
    assert!(matches!(read, Err(StoreError::Unavailable { .. })), "{read:?}");
    let write =
        conclave_store::Store::commit(&store, commit(POOL, &clock, vec![put(b"\x20a", b"1")]));
    let write = write.await;
    assert!(
        matches!(write, Err(StoreError::Unknown { .. } | StoreError::Unavailable { .. })),
        "{write:?}"
    );
}

/// A follower may be behind: it answers nothing from its own state.
#[tokio::test(flavor = "multi_thread")]
async fn only_the_leader_answers() {
    let cluster = Cluster::start().await;
    let clock = cluster.clock.clone();
    committed(&cluster.store(), root(POOL, &clock)).await;
    let leader = cluster.leader(1).await;
    for index in 0..3 {
        let route = proto::Route { cluster_id: CLUSTER.to_owned(), group: 1 };
        let read = proto::Read { scope: POOL.to_owned(), ..proto::Read::default() };
        let request = proto::ReadRequest { route: Some(route), read: Some(read) };
        let reply = cluster.host(index).shard().read(tonic::Request::new(request)).await;
        let result = reply.expect("answers").into_inner().result.expect("an answer");
        let answered = matches!(result, proto::read_reply::Result::Read(_));
        assert_eq!(answered, index == leader, "node {index}, leader {leader}: {result:?}");
    }
}

/// A state that is the same by its rows could hide that they came about in another way.
#[tokio::test(flavor = "multi_thread")]
async fn replicas_have_the_same_history() {
    let limits = Limits { retention: eager_retention(), ..Limits::default() };
    let mut cluster = Cluster::start_with(limits).await;
    let clock = cluster.clock.clone();
    let store = cluster.store();
    committed(&store, root(POOL, &clock)).await;
    for round in 0..3u8 {
        // one is killed without a flush, misses something, and gets it as entries or as a snapshot
        let killed = usize::from(round);
        cluster.kill(killed).await;
        for number in 0..30u8 {
            clock.advance(1);
            committed(&store, commit(POOL, &clock, vec![put(&[0x20, number], &[round])])).await;
        }
        cluster.start_node(killed).await;
        cluster.ready().await;
        cluster.same_history(1).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_whose_disk_is_full_gives_leadership_away_and_is_back_when_there_is_room() {
    let full = Arc::new(AtomicBool::new(false));
    let mut cluster = Cluster::start_with(on_disk(Arc::default())).await;
    let clock = cluster.clock.clone();
    let store = cluster.store();
    committed(&store, root(POOL, &clock)).await;
    let leader = cluster.leader(1).await;
    cluster.kill(leader).await;
    cluster.limits = on_disk(full.clone());
    cluster.start_node(leader).await;
    cluster.ready().await;
    cluster.host(cluster.leader(1).await).transfer_leadership(1, leader as u64 + 1).await;
    let leads = async {
        while cluster.leader(1).await != leader {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(READY, leads).await.expect("leads");

    full.store(true, Ordering::Relaxed);
    let given_away = async {
        while cluster.host(leader).status().is_ready() || cluster.leader(1).await == leader {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(READY, given_away).await.expect("gives it away");
    // the others go on, and this one takes no entries
    let before = cluster.host(leader).status().groups[1].applied_index;
    for number in 0..20u8 {
        committed(&store, commit(POOL, &clock, vec![put(&[0x20, number], b"v")])).await;
    }
    assert!(cluster.host(leader).status().groups[1].applied_index <= before + 1);

    full.store(false, Ordering::Relaxed);
    let back = async {
        while !cluster.host(leader).status().is_ready() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(READY, back).await.expect("is ready again");
    cluster.caught_up(leader, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn when_all_disks_are_full_reads_and_deletions_go_on_and_writes_are_refused() {
    let full = Arc::new(AtomicBool::new(false));
    let mut limits = on_disk(full.clone());
    // entries are still taken: deletions are entries too
    limits.disk.entries_percent = 0;
    let cluster = Cluster::start_with(limits).await;
    let clock = cluster.clock.clone();
    let store = cluster.impatient_store();
    committed(&store, root(POOL, &clock)).await;
    committed(&store, commit(POOL, &clock, vec![put(b"\x20a", b"1")])).await;
    full.store(true, Ordering::Relaxed);
    let noticed = async {
        while cluster.hosts.iter().flatten().any(|host| !host.status().disk_is_full) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(READY, noticed).await.expect("notice");

    let store = Arc::new(store);
    let (writer, write) = (store.clone(), commit(POOL, &clock, vec![put(b"\x20b", b"1")]));
    let refusals = tokio::spawn(async move {
        for _ in 0..2 {
            let refused = conclave_store::Store::commit(&*writer, write.clone()).await;
            assert!(matches!(refused, Err(StoreError::Unavailable { .. })), "{refused:?}");
        }
    });
    while !refusals.is_finished() {
        assert!(get(&*store, POOL, b"\x20a").await.is_some());
    }
    refusals.await.expect("are refused");
    committed(&*store, commit(POOL, &clock, vec![delete(b"\x20a")])).await;
    assert!(get(&*store, POOL, b"\x20a").await.is_none());

    full.store(false, Ordering::Relaxed);
    let store = cluster.store();
    let room = async {
        while cluster.hosts.iter().flatten().any(|host| host.status().disk_is_full) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(READY, room).await.expect("notice");
    committed(&store, commit(POOL, &clock, vec![put(b"\x20b", b"1")])).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_in_the_process_of_a_node_uses_it_and_the_others() {
    let cluster = Cluster::start().await;
    let clock = cluster.clock.clone();
    for index in 0..3 {
        let store = cluster.store_with(Some(index), RoutingLimits::default());
        for group in 1..GROUPS {
            let scope = format!("pool-{group}");
            let answer = conclave_store::Store::commit(&store, root(&scope, &clock)).await;
            answer.expect("answers");
            let key = [0x20, index as u8];
            committed(&store, commit(&scope, &clock, vec![put(&key, b"v")])).await;
            assert!(get(&store, &scope, &key).await.is_some());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_shut_down_hands_leadership_over() {
    let mut cluster = Cluster::start().await;
    let clock = cluster.clock.clone();
    let store = cluster.store();
    committed(&store, root(POOL, &clock)).await;
    let leader = cluster.leader(1).await;
    let other = (leader + 1) % 3;
    let term = cluster.host(other).status().groups[1].term;
    cluster.hosts[leader].take().expect("runs").shutdown().await;
    let next = cluster.leader(1).await;
    assert_ne!(next, leader);
    assert!(cluster.host(next).status().groups[1].term > term);
    committed(&store, commit(POOL, &clock, vec![put(b"\x20a", b"1")])).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_has_lost_its_data_is_kept_out() {
    let mut cluster = Cluster::start().await;
    let clock = cluster.clock.clone();
    let store = cluster.store();
    committed(&store, root(POOL, &clock)).await;
    for index in 0..3 {
        cluster.caught_up(index, 1).await;
    }
    let wiped = (cluster.leader(1).await + 1) % 3;
    cluster.kill(wiped).await;
    cluster.dirs[wiped] = tempfile::tempdir().expect("a directory");
    cluster.start_node(wiped).await;
    let mut fatal = cluster.host(wiped).fatal();
    let reason = tokio::time::timeout(READY, fatal.wait_for(Option::is_some)).await;
    let reason = reason.expect("in time").expect("is told").clone().expect("a reason");
    assert!(reason.contains("lost its data"), "{reason}");
    // the others go on
    committed(&store, commit(POOL, &clock, vec![put(b"\x20a", b"1")])).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn plain_text_is_for_loopback_only() {
    let mut cluster = Cluster::start().await;
    cluster.kill(0).await;
    let listen = Listen::Address("0.0.0.0:0".parse().expect("an address"));
    let options = cluster.options(0, listen);
    let refused = GroupHost::start(options, cluster.clock.clone(), Arc::new(ByName)).await;
    assert!(matches!(refused, Err(StartError::Options(_))));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_whose_clock_is_off_does_not_lead_and_is_not_ready() {
    let mut cluster = Cluster::start().await;
    let clock = cluster.clock.clone();
    let store = cluster.store();
    committed(&store, root(POOL, &clock)).await;
    let leader = cluster.leader(1).await;
    cluster.kill(leader).await;
    let fast = TestClock::new();
    fast.advance(10_000);
    cluster.clocks[leader] = fast;
    cluster.start_node(leader).await;
    let noticed = async {
        while !cluster.host(leader).status().clock_is_off {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(READY, noticed).await.expect("notices");
    assert!(!cluster.host(leader).status().is_ready());
    for index in (0..3).filter(|index| *index != leader) {
        assert!(cluster.host(index).wait_ready(READY).await);
    }
    cluster.host(cluster.leader(1).await).transfer_leadership(1, leader as u64 + 1).await;
    let given_away = async {
        while cluster.leader(1).await == leader {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(READY, given_away).await.expect("gives it away");
    committed(&store, commit(POOL, &clock, vec![put(b"\x20a", b"1")])).await;
}

/// The certificates of a cluster, in a directory: those of a gateway, and beside it those of three nodes
/// and of a gateway of another cluster.
fn certificates(dir: &std::path::Path) -> MutualFiles {
    let ca_key = rcgen::KeyPair::generate().expect("a key");
    let mut ca = rcgen::CertificateParams::new(Vec::new()).expect("parameters");
    ca.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let ca_certificate = ca.self_signed(&ca_key).expect("signs");
    let issuer = rcgen::Issuer::new(ca, ca_key);
    let write = |name: &str, pem: String| {
        let path = dir.join(name);
        std::fs::write(&path, pem).expect("writes");
        path
    };
    let issue = |name: &str, cluster_id: &str, role: &str, node_id: u64| {
        let key = rcgen::KeyPair::generate().expect("a key");
        let names = vec!["node.conclave".to_owned()];
        let mut params = rcgen::CertificateParams::new(names).expect("parameters");
        let uri = format!("conclave://{cluster_id}/{role}/{node_id}");
        params.subject_alt_names.push(rcgen::SanType::URI(uri.try_into().expect("a URI")));
        let certificate = params.signed_by(&key, &issuer).expect("signs");
        (
            write(&format!("{name}.pem"), certificate.pem()),
            write(&format!("{name}.key"), key.serialize_pem()),
        )
    };
    for node_id in 1..=3 {
        issue(&format!("node-{node_id}"), CLUSTER, "node", node_id);
    }
    issue("foreign", "another-cluster", "gateway", 0);
    let (certificate, key) = issue("gateway", CLUSTER, "gateway", 0);
    let server_name = Some("node.conclave".to_owned());
    MutualFiles { ca: write("ca.pem", ca_certificate.pem()), certificate, key, server_name }
}

/// The issuer is trusted, but the certificate is not of this cluster.
#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_of_another_cluster_of_the_same_issuer_is_refused() {
    let dir = tempfile::tempdir().expect("makes");
    let ours = certificates(dir.path());
    let mut cluster = Cluster::start_all(Limits::default(), Some(ours.clone())).await;
    let clock = cluster.clock.clone();
    committed(&cluster.store(), root(POOL, &clock)).await;
    cluster.tls = Some(MutualFiles {
        certificate: dir.path().join("foreign.pem"),
        key: dir.path().join("foreign.key"),
        ..ours
    });
    let stranger = try_get(&cluster.impatient_store(), POOL, b"\x20a").await;
    assert!(matches!(stranger, Err(StoreError::Unavailable { .. })), "{stranger:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn with_certificates_nodes_and_gateways_trust_their_own_issuer_only() {
    let (ours, theirs) = (tempfile::tempdir().expect("makes"), tempfile::tempdir().expect("makes"));
    let mut cluster = Cluster::start_all(Limits::default(), Some(certificates(ours.path()))).await;
    let clock = cluster.clock.clone();
    let store = cluster.store();
    committed(&store, root(POOL, &clock)).await;

    cluster.tls = Some(certificates(theirs.path()));
    let stranger = try_get(&cluster.impatient_store(), POOL, b"\x20a").await;
    assert!(matches!(stranger, Err(StoreError::Unavailable { .. })), "{stranger:?}");
    // it trusts our nodes, but they have not signed its certificate
    let mut mixed = certificates(theirs.path());
    mixed.ca = ours.path().join("ca.pem");
    cluster.tls = Some(mixed);
    let stranger = try_get(&cluster.impatient_store(), POOL, b"\x20a").await;
    assert!(matches!(stranger, Err(StoreError::Unavailable { .. })), "{stranger:?}");
    cluster.tls = None;
    let plain = try_get(&cluster.impatient_store(), POOL, b"\x20a").await;
    assert!(matches!(plain, Err(StoreError::Unavailable { .. })), "{plain:?}");
}
