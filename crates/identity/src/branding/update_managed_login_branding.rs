//! UpdateManagedLoginBranding.

use async_trait::async_trait;
use conclave_api::{ApiError, types};
use conclave_store::{
    keys,
    records::{BrandingAsset, ManagedLoginBrandingRecord},
};

use super::{
    assets::{self, NewAsset, Upload},
    branding_not_found,
    describe::describe,
    settings::{self, Source},
};
use crate::{
    call::Call,
    errors,
    pool_access::owned_pool,
    pools::tier,
    tx::{Decision, Query, Transaction, Tx, transact},
    world::World,
};

/// Changes a style: its settings are replaced, and assets take their places beside those that are there. A change
/// to the provided values drops settings and assets.
///
/// Source: API reference, `UpdateManagedLoginBranding` ("preserves existing style settings that you don't
/// specify"); that assets are added is known from reports of the service's behaviour; that an empty list drops them
/// is judgement.
///
/// # Errors
/// ResourceNotFoundException when the caller has no such pool, or the pool no such style; what [`settings`] refuses;
/// FeatureUnavailableInTierException when the pool's plan has no managed login.
pub async fn update_managed_login_branding(
    world: &World,
    call: &Call,
    input: types::UpdateManagedLoginBrandingRequest,
) -> Result<types::UpdateManagedLoginBrandingResponse, ApiError> {
    let pool_id = required(input.user_pool_id.as_deref(), "userPoolId")?;
    let branding_id =
        required(input.managed_login_branding_id.as_deref(), "managedLoginBrandingId")?;
    let source = settings::source(input.use_cognito_provided_values, input.settings.as_ref())?;
    let given = input.assets.as_ref().map(|list| &list.items);
    let new = given.map(|given| settings::assets(world, given)).transpose()?;
    let new = new.as_deref();
    let wanted = Wanted { call, pool_id, branding_id, source: &source, new };
    // whose the style is does not change
    let client_id = transact(world, &Check { wanted: &wanted }).await?;
    let upload = Upload::new(world, pool_id, &client_id, new.unwrap_or_default());
    upload.write_ahead(world, call).await?;
    match transact(world, &Update { wanted: &wanted, upload: &upload }).await {
        Ok(response) => Ok(response),
        Err(error) => {
            upload.discard(world).await;
            Err(error)
        }
    }
}

/// The model does not require what the operation cannot do without.
fn required<'a>(value: Option<&'a str>, path: &str) -> Result<&'a str, ApiError> {
    value.ok_or_else(|| {
        errors::invalid_parameter(format!(
            "1 validation error detected: Value null at '{path}' failed to satisfy constraint: Member must not be null"
        ))
    })
}

struct Wanted<'a> {
    call: &'a Call,
    pool_id: &'a str,
    branding_id: &'a str,
    source: &'a Source,
    new: Option<&'a [NewAsset]>,
}

impl Wanted<'_> {
    /// The record as it is to be, and what it names no more. The row has been loaded.
    fn changed(
        &self,
        tx: &Tx<'_>,
    ) -> Result<(ManagedLoginBrandingRecord, Vec<BrandingAsset>), ApiError> {
        let pool = owned_pool(tx, self.call)?;
        let present = tx.get::<ManagedLoginBrandingRecord>(&keys::branding(self.branding_id))?;
        let mut record = present.ok_or_else(branding_not_found)?.record;
        tier::check_managed_login(&pool.record.tier)?;
        let dropped = settings::apply(&mut record, self.source, self.new)?;
        record.modified_ms = tx.now_ms();
        Ok((record, dropped))
    }
}

/// Refuses what can be refused before anything is written. Answers whose the style is.
struct Check<'a> {
    wanted: &'a Wanted<'a>,
}

#[async_trait]
impl Transaction for Check<'_> {
    type Output = String;

    fn scope(&self) -> &str {
        self.wanted.pool_id
    }

    async fn decide(&self, tx: &mut Tx<'_>) -> Decision<String> {
        tx.load(Query::new().get(keys::branding(self.wanted.branding_id))).await?;
        let (record, _) = self.wanted.changed(tx)?;
        Ok(record.client_id.into())
    }
}

struct Update<'a> {
    wanted: &'a Wanted<'a>,
    upload: &'a Upload<'a>,
}

#[async_trait]
impl Transaction for Update<'_> {
    type Output = types::UpdateManagedLoginBrandingResponse;

    fn scope(&self) -> &str {
        self.wanted.pool_id
    }

    async fn decide(&self, tx: &mut Tx<'_>) -> Decision<Self::Output> {
        let row = keys::branding(self.wanted.branding_id);
        tx.load(self.upload.query(Query::new().get(row.clone()))).await?;
        let (record, dropped) = self.wanted.changed(tx)?;
        let bytes = self.bytes(tx, &record).await?;
        self.upload.finish(tx)?;
        assets::delete(tx, &record.client_id, &dropped)?;
        tx.put(row, &record);
        tx.bump_epoch();
        let branding = describe(self.wanted.pool_id, record, bytes, false)?;
        let managed_login_branding = Some(branding);
        Ok(types::UpdateManagedLoginBrandingResponse { managed_login_branding }.into())
    }
}

impl Update<'_> {
    /// The bytes of the record's assets, in their order: new ones are those of the request.
    async fn bytes(
        &self,
        tx: &mut Tx<'_>,
        record: &ManagedLoginBrandingRecord,
    ) -> Result<Vec<Vec<u8>>, crate::tx::Failure> {
        let new = |asset: &BrandingAsset| {
            let mut new = self.upload.assets.iter();
            new.find(|new| new.asset.pieces == asset.pieces).map(|new| new.bytes.clone())
        };
        let kept: Vec<BrandingAsset> =
            record.assets.iter().filter(|asset| new(asset).is_none()).cloned().collect();
        let mut kept = assets::load(tx, &record.client_id, &kept).await?.into_iter();
        let all = record.assets.iter().map(|asset| new(asset).or_else(|| kept.next()));
        Ok(all.map(Option::unwrap_or_default).collect())
    }
}
