//! The other nodes.

use std::time::Duration;

use tokio::{net::TcpStream, time::timeout};

use super::findings::Findings;
use crate::{
    cluster_admin::{Client, Connection, proto},
    config::ServeConfig,
};

const CONNECT_WITHIN: Duration = Duration::from_secs(2);
/// Further off than this a node gives leadership away; half of it is worth a warning.
const CLOCK_SKEW_MS: u64 = 1_000;

pub async fn look(config: &ServeConfig, connection: &Connection, findings: &mut Findings) {
    let mut reached = 0;
    let own = config.own_address().unwrap_or_default().to_owned();
    let seeds: Vec<String> = config.seeds().into_iter().filter(|seed| *seed != own).collect();
    for seed in &seeds {
        match timeout(CONNECT_WITHIN, TcpStream::connect(seed)).await {
            Ok(Ok(_)) => {
                reached += 1;
                findings.ok("peers", format!("{seed} takes connections"));
            }
            Ok(Err(error)) => findings.warning(
                "peers",
                format!("{seed} cannot be reached: {error}"),
                "is the node running, its name right, and port 9230 open between the machines?",
            ),
            Err(_) => findings.warning(
                "peers",
                format!("{seed} does not answer within {} s", CONNECT_WITHIN.as_secs()),
                "a firewall that drops, or a machine that is off",
            ),
        }
    }
    if reached == 0 && !seeds.is_empty() {
        findings.error(
            "peers",
            "none of the other nodes can be reached",
            "a node alone does not start: start the others, or look at the network",
        );
    }
    ask(connection, findings).await;
}

async fn ask(connection: &Connection, findings: &mut Findings) {
    const ABOUT: &str = "cluster";
    let mut client = match Client::new(connection) {
        Ok(client) => client,
        Err(error) => {
            let what = format!("the cluster was not asked: {error:#}");
            findings.warning(ABOUT, what, "give --certificate and --key of the role admin");
            return;
        }
    };
    let status =
        client.call(async |mut client| client.get_status(proto::GetStatusRequest {}).await).await;
    let status = match status {
        Ok(status) => status,
        Err(error) => {
            findings.error(
                ABOUT,
                format!("the cluster does not answer: {error:#}"),
                "start a node, and look at its log",
            );
            return;
        }
    };
    if status.problems.is_empty() {
        let what = format!("all is well, says node {}", status.answered_by);
        findings.ok(ABOUT, what);
    }
    for problem in &status.problems {
        findings.error(ABOUT, problem, "conclave status shows all of it; docs/runbooks");
    }
    for node in &status.nodes {
        let skew_ms = node.clock_skew_ms.unwrap_or(0);
        if skew_ms.unsigned_abs() > CLOCK_SKEW_MS {
            findings.warning(
                "clocks",
                format!("the clock of node {} is {skew_ms} ms off", node.node_id),
                "synchronise it (chrony, NTP): a node that is 2 s off does not lead",
            );
        }
    }
}
