//! From a request to a resource server's record. Limits of single members are checked before.

use std::collections::HashSet;

use conclave_api::{ApiError, types};
use conclave_store::records::{ResourceServerRecord, ResourceServerScope};

use crate::errors;

/// The record of a resource server. A text for scopes that repeat each other is judgement.
///
/// # Errors
/// InvalidParameterException.
pub(super) fn record(
    identifier: &str,
    name: Option<&str>,
    scopes: &[types::ResourceServerScopeType],
) -> Result<ResourceServerRecord, ApiError> {
    let mut names = HashSet::new();
    let mut kept = Vec::with_capacity(scopes.len());
    for scope in scopes {
        let name = scope.scope_name.clone().unwrap_or_default();
        if !names.insert(name.clone()) {
            return Err(errors::invalid_parameter(format!("Duplicate scope name {name}.")));
        }
        let description = scope.scope_description.clone().unwrap_or_default();
        kept.push(ResourceServerScope { name, description });
    }
    Ok(ResourceServerRecord {
        identifier: identifier.to_owned(),
        name: name.unwrap_or_default().to_owned(),
        scopes: kept,
    })
}
