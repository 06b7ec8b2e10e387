//! Threat protection: the history of what users do, how risky it looks, and what is done about it. In a pool whose
//! AdvancedSecurityMode is AUDIT, events are judged and kept; with ENFORCED, what the risk configuration says is done as well.
//! CustomAuthMode is the mode of CUSTOM_AUTH.
//!
//! An event and the profile that it is judged by are written with what they are about, in one commit: a sign-in that counts is in the
//! history. What commits nothing (the first half of SRP, a choice, an attempt during a lock) leaves no event, because a row that is
//! written for users alone would tell who exists.
//!
//! | module | what it is for |
//! | --- | --- |
//! | [`context`] | where a request comes from |
//! | [`risk`] | how risky it is, as plain functions |
//! | [`ranges`] | exceptions by address |
//! | [`history`] | the rows of events |
//! | [`compromised`] | passwords that are known to others |
//! | [`enforcement`] | what is done about a risk |
//! | [`notification`] | what users are told of it |
//! | [`feedback`] | what they, and administrators, say of it |
//! | [`record`] | what operations call |
//!
//! Sources: developer guide, "Advanced security with threat protection"; API reference. What makes a risk is not documented by the
//! service; the rules here are ours.

mod admin_list_user_auth_events;
mod admin_update_auth_event_feedback;
pub mod compromised;
pub mod context;
pub mod enforcement;
mod feedback;
pub mod history;
mod notification;
pub mod ranges;
pub mod record;
pub mod risk;
mod update_auth_event_feedback;

#[cfg(test)]
mod enforcement_tests;
#[cfg(test)]
mod notification_tests;
#[cfg(test)]
mod tests;

pub use admin_list_user_auth_events::admin_list_user_auth_events;
pub use admin_update_auth_event_feedback::admin_update_auth_event_feedback;
pub use update_auth_event_feedback::{
    update_auth_event_feedback, update_auth_event_feedback_by_link,
};

use conclave_api::{ApiError, ExceptionName};
use conclave_store::records::PoolRecord;

use crate::auth::custom_auth;

/// What threat protection does in a flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Nothing.
    Off,
    /// Events are judged and kept.
    Audit,
    /// And something is done about them.
    Enforced,
}

/// The mode of everything but custom sign-ins.
pub fn standard_mode(pool: &PoolRecord) -> Mode {
    match pool.advanced_security_mode.as_deref() {
        None | Some("OFF") => Mode::Off,
        Some("AUDIT") => Mode::Audit,
        // what a later version calls otherwise is no less
        Some(_) => Mode::Enforced,
    }
}

/// The mode of a flow. Custom sign-ins have one of their own; without it they are kept like others, and nothing is done about them.
/// Source: API reference, `UserPoolAddOnsType` and `AdvancedSecurityAdditionalFlowsType`.
pub fn mode(pool: &PoolRecord, flow: &str) -> Mode {
    let standard = standard_mode(pool);
    match (flow == custom_auth::FLOW, pool.custom_auth_mode.as_deref()) {
        (false, _) => standard,
        (true, None) if standard == Mode::Off => Mode::Off,
        (true, None | Some("AUDIT")) => Mode::Audit,
        (true, Some(_)) => Mode::Enforced,
    }
}

/// Whether any events of this pool are judged and kept.
pub fn is_on(pool: &PoolRecord) -> bool {
    standard_mode(pool) != Mode::Off || pool.custom_auth_mode.is_some()
}

/// # Errors
/// UserPoolAddOnNotEnabledException. The text is ours.
fn check_is_on(pool: &PoolRecord) -> Result<(), ApiError> {
    if is_on(pool) {
        return Ok(());
    }
    Err(ExceptionName::UserPoolAddOnNotEnabledException
        .because("Threat protection is not enabled for the user pool."))
}
