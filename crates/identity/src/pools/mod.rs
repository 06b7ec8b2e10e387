//! User pools: one file for each operation, and what several of them share.

mod create_user_pool;
mod delete_user_pool;
mod describe;
mod describe_user_pool;
mod directory_rows;
mod list_user_pools;
pub mod schema;
mod settings;
mod signing_keys;

pub use create_user_pool::create_user_pool;
pub use delete_user_pool::delete_user_pool;
pub use describe::{Shown, describe};
pub use describe_user_pool::describe_user_pool;
pub use list_user_pools::list_user_pools;
