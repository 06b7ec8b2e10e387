//! Changes of a user's attributes: what may be changed, and what a change means for the flags that say
//! which addresses are verified.
//! Sources: developer guide, "Working with user attributes"; API reference, UpdateUserAttributes,
//! AdminUpdateUserAttributes. The texts about single attributes, with the line's end, are Cognito's.

use std::collections::BTreeMap;

use conclave_api::{ApiError, types::AttributeType};
use conclave_store::records::UserRecord;

use super::{
    attributes::{self, VERIFIED_FLAGS, Values},
    username,
};
use crate::{config::PoolConfig, errors, pools::schema};

/// New values by name; none takes the attribute away.
pub type Changes = BTreeMap<String, Option<String>>;

/// The changes of a request. Of a name that is given twice the last value counts, and an empty value
/// takes the attribute away.
///
/// # Errors
/// InvalidParameterException for a name without a value.
pub fn collect(given: &[AttributeType]) -> Result<Changes, ApiError> {
    let mut changes: Changes =
        given.iter().filter_map(|attribute| Some((attribute.name.clone()?, None))).collect();
    for (name, value) in attributes::collect(given)? {
        changes.insert(name, Some(value));
    }
    Ok(changes)
}

/// Takes all of these away.
pub fn removals(names: &[String]) -> Changes {
    names.iter().map(|name| (name.clone(), None)).collect()
}

/// The values that are set.
pub fn values(changes: &Changes) -> Values {
    let set = changes.iter().filter_map(|(name, value)| Some((name.clone(), value.clone()?)));
    set.collect()
}

/// The user after the changes. An address that is new counts as unverified unless the changes say
/// otherwise.
///
/// # Errors
/// InvalidParameterException for what the pool's schema does not have, does not let change, or does
/// not let be without.
pub fn apply(
    config: &PoolConfig,
    user: &UserRecord,
    changes: &Changes,
    now_ms: i64,
) -> Result<UserRecord, ApiError> {
    for name in changes.keys() {
        let attribute = schema::find(&config.record, name).ok_or_else(|| {
            errors::invalid_parameter(format!(
                "user.{name}: Attribute does not exist in the schema.\n"
            ))
        })?;
        if !attribute.mutable {
            return Err(errors::invalid_parameter(format!(
                "user.{name}: Attribute cannot be updated.\n"
            )));
        }
    }
    attributes::check_removable(&config.record, |name| changes.get(name) == Some(&None))?;
    let mut values = values(changes);
    attributes::check_schema(&config.record, &mut values, false)?;
    username::check_preferred(config, &values)?;

    let mut changed = user.clone();
    for name in changes.keys() {
        match values.get(name) {
            Some(value) => attributes::set(&mut changed, name, value),
            None => attributes::remove(&mut changed, name),
        }
    }
    for (attribute, flag) in VERIFIED_FLAGS {
        let address = attributes::value(&changed, attribute);
        if address.is_none() {
            if values.contains_key(flag) {
                return Err(nothing_to_verify(attribute));
            }
            attributes::remove(&mut changed, flag);
        } else if address != attributes::value(user, attribute) && !values.contains_key(flag) {
            attributes::set(&mut changed, flag, "false");
        }
    }
    changed.modified_ms = now_ms;
    Ok(changed)
}

/// A flag says something of an address, and there is none.
fn nothing_to_verify(attribute: &str) -> ApiError {
    errors::invalid_parameter(match attribute {
        "email" => "Email is required to verify/un-verify an email",
        _ => "Phone Number is required to verify/un-verify a phone number",
    })
}
