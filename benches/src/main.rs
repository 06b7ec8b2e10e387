//! What a node and a cluster do in a second, beside what the machine itself can do: the parts of
//! each operation are measured alone before and after the load, and the figures that count are
//! ratios. `docs/performance.md` says how to read them.

mod floor;
mod flows;
mod functions;
mod import;
mod limits;
mod load;
mod proc;
mod report;
mod servers;
mod stats;
mod workload;

use std::{
    fs,
    io::{Write, stdout},
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, Result, anyhow, bail, ensure};
use clap::{Parser, Subcommand};
use tokio::{
    signal::unix::{SignalKind, signal},
    task, time,
};

use crate::{
    floor::Floor,
    limits::{Effort, Limits},
    load::{Measured, Pace},
    report::{Deployment, Report},
    servers::Servers,
    workload::{Operation, Target},
};

/// Connections at which group commit is judged.
const CONNECTIONS_MANY: usize = 64;
/// Set-up, tear-down and the limits, of one deployment, at the slowest.
const OVERHEAD: Duration = Duration::from_secs(240);

/// Measures Conclave beside the limits of the machine.
#[derive(Debug, Clone, Parser)]
#[command(name = "conclave-bench", about, args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(subcommand)]
    command: Option<Part>,
    /// The server's binary.
    #[arg(long, default_value = "target/release/conclave")]
    conclave: PathBuf,
    /// How long each step is measured, in seconds.
    #[arg(long, default_value_t = 10.0)]
    seconds: f64,
    /// Connections with one request under way each.
    #[arg(long, default_value_t = 16)]
    connections: usize,
    /// How often each step is run; the median counts.
    #[arg(long, default_value_t = 1)]
    repeat: usize,
    /// Users in the pool.
    #[arg(long, default_value_t = 200)]
    users: usize,
    /// Deployments: 1 is `conclave dev`, 3 is three times `conclave serve`.
    #[arg(long, value_delimiter = ',', default_value = "1,3")]
    nodes: Vec<usize>,
    /// Two seconds for each step and short limits: shows that it works, not how fast.
    #[arg(long)]
    quick: bool,
    /// Where data are kept while it runs; on the disk that is to be measured.
    #[arg(long, default_value = "target")]
    dir: PathBuf,
    /// Where the figures go as JSON.
    #[arg(long)]
    json: Option<PathBuf>,
}

#[derive(Debug, Clone, Subcommand)]
enum Part {
    /// The HTTP floor; started by the load generator itself.
    #[command(name = floor::COMMAND, hide = true)]
    Floor,
    /// A pool of a million users, made by import, beside a small one.
    Import(import::ImportArgs),
    /// The ways to sign in, each beside what it is made of.
    Flows(flows::FlowArgs),
}

#[tokio::main]
async fn main() -> ExitCode {
    match start(Cli::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // nobody is left to tell when this cannot be written
            let _ = progress(&format!("{error:#}"));
            ExitCode::FAILURE
        }
    }
}

async fn start(mut cli: Cli) -> Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let part = async |part: &Part| match part {
        Part::Floor => floor::serve().await,
        Part::Import(args) => import::run(args).await,
        Part::Flows(args) => flows::run(args).await,
    };
    if let Some(command) = &cli.command {
        // the servers end with it
        return tokio::select! {
            done = part(command) => done,
            _ = tokio::signal::ctrl_c() => bail!("interrupted"),
            _ = terminate.recv() => bail!("terminated"),
        };
    }
    if cli.quick {
        cli.seconds = 2.0;
        cli.users = cli.users.min(CONNECTIONS_MANY);
    }
    ensure!((0.5..=600.0).contains(&cli.seconds), "--seconds is not between 0.5 and 600");
    ensure!((1..=20).contains(&cli.repeat), "--repeat is not between 1 and 20");
    ensure!((1..=1_000).contains(&cli.connections), "--connections is not between 1 and 1000");
    ensure!(cli.nodes.iter().all(|n| [1, 3].contains(n)), "--nodes takes 1 and 3");
    let callers = cli.connections.max(CONNECTIONS_MANY);
    ensure!(cli.users >= callers, "--users is below {callers}, so that callers would share users");
    let steps = cli.nodes.len() * STEPS * cli.repeat;
    let limit = OVERHEAD * (cli.nodes.len() as u32 + 1)
        + Duration::from_secs_f64(cli.seconds * 2.0 * steps as f64);
    // whichever ends first, the servers end with it
    tokio::select! {
        done = time::timeout(limit, run(&cli)) => done.context("it took too long")?,
        _ = tokio::signal::ctrl_c() => bail!("interrupted"),
        _ = terminate.recv() => bail!("terminated"),
    }
}

/// A directory that is removed in the end.
struct Scratch(PathBuf);

impl Scratch {
    fn new(parent: &Path) -> Result<Self> {
        let path = parent.join(format!("conclave-bench-{}", std::process::id()));
        fs::create_dir_all(&path).with_context(|| format!("cannot create {}", path.display()))?;
        Ok(Self(path.canonicalize()?))
    }

    fn sub(&self, name: &str) -> Result<PathBuf> {
        let path = self.0.join(name);
        fs::create_dir_all(&path)?;
        Ok(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

async fn run(cli: &Cli) -> Result<()> {
    let binary = cli
        .conclave
        .canonicalize()
        .with_context(|| format!("{} is not there: build it first", cli.conclave.display()))?;
    let scratch = Scratch::new(&cli.dir)?;
    let cores = std::thread::available_parallelism()?.get();
    let (pace, connections) = (Duration::from_secs_f64(cli.seconds), cli.connections);
    let limits = async |dir: PathBuf| {
        measure_limits(cli.quick, pace.min(Duration::from_secs(5)), connections, cores, &dir).await
    };
    let before = limits(scratch.sub("limits")?).await?;
    let mut deployments = Vec::new();
    for nodes in &cli.nodes {
        deployments.push(deployment(cli, &binary, &scratch, *nodes).await?);
    }
    let after = limits(scratch.sub("limits")?).await?;
    let report = Report {
        cores,
        connections: cli.connections,
        connections_many: CONNECTIONS_MANY,
        before,
        after,
        deployments,
    };
    let mut out = stdout().lock();
    out.write_all(report.text().as_bytes())?;
    out.flush()?;
    if let Some(path) = &cli.json {
        let text = serde_json::to_string_pretty(&report.json())?;
        fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    match report.bad() {
        0 => Ok(()),
        bad => Err(anyhow!("{bad} bad answers")),
    }
}

/// The limits of the machine; `window` is how long the floor is measured.
async fn measure_limits(
    quick: bool,
    window: Duration,
    connections: usize,
    cores: usize,
    dir: &Path,
) -> Result<Limits> {
    progress("measuring the limits of the machine")?;
    let effort = if quick {
        Effort { window: Duration::from_millis(200), rounds: 1 }
    } else {
        Effort { window: Duration::from_millis(700), rounds: 5 }
    };
    let path = dir.to_owned();
    let mut limits = task::spawn_blocking(move || Limits::measure(cores, effort, &path)).await??;
    let floor = Floor::start()?;
    let pace = Pace { warm_up: Duration::from_millis(300), window };
    limits.floor = load::run_floor(&floor.authority, floor.pid(), connections, pace).await?;
    Ok(limits)
}

/// The steps of one deployment, see [`deployment`].
const STEPS: usize = 9;

async fn deployment(
    cli: &Cli,
    binary: &Path,
    scratch: &Scratch,
    nodes: usize,
) -> Result<Deployment> {
    let dir = scratch.sub(&format!("nodes-{nodes}"))?;
    progress(&format!("starting {nodes} of {}", binary.display()))?;
    let servers = match nodes {
        1 => Servers::dev(binary, &dir, &[]).await?,
        _ => Servers::cluster(binary, &dir).await?,
    };
    let target = Target::prepare(&servers, cli.users).await?;
    let pids = servers.pids();
    progress("idle")?;
    let idle_cores = load::idle_cores(&pids, Duration::from_secs_f64(cli.seconds.min(5.0))).await?;
    let mut steps = Vec::new();
    for (operation, connections) in [
        (Operation::GetUser, cli.connections),
        (Operation::Refresh, cli.connections),
        (Operation::PasswordSignIn, cli.connections),
        (Operation::SrpSignIn, cli.connections),
        (Operation::SignUp, cli.connections),
        (Operation::AdminCreateUser, cli.connections),
        (Operation::AdminCreateUser, 1),
    ] {
        let measured = step(cli, &target, &pids, operation, connections).await?;
        steps.push((operation, measured));
    }
    // Who signed up can be confirmed once: a quarter of them alone, the others all at once.
    let some = target.unconfirmed().len() / 4;
    let others = target.unconfirmed().split_off(some);
    let once = Cli { repeat: 1, ..cli.clone() };
    for connections in [1, CONNECTIONS_MANY] {
        let measured = step(&once, &target, &pids, Operation::ConfirmSignUp, connections).await?;
        steps.push((Operation::ConfirmSignUp, measured));
        if connections == 1 {
            target.unconfirmed().extend(others.iter().cloned());
        }
    }
    servers.stop().await?;
    fs::remove_dir_all(&dir)?;
    Ok(Deployment { nodes, idle_cores, steps })
}

async fn step(
    cli: &Cli,
    target: &Arc<Target>,
    pids: &[u32],
    operation: Operation,
    connections: usize,
) -> Result<Measured> {
    progress(&format!("{}, {connections} connections", operation.name()))?;
    let pace = Pace {
        warm_up: Duration::from_secs_f64((cli.seconds / 10.0).clamp(0.3, 2.0)),
        window: Duration::from_secs_f64(cli.seconds),
    };
    let mut runs: Vec<Measured> = Vec::new();
    for _ in 0..cli.repeat {
        runs.push(load::run(target, pids, operation, connections, pace).await?);
    }
    // bad answers of any run count
    let bad = runs.iter().map(|run| run.bad).sum();
    let first_bad = runs.iter().find_map(|run| run.first_bad.clone());
    let median = stats::median_by(runs, |run| run.server_cpu_ms).context("no runs")?;
    Ok(Measured { bad, first_bad, ..median })
}

/// For whoever waits; figures go to standard output.
fn progress(text: &str) -> Result<()> {
    let mut out = std::io::stderr().lock();
    writeln!(out, "bench: {text}")?;
    Ok(())
}
