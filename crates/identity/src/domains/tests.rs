//! What is made, described, changed and deleted, and who may not see it.

use conclave_api::{ApiError, types};

use super::*;
use crate::{
    call::Call,
    pools::{delete_user_pool, describe_user_pool, update_user_pool},
    testing::{
        ACCOUNT, START_MS, new_pool, new_pool_with, signed_call, signed_call_of, test_world,
    },
};

fn text(text: &str) -> Option<String> {
    Some(text.to_owned())
}

fn certificate(name: &str) -> Option<types::CustomDomainConfigType> {
    Some(types::CustomDomainConfigType {
        certificate_arn: Some(format!("arn:aws:acm:us-east-1:111122223333:certificate/{name}")),
        ..Default::default()
    })
}

fn request(pool_id: &str, domain: &str) -> types::CreateUserPoolDomainRequest {
    types::CreateUserPoolDomainRequest {
        user_pool_id: text(pool_id),
        domain: text(domain),
        custom_domain_config: domain.contains('.').then(|| certificate("x")).flatten(),
        ..Default::default()
    }
}

async fn create(
    world: &World,
    input: types::CreateUserPoolDomainRequest,
) -> Result<types::CreateUserPoolDomainResponse, ApiError> {
    create_user_pool_domain(world, &signed_call(), input).await
}

async fn described(world: &World, call: &Call, domain: &str) -> types::DomainDescriptionType {
    let input = types::DescribeUserPoolDomainRequest { domain: text(domain) };
    let answer = describe_user_pool_domain(world, call, input).await.unwrap();
    answer.domain_description.unwrap()
}

async fn delete(world: &World, call: &Call, pool_id: &str, domain: &str) -> Result<(), ApiError> {
    let input =
        types::DeleteUserPoolDomainRequest { user_pool_id: text(pool_id), domain: text(domain) };
    delete_user_pool_domain(world, call, input).await.map(|_| ())
}

/// The text is from memory of the service's answer. That a prefix has an empty CustomDomainConfig is the service's, as Terraform's
/// resource counts on it.
#[tokio::test]
async fn a_pool_has_a_prefix_and_a_domain_of_its_own() {
    let world = test_world().await;
    let pool_id = new_pool(&world).await;
    let call = signed_call();
    let made = create(&world, request(&pool_id, "acme")).await.unwrap();
    assert_eq!((made.managed_login_version, made.cloud_front_domain), (Some(1), None));
    let made = create(&world, request(&pool_id, "login.acme.example")).await.unwrap();
    assert_eq!(made.cloud_front_domain, text("id.example.com"));
    let expected = types::DomainDescriptionType {
        user_pool_id: text(&pool_id),
        aws_account_id: text(ACCOUNT),
        domain: text("login.acme.example"),
        cloud_front_distribution: text("id.example.com"),
        version: Some(START_MS.to_string()),
        status: text("ACTIVE"),
        custom_domain_config: certificate("x"),
        managed_login_version: Some(1),
        ..Default::default()
    };
    assert_eq!(described(&world, &call, "login.acme.example").await, expected);
    assert_eq!(
        described(&world, &call, "acme").await.custom_domain_config,
        Some(Default::default())
    );
    let input = types::DescribeUserPoolRequest { user_pool_id: text(&pool_id) };
    let pool = describe_user_pool(&world, &call, input).await.unwrap().user_pool.unwrap();
    assert_eq!((pool.domain, pool.custom_domain), (text("acme"), text("login.acme.example")));
    for second in ["other", "login.other.example"] {
        let error = create(&world, request(&pool_id, second)).await.unwrap_err();
        assert_eq!(error, errors::invalid_parameter("User pool already has a domain configured."));
    }
    delete(&world, &call, &pool_id, "acme").await.unwrap();
    assert_eq!(described(&world, &call, "acme").await, Default::default());
    assert_eq!(described(&world, &call, "login.acme.example").await, expected);
    assert_eq!(delete(&world, &call, &pool_id, "acme").await, Err(no_such_domain()));
}

/// The text is from memory of the service's answer.
#[tokio::test]
async fn a_domain_is_had_once_in_the_cluster() {
    let world = test_world().await;
    let (first, second) = (new_pool(&world).await, new_pool(&world).await);
    let call = signed_call();
    let (one, two) = tokio::join!(
        create(&world, request(&first, "acme")),
        create(&world, request(&second, "acme"))
    );
    let refused: Vec<_> = [one, two].into_iter().filter_map(Result::err).collect();
    let text = "Domain already associated with another user pool.";
    assert_eq!(refused, [errors::invalid_parameter(text)]);
    // also for another account
    let other = signed_call_of("444455556666", "us-east-1");
    let input =
        types::CreateUserPoolRequest { pool_name: Some("pool".to_owned()), ..Default::default() };
    let pool = crate::pools::create_user_pool(&world, &other, input).await.unwrap().user_pool;
    let foreign = pool.and_then(|pool| pool.id).unwrap();
    let error = create_user_pool_domain(&world, &other, request(&foreign, "acme")).await;
    assert_eq!(error.unwrap_err(), errors::invalid_parameter(text));
    let owner = described(&world, &call, "acme").await.user_pool_id.unwrap();
    delete(&world, &call, &owner, "acme").await.unwrap();
    create_user_pool_domain(&world, &other, request(&foreign, "acme")).await.unwrap();
}

/// The first four texts are the service's, from reports of its answers; that of a subdomain without its parent is used for every
/// name of this kind, and that about ManagedLoginVersion is judgement.
#[tokio::test]
async fn names_have_rules() {
    let world = test_world().await;
    let pool_id = new_pool(&world).await;
    for (input, text) in [
        (request(&pool_id, "my-cognito-pool"), "Domain cannot contain reserved word: cognito"),
        (request(&pool_id, "aws-login"), "Domain cannot contain reserved word: aws"),
        (
            types::CreateUserPoolDomainRequest {
                custom_domain_config: None,
                ..request(&pool_id, "login.acme.example")
            },
            r"The domain name contains an invalid character. Domain names can only contain lower-case letters, numbers, and hyphens. Please enter a different name that follows this format: ^[a-z0-9](?:[a-z0-9\-]{0,61}[a-z0-9])?$",
        ),
        (
            types::CreateUserPoolDomainRequest {
                custom_domain_config: certificate("x"),
                ..request(&pool_id, "acme")
            },
            "Custom domain is not a valid subdomain.",
        ),
        (request(&pool_id, "login..example"), "Custom domain is not a valid subdomain."),
        (
            types::CreateUserPoolDomainRequest {
                managed_login_version: Some(3),
                ..request(&pool_id, "acme")
            },
            "ManagedLoginVersion must be 1 or 2.",
        ),
    ] {
        assert_eq!(create(&world, input).await, Err(errors::invalid_parameter(text)));
    }
}

#[tokio::test]
async fn a_domain_is_changed() {
    let world = test_world().await;
    let pool_id = new_pool(&world).await;
    let call = signed_call();
    create(&world, request(&pool_id, "acme")).await.unwrap();
    create(&world, request(&pool_id, "login.acme.example")).await.unwrap();
    let of = |domain: &str| types::UpdateUserPoolDomainRequest {
        user_pool_id: text(&pool_id),
        domain: text(domain),
        ..Default::default()
    };
    let input = types::UpdateUserPoolDomainRequest {
        custom_domain_config: certificate("y"),
        ..of("login.acme.example")
    };
    let updated = update_user_pool_domain(&world, &call, input).await.unwrap();
    assert_eq!(updated.cloud_front_domain, text("id.example.com"));
    let input = types::UpdateUserPoolDomainRequest { managed_login_version: Some(2), ..of("acme") };
    let updated = update_user_pool_domain(&world, &call, input).await.unwrap();
    assert_eq!(updated.managed_login_version, Some(2));
    let custom = described(&world, &call, "login.acme.example").await;
    assert_eq!(custom.custom_domain_config, certificate("y"));
    assert_eq!(custom.managed_login_version, Some(1));
    assert_eq!(described(&world, &call, "acme").await.managed_login_version, Some(2));
    let input =
        types::UpdateUserPoolDomainRequest { custom_domain_config: certificate("y"), ..of("acme") };
    let error = update_user_pool_domain(&world, &call, input).await.unwrap_err();
    assert_eq!(error.code.as_str(), "InvalidParameterException");
    let error = update_user_pool_domain(&world, &call, of("none")).await.unwrap_err();
    assert_eq!(error, no_such_domain());
}

/// The text is the service's, from reports of its answer for another feature.
#[tokio::test]
async fn the_lite_plan_has_no_managed_login() {
    let world = test_world().await;
    let lite = types::CreateUserPoolRequest { user_pool_tier: text("LITE"), ..Default::default() };
    let lite = new_pool_with(&world, lite).await;
    let managed = |pool_id: &str, domain: &str| types::CreateUserPoolDomainRequest {
        managed_login_version: Some(2),
        ..request(pool_id, domain)
    };
    let error = create(&world, managed(&lite, "acme")).await.unwrap_err();
    let expected = ApiError::new(
        conclave_api::ExceptionName::FeatureUnavailableInTierException,
        "The following features need to be disabled for the LITE pricing tier configured: Managed Login",
    );
    assert_eq!(error, expected);
    create(&world, request(&lite, "acme")).await.unwrap();
    let input = types::UpdateUserPoolDomainRequest {
        user_pool_id: text(&lite),
        domain: text("acme"),
        managed_login_version: Some(2),
        ..Default::default()
    };
    let error = update_user_pool_domain(&world, &signed_call(), input).await.unwrap_err();
    assert_eq!(error, expected);
    let pool_id = new_pool(&world).await;
    create(&world, managed(&pool_id, "other")).await.unwrap();
    let to_lite = types::UpdateUserPoolRequest {
        user_pool_id: text(&pool_id),
        user_pool_tier: text("LITE"),
        ..Default::default()
    };
    assert_eq!(update_user_pool(&world, &signed_call(), to_lite).await, Err(expected));
    // an update of other things leaves the domain as it is
    let plain = types::UpdateUserPoolRequest { user_pool_id: text(&pool_id), ..Default::default() };
    update_user_pool(&world, &signed_call(), plain).await.unwrap();
    assert_eq!(described(&world, &signed_call(), "other").await.managed_login_version, Some(2));
}

/// The limit is documented; its text is judgement and not asserted.
#[tokio::test]
async fn an_account_has_a_limit_of_domains_of_its_own() {
    let mut world = test_world().await;
    world.world.settings.limits.custom_domains_per_account = 1;
    let (first, second) = (new_pool(&world).await, new_pool(&world).await);
    create(&world, request(&first, "login.acme.example")).await.unwrap();
    let error = create(&world, request(&second, "login.other.example")).await.unwrap_err();
    assert_eq!(error.code.as_str(), "LimitExceededException");
    create(&world, request(&second, "acme")).await.expect("a prefix does not count");
    delete(&world, &signed_call(), &first, "login.acme.example").await.unwrap();
    create(&world, request(&second, "login.other.example")).await.unwrap();
}

/// The text is the service's, from reports of its answer.
#[tokio::test]
async fn a_pool_with_a_domain_is_not_deleted() {
    let world = test_world().await;
    let pool_id = new_pool(&world).await;
    create(&world, request(&pool_id, "acme")).await.unwrap();
    let input = || types::DeleteUserPoolRequest { user_pool_id: text(&pool_id) };
    let error = delete_user_pool(&world, &signed_call(), input()).await.unwrap_err();
    let text =
        "User pool cannot be deleted. It has a domain configured that should be deleted first.";
    assert_eq!(error, errors::invalid_parameter(text));
    delete(&world, &signed_call(), &pool_id, "acme").await.unwrap();
    delete_user_pool(&world, &signed_call(), input()).await.unwrap();
}

#[tokio::test]
async fn a_repetition_finishes_a_deletion_that_was_cut_short() {
    let world = test_world().await;
    let (pool_id, other) = (new_pool(&world).await, new_pool(&world).await);
    let call = signed_call();
    create(&world, request(&pool_id, "acme")).await.unwrap();
    world.store.fail_commit(2);
    delete(&world, &call, &pool_id, "acme").await.unwrap_err();
    assert_eq!(described(&world, &call, "acme").await, Default::default());
    assert!(create(&world, request(&other, "acme")).await.is_err(), "held until it is cleared");
    world.clock.advance(std::time::Duration::from_secs(121));
    delete(&world, &call, &pool_id, "acme").await.unwrap();
    create(&world, request(&other, "acme")).await.unwrap();
}

#[tokio::test]
async fn a_pool_or_domain_of_another_account_or_region_looks_like_none() {
    let world = test_world().await;
    let pool_id = new_pool(&world).await;
    create(&world, request(&pool_id, "acme")).await.unwrap();
    let gone = errors::user_pool_not_found(&pool_id);
    for call in [signed_call_of("444455556666", "us-east-1"), signed_call_of(ACCOUNT, "eu-west-1")]
    {
        assert_eq!(described(&world, &call, "acme").await, described(&world, &call, "none").await);
        for domain in ["acme", "none"] {
            let made = create_user_pool_domain(&world, &call, request(&pool_id, domain)).await;
            assert_eq!(made.unwrap_err(), gone);
            let input = types::UpdateUserPoolDomainRequest {
                user_pool_id: text(&pool_id),
                domain: text(domain),
                ..Default::default()
            };
            assert_eq!(update_user_pool_domain(&world, &call, input).await.unwrap_err(), gone);
            assert_eq!(delete(&world, &call, &pool_id, domain).await.unwrap_err(), gone);
        }
    }
    assert_eq!(described(&world, &signed_call(), "acme").await.user_pool_id, text(&pool_id));
}
