//! Log delivery: which events of a pool are logged, and where to.
//!
//! There is no CloudWatch here: logs go where the operator has configured, as structured lines, and the name of the destination goes with
//! them, so that they can be sorted. `userNotification` logs messages to users that could not be delivered. `userAuthEvents` is the log of
//! threat protection: as in Cognito it is silent while the pool's AdvancedSecurityMode is off. Its lines say what made the risk of an event.

mod get_log_delivery_configuration;
mod set_log_delivery_configuration;
mod settings;

pub use get_log_delivery_configuration::get_log_delivery_configuration;
pub use set_log_delivery_configuration::set_log_delivery_configuration;
pub(crate) use settings::check_tier;

use conclave_api::types;
use conclave_store::records::PoolRecord;
use tracing::Span;

const USER_NOTIFICATION: &str = "userNotification";
const USER_AUTH_EVENTS: &str = "userAuthEvents";

/// What the lines about a message to a user of this pool are written in: nothing, unless the pool logs what becomes of messages.
pub(crate) fn notification_span(pool: &PoolRecord) -> Span {
    let mut configurations = pool.log_configurations.iter();
    let found = configurations.find(|found| found.event_source == USER_NOTIFICATION);
    match found.and_then(|found| found.log_group_arn.as_deref()) {
        Some(log_group) => {
            let user_pool_id = pool.pool_id.as_str();
            // a span of its own: the request does not wait for the queue
            tracing::error_span!(parent: None, "user_notification", user_pool_id, log_group)
        }
        None => Span::none(),
    }
}

/// What the line about an event of threat protection is written in; `None` where the pool logs none.
pub(crate) fn auth_event_span(pool: &PoolRecord) -> Option<Span> {
    let mut configurations = pool.log_configurations.iter();
    let found = configurations.find(|found| found.event_source == USER_AUTH_EVENTS)?;
    let arns = [&found.log_group_arn, &found.bucket_arn, &found.stream_arn];
    let destination = arns.into_iter().flatten().next()?.as_str();
    let user_pool_id = pool.pool_id.as_str();
    Some(tracing::info_span!(parent: None, "user_auth_event", user_pool_id, destination))
}

fn describe(pool: &PoolRecord) -> types::LogDeliveryConfigurationType {
    types::LogDeliveryConfigurationType {
        user_pool_id: Some(pool.pool_id.clone()),
        log_configurations: pool.log_configurations.iter().map(settings::describe).collect(),
    }
}

#[cfg(test)]
mod tests;
