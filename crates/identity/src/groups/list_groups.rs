//! ListGroups.

use async_trait::async_trait;
use conclave_api::{ApiError, types};
use conclave_store::{keys, records::GroupRecord};
use prost::Message;

use super::{describe, limit};
use crate::{
    call::Call,
    errors,
    page_token::{self, List},
    pool_access,
    tx::{Decision, Query, Transaction, Tx, transact},
    world::World,
};

/// Lists groups, in no particular order. One read.
///
/// # Errors
/// Those of the API reference.
pub async fn list_groups(
    world: &World,
    call: &Call,
    input: types::ListGroupsRequest,
) -> Result<types::ListGroupsResponse, ApiError> {
    let pool_id = input.user_pool_id.unwrap_or_default();
    let of = [pool_id.as_str()];
    let list = List { operation: "ListGroups", principal: pool_access::principal(call)?, of: &of };
    let list_groups = ListGroups {
        call,
        pool_id: &pool_id,
        list,
        limit: limit(input.limit),
        // under the cluster's key: the place to go on from is needed before the pool is read
        after: page_token::open(&world.cluster_keys.get(), list, input.next_token.as_deref())?,
    };
    transact(world, &list_groups).await
}

struct ListGroups<'a> {
    call: &'a Call,
    pool_id: &'a str,
    list: List<'a>,
    limit: u32,
    after: Vec<u8>,
}

#[async_trait]
impl Transaction for ListGroups<'_> {
    type Output = types::ListGroupsResponse;

    fn scope(&self) -> &str {
        self.pool_id
    }

    async fn decide(&self, tx: &mut Tx<'_>) -> Decision<Self::Output> {
        let query = Query::new().scan(keys::groups(), self.after.clone(), self.limit);
        let pages = tx.load(query).await?;
        let pool = pool_access::owned_pool(tx, self.call)?;
        let world = tx.world();
        let mut response = types::ListGroupsResponse::default();
        for page in pages {
            for (_, value) in page.rows {
                let group = GroupRecord::decode(value)
                    .map_err(|_| errors::internal("a stored record cannot be decoded"))?;
                response.groups.push(describe(pool.id(), &group));
            }
            if let Some(last) = page.next {
                let token = page_token::seal(world, &world.cluster_keys.get(), self.list, &last)?;
                response.next_token = Some(token);
            }
        }
        Ok(response.into())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::{
        groups::fixtures,
        testing::{signed_call, signed_call_of},
        users::fixtures::{TestPool, plain_pool, refusal, trips},
    };

    fn request(pool: &TestPool) -> types::ListGroupsRequest {
        types::ListGroupsRequest { user_pool_id: Some(pool.id.clone()), ..Default::default() }
    }

    #[tokio::test]
    async fn pages_hold_every_group_once() {
        let pool = plain_pool().await;
        let call = signed_call();
        let list = |request| list_groups(&pool, &call, request);
        assert_eq!(list(request(&pool)).await.unwrap(), types::ListGroupsResponse::default());
        let names: BTreeSet<String> = (0..65).map(|number| format!("group{number}")).collect();
        for name in &names {
            fixtures::create(&pool, name).await.unwrap();
        }
        pool.store.take_trips();
        let mut seen = Vec::new();
        let mut next_token = None;
        for expected in [60, 5] {
            let page = list(types::ListGroupsRequest { next_token, ..request(&pool) });
            let page = page.await.unwrap();
            assert_eq!(pool.store.take_trips(), trips(1, 0));
            assert_eq!(page.groups.len(), expected);
            seen.extend(page.groups.into_iter().filter_map(|group| group.group_name));
            next_token = page.next_token;
        }
        assert_eq!(next_token, None);
        assert_eq!(seen.len(), 65);
        assert_eq!(seen.into_iter().collect::<BTreeSet<_>>(), names);
        let few = types::ListGroupsRequest { limit: Some(3), ..request(&pool) };
        assert_eq!(list(few).await.unwrap().groups.len(), 3);
        let all = types::ListGroupsRequest { limit: Some(0), ..request(&pool) };
        assert_eq!(list(all).await.unwrap().groups.len(), 60);
    }

    #[tokio::test]
    async fn tokens_of_other_lists_and_foreign_pools_are_refused() {
        let pool = plain_pool().await;
        for name in ["a", "b"] {
            fixtures::create(&pool, name).await.unwrap();
        }
        let first = types::ListGroupsRequest { limit: Some(1), ..request(&pool) };
        let page = list_groups(&pool, &signed_call(), first).await.unwrap();
        let foreign = signed_call_of("999999999999", "us-east-1");
        let next = types::ListGroupsRequest { next_token: page.next_token, ..request(&pool) };
        assert_eq!(
            refusal(list_groups(&pool, &foreign, next).await),
            "InvalidParameterException: Invalid pagination token given."
        );
        assert_eq!(
            refusal(list_groups(&pool, &foreign, request(&pool)).await),
            format!("ResourceNotFoundException: User pool {} does not exist.", pool.id)
        );
    }
}
