//! Processes that die or stand still.

use std::time::Duration;

use anyhow::Result;

use super::Evidence;
use crate::chaos::lab::Lab;

const DEAD_FOR: Duration = Duration::from_secs(3);

/// F01: the leader of a group is killed, and started again after 3 s.
pub async fn leader_is_killed(lab: &mut Lab) -> Result<Evidence> {
    let (group, leader) = lab.some_leader().await?;
    lab.cluster.node_mut(leader).kill();
    lab.hold(DEAD_FOR).await;
    let next = lab.cluster.leader(group, &lab.others(leader)).await?;
    lab.cluster.start_node(leader)?;
    lab.cluster.wait_ready().await?;
    Ok(Evidence::new(next != leader, format!("group {group}: from node {leader} to {next}")))
}
