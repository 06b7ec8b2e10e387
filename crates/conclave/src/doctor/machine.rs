//! The machine: where the data is, and the ports.

use std::{
    fs,
    io::{self, Write as _},
    net::SocketAddr,
    path::Path,
    time::Duration,
};

use conclave_shard::Space;
use tokio::{net::TcpListener, time::Instant};

use super::findings::Findings;
use crate::config::{Role, ServeConfig};

/// Syncs that are measured.
const SYNCS: u32 = 20;
/// Every commit waits for a sync of most nodes: above this the cluster is slow.
const SYNC_SLOW: Duration = Duration::from_millis(30);
/// No disk that keeps what it says is faster.
const SYNC_UNLIKELY: Duration = Duration::from_micros(5);
/// Below so much of the disk, or of 40 GiB where it is larger, a node takes no more writes; in percent.
const FREE_PERCENT_MIN: u64 = 5;
const COUNTED_MAX: u64 = 40 << 30;

pub async fn look(config: &ServeConfig, findings: &mut Findings) {
    if let (true, Some(dir)) = (config.has(Role::Shard), &config.data_dir) {
        disk(dir, findings).await;
    }
    if config.has(Role::Gateway) {
        port("public", config.listen.public, findings).await;
    }
    if config.has(Role::Shard) {
        port("internal", config.listen.internal, findings).await;
    }
    port("management", config.listen.management, findings).await;
}

async fn disk(dir: &Path, findings: &mut Findings) {
    const ABOUT: &str = "data";
    let shown = dir.display();
    if !dir.is_dir() {
        let parent = dir.parent().filter(|parent| parent.is_dir());
        match parent {
            Some(_) => findings.ok(ABOUT, format!("{shown} is not there yet: a new node makes it")),
            None => findings.error(
                ABOUT,
                format!("{shown} is not there, and neither is what it would be made in"),
                "make the directory, or mount the disk",
            ),
        }
        return;
    }
    if dir.join("restoring").exists() && !dir.join("IDENTITY").exists() {
        findings.error(
            ABOUT,
            format!("{shown} is of a restore that has not been finished"),
            "run conclave restore again",
        );
    }
    space(dir, findings);
    match sync_time(dir).await {
        Ok(took) if took > SYNC_SLOW => findings.warning(
            ABOUT,
            format!("a sync of {shown} takes {:.1} ms", millis(took)),
            "every write waits for it: a faster disk, or one that is not shared",
        ),
        Ok(took) if took < SYNC_UNLIKELY => findings.warning(
            ABOUT,
            format!(
                "a sync of {shown} takes {:.1} us: nothing seems to reach a disk",
                micros(took)
            ),
            "a file system in memory, or one that does not sync, loses what was acknowledged",
        ),
        Ok(took) => {
            findings.ok(ABOUT, format!("a sync of {shown} takes {:.1} ms", millis(took)));
        }
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => findings.warning(
            ABOUT,
            format!("{shown} may not be written to by this user, and so was not measured"),
            "run this as the user of the service",
        ),
        Err(error) => findings.error(
            ABOUT,
            format!("{shown} cannot be written to: {error}"),
            "a node ends when it cannot write: repair or replace the disk",
        ),
    }
}

fn space(dir: &Path, findings: &mut Findings) {
    const ABOUT: &str = "data";
    match Space::of(dir) {
        Ok(Space { total, free }) => {
            let least = total.min(COUNTED_MAX) * FREE_PERCENT_MIN / 100;
            let text = format!("{} MiB of {} MiB are free", free >> 20, total >> 20);
            match free {
                free if free < least => findings.error(
                    ABOUT,
                    format!("{text}: the node takes no writes"),
                    "docs/runbooks/disk-full.md",
                ),
                free if free < 2 * least => findings.warning(
                    ABOUT,
                    text,
                    format!("below {} MiB the node takes no writes: give it room", least >> 20),
                ),
                _ => findings.ok(ABOUT, text),
            }
        }
        Err(error) => findings.warning(ABOUT, format!("its size is not known: {error}"), ""),
    }
}

/// The median of a few.
async fn sync_time(dir: &Path) -> io::Result<Duration> {
    let path = dir.join(".doctor");
    let measured = measure(&path);
    let removed = fs::remove_file(&path);
    let mut times = measured?;
    removed?;
    times.sort_unstable();
    Ok(times.get(times.len() / 2).copied().unwrap_or_default())
}

fn measure(path: &Path) -> io::Result<Vec<Duration>> {
    let mut file = fs::File::create(path)?;
    (0..SYNCS)
        .map(|_| {
            file.write_all(&[0; 4_096])?;
            let began = Instant::now();
            file.sync_data()?;
            Ok(began.elapsed())
        })
        .collect()
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

async fn port(name: &str, address: SocketAddr, findings: &mut Findings) {
    const ABOUT: &str = "ports";
    match TcpListener::bind(address).await {
        Ok(_) => {
            findings.ok(ABOUT, format!("the {name} port {address} is free: no node runs here"))
        }
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
            findings
                .ok(ABOUT, format!("the {name} port {address} is in use, by the node if it runs"));
        }
        Err(error) => findings.error(
            ABOUT,
            format!("the {name} port {address} cannot be opened: {error}"),
            "choose an address of this machine, and a port that the service's user may open",
        ),
    }
}
