//! A crash between the two steps of every creation and deletion, and what becomes of what it leaves.

use std::time::Duration;

use conclave_api::types;
use conclave_store::{Store, proto};

use super::*;
use crate::{
    clients::{create_user_pool_client, delete_user_pool_client, list_user_pool_clients},
    domains::{create_user_pool_domain, delete_user_pool_domain, describe_user_pool_domain},
    pools::{create_user_pool, delete_user_pool, list_user_pools, update_user_pool},
    testing::{TestWorld, new_client_with, new_pool, signed_call, test_world},
};

fn text(text: &str) -> Option<String> {
    Some(text.to_owned())
}

const LATER: Duration = Duration::from_secs(121);

/// Every row of the directory.
async fn directory(world: &TestWorld) -> Vec<(Bytes, Bytes)> {
    let scan = proto::Scan { limit: 1_000, ..Default::default() };
    let read =
        proto::Read { scope: DIRECTORY_SCOPE.to_owned(), scans: vec![scan], ..Default::default() };
    let rows = world.store.read(read).await.unwrap().rows;
    // a counter that is back at nothing is as good as none
    let zero = Bytes::from_static(&[0; 8]);
    rows.into_iter()
        .filter_map(|row| Some((row.key, row.value?)))
        .filter(|(_, value)| *value != zero)
        .collect()
}

/// Two looks, far enough apart. Answers what was removed.
async fn looks(world: &TestWorld) -> u64 {
    let mut reconciler = Reconciler::default();
    assert_eq!(reconciler.look(world).await.unwrap().removed, 0, "never at the first look");
    world.clock.advance(LATER);
    reconciler.look(world).await.unwrap().removed
}

fn new_domain(pool_id: &str, domain: &str) -> types::CreateUserPoolDomainRequest {
    types::CreateUserPoolDomainRequest {
        user_pool_id: text(pool_id),
        domain: text(domain),
        custom_domain_config: domain.contains('.').then(|| types::CustomDomainConfigType {
            certificate_arn: text("arn:aws:acm:us-east-1:111122223333:certificate/x"),
            ..Default::default()
        }),
        ..Default::default()
    }
}

#[tokio::test]
async fn a_creation_that_was_cut_short_leaves_nothing() {
    let world = test_world().await;
    let pool_id = new_pool(&world).await;
    let before = directory(&world).await;
    let call = signed_call();
    // the second commit of each is the pool's
    world.store.fail_commit(2);
    let input = types::CreateUserPoolRequest { pool_name: text("p"), ..Default::default() };
    create_user_pool(&world, &call, input).await.unwrap_err();
    world.store.fail_commit(2);
    let input = types::CreateUserPoolClientRequest {
        user_pool_id: text(&pool_id),
        client_name: text("c"),
        ..Default::default()
    };
    create_user_pool_client(&world, &call, input).await.unwrap_err();
    for domain in ["acme", "login.example.com"] {
        world.store.fail_commit(2);
        create_user_pool_domain(&world, &call, new_domain(&pool_id, domain)).await.unwrap_err();
    }
    assert!(directory(&world).await.len() > before.len());
    assert_eq!(looks(&world).await, 4);
    assert_eq!(directory(&world).await, before);
    let input = types::ListUserPoolsRequest { max_results: Some(60), ..Default::default() };
    assert_eq!(list_user_pools(&world, &call, input).await.unwrap().user_pools.len(), 1);
}

#[tokio::test]
async fn a_deletion_that_was_cut_short_leaves_nothing() {
    let world = test_world().await;
    let empty = directory(&world).await;
    let (gone, kept) = (new_pool(&world).await, new_pool(&world).await);
    let call = signed_call();
    for pool_id in [&gone, &kept] {
        new_client_with(&world, pool_id, Default::default()).await;
    }
    create_user_pool_domain(&world, &call, new_domain(&kept, "login.example.com")).await.unwrap();
    let listed =
        types::ListUserPoolClientsRequest { user_pool_id: text(&kept), ..Default::default() };
    let clients = list_user_pool_clients(&world, &call, listed).await.unwrap().user_pool_clients;
    // the first commit of each is the pool's
    world.store.fail_commit(2);
    let input = types::DeleteUserPoolClientRequest {
        user_pool_id: text(&kept),
        client_id: clients[0].client_id.clone(),
    };
    delete_user_pool_client(&world, &call, input).await.unwrap_err();
    world.store.fail_commit(2);
    let input = types::DeleteUserPoolDomainRequest {
        user_pool_id: text(&kept),
        domain: text("login.example.com"),
    };
    delete_user_pool_domain(&world, &call, input).await.unwrap_err();
    world.store.fail_commit(2);
    let input = types::DeleteUserPoolRequest { user_pool_id: text(&gone) };
    delete_user_pool(&world, &call, input).await.unwrap_err();
    assert_eq!(looks(&world).await, 4, "a client and a domain; a pool and its client");
    // location and entry of the pool that is kept, and the count of pools
    assert_eq!(directory(&world).await.len(), empty.len() + 3);
    // the domain can be had again, by anybody
    let other = new_pool(&world).await;
    create_user_pool_domain(&world, &call, new_domain(&other, "login.example.com")).await.unwrap();
}

#[tokio::test]
async fn what_is_there_stays() {
    let world = test_world().await;
    let pool_id = new_pool(&world).await;
    new_client_with(&world, &pool_id, Default::default()).await;
    create_user_pool_domain(&world, &signed_call(), new_domain(&pool_id, "acme")).await.unwrap();
    let before = directory(&world).await;
    assert_eq!(looks(&world).await, 0);
    assert_eq!(directory(&world).await, before);
}

#[tokio::test]
async fn what_is_in_the_making_stays() {
    let world = test_world().await;
    let pool_id = new_pool(&world).await;
    let call = signed_call();
    world.store.fail_commit(2);
    create_user_pool_domain(&world, &call, new_domain(&pool_id, "acme")).await.unwrap_err();
    let mut reconciler = Reconciler::default();
    assert_eq!(reconciler.look(&world).await.unwrap().removed, 0);
    world.clock.advance(Duration::from_secs(100));
    assert_eq!(reconciler.look(&world).await.unwrap().removed, 0, "too early");
    // taken over by the same pool: another row, which is not missing
    create_user_pool_domain(&world, &call, new_domain(&pool_id, "acme")).await.unwrap();
    world.clock.advance(LATER);
    assert_eq!(reconciler.look(&world).await.unwrap().removed, 0);
    let input = types::DescribeUserPoolDomainRequest { domain: text("acme") };
    let described = describe_user_pool_domain(&world, &call, input).await.unwrap();
    assert_eq!(described.domain_description.unwrap().user_pool_id, text(&pool_id));
}

#[tokio::test]
async fn a_row_that_is_written_anew_begins_its_time_anew() {
    let world = test_world().await;
    let pool_id = new_pool(&world).await;
    let call = signed_call();
    let cut_short = async || {
        world.store.fail_commit(2);
        create_user_pool_domain(&world, &call, new_domain(&pool_id, "acme")).await.unwrap_err();
    };
    let mut reconciler = Reconciler::default();
    cut_short().await;
    reconciler.look(&world).await.unwrap();
    world.clock.advance(LATER);
    cut_short().await;
    assert_eq!(reconciler.look(&world).await.unwrap().removed, 0);
    world.clock.advance(LATER);
    assert_eq!(reconciler.look(&world).await.unwrap().removed, 1);
}

#[tokio::test]
async fn a_name_that_the_list_has_missed_is_put_right() {
    let world = test_world().await;
    let pool_id = new_pool(&world).await;
    let call = signed_call();
    world.clock.advance(Duration::from_secs(1));
    world.store.fail_commit(2);
    let input = types::UpdateUserPoolRequest {
        user_pool_id: text(&pool_id),
        pool_name: text("renamed"),
        ..Default::default()
    };
    update_user_pool(&world, &call, input).await.unwrap_err();
    let name = async || {
        let input = types::ListUserPoolsRequest { max_results: Some(60), ..Default::default() };
        list_user_pools(&world, &call, input).await.unwrap().user_pools[0].name.clone()
    };
    assert_eq!(name().await, text("pool"));
    let mut reconciler = Reconciler::default();
    assert_eq!(reconciler.look(&world).await.unwrap().renamed, 1);
    assert_eq!(name().await, text("renamed"));
    assert_eq!(reconciler.look(&world).await.unwrap().renamed, 0);
}

#[tokio::test]
async fn more_rows_than_one_page_are_looked_at() {
    let world = test_world().await;
    let pool_id = new_pool(&world).await;
    for _ in 0..130 {
        new_client_with(&world, &pool_id, Default::default()).await;
    }
    let report = Reconciler::default().look(&world).await.unwrap();
    assert_eq!(report, Report { rows: 131, removed: 0, renamed: 0 });
}
