//! Lists do not cost more in a larger pool, and hold everybody who is there throughout, once, while others
//! come and go.

use std::collections::BTreeSet;

use async_trait::async_trait;
use conclave_api::types;
use conclave_crypto::ids;
use conclave_store::records::UserRecord;

use super::{
    attributes, delete_user,
    fixtures::{PASSWORD, TestPool, plain_pool},
    index, list_users, status,
};
use crate::{
    groups::{self, fixtures as group_fixtures},
    testing::signed_call,
    tx::{Decision, Query, Transaction, Tx, transact},
};

/// Users in a page of these tests.
const LIMIT: i32 = 10;

/// Writes a user as an operation would, without its checks.
struct Write<'a> {
    pool: &'a TestPool,
    number: usize,
}

#[async_trait]
impl Transaction for Write<'_> {
    type Output = ();

    fn scope(&self) -> &str {
        &self.pool.id
    }

    async fn decide(&self, tx: &mut Tx<'_>) -> Decision<()> {
        tx.load(Query::new()).await?;
        let number = self.number;
        let mut user = UserRecord {
            sub: ids::uuid(&*tx.world().entropy),
            username: format!("user{number:05}"),
            status: status::CONFIRMED.to_owned(),
            enabled: true,
            ..Default::default()
        };
        for (name, value) in [
            ("email", format!("user{number:05}@example.com")),
            ("phone_number", format!("+12065{number:05}")),
            ("name", format!("Name {number:05}")),
            ("given_name", format!("Given {number:05}")),
            ("family_name", format!("Family {:05}", number / 10)),
            ("preferred_username", format!("preferred{number:05}")),
        ] {
            attributes::set(&mut user, name, &value);
        }
        index::write_user(tx, None, &user)?;
        Ok(().into())
    }
}

/// A pool with users from 0.
async fn pool_of(users: usize) -> TestPool {
    let pool = plain_pool().await;
    for number in 0..users {
        transact(&pool, &Write { pool: &pool, number }).await.expect("writes");
    }
    pool
}

async fn list(
    pool: &TestPool,
    filter: Option<&str>,
    pagination_token: Option<String>,
) -> types::ListUsersResponse {
    let request = types::ListUsersRequest {
        user_pool_id: Some(pool.id.clone()),
        limit: Some(LIMIT),
        filter: filter.map(str::to_owned),
        pagination_token,
        ..Default::default()
    };
    list_users(pool, &signed_call(), request).await.expect("lists")
}

fn names(users: &[types::UserType]) -> Vec<String> {
    users.iter().filter_map(|user| user.username.clone()).collect()
}

/// Every documented filter, for the user with a number, and how many users it finds on a page.
fn filters(sub: &str) -> Vec<(String, usize)> {
    let mut filters = vec![(String::new(), 10)];
    for (attribute, value, equal, starting) in [
        ("username", "user00012", 1, 10),
        ("email", "user00012@example.com", 1, 10),
        ("phone_number", "+1206500012", 1, 10),
        ("name", "name 00012", 1, 10),
        ("given_name", "Given 00012", 1, 10),
        ("family_name", "family 00001", 10, 10),
        ("preferred_username", "preferred00012", 1, 10),
        ("cognito:user_status", "CONFIRMED", 10, 10),
        ("status", "Enabled", 10, 10),
        ("sub", sub, 1, 1),
    ] {
        filters.push((format!("{attribute} = \"{value}\""), equal));
        // without what tells ten users apart
        let cut = match attribute {
            "email" => value.len() - "2@example.com".len(),
            "sub" => 18,
            "cognito:user_status" | "status" | "family_name" => 3,
            _ => value.len() - 1,
        };
        filters.push((format!("{attribute} ^= \"{}\"", &value[..cut]), starting));
    }
    filters
}

#[tokio::test]
async fn a_list_of_users_looks_at_as_many_rows_in_a_large_pool_as_in_a_small_one() {
    let mut read = Vec::new();
    for users in [60, 600] {
        let pool = pool_of(users).await;
        let user = pool.user("user00012").await.unwrap();
        let sub = user.user_attributes.last().unwrap().value.clone().unwrap();
        let mut of_pool = Vec::new();
        for (filter, found) in filters(&sub) {
            pool.store.take_rows_read();
            let page = list(&pool, Some(filter.as_str()), None).await;
            let rows = pool.store.take_rows_read();
            assert_eq!(page.users.len(), found, "{filter} of {users}");
            // an index row and a record for each user, one more to see the end, and the pool itself
            assert!(rows <= 2 * found as u64 + 8, "{filter} of {users}: {rows} rows");
            of_pool.push((filter.replace(&sub, "").replace(&sub[..18], ""), rows));
        }
        // a page in the middle costs what the first one does
        let first = list(&pool, None, None).await;
        pool.store.take_rows_read();
        let second = list(&pool, None, first.pagination_token).await;
        assert_eq!(second.users.len(), 10);
        of_pool.push(("next page".to_owned(), pool.store.take_rows_read()));
        read.push(of_pool);
    }
    let large = read.pop().unwrap();
    assert_eq!(read.pop().unwrap(), large);
}

#[tokio::test]
async fn lists_of_groups_and_their_users_do_too() {
    let mut read = Vec::new();
    for count in [40, 200] {
        let pool = pool_of(count).await;
        group_fixtures::create(&pool, "staff").await.unwrap();
        for number in 0..count {
            group_fixtures::create(&pool, &format!("group{number:05}")).await.unwrap();
            group_fixtures::add(&pool, &format!("user{number:05}"), "staff").await.unwrap();
        }
        let _ = pool.user("nobody").await;
        pool.store.take_rows_read();
        let request = types::ListUsersInGroupRequest {
            user_pool_id: Some(pool.id.clone()),
            group_name: Some("staff".to_owned()),
            limit: Some(LIMIT),
            next_token: None,
        };
        let page = groups::list_users_in_group(&pool, &signed_call(), request).await.unwrap();
        assert_eq!(page.users.len(), 10);
        let of_users = pool.store.take_rows_read();
        let request = types::ListGroupsRequest {
            user_pool_id: Some(pool.id.clone()),
            limit: Some(LIMIT),
            ..Default::default()
        };
        let page = groups::list_groups(&pool, &signed_call(), request).await.unwrap();
        assert_eq!(page.groups.len(), 10);
        let of_groups = pool.store.take_rows_read();
        assert!(of_users <= 40 && of_groups <= 20, "{of_users} and {of_groups} rows");
        read.push((of_users, of_groups));
    }
    assert_eq!(read[0], read[1]);
}

async fn delete(pool: &TestPool, username: &str) {
    let request = types::AdminDeleteUserRequest {
        user_pool_id: Some(pool.id.clone()),
        username: Some(username.to_owned()),
    };
    super::admin_delete_user(pool, &signed_call(), request).await.expect("deletes");
}

#[tokio::test]
async fn pages_of_users_stay_right_while_users_come_and_go() {
    for filter in [None, Some("status = \"Enabled\""), Some("username ^= \"user\"")] {
        let pool = pool_of(45).await;
        let (mut seen, mut gone, mut token) = (Vec::new(), BTreeSet::new(), None);
        let mut next = 45;
        loop {
            let page = list(&pool, filter, token).await;
            seen.extend(names(&page.users));
            token = page.pagination_token;
            if token.is_none() {
                break;
            }
            // the one at which the next page begins, and another one; and somebody new
            let last = names(&page.users).pop().unwrap();
            for name in [last, format!("user{:05}", 40 - next % 5)] {
                if gone.insert(name.clone()) {
                    delete(&pool, &name).await;
                }
            }
            transact(&pool, &Write { pool: &pool, number: next }).await.unwrap();
            next += 1;
        }
        let seen_once: BTreeSet<_> = seen.iter().cloned().collect();
        assert_eq!(seen_once.len(), seen.len(), "nobody twice: {filter:?}");
        for number in 0..45 {
            let name = format!("user{number:05}");
            assert!(gone.contains(&name) || seen_once.contains(&name), "{name} of {filter:?}");
        }
    }
}

#[tokio::test]
async fn pages_of_groups_and_their_users_stay_right_too() {
    let pool = pool_of(35).await;
    group_fixtures::create(&pool, "staff").await.unwrap();
    for number in 0..35 {
        group_fixtures::create(&pool, &format!("group{number:05}")).await.unwrap();
        group_fixtures::add(&pool, &format!("user{number:05}"), "staff").await.unwrap();
    }
    let (mut seen, mut gone, mut next_token) = (Vec::new(), BTreeSet::new(), None);
    loop {
        let request = types::ListUsersInGroupRequest {
            user_pool_id: Some(pool.id.clone()),
            group_name: Some("staff".to_owned()),
            limit: Some(LIMIT),
            next_token,
        };
        let page = groups::list_users_in_group(&pool, &signed_call(), request).await.unwrap();
        seen.extend(names(&page.users));
        next_token = page.next_token;
        if next_token.is_none() {
            break;
        }
        let last = names(&page.users).pop().unwrap();
        delete(&pool, &last).await;
        gone.insert(last);
    }
    assert_eq!(seen.iter().collect::<BTreeSet<_>>().len(), seen.len());
    assert_eq!(seen.len(), 35, "each page was read before its last user went");
    let (mut seen, mut next_token) = (Vec::new(), None);
    loop {
        let request = types::ListGroupsRequest {
            user_pool_id: Some(pool.id.clone()),
            limit: Some(LIMIT),
            next_token,
        };
        let page = groups::list_groups(&pool, &signed_call(), request).await.unwrap();
        let listed = page.groups.iter().filter_map(|group| group.group_name.clone());
        seen.extend(listed);
        next_token = page.next_token;
        if next_token.is_none() {
            break;
        }
        group_fixtures::delete(&pool, seen.last().unwrap()).await.unwrap();
    }
    assert_eq!(seen.iter().collect::<BTreeSet<_>>().len(), seen.len());
    assert_eq!(seen.len(), 36);
}

/// Whoever had everything that a user can have leaves nothing but what expires by itself.
#[tokio::test]
async fn a_deleted_user_leaves_no_row_behind() {
    let pool = super::fixtures::alias_pool().await;
    let before = pool.store.physical_keys();
    let all = [
        ("email", "ada@example.com"),
        ("phone_number", "+12065550100"),
        ("preferred_username", "countess"),
        ("name", "Ada L"),
        ("given_name", "Ada"),
        ("family_name", "Lovelace"),
    ];
    let sub = pool.confirmed_user("ada", &all).await;
    group_fixtures::create(&pool, "staff").await.unwrap();
    group_fixtures::add(&pool, "ada", "staff").await.unwrap();
    let tokens = pool.sign_in("ada", PASSWORD).await.unwrap();
    assert!(pool.sign_in("ada", "Wrong-Horse-9").await.is_err());
    let forgot = types::ForgotPasswordRequest {
        client_id: Some(pool.client_id.clone()),
        username: Some("ada".to_owned()),
        ..Default::default()
    };
    let call = crate::testing::unsigned_call();
    super::forgot_password(&pool, &call, forgot).await.unwrap();
    let with_user = pool.store.physical_keys();
    assert!(with_user.iter().any(|key| contains(key, sub.as_bytes())));
    let request = types::DeleteUserRequest { access_token: tokens.access_token };
    delete_user(&pool, &call, request).await.unwrap();
    for key in pool.store.physical_keys() {
        // by what a user's rows are found: the sub, names and addresses
        let is_expiry = key.starts_with(conclave_store::keys::EXPIRY);
        for trace in [sub.as_str(), "ada@example.com", "+12065550100", "countess", "lovelace"] {
            assert!(
                is_expiry || before.contains(&key) || !contains(&key, trace.as_bytes()),
                "{trace} in a key of tag {:?}",
                key.get(2 + pool.id.len())
            );
        }
    }
}

fn contains(key: &[u8], part: &[u8]) -> bool {
    key.windows(part.len()).any(|window| window == part)
}
