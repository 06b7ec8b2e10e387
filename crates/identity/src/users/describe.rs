//! A user as signed operations show it.

use conclave_api::types::{AttributeType, UserType};
use conclave_store::records::UserRecord;

use super::{attributes, mfa_preference};

/// A user with all attributes.
pub fn user_type(user: &UserRecord) -> UserType {
    with_attributes(user, attributes::described(user))
}

/// A user with these of its attributes.
pub fn with_attributes(user: &UserRecord, attributes: Vec<AttributeType>) -> UserType {
    UserType {
        username: Some(user.username.clone()),
        attributes,
        user_create_date: Some(user.created_ms),
        user_last_modified_date: Some(user.modified_ms),
        enabled: Some(user.enabled),
        user_status: Some(user.status.clone()),
        mfa_options: mfa_preference::options(user),
    }
}
