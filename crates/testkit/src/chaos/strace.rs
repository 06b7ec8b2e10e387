//! Syncs that are slow or fail: strace on the running process changes what the kernel answers.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::{Result, ensure};
use tokio::time::{Instant, sleep};

use super::command::{command, signal};

/// The calls that block until data is on disk, on a Linux file.
const SYNC_CALLS: &str = "fdatasync,fsync,msync";
const ATTACH_WITHIN: Duration = Duration::from_secs(10);

/// What happens to syncs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Syncs {
    /// Each takes so much longer.
    Slow(Duration),
    /// From the n-th of each thread on they answer EIO.
    Failing(u64),
}

/// strace on a process. The process goes on without faults when this is dropped.
#[derive(Debug)]
pub struct Strace {
    child: Child,
    output: PathBuf,
}

impl Strace {
    /// Attaches it, and returns once every thread of the process is traced.
    ///
    /// # Errors
    /// strace says why it cannot.
    pub async fn attach(pid: u32, syncs: Syncs, dir: &Path, name: &str) -> Result<Self> {
        let mut tracer = Self::start(pid, syncs, dir, name)?;
        let began = Instant::now();
        while !tracer.is_attached(pid) {
            let ended = tracer.child.try_wait()?;
            ensure!(
                ended.is_none() && began.elapsed() < ATTACH_WITHIN,
                "strace: {}",
                tracer.said()
            );
            sleep(Duration::from_millis(10)).await;
        }
        Ok(tracer)
    }

    fn start(pid: u32, syncs: Syncs, dir: &Path, name: &str) -> Result<Self> {
        let inject = match syncs {
            Syncs::Slow(delay) => format!("{SYNC_CALLS}:delay_enter={}", delay.as_micros()),
            Syncs::Failing(from) => format!("{SYNC_CALLS}:error=EIO:when={from}+"),
        };
        let output = dir.join(format!("{name}.strace"));
        let errors = fs::File::create(output.with_extension("err"))?;
        let child = command("strace")
            .args(["-f", "-y", "-e", &format!("trace={SYNC_CALLS}"), "-e", "signal=none"])
            .args(["-e", &format!("inject={inject}"), "-p", &pid.to_string(), "-o"])
            .arg(&output)
            .stdout(Stdio::null())
            .stderr(errors)
            .spawn()?;
        Ok(Self { child, output })
    }

    /// Every thread has a tracer: the process may be making threads meanwhile.
    fn is_attached(&self, pid: u32) -> bool {
        let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else { return false };
        let tracer = format!("TracerPid:\t{}", self.child.id());
        tasks.flatten().all(|task| {
            fs::read_to_string(task.path().join("status"))
                .is_ok_and(|status| status.lines().any(|line| line == tracer))
        })
    }

    fn said(&self) -> String {
        fs::read_to_string(self.output.with_extension("err")).unwrap_or_default()
    }

    /// How many syncs were changed.
    pub fn changed(&self) -> u64 {
        let text = fs::read_to_string(&self.output).unwrap_or_default();
        text.lines().filter(|l| l.contains("INJECTED") || l.contains("DELAYED")).count() as u64
    }
}

impl Drop for Strace {
    fn drop(&mut self) {
        // SIGTERM lets it detach; SIGKILL would leave the process stopped
        if signal(self.child.id(), "TERM").is_err() {
            let _ = self.child.kill();
        }
        let _ = self.child.wait();
    }
}

/// Whether strace may attach here.
///
/// # Errors
/// Why not.
pub fn probe(dir: &Path) -> Result<()> {
    let mut sleeper = Command::new("sleep").arg("60").stdin(Stdio::null()).spawn()?;
    let attached = (|| {
        let slow = Syncs::Slow(Duration::from_millis(1));
        let mut tracer = Strace::start(sleeper.id(), slow, dir, "probe")?;
        for _ in 0..500 {
            if tracer.is_attached(sleeper.id()) {
                return Ok(());
            }
            ensure!(tracer.child.try_wait()?.is_none(), "strace: {}", tracer.said());
            std::thread::sleep(Duration::from_millis(10));
        }
        anyhow::bail!("strace does not attach")
    })();
    let _ = sleeper.kill();
    let _ = sleeper.wait();
    attached
}
