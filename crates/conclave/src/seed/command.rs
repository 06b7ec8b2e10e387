//! `conclave seed`.

use std::path::PathBuf;

use anyhow::Result;
use clap::{Args, Subcommand};

use super::{
    apply,
    endpoint::{self, Answer},
    file::{self, Format, Seed},
    schema,
};
use crate::{failure::Failure, output, serve};

#[derive(Debug, Subcommand)]
pub enum SeedCommand {
    /// Brings a running server to what a file declares: makes and changes what has to be, and deletes nothing.
    Apply(ApplyArgs),
    /// Prints the JSON schema of a seed.
    Schema,
}

#[derive(Debug, Args)]
pub struct ApplyArgs {
    /// The seed, in TOML or JSON.
    pub file: PathBuf,
    /// A cluster: the configuration of a node or gateway. Its certificate and key-encryption key are used, as with `conclave account`.
    #[arg(long, env = "CONCLAVE_CONFIG")]
    pub config: Option<PathBuf>,
    /// A `conclave dev`, such as http://127.0.0.1:9229.
    #[arg(long)]
    pub endpoint: Option<String>,
}

/// Runs a command.
pub async fn run(command: SeedCommand) -> Result<()> {
    match command {
        SeedCommand::Apply(args) => apply_to(&args).await,
        SeedCommand::Schema => {
            output::line(schema::text().trim_end())?;
            Ok(())
        }
    }
}

async fn apply_to(args: &ApplyArgs) -> Result<()> {
    let report = match (&args.endpoint, &args.config) {
        (Some(endpoint), _) => {
            let format = Format::of(&args.file)?;
            let name = args.file.display().to_string();
            match endpoint::send(endpoint, format, &file::text(&args.file)?).await? {
                Answer::Done(report) => report,
                Answer::Refused(errors) => return Err(errors.named(name).into()),
            }
        }
        (None, Some(config)) => {
            let seed = Seed::read(&args.file)?;
            let world = serve::connect(config).await?;
            apply(&world, &seed).await?
        }
        (None, None) => {
            let text =
                "where is the server? Give --config for a cluster, or --endpoint for conclave dev";
            return Err(Failure::usage(text).into());
        }
    };
    for change in &report.changes {
        output::line(change)?;
    }
    output::line(&report.summary())?;
    Ok(())
}
