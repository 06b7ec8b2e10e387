//! What this machine can do: the parts of which a request is made, each alone.

use std::{
    fs::{self, File},
    hint::black_box,
    io::Write,
    path::Path,
    sync::{Barrier, Condvar, Mutex, PoisonError},
    thread,
    time::Duration,
};

use anyhow::{Context, Result, anyhow, ensure};
use conclave_crypto::{
    bignum::{self, Element},
    entropy::{SystemEntropy, bytes},
    password::{Params, PasswordHasher},
    token::{KeySet, SigningKey},
};
use serde_json::json;
use tokio::time::Instant;

use crate::{proc, stats};

/// Threads that share the log in [`Limits::group_commit`], as db_bench's usual 16.
const COMMITTERS: usize = 16;

/// How long each limit is measured.
#[derive(Debug, Clone, Copy)]
pub struct Effort {
    pub window: Duration,
    pub rounds: usize,
}

/// One limit.
#[derive(Debug, Clone, Copy, Default)]
pub struct Limit {
    /// On all cores together.
    pub per_second: f64,
    /// Processor time of one, in ms, with all cores at work.
    pub cpu_ms: f64,
    /// Of the latencies, in ms; measured for the disk and the floor only.
    pub p50_ms: f64,
    pub p99_ms: f64,
}

/// All limits.
#[derive(Debug, Clone, Default)]
pub struct Limits {
    /// A password hash at the server's cost.
    pub argon2: Limit,
    /// An RS256 token of about 900 bytes.
    pub rsa_sign: Limit,
    /// The same, verified.
    pub rsa_verify: Limit,
    /// A power modulo the 3072-bit group, with a 256-bit exponent.
    pub mod_exp: Limit,
    /// An appended record of 512 bytes, with fdatasync.
    pub sync_512: Limit,
    /// An appended record of 2 KiB, with fdatasync.
    pub sync_2048: Limit,
    /// 2 KiB records of 16 threads that share each fdatasync.
    pub group_commit: Limit,
    /// The HTTP floor; measured by the load generator.
    pub floor: Limit,
}

impl Limits {
    /// Each with its name.
    pub fn named(&self) -> [(&'static str, Limit); 8] {
        [
            ("Argon2id 19 MiB t=2", self.argon2),
            ("RSA-2048 sign", self.rsa_sign),
            ("RSA-2048 verify", self.rsa_verify),
            ("modexp 3072, exponent 256", self.mod_exp),
            ("append 512 B + fdatasync", self.sync_512),
            ("append 2 KiB + fdatasync", self.sync_2048),
            ("group commit, 16 x 2 KiB", self.group_commit),
            ("HTTP floor", self.floor),
        ]
    }

    /// The mean of what was measured before and after.
    pub fn mean(&self, after: &Self) -> Self {
        let mean = |part: fn(&Self) -> Limit| {
            let (a, b) = (part(self), part(after));
            Limit {
                per_second: (a.per_second + b.per_second) / 2.0,
                cpu_ms: (a.cpu_ms + b.cpu_ms) / 2.0,
                p50_ms: (a.p50_ms + b.p50_ms) / 2.0,
                p99_ms: (a.p99_ms + b.p99_ms) / 2.0,
            }
        };
        Self {
            argon2: mean(|l| l.argon2),
            rsa_sign: mean(|l| l.rsa_sign),
            rsa_verify: mean(|l| l.rsa_verify),
            mod_exp: mean(|l| l.mod_exp),
            sync_512: mean(|l| l.sync_512),
            sync_2048: mean(|l| l.sync_2048),
            group_commit: mean(|l| l.group_commit),
            floor: mean(|l| l.floor),
        }
    }

    /// Measures everything but the floor. Blocks.
    pub fn measure(cores: usize, effort: Effort, dir: &Path) -> Result<Self> {
        let median = |measure: &dyn Fn() -> Result<Limit>| -> Result<Limit> {
            let runs = (0..effort.rounds).map(|_| measure()).collect::<Result<Vec<_>>>()?;
            stats::median_by(runs, |run| run.per_second).context("no rounds")
        };
        let window = effort.window;
        let hasher = PasswordHasher::new(Params::DEFAULT, cores)?;
        let (key, _) = SigningKey::generate()?;
        let keys = KeySet::new([key.jwk()])?;
        let claims =
            json!({ "sub": "6f1c1f0a-9f6e-4a53-a7e5-0d6a7b1f2c3d", "pad": "x".repeat(560) });
        let token = key.sign(&claims)?;
        let base =
            Element::from_bytes(&bytes::<380>(&SystemEntropy)).context("above the modulus")?;
        Ok(Self {
            argon2: median(&|| {
                on_all_cores(cores, window, || {
                    black_box(hasher.hash(b"Correct-horse-7", &bytes(&SystemEntropy))?);
                    Ok(())
                })
            })?,
            rsa_sign: median(&|| {
                on_all_cores(cores, window, || {
                    black_box(key.sign(&claims)?);
                    Ok(())
                })
            })?,
            rsa_verify: median(&|| {
                on_all_cores(cores, window, || {
                    black_box(keys.verify(&token)?);
                    Ok(())
                })
            })?,
            mod_exp: median(&|| {
                on_all_cores(cores, window, || {
                    black_box(bignum::mod_exp(&base, &bytes::<32>(&SystemEntropy))?);
                    Ok(())
                })
            })?,
            sync_512: median(&|| synced_appends(&dir.join("sync-512"), 512, window))?,
            sync_2048: median(&|| synced_appends(&dir.join("sync-2048"), 2_048, window))?,
            group_commit: median(&|| group_commits(&dir.join("group-commit"), 2_048, window))?,
            floor: Limit::default(),
        })
    }
}

/// Does a thing over and over on `threads` threads.
fn on_all_cores(
    threads: usize,
    window: Duration,
    once: impl Fn() -> Result<()> + Sync,
) -> Result<Limit> {
    let start = Barrier::new(threads);
    let worker = || -> Result<(u64, f64, f64)> {
        // the first builds tables and touches memory
        let warm = once();
        start.wait();
        warm?;
        let (began, cpu) = (Instant::now(), proc::thread_cpu_ms()?);
        let mut done = 0;
        while began.elapsed() < window {
            once()?;
            done += 1;
        }
        Ok((done, proc::thread_cpu_ms()? - cpu, began.elapsed().as_secs_f64()))
    };
    let results = thread::scope(|scope| -> Result<Vec<_>> {
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(worker)).collect();
        threads.into_iter().map(|t| t.join().map_err(|_| anyhow!("a thread ended"))?).collect()
    })?;
    let done: u64 = results.iter().map(|(done, ..)| done).sum();
    ensure!(done > 0, "nothing was done");
    let cpu: f64 = results.iter().map(|(_, cpu, _)| cpu).sum();
    let per_second = results.iter().map(|(done, _, seconds)| *done as f64 / seconds).sum();
    Ok(Limit { per_second, cpu_ms: cpu / done as f64, ..Limit::default() })
}

/// One writer that waits for the disk after every record.
fn synced_appends(path: &Path, record: usize, window: Duration) -> Result<Limit> {
    let mut file = File::create(path)?;
    let record = vec![0x5a; record];
    let (began, cpu) = (Instant::now(), proc::thread_cpu_ms()?);
    let mut latencies = Vec::new();
    while began.elapsed() < window {
        let at = Instant::now();
        file.write_all(&record)?;
        file.sync_data()?;
        latencies.push(at.elapsed().as_secs_f64() * 1e3);
    }
    let (seconds, cpu) = (began.elapsed().as_secs_f64(), proc::thread_cpu_ms()? - cpu);
    fs::remove_file(path)?;
    Ok(summary(latencies, seconds, cpu))
}

fn summary(mut latencies: Vec<f64>, seconds: f64, cpu: f64) -> Limit {
    stats::sort(&mut latencies);
    let count = latencies.len().max(1) as f64;
    Limit {
        per_second: latencies.len() as f64 / seconds,
        cpu_ms: cpu / count,
        p50_ms: stats::percentile(&latencies, 0.5),
        p99_ms: stats::percentile(&latencies, 0.99),
    }
}

/// A log of which many writers wait for the same fdatasync: the one who finds nobody at it writes
/// and syncs for all who wait.
struct Log {
    state: Mutex<LogState>,
    synced: Condvar,
}

#[derive(Default)]
struct LogState {
    waiting: Vec<u8>,
    /// The batch that is being filled; those below it are written or being written.
    filling: u64,
    /// Batches below this one are on disk.
    on_disk: u64,
    syncing: bool,
}

impl Log {
    fn append(&self, mut file: &File, record: &[u8]) -> Result<()> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.waiting.extend_from_slice(record);
        let mine = state.filling;
        while state.on_disk <= mine {
            if state.syncing {
                state = self.synced.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            state.syncing = true;
            let batch = std::mem::take(&mut state.waiting);
            state.filling += 1;
            let filled = state.filling;
            drop(state);
            let written = file.write_all(&batch).and_then(|()| file.sync_data());
            state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            state.syncing = false;
            state.on_disk = filled;
            self.synced.notify_all();
            written?;
        }
        Ok(())
    }
}

fn group_commits(path: &Path, record: usize, window: Duration) -> Result<Limit> {
    let file = File::create(path)?;
    let log = Log { state: Mutex::default(), synced: Condvar::new() };
    let record = vec![0x5a; record];
    let began = Instant::now();
    let worker = || -> Result<(Vec<f64>, f64)> {
        let mut latencies = Vec::new();
        while began.elapsed() < window {
            let at = Instant::now();
            log.append(&file, &record)?;
            latencies.push(at.elapsed().as_secs_f64() * 1e3);
        }
        Ok((latencies, proc::thread_cpu_ms()?))
    };
    let results = thread::scope(|scope| -> Result<Vec<_>> {
        let threads: Vec<_> = (0..COMMITTERS).map(|_| scope.spawn(worker)).collect();
        threads.into_iter().map(|t| t.join().map_err(|_| anyhow!("a thread ended"))?).collect()
    })?;
    let seconds = began.elapsed().as_secs_f64();
    fs::remove_file(path)?;
    let cpu = results.iter().map(|(_, cpu)| cpu).sum();
    Ok(summary(results.into_iter().flat_map(|(latencies, _)| latencies).collect(), seconds, cpu))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_record_of_a_shared_log_is_in_the_file() {
        let path = std::env::temp_dir().join(format!("conclave-bench-log-{}", std::process::id()));
        let file = File::create(&path).unwrap();
        let log = Log { state: Mutex::default(), synced: Condvar::new() };
        thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| (0..20).for_each(|_| log.append(&file, &[7; 10]).unwrap()));
            }
        });
        assert_eq!(fs::read(&path).unwrap(), vec![7; 8 * 20 * 10]);
        fs::remove_file(&path).unwrap();
    }
}
