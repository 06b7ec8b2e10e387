//! Short forms of requests about groups, for tests.

use async_trait::async_trait;
use conclave_api::{ApiError, types};
use conclave_store::{Store as _, keys, proto};

use super::{
    admin_add_user_to_group, admin_list_groups_for_user, admin_remove_user_from_group,
    create_group, delete_group, list_users_in_group,
};
use crate::{
    testing::signed_call,
    tx::{Decision, Query, Transaction, Tx, transact},
    users::fixtures::TestPool,
};

pub(crate) fn create_request(pool: &TestPool, name: &str) -> types::CreateGroupRequest {
    types::CreateGroupRequest {
        user_pool_id: Some(pool.id.clone()),
        group_name: Some(name.to_owned()),
        ..Default::default()
    }
}

pub(crate) async fn create(pool: &TestPool, name: &str) -> Result<(), ApiError> {
    create_group(pool, &signed_call(), create_request(pool, name)).await.map(|_| ())
}

pub(crate) async fn delete(pool: &TestPool, name: &str) -> Result<(), ApiError> {
    let request = types::DeleteGroupRequest {
        user_pool_id: Some(pool.id.clone()),
        group_name: Some(name.to_owned()),
    };
    delete_group(pool, &signed_call(), request).await.map(|_| ())
}

pub(crate) async fn add(pool: &TestPool, username: &str, group: &str) -> Result<(), ApiError> {
    let request = types::AdminAddUserToGroupRequest {
        user_pool_id: Some(pool.id.clone()),
        username: Some(username.to_owned()),
        group_name: Some(group.to_owned()),
    };
    admin_add_user_to_group(pool, &signed_call(), request).await.map(|_| ())
}

pub(crate) async fn remove(pool: &TestPool, username: &str, group: &str) -> Result<(), ApiError> {
    let request = types::AdminRemoveUserFromGroupRequest {
        user_pool_id: Some(pool.id.clone()),
        username: Some(username.to_owned()),
        group_name: Some(group.to_owned()),
    };
    admin_remove_user_from_group(pool, &signed_call(), request).await.map(|_| ())
}

/// The names of the groups of a user, in the order of the answer. Of all pages.
pub(crate) async fn groups_of(pool: &TestPool, username: &str) -> Vec<String> {
    let mut names = Vec::new();
    let mut next_token = None;
    loop {
        let request = types::AdminListGroupsForUserRequest {
            user_pool_id: Some(pool.id.clone()),
            username: Some(username.to_owned()),
            next_token,
            ..Default::default()
        };
        let page = admin_list_groups_for_user(pool, &signed_call(), request).await.expect("lists");
        names.extend(page.groups.into_iter().filter_map(|group| group.group_name));
        next_token = page.next_token;
        if next_token.is_none() {
            return names;
        }
    }
}

/// Who is in a group, by name.
pub(crate) async fn users_of(pool: &TestPool, group: &str) -> Vec<String> {
    let request = types::ListUsersInGroupRequest {
        user_pool_id: Some(pool.id.clone()),
        group_name: Some(group.to_owned()),
        ..Default::default()
    };
    let page = list_users_in_group(pool, &signed_call(), request).await.expect("lists");
    let mut names: Vec<_> = page.users.into_iter().filter_map(|user| user.username).collect();
    names.sort();
    names
}

/// How many rows say that somebody is in a group.
pub(crate) async fn member_rows(pool: &TestPool) -> usize {
    let read = proto::Read {
        scope: pool.id.clone(),
        scans: vec![proto::Scan {
            prefix: keys::group_member_hop().0.into(),
            limit: 1_000,
            ..Default::default()
        }],
        ..Default::default()
    };
    pool.store.read(read).await.expect("reads").rows.len()
}

/// Says that the pool has `groups` groups.
pub(crate) async fn set_count(pool: &TestPool, groups: i64) {
    struct SetCount<'a>(&'a str, i64);

    #[async_trait]
    impl Transaction for SetCount<'_> {
        type Output = ();

        fn scope(&self) -> &str {
            self.0
        }

        async fn decide(&self, tx: &mut Tx<'_>) -> Decision<()> {
            tx.load(Query::new()).await?;
            tx.add(keys::group_count(), self.1 - 1, None, None);
            Ok(().into())
        }
    }

    transact(pool, &SetCount(&pool.id, groups)).await.expect("counts");
}
