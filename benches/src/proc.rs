//! What Linux says of processes: processor time and memory, from `/proc`.

use std::fs;

use anyhow::{Context, Result};

/// Milliseconds in a clock tick of `/proc`: `USER_HZ` is 100 on every Linux.
const TICK_MS: f64 = 10.0;

/// Processor time of a whole process since it began, user and system, in ms.
pub fn cpu_ms(pid: u32) -> Result<f64> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat"))
        .with_context(|| format!("process {pid} is gone"))?;
    parse_cpu_ms(&text).with_context(|| format!("/proc/{pid}/stat has another form"))
}

fn parse_cpu_ms(stat: &str) -> Option<f64> {
    // The second field is the name in parentheses, which may hold spaces and parentheses.
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_whitespace().skip(11);
    let (user, system): (f64, f64) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
    Some((user + system) * TICK_MS)
}

/// Processor time of the calling thread, in ms; to the nanosecond, unlike [`cpu_ms`].
pub fn thread_cpu_ms() -> Result<f64> {
    let text = fs::read_to_string("/proc/thread-self/schedstat")
        .context("the kernel keeps no schedstat")?;
    let first = text.split_whitespace().next().context("schedstat is empty")?;
    Ok(first.parse::<f64>()? / 1e6)
}

/// Processor time of the whole machine, everything but idle and waiting for the disk, in ms.
pub fn machine_cpu_ms() -> Result<f64> {
    let text = fs::read_to_string("/proc/stat")?;
    let line = text.lines().next().context("/proc/stat is empty")?;
    let ticks: Vec<f64> =
        line.split_whitespace().skip(1).map(str::parse).collect::<Result<_, _>>()?;
    // user nice system idle iowait irq softirq steal; guest time is within user time
    let busy = ticks.iter().enumerate().filter(|(i, _)| *i < 8 && *i != 3 && *i != 4);
    Ok(busy.map(|(_, t)| t).sum::<f64>() * TICK_MS)
}

/// Resident memory, in MB.
pub fn rss_mb(pid: u32) -> Result<f64> {
    let text = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = text.lines().find_map(|l| l.strip_prefix("VmRSS:")).context("no VmRSS")?;
    let kib: f64 = line.split_whitespace().next().context("no VmRSS")?.parse()?;
    Ok(kib * 1024.0 / 1e6)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_name_with_spaces_and_parentheses_is_passed_over() {
        let stat = "7 (a) b (c) S 1 7 7 0 -1 4194560 1 2 3 4 150 25 9 9 20 0 1 0 5 1 1";
        assert_eq!(parse_cpu_ms(stat), Some(1750.0));
    }

    #[test]
    fn this_process_has_a_processor_time_and_memory() {
        assert!(cpu_ms(std::process::id()).unwrap() >= 0.0);
        assert!(thread_cpu_ms().unwrap() > 0.0);
        assert!(machine_cpu_ms().unwrap() > 0.0);
        assert!(rss_mb(std::process::id()).unwrap() > 0.5);
    }
}
