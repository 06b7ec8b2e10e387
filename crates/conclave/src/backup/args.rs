//! What people type.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::{cluster_admin::Connection, failure};

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, after_help = failure::CODES)]
pub struct BackupArgs {
    #[command(subcommand)]
    pub command: Option<BackupCommand>,
    #[command(flatten)]
    pub create: CreateArgs,
}

#[derive(Debug, Subcommand)]
pub enum BackupCommand {
    /// The backups that are kept somewhere, the oldest first.
    List {
        /// A directory, or s3://BUCKET/PREFIX.
        destination: String,
        /// One JSON document instead of a table.
        #[arg(long)]
        json: bool,
    },
    /// Whether a backup is whole: its files are those that it was made with, and with an identity, what is in them too.
    Verify(VerifyArgs),
    /// Makes an age identity, which opens backups, and prints its recipient, for `backup.recipients` of the nodes.
    Keygen {
        /// The file to be made. Keep it away from the cluster.
        file: PathBuf,
    },
}

#[derive(Debug, Args)]
pub struct CreateArgs {
    /// Where the backup is kept: a directory, or s3://BUCKET/PREFIX with the credentials of the environment (AWS_*).
    pub destination: Option<String>,
    #[command(flatten)]
    pub connection: Connection,
    /// At most so many mebibytes a second; 0: as fast as it goes.
    #[arg(long, default_value_t = 64, value_name = "MIB")]
    pub rate: u32,
    /// Keep the cluster's keys in the backup too, so that its identity alone opens everything: for the case that the
    /// key-encryption key is lost. Needs a --config with [kek], and its certificate of a gateway or node.
    #[arg(long)]
    pub with_keys: bool,
    /// One JSON document.
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct VerifyArgs {
    /// A directory, or s3://BUCKET/PREFIX.
    pub destination: String,
    /// The backup.
    #[arg(default_value = "latest")]
    pub backup: String,
    /// A file with age identities. With it everything is decrypted and compared with the state that was backed up.
    #[arg(long, value_name = "FILE")]
    pub identity: Option<PathBuf>,
    /// One JSON document.
    #[arg(long)]
    pub json: bool,
}

/// Makes the data of the first node of a new cluster from a backup.
#[derive(Debug, Args)]
#[command(after_help = failure::CODES)]
pub struct RestoreArgs {
    /// Where the backup is kept: a directory, or s3://BUCKET/PREFIX.
    pub destination: String,
    /// The backup.
    #[arg(default_value = "latest")]
    pub backup: String,
    /// The configuration of the new cluster's first node, with a new cluster_id, and with itself alone in `members`.
    #[arg(long, env = "CONCLAVE_CONFIG")]
    pub config: PathBuf,
    /// A file with age identities, one of which the backup was encrypted to.
    #[arg(long, value_name = "FILE")]
    pub identity: PathBuf,
    /// A file with the key-encryption key of the new cluster, where the configuration has no [kek].
    #[arg(long, value_name = "FILE")]
    pub kek_file: Option<PathBuf>,
    /// A configuration of the new cluster that has the [kek], such as its gateways', where --config has none.
    #[arg(long, value_name = "FILE", conflicts_with = "kek_file")]
    pub kek_config: Option<PathBuf>,
    /// A file with the key-encryption key of the cluster that was backed up, where it is another one. Not needed for a
    /// backup that was made with its keys.
    #[arg(long, value_name = "FILE")]
    pub old_kek_file: Option<PathBuf>,
    /// Keep refresh tokens good that were issued before, those among them that were revoked after the backup. Access
    /// tokens from before the restore are refused all the same.
    #[arg(long)]
    pub keep_refresh_tokens: bool,
    /// Keep all tokens good that were issued before.
    #[arg(long, conflicts_with = "keep_refresh_tokens")]
    pub keep_tokens: bool,
    /// SHA-256 of the manifest, as `conclave backup` has printed it: whoever can write where backups are kept could
    /// have put another one there.
    #[arg(long, value_name = "HEX")]
    pub manifest_sha256: Option<String>,
    /// Do nothing, and succeed, where the node has data already or joins others: for an init container, which all pods of a
    /// stateful set have, each time that they start.
    #[arg(long)]
    pub if_empty: bool,
}
