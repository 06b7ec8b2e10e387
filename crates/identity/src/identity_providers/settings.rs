//! From a request to a provider's record. Limits of single members are checked before. Texts are
//! judgement.

use std::collections::{BTreeMap, BTreeSet};

use conclave_api::ApiError;
use conclave_store::records::PoolRecord;

use super::details;
use crate::{errors, pools::schema};

/// Names that stand for something else where providers are named.
const RESERVED_NAMES: [&str; 2] = ["COGNITO", "LOCAL"];

/// Checks a new provider's name: a social provider is called as its type, and nobody else is.
///
/// # Errors
/// InvalidParameterException.
pub(super) fn check_name(name: &str, provider_type: &str) -> Result<(), ApiError> {
    let social = details::is_social(provider_type);
    if social && name != provider_type {
        return Err(errors::invalid_parameter(format!(
            "The name of a {provider_type} provider must be {provider_type}."
        )));
    }
    let taken = RESERVED_NAMES.iter().any(|reserved| reserved.eq_ignore_ascii_case(name));
    if taken || (!social && details::is_social(name)) {
        return Err(errors::invalid_parameter(format!("The provider name {name} is reserved.")));
    }
    Ok(())
}

/// The mapping, with the user's name where the type says where it comes from.
///
/// # Errors
/// InvalidParameterException for an attribute that the pool does not have, or that nobody may set.
pub(super) fn mapping(
    pool: &PoolRecord,
    provider_type: &str,
    given: &BTreeMap<String, String>,
) -> Result<BTreeMap<String, String>, ApiError> {
    for name in given.keys().filter(|name| *name != "username") {
        let attribute = schema::find(pool, name).filter(|attribute| attribute.name != "sub");
        if attribute.is_none_or(|attribute| attribute.developer_only) {
            return Err(errors::invalid_parameter(format!(
                "Invalid attribute mapping: the user pool has no attribute {name} that can be mapped."
            )));
        }
    }
    let mut mapping = given.clone();
    if let Some(source) = details::username_source(provider_type)? {
        mapping.entry("username".to_owned()).or_insert_with(|| source.to_owned());
    }
    Ok(mapping)
}

/// The identifiers, each once.
pub(super) fn identifiers(given: &[String]) -> Vec<String> {
    let mut seen = BTreeSet::new();
    given.iter().filter(|identifier| seen.insert(identifier.as_str())).cloned().collect()
}
