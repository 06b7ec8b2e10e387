//! Scopes that a client may ask for: the service's own, and `identifier/scope` of a resource server.

use std::collections::BTreeSet;

use conclave_api::{ApiError, ExceptionName};
use conclave_store::{keys, records::ResourceServerRecord};

use crate::tx::{Query, Tx};

/// Developer guide, "Scopes, M2M, and resource servers".
const RESERVED: [&str; 5] =
    ["phone", "email", "openid", "profile", "aws.cognito.signin.user.admin"];

/// Whether a scope is one of the service's own.
pub(crate) fn is_reserved(scope: &str) -> bool {
    RESERVED.contains(&scope)
}

/// Loads the resource servers that `scopes` name as well. A request has at most 50 scopes.
pub(crate) fn with_scopes(mut query: Query, scopes: &[String]) -> Query {
    let identifiers: BTreeSet<&str> =
        scopes.iter().filter_map(|scope| scope.rsplit_once('/')).map(|(id, _)| id).collect();
    for identifier in identifiers {
        query = query.get(keys::resource_server(identifier));
    }
    query
}

/// Checks that every scope exists; [`with_scopes`] has loaded what that takes.
///
/// # Errors
/// ScopeDoesNotExistException, which names the first that does not.
pub(crate) fn check_scopes(tx: &Tx<'_>, scopes: &[String]) -> Result<(), ApiError> {
    for scope in scopes {
        if is_reserved(scope) {
            continue;
        }
        // an identifier may hold a slash, a scope's name may not
        let found = match scope.rsplit_once('/') {
            None => false,
            Some((identifier, name)) => tx
                .get::<ResourceServerRecord>(&keys::resource_server(identifier))?
                .is_some_and(|server| server.record.scopes.iter().any(|own| own.name == name)),
        };
        if !found {
            return Err(ApiError::new(
                ExceptionName::ScopeDoesNotExistException,
                format!("Invalid scope requested: {scope}"),
            ));
        }
    }
    Ok(())
}
