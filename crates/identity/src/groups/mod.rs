//! Groups of a pool: one file for each operation, and beside them who is in which group ([`membership`])
//! and what tokens say of it ([`claims`]).
//!
//! What a group is belongs to the pool's configuration: a change begins another epoch, so that gateways
//! can keep groups and no token is issued with what has just changed. Who is in a group does not.
//! Source: developer guide, "Adding groups to a user pool".

mod admin_add_user_to_group;
mod admin_list_groups_for_user;
mod admin_remove_user_from_group;
pub mod claims;
mod create_group;
mod delete_group;
mod get_group;
mod list_groups;
mod list_users_in_group;
mod lookup;
pub mod membership;
mod update_group;

pub use admin_add_user_to_group::admin_add_user_to_group;
pub use admin_list_groups_for_user::admin_list_groups_for_user;
pub use admin_remove_user_from_group::admin_remove_user_from_group;
pub use create_group::create_group;
pub use delete_group::delete_group;
pub use get_group::get_group;
pub use list_groups::list_groups;
pub use list_users_in_group::list_users_in_group;
pub use update_group::update_group;

#[cfg(test)]
pub(crate) mod fixtures;

use conclave_api::types::GroupType;
use conclave_store::records::GroupRecord;

/// Groups of one pool, at most. AWS: "Quotas in Amazon Cognito".
const PER_POOL_MAX: i64 = 10_000;
/// Items in a page, at most and by default. Source: API reference, QueryLimitType.
const LIMIT_MAX: u32 = 60;

/// How many items a request asks for; 0 is as good as nothing said.
fn limit(given: Option<i32>) -> u32 {
    let given = given.and_then(|limit| u32::try_from(limit).ok()).filter(|limit| *limit > 0);
    given.unwrap_or(LIMIT_MAX).min(LIMIT_MAX)
}

/// A group as it is answered.
fn describe(pool_id: &str, group: &GroupRecord) -> GroupType {
    GroupType {
        group_name: Some(group.name.clone()),
        user_pool_id: Some(pool_id.to_owned()),
        description: group.description.clone(),
        role_arn: group.role_arn.clone(),
        precedence: group.precedence,
        last_modified_date: Some(group.modified_ms),
        creation_date: Some(group.created_ms),
    }
}
