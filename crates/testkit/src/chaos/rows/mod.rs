//! The fault matrix: a function for each row. Each makes its fault, keeps it up for a time, ends it, and says what shows that it
//! bit. Whether the cluster kept its promises meanwhile is judged by [`run`](super::run), the same way for all.

mod disks;
mod links;
mod machines;
mod membership;
pub mod points;
mod processes;
mod races;
mod rolling;
pub mod signing_keys;

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Result, bail};

use super::{lab::Lab, sandbox::Tools};

/// A row of the matrix that can be run.
#[derive(Debug, Clone, Copy)]
pub struct Row {
    /// Its number, such as `F01`.
    pub id: &'static str,
    /// What happens.
    pub name: &'static str,
    /// The longest gap between two acknowledgements of a class of operations, where the row has one.
    pub gap_max: Option<Duration>,
    /// What the product lacks to pass it: it is run only when it is asked for by its number.
    pub open: Option<&'static str>,
    /// What it needs of the machine.
    pub needs: fn(&Tools) -> Result<(), &'static str>,
}

/// What a fault has to say for itself.
#[derive(Debug, Clone, Default)]
pub struct Evidence {
    /// Whether it did anything: a run whose fault did not bite shows nothing.
    pub bit: bool,
    /// What shows it, and what was chosen.
    pub what: String,
    /// Promises of this row alone that were broken.
    pub violations: Vec<String>,
    /// What was measured, by name.
    pub figures: BTreeMap<&'static str, f64>,
    /// Figures that are not what the row asks for.
    pub slow: Vec<String>,
}

impl Evidence {
    fn new(bit: bool, what: String) -> Self {
        Self { bit, what, ..Self::default() }
    }
}

const fn seconds(count: u64) -> Option<Duration> {
    Some(Duration::from_secs(count))
}

fn nothing(_: &Tools) -> Result<(), &'static str> {
    Ok(())
}

fn images(tools: &Tools) -> Result<(), &'static str> {
    if tools.disks { Ok(()) } else { Err("loop devices cannot be mounted (root is needed)") }
}

fn strace(tools: &Tools) -> Result<(), &'static str> {
    if tools.strace { Ok(()) } else { Err("strace cannot be attached") }
}

fn cgroup(tools: &Tools) -> Result<(), &'static str> {
    if tools.cgroup { Ok(()) } else { Err("no control group for processors can be made") }
}

fn failpoints(tools: &Tools) -> Result<(), &'static str> {
    if tools.failpoints { Ok(()) } else { Err("the server was not built with fault points") }
}

fn faketime(tools: &Tools) -> Result<(), &'static str> {
    if tools.faketime { Ok(()) } else { Err("libfaketime is not installed") }
}

const fn row(
    id: &'static str,
    name: &'static str,
    gap_max: Option<Duration>,
    needs: fn(&Tools) -> Result<(), &'static str>,
) -> Row {
    Row { id, name, gap_max, open: None, needs }
}

/// All rows that can be run.
pub const ROWS: &[Row] = &[
    row("F01", "the leader is killed", seconds(2), nothing),
    row("F02", "a follower is killed", seconds(2), nothing),
    row("F03", "all nodes are killed at once", None, nothing),
    row("F04", "a gateway is killed with requests under way", seconds(2), nothing),
    row("F05", "power cut of one node", seconds(2), images),
    row("F06", "power cut of all nodes", None, images),
    row("F07", "syncs of a node fail", seconds(2), strace),
    row("F08", "syncs of the leader take 300 ms", seconds(2), strace),
    row("F09", "the disk of one node is full", seconds(2), images),
    row("F10", "the disks of all nodes are full", None, images),
    row("F11", "the leader is cut off", seconds(2), nothing),
    row("F12", "a follower is cut off", seconds(2), nothing),
    row("F13", "the leader is not heard", seconds(3), nothing),
    row("F14", "the leader and a follower are apart", seconds(3), nothing),
    row("F15", "links stop one by one and go on in another order", None, nothing),
    row("F16", "bad links", None, nothing),
    row("F17", "the leader stands still", seconds(2), nothing),
    row("F18", "a gateway stands still", None, nothing),
    row("F19", "the wall clock of a node jumps", seconds(2), faketime),
    row("F20", "the leader has a tenth of a core", None, cgroup),
    row("F21", "a crash at a point of the code", seconds(2), failpoints),
    row("F22", "a crash around a snapshot", seconds(2), failpoints),
    row("F23", "nodes come, go and are replaced while leaders die", seconds(2), nothing),
    row("F24", "a node has lost its data", seconds(2), nothing),
    row("F25", "bits of a node's files are flipped", seconds(2), nothing),
    row("F26", "every node is restarted in turn", seconds(1), nothing),
    row("F27", "signing keys rotate while nodes fail", seconds(2), nothing),
    row("F28", "one session at two gateways, and the leader dies", seconds(2), nothing),
];

/// A row by its number.
pub fn find(id: &str) -> Option<Row> {
    ROWS.iter().find(|row| row.id.eq_ignore_ascii_case(id)).copied()
}

/// Makes the fault of a row, once.
///
/// # Errors
/// The fault could not be made or ended.
pub async fn inject(row: &Row, lab: &mut Lab) -> Result<Evidence> {
    match row.id {
        "F01" => processes::leader_is_killed(lab).await,
        "F02" => processes::follower_is_killed(lab).await,
        "F03" => processes::all_are_killed(lab).await,
        "F04" => processes::gateway_is_killed(lab).await,
        "F05" => disks::power_cut_of_one(lab).await,
        "F06" => disks::power_cut_of_all(lab).await,
        "F07" => disks::failing_syncs(lab).await,
        "F08" => disks::slow_syncs(lab).await,
        "F09" => disks::full_disk_of_one(lab).await,
        "F10" => disks::full_disk_of_all(lab).await,
        "F11" => links::leader_is_cut_off(lab).await,
        "F12" => links::follower_is_cut_off(lab).await,
        "F13" => links::leader_is_not_heard(lab).await,
        "F14" => links::bridge(lab).await,
        "F15" => links::swizzle_clog(lab).await,
        "F16" => links::bad_links(lab).await,
        "F17" => processes::leader_stands_still(lab).await,
        "F18" => processes::gateway_stands_still(lab).await,
        "F19" => machines::clock_jumps(lab).await,
        "F20" => machines::starved(lab).await,
        "F21" => points::crash_under_load(lab).await,
        "F22" => points::crash_around_snapshots(lab).await,
        "F23" => membership::cycle(lab).await,
        "F24" => disks::wiped(lab).await,
        "F25" => disks::flipped_bits(lab).await,
        "F26" => rolling::restart(lab).await,
        "F27" => signing_keys::rotate(lab).await,
        "F28" => races::sessions(lab).await,
        other => bail!("no row {other}"),
    }
}
