//! The command line.

use std::{net::SocketAddr, path::PathBuf};

use clap::{Args, Parser, Subcommand};

use crate::{
    backup::{BackupArgs, RestoreArgs},
    cluster_admin::{ClusterCommand, KeysCommand},
    doctor::DoctorArgs,
    pki::Role,
    pool_moves::{ExportArgs, FreezeArgs, ImportArgs, ThawArgs},
    seed::SeedCommand,
};

/// A self-hosted identity service that speaks the Amazon Cognito user pools API.
#[derive(Debug, Parser)]
#[command(name = "conclave", version, about, propagate_version = true)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
    #[command(flatten)]
    pub log: LogArgs,
}

/// How logs are written, and where traces go.
#[derive(Debug, Args)]
pub struct LogArgs {
    /// Which log lines are written, such as `info,conclave_identity=debug`.
    #[arg(long, env = "CONCLAVE_LOG", global = true)]
    pub log: Option<String>,
    /// `text` for people, `json` for machines.
    #[arg(long, env = "CONCLAVE_LOG_FORMAT", global = true, default_value = "text", value_parser = ["text", "json"])]
    pub log_format: String,
    /// gRPC endpoint of an OpenTelemetry collector, such as http://localhost:4317. Without it no traces are sent.
    #[arg(long, env = "OTEL_EXPORTER_OTLP_ENDPOINT", global = true)]
    pub otlp_endpoint: Option<String>,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// One process with everything in it, for development and tests.
    Dev(DevArgs),
    /// A node of a cluster.
    Serve(ConfigArg),
    #[command(flatten)]
    Cluster(ClusterCommand),
    /// Copies a running cluster, encrypted, to where backups are kept; lists and verifies what is there.
    Backup(BackupArgs),
    Restore(RestoreArgs),
    Export(ExportArgs),
    Import(ImportArgs),
    Freeze(FreezeArgs),
    Thaw(ThawArgs),
    Doctor(DoctorArgs),
    /// Accounts, the tenants of a cluster.
    #[command(subcommand)]
    Account(AccountCommand),
    /// Access keys, with which requests are signed.
    #[command(subcommand)]
    Credentials(CredentialsCommand),
    /// The keys that pools sign tokens with.
    #[command(subcommand)]
    Keys(KeysCommand),
    /// Accounts, pools, clients and users as a file declares them.
    #[command(subcommand)]
    Seed(SeedCommand),
    /// A small certificate authority for the internal port.
    #[command(subcommand)]
    Pki(PkiCommand),
    /// Prints what makes a shell complete this command, such as `source <(conclave completions bash)`.
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
}

#[derive(Debug, Args)]
pub struct DevArgs {
    /// Where AWS JSON, gRPC, JWKS and pages are served.
    #[arg(long, env = "CONCLAVE_LISTEN", default_value = "127.0.0.1:9229")]
    pub listen: SocketAddr,
    /// Where health and metrics are served.
    #[arg(long, env = "CONCLAVE_MANAGEMENT", default_value = "127.0.0.1:9000")]
    pub management: SocketAddr,
    /// Where data is kept.
    #[arg(long, env = "CONCLAVE_DATA_DIR", default_value = ".conclave")]
    pub data_dir: PathBuf,
    /// The URL under which clients reach this process: the first part of `iss`. By default that of --listen.
    #[arg(long, env = "CONCLAVE_PUBLIC_URL")]
    pub public_url: Option<String>,
    /// Serve https, with a certificate of an authority that is made in the data directory, once.
    #[arg(long, env = "CONCLAVE_TLS")]
    pub tls: bool,
    /// A mail server that gets e-mail besides the inbox: smtp://host:port, smtp://host?tls=required, or
    /// smtps://host, with user:password@ before the host where it asks for them.
    #[arg(long, env = "CONCLAVE_SMTP", value_name = "URL", hide_env_values = true)]
    pub smtp: Option<String>,
    /// Whom that e-mail is from: an address, or `name <address>`.
    #[arg(long, env = "CONCLAVE_SMTP_FROM", default_value = "Conclave <no-reply@example.com>")]
    pub smtp_from: String,
    /// Where functions that pools name in LambdaConfig are called: what answers to the invoke API of AWS Lambda,
    /// such as http://localhost:4566. Signed with the access key `test`.
    #[arg(long, env = "CONCLAVE_LAMBDA", value_name = "URL")]
    pub lambda: Option<String>,
    /// A function that is called by a POST of its event, as ARN=URL. Can be given several times.
    #[arg(
        long = "webhook",
        env = "CONCLAVE_WEBHOOKS",
        value_name = "ARN=URL",
        value_delimiter = ' '
    )]
    pub webhooks: Vec<String>,
    /// What those calls are signed with.
    #[arg(long, env = "CONCLAVE_WEBHOOK_SECRET", default_value = "test", hide_env_values = true)]
    pub webhook_secret: String,
    /// SHA-1 hashes of passwords that are known to be compromised, in hex, one a line: threat protection tells who has one.
    #[arg(long, env = "CONCLAVE_COMPROMISED_PASSWORDS", value_name = "FILE")]
    pub compromised_passwords: Option<PathBuf>,
    /// Where keys of custom senders (KMSKeyID) are: what answers to GenerateDataKey of AWS KMS, such as
    /// http://localhost:4566. Signed with the access key `test`.
    #[arg(long, env = "CONCLAVE_KMS", value_name = "URL")]
    pub kms: Option<String>,
    /// A key of custom senders that is in a file, 32 bytes in base64, as ARN=FILE. Can be given several times.
    #[arg(
        long = "kms-key",
        env = "CONCLAVE_KMS_KEYS",
        value_name = "ARN=FILE",
        value_delimiter = ' '
    )]
    pub kms_keys: Vec<String>,
    /// Memory for blocks that have been read, in mebibytes.
    #[arg(long, env = "CONCLAVE_CACHE_MEBIBYTES", default_value_t = 128, value_parser = clap::value_parser!(u32).range(64..=1 << 20))]
    pub cache_mebibytes: u32,
    /// Accounts, pools, clients and users to begin with, in TOML or JSON. Applied at every start: what is as declared stays as it is.
    #[arg(long, env = "CONCLAVE_SEED")]
    pub seed: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub struct ConfigArg {
    /// The configuration of the node, in TOML.
    #[arg(long, env = "CONCLAVE_CONFIG")]
    pub config: PathBuf,
}

#[derive(Debug, Subcommand)]
pub enum AccountCommand {
    /// Makes an account and prints its id.
    Create {
        #[command(flatten)]
        config: ConfigArg,
        /// What people call it.
        #[arg(long)]
        name: String,
        /// 12 digits; drawn when it is not given.
        #[arg(long)]
        id: Option<String>,
    },
    /// Lists accounts.
    List {
        #[command(flatten)]
        config: ConfigArg,
    },
}

#[derive(Debug, Subcommand)]
pub enum CredentialsCommand {
    /// Makes an access key and prints it, with its secret, once.
    Create {
        #[command(flatten)]
        config: ConfigArg,
        /// The account, 12 digits.
        #[arg(long)]
        account: String,
        /// The name of the principal.
        #[arg(long)]
        user: String,
        /// A file with an IAM policy document. Without it, everything within the account is allowed.
        #[arg(long)]
        policy: Option<PathBuf>,
    },
    /// Lists access keys, without secrets.
    List {
        #[command(flatten)]
        config: ConfigArg,
    },
    /// Ends an access key.
    Delete {
        #[command(flatten)]
        config: ConfigArg,
        /// The id of the access key.
        access_key_id: String,
    },
}

#[derive(Debug, Subcommand)]
pub enum PkiCommand {
    /// Makes a certificate authority: ca.pem and ca-key.pem.
    Init {
        /// Where the files are made.
        #[arg(long, default_value = "pki")]
        dir: PathBuf,
        /// The cluster.
        #[arg(long)]
        cluster_id: String,
    },
    /// Makes a certificate: NAME.pem and NAME-key.pem.
    Issue {
        /// Where ca.pem and ca-key.pem are, and where the files are made.
        #[arg(long, default_value = "pki")]
        dir: PathBuf,
        /// The cluster.
        #[arg(long)]
        cluster_id: String,
        /// What it allows. By default that of a node, or without --node-id that of a gateway.
        #[arg(long)]
        role: Option<Role>,
        /// The node's number, with the role `node`.
        #[arg(long, default_value_t = 0)]
        node_id: u64,
        /// The name of the files.
        #[arg(long)]
        name: String,
        /// Names and addresses under which others reach the node; not for the role `admin`.
        #[arg(long = "host")]
        hosts: Vec<String>,
    },
}
