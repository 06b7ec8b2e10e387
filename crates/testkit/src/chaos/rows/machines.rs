//! Machines: clocks that jump, processors that are taken away.

use std::{fs, sync::atomic::Ordering, time::Duration};

use anyhow::{Context, Result};
use tokio::time::Instant;

use super::Evidence;
use crate::chaos::{
    command::{text, until},
    lab::Lab,
    report::ms,
    sandbox::faketime_library,
};

/// F19: the wall clock of one node jumps while it runs; its monotonic clock does not.
pub async fn clock_jumps(lab: &mut Lab) -> Result<Evidence> {
    let jumps = [("+3600", 3_600), ("-3000", -3_000), ("+600", 600), ("+8", 8), ("-8", -8)];
    let (offset, seconds) = *lab.dice.pick(&jumps).unwrap_or(&jumps[0]);
    let (group, leader) = lab.some_leader().await?;
    let id = if lab.dice.happens(500) { leader } else { lab.some_other(leader)? };
    let library = faketime_library().context("no libfaketime")?;
    let file = lab.dir.join(format!("clock-{id}"));
    fs::write(&file, "+0\n")?;
    let environment = [
        ("LD_PRELOAD", text(&library)?),
        ("FAKETIME_TIMESTAMP_FILE", text(&file)?),
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
        ("DONT_FAKE_MONOTONIC", "1"),
        ("FAKETIME_CACHE_DURATION", "1"),
        ("FAKETIME_NO_CACHE", "0"),
    ];
    let owned = environment.map(|(name, value)| (name.to_owned(), value.to_owned()));
    lab.cluster.node_mut(id)?.launch.environment = owned.to_vec();
    lab.cluster.node_mut(id)?.stop().await?;
    lab.cluster.start_node(id)?;
    lab.cluster.wait_ready().await?;
    lab.acks.begin();
    // a leader whose clock is ahead moves the group's, and locks end early
    let guesses = std::sync::Arc::clone(&lab.guesses);
    guesses.suspended.store(true, Ordering::Relaxed);
    let before = lab.cluster.terms().await;
    let led = lab.leads_anything(id).await;
    fs::write(&file, format!("{offset}\n"))?;
    let jumped = Instant::now();
    let node = lab.cluster.node(id)?;
    let noticed =
        until("not ready", Duration::from_secs(15), async || !node.is_ready().await).await;
    let noticed = noticed.ok().map(|_| jumped.elapsed());
    lab.hold(Duration::from_secs(5)).await;
    let leads = lab.leads_anything(id).await;
    let after = lab.cluster.terms().await;
    fs::write(&file, "+0\n")?;
    lab.cluster.wait_ready().await?;
    guesses.suspended.store(false, Ordering::Relaxed);
    // back to the machine's own clock
    lab.cluster.node_mut(id)?.launch.environment.clear();
    lab.cluster.node_mut(id)?.stop().await?;
    lab.cluster.start_node(id)?;
    lab.cluster.wait_ready().await?;
    let terms = after.get(&group).unwrap_or(&0).saturating_sub(*before.get(&group).unwrap_or(&0));
    let said = noticed.map_or("never".to_owned(), |took| format!("after {} ms", ms(took)));
    let what = format!(
        "node {id} by {offset} s: not ready {said}, led {led}, leads {leads}, {terms} terms in group {group}"
    );
    let mut evidence = Evidence::new(noticed.is_some() || !leads, what);
    evidence.figures.insert("jump_s", f64::from(seconds));
    if leads {
        evidence
            .violations
            .push(format!("node {id} leads although its clock is off by {offset} s"));
    }
    if noticed.is_none() {
        evidence
            .violations
            .push(format!("node {id} says that it is ready, with a clock off by {offset} s"));
    }
    Ok(evidence)
}

/// F20: whoever leads a group gets a tenth of a core.
pub async fn starved(lab: &mut Lab) -> Result<Evidence> {
    let hold = Duration::from_secs(if lab.long_holds { 120 } else { 20 });
    let (group, first) = lab.some_leader().await?;
    let cgroup = crate::chaos::cgroup::Cgroup::new(&lab.dir, "starved")?;
    cgroup.limit(Some(10))?;
    let began = Instant::now();
    let (mut moved, mut starved, mut ended) = (0, first, 0_u32);
    let take = |lab: &Lab, id: u32| -> Result<()> {
        cgroup.take(lab.cluster.node(id)?.pid().context("the node does not run")?)
    };
    take(lab, first)?;
    while began.elapsed() < hold {
        lab.hold(Duration::from_secs(2)).await;
        for (id, said) in lab.cluster.restart_ended()? {
            ended += 1;
            crate::chaos::run::say(&format!("node {id} ended while it was starved:\n{said}"));
        }
        // leadership moves away from who is starved: the next leader is starved then
        if let Some(leader) = lab.cluster.leader_now(group).await
            && leader != starved
        {
            cgroup.release(lab.cluster.node(starved)?.pid())?;
            take(lab, leader)?;
            (starved, moved) = (leader, moved + 1);
        }
    }
    let throttled = cgroup.throttled();
    let readings = lab.cluster.readings().await;
    let reopened: u64 = readings.values().flat_map(|r| r.groups.values()).map(|g| g.reopened).sum();
    cgroup.release(lab.cluster.node(starved)?.pid())?;
    drop(cgroup);
    let what = format!(
        "group {group}, {:.0} s: throttled {throttled} times, the lead moved {moved} times, {reopened} groups reopened, {ended} processes ended",
        began.elapsed().as_secs_f64()
    );
    let mut evidence = Evidence::new(throttled > 0, what);
    evidence.figures.insert("throttled", throttled as f64);
    evidence.figures.insert("reopened", reopened as f64);
    evidence.figures.insert("ended", f64::from(ended));
    Ok(evidence)
}
