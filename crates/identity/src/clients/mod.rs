//! App clients of a pool: one file for each operation, and what several of them share.

mod add_user_pool_client_secret;
mod change;
mod create_user_pool_client;
mod delete_user_pool_client;
mod delete_user_pool_client_secret;
mod describe;
mod describe_user_pool_client;
mod list_user_pool_client_secrets;
mod list_user_pool_clients;
mod oauth;
mod references;
mod secrets;
mod settings;
mod update_user_pool_client;
pub mod validity;

pub use add_user_pool_client_secret::add_user_pool_client_secret;
pub use create_user_pool_client::create_user_pool_client;
pub use delete_user_pool_client::delete_user_pool_client;
pub use delete_user_pool_client_secret::delete_user_pool_client_secret;
pub use describe::describe;
pub use describe_user_pool_client::describe_user_pool_client;
pub use list_user_pool_client_secrets::list_user_pool_client_secrets;
pub use list_user_pool_clients::list_user_pool_clients;
pub use update_user_pool_client::update_user_pool_client;

use conclave_api::ApiError;

/// There is no such client in the caller's pool. Signed operations do not repeat the id.
pub(crate) fn client_not_found() -> ApiError {
    ApiError::resource_not_found("User pool client does not exist.")
}
