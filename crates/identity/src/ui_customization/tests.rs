//! Customization of the classic pages from beginning to end.

use std::time::Duration;

use conclave_api::{ApiError, types};

use super::*;
use crate::{
    clients::{client_not_found, delete_user_pool_client},
    domains::create_user_pool_domain,
    errors,
    testing::{
        ACCOUNT, START_MS, TestWorld, new_client_with, new_pool, signed_call, signed_call_of,
        test_world,
    },
};

const CSS: &str = ".label-customizable {font-weight: 400;}";
const PNG: &[u8] = b"\x89PNG\r\n\x1a\nthe rest";
const JPEG: &[u8] = b"\xff\xd8\xff\xe0the rest";

fn text(text: &str) -> Option<String> {
    Some(text.to_owned())
}

struct Setup {
    world: TestWorld,
    pool_id: String,
    client_id: String,
}

/// A pool with a domain and a client.
async fn setup() -> Setup {
    let world = test_world().await;
    let pool_id = new_pool(&world).await;
    let input = types::CreateUserPoolDomainRequest {
        user_pool_id: text(&pool_id),
        domain: text("acme"),
        ..Default::default()
    };
    create_user_pool_domain(&world, &signed_call(), input).await.unwrap();
    let client = new_client_with(&world, &pool_id, Default::default()).await;
    Setup { world, pool_id, client_id: client.client_id.unwrap() }
}

impl Setup {
    async fn set(
        &self,
        client_id: Option<&str>,
        css: Option<&str>,
        image_file: Option<&[u8]>,
    ) -> Result<types::UiCustomizationType, ApiError> {
        let input = types::SetUiCustomizationRequest {
            user_pool_id: text(&self.pool_id),
            client_id: client_id.map(str::to_owned),
            css: css.map(str::to_owned),
            image_file: image_file.map(<[u8]>::to_vec),
        };
        let answer = set_ui_customization(&self.world, &signed_call(), input).await?;
        Ok(answer.ui_customization.expect("answers the customization"))
    }

    async fn get(&self, client_id: Option<&str>) -> Result<types::UiCustomizationType, ApiError> {
        let input = types::GetUiCustomizationRequest {
            user_pool_id: text(&self.pool_id),
            client_id: client_id.map(str::to_owned),
        };
        let answer = get_ui_customization(&self.world, &signed_call(), input).await?;
        Ok(answer.ui_customization.expect("answers a customization"))
    }

    async fn logo_at(&self, url: &str) -> Option<Logo> {
        let path = url.strip_prefix("https://id.example.com/").unwrap();
        let path = path.strip_suffix("/assets/images/image.jpg").unwrap();
        let parts: Vec<_> = path.split('/').collect();
        logo(&self.world, parts[0], parts[1], parts[2]).await.unwrap()
    }
}

#[tokio::test]
async fn css_and_logo_of_all_clients_are_described_and_a_client_has_its_own() {
    let setup = setup().await;
    assert_eq!(setup.get(None).await, Ok(types::UiCustomizationType::default()), "nothing is set");
    let set = setup.set(None, Some(CSS), Some(PNG)).await.unwrap();
    let url = format!(
        "https://id.example.com/{}/ALL/20260101000000/assets/images/image.jpg",
        setup.pool_id
    );
    let expected = types::UiCustomizationType {
        user_pool_id: text(&setup.pool_id),
        client_id: text("ALL"),
        image_url: text(&url),
        css: text(CSS),
        css_version: text("20260101000000"),
        last_modified_date: Some(START_MS),
        creation_date: Some(START_MS),
    };
    assert_eq!(set, expected);
    for client_id in [None, Some("ALL"), Some(setup.client_id.as_str())] {
        assert_eq!(setup.get(client_id).await, Ok(expected.clone()));
    }
    setup.world.clock.advance(Duration::from_secs(61));
    let own = setup.set(Some(&setup.client_id), Some(CSS), None).await.unwrap();
    assert_eq!((own.client_id.as_ref(), &own.image_url), (Some(&setup.client_id), &None));
    assert_eq!(own.css_version, text("20260101000101"));
    assert_eq!(setup.get(Some(&setup.client_id)).await, Ok(own.clone()));
    assert_eq!(setup.get(None).await, Ok(expected.clone()));
    // the dates of a change
    setup.world.clock.advance(Duration::from_secs(1));
    let changed = setup.set(Some(&setup.client_id), None, Some(JPEG)).await.unwrap();
    assert_eq!((changed.css, changed.css_version), (None, None));
    assert_eq!(changed.creation_date, own.creation_date);
    assert_eq!(changed.last_modified_date, Some(START_MS + 62_000));
    // without both there is none
    let cleared = setup.set(Some(&setup.client_id), None, None).await.unwrap();
    assert_eq!(cleared.client_id.as_ref(), Some(&setup.client_id));
    assert_eq!(setup.get(Some(&setup.client_id)).await, Ok(expected));
    setup.set(Some("ALL"), Some(" \n"), Some(b"")).await.unwrap();
    assert_eq!(setup.get(None).await, Ok(types::UiCustomizationType::default()));
}

#[tokio::test]
async fn a_logo_is_where_its_url_says_as_long_as_it_is_the_present_one() {
    let setup = setup().await;
    let first = setup.set(None, None, Some(PNG)).await.unwrap().image_url.unwrap();
    let found = setup.logo_at(&first).await.unwrap();
    assert_eq!((found.content_type.as_str(), &found.bytes[..]), ("image/png", PNG));
    setup.world.clock.advance(Duration::from_secs(1));
    let second = setup.set(None, None, Some(JPEG)).await.unwrap().image_url.unwrap();
    assert_eq!(setup.logo_at(&first).await, None);
    let found = setup.logo_at(&second).await.unwrap();
    assert_eq!((found.content_type.as_str(), &found.bytes[..]), ("image/jpeg", JPEG));
    setup.set(None, Some(CSS), None).await.unwrap();
    assert_eq!(setup.logo_at(&second).await, None, "both are set at once");
    assert_eq!(logo(&setup.world, "us-east-1_nosuchpool", "ALL", "20260101000000").await, Ok(None));
}

/// The text is known from reports of the service's answer.
#[tokio::test]
async fn a_pool_without_a_domain_has_no_pages_to_customize() {
    let setup = setup().await;
    let pool_id = new_pool(&setup.world).await;
    let setup = Setup { pool_id, ..setup };
    let refusal = errors::invalid_parameter("A domain must be associated with this user pool.");
    assert_eq!(setup.set(None, Some(CSS), None).await, Err(refusal));
}

/// The limits are documented; the texts are judgement.
#[tokio::test]
async fn a_logo_is_a_png_or_jpeg_of_at_most_100_kb() {
    let setup = setup().await;
    let refused = async |logo: &[u8], text: &'static str| {
        let refusal = Err(errors::invalid_parameter(text));
        assert_eq!(setup.set(None, None, Some(logo)).await, refusal);
    };
    for other in [&b"GIF89a"[..], b"<svg/>", b"\0\0\x01\0", b"RIFF____WEBP"] {
        refused(other, "The image file must be a PNG, JPG, or JPEG file.").await;
    }
    let mut largest = PNG.to_vec();
    largest.resize(100 << 10, 0);
    setup.set(None, None, Some(&largest)).await.unwrap();
    largest.push(0);
    refused(&largest, "The image file can be no larger than 100 KB.").await;
}

#[tokio::test]
async fn css_and_logo_have_a_size_together() {
    let setup = setup().await;
    let mut logo = PNG.to_vec();
    logo.resize(99_000, 0);
    let css = |bytes: usize| format!("{CSS}/*{}*/", "a".repeat(bytes - CSS.len() - 4));
    // 99,000 bytes are 132,000 in base64
    setup.set(None, Some(&css(6_240)), Some(&logo)).await.unwrap();
    let refusal = errors::invalid_parameter("The request parameters are too large.");
    assert_eq!(setup.set(None, Some(&css(6_241)), Some(&logo)).await, Err(refusal));
}

#[tokio::test]
async fn a_customization_goes_with_its_client() {
    let setup = setup().await;
    let unknown = Some("nosuchclient");
    assert_eq!(setup.set(unknown, Some(CSS), None).await, Err(client_not_found()));
    assert_eq!(setup.get(unknown).await, Err(client_not_found()));
    let own = setup.set(Some(&setup.client_id), Some(CSS), Some(PNG)).await.unwrap();
    let input = types::DeleteUserPoolClientRequest {
        user_pool_id: text(&setup.pool_id),
        client_id: text(&setup.client_id),
    };
    delete_user_pool_client(&setup.world, &signed_call(), input).await.unwrap();
    assert_eq!(setup.get(Some(&setup.client_id)).await, Err(client_not_found()));
    assert_eq!(setup.logo_at(&own.image_url.unwrap()).await, None);
}

#[tokio::test]
async fn a_pool_of_another_account_or_region_looks_like_none() {
    let setup = setup().await;
    let set = setup.set(None, Some(CSS), None).await.unwrap();
    let gone = errors::user_pool_not_found(&setup.pool_id);
    for call in [signed_call_of("444455556666", "us-east-1"), signed_call_of(ACCOUNT, "eu-west-1")]
    {
        let input = types::GetUiCustomizationRequest {
            user_pool_id: text(&setup.pool_id),
            ..Default::default()
        };
        assert_eq!(get_ui_customization(&setup.world, &call, input).await.unwrap_err(), gone);
        let input = types::SetUiCustomizationRequest {
            user_pool_id: text(&setup.pool_id),
            ..Default::default()
        };
        assert_eq!(set_ui_customization(&setup.world, &call, input).await.unwrap_err(), gone);
    }
    assert_eq!(setup.get(None).await, Ok(set));
}
