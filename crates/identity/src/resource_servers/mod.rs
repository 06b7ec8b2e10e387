//! Resource servers: APIs whose access tokens carry scopes of their own.

mod create_resource_server;
mod delete_resource_server;
mod describe_resource_server;
mod list_resource_servers;
mod scopes;
mod settings;
mod update_resource_server;

pub use create_resource_server::create_resource_server;
pub use delete_resource_server::delete_resource_server;
pub use describe_resource_server::describe_resource_server;
pub use list_resource_servers::list_resource_servers;
pub(crate) use scopes::{check_scopes, is_reserved, with_scopes};
pub use update_resource_server::update_resource_server;

use conclave_api::{ApiError, types};
use conclave_store::records::ResourceServerRecord;

/// There is no such resource server in the caller's pool.
fn resource_server_not_found() -> ApiError {
    ApiError::resource_not_found("Resource server does not exist.")
}

/// A resource server as every operation answers it.
fn describe(pool_id: &str, server: &ResourceServerRecord) -> types::ResourceServerType {
    let scopes = server.scopes.iter().map(|scope| types::ResourceServerScopeType {
        scope_name: Some(scope.name.clone()),
        scope_description: Some(scope.description.clone()),
    });
    types::ResourceServerType {
        user_pool_id: Some(pool_id.to_owned()),
        identifier: Some(server.identifier.clone()),
        name: Some(server.name.clone()),
        scopes: scopes.collect(),
        managed_by: None,
    }
}
