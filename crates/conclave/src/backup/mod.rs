//! Backups: what nodes send, where it is kept, and how a new cluster is made of it.
//!
//! - `service`: cuts groups, encrypts their rows to the recipients of the node's configuration, sends them; `markers`:
//!   what the cluster remembers of it
//! - `files`: what the encrypted files hold; `manifest`: what is told of them in the clear
//! - `destination`, `directory`, `s3`: where backups are kept
//! - `create`, `list`, `verify`, `keys`, `restore`: the commands; `args`: what people type

mod args;
pub mod create;
pub mod destination;
mod directory;
pub mod files;
pub mod identity;
mod keys;
mod list;
pub mod manifest;
mod markers;
mod restore;
mod s3;
mod service;
mod verify;

use anyhow::Result;

pub use args::{BackupArgs, RestoreArgs};
pub use markers::timestamp;
pub use service::{BackupService, Serving, elsewhere};

/// Messages of `proto/conclave/backup/v1/backup.proto`.
pub mod proto {
    #![allow(
        missing_docs,
        clippy::all,
        clippy::allow_attributes_without_reason,
        reason = "generated from backup.proto, which is documented"
    )]
    tonic::include_proto!("conclave.backup.v1");
}

/// Runs one of the commands of `conclave backup`.
pub async fn run(args: BackupArgs) -> Result<()> {
    use args::BackupCommand;
    match args.command {
        None => create::run(&args.create).await,
        Some(BackupCommand::List { destination, json }) => list::run(&destination, json).await,
        Some(BackupCommand::Verify(verify)) => verify::run(&verify).await,
        Some(BackupCommand::Keygen { file }) => identity::generate(&file),
    }
}

/// Runs `conclave restore`.
pub async fn run_restore(args: RestoreArgs) -> Result<()> {
    restore::run(&args).await
}
