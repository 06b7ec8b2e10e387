//! Finding a group by its name. Names that differ by case alone are one name, as in Cognito.

use conclave_api::ApiError;
use conclave_store::{keys, records::GroupRecord};

use crate::tx::{Query, Tx};

/// The row that leads from a name to its group.
pub fn name_key(name: &str) -> Vec<u8> {
    keys::group_name(&name.to_lowercase())
}

/// Adds the group of this name.
#[must_use]
pub fn query(query: Query, name: &str) -> Query {
    query.follow(name_key(name), &[keys::group_hop()])
}

/// The group of this name, if there is one. [`query`] must have been loaded.
///
/// # Errors
/// InternalErrorException when it cannot be decoded.
pub fn look(tx: &Tx<'_>, name: &str) -> Result<Option<GroupRecord>, ApiError> {
    let Some(group_id) = tx.get_text(&name_key(name)) else { return Ok(None) };
    Ok(tx.get(&keys::group(&group_id))?.map(|group| group.record))
}

/// The group of this name. [`query`] must have been loaded.
///
/// # Errors
/// ResourceNotFoundException when there is none.
pub fn find(tx: &Tx<'_>, name: &str) -> Result<GroupRecord, ApiError> {
    look(tx, name)?.ok_or_else(|| ApiError::resource_not_found("Group not found."))
}
