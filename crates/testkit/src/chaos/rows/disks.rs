//! Disks: power cuts, syncs that fail or take long, disks that are full, data that is gone or changed.

use std::{
    fs::{self, OpenOptions},
    io::{Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, Result};
use tokio::time::Instant;

use super::Evidence;
use crate::chaos::{
    command::until,
    lab::Lab,
    operator::Status,
    report::ms,
    strace::{Strace, Syncs},
};

const DARK_FOR: Duration = Duration::from_secs(2);
const BACK_WITHIN: Duration = Duration::from_secs(120);
/// A process that cannot write ends after it has tried to save every group.
const ENDED_WITHIN: Duration = Duration::from_secs(15);

async fn power_cut(lab: &mut Lab, ids: &[u32]) -> Result<Evidence> {
    let before = lab.cluster.readings().await;
    lab.cluster.cut_power(ids).await?;
    lab.hold(DARK_FOR).await;
    for id in ids {
        lab.cluster.start_node(*id)?;
    }
    lab.cluster.wait_ready().await?;
    let after = lab.cluster.readings().await;
    let mut evidence = Evidence::new(true, format!("nodes {ids:?}"));
    for id in ids {
        let (Some(before), Some(after)) = (before.get(id), after.get(id)) else { continue };
        for (group, was) in &before.groups {
            let term = after.groups.get(group).map_or(0, |is| is.term);
            if term < was.term {
                let was = was.term;
                evidence
                    .violations
                    .push(format!("node {id}, group {group}: from term {was} to {term}"));
            }
        }
    }
    evidence.bit = before.len() == lab.cluster.nodes.len();
    Ok(evidence)
}

/// F05: the power of one node fails; half of the time it is that of a leader.
pub async fn power_cut_of_one(lab: &mut Lab) -> Result<Evidence> {
    let (_, leader) = lab.some_leader().await?;
    let id = if lab.dice.happens(500) { leader } else { lab.some_other(leader)? };
    power_cut(lab, &[id]).await
}

/// F06: the power of all nodes fails at once.
pub async fn power_cut_of_all(lab: &mut Lab) -> Result<Evidence> {
    let ids = lab.cluster.ids();
    power_cut(lab, &ids).await
}

/// F07: from some sync on, all syncs of a node answer EIO. It must end, and not try again.
pub async fn failing_syncs(lab: &mut Lab) -> Result<Evidence> {
    let (group, leader) = lab.some_leader().await?;
    let is_leader = lab.dice.happens(500);
    let id = if is_leader { leader } else { lab.some_other(leader)? };
    let pid = lab.cluster.node(id)?.pid().context("the node does not run")?;
    let from = 1 + lab.dice.below(40);
    let name = format!("eio-{}", lab.round);
    let tracer = Strace::attach(pid, Syncs::Failing(from), &lab.dir, &name).await?;
    let first = until("a sync fails", Duration::from_secs(60), async || tracer.changed() > 0);
    first.await?;
    let failed = Instant::now();
    let ended = {
        let node = lab.cluster.node_mut(id)?;
        until("the process ends", ENDED_WITHIN, async || node.ended().is_some()).await
    };
    let took = failed.elapsed();
    drop(tracer);
    let role = if is_leader { "the leader" } else { "a follower" };
    let what = format!(
        "node {id}, {role} of group {group}, from sync {from} on, gone after {} ms",
        ms(took)
    );
    let mut evidence = Evidence::new(true, what);
    evidence.figures.insert("ended_after_ms", ms(took) as f64);
    if ended.is_err() {
        evidence.violations.push("the process goes on although its syncs fail".to_owned());
        lab.cluster.node_mut(id)?.kill();
    }
    lab.cluster.start_node(id)?;
    lab.cluster.wait_ready().await?;
    Ok(evidence)
}

/// F08: every sync of a leader takes 300 ms, for 15 s.
pub async fn slow_syncs(lab: &mut Lab) -> Result<Evidence> {
    const SLOW_FOR: Duration = Duration::from_secs(15);
    let (group, leader) = lab.some_leader().await?;
    let pid = lab.cluster.node(leader)?.pid().context("the node does not run")?;
    let name = format!("slow-{}", lab.round);
    let slow = Syncs::Slow(Duration::from_millis(300));
    let tracer = Strace::attach(pid, slow, &lab.dir, &name).await?;
    // attaching alone may have cost the lead
    let before = lab.cluster.terms().await;
    lab.hold(SLOW_FOR).await;
    let changed = tracer.changed();
    let after = lab.cluster.terms().await;
    drop(tracer);
    let terms = after.get(&group).unwrap_or(&0).saturating_sub(*before.get(&group).unwrap_or(&0));
    let what = format!("group {group}, node {leader}: {changed} slow syncs, {terms} terms");
    let mut evidence = Evidence::new(changed > 0, what);
    evidence.figures.insert("terms", terms as f64);
    if terms > 2 * u64::from(lab.patience) {
        evidence.slow.push(format!("{terms} terms in 15 s, at most 2"));
    }
    Ok(evidence)
}

/// F09 and F10: the disks of these nodes are full until that is noticed and for 10 s more, then they are not. Large values
/// are written meanwhile: a log has room of its own, which has to be used up first.
async fn full(lab: &mut Lab, ids: &[u32]) -> Result<Evidence> {
    const FULL_FOR: Duration = Duration::from_secs(10);
    const NOTICED_WITHIN: Duration = Duration::from_secs(60);
    lab.acks.begin();
    for id in ids {
        lab.cluster.disk(*id)?.fill()?;
    }
    let filled = Instant::now();
    let (objects, group) = (Arc::clone(&lab.objects), lab.some_group());
    let large = tokio::spawn(async move { objects.fill(group, NOTICED_WITHIN + FULL_FOR).await });
    let mut noticed: Option<Duration> = None;
    // what was under way when the disk became full is over by then
    const SETTLES_WITHIN: Duration = Duration::from_secs(2);
    let mut settled: Option<[u64; 2]> = None;
    let mut ended = Vec::new();
    let is_over = |noticed: Option<Duration>| {
        let limit = noticed.map_or(NOTICED_WITHIN, |took| took + FULL_FOR);
        filled.elapsed() >= limit
    };
    while !is_over(noticed) {
        let mut ready = true;
        for id in ids {
            ready &= lab.cluster.node(*id)?.is_ready().await;
        }
        if !ready && noticed.is_none() {
            noticed = Some(filled.elapsed());
        }
        if settled.is_none() && noticed.is_some_and(|at| filled.elapsed() > at + SETTLES_WITHIN) {
            settled = Some(commits(lab));
        }
        lab.hold(Duration::from_millis(200)).await;
        // a supervisor starts again what has ended
        ended.extend(lab.cluster.restart_ended()?);
    }
    large.abort();
    let [refused, unknown] = commits(lab);
    let [refused_before, unknown_before] = settled.unwrap_or_default();
    let tallies = lab.acks.tallies();
    let reads = tallies.iter().filter(|(class, _)| class.kind == "read");
    let (read, unread) =
        reads.fold((0, 0), |(read, unread), (_, t)| (read + t.acknowledged, unread + t.failed));
    for id in ids {
        lab.cluster.disk(*id)?.clear()?;
    }
    let cleared = Instant::now();
    let mut ready = false;
    while !ready && cleared.elapsed() < BACK_WITHIN {
        ended.extend(lab.cluster.restart_ended()?);
        ready = true;
        for id in ids {
            ready &= lab.cluster.node(*id)?.is_ready().await;
        }
        lab.hold(Duration::from_millis(50)).await;
    }
    let back = cleared.elapsed();
    let said = noticed.map_or("never".to_owned(), |took| format!("after {} ms", ms(took)));
    let what = format!(
        "nodes {ids:?}: not ready {said}, {} ends, back after {} ms, reads {read} answered and {unread} not",
        ended.len(),
        ms(back)
    );
    let mut evidence = Evidence::new(noticed.is_some(), what);
    evidence.figures.insert("back_after_ms", ms(back) as f64);
    evidence.figures.insert("reads_failed", unread as f64);
    evidence.figures.insert("writes_refused", (refused - refused_before) as f64);
    evidence.figures.insert("writes_unknown", (unknown - unknown_before) as f64);
    evidence.figures.insert("ends", ended.len() as f64);
    if !ready {
        let last = ended.last().map_or("", |(_, said)| said.as_str());
        evidence
            .violations
            .push(format!("not back {} s after there is room: {last}", BACK_WITHIN.as_secs()));
    }
    if back > lab.patient(Duration::from_secs(30)) {
        evidence.slow.push(format!("back after {} ms, at most 30000", ms(back)));
    }
    Ok(evidence)
}

/// Commits that certainly had no effect, and those of unknown fate.
fn commits(lab: &Lab) -> [u64; 2] {
    let tallies = lab.acks.tallies();
    let commits = || tallies.iter().filter(|(class, _)| class.kind == "commit").map(|(_, t)| t);
    [commits().map(|tally| tally.failed).sum(), commits().map(|tally| tally.unknown).sum()]
}

/// F09: the disk of one node is full.
pub async fn full_disk_of_one(lab: &mut Lab) -> Result<Evidence> {
    let (_, leader) = lab.some_leader().await?;
    let id = if lab.dice.happens(500) { leader } else { lab.some_other(leader)? };
    full(lab, &[id]).await
}

/// F10: the disks of all nodes are full.
pub async fn full_disk_of_all(lab: &mut Lab) -> Result<Evidence> {
    let ids = lab.cluster.ids();
    let mut evidence = full(lab, &ids).await?;
    let figure = |name: &str| evidence.figures.get(name).copied().unwrap_or(0.0);
    let (failed, unknown) = (figure("reads_failed"), figure("writes_unknown"));
    let refused = figure("writes_refused");
    if failed > 0.0 {
        evidence.slow.push(format!("{failed} reads failed, none should"));
    }
    if unknown > 0.0 {
        evidence.slow.push(format!("{unknown} writes are of unknown fate, all should be refused"));
    }
    if refused == 0.0 {
        evidence.slow.push("no write was refused".to_owned());
    }
    Ok(evidence)
}

/// F24: a node's data is gone, and the node is started under its old identity. It must refuse.
pub async fn wiped(lab: &mut Lab) -> Result<Evidence> {
    let (_, leader) = lab.some_leader().await?;
    let id = lab.some_other(leader)?;
    let data = lab.cluster.disk(id)?.mount_point.join("data");
    let saved = data.with_file_name("saved");
    lab.cluster.node_mut(id)?.stop().await?;
    fs::rename(&data, &saved)?;
    let from = lab.cluster.node(id)?.log_length();
    lab.cluster.start_node(id)?;
    let began = Instant::now();
    let node = lab.cluster.node_mut(id)?;
    let ended =
        until("the node refuses", Duration::from_secs(30), async || node.ended().is_some()).await;
    let says_why = node.log_has(from, "has lost its data");
    node.kill();
    let _ = fs::remove_dir_all(&data);
    fs::rename(&saved, &data)?;
    lab.cluster.start_node(id)?;
    lab.cluster.wait_ready().await?;
    let mut evidence =
        Evidence::new(true, format!("node {id} refused after {} ms", ms(began.elapsed())));
    if ended.is_err() {
        evidence.violations.push("a node without its data was let in".to_owned());
    } else if !says_why {
        evidence
            .violations
            .push("the node ended, and did not say that its data is gone".to_owned());
    }
    Ok(evidence)
}

/// F25: bits of a follower's files are flipped while it is stopped, and it comes back to its place in the cluster. It must
/// refuse to start, or end when it meets them, and nothing that it holds must be believed. Whether it met them or not, a new
/// node then takes its place, by the procedure that operators are told.
pub async fn flipped_bits(lab: &mut Lab) -> Result<Evidence> {
    const MEETS_WITHIN: Duration = Duration::from_secs(6);
    const REBUILT_WITHIN: Duration = Duration::from_secs(60);
    let (_, leader) = lab.some_leader().await?;
    let id = lab.some_other(leader)?;
    let data = lab.cluster.disk(id)?.mount_point.join("data");
    lab.cluster.node_mut(id)?.stop().await?;
    let flipped = flip_some(lab, &data)?;
    let from = lab.cluster.node(id)?.log_length();
    lab.cluster.start_node(id)?;
    let node = lab.cluster.node_mut(id)?;
    let met = until("the node ends", MEETS_WITHIN, async || !node.is_running()).await.is_ok();
    let panicked = node.log_has(from, "panicked at");
    node.kill();
    let began = Instant::now();
    let new = lab.cluster.add_node().await?;
    let active = |status: &Status| status.state(new) == "active";
    lab.cluster.wait_status("the new node is active", BACK_WITHIN, &[id], active).await?;
    let (dead, with) = (id.to_string(), new.to_string());
    lab.cluster.operate(&["replace", &dead, "--with", &with, "--timeout", "120"], &[id]).await?;
    lab.cluster.open_gateway(new)?;
    lab.cluster.take_away(id);
    let nodes = lab.cluster.ids();
    let whole = |status: &Status| status.is_just(&nodes);
    lab.cluster.wait_status("every group is on all nodes", BACK_WITHIN, &[], whole).await?;
    let rebuilt = began.elapsed();
    let found = if met { "refused" } else { "not met" };
    let what = format!(
        "node {id}, {}: {found}; node {new} in its place after {} ms",
        flipped.display(),
        ms(rebuilt)
    );
    let mut evidence = Evidence::new(true, what);
    evidence.figures.insert("refused", f64::from(u8::from(met)));
    evidence.figures.insert("rebuilt_after_ms", ms(rebuilt) as f64);
    if panicked {
        evidence.violations.push(format!("a panic over {}", flipped.display()));
    }
    if rebuilt > lab.patient(REBUILT_WITHIN) {
        evidence.slow.push(format!("rebuilt after {} ms, at most 60000", ms(rebuilt)));
    }
    Ok(evidence)
}

/// Flips a few bits of one file that is not empty. Returns which.
fn flip_some(lab: &Lab, data: &Path) -> Result<PathBuf> {
    let mut files = Vec::new();
    collect(data, &mut files)?;
    files.sort();
    let path = lab.dice.pick(&files).context("no files")?.clone();
    let length = fs::metadata(&path)?.len();
    let mut file = OpenOptions::new().read(true).write(true).open(&path)?;
    for _ in 0..=lab.dice.below(4) {
        let at = lab.dice.below(length);
        let mut byte = [0];
        file.seek(SeekFrom::Start(at))?;
        file.read_exact(&mut byte)?;
        byte[0] ^= 1 << lab.dice.below(8);
        file.seek(SeekFrom::Start(at))?;
        file.write_all(&byte)?;
    }
    file.sync_all()?;
    Ok(path.strip_prefix(data).map_or(path.clone(), Path::to_owned))
}

fn collect(dir: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
        // what RocksDB writes for people to read, and its locks, mean nothing
        let is_talk = name.is_some_and(|n| n.starts_with("LOG") || n == "LOCK");
        if path.is_dir() {
            collect(&path, files)?;
        } else if !is_talk && fs::metadata(&path)?.len() > 0 {
            files.push(path);
        }
    }
    Ok(())
}
