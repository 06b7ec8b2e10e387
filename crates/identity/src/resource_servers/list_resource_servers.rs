//! ListResourceServers. Its tests stand with CreateResourceServer.

use async_trait::async_trait;
use conclave_api::{ApiError, types};
use conclave_store::{keys, records::ResourceServerRecord};

use super::describe;
use crate::{
    call::Call,
    pool_list::{self, Wanted},
    tx::{Decision, Transaction, Tx, transact},
    world::World,
};

/// How many a page has when the request does not say: as many as it may say.
const LIMIT_DEFAULT: u32 = 50;

/// Lists a pool's resource servers, by identifier.
///
/// # Errors
/// ResourceNotFoundException when the caller has no such pool; InvalidParameterException for a token of
/// another list.
pub async fn list_resource_servers(
    world: &World,
    call: &Call,
    input: types::ListResourceServersRequest,
) -> Result<types::ListResourceServersResponse, ApiError> {
    transact(world, &Page { call, input: &input }).await
}

struct Page<'a> {
    call: &'a Call,
    input: &'a types::ListResourceServersRequest,
}

#[async_trait]
impl Transaction for Page<'_> {
    type Output = types::ListResourceServersResponse;

    fn scope(&self) -> &str {
        self.input.user_pool_id.as_deref().unwrap_or_default()
    }

    async fn decide(&self, tx: &mut Tx<'_>) -> Decision<Self::Output> {
        let wanted = Wanted {
            operation: "ListResourceServers",
            prefix: keys::resource_servers(),
            next_token: self.input.next_token.as_deref(),
            max_results: self.input.max_results,
            limit_default: LIMIT_DEFAULT,
        };
        let page = pool_list::load::<ResourceServerRecord>(tx, self.call, wanted).await?;
        let resource_servers =
            page.records.iter().map(|server| describe(self.scope(), server)).collect();
        let next_token = page.next_token;
        Ok(types::ListResourceServersResponse { resource_servers, next_token }.into())
    }
}
