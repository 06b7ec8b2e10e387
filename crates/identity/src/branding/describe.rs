//! A style as every operation answers it.

use conclave_api::{ApiError, types};
use conclave_store::records::{BrandingAsset, ManagedLoginBrandingRecord};

use super::{assets, defaults};
use crate::tx::{Failure, Tx};

/// A style with the `bytes` of its assets, in their order. What it does not set is left out, or, of `merged` ones,
/// is as it is by default.
///
/// # Errors
/// InternalErrorException for stored settings that are broken.
pub(super) fn describe(
    pool_id: &str,
    record: ManagedLoginBrandingRecord,
    bytes: Vec<Vec<u8>>,
    merged: bool,
) -> Result<types::ManagedLoginBrandingType, ApiError> {
    let settings = match record.settings {
        own if merged => Some(defaults::merged(own.as_deref())?),
        own => own.map(Vec::from),
    };
    let asset = |(asset, bytes): (BrandingAsset, Vec<u8>)| types::AssetType {
        category: Some(asset.category),
        color_mode: Some(asset.color_mode),
        extension: Some(asset.extension),
        bytes: Some(bytes),
        resource_id: asset.resource_id,
    };
    Ok(types::ManagedLoginBrandingType {
        managed_login_branding_id: Some(record.branding_id),
        user_pool_id: Some(pool_id.to_owned()),
        use_cognito_provided_values: Some(record.use_cognito_provided_values),
        settings,
        assets: record.assets.into_iter().zip(bytes).map(asset).collect(),
        creation_date: Some(record.created_ms),
        last_modified_date: Some(record.modified_ms),
    })
}

/// The same, of a record that was loaded in this decision.
///
/// # Errors
/// The store's; it is decided again when the style has changed meanwhile.
pub(super) async fn load(
    tx: &mut Tx<'_>,
    pool_id: &str,
    record: ManagedLoginBrandingRecord,
    merged: bool,
) -> Result<types::ManagedLoginBrandingType, Failure> {
    let bytes = assets::load(tx, &record.client_id, &record.assets).await?;
    Ok(describe(pool_id, record, bytes, merged)?)
}
