//! ListUsersInGroup.

use async_trait::async_trait;
use conclave_api::{ApiError, types};
use conclave_store::{keys, records::UserRecord};

use super::{limit, lookup};
use crate::{
    call::Call,
    errors,
    page_token::{self, List},
    pool_access,
    tx::{Decision, Query, Transaction, Tx, transact},
    users::describe,
    world::World,
};

/// Lists who is in a group, in no particular order. Two reads: who is in it, and who they are.
///
/// # Errors
/// Those of the API reference.
pub async fn list_users_in_group(
    world: &World,
    call: &Call,
    input: types::ListUsersInGroupRequest,
) -> Result<types::ListUsersInGroupResponse, ApiError> {
    let pool_id = input.user_pool_id.unwrap_or_default();
    let group_name = input.group_name.unwrap_or_default();
    let of = [pool_id.as_str(), group_name.as_str()];
    let principal = pool_access::principal(call)?;
    let list = List { operation: "ListUsersInGroup", principal, of: &of };
    let list_users = ListUsersInGroup {
        call,
        pool_id: &pool_id,
        group_name: &group_name,
        list,
        limit: limit(input.limit),
        // under the cluster's key: the place to go on from is needed before the pool is read
        after: page_token::open(&world.cluster_keys.get(), list, input.next_token.as_deref())?,
    };
    transact(world, &list_users).await
}

struct ListUsersInGroup<'a> {
    call: &'a Call,
    pool_id: &'a str,
    group_name: &'a str,
    list: List<'a>,
    limit: u32,
    after: Vec<u8>,
}

#[async_trait]
impl Transaction for ListUsersInGroup<'_> {
    type Output = types::ListUsersInGroupResponse;

    fn scope(&self) -> &str {
        self.pool_id
    }

    async fn decide(&self, tx: &mut Tx<'_>) -> Decision<Self::Output> {
        let mut query = lookup::query(Query::new(), self.group_name);
        // one more than is shown says whether there are more
        if self.after.is_empty() {
            let (before, after) = keys::group_member_hop();
            query = query.under_each_follow(before, after, self.limit + 1);
        } else {
            let length = self.after.len().saturating_sub(keys::SUB_BYTES);
            let prefix = self.after.get(..length).unwrap_or_default().to_vec();
            query = query.scan(prefix, self.after.clone(), self.limit + 1);
        }
        tx.load(query).await?;
        pool_access::owned_pool(tx, self.call)?;
        let group = lookup::find(tx, self.group_name)?;
        let prefix = keys::group_members(&group.group_id);
        if !self.after.is_empty() && !self.after.starts_with(&prefix) {
            // the list of a group that is gone, whose name another one has
            return Err(errors::invalid_pagination_token().into());
        }
        let mut members: Vec<_> = tx.loaded_under(&prefix).map(|(key, _)| key.clone()).collect();
        let more = members.len() > self.limit as usize;
        members.truncate(self.limit as usize);
        let next_token = match members.last() {
            Some(last) if more => {
                let world = tx.world();
                Some(page_token::seal(world, &world.cluster_keys.get(), self.list, last)?)
            }
            _ => None,
        };
        let subs: Vec<_> = members.iter().filter_map(|key| keys::group_member_sub(key)).collect();
        let mut users = Vec::with_capacity(subs.len());
        if !subs.is_empty() {
            let query = subs.iter().fold(Query::new(), |query, sub| query.get(keys::user(sub)));
            tx.load(query).await?;
            for sub in subs {
                // whoever has gone since is left out
                let user = tx.get::<UserRecord>(&keys::user(sub))?;
                users.extend(user.map(|user| describe::user_type(&user.record)));
            }
        }
        Ok(types::ListUsersInGroupResponse { users, next_token }.into())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::{
        groups::fixtures,
        testing::{signed_call, signed_call_of},
        users::fixtures::{TestPool, plain_pool, refusal, shown, trips},
    };

    fn request(pool: &TestPool, next_token: Option<String>) -> types::ListUsersInGroupRequest {
        types::ListUsersInGroupRequest {
            user_pool_id: Some(pool.id.clone()),
            group_name: Some("staff".to_owned()),
            limit: Some(3),
            next_token,
        }
    }

    async fn staffed() -> TestPool {
        let pool = plain_pool().await;
        fixtures::create(&pool, "staff").await.unwrap();
        for number in 0..7 {
            let name = format!("user{number}");
            pool.sign_up(&name, &[("name", &name)]).await.unwrap();
            fixtures::add(&pool, &name, "staff").await.unwrap();
        }
        pool.store.take_trips();
        pool
    }

    #[tokio::test]
    async fn pages_hold_every_member_once() {
        let pool = staffed().await;
        let call = signed_call();
        let mut next_token = None;
        let mut seen = BTreeSet::new();
        for expected in [3, 3, 1] {
            let page = list_users_in_group(&pool, &call, request(&pool, next_token));
            let page = page.await.unwrap();
            assert_eq!(pool.store.take_trips(), trips(2, 0));
            assert_eq!(page.users.len(), expected);
            for user in &page.users {
                let username = user.username.clone().unwrap();
                assert_eq!(shown(&user.attributes), [format!("name={username}")]);
                assert_eq!(user.user_status.as_deref(), Some("UNCONFIRMED"));
                seen.insert(username);
            }
            next_token = page.next_token;
        }
        assert_eq!((seen.len(), next_token), (7, None));
    }

    #[tokio::test]
    async fn a_page_does_not_go_on_in_another_group_of_the_name() {
        let pool = staffed().await;
        let call = signed_call();
        let page = list_users_in_group(&pool, &call, request(&pool, None)).await.unwrap();
        fixtures::delete(&pool, "staff").await.unwrap();
        let next = || request(&pool, page.next_token.clone());
        assert_eq!(
            refusal(list_users_in_group(&pool, &call, next()).await),
            "ResourceNotFoundException: Group not found."
        );
        fixtures::create(&pool, "staff").await.unwrap();
        assert_eq!(
            refusal(list_users_in_group(&pool, &call, next()).await),
            "InvalidParameterException: Invalid pagination token given."
        );
        let foreign = signed_call_of("999999999999", "us-east-1");
        assert_eq!(
            refusal(list_users_in_group(&pool, &foreign, request(&pool, None)).await),
            format!("ResourceNotFoundException: User pool {} does not exist.", pool.id)
        );
    }
}
