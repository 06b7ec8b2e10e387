//! Administration of a running cluster: the service `conclave.admin.v1.Admin` on the internal port, and the commands that
//! speak to it.
//!
//! - `service`: answers, and writes down who has changed what; `access`: who may ask
//! - `convert`, `health`: what the cluster says, as messages; what of it is wrong
//! - `key_orders`: what is done to the signing keys of a pool; `keys`, `encryption_keys`: the commands for it
//! - `client`: finds a node that answers; `args`, `commands`, `wait`: what people type; `table`, `json`: what they see

mod access;
mod args;
mod client;
mod commands;
mod convert;
mod encryption_keys;
mod health;
mod json;
mod key_orders;
mod keys;
mod service;
mod table;
mod wait;

/// Messages of `proto/conclave/admin/v1`.
pub mod proto {
    #![allow(
        missing_docs,
        clippy::all,
        clippy::allow_attributes_without_reason,
        reason = "generated from admin.proto and backup.proto, which are documented"
    )]
    tonic::include_proto!("conclave.admin.v1");
}

pub use access::Administrator;
pub use args::{ClusterCommand, Connection};
pub use client::Client;
pub use commands::run;
pub use keys::{KeysCommand, run as run_keys};
pub use service::{AdminService, Serving, record, status, who};
pub use table::table;
