//! Terms documents from beginning to end.

use std::time::Duration;

use conclave_api::{ApiError, types};

use super::*;
use crate::{
    clients::{client_not_found, delete_user_pool_client},
    errors,
    testing::{
        ACCOUNT, START_MS, TestWorld, new_client_with, new_pool, signed_call, signed_call_of,
        test_world,
    },
    world::World,
};

const URL: &str = "https://example.com/terms";

fn text(text: &str) -> Option<String> {
    Some(text.to_owned())
}

fn links(links: &[(&str, &str)]) -> Option<types::StringMap> {
    let own = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
    Some(types::StringMap { items: links.iter().map(own).collect() })
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
    fn request(&self, name: &str) -> types::CreateTermsRequest {
        types::CreateTermsRequest {
            user_pool_id: text(&self.pool_id),
            client_id: text(&self.client_id),
            terms_name: text(name),
            terms_source: text("LINK"),
            enforcement: text("NONE"),
            links: links(&[("cognito:default", URL)]),
        }
    }

    async fn create(&self, input: types::CreateTermsRequest) -> Result<types::TermsType, ApiError> {
        let answer = create_terms(&self.world, &signed_call(), input).await?;
        Ok(answer.terms.expect("answers the document"))
    }

    async fn update(
        &self,
        id: &Option<String>,
        input: types::UpdateTermsRequest,
    ) -> Result<types::TermsType, ApiError> {
        let input = types::UpdateTermsRequest {
            user_pool_id: text(&self.pool_id),
            terms_id: id.clone(),
            ..input
        };
        let answer = update_terms(&self.world, &signed_call(), input).await?;
        Ok(answer.terms.expect("answers the document"))
    }

    async fn describe(&self, id: &Option<String>) -> Result<types::TermsType, ApiError> {
        let input =
            types::DescribeTermsRequest { user_pool_id: text(&self.pool_id), terms_id: id.clone() };
        let answer = describe_terms(&self.world, &signed_call(), input).await?;
        Ok(answer.terms.expect("answers the document"))
    }

    async fn delete(&self, id: &Option<String>) -> Result<(), ApiError> {
        let input =
            types::DeleteTermsRequest { user_pool_id: text(&self.pool_id), terms_id: id.clone() };
        delete_terms(&self.world, &signed_call(), input).await.map(|_| ())
    }

    async fn list(&self, max_results: i32, next_token: Option<String>) -> types::ListTermsResponse {
        let input = types::ListTermsRequest {
            user_pool_id: text(&self.pool_id),
            max_results: Some(max_results),
            next_token,
        };
        list_terms(&self.world, &signed_call(), input).await.unwrap()
    }
}

#[tokio::test]
async fn a_document_is_described_listed_changed_and_deleted() {
    let setup = setup().await;
    let made = setup.create(setup.request("terms-of-use")).await.unwrap();
    let id = made.terms_id.clone();
    let expected = types::TermsType {
        terms_id: id.clone(),
        user_pool_id: text(&setup.pool_id),
        client_id: text(&setup.client_id),
        terms_name: text("terms-of-use"),
        terms_source: text("LINK"),
        enforcement: text("NONE"),
        links: links(&[("cognito:default", URL)]).unwrap().items,
        creation_date: Some(START_MS),
        last_modified_date: Some(START_MS),
    };
    assert_eq!(made, expected);
    assert_eq!(setup.describe(&id).await, Ok(expected.clone()));
    setup.world.clock.advance(Duration::from_secs(1));
    let new = links(&[("cognito:default", "https://example.com/new"), ("cognito:german", URL)]);
    let update = types::UpdateTermsRequest { links: new.clone(), ..Default::default() };
    let changed = setup.update(&id, update).await.unwrap();
    let expected = types::TermsType {
        links: new.unwrap().items,
        last_modified_date: Some(START_MS + 1_000),
        ..expected
    };
    assert_eq!(changed, expected);
    let listed = setup.list(60, None).await;
    let entry = types::TermsDescriptionType {
        terms_id: id.clone(),
        terms_name: text("terms-of-use"),
        enforcement: text("NONE"),
        creation_date: Some(START_MS),
        last_modified_date: Some(START_MS + 1_000),
    };
    assert_eq!((listed.terms, listed.next_token), (vec![entry], None));
    setup.delete(&id).await.unwrap();
    assert_eq!(setup.describe(&id).await, Err(terms_not_found()));
    assert_eq!(setup.delete(&id).await, Err(terms_not_found()));
    assert_eq!(setup.update(&id, Default::default()).await, Err(terms_not_found()));
    assert_eq!(setup.list(60, None).await.terms, []);
}

/// API reference: names are unique to the app client. The text is judgement.
#[tokio::test]
async fn a_client_has_a_document_of_each_name_once() {
    let setup = setup().await;
    let exists = |name: &str| {
        let text =
            format!("Terms with the name {name} already exists for client {}", setup.client_id);
        Err(conclave_api::ExceptionName::TermsExistsException.because(text))
    };
    let made = setup.create(setup.request("terms-of-use")).await.unwrap();
    assert_eq!(setup.create(setup.request("terms-of-use")).await, exists("terms-of-use"));
    let other = setup.create(setup.request("privacy-policy")).await.unwrap();
    let rename = |name| types::UpdateTermsRequest { terms_name: text(name), ..Default::default() };
    assert_eq!(setup.update(&other.terms_id, rename("terms-of-use")).await, exists("terms-of-use"));
    setup.delete(&made.terms_id).await.unwrap();
    let renamed = setup.update(&other.terms_id, rename("terms-of-use")).await.unwrap();
    assert_eq!(renamed.terms_name, text("terms-of-use"));
    setup.create(setup.request("privacy-policy")).await.expect("the name is free");
    let same = setup.update(&other.terms_id, rename("terms-of-use")).await;
    same.expect("its own name is not taken");
    let client_id = Some(new_client(&setup.world, &setup.pool_id).await);
    let request = types::CreateTermsRequest { client_id, ..setup.request("terms-of-use") };
    setup.create(request).await.expect("another client has its own");
}

#[tokio::test]
async fn links_are_checked_of_new_documents_and_of_changes() {
    let setup = setup().await;
    let made = setup.create(setup.request("terms-of-use")).await.unwrap();
    for (given, refusal) in [
        (links(&[("cognito:french", URL)]), "Links must have a URL for cognito:default."),
        (links(&[("cognito:default", "ftp://a")]), "ftp://a is not a valid URL."),
    ] {
        let request =
            types::CreateTermsRequest { links: given.clone(), ..setup.request("privacy-policy") };
        assert_eq!(setup.create(request).await, Err(errors::invalid_parameter(refusal)));
        let update = types::UpdateTermsRequest { links: given, ..Default::default() };
        let changed = setup.update(&made.terms_id, update).await;
        assert_eq!(changed, Err(errors::invalid_parameter(refusal)));
    }
    let none = types::CreateTermsRequest { links: None, ..setup.request("privacy-policy") };
    let refusal = errors::invalid_parameter("Links must have a URL for cognito:default.");
    assert_eq!(setup.create(none).await, Err(refusal));
    assert_eq!(setup.describe(&made.terms_id).await, Ok(made));
}

#[tokio::test]
async fn a_document_belongs_to_a_client_and_goes_with_it() {
    let setup = setup().await;
    let client_id = text("nosuchclient");
    let request = types::CreateTermsRequest { client_id, ..setup.request("terms-of-use") };
    assert_eq!(setup.create(request).await, Err(client_not_found()));
    let made = setup.create(setup.request("terms-of-use")).await.unwrap();
    setup.create(setup.request("privacy-policy")).await.unwrap();
    let input = types::DeleteUserPoolClientRequest {
        user_pool_id: text(&setup.pool_id),
        client_id: text(&setup.client_id),
    };
    delete_user_pool_client(&setup.world, &signed_call(), input).await.unwrap();
    assert_eq!(setup.describe(&made.terms_id).await, Err(terms_not_found()));
    assert_eq!(setup.list(60, None).await.terms, []);
}

#[tokio::test]
async fn a_pool_has_a_limit_of_them_and_those_of_a_deleted_client_no_longer_count() {
    let mut setup = setup().await;
    setup.world.world.settings.limits.terms_per_pool = 2;
    setup.create(setup.request("terms-of-use")).await.unwrap();
    setup.create(setup.request("privacy-policy")).await.unwrap();
    let client_id = Some(new_client(&setup.world, &setup.pool_id).await);
    let third = types::CreateTermsRequest { client_id, ..setup.request("terms-of-use") };
    let error = setup.create(third.clone()).await.unwrap_err();
    assert_eq!(error.code.as_str(), "LimitExceededException");
    let input = types::DeleteUserPoolClientRequest {
        user_pool_id: text(&setup.pool_id),
        client_id: text(&setup.client_id),
    };
    delete_user_pool_client(&setup.world, &signed_call(), input).await.unwrap();
    setup.create(third).await.unwrap();
}

#[tokio::test]
async fn pages_go_through_every_document_once_and_tokens_are_the_list_s_own() {
    let setup = setup().await;
    let mut made = Vec::new();
    for number in 0..3 {
        let client_id = Some(new_client(&setup.world, &setup.pool_id).await);
        let name = if number == 0 { "privacy-policy" } else { "terms-of-use" };
        let request = types::CreateTermsRequest { client_id, ..setup.request(name) };
        made.push(setup.create(request).await.unwrap().terms_id);
    }
    let first = setup.list(2, None).await;
    assert_eq!(first.terms.len(), 2);
    let second = setup.list(2, first.next_token.clone()).await;
    assert_eq!(second.next_token, None);
    let all = first.terms.into_iter().chain(second.terms);
    let mut listed: Vec<_> = all.map(|terms| terms.terms_id).collect();
    listed.sort();
    made.sort();
    assert_eq!(listed, made);
    let input = types::ListTermsRequest {
        user_pool_id: Some(new_pool(&setup.world).await),
        next_token: first.next_token,
        ..Default::default()
    };
    let error = list_terms(&setup.world, &signed_call(), input).await.unwrap_err();
    assert_eq!(error, errors::invalid_pagination_token());
}

#[tokio::test]
async fn a_pool_of_another_account_or_region_looks_like_none() {
    let setup = setup().await;
    let made = setup.create(setup.request("terms-of-use")).await.unwrap();
    let (user_pool_id, terms_id) = (text(&setup.pool_id), made.terms_id.clone());
    let gone = errors::user_pool_not_found(&setup.pool_id);
    let world = &setup.world;
    for call in [signed_call_of("444455556666", "us-east-1"), signed_call_of(ACCOUNT, "eu-west-1")]
    {
        let (user_pool_id, terms_id) = (user_pool_id.clone(), terms_id.clone());
        let create = create_terms(world, &call, setup.request("privacy-policy")).await;
        assert_eq!(create.unwrap_err(), gone);
        let input = types::DescribeTermsRequest {
            user_pool_id: user_pool_id.clone(),
            terms_id: terms_id.clone(),
        };
        assert_eq!(describe_terms(world, &call, input).await.unwrap_err(), gone);
        let input = types::UpdateTermsRequest {
            user_pool_id: user_pool_id.clone(),
            terms_id: terms_id.clone(),
            ..Default::default()
        };
        assert_eq!(update_terms(world, &call, input).await.unwrap_err(), gone);
        let input = types::DeleteTermsRequest { user_pool_id: user_pool_id.clone(), terms_id };
        assert_eq!(delete_terms(world, &call, input).await.unwrap_err(), gone);
        let input = types::ListTermsRequest { user_pool_id, ..Default::default() };
        assert_eq!(list_terms(world, &call, input).await.unwrap_err(), gone);
    }
    assert_eq!(setup.describe(&terms_id).await, Ok(made));
}
