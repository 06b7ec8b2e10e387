//! Identity providers: others who sign a pool's users in. They are kept and described here; sign-in
//! through them is the affair of the OAuth 2.0 endpoints.

mod create_identity_provider;
mod delete_identity_provider;
mod describe_identity_provider;
mod details;
mod get_identity_provider_by_identifier;
mod list_identity_providers;
mod provider_rows;
mod settings;
#[cfg(test)]
mod tests;
mod update_identity_provider;

pub use create_identity_provider::create_identity_provider;
pub use delete_identity_provider::delete_identity_provider;
pub use describe_identity_provider::describe_identity_provider;
pub use get_identity_provider_by_identifier::get_identity_provider_by_identifier;
pub use list_identity_providers::list_identity_providers;
pub use update_identity_provider::update_identity_provider;

pub(crate) use details::is_social;

use conclave_api::ApiError;

/// There is no such provider in the caller's pool.
pub(crate) fn provider_not_found(name: &str) -> ApiError {
    ApiError::resource_not_found(format!("Identity provider {name} does not exist."))
}
