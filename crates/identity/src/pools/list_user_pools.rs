//! ListUserPools.

use async_trait::async_trait;
use conclave_api::{ApiError, types};
use conclave_store::{DIRECTORY_SCOPE, keys, records::PoolEntryRecord};
use prost::Message;

use crate::{
    call::{Call, CallPrincipal},
    errors,
    page_token::{self, List},
    pool_access::principal,
    tx::{Decision, Query, Transaction, Tx, transact},
    world::World,
};

/// Lists the pools of the caller's account and region, by id.
///
/// # Errors
/// InvalidParameterException for a token of another list.
pub async fn list_user_pools(
    world: &World,
    call: &Call,
    input: types::ListUserPoolsRequest,
) -> Result<types::ListUserPoolsResponse, ApiError> {
    let principal = principal(call)?;
    let list = List { operation: "ListUserPools", principal, of: &[] };
    let after = page_token::open(&world.cluster_keys.get(), list, input.next_token.as_deref())?;
    // the model limits it to 1..60
    let limit = input.max_results.and_then(|max| u32::try_from(max).ok()).unwrap_or(1).max(1);
    transact(world, &Page { principal, list, after, limit }).await
}

struct Page<'a> {
    principal: &'a CallPrincipal,
    list: List<'a>,
    after: Vec<u8>,
    limit: u32,
}

#[async_trait]
impl Transaction for Page<'_> {
    type Output = types::ListUserPoolsResponse;

    fn scope(&self) -> &str {
        DIRECTORY_SCOPE
    }

    async fn decide(&self, tx: &mut Tx<'_>) -> Decision<Self::Output> {
        let prefix = keys::account_pools(&self.principal.account_id, &self.principal.region);
        let pages = tx.load(Query::new().scan(prefix, self.after.clone(), self.limit)).await?;
        let world = tx.world();
        let mut response = types::ListUserPoolsResponse::default();
        for page in pages {
            for (_, value) in page.rows {
                response.user_pools.push(entry(&value)?);
            }
            if let Some(last) = page.next {
                let token = page_token::seal(world, &world.cluster_keys.get(), self.list, &last)?;
                response.next_token = Some(token);
            }
        }
        Ok(response.into())
    }
}

fn entry(value: &[u8]) -> Result<types::UserPoolDescriptionType, ApiError> {
    let entry = PoolEntryRecord::decode(value)
        .map_err(|_| errors::internal("a stored record cannot be decoded"))?;
    Ok(types::UserPoolDescriptionType {
        id: Some(entry.pool_id),
        name: Some(entry.name),
        lambda_config: Some(types::LambdaConfigType::default()),
        last_modified_date: Some(entry.modified_ms),
        creation_date: Some(entry.created_ms),
        ..Default::default()
    })
}

#[cfg(test)]
mod tests {
    use conclave_store::memory::Trips;

    use super::*;
    use crate::testing::{
        ACCOUNT, START_MS, new_pool_with, signed_call, signed_call_of, test_world,
    };

    fn page(max_results: i32, next_token: Option<String>) -> types::ListUserPoolsRequest {
        types::ListUserPoolsRequest { max_results: Some(max_results), next_token }
    }

    async fn three_pools(world: &World) -> Vec<String> {
        let mut ids = Vec::new();
        for name in ["a", "b", "c"] {
            let input = types::CreateUserPoolRequest {
                pool_name: Some(name.to_owned()),
                ..Default::default()
            };
            ids.push(new_pool_with(world, input).await);
        }
        ids.sort();
        ids
    }

    #[tokio::test]
    async fn pages_go_through_every_pool_once() {
        let world = test_world().await;
        let pools = three_pools(&world).await;
        let mut seen = Vec::new();
        let mut token = None;
        let mut pages = 0;
        loop {
            world.store.take_trips();
            let answer = list_user_pools(&world, &signed_call(), page(2, token)).await.unwrap();
            assert_eq!(world.store.take_trips(), Trips { reads: 1, commits: 0 });
            pages += 1;
            seen.extend(answer.user_pools.into_iter().filter_map(|pool| pool.id));
            token = answer.next_token;
            if token.is_none() {
                break;
            }
        }
        assert_eq!((seen, pages), (pools, 2));
    }

    #[tokio::test]
    async fn an_entry_says_what_the_pool_is_called() {
        let world = test_world().await;
        let input = types::CreateUserPoolRequest {
            pool_name: Some("mine".to_owned()),
            ..Default::default()
        };
        let id = new_pool_with(&world, input).await;
        let answer = list_user_pools(&world, &signed_call(), page(60, None)).await.unwrap();
        let expected = types::UserPoolDescriptionType {
            id: Some(id),
            name: Some("mine".to_owned()),
            lambda_config: Some(Default::default()),
            creation_date: Some(START_MS),
            last_modified_date: Some(START_MS),
            ..Default::default()
        };
        assert_eq!(answer.user_pools, [expected]);
        assert_eq!(answer.next_token, None);
    }

    #[tokio::test]
    async fn other_accounts_and_regions_are_not_listed() {
        let world = test_world().await;
        three_pools(&world).await;
        for call in
            [signed_call_of("444455556666", "us-east-1"), signed_call_of(ACCOUNT, "us-east-2")]
        {
            let answer = list_user_pools(&world, &call, page(60, None)).await.unwrap();
            assert_eq!(answer, Default::default());
        }
    }

    #[tokio::test]
    async fn a_token_is_of_no_use_to_anybody_else() {
        let world = test_world().await;
        three_pools(&world).await;
        let answer = list_user_pools(&world, &signed_call(), page(1, None)).await.unwrap();
        let other = signed_call_of("444455556666", "us-east-1");
        for (call, token) in
            [(&other, answer.next_token.unwrap()), (&signed_call(), "nonsense".to_owned())]
        {
            let error = list_user_pools(&world, call, page(1, Some(token))).await.unwrap_err();
            assert_eq!(error, errors::invalid_pagination_token());
        }
    }
}
