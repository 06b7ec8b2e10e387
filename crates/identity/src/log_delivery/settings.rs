//! From a request to the records of log configurations and back. Limits of single members are checked before.
//!
//! Source: API reference, `LogConfigurationType`, which says what goes with what; the texts are judgement.

use std::collections::HashSet;

use conclave_api::{ApiError, ExceptionName, types};
use conclave_store::records::{LogConfiguration, PoolRecord};

use super::{USER_AUTH_EVENTS, USER_NOTIFICATION};
use crate::errors;

const PLUS: &str = "PLUS";

/// The records of a pool's log configurations.
///
/// # Errors
/// InvalidParameterException for an event source that is there twice, for a level or a destination that is not its own, and for none or
/// more than one.
pub(super) fn records(
    given: &[types::LogConfigurationType],
) -> Result<Vec<LogConfiguration>, ApiError> {
    let mut sources = HashSet::new();
    let mut records = Vec::with_capacity(given.len());
    for given in given {
        let record = record(given)?;
        if !sources.insert(record.event_source.clone()) {
            return Err(errors::invalid_parameter(format!(
                "There is more than one log configuration for the event source {}.",
                record.event_source
            )));
        }
        records.push(record);
    }
    Ok(records)
}

fn record(given: &types::LogConfigurationType) -> Result<LogConfiguration, ApiError> {
    let record = LogConfiguration {
        event_source: given.event_source.clone().unwrap_or_default(),
        log_level: given.log_level.clone().unwrap_or_default(),
        log_group_arn: given
            .cloud_watch_logs_configuration
            .as_ref()
            .and_then(|destination| destination.log_group_arn.clone()),
        bucket_arn: given
            .s3_configuration
            .as_ref()
            .and_then(|destination| destination.bucket_arn.clone()),
        stream_arn: given
            .firehose_configuration
            .as_ref()
            .and_then(|destination| destination.stream_arn.clone()),
    };
    let level = if record.event_source == USER_NOTIFICATION { "ERROR" } else { "INFO" };
    if record.log_level != level {
        return Err(errors::invalid_parameter(format!(
            "The log level of the event source {} must be {level}.",
            record.event_source
        )));
    }
    let destinations = [&record.log_group_arn, &record.bucket_arn, &record.stream_arn];
    if destinations.into_iter().flatten().count() != 1 {
        return Err(errors::invalid_parameter(format!(
            "The event source {} must have one destination.",
            record.event_source
        )));
    }
    if record.event_source == USER_NOTIFICATION && record.log_group_arn.is_none() {
        return Err(errors::invalid_parameter(
            "The event source userNotification can only be logged to CloudWatch Logs.",
        ));
    }
    Ok(record)
}

/// The log of threat protection belongs to the PLUS plan: API reference, `LogConfigurationType`. The text is the service's, from reports
/// of its answer for other features; the name of this one is judgement.
///
/// # Errors
/// FeatureUnavailableInTierException.
pub(crate) fn check_tier(tier: &str, pool: &PoolRecord) -> Result<(), ApiError> {
    let mut sources = pool.log_configurations.iter().map(|found| found.event_source.as_str());
    if tier == PLUS || !sources.any(|source| source == USER_AUTH_EVENTS) {
        return Ok(());
    }
    Err(ApiError::new(
        ExceptionName::FeatureUnavailableInTierException,
        format!(
            "The following features need to be disabled for the {tier} pricing tier configured: User Activity Logging"
        ),
    ))
}

/// A configuration as it is answered.
pub(super) fn describe(record: &LogConfiguration) -> types::LogConfigurationType {
    types::LogConfigurationType {
        log_level: Some(record.log_level.clone()),
        event_source: Some(record.event_source.clone()),
        cloud_watch_logs_configuration: record
            .log_group_arn
            .as_ref()
            .map(|arn| types::CloudWatchLogsConfigurationType { log_group_arn: Some(arn.clone()) }),
        s3_configuration: record
            .bucket_arn
            .as_ref()
            .map(|arn| types::S3ConfigurationType { bucket_arn: Some(arn.clone()) }),
        firehose_configuration: record
            .stream_arn
            .as_ref()
            .map(|arn| types::FirehoseConfigurationType { stream_arn: Some(arn.clone()) }),
    }
}
