//! Threat protection: the history of what users do, and how risky it looks. In a pool whose AdvancedSecurityMode is AUDIT, events are
//! judged and kept, and nothing is done about them; ENFORCED is refused until there is something that it would do.
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
//! | [`record`] | what operations call |
//!
//! Sources: developer guide, "Advanced security with threat protection"; API reference. What makes a risk is not documented by the
//! service; the rules here are ours.

mod admin_list_user_auth_events;
mod admin_update_auth_event_feedback;
pub mod context;
pub mod history;
pub mod ranges;
pub mod record;
pub mod risk;

#[cfg(test)]
mod tests;

pub use admin_list_user_auth_events::admin_list_user_auth_events;
pub use admin_update_auth_event_feedback::admin_update_auth_event_feedback;

use conclave_api::{ApiError, ExceptionName};
use conclave_store::records::PoolRecord;

/// Whether events of this pool are judged and kept.
pub fn is_on(pool: &PoolRecord) -> bool {
    pool.advanced_security_mode.as_deref().is_some_and(|mode| mode != "OFF")
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
