//! Who is in which group. What a user is in is one row of the user's; who is in a group are rows under
//! the group. Every change of the former goes with one of the latter, on the user's version: so a user
//! who goes leaves every group, and a group that goes takes its rows along. Its id stays behind in the
//! rows of users until they are next written, and leads nowhere: ids are random and never used again.

use std::{collections::HashMap, sync::Arc};

use bytes::Bytes;
use conclave_api::ApiError;
use conclave_store::{
    keys::{self, UserChild},
    records::{GroupRecord, MembershipsRecord},
};

use crate::{
    errors,
    tx::{Failure, Query, Tx},
    users::lookup::With,
};

/// Groups that a user can be in. AWS: "Quotas in Amazon Cognito".
const PER_USER_MAX: usize = 100;

/// For a lookup of users: the groups come along.
pub const WITH: With<'static> = With::Child(UserChild::Groups, &[]);

/// The row that says which groups a user is in.
pub fn key(sub: &str) -> Vec<u8> {
    keys::user_child(sub, UserChild::Groups, &[])
}

/// The parts of [`key`], for a `Follow`.
pub fn hop() -> (Vec<u8>, Vec<u8>) {
    keys::user_child_hop(UserChild::Groups, &[])
}

/// The groups that a user is in, those that take precedence first. [`key`] must have been loaded. A read
/// more where this gateway does not know one of the groups.
///
/// # Errors
/// The store's.
pub async fn groups(tx: &mut Tx<'_>, sub: &str) -> Result<Vec<Arc<GroupRecord>>, Failure> {
    let ids = ids(tx, sub)?;
    let config = tx.pool()?;
    let mut known: HashMap<&str, Option<Arc<GroupRecord>>> = HashMap::new();
    let mut query = Query::new();
    for id in &ids {
        match config.group(id) {
            Some(group) => {
                known.insert(id, group);
            }
            None => query = query.get(keys::group(id)),
        }
    }
    if known.len() < ids.len() {
        tx.load(query).await?;
    }
    let mut groups = Vec::with_capacity(ids.len());
    for id in &ids {
        let group = match known.remove(id.as_str()) {
            Some(group) => group,
            None => {
                let group = tx.get::<GroupRecord>(&keys::group(id))?.map(|stored| stored.record);
                config.learn_group(id, group)
            }
        };
        groups.extend(group);
    }
    groups.sort_by(|a, b| rank(a).cmp(&rank(b)));
    Ok(groups)
}

/// Where a group stands among others: by precedence, no precedence last, then by name.
pub fn rank(group: &GroupRecord) -> (bool, i32, &str) {
    (group.precedence.is_none(), group.precedence.unwrap_or_default(), &group.name)
}

/// Puts a user into a group. [`key`] must have been loaded.
///
/// # Errors
/// InvalidParameterException when the user is in too many groups; the store's.
pub async fn join(tx: &mut Tx<'_>, sub: &str, group: &GroupRecord) -> Result<(), Failure> {
    let mut ids = ids(tx, sub)?;
    if ids.contains(&group.group_id) {
        return Ok(());
    }
    if ids.len() >= PER_USER_MAX {
        // groups that are gone do not count
        let live = groups(tx, sub).await?;
        ids.retain(|id| live.iter().any(|group| group.group_id == *id));
    }
    if ids.len() >= PER_USER_MAX {
        return Err(errors::invalid_parameter(format!(
            "A user cannot be in more than {PER_USER_MAX} groups."
        ))
        .into());
    }
    ids.push(group.group_id.clone());
    tx.rely_on_root(keys::user(sub));
    tx.rely_on_root(keys::group(&group.group_id));
    tx.put(key(sub), &MembershipsRecord { group_ids: ids });
    tx.put_bytes(keys::group_member(&group.group_id, sub), Bytes::new(), None);
    Ok(())
}

/// Takes a user out of a group; one who is not in it stays out. [`key`] must have been loaded.
///
/// # Errors
/// InternalErrorException when it was not.
pub fn leave(tx: &mut Tx<'_>, sub: &str, group_id: &str) -> Result<(), ApiError> {
    let mut ids = ids(tx, sub)?;
    if !ids.iter().any(|id| id == group_id) {
        return Ok(());
    }
    ids.retain(|id| id != group_id);
    tx.rely_on_root(keys::user(sub));
    tx.put(key(sub), &MembershipsRecord { group_ids: ids });
    tx.delete(keys::group_member(group_id, sub));
    Ok(())
}

/// Takes a user who goes out of every group. [`key`] must have been loaded.
///
/// # Errors
/// InternalErrorException when it was not.
pub fn leave_all(tx: &mut Tx<'_>, sub: &str) -> Result<(), ApiError> {
    for group_id in ids(tx, sub)? {
        tx.delete(keys::group_member(&group_id, sub));
    }
    tx.rely_on(&key(sub));
    Ok(())
}

fn ids(tx: &Tx<'_>, sub: &str) -> Result<Vec<String>, ApiError> {
    let memberships = tx.get::<MembershipsRecord>(&key(sub))?;
    Ok(memberships.map(|stored| stored.record.group_ids).unwrap_or_default())
}
