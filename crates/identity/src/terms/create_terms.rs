//! CreateTerms.

use async_trait::async_trait;
use bytes::Bytes;
use conclave_api::{ApiError, ExceptionName, types};
use conclave_crypto::ids;
use conclave_store::{
    keys::{self, ClientPage},
    records::TermsRecord,
};
use prost::Message;

use super::{describe, exists, settings};
use crate::{
    call::Call,
    clients::client_not_found,
    pool_access::owned_pool,
    tx::{Decision, Query, Transaction, Tx, transact},
    world::World,
};

/// Gives an app client a terms document.
///
/// # Errors
/// ResourceNotFoundException when the caller has no such pool, or the pool no such client; InvalidParameterException
/// for links that [`settings`] refuses; TermsExistsException when the client has a document of that name;
/// LimitExceededException when the pool has too many.
pub async fn create_terms(
    world: &World,
    call: &Call,
    input: types::CreateTermsRequest,
) -> Result<types::CreateTermsResponse, ApiError> {
    let terms_id = ids::uuid(&*world.entropy);
    transact(world, &Create { call, terms_id: &terms_id, input: &input }).await
}

struct Create<'a> {
    call: &'a Call,
    terms_id: &'a str,
    input: &'a types::CreateTermsRequest,
}

#[async_trait]
impl Transaction for Create<'_> {
    type Output = types::CreateTermsResponse;

    fn scope(&self) -> &str {
        self.input.user_pool_id.as_deref().unwrap_or_default()
    }

    async fn decide(&self, tx: &mut Tx<'_>) -> Decision<Self::Output> {
        let client_id = self.input.client_id.as_deref().unwrap_or_default();
        let name = self.input.terms_name.as_deref().unwrap_or_default();
        let client = keys::client(client_id);
        let index = keys::client_page(client_id, ClientPage::Terms, name);
        tx.load(Query::new().get(client.clone()).get(index.clone())).await?;
        let pool = owned_pool(tx, self.call)?;
        if tx.get_bytes(&client).is_none() {
            return Err(client_not_found().into());
        }
        let links = self.input.links.as_ref().map(|links| links.items.clone()).unwrap_or_default();
        settings::check_links(&links)?;
        if tx.get_bytes(&index).is_some() {
            return Err(exists(name, client_id).into());
        }
        let record = TermsRecord {
            terms_id: self.terms_id.to_owned(),
            client_id: client_id.to_owned(),
            name: name.to_owned(),
            source: self.input.terms_source.clone().unwrap_or_default(),
            enforcement: self.input.enforcement.clone().unwrap_or_default(),
            links: links.into_iter().collect(),
            created_ms: tx.now_ms(),
            modified_ms: tx.now_ms(),
        };
        let max = tx.world().settings.limits.terms_per_pool;
        let id = Bytes::copy_from_slice(self.terms_id.as_bytes());
        tx.put_new(keys::terms(self.terms_id), record.encode_to_vec().into(), None);
        tx.put_new(index, id, None);
        let count = keys::client_page_count(ClientPage::Terms);
        tx.add(count, 1, Some((max, too_many())), None);
        tx.bump_epoch();
        let terms = Some(describe(pool.id(), record));
        Ok(types::CreateTermsResponse { terms }.into())
    }
}

fn too_many() -> ApiError {
    ApiError::new(
        ExceptionName::LimitExceededException,
        "The maximum number of terms documents for this user pool has been reached.",
    )
}
