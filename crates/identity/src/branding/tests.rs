//! Styles from beginning to end. Texts that are the service's are known from reports of its answers.

use std::time::Duration;

use conclave_api::{ApiError, types};
use conclave_store::{Store, proto};

use super::*;
use crate::{
    clients::{client_not_found, delete_user_pool_client},
    errors,
    reconciler::Reconciler,
    testing::{
        ACCOUNT, START_MS, TestWorld, new_client_with, new_pool, new_pool_with, signed_call,
        signed_call_of, test_world,
    },
    world::World,
};

const SETTINGS: &[u8] = br#"{"components": {"x": 1.0}, "b":[ ]}"#;
const NOT_ONE_SOURCE: &str =
    "useCognitoProvidedValues or settings should be specified (but not both)";

fn text(text: &str) -> Option<String> {
    Some(text.to_owned())
}

fn asset(category: &str, color_mode: &str, extension: &str, bytes: &[u8]) -> types::AssetType {
    types::AssetType {
        category: text(category),
        color_mode: text(color_mode),
        extension: text(extension),
        bytes: Some(bytes.to_vec()),
        resource_id: None,
    }
}

fn logo(bytes: &[u8]) -> types::AssetType {
    asset("FORM_LOGO", "LIGHT", "PNG", bytes)
}

/// Bytes in which no part is like another.
fn noise(len: usize, seed: u32) -> Vec<u8> {
    let numbers = (0..u32::try_from(len).unwrap()).map(|n| n.wrapping_add(seed));
    numbers.map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect()
}

struct Setup {
    world: TestWorld,
    pool_id: String,
    client_id: String,
}

async fn setup() -> Setup {
    let world = test_world().await;
    let pool_id = new_pool(&world).await;
    let client_id = new_client(&world, &pool_id).await;
    Setup { world, pool_id, client_id }
}

async fn new_client(world: &World, pool_id: &str) -> String {
    new_client_with(world, pool_id, Default::default()).await.client_id.unwrap()
}

impl Setup {
    /// A request with settings.
    fn request(&self) -> types::CreateManagedLoginBrandingRequest {
        types::CreateManagedLoginBrandingRequest {
            user_pool_id: text(&self.pool_id),
            client_id: text(&self.client_id),
            settings: Some(SETTINGS.to_vec()),
            ..Default::default()
        }
    }

    async fn create(
        &self,
        input: types::CreateManagedLoginBrandingRequest,
    ) -> Result<types::ManagedLoginBrandingType, ApiError> {
        let answer = create_managed_login_branding(&self.world, &signed_call(), input).await?;
        Ok(answer.managed_login_branding.expect("answers the style"))
    }

    async fn create_with(&self, assets: Vec<types::AssetType>) -> types::ManagedLoginBrandingType {
        let request = types::CreateManagedLoginBrandingRequest { assets, ..self.request() };
        self.create(request).await.expect("makes a style")
    }

    async fn describe(
        &self,
        id: &str,
        merged: bool,
    ) -> Result<types::ManagedLoginBrandingType, ApiError> {
        let input = types::DescribeManagedLoginBrandingRequest {
            user_pool_id: text(&self.pool_id),
            managed_login_branding_id: text(id),
            return_merged_resources: Some(merged),
        };
        let answer = describe_managed_login_branding(&self.world, &signed_call(), input).await?;
        Ok(answer.managed_login_branding.expect("answers the style"))
    }

    async fn describe_by_client(&self) -> Result<types::ManagedLoginBrandingType, ApiError> {
        let input = types::DescribeManagedLoginBrandingByClientRequest {
            user_pool_id: text(&self.pool_id),
            client_id: text(&self.client_id),
            ..Default::default()
        };
        let answer =
            describe_managed_login_branding_by_client(&self.world, &signed_call(), input).await?;
        Ok(answer.managed_login_branding.expect("answers the style"))
    }

    async fn update(
        &self,
        id: Option<String>,
        input: types::UpdateManagedLoginBrandingRequest,
    ) -> Result<types::ManagedLoginBrandingType, ApiError> {
        let input = types::UpdateManagedLoginBrandingRequest {
            user_pool_id: text(&self.pool_id),
            managed_login_branding_id: id,
            ..input
        };
        let answer = update_managed_login_branding(&self.world, &signed_call(), input).await?;
        Ok(answer.managed_login_branding.expect("answers the style"))
    }

    async fn delete(&self, id: Option<String>) -> Result<(), ApiError> {
        let input = types::DeleteManagedLoginBrandingRequest {
            user_pool_id: text(&self.pool_id),
            managed_login_branding_id: id,
        };
        delete_managed_login_branding(&self.world, &signed_call(), input).await.map(|_| ())
    }

    /// Rows of styles, assets and what belongs to clients' pages. Counters that are at nothing do not count.
    async fn rows(&self) -> usize {
        let mut rows = 0;
        for tag in [0x46, 0x47, 0x48, 0x49, 0x4a] {
            let scan = proto::Scan { prefix: vec![tag].into(), limit: 1_000, ..Default::default() };
            let read = proto::Read {
                scope: self.pool_id.clone(),
                scans: vec![scan],
                ..Default::default()
            };
            let found = self.world.store.read(read).await.unwrap().rows;
            let values = found.into_iter().filter_map(|row| row.value);
            rows += values.filter(|value| value[..] != [0; 8]).count();
        }
        rows
    }
}

fn with_settings(
    assets: Option<Vec<types::AssetType>>,
) -> types::UpdateManagedLoginBrandingRequest {
    types::UpdateManagedLoginBrandingRequest {
        settings: Some(SETTINGS.to_vec()),
        assets: assets.map(|items| types::AssetTypeList { items }),
        ..Default::default()
    }
}

#[tokio::test]
async fn a_style_is_described_as_it_was_given_and_deleted() {
    let setup = setup().await;
    let gone = format!("ManagedLoginBranding for client {} does not exist.", setup.client_id);
    let none = Err(ApiError::resource_not_found(gone));
    assert_eq!(setup.describe_by_client().await, none);
    let assets = vec![
        logo(b"light"),
        asset("FORM_LOGO", "DARK", "SVG", b"<svg/>"),
        asset("FAVICON_ICO", "DYNAMIC", "ICO", b"\0\0\x01\0"),
    ];
    let made = setup.create_with(assets.clone()).await;
    let id = made.managed_login_branding_id.clone().unwrap();
    let expected = types::ManagedLoginBrandingType {
        managed_login_branding_id: text(&id),
        user_pool_id: text(&setup.pool_id),
        use_cognito_provided_values: Some(false),
        settings: Some(SETTINGS.to_vec()),
        assets,
        creation_date: Some(START_MS),
        last_modified_date: Some(START_MS),
    };
    assert_eq!(made, expected);
    assert_eq!(setup.describe(&id, false).await, Ok(expected.clone()));
    assert_eq!(setup.describe_by_client().await, Ok(expected));
    setup.delete(text(&id)).await.unwrap();
    assert_eq!(setup.describe(&id, false).await, Err(branding_not_found()));
    assert_eq!(setup.describe_by_client().await, none);
    assert_eq!(setup.delete(text(&id)).await, Err(branding_not_found()));
    assert_eq!(setup.rows().await, 0, "nothing is left");
}

#[tokio::test]
async fn the_provided_values_are_not_answered_unless_they_are_asked_for() {
    let setup = setup().await;
    let request = types::CreateManagedLoginBrandingRequest {
        use_cognito_provided_values: Some(true),
        settings: None,
        ..setup.request()
    };
    let made = setup.create(request).await.unwrap();
    assert_eq!((made.use_cognito_provided_values, &made.settings), (Some(true), &None));
    assert_eq!(made.assets, []);
    let mut json = Vec::new();
    conclave_api::Message::encode_json(&made, &mut json);
    let json: serde_json::Value = serde_json::from_slice(&json).unwrap();
    assert_eq!(json["Assets"], serde_json::json!([]), "as the service writes it");
    assert!(json.get("Settings").is_none());
    let id = made.managed_login_branding_id.unwrap();
    let merged = setup.describe(&id, true).await.unwrap().settings.unwrap();
    let merged: serde_json::Value = serde_json::from_slice(&merged).unwrap();
    assert!(merged["components"]["primaryButton"].is_object());
}

#[tokio::test]
async fn a_request_names_one_source() {
    let setup = setup().await;
    let refusal = Err(errors::invalid_parameter(NOT_ONE_SOURCE));
    let made = setup.create_with(vec![]).await;
    for (provided, settings) in
        [(Some(true), Some(SETTINGS.to_vec())), (Some(false), None), (None, None)]
    {
        let request = types::CreateManagedLoginBrandingRequest {
            use_cognito_provided_values: provided,
            settings: settings.clone(),
            ..setup.request()
        };
        assert_eq!(setup.create(request).await, refusal);
        let update = types::UpdateManagedLoginBrandingRequest {
            use_cognito_provided_values: provided,
            settings,
            assets: Some(types::AssetTypeList { items: vec![] }),
            ..Default::default()
        };
        assert_eq!(setup.update(made.managed_login_branding_id.clone(), update).await, refusal);
    }
    assert_eq!(setup.describe_by_client().await, Ok(made));
}

/// The texts are judgement.
#[tokio::test]
async fn settings_are_an_object_of_a_limited_size() {
    let setup = setup().await;
    for settings in [&b"[]"[..], b"\"a\"", b"1", b"true", br#"{"a":"\ud800"}"#] {
        let settings = Some(settings.to_vec());
        let request = types::CreateManagedLoginBrandingRequest { settings, ..setup.request() };
        let refusal = errors::invalid_parameter("Settings must be a JSON object.");
        assert_eq!(setup.create(request).await, Err(refusal));
    }
    let large = format!(r#"{{"a":"{}"}}"#, "a".repeat(128 << 10));
    let settings = Some(large.into_bytes());
    let request = types::CreateManagedLoginBrandingRequest { settings, ..setup.request() };
    let refusal = errors::invalid_parameter("Settings can have at most 131072 bytes.");
    assert_eq!(setup.create(request).await, Err(refusal));
    assert_eq!(setup.rows().await, 0);
}

/// That ICO is for a favicon only is known from the service; the texts and the rest are judgement.
#[tokio::test]
async fn an_asset_fits_its_category_and_has_its_own_place() {
    let setup = setup().await;
    let extension = |category: &str, extension: &str| {
        format!("The extension {extension} is not allowed for assets of the category {category}.")
    };
    let no_bytes = types::AssetType { bytes: None, ..logo(b"") };
    for (assets, refusal) in [
        (vec![asset("FORM_LOGO", "LIGHT", "ICO", b"a")], extension("FORM_LOGO", "ICO")),
        (vec![asset("FAVICON_ICO", "LIGHT", "PNG", b"a")], extension("FAVICON_ICO", "PNG")),
        (vec![asset("FAVICON_SVG", "LIGHT", "WEBP", b"a")], extension("FAVICON_SVG", "WEBP")),
        (vec![no_bytes], "The asset FORM_LOGO (LIGHT) has no bytes.".to_owned()),
        (vec![logo(b"a"), logo(b"b")], "The asset FORM_LOGO (LIGHT) is there twice.".to_owned()),
    ] {
        let request = types::CreateManagedLoginBrandingRequest { assets, ..setup.request() };
        assert_eq!(setup.create(request).await, Err(errors::invalid_parameter(refusal)));
    }
    // every category, colour mode and extension that fit; icons of providers by resource
    let icon = |provider: &str| types::AssetType {
        resource_id: text(provider),
        ..asset("IDP_BUTTON_ICON", "LIGHT", "WEBP", provider.as_bytes())
    };
    let mut assets = vec![icon("Google"), icon("Facebook")];
    for mode in ["LIGHT", "DARK", "DYNAMIC"] {
        assets.push(asset("FAVICON_ICO", mode, "ICO", b"a"));
        assets.push(asset("FAVICON_SVG", mode, "SVG", b"a"));
        assets.push(asset("PAGE_BACKGROUND", mode, "JPEG", b"a"));
    }
    assert_eq!(setup.create_with(assets.clone()).await.assets, assets);
}

#[tokio::test]
async fn a_client_has_one_style_and_another_client_its_own() {
    let setup = setup().await;
    setup.create_with(vec![]).await;
    let error = setup.create(setup.request()).await.unwrap_err();
    let expected = format!("A ManagedLoginBranding already exists for client {}", setup.client_id);
    assert_eq!(
        (error.code.as_str(), &*error.message),
        ("ManagedLoginBrandingExistsException", expected.as_str())
    );
    let client_id = Some(new_client(&setup.world, &setup.pool_id).await);
    setup
        .create(types::CreateManagedLoginBrandingRequest { client_id, ..setup.request() })
        .await
        .unwrap();
    let client_id = text("nosuchclient");
    let request = types::CreateManagedLoginBrandingRequest { client_id, ..setup.request() };
    assert_eq!(setup.create(request).await, Err(client_not_found()));
}

#[tokio::test]
async fn a_pool_has_a_limit_of_them_and_a_deleted_one_no_longer_counts() {
    let mut setup = setup().await;
    setup.world.world.settings.limits.branding_styles_per_pool = 1;
    let first = setup.create_with(vec![]).await;
    let client_id = Some(new_client(&setup.world, &setup.pool_id).await);
    let second = types::CreateManagedLoginBrandingRequest { client_id, ..setup.request() };
    let error = setup.create(second.clone()).await.unwrap_err();
    assert_eq!(error.code.as_str(), "LimitExceededException");
    setup.delete(first.managed_login_branding_id).await.unwrap();
    setup.create(second).await.unwrap();
}

/// The developer guide has the branding editor in the plans above LITE; the text is the service's for settings of a
/// pool, and that it answers it here is judgement.
#[tokio::test]
async fn the_lite_plan_has_no_styles() {
    let world = test_world().await;
    let lite = types::CreateUserPoolRequest { user_pool_tier: text("LITE"), ..Default::default() };
    let pool_id = new_pool_with(&world, lite).await;
    let client_id = new_client(&world, &pool_id).await;
    let setup = Setup { world, pool_id, client_id };
    let error = setup.create(setup.request()).await.unwrap_err();
    assert_eq!(error.code.as_str(), "FeatureUnavailableInTierException");
    assert_eq!(setup.rows().await, 0);
}

#[tokio::test]
async fn a_change_keeps_the_assets_that_it_does_not_name() {
    let setup = setup().await;
    let dark = asset("FORM_LOGO", "DARK", "PNG", &noise(300_000, 1));
    let made = setup.create_with(vec![logo(b"old"), dark.clone()]).await;
    let id = made.managed_login_branding_id.clone();
    setup.world.clock.advance(Duration::from_secs(1));
    let other = asset("PAGE_HEADER_LOGO", "LIGHT", "SVG", b"<svg/>");
    let svg = asset("FORM_LOGO", "LIGHT", "SVG", b"new");
    let given = vec![other.clone(), svg.clone()];
    let changed = setup.update(id.clone(), with_settings(Some(given))).await.unwrap();
    let expected = types::ManagedLoginBrandingType {
        assets: vec![svg, dark, other],
        last_modified_date: Some(START_MS + 1_000),
        ..made
    };
    assert_eq!(changed, expected);
    assert_eq!(setup.describe_by_client().await, Ok(expected.clone()));
    // settings alone
    let settings = types::UpdateManagedLoginBrandingRequest {
        settings: Some(b"{}".to_vec()),
        ..Default::default()
    };
    let changed = setup.update(id.clone(), settings).await.unwrap();
    assert_eq!((changed.settings, changed.assets), (Some(b"{}".to_vec()), expected.assets));
    // judgement: an empty list drops them
    let changed = setup.update(id.clone(), with_settings(Some(vec![]))).await.unwrap();
    assert_eq!(changed.assets, []);
    assert_eq!(setup.rows().await, 3, "the style, its client's row, the count");
    setup.update(id.clone(), with_settings(Some(vec![logo(b"again")]))).await.unwrap();
    let provided = types::UpdateManagedLoginBrandingRequest {
        use_cognito_provided_values: Some(true),
        ..Default::default()
    };
    let changed = setup.update(id, provided).await.unwrap();
    assert_eq!((changed.use_cognito_provided_values, changed.settings), (Some(true), None));
    assert_eq!(changed.assets, []);
    assert_eq!(setup.rows().await, 3);
}

#[tokio::test]
async fn a_change_names_what_it_changes() {
    let setup = setup().await;
    let error = setup.update(None, with_settings(None)).await.unwrap_err();
    assert_eq!(
        &*error.message,
        "1 validation error detected: Value null at 'managedLoginBrandingId' failed to satisfy constraint: Member must not be null"
    );
    let none = text("00000000-0000-4000-8000-000000000000");
    assert_eq!(setup.update(none, with_settings(None)).await, Err(branding_not_found()));
}

#[tokio::test]
async fn assets_of_the_largest_size_come_back_byte_for_byte() {
    let setup = setup().await;
    let largest = noise(1_000_000, 7);
    let second = noise(750_001, 8);
    let assets = vec![logo(&largest), asset("PAGE_BACKGROUND", "DARK", "JPEG", &second)];
    setup.world.store.take_trips();
    let made = setup.create_with(assets.clone()).await;
    assert_eq!(setup.world.store.take_trips().commits, 4, "three of pieces, one of the record");
    assert_eq!(made.assets, assets);
    assert_eq!(setup.describe_by_client().await.unwrap().assets, assets);
    assert_eq!(setup.rows().await, 3 + 4 + 4);
    // small ones go with the record
    let id = made.managed_login_branding_id;
    setup.world.store.take_trips();
    let small = vec![logo(&noise(750_000, 9))];
    setup.update(id.clone(), with_settings(Some(small))).await.unwrap();
    assert_eq!(setup.world.store.take_trips().commits, 1);
    assert_eq!(setup.rows().await, 3 + 3 + 4);
    setup.delete(id).await.unwrap();
    assert_eq!(setup.rows().await, 0);
}

#[tokio::test]
async fn a_style_has_a_limited_number_and_size_of_assets() {
    let setup = setup().await;
    let icon = |number: usize, bytes: &[u8]| types::AssetType {
        resource_id: Some(format!("icon {number}")),
        ..asset("IDP_BUTTON_ICON", "LIGHT", "PNG", bytes)
    };
    let forty = (0..40).map(|number| icon(number, b"a")).collect();
    let made = setup.create_with(forty).await;
    let id = made.managed_login_branding_id;
    let refusal = errors::invalid_parameter("A style can have at most 40 assets.");
    let more = with_settings(Some(vec![icon(40, b"a")]));
    assert_eq!(setup.update(id.clone(), more).await, Err(refusal));
    for number in 0..9 {
        let large = vec![icon(number, &noise(1_000_000, 0))];
        setup.update(id.clone(), with_settings(Some(large))).await.unwrap();
    }
    let before = setup.rows().await;
    let large = with_settings(Some(vec![icon(9, &noise(1_000_000, 0))]));
    let refusal = "The assets of a style can have at most 10000000 bytes together.";
    assert_eq!(setup.update(id.clone(), large).await, Err(errors::invalid_parameter(refusal)));
    assert_eq!(setup.rows().await, before, "refused before anything is written");
    assert_eq!(setup.describe(&id.unwrap(), false).await.unwrap().assets.len(), 40);
}

#[tokio::test]
async fn an_asset_that_is_written_half_is_never_seen_and_is_cleared_away() {
    let setup = setup().await;
    let made = setup.create_with(vec![logo(b"old")]).await;
    let before = setup.rows().await;
    let id = made.managed_login_branding_id.clone();
    let large = || with_settings(Some(vec![logo(&noise(1_000_000, 3))]));
    // of the two commits of pieces, and of the record's
    for commit in 1..=3 {
        setup.world.store.fail_commit(commit);
        let error = setup.update(id.clone(), large()).await.unwrap_err();
        assert_eq!(error.code.as_str(), "ServiceUnavailable");
        assert_eq!(setup.describe_by_client().await, Ok(made.clone()));
    }
    // the refused request clears up after itself, as long as it can
    assert_eq!(setup.rows().await, before + 1 + 3, "the second had no chance to");
    let mut reconciler = Reconciler::default();
    assert_eq!(reconciler.look(&setup.world).await.unwrap().removed, 0, "somebody may be at it");
    setup.world.clock.advance(Duration::from_secs(121));
    assert_eq!(reconciler.look(&setup.world).await.unwrap().removed, 1);
    assert_eq!(setup.rows().await, before);
    assert_eq!(setup.describe_by_client().await, Ok(made));
}

#[tokio::test]
async fn what_belongs_to_a_client_goes_with_it() {
    let setup = setup().await;
    let made = setup.create_with(vec![logo(&noise(1_000_000, 3))]).await;
    let kept = new_client(&setup.world, &setup.pool_id).await;
    let request = types::CreateManagedLoginBrandingRequest {
        client_id: text(&kept),
        assets: vec![logo(b"kept")],
        ..setup.request()
    };
    setup.create(request).await.unwrap();
    // an upload that was cut short
    setup.world.store.fail_commit(2);
    let large = with_settings(Some(vec![logo(&noise(1_000_000, 4))]));
    setup.update(made.managed_login_branding_id.clone(), large).await.unwrap_err();
    let input = types::DeleteUserPoolClientRequest {
        user_pool_id: text(&setup.pool_id),
        client_id: text(&setup.client_id),
    };
    delete_user_pool_client(&setup.world, &signed_call(), input).await.unwrap();
    let id = made.managed_login_branding_id.unwrap();
    assert_eq!(setup.describe(&id, false).await, Err(branding_not_found()));
    assert_eq!(setup.describe_by_client().await, Err(client_not_found()));
    assert_eq!(setup.rows().await, 4, "style, client's row, asset and the count of the other");
    let kept = Setup { client_id: kept, ..setup };
    assert_eq!(kept.describe_by_client().await.unwrap().assets, [logo(b"kept")]);
}

#[tokio::test]
async fn changes_at_once_are_both_made() {
    let setup = setup().await;
    let id = setup.create_with(vec![]).await.managed_login_branding_id;
    let dark = asset("FORM_LOGO", "DARK", "PNG", &noise(1_000_000, 1));
    let light = logo(&noise(900_000, 2));
    let (one, two) = tokio::join!(
        setup.update(id.clone(), with_settings(Some(vec![dark.clone()]))),
        setup.update(id.clone(), with_settings(Some(vec![light.clone()]))),
    );
    one.unwrap();
    two.unwrap();
    let mut assets = setup.describe_by_client().await.unwrap().assets;
    assets.sort_by_key(|asset| asset.color_mode.clone());
    assert_eq!(assets, [dark, light]);
    assert_eq!(setup.rows().await, 3 + 4 + 4);
}

#[tokio::test]
async fn a_pool_of_another_account_or_region_looks_like_none() {
    let setup = setup().await;
    let made = setup.create_with(vec![logo(b"a")]).await;
    let (pool_id, id) = (text(&setup.pool_id), made.managed_login_branding_id.clone());
    let gone = errors::user_pool_not_found(&setup.pool_id);
    for call in [signed_call_of("444455556666", "us-east-1"), signed_call_of(ACCOUNT, "eu-west-1")]
    {
        let world = &setup.world;
        let create = create_managed_login_branding(world, &call, setup.request()).await;
        assert_eq!(create.unwrap_err(), gone);
        let input = types::DescribeManagedLoginBrandingRequest {
            user_pool_id: pool_id.clone(),
            managed_login_branding_id: id.clone(),
            ..Default::default()
        };
        let describe = describe_managed_login_branding(world, &call, input).await;
        assert_eq!(describe.unwrap_err(), gone);
        let input = types::DescribeManagedLoginBrandingByClientRequest {
            user_pool_id: pool_id.clone(),
            client_id: text(&setup.client_id),
            ..Default::default()
        };
        let describe = describe_managed_login_branding_by_client(world, &call, input).await;
        assert_eq!(describe.unwrap_err(), gone);
        let input = types::UpdateManagedLoginBrandingRequest {
            user_pool_id: pool_id.clone(),
            managed_login_branding_id: id.clone(),
            ..with_settings(None)
        };
        let update = update_managed_login_branding(world, &call, input).await;
        assert_eq!(update.unwrap_err(), gone);
        let input = types::DeleteManagedLoginBrandingRequest {
            user_pool_id: pool_id.clone(),
            managed_login_branding_id: id.clone(),
        };
        let delete = delete_managed_login_branding(world, &call, input).await;
        assert_eq!(delete.unwrap_err(), gone);
    }
    assert_eq!(setup.describe_by_client().await, Ok(made));
}
