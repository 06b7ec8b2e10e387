//! What people type.

use std::{path::PathBuf, time::Duration};

use clap::{Args, Subcommand};

use crate::failure;

#[derive(Debug, Subcommand)]
pub enum ClusterCommand {
    /// Whether the cluster is well, and what is wrong.
    #[command(after_help = failure::CODES)]
    Status(View),
    /// The nodes: where they are, what they hold, whether they answer.
    #[command(after_help = failure::CODES)]
    Nodes(View),
    /// The groups: who leads and votes, how far replicas are, what is being moved.
    #[command(after_help = failure::CODES)]
    Groups(View),
    /// Has a node give all its groups away, so that it can be stopped and removed.
    #[command(after_help = failure::CODES)]
    Drain(Change),
    /// Has a node take groups again that is draining or drained.
    #[command(after_help = failure::CODES)]
    Undrain(Brief),
    /// Gives the groups of a node that does not come back to others, at once, and removes it.
    #[command(after_help = failure::CODES)]
    Replace {
        #[command(flatten)]
        change: Change,
        /// The node that is to take them. Without it, they are spread.
        #[arg(long, value_name = "NODE")]
        with: Option<u64>,
    },
    /// Ends the membership of a drained node, for good: its number is never used again.
    #[command(after_help = failure::CODES)]
    Remove(Brief),
    /// Has another voter lead a group.
    #[command(after_help = failure::CODES)]
    TransferLeadership {
        #[command(flatten)]
        connection: Connection,
        /// The group; the directory is 0.
        #[arg(long)]
        group: u32,
        /// Who is to lead it.
        #[arg(long, value_name = "NODE")]
        to: u64,
    },
}

/// Where the cluster is, and who asks.
#[derive(Debug, Args)]
pub struct Connection {
    /// A node's configuration: its addresses and authority are used. The certificate is `admin.pem` with `admin-key.pem`
    /// beside the authority, unless --certificate and --key are given.
    #[arg(long, env = "CONCLAVE_CONFIG")]
    pub config: Option<PathBuf>,
    /// `host:port` of the internal port of a node. Any will do; with several, the next one is asked when one does not answer.
    #[arg(long, env = "CONCLAVE_ADDRESS", value_delimiter = ',')]
    pub address: Vec<String>,
    /// The authority of the cluster's certificates.
    #[arg(long, env = "CONCLAVE_CA")]
    pub ca: Option<PathBuf>,
    /// A certificate of the role admin.
    #[arg(long, env = "CONCLAVE_CERTIFICATE", requires = "key")]
    pub certificate: Option<PathBuf>,
    /// Its key.
    #[arg(long, env = "CONCLAVE_KEY", requires = "certificate")]
    pub key: Option<PathBuf>,
}

/// Something to look at.
#[derive(Debug, Args)]
pub struct View {
    #[command(flatten)]
    pub connection: Connection,
    /// One JSON document instead of tables.
    #[arg(long)]
    pub json: bool,
}

/// A change that is made at once.
#[derive(Debug, Args)]
pub struct Brief {
    #[command(flatten)]
    pub connection: Connection,
    /// The node's number.
    pub node: u64,
}

/// A change that takes its time. The cluster goes on with it when the command is interrupted.
#[derive(Debug, Args)]
pub struct Change {
    #[command(flatten)]
    pub connection: Connection,
    /// The node's number.
    pub node: u64,
    /// Do not wait until it is done.
    #[arg(long)]
    pub no_wait: bool,
    /// For how many seconds to wait.
    #[arg(long, default_value_t = 3_600, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub timeout: u64,
}

impl Change {
    pub fn timeout(&self) -> Duration {
        Duration::from_secs(self.timeout)
    }
}
