//! The domain: one file for each operation, over the transaction context, with its rules.
//!
//! An operation is a [`tx::Transaction`] in a file of its own name, such as `users/sign_up.rs`; the
//! front hands its decoded input to the handler that [`handlers`] registers. Rules are plain functions
//! beside it. There is no HTTP here, no RocksDB and no clock: "now" is what the store's answer says.
//!
//! To add an operation: write its file, register it in [`handlers`], and shrink the list of refusals in
//! `proto/model/refusals.toml` where it honours a member that was refused.

pub mod auth;
pub mod branding;
pub mod call;
mod client_pages;
pub mod client_pool;
pub mod clients;
pub mod cluster_key;
pub mod config;
pub mod config_cache;
pub mod cpu;
pub mod devices;
pub mod directory;
pub mod domains;
pub mod errors;
pub mod groups;
pub mod identity_providers;
pub mod issuer;
pub mod limits;
pub mod log_delivery;
pub mod memo;
pub mod page_token;
pub mod passkeys;
pub mod pool_access;
pub mod pool_keys;
pub mod pool_list;
pub mod pool_moves;
pub mod pools;
pub mod reconciler;
pub mod resource_servers;
pub mod restore;
pub mod risk_configuration;
pub mod saml_key;
pub mod sealed;
pub mod signing_keys;
pub mod terms;
pub mod threat_protection;
pub mod triggers;
pub mod tx;
pub mod ui_customization;
pub mod user_import;
pub mod users;
pub mod world;

#[cfg(test)]
mod testing;
