//! Faults on a real cluster, from a seed. `docs/faults.md` says what is done and what must hold.

use std::{fs, path::PathBuf, process::ExitCode, time::Duration};

use anyhow::{Context, Result, ensure};
use clap::{Args, Parser, Subcommand};
use conclave_testkit::chaos::{
    catch_up::{self, CatchUpOptions},
    lab::LabOptions,
    rows::{self, ROWS, Row},
    run::{self, Plan, say},
    sandbox::{self, Tools, WorkDir},
};
use tokio::signal::unix::{SignalKind, signal};

/// Faults on a real cluster of `conclave serve`, under a load whose histories are judged.
#[derive(Debug, Parser)]
#[command(name = "conclave-chaos", about)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Faults by chance, or those of --only in turn.
    Run(RunArgs),
    /// A few minutes with the rows that find most; part of `make test`.
    Smoke(Common),
    /// Until a number of operations, with a fault every 15 to 30 s.
    Long(LongArgs),
    /// How a new follower of a group with many users catches up while sign-ins go on.
    CatchUp(CatchUpArgs),
    /// The rows that can be run.
    Rows,
}

#[derive(Debug, Clone, Args)]
struct Common {
    /// The server.
    #[arg(long, env = "CONCLAVE_BIN")]
    conclave: PathBuf,
    /// Another version of the server: the nodes begin with it, and F26 takes them one by one to the version of --conclave, and
    /// back again in its next round.
    #[arg(long)]
    previous: Option<PathBuf>,
    /// Decides everything that is left to chance.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Where a directory for data is made; by default among temporary files.
    #[arg(long)]
    dir: Option<PathBuf>,
    /// Where a report in JSON is written.
    #[arg(long)]
    json: Option<PathBuf>,
    /// Keeps data and logs.
    #[arg(long)]
    keep: bool,
    /// Clients of registers.
    #[arg(long, default_value_t = 48)]
    clients: u32,
    /// Groups of pools.
    #[arg(long, default_value_t = 2)]
    pool_groups: u32,
    /// Limits of time are so many times as long as the matrix says.
    #[arg(long, default_value_t = 1)]
    patience: u32,
    /// A figure beyond its limit does not fail the run.
    #[arg(long)]
    lenient: bool,
    /// Faults that have a length last as long as the matrix says, instead of a part of it.
    #[arg(long)]
    long_holds: bool,
    /// The server has this bug on purpose, and the run passes when it is caught. Needs a server with fault points.
    #[arg(long)]
    bug: Option<String>,
    /// Plain directories and loopback, even where more is possible.
    #[arg(long)]
    plain: bool,
    /// Set by this program when it runs itself in namespaces: where data is kept.
    #[arg(long, hide = true)]
    inside: Option<PathBuf>,
}

#[derive(Debug, Clone, Args)]
struct RunArgs {
    #[command(flatten)]
    common: Common,
    /// How long faults begin.
    #[arg(long, default_value_t = 10)]
    minutes: u64,
    /// Rows, such as F01,F05.
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// At most so many faults.
    #[arg(long)]
    rounds: Option<u64>,
    /// Quiet seconds between two faults, at least.
    #[arg(long, default_value_t = 1)]
    rest: u64,
}

#[derive(Debug, Clone, Args)]
struct LongArgs {
    #[command(flatten)]
    common: Common,
    /// Operations.
    #[arg(long, default_value_t = 1_000_000)]
    operations: u64,
    /// At most so long.
    #[arg(long, default_value_t = 19)]
    minutes: u64,
}

#[derive(Debug, Clone, Args)]
struct CatchUpArgs {
    #[command(flatten)]
    common: Common,
    /// Users of the group.
    #[arg(long, default_value_t = 20_000)]
    users: u64,
    /// Users who sign in, one request at a time for each.
    #[arg(long, default_value_t = 4)]
    sign_ins: u32,
    /// A process may need so much more memory than before: what is copied must never be in memory as a whole.
    #[arg(long, default_value_t = 250.0)]
    memory_mb: f64,
}

const SMOKE: [&str; 5] = ["F01", "F05", "F11", "F17", "F28"];

impl Command {
    fn common(&self) -> Option<&Common> {
        match self {
            Self::Run(args) => Some(&args.common),
            Self::Smoke(common) => Some(common),
            Self::Long(args) => Some(&args.common),
            Self::CatchUp(args) => Some(&args.common),
            Self::Rows => None,
        }
    }

    fn plan(&self) -> Result<Plan> {
        let all = |ids: &[&str]| -> Result<Vec<Row>> {
            ids.iter().map(|id| rows::find(id).with_context(|| format!("no row {id}"))).collect()
        };
        let mut plan = Plan {
            rows: ROWS.iter().filter(|row| row.open.is_none()).copied().collect(),
            in_turn: false,
            duration: Duration::MAX,
            rounds_max: u64::MAX,
            operations: None,
            rest_min: Duration::from_secs(1),
            rest_max: Duration::from_secs(4),
            strict: self.common().is_some_and(|common| !common.lenient),
            patience: self.common().map_or(1, |common| common.patience),
        };
        match self {
            Self::Run(args) => {
                if !args.only.is_empty() {
                    let ids: Vec<&str> = args.only.iter().map(String::as_str).collect();
                    (plan.rows, plan.in_turn) = (all(&ids)?, true);
                }
                plan.duration = Duration::from_secs(60 * args.minutes);
                plan.rounds_max = args.rounds.unwrap_or(u64::MAX);
                plan.rest_min = Duration::from_secs(args.rest);
                plan.rest_max = plan.rest_min + Duration::from_secs(3);
            }
            Self::Smoke(_) => {
                (plan.rows, plan.in_turn) = (all(&SMOKE)?, true);
                plan.duration = Duration::from_secs(180);
                plan.rounds_max = 2 * SMOKE.len() as u64;
                // a gate must not fail because the machine is busy
                plan.patience = plan.patience.max(5);
            }
            Self::Long(args) => {
                plan.duration = Duration::from_secs(60 * args.minutes);
                plan.operations = Some(args.operations);
                plan.rest_min = Duration::from_secs(8);
                plan.rest_max = Duration::from_secs(20);
            }
            Self::CatchUp(_) | Self::Rows => {}
        }
        Ok(plan)
    }
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let result = match cli.command.common() {
        None => {
            for row in ROWS {
                let open = row.open.map_or_else(String::new, |open| format!(" (open: {open})"));
                say(&format!("{}  {}{open}", row.id, row.name));
            }
            Ok(true)
        }
        Some(common) if common.inside.is_some() => inside(&cli.command, common),
        Some(common) => outside(&cli.command, common),
    };
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            say(&format!("conclave-chaos: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

/// Goes into namespaces where that is possible, and cleans up afterwards, however it ended.
fn outside(command: &Command, common: &Common) -> Result<bool> {
    for binary in [Some(&common.conclave), common.previous.as_ref()].into_iter().flatten() {
        ensure!(binary.is_file(), "{} is no file", binary.display());
    }
    let below = common.dir.clone().unwrap_or_else(std::env::temp_dir);
    let mut work = WorkDir::create(&fs::canonicalize(&below)?)?;
    work.keep = common.keep;
    let runtime = tokio::runtime::Runtime::new()?;
    if common.plain || !sandbox::can_unshare() {
        let mut plain = common.clone();
        plain.inside = Some(work.path.clone());
        return runtime.block_on(until_told(drive(command, &plain, false)));
    }
    let mut arguments: Vec<String> = std::env::args().skip(1).collect();
    arguments.extend(["--inside".to_owned(), work.path.display().to_string()]);
    let mut child = sandbox::enter(&arguments)?;
    runtime.block_on(async {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut look = tokio::time::interval(Duration::from_millis(100));
        loop {
            tokio::select! {
                _ = terminate.recv() => break,
                _ = interrupt.recv() => break,
                _ = look.tick() => if let Some(status) = child.try_wait()? {
                    return Ok(status.success());
                }
            }
        }
        // everything in the namespaces ends with it
        let _ = child.kill();
        let _ = child.wait();
        say("conclave-chaos: told to stop");
        Ok(false)
    })
}

fn inside(command: &Command, common: &Common) -> Result<bool> {
    let runtime = tokio::runtime::Runtime::new()?;
    runtime.block_on(until_told(drive(command, common, true)))
}

/// A signal drops what runs, which ends the servers.
async fn until_told(work: impl Future<Output = Result<bool>>) -> Result<bool> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::select! {
        result = work => result,
        _ = terminate.recv() => Ok(false),
        _ = interrupt.recv() => Ok(false),
    }
}

async fn drive(command: &Command, common: &Common, in_namespaces: bool) -> Result<bool> {
    let dir = common.inside.clone().context("no directory")?;
    let binary = fs::canonicalize(&common.conclave)?;
    let tools = Tools::probe(in_namespaces, &dir, &binary);
    let plan = command.plan()?;
    ensure!(common.bug.is_none() || tools.failpoints, "--bug needs a server with fault points");
    say(&format!("seed {}: {tools:?}", common.seed));
    if let Command::CatchUp(args) = command {
        let options = CatchUpOptions {
            binary,
            dir,
            seed: common.seed,
            tools,
            users: args.users,
            clients: args.sign_ins,
            memory_mb: args.memory_mb,
        };
        let (report, good) = catch_up::measure(&options).await?;
        if let Some(path) = &common.json {
            fs::write(path, format!("{report:#}\n"))?;
        }
        say(if good { "catch-up: passed" } else { "catch-up: failed" });
        return Ok(good);
    }
    let options = LabOptions {
        binary,
        previous: common.previous.as_ref().map(fs::canonicalize).transpose()?,
        dir,
        seed: common.seed,
        clients: common.clients,
        nodes: 3,
        pool_groups: common.pool_groups,
        tools,
        patience: plan.patience,
        long_holds: common.long_holds,
        bug: common.bug.clone(),
    };
    let report = run::run(options, &plan).await?;
    if let Some(path) = &common.json {
        fs::write(path, format!("{:#}\n", report.json()))?;
    }
    say(&report.summary());
    if let Some(bug) = &common.bug {
        let caught = report.broken() > 0;
        say(&format!("the bug {bug} was {}", if caught { "caught" } else { "not caught" }));
        return Ok(caught);
    }
    Ok(report.passed_and_failed().1 == 0)
}
