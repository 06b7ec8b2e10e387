//! `conclave doctor`: what is wrong with a configuration, the machine that it is for, and the cluster that it belongs to. It
//! changes nothing, and can be run while the node runs.
//!
//! - `findings`: what is found, for people and machines
//! - `configuration`: the file, the key-encryption key, certificates; `machine`: data directory, disk, ports;
//!   `cluster`: the other nodes, clocks, health

mod cluster;
mod configuration;
mod findings;
mod machine;

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;

use self::findings::Findings;
use crate::{cluster_admin::Connection, config::ServeConfig, failure::Failure, output};

/// What the exit codes mean; also in its help.
const CODES: &str =
    "Exit codes: 0 nothing is wrong (warnings may be), 2 usage, 4 something is wrong.";

/// Looks for what is wrong with a configuration, this machine and the cluster, and says what to do.
#[derive(Debug, Args)]
#[command(after_help = CODES)]
pub struct DoctorArgs {
    /// The configuration of a node or gateway.
    #[arg(long, env = "CONCLAVE_CONFIG")]
    pub config: PathBuf,
    /// One JSON document.
    #[arg(long)]
    pub json: bool,
    /// A certificate of the role admin, to ask the cluster with. By default `admin.pem` beside the authority, where it is.
    #[arg(long, env = "CONCLAVE_CERTIFICATE", requires = "key")]
    pub certificate: Option<PathBuf>,
    /// Its key.
    #[arg(long, env = "CONCLAVE_KEY", requires = "certificate")]
    pub key: Option<PathBuf>,
}

/// Looks at everything; what is wrong with one thing does not keep it from looking at the next.
pub async fn run(args: DoctorArgs) -> Result<()> {
    let mut findings = Findings::default();
    if let Some(config) = configuration::read(&args.config, &mut findings) {
        look(&args, &config, &mut findings).await;
    }
    output::line(&match args.json {
        true => findings.json()?,
        false => findings.text(),
    })?;
    match findings.is_well() {
        true => Ok(()),
        false => Err(Failure::not_well("something is wrong").into()),
    }
}

async fn look(args: &DoctorArgs, config: &ServeConfig, findings: &mut Findings) {
    configuration::look(config, findings);
    machine::look(config, findings).await;
    let connection = Connection {
        config: Some(args.config.clone()),
        address: Vec::new(),
        ca: None,
        certificate: args.certificate.clone(),
        key: args.key.clone(),
    };
    cluster::look(config, &connection, findings).await;
}
