//! ListUserPoolClients.

use async_trait::async_trait;
use conclave_api::{ApiError, types};
use conclave_store::{keys, records::ClientRecord};
use prost::Message;

use crate::{
    call::Call,
    errors,
    page_token::{self, List},
    pool_access::{owned_pool, principal},
    tx::{Decision, Query, Transaction, Tx, transact},
    world::World,
};

/// How many clients a page has when the request does not say: as many as it may say.
const LIMIT_DEFAULT: u32 = 60;
/// Clients that have registered themselves, of which this version has none.
const REGISTERED: &str = "DCR";

/// Lists a pool's clients, by id.
///
/// # Errors
/// ResourceNotFoundException when the caller has no such pool; InvalidParameterException for a token
/// of another list.
pub async fn list_user_pool_clients(
    world: &World,
    call: &Call,
    input: types::ListUserPoolClientsRequest,
) -> Result<types::ListUserPoolClientsResponse, ApiError> {
    transact(world, &Page { call, input: &input }).await
}

struct Page<'a> {
    call: &'a Call,
    input: &'a types::ListUserPoolClientsRequest,
}

#[async_trait]
impl Transaction for Page<'_> {
    type Output = types::ListUserPoolClientsResponse;

    fn scope(&self) -> &str {
        self.input.user_pool_id.as_deref().unwrap_or_default()
    }

    async fn decide(&self, tx: &mut Tx<'_>) -> Decision<Self::Output> {
        // the pool's key, which opens the token, comes with a first read
        tx.load(Query::new()).await?;
        let pool = owned_pool(tx, self.call)?;
        let kind = self.input.client_type.as_deref();
        let of = [pool.id(), kind.unwrap_or_default()];
        let principal = principal(self.call)?;
        let list = List { operation: "ListUserPoolClients", principal, of: &of };
        let after = page_token::open(&pool.keyring, list, self.input.next_token.as_deref())?;
        let mut response = types::ListUserPoolClientsResponse::default();
        if kind == Some(REGISTERED) {
            return Ok(response.into());
        }
        // the model limits it to 1..60
        let limit = self.input.max_results.and_then(|max| u32::try_from(max).ok());
        let limit = limit.unwrap_or(LIMIT_DEFAULT).max(1);
        for page in tx.load(Query::new().scan(keys::clients(), after, limit)).await? {
            for (_, value) in page.rows {
                response.user_pool_clients.push(entry(pool.id(), &value)?);
            }
            if let Some(last) = page.next {
                let token = page_token::seal(tx.world(), &pool.keyring, list, &last)?;
                response.next_token = Some(token);
            }
        }
        Ok(response.into())
    }
}

fn entry(pool_id: &str, value: &[u8]) -> Result<types::UserPoolClientDescription, ApiError> {
    let client = ClientRecord::decode(value)
        .map_err(|_| errors::internal("a stored record cannot be decoded"))?;
    Ok(types::UserPoolClientDescription {
        client_id: Some(client.client_id),
        user_pool_id: Some(pool_id.to_owned()),
        client_name: Some(client.name),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{
        ACCOUNT, new_client_with, new_pool, signed_call, signed_call_of, test_world,
    };

    fn page(
        pool_id: &str,
        max_results: Option<i32>,
        next_token: Option<String>,
    ) -> types::ListUserPoolClientsRequest {
        types::ListUserPoolClientsRequest {
            user_pool_id: Some(pool_id.to_owned()),
            max_results,
            next_token,
            ..Default::default()
        }
    }

    async fn clients(world: &World, pool_id: &str, count: usize) -> Vec<String> {
        let mut ids = Vec::new();
        for _ in 0..count {
            ids.extend(new_client_with(world, pool_id, Default::default()).await.client_id);
        }
        ids.sort();
        ids
    }

    #[tokio::test]
    async fn pages_go_through_every_client_once_by_id() {
        let world = test_world().await;
        let pool_id = new_pool(&world).await;
        let other_pool = new_pool(&world).await;
        let ids = clients(&world, &pool_id, 5).await;
        clients(&world, &other_pool, 1).await;
        let mut seen = Vec::new();
        let mut token = None;
        for expected in [2, 2, 1] {
            let input = page(&pool_id, Some(2), token);
            let answer = list_user_pool_clients(&world, &signed_call(), input).await.unwrap();
            assert_eq!(answer.user_pool_clients.len(), expected);
            seen.extend(answer.user_pool_clients.into_iter().filter_map(|client| client.client_id));
            token = answer.next_token;
        }
        assert_eq!((seen, token), (ids, None));
    }

    #[tokio::test]
    async fn an_entry_has_the_client_s_name_and_pool() {
        let world = test_world().await;
        let pool_id = new_pool(&world).await;
        let ids = clients(&world, &pool_id, 1).await;
        let input = page(&pool_id, None, None);
        let answer = list_user_pool_clients(&world, &signed_call(), input).await.unwrap();
        let expected = types::UserPoolClientDescription {
            client_id: Some(ids[0].clone()),
            user_pool_id: Some(pool_id),
            client_name: Some("client".to_owned()),
        };
        assert_eq!(answer.user_pool_clients, [expected]);
        assert_eq!(answer.next_token, None);
    }

    #[tokio::test]
    async fn clients_can_be_told_apart_by_type() {
        let world = test_world().await;
        let pool_id = new_pool(&world).await;
        clients(&world, &pool_id, 1).await;
        for (client_type, expected) in [("REGULAR", 1), ("DCR", 0)] {
            let input = types::ListUserPoolClientsRequest {
                client_type: Some(client_type.to_owned()),
                ..page(&pool_id, None, None)
            };
            let answer = list_user_pool_clients(&world, &signed_call(), input).await.unwrap();
            assert_eq!(answer.user_pool_clients.len(), expected, "{client_type}");
        }
    }

    #[tokio::test]
    async fn a_token_is_of_no_use_for_another_list() {
        let world = test_world().await;
        let (pool_id, other_pool) = (new_pool(&world).await, new_pool(&world).await);
        clients(&world, &pool_id, 2).await;
        let input = page(&pool_id, Some(1), None);
        let token = list_user_pool_clients(&world, &signed_call(), input).await.unwrap().next_token;
        let regular = types::ListUserPoolClientsRequest {
            client_type: Some("REGULAR".to_owned()),
            ..page(&pool_id, Some(1), token.clone())
        };
        let wrong = [
            page(&other_pool, Some(1), token),
            page(&pool_id, Some(1), Some("nonsense".to_owned())),
            regular,
        ];
        for input in wrong {
            let error = list_user_pool_clients(&world, &signed_call(), input).await.unwrap_err();
            assert_eq!(error, errors::invalid_pagination_token());
        }
    }

    #[tokio::test]
    async fn a_pool_of_another_account_or_region_looks_like_none() {
        let world = test_world().await;
        let pool_id = new_pool(&world).await;
        for call in
            [signed_call_of("444455556666", "us-east-1"), signed_call_of(ACCOUNT, "eu-west-1")]
        {
            let input = page(&pool_id, None, None);
            let error = list_user_pool_clients(&world, &call, input).await.unwrap_err();
            assert_eq!(error, errors::user_pool_not_found(&pool_id));
        }
    }
}
