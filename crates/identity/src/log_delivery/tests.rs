//! What is set is described, which events go where, and who may not see it.

use conclave_api::{ApiError, ExceptionName, types};

use super::*;
use crate::{
    call::Call,
    errors,
    pools::update_user_pool,
    testing::{ACCOUNT, new_pool, new_pool_with, signed_call, signed_call_of, test_world},
    world::World,
};

const LOG_GROUP: &str = "arn:aws:logs:us-east-1:111122223333:log-group:messages";
const BUCKET: &str = "arn:aws:s3:::activity";
const STREAM: &str = "arn:aws:firehose:us-east-1:111122223333:deliverystream/activity";

fn text(text: &str) -> Option<String> {
    Some(text.to_owned())
}

/// One configuration with its destinations.
fn log(source: &str, level: &str, destinations: &[&str]) -> types::LogConfigurationType {
    let to = |wanted: &str| destinations.iter().find(|arn| arn.starts_with(wanted)).copied();
    types::LogConfigurationType {
        log_level: text(level),
        event_source: text(source),
        cloud_watch_logs_configuration: to("arn:aws:logs")
            .map(|arn| types::CloudWatchLogsConfigurationType { log_group_arn: text(arn) }),
        s3_configuration: to("arn:aws:s3")
            .map(|arn| types::S3ConfigurationType { bucket_arn: text(arn) }),
        firehose_configuration: to("arn:aws:firehose")
            .map(|arn| types::FirehoseConfigurationType { stream_arn: text(arn) }),
    }
}

async fn set(
    world: &World,
    call: &Call,
    pool_id: &str,
    items: Vec<types::LogConfigurationType>,
) -> Result<types::LogDeliveryConfigurationType, ApiError> {
    let input = types::SetLogDeliveryConfigurationRequest {
        user_pool_id: text(pool_id),
        log_configurations: Some(types::LogConfigurationTypeList { items }),
    };
    let answer = set_log_delivery_configuration(world, call, input).await?;
    Ok(answer.log_delivery_configuration.unwrap())
}

async fn got(
    world: &World,
    call: &Call,
    pool_id: &str,
) -> Result<types::LogDeliveryConfigurationType, ApiError> {
    let input = types::GetLogDeliveryConfigurationRequest { user_pool_id: text(pool_id) };
    let answer = get_log_delivery_configuration(world, call, input).await?;
    Ok(answer.log_delivery_configuration.unwrap())
}

async fn plus_pool(world: &World) -> String {
    let request =
        types::CreateUserPoolRequest { user_pool_tier: text("PLUS"), ..Default::default() };
    new_pool_with(world, request).await
}

#[tokio::test]
async fn what_is_set_is_described_and_an_empty_list_ends_it() {
    let world = test_world().await;
    let pool_id = plus_pool(&world).await;
    let call = signed_call();
    let expected = |log_configurations: Vec<_>| types::LogDeliveryConfigurationType {
        user_pool_id: text(&pool_id),
        log_configurations,
    };
    assert_eq!(got(&world, &call, &pool_id).await.unwrap(), expected(Vec::new()));
    let messages = log("userNotification", "ERROR", &[LOG_GROUP]);
    for destination in [LOG_GROUP, BUCKET, STREAM] {
        let items = vec![messages.clone(), log("userAuthEvents", "INFO", &[destination])];
        let answer = set(&world, &call, &pool_id, items.clone()).await.unwrap();
        assert_eq!(answer, expected(items));
        assert_eq!(got(&world, &call, &pool_id).await.unwrap(), answer);
    }
    // an update of the pool leaves it
    let input = types::UpdateUserPoolRequest { user_pool_id: text(&pool_id), ..Default::default() };
    update_user_pool(&world, &call, input).await.unwrap();
    assert_eq!(got(&world, &call, &pool_id).await.unwrap().log_configurations.len(), 2);
    set(&world, &call, &pool_id, Vec::new()).await.unwrap();
    assert_eq!(got(&world, &call, &pool_id).await.unwrap(), expected(Vec::new()));
}

/// The rules are those of the API reference; the texts are judgement.
#[tokio::test]
async fn each_source_has_its_level_and_its_destinations() {
    let world = test_world().await;
    let pool_id = plus_pool(&world).await;
    let messages = log("userNotification", "ERROR", &[LOG_GROUP]);
    for (items, text) in [
        (
            vec![log("userNotification", "INFO", &[LOG_GROUP])],
            "The log level of the event source userNotification must be ERROR.",
        ),
        (
            vec![log("userAuthEvents", "ERROR", &[LOG_GROUP])],
            "The log level of the event source userAuthEvents must be INFO.",
        ),
        (
            vec![log("userNotification", "ERROR", &[BUCKET])],
            "The event source userNotification can only be logged to CloudWatch Logs.",
        ),
        (
            vec![log("userAuthEvents", "INFO", &[])],
            "The event source userAuthEvents must have one destination.",
        ),
        (
            vec![log("userAuthEvents", "INFO", &[BUCKET, STREAM])],
            "The event source userAuthEvents must have one destination.",
        ),
        (
            vec![messages.clone(), messages],
            "There is more than one log configuration for the event source userNotification.",
        ),
    ] {
        let refused = set(&world, &signed_call(), &pool_id, items).await.unwrap_err();
        assert_eq!(refused, errors::invalid_parameter(text));
    }
}

#[tokio::test]
async fn the_log_of_threat_protection_belongs_to_the_plus_plan() {
    let world = test_world().await;
    let (pool_id, plus) = (new_pool(&world).await, plus_pool(&world).await);
    let items = vec![log("userAuthEvents", "INFO", &[BUCKET])];
    let refused = set(&world, &signed_call(), &pool_id, items.clone()).await.unwrap_err();
    assert_eq!(refused.code, ExceptionName::FeatureUnavailableInTierException);
    assert_eq!(
        refused.message,
        "The following features need to be disabled for the ESSENTIALS pricing tier configured: \
         User Activity Logging"
    );
    set(&world, &signed_call(), &plus, items).await.unwrap();
    // and keeps the pool in that plan
    let input = types::UpdateUserPoolRequest {
        user_pool_id: text(&plus),
        user_pool_tier: text("LITE"),
        ..Default::default()
    };
    let refused = update_user_pool(&world, &signed_call(), input).await.unwrap_err();
    assert_eq!(refused.code, ExceptionName::FeatureUnavailableInTierException);
}

#[tokio::test]
async fn a_pool_of_another_account_or_region_looks_like_none() {
    let world = test_world().await;
    let pool_id = new_pool(&world).await;
    let gone = errors::user_pool_not_found(&pool_id);
    for call in [signed_call_of("444455556666", "us-east-1"), signed_call_of(ACCOUNT, "eu-west-1")]
    {
        assert_eq!(set(&world, &call, &pool_id, Vec::new()).await.unwrap_err(), gone);
        assert_eq!(got(&world, &call, &pool_id).await.unwrap_err(), gone);
    }
}
