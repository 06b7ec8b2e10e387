//! What is set is described, for a pool and for a client, and who may not see it.

use std::time::Duration;

use conclave_api::{ApiError, types};

use super::*;
use crate::{
    call::Call,
    clients::{client_not_found, delete_user_pool_client},
    errors,
    testing::{
        ACCOUNT, START_MS, new_client_with, new_pool, signed_call, signed_call_of, test_world,
    },
    world::World,
};

fn text(text: &str) -> Option<String> {
    Some(text.to_owned())
}

fn action(action: &str, notify: bool) -> Option<types::AccountTakeoverActionType> {
    Some(types::AccountTakeoverActionType { notify: Some(notify), event_action: text(action) })
}

fn whole(pool_id: &str, client_id: Option<&str>) -> types::SetRiskConfigurationRequest {
    types::SetRiskConfigurationRequest {
        user_pool_id: text(pool_id),
        client_id: client_id.map(str::to_owned),
        compromised_credentials_risk_configuration: Some(
            types::CompromisedCredentialsRiskConfigurationType {
                event_filter: vec!["SIGN_UP".to_owned()],
                actions: Some(types::CompromisedCredentialsActionsType {
                    event_action: text("BLOCK"),
                }),
            },
        ),
        account_takeover_risk_configuration: Some(types::AccountTakeoverRiskConfigurationType {
            notify_configuration: Some(types::NotifyConfigurationType {
                from: text("security@example.com"),
                reply_to: text("help@example.com"),
                source_arn: text("arn:aws:ses:us-east-1:111122223333:identity/example.com"),
                block_email: Some(types::NotifyEmailType {
                    subject: text("Blocked"),
                    html_body: text("<p>We blocked it</p>"),
                    text_body: text("We blocked it"),
                }),
                no_action_email: None,
                mfa_email: Some(types::NotifyEmailType {
                    subject: text("Who was it?"),
                    ..Default::default()
                }),
            }),
            actions: Some(types::AccountTakeoverActionsType {
                low_action: action("NO_ACTION", false),
                medium_action: None,
                high_action: action("BLOCK", true),
            }),
        }),
        risk_exception_configuration: Some(types::RiskExceptionConfigurationType {
            blocked_ip_range_list: vec!["192.0.2.0/24".to_owned()],
            skipped_ip_range_list: vec!["2001:db8::/32".to_owned()],
        }),
    }
}

fn nothing(pool_id: &str, client_id: Option<&str>) -> types::SetRiskConfigurationRequest {
    types::SetRiskConfigurationRequest {
        user_pool_id: text(pool_id),
        client_id: client_id.map(str::to_owned),
        ..Default::default()
    }
}

/// What has been set, as it has to be described.
fn expected(
    request: &types::SetRiskConfigurationRequest,
    at_ms: i64,
) -> types::RiskConfigurationType {
    types::RiskConfigurationType {
        user_pool_id: request.user_pool_id.clone(),
        client_id: request.client_id.clone(),
        compromised_credentials_risk_configuration: request
            .compromised_credentials_risk_configuration
            .clone(),
        account_takeover_risk_configuration: request.account_takeover_risk_configuration.clone(),
        risk_exception_configuration: request.risk_exception_configuration.clone(),
        last_modified_date: (at_ms != 0).then_some(at_ms),
    }
}

async fn set(
    world: &World,
    call: &Call,
    request: types::SetRiskConfigurationRequest,
) -> Result<types::RiskConfigurationType, ApiError> {
    let answer = set_risk_configuration(world, call, request).await?;
    Ok(answer.risk_configuration.unwrap())
}

async fn described(
    world: &World,
    call: &Call,
    pool_id: &str,
    client_id: Option<&str>,
) -> Result<types::RiskConfigurationType, ApiError> {
    let input = types::DescribeRiskConfigurationRequest {
        user_pool_id: text(pool_id),
        client_id: client_id.map(str::to_owned),
    };
    Ok(describe_risk_configuration(world, call, input).await?.risk_configuration.unwrap())
}

#[tokio::test]
async fn what_is_set_is_described_for_the_pool_and_for_each_client() {
    let world = test_world().await;
    let pool_id = new_pool(&world).await;
    let client_id = new_client_with(&world, &pool_id, Default::default()).await.client_id.unwrap();
    let (call, client) = (signed_call(), Some(client_id.as_str()));
    for id in [None, client] {
        let got = described(&world, &call, &pool_id, id).await.unwrap();
        assert_eq!(got, expected(&nothing(&pool_id, id), 0));
    }
    let request = whole(&pool_id, None);
    let made = set(&world, &call, request.clone()).await.unwrap();
    assert_eq!(made, expected(&request, START_MS));
    assert_eq!(described(&world, &call, &pool_id, None).await.unwrap(), made);
    // the client has none of its own yet
    let got = described(&world, &call, &pool_id, client).await.unwrap();
    assert_eq!(got, expected(&nothing(&pool_id, client), 0));
    world.clock.advance(Duration::from_secs(1));
    let of_client = types::SetRiskConfigurationRequest {
        compromised_credentials_risk_configuration: None,
        ..whole(&pool_id, client)
    };
    let got = set(&world, &call, of_client.clone()).await.unwrap();
    assert_eq!(got, expected(&of_client, START_MS + 1_000));
    assert_eq!(described(&world, &call, &pool_id, None).await.unwrap(), made);
    // ids alone take it back
    for id in [client, None] {
        set(&world, &call, nothing(&pool_id, id)).await.unwrap();
        let got = described(&world, &call, &pool_id, id).await.unwrap();
        assert_eq!(got, expected(&nothing(&pool_id, id), 0));
    }
}

#[tokio::test]
async fn a_filter_that_is_left_out_is_every_event() {
    let world = test_world().await;
    let pool_id = new_pool(&world).await;
    let mut request = whole(&pool_id, None);
    request.compromised_credentials_risk_configuration.as_mut().unwrap().event_filter.clear();
    let got = set(&world, &signed_call(), request).await.unwrap();
    let filter = got.compromised_credentials_risk_configuration.unwrap().event_filter;
    assert_eq!(filter, ["SIGN_IN", "PASSWORD_CHANGE", "SIGN_UP"]);
}

/// Both texts are judgement.
#[tokio::test]
async fn what_does_not_fit_together_is_refused() {
    let world = test_world().await;
    let pool_id = new_pool(&world).await;
    let refused = async |request| set(&world, &signed_call(), request).await.unwrap_err();
    let mut request = whole(&pool_id, None);
    request.account_takeover_risk_configuration.as_mut().unwrap().notify_configuration = None;
    let text = "NotifyConfiguration is required when an action has Notify set to true.";
    assert_eq!(refused(request.clone()).await, errors::invalid_parameter(text));
    let takeover = request.account_takeover_risk_configuration.as_mut().unwrap();
    takeover.actions.as_mut().unwrap().high_action = action("BLOCK", false);
    assert!(set(&world, &signed_call(), request.clone()).await.is_ok());
    let exceptions = request.risk_exception_configuration.as_mut().unwrap();
    exceptions.skipped_ip_range_list.push("192.0.2.1".to_owned());
    let text = "192.0.2.1 is not an IP address range in CIDR notation.";
    assert_eq!(refused(request).await, errors::invalid_parameter(text));
    let mut request = whole(&pool_id, None);
    let takeover = request.account_takeover_risk_configuration.as_mut().unwrap();
    let email = takeover.notify_configuration.as_mut().unwrap().block_email.as_mut().unwrap();
    email.html_body = Some("é".repeat(140_000));
    let text = "A risk configuration can have 262144 bytes.";
    assert_eq!(refused(request).await, errors::invalid_parameter(text));
}

fn notify(request: &mut types::SetRiskConfigurationRequest) -> &mut types::NotifyConfigurationType {
    let takeover = request.account_takeover_risk_configuration.as_mut().unwrap();
    takeover.notify_configuration.as_mut().unwrap()
}

#[tokio::test]
async fn who_sends_is_of_the_identity() {
    let world = test_world().await;
    let pool_id = new_pool(&world).await;
    let mut request = whole(&pool_id, None);
    notify(&mut request).from = text("a@example.net");
    let refused = set(&world, &signed_call(), request.clone()).await.unwrap_err();
    assert!(refused.message.ends_with("failed the check: a@example.net"), "{refused:?}");
    // then the messages are from whom the pool's others are from
    notify(&mut request).from = None;
    set(&world, &signed_call(), request.clone()).await.unwrap();
    notify(&mut request).reply_to = text("nobody");
    let refused = set(&world, &signed_call(), request).await.unwrap_err();
    assert_eq!(refused, errors::invalid_parameter("Invalid email address format."));
}

#[tokio::test]
async fn a_client_takes_its_configuration_with_it() {
    let world = test_world().await;
    let pool_id = new_pool(&world).await;
    let client_id = new_client_with(&world, &pool_id, Default::default()).await.client_id.unwrap();
    let client = Some(client_id.as_str());
    set(&world, &signed_call(), whole(&pool_id, client)).await.unwrap();
    let input = types::DeleteUserPoolClientRequest {
        user_pool_id: text(&pool_id),
        client_id: text(&client_id),
    };
    delete_user_pool_client(&world, &signed_call(), input).await.unwrap();
    let row = conclave_store::keys::risk_configuration(&client_id);
    let read = conclave_store::proto::Read {
        scope: pool_id.clone(),
        gets: vec![row.into()],
        ..Default::default()
    };
    let rows = crate::tx::read(&world, read).await.unwrap().rows;
    assert!(rows[0].value.is_none());
}

/// `ALL` is a client of SetUICustomization only.
#[tokio::test]
async fn only_clients_of_the_pool_have_one() {
    let world = test_world().await;
    let (pool_id, other) = (new_pool(&world).await, new_pool(&world).await);
    let foreign = new_client_with(&world, &other, Default::default()).await.client_id.unwrap();
    for id in [foreign.as_str(), "unknown", "ALL"] {
        let refused = set(&world, &signed_call(), whole(&pool_id, Some(id))).await.unwrap_err();
        assert_eq!(refused, client_not_found());
        let refused = described(&world, &signed_call(), &pool_id, Some(id)).await.unwrap_err();
        assert_eq!(refused, client_not_found());
    }
}

#[tokio::test]
async fn a_pool_of_another_account_or_region_looks_like_none() {
    let world = test_world().await;
    let pool_id = new_pool(&world).await;
    let gone = errors::user_pool_not_found(&pool_id);
    for call in [signed_call_of("444455556666", "us-east-1"), signed_call_of(ACCOUNT, "eu-west-1")]
    {
        assert_eq!(set(&world, &call, whole(&pool_id, None)).await.unwrap_err(), gone);
        assert_eq!(described(&world, &call, &pool_id, None).await.unwrap_err(), gone);
    }
}
