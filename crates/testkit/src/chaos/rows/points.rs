//! Crashes at named points of the code, of a server that was built to have them.

use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::Evidence;
use crate::chaos::{command::until, lab::Lab, report::ms};

/// The variable that names points, and what happens there.
pub const VARIABLE: &str = "CONCLAVE_FAILPOINTS";
/// What a node is told besides when the server has points: snapshots come often enough to be met.
pub const SNAPSHOTS: &str = "\n[snapshots]\nentries = 2000\nkeep_entries = 500\nkeep_seconds = 0\n";

const CRASHED_WITHIN: Duration = Duration::from_secs(60);

/// Where a load passes by itself, and how often until the crash at most.
const UNDER_LOAD: &[(&str, u64)] = &[
    ("raft.before_append_sync", 200),
    ("raft.after_append_before_callback", 200),
    ("apply.before_batch", 300),
    ("apply.after_batch", 300),
    ("shard.after_commit_before_reply", 100),
    ("gateway.after_commit_before_reply", 10),
];
/// Where it passes when a snapshot is made and the log is shortened.
const OF_SNAPSHOTS: &[(&str, u64)] = &[
    ("purge.before_batch", 2),
    ("purge.after_batch", 2),
    ("snapshot.after_checkpoint_before_meta", 2),
    ("snapshot.after_temp_before_rename", 2),
    ("snapshot.after_rename", 2),
];
/// Where a node passes that has been away for too long.
const OF_INSTALLS: &[&str] =
    &["install.after_receive", "install.after_rename_before_active", "install.after_active"];

/// F21: a node ends at a point that the load passes, or at a vote.
pub async fn crash_under_load(lab: &mut Lab) -> Result<Evidence> {
    let (group, leader) = lab.some_leader().await?;
    if lab.dice.happens(200) {
        return crash_at_a_vote(lab, leader).await;
    }
    let (point, most) = *lab.dice.pick(UNDER_LOAD).context("no points")?;
    let is_leader = point.starts_with("shard.") || lab.dice.happens(500);
    let id = if is_leader { leader } else { lab.some_other(leader)? };
    let when = 1 + lab.dice.below(most);
    let what = crash(lab, id, point, when, point.starts_with("shard.").then_some(group)).await?;
    Ok(Evidence::new(true, what))
}

/// F22: a node ends while a snapshot is made or the log is shortened, or, after a long time away, while
/// the snapshot of another is put in the place of its state.
pub async fn crash_around_snapshots(lab: &mut Lab) -> Result<Evidence> {
    const AWAY_FOR: Duration = Duration::from_secs(12);
    let (_, leader) = lab.some_leader().await?;
    if lab.dice.happens(500) {
        let (point, most) = *lab.dice.pick(OF_SNAPSHOTS).context("no points")?;
        let id = *lab.dice.pick(&lab.cluster.ids()).context("no nodes")?;
        let when = 1 + lab.dice.below(most);
        let what = crash(lab, id, point, when, None).await?;
        return Ok(Evidence::new(true, what));
    }
    let point = *lab.dice.pick(OF_INSTALLS).context("no points")?;
    let id = lab.some_other(leader)?;
    lab.cluster.node_mut(id)?.kill();
    lab.hold(AWAY_FOR).await;
    let what = crash(lab, id, point, 1, None).await?;
    Ok(Evidence::new(true, format!("{what}, after {} s away", AWAY_FOR.as_secs())))
}

async fn crash_at_a_vote(lab: &mut Lab, leader: u32) -> Result<Evidence> {
    let point = *lab.dice.pick(&["vote.before_sync", "vote.after_sync"]).context("no points")?;
    let id = lab.some_other(leader)?;
    restart_with(lab, id, &format!("{point}=abort@1")).await?;
    // a node that hears of its leader for the first time takes over its vote
    let node = lab.cluster.node_mut(id)?;
    let at_once = until("it ends", Duration::from_secs(3), async || !node.is_running()).await;
    if at_once.is_err() {
        // an election: the vote of the other two is asked for
        lab.cluster.node_mut(leader)?.kill();
    }
    let ended = wait_for_crash(lab, id, point).await;
    if at_once.is_err() {
        lab.cluster.start_node(leader)?;
    }
    let took = ended?;
    come_back(lab, id).await?;
    let when = if at_once.is_ok() { "as it joined" } else { "in an election" };
    Ok(Evidence::new(true, format!("node {id} at {point}, {when}, after {} ms", ms(took))))
}

/// Starts a node again so that it ends at a point, sees it end there, and starts it without the point.
async fn crash(
    lab: &mut Lab,
    id: u32,
    point: &str,
    when: u64,
    leads: Option<u32>,
) -> Result<String> {
    restart_with(lab, id, &format!("{point}=abort@{when}")).await?;
    if let Some(group) = leads {
        // a point that only a leader passes: whoever leads now has to go
        if let Some(leader) = lab.cluster.leader_now(group).await
            && leader != id
        {
            lab.cluster.node_mut(leader)?.stop().await?;
            lab.cluster.start_node(leader)?;
        }
    }
    let took = wait_for_crash(lab, id, point).await?;
    come_back(lab, id).await?;
    Ok(format!("node {id} at {point}, time {when}, after {} ms", ms(took)))
}

async fn restart_with(lab: &mut Lab, id: u32, points: &str) -> Result<()> {
    let node = lab.cluster.node_mut(id)?;
    node.kill();
    node.launch.environment = vec![(VARIABLE.to_owned(), points.to_owned())];
    lab.cluster.start_node(id)
}

async fn wait_for_crash(lab: &mut Lab, id: u32, point: &str) -> Result<Duration> {
    let node = lab.cluster.node_mut(id)?;
    let from = node.log_length().saturating_sub(64 << 10);
    let what = format!("node {id} ends at {point}");
    let ended = until(&what, CRASHED_WITHIN, async || !node.is_running()).await;
    node.launch.environment.clear();
    let took = ended?;
    let said = node.log_has(from, &format!("fault point {point}: abort"));
    ensure!(said, "node {id} ended, and not at {point}:\n{}", node.log_tail());
    Ok(took)
}

async fn come_back(lab: &mut Lab, id: u32) -> Result<()> {
    lab.cluster.start_node(id)?;
    lab.cluster.wait_ready().await
}
