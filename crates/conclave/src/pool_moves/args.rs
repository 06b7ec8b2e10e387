//! What people type.

use std::path::PathBuf;

use clap::Args;

use crate::{cluster_admin::Connection, failure};

/// Copies one pool of a running cluster, encrypted, with everything that belongs to it, for another cluster.
#[derive(Debug, Args)]
#[command(after_help = failure::CODES)]
pub struct ExportArgs {
    /// The pool.
    pub pool_id: String,
    /// Where it goes, under a name of its own: a directory, or s3://BUCKET/PREFIX with the credentials of the environment
    /// (AWS_*).
    #[arg(long, value_name = "DESTINATION")]
    pub to: String,
    /// --config is needed, with [kek] and the certificate of a gateway or node: the pool's keys are opened here.
    #[command(flatten)]
    pub connection: Connection,
    /// At most so many mebibytes a second; 0: as fast as it goes.
    #[arg(long, default_value_t = 64, value_name = "MIB")]
    pub rate: u32,
    /// One JSON document.
    #[arg(long)]
    pub json: bool,
}

/// Brings a pool that was exported into a running cluster, under the id that it has. Until all of it is there, nobody sees
/// any of it; what was interrupted is begun again by the same command.
#[derive(Debug, Args)]
#[command(after_help = failure::CODES)]
pub struct ImportArgs {
    /// The export, as `conclave export` has named it: DIRECTORY/NAME, or s3://BUCKET/PREFIX/NAME.
    pub export: String,
    /// A node's or gateway's configuration, with [kek]. Its certificate is used, as with `conclave account`.
    #[arg(long, env = "CONCLAVE_CONFIG")]
    pub config: PathBuf,
    /// The account that the pool is to belong to, 12 digits. It is in the pool's ARN.
    #[arg(long)]
    pub account: String,
    /// A file with age identities, one of which the export was encrypted to.
    #[arg(long, value_name = "FILE")]
    pub identity: PathBuf,
    /// Keep refresh tokens good that were issued before, those among them that were revoked after the export. Access
    /// tokens from before the import are refused all the same.
    #[arg(long)]
    pub keep_refresh_tokens: bool,
    /// Keep all tokens good that were issued before. Access tokens name the `public_url` of the cluster that issued them.
    #[arg(long, conflicts_with = "keep_refresh_tokens")]
    pub keep_tokens: bool,
    /// SHA-256 of the manifest, as `conclave export` has printed it: whoever can write where the export lies could have
    /// put another one there.
    #[arg(long, value_name = "HEX")]
    pub manifest_sha256: Option<String>,
    /// Take an export that was made while the pool could still change: what was acknowledged after it stays behind.
    #[arg(long)]
    pub incomplete: bool,
    /// Read everything, look whether the cluster could take it, and change nothing.
    #[arg(long)]
    pub dry_run: bool,
    /// One JSON document.
    #[arg(long)]
    pub json: bool,
}

/// Has nothing written in a pool any more, so that an export of it is all there will ever be. Reading goes on, and so do
/// access tokens; whoever signs in or changes something is told to come again.
#[derive(Debug, Args)]
#[command(after_help = failure::CODES)]
pub struct FreezeArgs {
    #[command(flatten)]
    pub thaw: ThawArgs,
    /// Do not wait until nothing can be written any more that was begun before: it takes two minutes.
    #[arg(long)]
    pub no_wait: bool,
}

/// Has a frozen pool take what is written again.
#[derive(Debug, Args)]
#[command(after_help = failure::CODES)]
pub struct ThawArgs {
    /// The pool.
    pub pool_id: String,
    #[command(flatten)]
    pub connection: Connection,
    /// One JSON document.
    #[arg(long)]
    pub json: bool,
}
