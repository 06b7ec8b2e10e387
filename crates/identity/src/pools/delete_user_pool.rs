//! DeleteUserPool.

use async_trait::async_trait;
use conclave_api::{ApiError, ExceptionName, types};
use conclave_store::keys;

use super::directory_rows::{Forget, ForgetClients};
use crate::{
    call::Call,
    errors,
    pool_access::{owned_pool, principal},
    tx::{Decision, Query, Transaction, Tx, transact},
    user_import,
    world::World,
};

/// How many clients one read names.
const CLIENTS_READ_MAX: u32 = 500;

/// Deletes a pool with everything in it, and then its rows and its clients' in the directory. A
/// repetition finishes what a crash has left of the pool's own.
///
/// # Errors
/// ResourceNotFoundException when the caller has no such pool; InvalidParameterException when it is
/// protected; UserImportInProgressException.
pub async fn delete_user_pool(
    world: &World,
    call: &Call,
    input: types::DeleteUserPoolRequest,
) -> Result<types::DeleteUserPoolResponse, ApiError> {
    let principal = principal(call)?;
    let pool_id = &input.user_pool_id.unwrap_or_default();
    let (refusal, client_ids) = match transact(world, &Delete { call, pool_id }).await {
        Ok(client_ids) => (None, client_ids),
        Err(error) if error.code == ExceptionName::ResourceNotFoundException => {
            (Some(error), Vec::new())
        }
        Err(error) => return Err(error),
    };
    conclave_fault::point("delete.after_pool");
    for client_ids in client_ids.chunks(ForgetClients::CLIENTS_MAX) {
        transact(world, &ForgetClients { pool_id, client_ids }).await?;
    }
    let deleted = refusal.is_none();
    let had_rows = transact(world, &Forget { principal, pool_id, deleted, only: None }).await?;
    match refusal {
        Some(refusal) if !had_rows => Err(refusal),
        _ => Ok(types::DeleteUserPoolResponse::default()),
    }
}

/// Answers the ids of the clients that the pool had.
struct Delete<'a> {
    call: &'a Call,
    pool_id: &'a str,
}

#[async_trait]
impl Transaction for Delete<'_> {
    type Output = Vec<String>;

    fn works_when_frozen(&self) -> bool {
        true
    }

    fn scope(&self) -> &str {
        self.pool_id
    }

    async fn decide(&self, tx: &mut Tx<'_>) -> Decision<Vec<String>> {
        let scan = |after| Query::new().scan(keys::clients(), after, CLIENTS_READ_MAX);
        let mut pages = tx.load(scan(Vec::new()).get(keys::user_imports())).await?;
        let pool = owned_pool(tx, self.call)?;
        user_import::refuse_while_active(tx)?;
        if pool.record.deletion_protection {
            return Err(errors::invalid_parameter(
                "The user pool cannot be deleted because deletion protection is activated. \
                 Deletion protection must be inactivated first.",
            )
            .into());
        }
        if !pool.record.domains.is_empty() {
            return Err(errors::invalid_parameter(
                "User pool cannot be deleted. It has a domain configured that should be deleted first.",
            )
            .into());
        }
        let mut client_ids = Vec::new();
        while let Some(page) = pages.pop() {
            client_ids.extend(page.rows.iter().filter_map(|(key, _)| client_id(key)));
            if let Some(last) = page.next {
                pages = tx.load(scan(last.to_vec())).await?;
            }
        }
        // protection may not be switched on in between, nor a client be made
        tx.rely_on_config();
        tx.delete(keys::ROOT.to_vec());
        tx.delete_children(Vec::new());
        Ok(client_ids.into())
    }
}

fn client_id(key: &[u8]) -> Option<String> {
    let id = key.strip_prefix(&keys::clients()[..])?;
    String::from_utf8(id.to_vec()).ok()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use conclave_store::{DIRECTORY_SCOPE, Store, proto};

    use super::*;
    use crate::{
        pools::{create_user_pool, describe_user_pool, list_user_pools},
        testing::{
            ACCOUNT, TestWorld, new_client_with, new_pool, new_pool_with, signed_call,
            signed_call_of, test_world,
        },
    };

    fn request(pool_id: &str) -> types::DeleteUserPoolRequest {
        types::DeleteUserPoolRequest { user_pool_id: Some(pool_id.to_owned()) }
    }

    async fn listed(world: &World) -> usize {
        let input = types::ListUserPoolsRequest { max_results: Some(60), ..Default::default() };
        list_user_pools(world, &signed_call(), input).await.unwrap().user_pools.len()
    }

    async fn describe(world: &World, pool_id: &str) -> Result<(), ApiError> {
        let input = types::DescribeUserPoolRequest { user_pool_id: Some(pool_id.to_owned()) };
        describe_user_pool(world, &signed_call(), input).await.map(|_| ())
    }

    /// Rows of a scope that begin with `prefix`.
    async fn rows(world: &TestWorld, scope: &str, prefix: Vec<u8>) -> usize {
        let scan = proto::Scan { prefix: prefix.into(), limit: 1_000, ..Default::default() };
        let read = proto::Read { scope: scope.to_owned(), scans: vec![scan], ..Default::default() };
        world.store.read(read).await.unwrap().rows.len()
    }

    #[tokio::test]
    async fn nothing_of_the_pool_is_left() {
        let world = test_world().await;
        let kept = new_pool(&world).await;
        let pool_id = new_pool(&world).await;
        let client = new_client_with(&world, &pool_id, Default::default()).await;
        let directory = rows(&world, DIRECTORY_SCOPE, Vec::new()).await;
        delete_user_pool(&world, &signed_call(), request(&pool_id)).await.unwrap();
        assert_eq!(rows(&world, &pool_id, Vec::new()).await, 0);
        assert_eq!(
            rows(&world, DIRECTORY_SCOPE, Vec::new()).await,
            directory - 3,
            "location and entry of the pool, location of its client"
        );
        let location = keys::client_location(client.client_id.as_deref().unwrap());
        assert_eq!(rows(&world, DIRECTORY_SCOPE, location).await, 0);
        assert_eq!(describe(&world, &pool_id).await, Err(errors::user_pool_not_found(&pool_id)));
        assert_eq!(describe(&world, &kept).await, Ok(()));
        assert_eq!(listed(&world).await, 1);
    }

    #[tokio::test]
    async fn a_protected_pool_stays() {
        let world = test_world().await;
        let input = types::CreateUserPoolRequest {
            deletion_protection: Some("ACTIVE".to_owned()),
            ..Default::default()
        };
        let pool_id = new_pool_with(&world, input).await;
        let error = delete_user_pool(&world, &signed_call(), request(&pool_id)).await.unwrap_err();
        assert_eq!(error.code.as_str(), "InvalidParameterException");
        assert_eq!(
            error.message,
            "The user pool cannot be deleted because deletion protection is activated. Deletion protection must be inactivated first."
        );
        assert_eq!((describe(&world, &pool_id).await, listed(&world).await), (Ok(()), 1));
    }

    #[tokio::test]
    async fn a_pool_of_another_account_or_region_stays_and_looks_like_none() {
        let world = test_world().await;
        let pool_id = new_pool(&world).await;
        world.clock.advance(Duration::from_secs(3_600));
        let own = signed_call();
        for (call, id) in [
            (&own, "us-east-1_000000000"),
            (&signed_call_of("444455556666", "us-east-1"), &pool_id),
            (&signed_call_of(ACCOUNT, "eu-west-1"), &pool_id),
        ] {
            let error = delete_user_pool(&world, call, request(id)).await.unwrap_err();
            assert_eq!(error, errors::user_pool_not_found(id));
        }
        assert_eq!((describe(&world, &pool_id).await, listed(&world).await), (Ok(()), 1));
    }

    #[tokio::test]
    async fn a_second_delete_finds_nothing() {
        let world = test_world().await;
        let pool_id = new_pool(&world).await;
        delete_user_pool(&world, &signed_call(), request(&pool_id)).await.unwrap();
        let error = delete_user_pool(&world, &signed_call(), request(&pool_id)).await.unwrap_err();
        assert_eq!(error, errors::user_pool_not_found(&pool_id));
    }

    #[tokio::test]
    async fn a_deleted_pool_no_longer_counts() {
        let mut world = test_world().await;
        world.world.settings.pools_per_account_max = 1;
        let pool_id = new_pool(&world).await;
        delete_user_pool(&world, &signed_call(), request(&pool_id)).await.unwrap();
        new_pool(&world).await;
    }

    #[tokio::test]
    async fn a_repetition_finishes_what_a_crash_has_left() {
        let world = test_world().await;
        let pool_id = new_pool(&world).await;
        world.clock.advance(Duration::from_secs(3_600));
        world.store.fail_commit(2);
        let error = delete_user_pool(&world, &signed_call(), request(&pool_id)).await.unwrap_err();
        assert_eq!(error.code.as_str(), "ServiceUnavailable");
        assert_eq!(describe(&world, &pool_id).await, Err(errors::user_pool_not_found(&pool_id)));
        assert_eq!(listed(&world).await, 1);
        let other = signed_call_of("444455556666", "us-east-1");
        assert!(delete_user_pool(&world, &other, request(&pool_id)).await.is_err());
        assert_eq!(listed(&world).await, 1, "another account does not clear it away");
        delete_user_pool(&world, &signed_call(), request(&pool_id)).await.unwrap();
        assert_eq!(listed(&world).await, 0);
    }

    #[tokio::test]
    async fn a_pool_in_the_making_is_not_cleared_away_but_a_leftover_is() {
        let world = test_world().await;
        world.store.fail_commit(2);
        let input =
            types::CreateUserPoolRequest { pool_name: Some("p".to_owned()), ..Default::default() };
        create_user_pool(&world, &signed_call(), input).await.unwrap_err();
        let input = types::ListUserPoolsRequest { max_results: Some(60), ..Default::default() };
        let pools = list_user_pools(&world, &signed_call(), input).await.unwrap().user_pools;
        let pool_id = pools[0].id.as_deref().unwrap();
        let error = delete_user_pool(&world, &signed_call(), request(pool_id)).await.unwrap_err();
        assert_eq!((error, listed(&world).await), (errors::user_pool_not_found(pool_id), 1));
        world.clock.advance(Duration::from_secs(120));
        delete_user_pool(&world, &signed_call(), request(pool_id)).await.unwrap();
        assert_eq!(listed(&world).await, 0);
    }
}
