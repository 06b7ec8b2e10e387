//! CreateManagedLoginBranding.

use async_trait::async_trait;
use bytes::Bytes;
use conclave_api::{ApiError, ExceptionName, types};
use conclave_crypto::ids;
use conclave_store::{
    keys::{self, ClientPage},
    records::ManagedLoginBrandingRecord,
};
use prost::Message;

use super::{
    assets::Upload,
    describe::describe,
    settings::{self, Source},
};
use crate::{
    call::Call,
    clients::client_not_found,
    pool_access::owned_pool,
    pools::tier,
    tx::{Decision, Query, Transaction, Tx, transact},
    world::World,
};

/// Makes a managed login style for an app client.
///
/// # Errors
/// ResourceNotFoundException when the caller has no such pool, or the pool no such client; what [`settings`]
/// refuses; ManagedLoginBrandingExistsException when the client has a style; LimitExceededException when the pool has
/// too many; FeatureUnavailableInTierException when the pool's plan has no managed login.
pub async fn create_managed_login_branding(
    world: &World,
    call: &Call,
    input: types::CreateManagedLoginBrandingRequest,
) -> Result<types::CreateManagedLoginBrandingResponse, ApiError> {
    let pool_id = input.user_pool_id.as_deref().unwrap_or_default();
    let client_id = input.client_id.as_deref().unwrap_or_default();
    let source = settings::source(input.use_cognito_provided_values, input.settings.as_ref())?;
    let assets = settings::assets(world, &input.assets)?;
    let upload = Upload::new(world, pool_id, client_id, &assets);
    let branding_id = ids::uuid(&*world.entropy);
    let create = |only_check| Create {
        call,
        pool_id,
        client_id,
        source: &source,
        upload: &upload,
        branding_id: &branding_id,
        only_check,
    };
    if upload.is_ahead() {
        transact(world, &create(true)).await?;
        upload.write_ahead(world, call).await?;
    }
    let record = match transact(world, &create(false)).await {
        Ok(record) => record,
        Err(error) => {
            upload.discard(world).await;
            return Err(error);
        }
    };
    let bytes = assets.into_iter().map(|asset| asset.bytes).collect();
    let branding = describe(pool_id, record, bytes, false)?;
    Ok(types::CreateManagedLoginBrandingResponse { managed_login_branding: Some(branding) })
}

struct Create<'a> {
    call: &'a Call,
    pool_id: &'a str,
    client_id: &'a str,
    source: &'a Source,
    upload: &'a Upload<'a>,
    branding_id: &'a str,
    /// Refuses what can be refused before anything is written.
    only_check: bool,
}

#[async_trait]
impl Transaction for Create<'_> {
    type Output = ManagedLoginBrandingRecord;

    fn scope(&self) -> &str {
        self.pool_id
    }

    async fn decide(&self, tx: &mut Tx<'_>) -> Decision<Self::Output> {
        let client = keys::client(self.client_id);
        let index = keys::client_page(self.client_id, ClientPage::Branding, "");
        let query = Query::new().get(client.clone()).get(index.clone());
        tx.load(self.upload.query(query)).await?;
        let pool = owned_pool(tx, self.call)?;
        if tx.get_bytes(&client).is_none() {
            return Err(client_not_found().into());
        }
        tier::check_managed_login(&pool.record.tier)?;
        if tx.get_bytes(&index).is_some() {
            return Err(exists(self.client_id).into());
        }
        let mut record = ManagedLoginBrandingRecord {
            branding_id: self.branding_id.to_owned(),
            client_id: self.client_id.to_owned(),
            created_ms: tx.now_ms(),
            modified_ms: tx.now_ms(),
            ..Default::default()
        };
        settings::apply(&mut record, self.source, Some(self.upload.assets))?;
        if self.only_check {
            return Ok(record.into());
        }
        self.upload.finish(tx)?;
        let id = Bytes::copy_from_slice(self.branding_id.as_bytes());
        let max = tx.world().settings.limits.branding_styles_per_pool;
        tx.put_new(keys::branding(self.branding_id), record.encode_to_vec().into(), None);
        tx.put_new(index, id, None);
        let count = keys::client_page_count(ClientPage::Branding);
        tx.add(count, 1, Some((max, too_many())), None);
        tx.bump_epoch();
        Ok(record.into())
    }
}

/// The service's text.
fn exists(client_id: &str) -> ApiError {
    ApiError::new(
        ExceptionName::ManagedLoginBrandingExistsException,
        format!("A ManagedLoginBranding already exists for client {client_id}"),
    )
}

fn too_many() -> ApiError {
    ApiError::new(
        ExceptionName::LimitExceededException,
        "The maximum number of managed login branding styles for this user pool has been reached.",
    )
}
