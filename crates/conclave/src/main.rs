//! The Conclave server: configuration, roles, telemetry, shutdown, administration commands.
//!
//! This is the composition root: it alone reads the clock, randomness and configuration, and hands
//! them to everything else. `compose` wires a gateway, `dev` and `serve` run processes.

mod adapters;
mod admin;
mod audit;
mod auth_metrics;
mod backup;
mod certificates;
mod cli;
mod clock;
mod cluster_admin;
mod compose;
mod config;
mod delivery_metrics;
mod dev;
mod dev_certificate;
mod doctor;
mod exit;
mod failure;
mod kek;
mod key_work;
mod known_nodes;
mod metrics;
mod node;
mod operations;
mod output;
mod pki;
mod placement;
mod pool_moves;
mod process;
mod reconcile;
mod seed;
mod serve;
mod telemetry;
mod trigger_metrics;
mod triggers;
mod user_imports;

use anyhow::Result;
use clap::{CommandFactory as _, Parser};
use conclave_store::Clock;

use crate::{
    cli::{Cli, Command, PkiCommand},
    pki::Role,
};

fn main() {
    let result = run(Cli::parse());
    if let Err(error) = &result {
        // the causes, outermost first
        let text = format!("{error:#}");
        if !error.is::<failure::Failure>() {
            tracing::error!(error = text, "conclave ends");
        }
        let _ = std::io::Write::write_all(
            &mut std::io::stderr(),
            format!("conclave: {text}\n").as_bytes(),
        );
    }
    exit::now(result.err().as_ref().map_or(0, failure::code))
}

fn run(cli: Cli) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let result = runtime.block_on(async {
        let _telemetry = telemetry::start(&telemetry::Options {
            filter: cli.log.log,
            json: cli.log.log_format == "json",
            otlp_endpoint: cli.log.otlp_endpoint,
            instance: std::process::id().to_string(),
        })?;
        if let Some(faults) = conclave_fault::active().map_err(anyhow::Error::msg)? {
            tracing::warn!(faults, "this build makes faults on purpose; it must not hold data");
        }
        match cli.command {
            Command::Dev(args) => dev::run(args).await,
            Command::Serve(args) => serve::run(&args.config).await,
            Command::Cluster(command) => cluster_admin::run(command).await,
            Command::Keys(command) => cluster_admin::run_keys(command).await,
            Command::Backup(args) => backup::run(args).await,
            Command::Doctor(args) => doctor::run(args).await,
            Command::Restore(args) => backup::run_restore(args).await,
            Command::Export(args) => pool_moves::run_export(&args).await,
            Command::Freeze(args) => pool_moves::run_freeze(&args).await,
            Command::Thaw(args) => pool_moves::run_thaw(&args).await,
            Command::Import(args) => pool_moves::run_import(&args).await,
            Command::Account(command) => admin::account(command).await,
            Command::Credentials(command) => admin::credentials(command).await,
            Command::Seed(command) => seed::run(command).await,
            Command::Pki(command) => pki(command),
            Command::Completions { shell } => {
                let mut script = Vec::new();
                clap_complete::generate(shell, &mut Cli::command(), "conclave", &mut script);
                output::line(&String::from_utf8_lossy(&script))?;
                Ok(())
            }
        }
    });
    // without waiting for threads that a hanging disk holds
    runtime.shutdown_background();
    result
}

fn pki(command: PkiCommand) -> Result<()> {
    let now_ms = clock::SystemClock::start().now_ms();
    match command {
        PkiCommand::Init { dir, cluster_id } => pki::init(&dir, &cluster_id, now_ms),
        PkiCommand::Issue { dir, cluster_id, role, node_id, name, hosts } => {
            // before there were roles, 0 was how to say gateway
            let role = role.unwrap_or(if node_id == 0 { Role::Gateway } else { Role::Node });
            let subject = pki::Subject { cluster_id: &cluster_id, role, node_id, hosts: &hosts };
            pki::issue(&dir, &name, &subject, now_ms)
        }
    }
}
