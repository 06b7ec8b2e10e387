//! What is made, described, changed and deleted, and who may not see it.

use std::time::Duration;

use conclave_api::{ApiError, types};
use conclave_store::{Store, proto};

use super::*;
use crate::{
    call::Call,
    clients::{create_user_pool_client, update_user_pool_client},
    errors,
    testing::{
        ACCOUNT, START_MS, TestWorld, new_client_with, new_pool, signed_call, signed_call_of,
        test_world,
    },
    world::World,
};

fn text(text: &str) -> Option<String> {
    Some(text.to_owned())
}

fn map(pairs: &[(&str, &str)]) -> std::collections::BTreeMap<String, String> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

fn texts(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

const OIDC: &[(&str, &str)] = &[
    ("client_id", "our-id"),
    ("client_secret", "our-secret"),
    ("attributes_request_method", "GET"),
    ("oidc_issuer", "https://idp.example.com"),
    ("authorize_scopes", "openid email"),
];
const GOOGLE: &[(&str, &str)] =
    &[("client_id", "our-id"), ("client_secret", "our-secret"), ("authorize_scopes", "openid")];

fn provider(
    pool_id: &str,
    name: &str,
    provider_type: &str,
    details: &[(&str, &str)],
) -> types::CreateIdentityProviderRequest {
    types::CreateIdentityProviderRequest {
        user_pool_id: text(pool_id),
        provider_name: text(name),
        provider_type: text(provider_type),
        provider_details: Some(types::StringMap { items: map(details) }),
        ..Default::default()
    }
}

async fn create(
    world: &World,
    input: types::CreateIdentityProviderRequest,
) -> Result<types::IdentityProviderType, ApiError> {
    let answer = create_identity_provider(world, &signed_call(), input).await?;
    Ok(answer.identity_provider.expect("answers the provider"))
}

async fn described(
    world: &World,
    call: &Call,
    pool_id: &str,
    name: &str,
) -> Result<types::IdentityProviderType, ApiError> {
    let input = types::DescribeIdentityProviderRequest {
        user_pool_id: text(pool_id),
        provider_name: text(name),
    };
    let answer = describe_identity_provider(world, call, input).await?;
    Ok(answer.identity_provider.expect("answers the provider"))
}

async fn update(
    world: &World,
    input: types::UpdateIdentityProviderRequest,
) -> Result<types::IdentityProviderType, ApiError> {
    let answer = update_identity_provider(world, &signed_call(), input).await?;
    Ok(answer.identity_provider.expect("answers the provider"))
}

async fn delete(world: &World, pool_id: &str, name: &str) -> Result<(), ApiError> {
    let input = types::DeleteIdentityProviderRequest {
        user_pool_id: text(pool_id),
        provider_name: text(name),
    };
    delete_identity_provider(world, &signed_call(), input).await.map(|_| ())
}

async fn by_identifier(world: &World, pool_id: &str, id: &str) -> Result<String, ApiError> {
    let input = types::GetIdentityProviderByIdentifierRequest {
        user_pool_id: text(pool_id),
        idp_identifier: text(id),
    };
    let answer = get_identity_provider_by_identifier(world, &signed_call(), input).await?;
    Ok(answer.identity_provider.and_then(|provider| provider.provider_name).unwrap())
}

#[tokio::test]
async fn what_was_made_is_described_back() {
    let world = test_world().await;
    let pool_id = new_pool(&world).await;
    let input = types::CreateIdentityProviderRequest {
        attribute_mapping: map(&[("email", "mail")]),
        idp_identifiers: texts(&["example.com", "example.org", "example.com"]),
        ..provider(&pool_id, "Corporate", "OIDC", OIDC)
    };
    let made = create(&world, input).await.unwrap();
    let mut details = map(OIDC);
    details.extend(map(&[("attributes_url_add_attributes", "false")]));
    let expected = types::IdentityProviderType {
        user_pool_id: text(&pool_id),
        provider_name: text("Corporate"),
        provider_type: text("OIDC"),
        provider_details: details,
        attribute_mapping: map(&[("email", "mail"), ("username", "sub")]),
        idp_identifiers: texts(&["example.com", "example.org"]),
        last_modified_date: Some(START_MS),
        creation_date: Some(START_MS),
        ..Default::default()
    };
    assert_eq!(made, expected);
    assert_eq!(described(&world, &signed_call(), &pool_id, "Corporate").await, Ok(expected));
    assert_eq!(by_identifier(&world, &pool_id, "example.org").await.as_deref(), Ok("Corporate"));
}

#[tokio::test]
async fn no_secret_is_stored_in_the_open() {
    let world: TestWorld = test_world().await;
    let pool_id = new_pool(&world).await;
    create(&world, provider(&pool_id, "Corporate", "OIDC", OIDC)).await.unwrap();
    let scan = proto::Scan { limit: 1_000, ..Default::default() };
    let read = proto::Read { scope: pool_id, scans: vec![scan], ..Default::default() };
    for row in world.store.read(read).await.unwrap().rows {
        let value = row.value.unwrap_or_default();
        let secret = b"our-secret";
        assert!(!value.windows(secret.len()).any(|window| window == secret));
    }
}

#[tokio::test]
async fn an_update_changes_what_it_names() {
    let world = test_world().await;
    let pool_id = new_pool(&world).await;
    let input = types::CreateIdentityProviderRequest {
        attribute_mapping: map(&[("email", "mail")]),
        idp_identifiers: texts(&["one", "two"]),
        ..provider(&pool_id, "Corporate", "OIDC", OIDC)
    };
    let made = create(&world, input).await.unwrap();
    world.clock.advance(Duration::from_secs(60));
    let of = types::UpdateIdentityProviderRequest {
        user_pool_id: text(&pool_id),
        provider_name: text("Corporate"),
        ..Default::default()
    };
    let same = update(&world, of.clone()).await.unwrap();
    let later = Some(START_MS + 60_000);
    assert_eq!(same, types::IdentityProviderType { last_modified_date: later, ..made });

    let ids = types::UpdateIdentityProviderRequest {
        idp_identifiers: Some(types::StringList { items: texts(&["two", "three"]) }),
        ..of.clone()
    };
    update(&world, ids).await.unwrap();
    assert!(by_identifier(&world, &pool_id, "one").await.is_err());
    assert!(by_identifier(&world, &pool_id, "two").await.is_ok());
    assert!(by_identifier(&world, &pool_id, "three").await.is_ok());

    let rest = types::UpdateIdentityProviderRequest {
        provider_details: Some(types::StringMap {
            items: {
                let mut details = map(OIDC);
                details.insert("client_id".to_owned(), "another".to_owned());
                details
            },
        }),
        attribute_mapping: Some(types::StringMap::default()),
        idp_identifiers: Some(types::StringList::default()),
        ..of
    };
    let changed = update(&world, rest).await.unwrap();
    assert_eq!(changed.provider_details["client_id"], "another");
    assert_eq!(changed.attribute_mapping, map(&[("username", "sub")]));
    assert!(changed.idp_identifiers.is_empty());
    assert!(by_identifier(&world, &pool_id, "two").await.is_err());
}

#[tokio::test]
async fn a_deleted_provider_leaves_nothing_and_no_longer_counts() {
    let mut world = test_world().await;
    world.world.settings.limits.identity_providers_per_pool = 1;
    let pool_id = new_pool(&world).await;
    let input = types::CreateIdentityProviderRequest {
        idp_identifiers: texts(&["one"]),
        ..provider(&pool_id, "Corporate", "OIDC", OIDC)
    };
    create(&world, input.clone()).await.unwrap();
    let error = create(&world, provider(&pool_id, "Second", "OIDC", OIDC)).await.unwrap_err();
    assert_eq!(error.code.as_str(), "LimitExceededException");
    delete(&world, &pool_id, "Corporate").await.unwrap();
    let gone = Err(provider_not_found("Corporate"));
    assert_eq!(described(&world, &signed_call(), &pool_id, "Corporate").await, gone);
    assert_eq!(by_identifier(&world, &pool_id, "one").await, Err(provider_not_found("one")));
    assert_eq!(delete(&world, &pool_id, "Corporate").await, Err(provider_not_found("Corporate")));
    create(&world, input).await.unwrap();
}

#[tokio::test]
async fn names_and_identifiers_are_had_once() {
    let world = test_world().await;
    let pool_id = new_pool(&world).await;
    let input = types::CreateIdentityProviderRequest {
        idp_identifiers: texts(&["one"]),
        ..provider(&pool_id, "Corporate", "OIDC", OIDC)
    };
    create(&world, input.clone()).await.unwrap();
    let error = create(&world, input.clone()).await.unwrap_err();
    assert_eq!(error.code.as_str(), "DuplicateProviderException");
    let second = types::CreateIdentityProviderRequest { provider_name: text("Second"), ..input };
    let error = create(&world, second).await.unwrap_err();
    assert_eq!(error.code.as_str(), "InvalidParameterException");
}

#[tokio::test]
async fn each_type_shows_what_is_known_of_it() {
    let world = test_world().await;
    let pool_id = new_pool(&world).await;
    let google = create(&world, provider(&pool_id, "Google", "Google", GOOGLE)).await.unwrap();
    assert_eq!(
        google.provider_details,
        map(&[
            ("attributes_url", "https://people.googleapis.com/v1/people/me?personFields="),
            ("attributes_url_add_attributes", "true"),
            ("authorize_scopes", "openid"),
            ("authorize_url", "https://accounts.google.com/o/oauth2/v2/auth"),
            ("client_id", "our-id"),
            ("client_secret", "our-secret"),
            ("oidc_issuer", "https://accounts.google.com"),
            ("token_request_method", "POST"),
            ("token_url", "https://www.googleapis.com/oauth2/v4/token"),
        ])
    );
    let facebook =
        create(&world, provider(&pool_id, "Facebook", "Facebook", GOOGLE)).await.unwrap();
    assert_eq!(facebook.provider_details["api_version"], "v17.0");
    assert_eq!(
        facebook.provider_details["token_url"],
        "https://graph.facebook.com/v17.0/oauth/access_token"
    );
    assert_eq!(facebook.attribute_mapping, map(&[("username", "id")]));
    let details = [
        ("client_id", "our-id"),
        ("team_id", "t"),
        ("key_id", "k"),
        ("private_key", "our-secret"),
        ("authorize_scopes", "email name"),
    ];
    let apple = provider(&pool_id, "SignInWithApple", "SignInWithApple", &details);
    let apple = create(&world, apple).await.unwrap();
    assert!(!apple.provider_details.contains_key("private_key"), "it is never answered");
    // what is described can be sent back, and the private key stays
    let input = types::UpdateIdentityProviderRequest {
        user_pool_id: text(&pool_id),
        provider_name: text("SignInWithApple"),
        provider_details: Some(types::StringMap { items: apple.provider_details.clone() }),
        ..Default::default()
    };
    let updated = update(&world, input).await.unwrap();
    assert_eq!(updated.provider_details, apple.provider_details);
    let saml = [("MetadataURL", "https://idp.example.com/metadata"), ("IDPSignout", "true")];
    let saml = create(&world, provider(&pool_id, "Saml", "SAML", &saml)).await.unwrap();
    assert_eq!(saml.attribute_mapping, map(&[]));
}

#[tokio::test]
async fn details_that_are_not_good_are_refused() {
    let world = test_world().await;
    let pool_id = new_pool(&world).await;
    let with = |base: &[(&str, &str)], name: &str, value: &str| {
        let mut details = map(base);
        details.insert(name.to_owned(), value.to_owned());
        details
    };
    for (provider_type, details) in [
        ("SAML", map(&[])),
        ("SAML", map(&[("MetadataURL", "http://idp.example.com")])),
        ("SAML", map(&[("MetadataFile", "<html></html>")])),
        ("SAML", map(&[("MetadataURL", "https://idp.example.com"), ("IDPInit", "yes")])),
        ("SAML", map(&[("MetadataURL", "https://idp.example.com"), ("client_id", "x")])),
        ("OIDC", with(OIDC, "client_id", " ")),
        ("OIDC", with(OIDC, "attributes_request_method", "PUT")),
        ("OIDC", with(OIDC, "oidc_issuer", "http://idp.example.com")),
        ("OIDC", with(OIDC, "authorize_scopes", "email")),
        ("OIDC", with(OIDC, "something", "else")),
        ("OIDC", with(OIDC, "client_secret", &"x".repeat(210 << 10))),
        ("Google", map(&[("client_id", "x"), ("authorize_scopes", "openid")])),
    ] {
        let name = if provider_type == "Google" { "Google" } else { "Name" };
        let input = types::CreateIdentityProviderRequest {
            provider_details: Some(types::StringMap { items: details.clone() }),
            ..provider(&pool_id, name, provider_type, &[])
        };
        let error = create(&world, input).await.unwrap_err();
        assert_eq!(error.code.as_str(), "InvalidParameterException");
        let saml_text = "At least one of the MetadataURL or MetadataFile should be provided.";
        assert!(!details.is_empty() || error.message == saml_text);
    }
}

#[tokio::test]
async fn names_of_social_providers_are_theirs_and_mapped_attributes_exist() {
    let world = test_world().await;
    let pool_id = new_pool(&world).await;
    let mapped = |name: &str| types::CreateIdentityProviderRequest {
        attribute_mapping: map(&[(name, "x")]),
        ..provider(&pool_id, "Corporate", "OIDC", OIDC)
    };
    for input in [
        provider(&pool_id, "MyGoogle", "Google", GOOGLE),
        provider(&pool_id, "Google", "OIDC", OIDC),
        provider(&pool_id, "COGNITO", "OIDC", OIDC),
        mapped("custom:none"),
        mapped("sub"),
    ] {
        let error = create(&world, input).await.unwrap_err();
        assert_eq!(error.code.as_str(), "InvalidParameterException");
    }
    create(&world, mapped("username")).await.unwrap();
}

#[tokio::test]
async fn a_client_can_name_providers_that_are_there() {
    let world = test_world().await;
    let pool_id = new_pool(&world).await;
    create(&world, provider(&pool_id, "Corporate", "OIDC", OIDC)).await.unwrap();
    let input = types::CreateUserPoolClientRequest {
        supported_identity_providers: texts(&["COGNITO", "Corporate"]),
        ..Default::default()
    };
    let client = new_client_with(&world, &pool_id, input.clone()).await;
    assert_eq!(client.supported_identity_providers, input.supported_identity_providers);
    delete(&world, &pool_id, "Corporate").await.unwrap();
    let text = format!("The provider Corporate does not exist for User Pool {pool_id}.");
    let input = types::CreateUserPoolClientRequest {
        user_pool_id: Some(pool_id.clone()),
        client_name: Some("second".to_owned()),
        ..input
    };
    let create = create_user_pool_client(&world, &signed_call(), input).await;
    assert_eq!(create.unwrap_err(), errors::invalid_parameter(text.clone()));
    let input = types::UpdateUserPoolClientRequest {
        user_pool_id: Some(pool_id),
        client_id: client.client_id,
        supported_identity_providers: texts(&["Corporate"]),
        ..Default::default()
    };
    let update = update_user_pool_client(&world, &signed_call(), input).await;
    assert_eq!(update.unwrap_err(), errors::invalid_parameter(text));
}

#[tokio::test]
async fn a_client_can_name_many_providers() {
    let world = test_world().await;
    let pool_id = new_pool(&world).await;
    let names: Vec<String> = (0..70).map(|number| format!("Provider{number}")).collect();
    for name in &names {
        create(&world, provider(&pool_id, name, "OIDC", OIDC)).await.unwrap();
    }
    let client = new_client_with(&world, &pool_id, Default::default()).await;
    let input = types::UpdateUserPoolClientRequest {
        user_pool_id: Some(pool_id),
        client_id: client.client_id,
        supported_identity_providers: names.clone(),
        ..Default::default()
    };
    let update = update_user_pool_client(&world, &signed_call(), input).await.unwrap();
    assert_eq!(update.user_pool_client.unwrap().supported_identity_providers, names);
}

#[tokio::test]
async fn pages_go_through_every_provider_once() {
    let world = test_world().await;
    let (pool_id, other) = (new_pool(&world).await, new_pool(&world).await);
    for name in ["Aaa", "Bbb", "Ccc"] {
        create(&world, provider(&pool_id, name, "OIDC", OIDC)).await.unwrap();
    }
    let page = |pool_id: &str, next_token| types::ListIdentityProvidersRequest {
        user_pool_id: text(pool_id),
        max_results: Some(2),
        next_token,
    };
    let call = signed_call();
    let first = list_identity_providers(&world, &call, page(&pool_id, None)).await.unwrap();
    let token = first.next_token.clone();
    let second = list_identity_providers(&world, &call, page(&pool_id, token.clone())).await;
    let all = first.providers.into_iter().chain(second.unwrap().providers);
    let names: Vec<_> = all.filter_map(|provider| provider.provider_name).collect();
    assert_eq!(names, ["Aaa", "Bbb", "Ccc"]);
    let error = list_identity_providers(&world, &call, page(&other, token)).await.unwrap_err();
    assert_eq!(error, errors::invalid_pagination_token());
}

#[tokio::test]
async fn a_pool_of_another_account_or_region_looks_like_none() {
    let world = test_world().await;
    let pool_id = new_pool(&world).await;
    let input = types::CreateIdentityProviderRequest {
        idp_identifiers: texts(&["one"]),
        ..provider(&pool_id, "Corporate", "OIDC", OIDC)
    };
    create(&world, input.clone()).await.unwrap();
    let gone = errors::user_pool_not_found(&pool_id);
    for call in [signed_call_of("444455556666", "us-east-1"), signed_call_of(ACCOUNT, "eu-west-1")]
    {
        for name in ["Corporate", "Other"] {
            let input =
                types::CreateIdentityProviderRequest { provider_name: text(name), ..input.clone() };
            let error = create_identity_provider(&world, &call, input).await.unwrap_err();
            assert_eq!(error, gone);
            assert_eq!(described(&world, &call, &pool_id, name).await.unwrap_err(), gone);
            let input = types::UpdateIdentityProviderRequest {
                user_pool_id: text(&pool_id),
                provider_name: text(name),
                ..Default::default()
            };
            assert_eq!(update_identity_provider(&world, &call, input).await.unwrap_err(), gone);
            let input = types::DeleteIdentityProviderRequest {
                user_pool_id: text(&pool_id),
                provider_name: text(name),
            };
            assert_eq!(delete_identity_provider(&world, &call, input).await.unwrap_err(), gone);
        }
        let input = types::ListIdentityProvidersRequest {
            user_pool_id: text(&pool_id),
            ..Default::default()
        };
        assert_eq!(list_identity_providers(&world, &call, input).await.unwrap_err(), gone);
        let input = types::GetIdentityProviderByIdentifierRequest {
            user_pool_id: text(&pool_id),
            idp_identifier: text("one"),
        };
        let error = get_identity_provider_by_identifier(&world, &call, input).await.unwrap_err();
        assert_eq!(error, gone);
    }
}
