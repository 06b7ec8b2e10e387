//! A closed loop: N callers, each with one request under way at a time.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, Result};
use tokio::{
    task::JoinSet,
    time::{self, Instant},
};

use conclave_testkit::{http::Connection, request};

use crate::{
    limits::Limit,
    proc, stats,
    workload::{Caller, Operation, Target},
};

/// After so many bad answers in one step a caller gives up: the figures are worth nothing.
const BAD_MAX: u64 = 50;

/// How long a step takes.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// Not measured.
    pub warm_up: Duration,
    /// Measured.
    pub window: Duration,
}

/// What a step came to.
#[derive(Debug, Clone, Default)]
pub struct Measured {
    pub connections: usize,
    /// Answered well within the window.
    pub count: u64,
    /// Errors, warm-up included.
    pub bad: u64,
    /// The first of them.
    pub first_bad: Option<String>,
    pub per_second: f64,
    pub p50_ms: f64,
    pub p99_ms: f64,
    /// Processor time of all server processes for one operation, in ms.
    pub server_cpu_ms: f64,
    /// Processor time of the load generator for one operation, in ms.
    pub client_cpu_ms: f64,
    /// Cores that the servers used.
    pub server_cores: f64,
    /// Cores that neither the servers nor the load generator used.
    pub other_cores: f64,
    /// Resident memory of all server processes at the end, in MB.
    pub rss_mb: f64,
}

struct Cpu {
    at: Instant,
    servers: f64,
    client: f64,
    machine: f64,
}

impl Cpu {
    fn read(pids: &[u32]) -> Result<Self> {
        let servers = pids.iter().map(|pid| proc::cpu_ms(*pid)).sum::<Result<f64>>()?;
        let client = proc::cpu_ms(std::process::id())?;
        Ok(Self { at: Instant::now(), servers, client, machine: proc::machine_cpu_ms()? })
    }
}

/// What callers write down.
struct Notes {
    latencies: Mutex<Vec<f64>>,
    bad: AtomicU64,
    first_bad: Mutex<Option<String>>,
}

impl Notes {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            latencies: Mutex::default(),
            bad: AtomicU64::new(0),
            first_bad: Mutex::default(),
        })
    }

    /// Returns whether to go on.
    fn failed(&self, error: &anyhow::Error) -> bool {
        let mut first = self.first_bad.lock().unwrap_or_else(PoisonError::into_inner);
        first.get_or_insert_with(|| format!("{error:#}"));
        self.bad.fetch_add(1, Ordering::Relaxed) < BAD_MAX
    }

    fn add(&self, latencies: &[f64]) {
        self.latencies.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(latencies);
    }
}

/// One who does a thing over and over.
pub trait Worker: Send + 'static {
    /// Does it once. Returns how long its requests took, without what the client computes; `None`
    /// when there is nothing left to do it on.
    fn work(&mut self) -> impl Future<Output = Result<Option<Duration>>> + Send;
}

/// A caller with its operation.
struct Task {
    caller: Caller,
    operation: Operation,
}

impl Worker for Task {
    async fn work(&mut self) -> Result<Option<Duration>> {
        self.caller.perform(self.operation).await
    }
}

/// Runs an operation with `connections` callers. One that uses its users up has no warm-up and ends
/// when they are gone.
pub async fn run(
    target: &Arc<Target>,
    pids: &[u32],
    operation: Operation,
    connections: usize,
    pace: Pace,
) -> Result<Measured> {
    let warm_up = if operation == Operation::ConfirmSignUp { Duration::ZERO } else { pace.warm_up };
    let mut workers = Vec::new();
    for number in 0..connections {
        let caller = target.caller(number, connections).await?;
        workers.push(Task { caller, operation });
    }
    run_workers(workers, pids, Pace { warm_up, ..pace }).await
}

/// Has all workers work at once.
pub async fn run_workers(workers: Vec<impl Worker>, pids: &[u32], pace: Pace) -> Result<Measured> {
    let connections = workers.len();
    let notes = Notes::new();
    let from = Instant::now() + pace.warm_up;
    let until = from + pace.window;
    let mut tasks = JoinSet::new();
    for mut worker in workers {
        let notes = Arc::clone(&notes);
        tasks.spawn(async move {
            let mut latencies = Vec::new();
            while Instant::now() < until {
                match worker.work().await {
                    Ok(Some(took)) => {
                        let now = Instant::now();
                        if now >= from && now < until {
                            latencies.push(took.as_secs_f64() * 1e3);
                        }
                    }
                    Ok(None) => break,
                    Err(error) if notes.failed(&error) => {}
                    Err(_) => break,
                }
            }
            notes.add(&latencies);
        });
    }
    watch(tasks, pids, &notes, connections, from, until).await
}

/// Cores that the servers use when nobody asks them for anything.
pub async fn idle_cores(pids: &[u32], window: Duration) -> Result<f64> {
    let before = Cpu::read(pids)?;
    time::sleep(window).await;
    let after = Cpu::read(pids)?;
    let seconds = after.at.duration_since(before.at).as_secs_f64();
    Ok((after.servers - before.servers) / (seconds * 1e3))
}

/// Runs the same load against the HTTP floor.
pub async fn run_floor(authority: &str, pid: u32, connections: usize, pace: Pace) -> Result<Limit> {
    let body = serde_json::json!({ "AccessToken": "x".repeat(1_000) });
    let request: Arc<[u8]> = request::unsigned(authority, "GetUser", &body).into();
    let notes = Notes::new();
    let mut open = Vec::new();
    for _ in 0..connections {
        open.push(Connection::open(authority).await?);
    }
    let from = Instant::now() + pace.warm_up;
    let until = from + pace.window;
    let mut tasks = JoinSet::new();
    for mut connection in open {
        let (notes, request) = (Arc::clone(&notes), Arc::clone(&request));
        tasks.spawn(async move {
            let mut latencies = Vec::new();
            while Instant::now() < until {
                let began = Instant::now();
                match connection.send(&request).await {
                    Ok(answer) if answer.status == 200 => {
                        let now = Instant::now();
                        if now >= from && now < until {
                            latencies.push(now.duration_since(began).as_secs_f64() * 1e3);
                        }
                    }
                    Ok(_) => break,
                    Err(error) => {
                        notes.failed(&error);
                        break;
                    }
                }
            }
            notes.add(&latencies);
        });
    }
    let measured = watch(tasks, &[pid], &notes, connections, from, until).await?;
    anyhow::ensure!(measured.bad == 0 && measured.count > 0, "the floor does not answer");
    Ok(Limit {
        per_second: measured.per_second,
        cpu_ms: measured.server_cpu_ms,
        p50_ms: measured.p50_ms,
        p99_ms: measured.p99_ms,
    })
}

/// Reads processor times at both ends of the window, and sums up.
async fn watch(
    mut tasks: JoinSet<()>,
    pids: &[u32],
    notes: &Notes,
    connections: usize,
    from: Instant,
    until: Instant,
) -> Result<Measured> {
    time::sleep_until(from).await;
    let before = Cpu::read(pids)?;
    let all = async { while tasks.join_next().await.is_some() {} };
    let early = time::timeout_at(until, all).await.is_ok();
    let after = Cpu::read(pids)?;
    if !early {
        while let Some(ended) = tasks.join_next().await {
            ended.context("a caller failed")?;
        }
    }
    let mut latencies =
        std::mem::take(&mut *notes.latencies.lock().unwrap_or_else(PoisonError::into_inner));
    stats::sort(&mut latencies);
    let seconds = after.at.duration_since(before.at).as_secs_f64();
    let (servers, client) = (after.servers - before.servers, after.client - before.client);
    let each = latencies.len().max(1) as f64;
    let others = (after.machine - before.machine - servers - client) / (seconds * 1e3);
    Ok(Measured {
        connections,
        count: latencies.len() as u64,
        bad: notes.bad.load(Ordering::Relaxed),
        first_bad: notes.first_bad.lock().unwrap_or_else(PoisonError::into_inner).clone(),
        per_second: latencies.len() as f64 / seconds,
        p50_ms: stats::percentile(&latencies, 0.5),
        p99_ms: stats::percentile(&latencies, 0.99),
        server_cpu_ms: servers / each,
        client_cpu_ms: client / each,
        server_cores: servers / (seconds * 1e3),
        other_cores: others.max(0.0),
        rss_mb: pids.iter().map(|pid| proc::rss_mb(*pid)).sum::<Result<f64>>()?,
    })
}
