//! Nodes that come, go and are replaced, while leaders die in the middle of the changes.

use std::time::Duration;

use anyhow::{Result, ensure};
use tokio::time::Instant;

use super::Evidence;
use crate::chaos::{command::until, lab::Lab, node::Reading, operator::Status, report::ms};

/// How long one change of the cluster may take, on a machine that others use too.
const SETTLED_WITHIN: Duration = Duration::from_secs(150);
/// How long a change of a group's members is looked for.
const CHANGE_WITHIN: Duration = Duration::from_secs(30);
/// For how long a removed node is started again and again.
const DISTURBS_FOR: Duration = Duration::from_secs(5);
/// A removed node that reaches the others must end by itself, again and again.
const ENDS_WITHIN: Duration = Duration::from_secs(20);
/// What it says then.
const SAYS: &str = "has been removed from the cluster";

/// F23: three nodes become five and three again, a leader is killed in the middle of each, and then a node is lost for good
/// and replaced by a new one. Nodes that have been removed come back, and must not disturb.
pub async fn cycle(lab: &mut Lab) -> Result<Evidence> {
    let mut evidence = Evidence::default();
    let mut words = Vec::new();
    let before = lab.cluster.ids();

    let began = Instant::now();
    let added = [lab.cluster.add_node().await?, lab.cluster.add_node().await?];
    let killed = kill_a_leader_in_the_middle(lab).await?;
    let five = lab.cluster.ids();
    wait(lab, &format!("{five:?} share the groups"), &[], |status| shared(status, &five)).await?;
    for id in added {
        lab.cluster.open_gateway(id)?;
    }
    evidence.figures.insert("grown_after_ms", ms(began.elapsed()) as f64);
    words.push(format!("grew by {added:?}, {killed}"));

    let began = Instant::now();
    let mut leaving = five.clone();
    while leaving.len() > 2 {
        leaving.remove(lab.dice.below(leaving.len() as u64) as usize);
    }
    for id in &leaving {
        lab.cluster.operate(&["drain", "--no-wait", &id.to_string()], &[]).await?;
    }
    let second = kill_a_leader_in_the_middle(lab).await?;
    let three: Vec<u32> = five.iter().copied().filter(|id| !leaving.contains(id)).collect();
    wait(lab, &format!("{leaving:?} are drained"), &[], |status| {
        leaving.iter().all(|id| status.state(*id) == "drained")
    })
    .await?;
    for id in &leaving {
        lab.cluster.operate(&["remove", &id.to_string()], &[]).await?;
    }
    evidence.figures.insert("shrunk_after_ms", ms(began.elapsed()) as f64);
    words.push(format!("drained {leaving:?}, {second}"));
    is_calm(lab, &three, &[]).await?;
    for id in &leaving {
        evidence.violations.extend(come_back(lab, *id).await?);
    }
    for id in &leaving {
        lab.cluster.take_away(*id);
    }
    wait(lab, &format!("{three:?} have every group"), &[], |status| status.is_just(&three)).await?;

    let began = Instant::now();
    let (lost, new, how) = replace(lab, &mut evidence).await?;
    evidence.figures.insert("replaced_after_ms", ms(began.elapsed()) as f64);
    words.push(format!("replaced {lost}, {how}, by {new}"));

    let after = lab.cluster.ids();
    wait(lab, &format!("{after:?} have every group"), &[], |status| status.is_just(&after)).await?;
    ensure!(after.len() == before.len(), "{before:?} have become {after:?}");
    evidence.bit = true;
    evidence.what = words.join("; ");
    Ok(evidence)
}

async fn wait(
    lab: &Lab,
    what: &str,
    except: &[u32],
    wanted: impl Fn(&Status) -> bool,
) -> Result<()> {
    lab.cluster.wait_status(what, SETTLED_WITHIN, except, wanted).await
}

/// Whether all of these nodes have groups, each group is on three of them, and nothing is left to do.
fn shared(status: &Status, nodes: &[u32]) -> bool {
    let active = |id: &u32| status.state(*id) == "active" && !status.nodes[id].groups.is_empty();
    status.settled
        && nodes.iter().all(active)
        && status.groups.values().all(|group| {
            group.voters.len() == 3
                && group.replicas == group.voters
                && group.voters.iter().all(|id| nodes.contains(id))
                && !group.changing
        })
}

/// Waits until there is no reason any more for anybody else to be elected.
async fn is_calm(lab: &Lab, nodes: &[u32], except: &[u32]) -> Result<()> {
    let calm = |status: &Status| status.is_just(nodes) && status.is_balanced(nodes);
    wait(lab, &format!("{nodes:?} share the leads"), except, calm).await
}

/// Waits until a group has a replica that does not vote: it is being brought up, or has just left. Kills whoever leads that
/// group, at some moment of the change, and starts it again.
async fn kill_a_leader_in_the_middle(lab: &mut Lab) -> Result<String> {
    let began = Instant::now();
    let mut changing = None;
    until("the members of a group are being changed", CHANGE_WITHIN, async || {
        let readings = lab.cluster.readings().await;
        let of_node = |(id, reading): (&u32, &Reading)| {
            let group = reading.groups.iter().find(|(_, of_group)| !of_group.votes);
            group.map(|(group, _)| (*group, *id))
        };
        changing = readings.iter().find_map(of_node);
        changing.is_some()
    })
    .await?;
    let (group, about) = changing.unwrap_or_default();
    let seen = began.elapsed();
    lab.hold(Duration::from_millis(lab.dice.below(500))).await;
    let leader = lab.cluster.leader(group, &lab.cluster.ids()).await?;
    lab.cluster.node_mut(leader)?.kill();
    lab.hold(Duration::from_millis(500 + lab.dice.below(2_000))).await;
    lab.cluster.start_node(leader)?;
    let after = ms(seen);
    Ok(format!(
        "killed {leader}, leader of group {group}, with {about} not voting after {after} ms"
    ))
}

/// A node that was removed comes back with the data that it had, or has never ended. It must not disturb: nobody is elected
/// because of it, and it ends by itself whenever it hears that it was removed.
async fn come_back(lab: &mut Lab, id: u32) -> Result<Vec<String>> {
    let mut violations = Vec::new();
    let from = lab.cluster.node(id)?.log_length();
    let before = lab.cluster.terms().await;
    let began = Instant::now();
    let mut starts = 0_u32;
    let mut ended = Instant::now();
    while began.elapsed() < DISTURBS_FOR || starts == 0 {
        if lab.cluster.node_mut(id)?.is_running() {
            if ended.elapsed() > lab.patient(ENDS_WITHIN) {
                violations.push(format!("node {id}, which was removed, goes on"));
                break;
            }
        } else {
            lab.cluster.start_node(id)?;
            (starts, ended) = (starts + 1, Instant::now());
        }
        lab.hold(Duration::from_millis(50)).await;
    }
    let node = lab.cluster.node_mut(id)?;
    let last = until("it ends", lab.patience * ENDS_WITHIN, async || !node.is_running()).await;
    if last.is_err() {
        violations.push(format!("node {id}, which was removed, does not end"));
        node.kill();
    }
    if !node.log_has(from, SAYS) {
        violations
            .push(format!("node {id}, which was removed, does not say so:\n{}", node.log_tail()));
    }
    let after = lab.cluster.terms().await;
    for (group, term) in &after {
        let was = before.get(group).copied().unwrap_or(0);
        if *term > was {
            violations.push(format!(
                "group {group} has held {} elections while node {id}, which was removed, came back",
                term - was
            ));
        }
    }
    Ok(violations)
}

/// A node is lost for good: it has died, stands still or is cut off. A new one takes its place, and is itself killed on the
/// way half of the time; the other two are all that is left of a quorum. The lost one then comes back.
async fn replace(lab: &mut Lab, evidence: &mut Evidence) -> Result<(u32, u32, String)> {
    let (_, leader) = lab.some_leader().await?;
    let lost = if lab.dice.happens(500) { leader } else { lab.some_other(leader)? };
    let ways = ["killed", "standing still", "cut off"];
    let way = *lab.dice.pick(&ways).unwrap_or(&ways[0]);
    match way {
        "killed" => lab.cluster.node_mut(lost)?.kill(),
        "standing still" => lab.cluster.node(lost)?.freeze().await?,
        _ => lab.cut_off(lost, true),
    }
    let new = lab.cluster.add_node().await?;
    if way == "cut off" {
        // from the new one too
        lab.cut_off(lost, true);
    }
    let active = |status: &Status| status.state(new) == "active";
    wait(lab, &format!("node {new} is active"), &[lost], active).await?;
    lab.cluster.open_gateway(new)?;
    let (dead, with) = (lost.to_string(), new.to_string());
    lab.cluster.operate(&["replace", "--no-wait", &dead, "--with", &with], &[lost]).await?;
    let mut how = way.to_owned();
    if lab.dice.happens(500) {
        lab.hold(Duration::from_millis(lab.dice.below(1_500))).await;
        lab.cluster.node_mut(new)?.kill();
        lab.hold(Duration::from_millis(lab.dice.below(1_000))).await;
        lab.cluster.start_node(new)?;
        how.push_str(", the new one killed on the way");
    }
    let removed = |status: &Status| status.state(lost) == "removed";
    wait(lab, &format!("node {lost} is replaced"), &[lost], removed).await?;
    is_calm(lab, &lab.others(lost), &[lost]).await?;
    match way {
        "killed" => {}
        "standing still" => lab.cluster.node(lost)?.thaw()?,
        _ => lab.cluster.proxy.heal(),
    }
    evidence.violations.extend(come_back(lab, lost).await?);
    lab.cluster.take_away(lost);
    Ok((lost, new, how))
}
