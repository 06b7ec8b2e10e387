//! User pools: one file for each operation, and what several of them share.

mod add_custom_attributes;
mod change;
mod create_user_pool;
mod delete_user_pool;
mod describe;
mod describe_user_pool;
mod directory_rows;
pub(crate) mod email;
mod get_signing_certificate;
mod get_user_pool_mfa_config;
mod list_tags_for_resource;
mod list_user_pools;
mod mfa;
pub mod schema;
mod set_user_pool_mfa_config;
mod settings;
mod signing_keys;
mod tag_resource;
mod tags;
pub(crate) mod tier;
mod untag_resource;
mod update_user_pool;

pub use add_custom_attributes::add_custom_attributes;
pub(crate) use change::Enter;
pub use create_user_pool::{create_user_pool, create_user_pool_as};
pub use delete_user_pool::delete_user_pool;
pub use describe::{Shown, describe};
pub use describe_user_pool::describe_user_pool;
pub(crate) use directory_rows::{Forget, ForgetClients, make_ms_max, too_many_pools};

pub use get_signing_certificate::get_signing_certificate;
pub use get_user_pool_mfa_config::get_user_pool_mfa_config;
pub use list_tags_for_resource::list_tags_for_resource;
pub use list_user_pools::list_user_pools;
pub use set_user_pool_mfa_config::set_user_pool_mfa_config;
pub use tag_resource::tag_resource;
pub use untag_resource::untag_resource;
pub use update_user_pool::update_user_pool;
