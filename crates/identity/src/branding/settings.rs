//! From a request to a style's record. Limits of single members are checked before.

use bytes::Bytes;
use conclave_api::{ApiError, types};
use conclave_store::records::{BrandingAsset, ManagedLoginBrandingRecord};
use serde_json::{Map, Value};

use super::assets::{self, NewAsset};
use crate::{errors, world::World};

/// Bytes of the settings' JSON: what all of Cognito's are has a tenth of it. Judgement.
const SETTINGS_BYTES_MAX: usize = 128 << 10;
/// Assets of one style. API reference, `ManagedLoginBrandingType`.
const ASSETS_MAX: usize = 40;
/// Bytes of all assets of one style, because they are described together. Judgement.
const STYLE_BYTES_MAX: u64 = 10_000_000;

/// Where a style's values come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Source {
    /// `UseCognitoProvidedValues`.
    Provided,
    /// A JSON object.
    Settings(Bytes),
}

/// A request names one source. The text is the service's, which refuses both, neither, and `false` alone, of new
/// styles and of changes; it takes assets beside either.
///
/// # Errors
/// InvalidParameterException, also for settings that are no JSON object or too large.
pub(super) fn source(
    use_provided: Option<bool>,
    settings: Option<&Vec<u8>>,
) -> Result<Source, ApiError> {
    match (use_provided == Some(true), settings) {
        (true, None) => Ok(Source::Provided),
        (false, Some(settings)) => {
            check_settings(settings)?;
            Ok(Source::Settings(Bytes::copy_from_slice(settings)))
        }
        _ => Err(errors::invalid_parameter(
            "useCognitoProvidedValues or settings should be specified (but not both)",
        )),
    }
}

fn check_settings(settings: &[u8]) -> Result<(), ApiError> {
    if settings.len() > SETTINGS_BYTES_MAX {
        return Err(errors::invalid_parameter(format!(
            "Settings can have at most {SETTINGS_BYTES_MAX} bytes."
        )));
    }
    match serde_json::from_slice::<Map<String, Value>>(settings) {
        Ok(_) => Ok(()),
        Err(_) => Err(errors::invalid_parameter("Settings must be a JSON object.")),
    }
}

/// The assets of a request, with names for their pieces. Texts are judgement.
///
/// # Errors
/// InvalidParameterException for an asset without bytes, one whose extension is not one of its category, and two
/// for one place.
pub(super) fn assets(world: &World, given: &[types::AssetType]) -> Result<Vec<NewAsset>, ApiError> {
    let mut all: Vec<NewAsset> = Vec::with_capacity(given.len());
    for asset in given {
        let new = new_asset(world, asset)?;
        if all.iter().any(|other| same_place(&other.asset, &new.asset)) {
            return Err(errors::invalid_parameter(format!(
                "The asset {} is there twice.",
                place(&new.asset)
            )));
        }
        all.push(new);
    }
    Ok(all)
}

fn new_asset(world: &World, given: &types::AssetType) -> Result<NewAsset, ApiError> {
    let bytes = given.bytes.clone().unwrap_or_default();
    let asset = BrandingAsset {
        category: given.category.clone().unwrap_or_default(),
        color_mode: given.color_mode.clone().unwrap_or_default(),
        extension: given.extension.clone().unwrap_or_default(),
        resource_id: given.resource_id.clone(),
        pieces: Some(assets::new_pieces(world, &bytes)),
    };
    if bytes.is_empty() {
        return Err(errors::invalid_parameter(format!(
            "The asset {} has no bytes.",
            place(&asset)
        )));
    }
    check_extension(&asset)?;
    Ok(NewAsset { asset, bytes })
}

/// The service takes ICO for a favicon only; that the two kinds of favicons are what they are called is judgement.
fn check_extension(asset: &BrandingAsset) -> Result<(), ApiError> {
    let fits = match asset.category.as_str() {
        "FAVICON_ICO" => asset.extension == "ICO",
        "FAVICON_SVG" => asset.extension == "SVG",
        _ => asset.extension != "ICO",
    };
    if fits {
        return Ok(());
    }
    let BrandingAsset { category, extension, .. } = asset;
    Err(errors::invalid_parameter(format!(
        "The extension {extension} is not allowed for assets of the category {category}."
    )))
}

/// An asset stands for a category in a colour mode; icons of identity providers are told apart by `ResourceId`.
fn same_place(one: &BrandingAsset, other: &BrandingAsset) -> bool {
    one.category == other.category
        && one.color_mode == other.color_mode
        && one.resource_id == other.resource_id
}

fn place(asset: &BrandingAsset) -> String {
    let BrandingAsset { category, color_mode, resource_id, .. } = asset;
    match resource_id {
        Some(resource_id) => format!("{category} ({color_mode}, {resource_id})"),
        None => format!("{category} ({color_mode})"),
    }
}

/// Gives a style a source, and assets: a change to the provided values drops what was there; otherwise those that
/// are given take their places beside the others, and an empty list drops all.
///
/// Answers the assets that the record names no more.
///
/// # Errors
/// InvalidParameterException for more assets than there may be.
pub(super) fn apply(
    record: &mut ManagedLoginBrandingRecord,
    source: &Source,
    given: Option<&[NewAsset]>,
) -> Result<Vec<BrandingAsset>, ApiError> {
    let mut dropped = Vec::new();
    match source {
        Source::Provided => {
            record.use_cognito_provided_values = true;
            record.settings = None;
            dropped.append(&mut record.assets);
        }
        Source::Settings(settings) => {
            record.use_cognito_provided_values = false;
            record.settings = Some(settings.clone());
        }
    }
    if given.is_some_and(<[_]>::is_empty) {
        dropped.append(&mut record.assets);
    }
    for new in given.unwrap_or_default() {
        let mut present = record.assets.iter_mut();
        match present.find(|present| same_place(present, &new.asset)) {
            Some(present) => dropped.push(std::mem::replace(present, new.asset.clone())),
            None => record.assets.push(new.asset.clone()),
        }
    }
    if record.assets.len() > ASSETS_MAX {
        return Err(errors::invalid_parameter(format!(
            "A style can have at most {ASSETS_MAX} assets."
        )));
    }
    let sizes = record.assets.iter().filter_map(|asset| asset.pieces.as_ref());
    if sizes.map(|pieces| u64::from(pieces.size)).sum::<u64>() > STYLE_BYTES_MAX {
        return Err(errors::invalid_parameter(format!(
            "The assets of a style can have at most {STYLE_BYTES_MAX} bytes together."
        )));
    }
    Ok(dropped)
}
