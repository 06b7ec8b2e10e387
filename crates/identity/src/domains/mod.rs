//! Domains of pools' sign-in pages. A domain is unique in the cluster: it has a row in the directory,
//! written before the pool is told of it and deleted after the pool has forgotten it.

mod create_user_pool_domain;
mod delete_user_pool_domain;
mod describe_user_pool_domain;
mod directory_rows;
mod settings;
#[cfg(test)]
mod tests;
mod update_user_pool_domain;

pub use create_user_pool_domain::create_user_pool_domain;
pub use delete_user_pool_domain::delete_user_pool_domain;
pub use describe_user_pool_domain::describe_user_pool_domain;
pub(crate) use directory_rows::{Forget, Reserve};
pub use update_user_pool_domain::update_user_pool_domain;

use conclave_api::ApiError;
use conclave_store::records::{DomainConfig, PoolRecord};

use crate::{errors, world::World};

/// The pool's domain with a prefix of ours.
pub(crate) fn prefix_of(pool: &PoolRecord) -> Option<&DomainConfig> {
    pool.domains.iter().find(|domain| domain.certificate_arn.is_none())
}

/// The pool's domain of the customer's own.
pub(crate) fn custom_of(pool: &PoolRecord) -> Option<&DomainConfig> {
    pool.domains.iter().find(|domain| domain.certificate_arn.is_some())
}

/// The text that tools look for.
fn no_such_domain() -> ApiError {
    errors::invalid_parameter("No such domain or user pool exists.")
}

/// Where the DNS name of a custom domain has to lead: to the gateways.
pub(crate) fn target(world: &World) -> String {
    let url = &world.settings.public_url;
    let authority = url.split_once("://").map_or(url.as_str(), |(_, rest)| rest);
    authority.split(['/', ':']).next().unwrap_or_default().to_owned()
}
