//! Attributes of users: what may be written, and in which order they are described.
//! Sources: developer guide, "Working with user attributes"; the texts are Cognito's.

use std::collections::BTreeMap;

use conclave_api::{ApiError, types::AttributeType};
use conclave_store::records::{Attribute, PoolRecord, SchemaAttribute, UserRecord};

use super::{contact, links};
use crate::{
    config::ClientConfig,
    errors,
    pools::schema::{self, DataType},
};

/// Attributes as a request gives them: each name once, none without a value.
pub type Values = BTreeMap<String, String>;

/// The attributes that say whether another one has been verified, and that other one.
pub const VERIFIED_FLAGS: [(&str, &str); 2] =
    [("email", "email_verified"), ("phone_number", "phone_number_verified")];

/// What nobody sets but the service itself.
const SUB: &str = "sub";
/// Links to identity providers: set by the operations that make such links.
pub const IDENTITIES: &str = "identities";

/// Names of standard attributes in texts about the schema, where they differ.
const SCHEMA_NAMES: [(&str, &str); 9] = [
    ("email", "emails"),
    ("phone_number", "phoneNumbers"),
    ("name", "name.formatted"),
    ("given_name", "name.givenName"),
    ("family_name", "name.familyName"),
    ("middle_name", "name.middleName"),
    ("nickname", "nickName"),
    ("address", "addresses"),
    ("preferred_username", "preferredUsername"),
];

/// The order in which attributes are described; custom ones follow by name, and `sub` is last.
const DESCRIBED_ORDER: [&str; 19] = [
    "email",
    "email_verified",
    "phone_number",
    "phone_number_verified",
    "name",
    "family_name",
    "given_name",
    "middle_name",
    "nickname",
    "preferred_username",
    "profile",
    "picture",
    "website",
    "gender",
    "birthdate",
    "zoneinfo",
    "locale",
    "address",
    "updated_at",
];

/// The order in which the schema validator goes through standard attributes.
const VALIDATED_ORDER: [&str; 20] = [
    "profile",
    "address",
    "birthdate",
    "gender",
    "preferred_username",
    "updated_at",
    "website",
    "picture",
    "sub",
    "email_verified",
    "phone_number_verified",
    "phone_number",
    "zoneinfo",
    "locale",
    "email",
    "given_name",
    "family_name",
    "middle_name",
    "name",
    "nickname",
];

/// Who writes attributes.
#[derive(Clone, Copy)]
pub enum Writer<'a> {
    /// An app, on behalf of its user.
    Client(&'a ClientConfig),
    /// An administrator.
    Admin,
}

/// The attributes of a request. Of a name that is given twice the last value counts, and an empty
/// value counts as none.
///
/// # Errors
/// InvalidParameterException for a name without a value.
pub fn collect(given: &[AttributeType]) -> Result<Values, ApiError> {
    let mut values = Values::new();
    for attribute in given {
        let name = attribute.name.as_deref().unwrap_or_default();
        let Some(value) = &attribute.value else {
            return Err(errors::invalid_parameter(format!(
                "Attribute value for {name} must not be null"
            )));
        };
        if value.is_empty() {
            values.remove(name);
        } else {
            values.insert(name.to_owned(), value.clone());
        }
    }
    Ok(values)
}

/// Checks that `writer` may write these attributes at all, whatever their values: they are given their
/// first value, or a client changes or removes them.
///
/// # Errors
/// InvalidParameterException for what only the service sets; NotAuthorizedException for what the app
/// client may not write.
pub fn check_permission<'n>(
    writer: Writer<'_>,
    names: impl Iterator<Item = &'n String> + Clone,
) -> Result<(), ApiError> {
    for name in names.clone() {
        let reserved = match writer {
            Writer::Client(_) => *name == SUB || is_verified_flag(name),
            Writer::Admin => *name == SUB,
        };
        if reserved {
            return Err(errors::invalid_parameter(format!(
                "Cannot modify the non-mutable attribute {name}"
            )));
        }
    }
    let Writer::Client(client) = writer else { return Ok(()) };
    if names.into_iter().all(|name| is_writable(client, name)) {
        return Ok(());
    }
    Err(ApiError::not_authorized("A client attempted to write unauthorized attribute"))
}

/// Whether apps may write `name` through `client`. Without WriteAttributes that is everything but what
/// is reserved. Source: developer guide, "Attribute permissions and scopes".
pub fn is_writable(client: &ClientConfig, name: &str) -> bool {
    let listed = &client.record.write_attributes;
    !is_developer_only(name)
        && !is_verified_flag(name)
        && name != SUB
        && name != IDENTITIES
        && (listed.is_empty() || listed.iter().any(|writable| writable == name))
}

/// Whether apps may read `name` through `client`. Without ReadAttributes that is everything but what is
/// for developers only; `sub` always.
pub fn is_readable(client: &ClientConfig, name: &str) -> bool {
    let listed = &client.record.read_attributes;
    name == SUB
        || (!is_developer_only(name)
            && (listed.is_empty() || listed.iter().any(|readable| readable == name)))
}

/// Checks values of attributes against the schema, and brings the values of flags into their stored
/// form. Required attributes are asked of those who sign up, not of administrators.
///
/// # Errors
/// InvalidParameterException.
pub fn check_schema(
    record: &PoolRecord,
    values: &mut Values,
    required: bool,
) -> Result<(), ApiError> {
    if values.get("email").is_some_and(|email| !contact::is_email(email)) {
        return Err(errors::invalid_parameter("Invalid email address format."));
    }
    if values.get("phone_number").is_some_and(|phone| !contact::is_phone_number(phone)) {
        return Err(errors::invalid_parameter("Invalid phone number format."));
    }
    let mut violations = Vec::new();
    if required {
        violations.extend(missing(record, |name| !values.contains_key(name)));
    }
    for (name, value) in values.iter_mut() {
        match schema::find(record, name) {
            None => {
                violations.push(format!("Type for attribute {{{name}}} could not be determined"))
            }
            Some(attribute) => violations.extend(check_value(attribute, value)),
        }
    }
    conforms(&violations)
}

/// Checks that no required attribute is among those that a user loses.
///
/// # Errors
/// InvalidParameterException.
pub fn check_removable(
    record: &PoolRecord,
    is_removed: impl Fn(&str) -> bool,
) -> Result<(), ApiError> {
    conforms(&missing(record, is_removed))
}

fn missing(record: &PoolRecord, is_missing: impl Fn(&str) -> bool) -> Vec<String> {
    let required = in_validated_order(record).into_iter();
    let missing = required.filter(|attribute| is_missing(&attribute.name)).map(|attribute| {
        let name = schema_name(&attribute.name);
        format!("{name}: The attribute {name} is required")
    });
    missing.collect()
}

fn conforms(violations: &[String]) -> Result<(), ApiError> {
    if violations.is_empty() {
        return Ok(());
    }
    Err(errors::invalid_parameter(format!(
        "Attributes did not conform to the schema: {}",
        violations.join(", ")
    )))
}

/// The required attributes that the user has no value for.
pub fn missing_required<'a>(record: &'a PoolRecord, user: &UserRecord) -> Vec<&'a str> {
    in_validated_order(record)
        .into_iter()
        .map(|attribute| attribute.name.as_str())
        .filter(|name| value(user, name).is_none())
        .collect()
}

fn in_validated_order(record: &PoolRecord) -> Vec<&SchemaAttribute> {
    let position = |name: &str| VALIDATED_ORDER.iter().position(|standard| *standard == name);
    let mut required: Vec<_> = schema::required(record).collect();
    required.sort_by_key(|attribute| position(&attribute.name).unwrap_or(VALIDATED_ORDER.len()));
    required
}

fn schema_name(name: &str) -> &str {
    SCHEMA_NAMES.iter().find(|(plain, _)| *plain == name).map_or(name, |(_, schema)| schema)
}

/// What is wrong with a value, in the words of the schema validator. A flag gets its stored form.
fn check_value(attribute: &SchemaAttribute, value: &mut String) -> Option<String> {
    let name = schema_name(&attribute.name);
    match schema::data_type(attribute) {
        DataType::Boolean => {
            let lower = value.to_lowercase();
            if lower != "true" && lower != "false" {
                return Some(format!("{name}: Attribute must be a boolean"));
            }
            *value = lower;
            None
        }
        DataType::Number => {
            let Ok(number) = value.parse::<i128>() else {
                return Some(format!("{name}: Attribute must be a number"));
            };
            match schema::values(attribute) {
                (Some(min), _) if number < min => {
                    Some(format!("{name}: Number must be greater than or equal to {min}"))
                }
                (_, Some(max)) if number > max => {
                    Some(format!("{name}: Number must be less than or equal to {max}"))
                }
                _ => None,
            }
        }
        DataType::String => {
            let length = value.encode_utf16().count() as u64;
            match schema::lengths(attribute) {
                (min, _) if length < min => {
                    Some(format!("{name}: String must be longer than {min} characters"))
                }
                (_, max) if length > max => {
                    Some(format!("{name}: String must be no longer than {max} characters"))
                }
                _ => None,
            }
        }
        DataType::DateTime => None,
    }
}

/// The flag that says whether `attribute` has been verified.
pub fn verified_flag(attribute: &str) -> Option<&'static str> {
    VERIFIED_FLAGS.iter().find(|(name, _)| *name == attribute).map(|(_, flag)| *flag)
}

fn is_verified_flag(name: &str) -> bool {
    VERIFIED_FLAGS.iter().any(|(_, flag)| *flag == name)
}

fn is_developer_only(name: &str) -> bool {
    name.starts_with("dev:")
}

/// The value of a user's attribute.
pub fn value<'a>(user: &'a UserRecord, name: &str) -> Option<&'a str> {
    if name == SUB {
        return Some(&user.sub);
    }
    let mut attributes = user.attributes.iter();
    attributes.find(|attribute| attribute.name == name).map(|attribute| attribute.value.as_str())
}

/// Whether the address in `attribute` has been verified.
pub fn is_verified(user: &UserRecord, attribute: &str) -> bool {
    verified_flag(attribute).and_then(|flag| value(user, flag)) == Some("true")
}

/// Sets an attribute, and keeps the order in which they are described.
pub fn set(user: &mut UserRecord, name: &str, value: &str) {
    user.attributes.retain(|attribute| attribute.name != name);
    let attribute = Attribute { name: name.to_owned(), value: value.to_owned() };
    let position = user
        .attributes
        .partition_point(|present| described_rank(&present.name) < described_rank(name));
    user.attributes.insert(position, attribute);
}

/// Removes an attribute.
pub fn remove(user: &mut UserRecord, name: &str) {
    user.attributes.retain(|attribute| attribute.name != name);
}

/// Attributes in the order in which they are described.
pub fn in_described_order(values: &Values) -> Vec<Attribute> {
    let mut attributes: Vec<_> = values
        .iter()
        .map(|(name, value)| Attribute { name: name.clone(), value: value.clone() })
        .collect();
    attributes.sort_by(|a, b| described_rank(&a.name).cmp(&described_rank(&b.name)));
    attributes
}

fn described_rank(name: &str) -> (usize, &str) {
    let standard = DESCRIBED_ORDER.iter().position(|standard| *standard == name);
    (standard.unwrap_or(DESCRIBED_ORDER.len()), name)
}

/// All attributes of a user as they are described, `sub` at the end.
pub fn described(user: &UserRecord) -> Vec<AttributeType> {
    described_where(user, |_| true)
}

/// The attributes that an app may read through `client`, `sub` at the end.
pub fn described_to(client: &ClientConfig, user: &UserRecord) -> Vec<AttributeType> {
    described_where(user, |name| is_readable(client, name))
}

fn described_where(user: &UserRecord, shown: impl Fn(&str) -> bool) -> Vec<AttributeType> {
    let pair = |name: &str, value: &str| AttributeType {
        name: Some(name.to_owned()),
        value: Some(value.to_owned()),
    };
    let attributes = user.attributes.iter().filter(|attribute| shown(&attribute.name));
    let mut described: Vec<_> =
        attributes.map(|attribute| pair(&attribute.name, &attribute.value)).collect();
    if let Some(identities) = links::described(user).filter(|_| shown(IDENTITIES)) {
        described.push(pair(IDENTITIES, &identities));
    }
    described.push(pair(SUB, &user.sub));
    described
}

/// Adds `email_verified` and `phone_number_verified` for the addresses that are given without: nobody
/// has verified them.
pub fn add_unverified_flags(values: &mut Values) {
    for (attribute, flag) in VERIFIED_FLAGS {
        if values.contains_key(attribute) && !values.contains_key(flag) {
            values.insert(flag.to_owned(), "false".to_owned());
        }
    }
}

#[cfg(test)]
mod tests {
    use conclave_store::records::ClientRecord;

    use super::*;

    fn client(read: &[&str], write: &[&str]) -> ClientConfig {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let record = ClientRecord {
            read_attributes: owned(read),
            write_attributes: owned(write),
            ..Default::default()
        };
        ClientConfig { record, secrets: Vec::new() }
    }

    fn ada() -> UserRecord {
        let mut user = UserRecord { sub: "s".to_owned(), ..Default::default() };
        for (name, value) in [
            ("custom:team", "core"),
            ("email_verified", "true"),
            ("name", "Ada"),
            ("email", "a@b.co"),
        ] {
            set(&mut user, name, value);
        }
        set(&mut user, "dev:custom:level", "7");
        set(&mut user, "name", "Ada L");
        user
    }

    fn names(described: Vec<AttributeType>) -> Vec<String> {
        described.into_iter().filter_map(|attribute| attribute.name).collect()
    }

    #[test]
    fn attributes_keep_the_order_in_which_they_are_described() {
        assert_eq!(
            names(described(&ada())),
            ["email", "email_verified", "name", "custom:team", "dev:custom:level", "sub"]
        );
        assert_eq!(value(&ada(), "name"), Some("Ada L"));
    }

    #[test]
    fn an_app_reads_what_its_client_may_and_always_the_sub() {
        assert_eq!(
            names(described_to(&client(&[], &[]), &ada())),
            ["email", "email_verified", "name", "custom:team", "sub"]
        );
        assert_eq!(names(described_to(&client(&["name"], &[]), &ada())), ["name", "sub"]);
    }

    #[test]
    fn an_app_never_writes_what_only_the_service_or_a_developer_may() {
        for open in [client(&[], &[]), client(&[], &["sub", "email_verified", "dev:custom:level"])]
        {
            for name in
                ["sub", "email_verified", "phone_number_verified", "identities", "dev:custom:level"]
            {
                assert!(!is_writable(&open, name), "{name}");
            }
        }
        assert!(is_writable(&client(&[], &[]), "custom:team"));
        assert!(is_writable(&client(&[], &["name"]), "name"));
        assert!(!is_writable(&client(&[], &["name"]), "custom:team"));
    }
}
