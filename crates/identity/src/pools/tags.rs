//! Tags of a pool. Source: AWS General Reference, "Tag naming limits and requirements".

use std::collections::{BTreeMap, HashMap};

use conclave_api::{ApiError, ExceptionName};

use crate::{call::Call, errors, pool_access::principal};

const TAGS_MAX: usize = 50;

/// The tags of a new or updated pool.
///
/// # Errors
/// UserPoolTaggingException.
pub(super) fn new_tags(
    given: &BTreeMap<String, String>,
) -> Result<HashMap<String, String>, ApiError> {
    let tags = given.iter().map(|(key, value)| (key.clone(), value.clone())).collect();
    check(&tags).map_err(|text| ApiError::new(ExceptionName::UserPoolTaggingException, text))?;
    Ok(tags)
}

/// The tags with others added, or put in their places.
///
/// # Errors
/// InvalidParameterException.
pub(super) fn with_tags(
    mut tags: HashMap<String, String>,
    given: &BTreeMap<String, String>,
) -> Result<HashMap<String, String>, ApiError> {
    tags.extend(given.iter().map(|(key, value)| (key.clone(), value.clone())));
    check(&tags).map_err(errors::invalid_parameter)?;
    Ok(tags)
}

fn check(tags: &HashMap<String, String>) -> Result<(), String> {
    if tags.len() > TAGS_MAX {
        return Err(format!("The number of tags exceeds the limit of {TAGS_MAX}."));
    }
    if tags.keys().any(|key| key.to_lowercase().starts_with("aws:")) {
        return Err("aws: prefixed tag key names are not allowed for external use.".to_owned());
    }
    Ok(())
}

/// The id of the pool that an ARN names.
///
/// # Errors
/// InvalidParameterException when it names no pool; ResourceNotFoundException when it names one of
/// another account or region.
pub(super) fn pool_of_arn<'a>(call: &Call, arn: &'a str) -> Result<&'a str, ApiError> {
    let principal = principal(call)?;
    let mut parts = arn.splitn(6, ':');
    let mut next = || parts.next().unwrap_or_default();
    let (_arn, _partition, service, region, account, resource) =
        (next(), next(), next(), next(), next(), next());
    let pool_id = resource.strip_prefix("userpool/").filter(|id| !id.is_empty());
    let Some(pool_id) = pool_id.filter(|_| service == "cognito-idp") else {
        return Err(errors::invalid_parameter("Invalid resource ARN."));
    };
    if account != principal.account_id || region != principal.region {
        return Err(errors::user_pool_not_found(pool_id));
    }
    Ok(pool_id)
}
