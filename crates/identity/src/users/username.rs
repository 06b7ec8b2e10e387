//! User names: which forms a pool takes, and what becomes of them.
//! Source: developer guide, "Customizing sign-in attributes".

use conclave_api::ApiError;
use conclave_store::{
    keys::{self, IndexedAttribute},
    records::UserRecord,
};

use super::{
    attributes::Values,
    contact::{is_email, is_phone_number},
    lookup,
};
use crate::{config::PoolConfig, errors, tx::Tx};

/// The longest preferred user name where it is an alias, in characters: that of a user name.
const ALIAS_CHARS_MAX: usize = 128;

/// The stored name of a new user who is called `given`. In a pool that signs in by attributes that is
/// the sub, and `given` becomes the attribute.
///
/// # Errors
/// InvalidParameterException when the pool does not take a name of this form.
pub fn of_new_user(
    config: &PoolConfig,
    given: &str,
    sub: &str,
    values: &mut Values,
) -> Result<String, ApiError> {
    if config.record.username_attributes.is_empty() {
        check_not_alias_like(config, given)?;
        return Ok(lookup::folded(config, given));
    }
    let attribute = attribute_of(config, given)?;
    match values.get(attribute) {
        Some(value) if lookup::folded(config, value) != lookup::folded(config, given) => {
            return Err(errors::invalid_parameter(format!(
                "The {attribute} attribute must be the same as the username."
            )));
        }
        Some(_) => {}
        None => {
            values.insert(attribute.to_owned(), given.to_owned());
        }
    }
    Ok(sub.to_owned())
}

/// The attribute that a name is in a pool that signs in by attributes.
fn attribute_of(config: &PoolConfig, given: &str) -> Result<&'static str, ApiError> {
    let takes = |name: &str| config.record.username_attributes.iter().any(|taken| taken == name);
    let (email, phone) = (takes("email"), takes("phone_number"));
    if email && is_email(given) {
        return Ok("email");
    }
    if phone && is_phone_number(given) {
        return Ok("phone_number");
    }
    Err(errors::invalid_parameter(match (email, phone) {
        (true, false) => "Username should be an email.",
        (false, true) => "Username should be a phone number.",
        _ => "Username should be either an email or a phone number.",
    }))
}

/// A name must not look like an alias that others can sign in by.
fn check_not_alias_like(config: &PoolConfig, name: &str) -> Result<(), ApiError> {
    if config.signs_in_by("email") && is_email(name) {
        return Err(errors::invalid_parameter(
            "Username cannot be of email format, since user pool is configured for email alias.",
        ));
    }
    if config.signs_in_by("phone_number") && is_phone_number(name) {
        return Err(errors::invalid_parameter(
            "Username cannot be of phone number format, since user pool is configured for phone \
             number alias.",
        ));
    }
    Ok(())
}

/// Checks a preferred user name that users sign in by.
///
/// # Errors
/// InvalidParameterException.
pub fn check_preferred(config: &PoolConfig, values: &Values) -> Result<(), ApiError> {
    let Some(preferred) = values.get("preferred_username") else { return Ok(()) };
    if !config.signs_in_by("preferred_username") {
        return Ok(());
    }
    if preferred.chars().count() > ALIAS_CHARS_MAX {
        return Err(errors::invalid_parameter(
            "Attributes did not conform to the schema: preferredUsername: String must be no longer \
             than 128 characters",
        ));
    }
    check_not_alias_like(config, preferred)
}

/// Whether the name of a new user leads to another one. The commit fails when that changes.
pub fn is_taken(tx: &mut Tx<'_>, pool: &PoolConfig, user: &UserRecord) -> bool {
    let folded = lookup::folded(pool, &user.username);
    if tx.get_text(&keys::username(&folded)).is_some() {
        return true;
    }
    if !pool.signs_in_by("preferred_username") {
        return false;
    }
    let key = keys::alias(IndexedAttribute::PreferredUsername, &folded);
    tx.rely_on(&key);
    tx.get_text(&key).is_some()
}
