//! Programs of the system, with their errors.

use std::{
    path::Path,
    process::{Command, Output, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use tokio::time::{Instant, sleep};

/// Programs of an administrator are not on everybody's path.
const SBIN: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// A program of the system.
pub fn command(program: &str) -> Command {
    let mut command = Command::new(program);
    command.env("PATH", SBIN).stdin(Stdio::null());
    command
}

/// Runs a program to its end; any exit code but 0 is an error with what it said.
pub fn run(program: &str, arguments: &[&str]) -> Result<String> {
    let output = output(program, arguments)?;
    let error = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{program} {}: {}", arguments.join(" "), error.trim());
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Runs a program to its end, whatever its exit code.
pub fn output(program: &str, arguments: &[&str]) -> Result<Output> {
    let output = command(program).args(arguments).output();
    output.with_context(|| format!("cannot run {program}"))
}

/// Whether a program is there and ends well.
pub fn works(program: &str, arguments: &[&str]) -> bool {
    output(program, arguments).is_ok_and(|output| output.status.success())
}

/// Sends a signal by its name, such as `STOP`.
pub fn signal(pid: u32, name: &str) -> Result<()> {
    run("kill", &[&format!("-{name}"), &pid.to_string()]).map(|_| ())
}

/// A path as text.
pub fn text(path: &Path) -> Result<&str> {
    path.to_str().with_context(|| format!("{} is not text", path.display()))
}

/// Waits until `holds` says so; an error that names `what` after `limit`. Returns how long it took.
pub async fn until(
    what: &str,
    limit: Duration,
    mut holds: impl AsyncFnMut() -> bool,
) -> Result<Duration> {
    const LOOK_EVERY: Duration = Duration::from_millis(20);
    let began = Instant::now();
    while !holds().await {
        ensure!(began.elapsed() < limit, "not within {:.1} s: {what}", limit.as_secs_f64());
        sleep(LOOK_EVERY).await;
    }
    Ok(began.elapsed())
}
