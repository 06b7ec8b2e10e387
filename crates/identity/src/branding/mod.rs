//! Managed login styles of app clients: one file for each operation, and what several of them share.

mod assets;
mod create_managed_login_branding;
mod defaults;
mod delete_managed_login_branding;
mod describe;
mod describe_managed_login_branding;
mod describe_managed_login_branding_by_client;
mod settings;
#[cfg(test)]
mod tests;
mod update_managed_login_branding;

pub(crate) use assets::clear_left as clear_left_uploads;
pub use create_managed_login_branding::create_managed_login_branding;
pub use delete_managed_login_branding::delete_managed_login_branding;
pub use describe_managed_login_branding::describe_managed_login_branding;
pub use describe_managed_login_branding_by_client::describe_managed_login_branding_by_client;
pub use update_managed_login_branding::update_managed_login_branding;

use conclave_api::ApiError;

/// The service's text.
fn branding_not_found() -> ApiError {
    ApiError::resource_not_found("ManagedLoginBranding does not exist.")
}
