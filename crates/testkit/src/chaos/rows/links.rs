//! Links between nodes: cut, slow, lossy. By the proxy, which holds bytes back, and by the kernel, which throws packets away.

use std::{sync::atomic::AtomicU64, time::Duration};

use anyhow::Result;
use tokio::time::Instant;

use super::Evidence;
use crate::chaos::{
    lab::Lab,
    proxy::{Counts, Flow},
};

const CUT_FOR: Duration = Duration::from_secs(10);
const SILENT: Flow =
    Flow { silent: true, delay_ms: 0, jitter_ms: 0, stalls: 0, resets: 0, flips: 0, drip: false };

/// Of the links that are slow.
const ROUND_TRIP_S: f64 = 0.15;

fn touched(counts: &Counts) -> &AtomicU64 {
    &counts.touched
}

/// Cuts directed pairs of nodes, one way or another; what it returns says which.
struct Cut {
    pairs: Vec<(u32, u32)>,
    by_kernel: bool,
    touched: u64,
}

impl Cut {
    fn make(lab: &Lab, pairs: Vec<(u32, u32)>) -> Result<Self> {
        let by_kernel = lab.tools.namespaces && lab.dice.happens(500);
        for (from, to) in &pairs {
            if by_kernel {
                lab.cluster.network.blackhole(*from, *to, true)?;
            } else {
                lab.cluster.proxy.set(*from, *to, SILENT);
            }
        }
        Ok(Self { pairs, by_kernel, touched: lab.cluster.proxy.total(touched) })
    }

    fn heal(&self, lab: &Lab) -> Result<()> {
        for (from, to) in &self.pairs {
            if self.by_kernel {
                lab.cluster.network.blackhole(*from, *to, false)?;
            } else {
                lab.cluster.proxy.set(*from, *to, Flow::default());
            }
        }
        Ok(())
    }

    /// Whether bytes were held back: of packets that the kernel throws away nobody tells.
    fn held_back(&self, lab: &Lab) -> Option<bool> {
        (!self.by_kernel).then(|| lab.cluster.proxy.total(touched) > self.touched)
    }

    fn how(&self) -> &'static str {
        if self.by_kernel { "by the kernel" } else { "by the proxy" }
    }
}

fn both_ways(pairs: &[(u32, u32)]) -> Vec<(u32, u32)> {
    pairs.iter().flat_map(|(a, b)| [(*a, *b), (*b, *a)]).collect()
}

/// F11: the leader of a group is cut off from both others for 10 s.
pub async fn leader_is_cut_off(lab: &mut Lab) -> Result<Evidence> {
    let (group, leader) = lab.some_leader().await?;
    let pairs: Vec<_> = lab.others(leader).iter().map(|other| (leader, *other)).collect();
    let cut = Cut::make(lab, both_ways(&pairs))?;
    lab.hold(CUT_FOR).await;
    let next = lab.cluster.leader(group, &lab.others(leader)).await;
    let held = cut.held_back(lab);
    cut.heal(lab)?;
    let next = next?;
    let what = format!("group {group}: node {leader} alone, {next} leads, {}", cut.how());
    Ok(Evidence::new(next != leader && held.unwrap_or(true), what))
}

/// F12: a follower is cut off from both others for 10 s.
pub async fn follower_is_cut_off(lab: &mut Lab) -> Result<Evidence> {
    let (group, leader) = lab.some_leader().await?;
    let follower = lab.some_other(leader)?;
    let leads_another = lab.leads_anything(follower).await;
    let pairs: Vec<_> = lab.others(follower).iter().map(|other| (follower, *other)).collect();
    let cut = Cut::make(lab, both_ways(&pairs))?;
    lab.hold(CUT_FOR).await;
    let behind = lab.is_behind(follower, group).await;
    let failed = lab.failed_in(group);
    cut.heal(lab)?;
    let what = format!("group {group}: node {follower} alone, {}", cut.how());
    let mut evidence = Evidence::new(behind, what);
    evidence.figures.insert("failed_in_the_group", failed as f64);
    if failed > 0 && !leads_another {
        evidence.slow.push(format!("{failed} operations of group {group} failed"));
    }
    Ok(evidence)
}

/// F13: what the leader of a group sends to the others is lost, for 10 s; the other direction is open.
pub async fn leader_is_not_heard(lab: &mut Lab) -> Result<Evidence> {
    let (group, leader) = lab.some_leader().await?;
    let before = lab.cluster.terms().await;
    let pairs = lab.others(leader).iter().map(|other| (leader, *other)).collect();
    let cut = Cut::make(lab, pairs)?;
    lab.hold(CUT_FOR).await;
    let next = lab.cluster.leader(group, &lab.others(leader)).await;
    let held = cut.held_back(lab);
    cut.heal(lab)?;
    let next = next?;
    lab.cluster.wait_ready().await?;
    let after = lab.cluster.terms().await;
    let terms = after.get(&group).unwrap_or(&0).saturating_sub(*before.get(&group).unwrap_or(&0));
    let what =
        format!("group {group}: node {leader} unheard, {next} leads, {terms} terms, {}", cut.how());
    let mut evidence = Evidence::new(next != leader && held.unwrap_or(true), what);
    evidence.figures.insert("terms", terms as f64);
    if terms > 2 * u64::from(lab.patience) {
        evidence.slow.push(format!("{terms} terms, at most 2"));
    }
    Ok(evidence)
}

/// F14: the leader of a group and one follower cannot reach each other for 10 s; the third reaches both.
pub async fn bridge(lab: &mut Lab) -> Result<Evidence> {
    let (group, leader) = lab.some_leader().await?;
    let other = lab.some_other(leader)?;
    let before = lab.cluster.terms().await;
    let cut = Cut::make(lab, both_ways(&[(leader, other)]))?;
    lab.hold(CUT_FOR).await;
    let behind = lab.is_behind(other, group).await || lab.is_behind(leader, group).await;
    let held = cut.held_back(lab);
    cut.heal(lab)?;
    lab.cluster.wait_ready().await?;
    let after = lab.cluster.terms().await;
    let terms = after.get(&group).unwrap_or(&0).saturating_sub(*before.get(&group).unwrap_or(&0));
    let what = format!("group {group}: {leader} and {other} apart, {terms} terms, {}", cut.how());
    let mut evidence = Evidence::new(held.unwrap_or(behind), what);
    evidence.figures.insert("terms", terms as f64);
    if terms > 3 * u64::from(lab.patience) {
        evidence.slow.push(format!("{terms} terms in 10 s, at most 3"));
    }
    Ok(evidence)
}

/// F15: links stop one by one over 3 s, and go on in another order.
pub async fn swizzle_clog(lab: &mut Lab) -> Result<Evidence> {
    let ids = lab.cluster.ids();
    let mut links: Vec<(u32, u32)> =
        ids.iter().flat_map(|a| ids.iter().map(move |b| (*a, *b))).filter(|(a, b)| a < b).collect();
    shuffle(lab, &mut links);
    let step = Duration::from_millis(3_000 / links.len().max(1) as u64);
    let before = lab.cluster.proxy.total(touched);
    for (a, b) in &links {
        lab.cluster.proxy.set_both(*a, *b, SILENT);
        lab.hold(step).await;
    }
    shuffle(lab, &mut links);
    for (a, b) in &links {
        lab.cluster.proxy.set_both(*a, *b, Flow::default());
        lab.hold(step).await;
    }
    let held = lab.cluster.proxy.total(touched) - before;
    Ok(Evidence::new(held > 0, format!("released in the order {links:?}, {held} chunks held")))
}

fn shuffle(lab: &Lab, links: &mut [(u32, u32)]) {
    for at in (1..links.len()).rev() {
        links.swap(at, lab.dice.below(at as u64 + 1) as usize);
    }
}

/// F16: every link is bad in one way for 10 s.
pub async fn bad_links(lab: &mut Lab) -> Result<Evidence> {
    let kinds = ["delay", "loss", "resets", "drip", "flips"];
    let kind = *lab.dice.pick(&kinds).unwrap_or(&"delay");
    let flow = match kind {
        "delay" => Flow { delay_ms: 25, jitter_ms: 100, ..Flow::default() },
        "loss" => Flow { stalls: 200, ..Flow::default() },
        "resets" => Flow { resets: 20, ..Flow::default() },
        "drip" => Flow { drip: true, ..Flow::default() },
        _ => Flow { flips: 10, ..Flow::default() },
    };
    let proxy = std::sync::Arc::clone(&lab.cluster.proxy);
    let base = lab.rate(Duration::from_secs(3)).await;
    lab.acks.begin();
    let before = [proxy.total(touched), proxy.total(|c| &c.resets), proxy.total(|c| &c.flips)];
    let began = Instant::now();
    if kind == "drip" {
        // a half-open link: one that is so slow that only a limit of time ends it
        let ids = lab.cluster.ids();
        let from = *lab.dice.pick(&ids).unwrap_or(&1);
        let to = lab.some_other(from)?;
        proxy.set_both(from, to, flow);
    } else {
        proxy.set_all(flow);
    }
    let rate = lab.rate(CUT_FOR).await;
    proxy.heal();
    let after = [proxy.total(touched), proxy.total(|c| &c.resets), proxy.total(|c| &c.flips)];
    let bit = match kind {
        "resets" => after[1] > before[1],
        "flips" => after[2] > before[2],
        _ => after[0] > before[0],
    };
    let share = 100.0 * rate / base.max(1.0);
    let what = format!(
        "{kind} for {:.0} s, {share:.0} % of the throughput",
        began.elapsed().as_secs_f64()
    );
    let mut evidence = Evidence::new(bit, what);
    evidence.figures.insert("throughput_percent", share);
    // clients with one operation under way each: more than one a round trip they cannot do
    let possible = base.min(f64::from(lab.register_clients) / ROUND_TRIP_S);
    if kind == "delay" && rate < 0.3 * possible {
        evidence.slow.push(format!("{rate:.0} a second, at least 30 % of {possible:.0}"));
    }
    Ok(evidence)
}
