//! Waits until a node is where it should be, and shows how far it is.

use std::{
    io::{self, IsTerminal as _, Write as _},
    time::Duration,
};

use anyhow::Result;
use tokio::time::{Instant, sleep, timeout_at};

use super::{
    client::Client,
    proto::{Node, WatchProgressRequest, WatchProgressResponse},
};
use crate::failure::Failure;

const BAR_WIDTH: usize = 24;
/// Between two attempts to watch, when a node has stopped or the directory elects a leader.
const PAUSE: Duration = Duration::from_millis(500);
/// A node says how far it is at least every 5 s.
const SILENCE_MAX: Duration = Duration::from_secs(20);

/// Where a node should be.
pub struct Goal<'a> {
    pub node_id: u64,
    /// What is being done, in one word.
    pub what: &'static str,
    /// It is there.
    pub reached: &'a (dyn Fn(&Node) -> bool + Sync),
    /// It never will be: somebody else has changed it.
    pub lost: &'a (dyn Fn(&Node) -> bool + Sync),
}

/// Goes on with another node when the one that is asked ends.
pub async fn until(client: &mut Client, goal: &Goal<'_>, limit: Duration) -> Result<()> {
    let deadline = Instant::now() + limit;
    let mut display = Display::new();
    loop {
        let step = timeout_at(deadline, watch(client, goal, &mut display)).await;
        match step {
            Ok(Ok(Some(outcome))) => {
                display.end();
                return outcome.map_err(Into::into);
            }
            Ok(Ok(None)) => {}
            Ok(Err(error)) => {
                display.end();
                return Err(error);
            }
            Err(_) => {
                display.end();
                return Err(Failure::failed(format!(
                    "{} node {} is not done within {} s; the cluster goes on with it: `conclave status`",
                    goal.what,
                    goal.node_id,
                    limit.as_secs()
                ))
                .into());
            }
        }
        sleep(PAUSE).await;
    }
}

/// `None` when the node that was asked says no more.
async fn watch(
    client: &mut Client,
    goal: &Goal<'_>,
    display: &mut Display,
) -> Result<Option<Result<(), Failure>>> {
    let ask = async |mut client: super::proto::admin_client::AdminClient<_>| {
        client.watch_progress(WatchProgressRequest {}).await
    };
    let mut progress = client.call(ask).await?;
    loop {
        let next = timeout_at(Instant::now() + SILENCE_MAX, progress.message()).await;
        let Ok(Ok(Some(now))) = next else { return Ok(None) };
        let Some(node) = now.nodes.iter().find(|node| node.node_id == goal.node_id) else {
            let text = format!("there is no node {} any more", goal.node_id);
            return Ok(Some(Err(Failure::failed(text))));
        };
        display.show(goal, node, &now);
        if (goal.reached)(node) {
            return Ok(Some(Ok(())));
        }
        if (goal.lost)(node) {
            let state = super::table::state(node);
            let text = format!("node {} is {state} by now: somebody has changed it", goal.node_id);
            return Ok(Some(Err(Failure::failed(text))));
        }
    }
}

/// A bar on a terminal; elsewhere, a line for each step.
struct Display {
    terminal: bool,
    /// The most groups that the node had.
    total: usize,
    said: String,
}

impl Display {
    fn new() -> Self {
        Self { terminal: io::stderr().is_terminal(), total: 0, said: String::new() }
    }

    fn show(&mut self, goal: &Goal<'_>, node: &Node, now: &WatchProgressResponse) {
        let left = node.groups.len();
        self.total = self.total.max(left);
        let text = line(goal, node, now, self.total);
        if text == self.said {
            return;
        }
        // what cannot be shown is no reason to stop
        let _ = match self.terminal {
            true => write!(io::stderr(), "\r\x1b[2K{} {text}", bar(self.total - left, self.total)),
            false => writeln!(io::stderr(), "{text}"),
        };
        let _ = io::stderr().flush();
        self.said = text;
    }

    fn end(&self) {
        if self.terminal && !self.said.is_empty() {
            let _ = writeln!(io::stderr());
        }
    }
}

fn line(goal: &Goal<'_>, node: &Node, now: &WatchProgressResponse, total: usize) -> String {
    let left = node.groups.len();
    let mut text =
        format!("{} node {}: {} of {total} groups moved", goal.what, goal.node_id, total - left);
    if let Some(moving) = now.moves.first() {
        text += &format!(", group {}: {}", moving.group, moving.step);
        if let Some(lag) = moving.lag_entries {
            text += &format!(" ({lag} entries behind)");
        }
    } else if let Some(why) = now.waiting.first() {
        text += &format!(", waiting: {why}");
    }
    text
}

fn bar(done: usize, total: usize) -> String {
    let filled = (done * BAR_WIDTH).checked_div(total).unwrap_or(BAR_WIDTH);
    format!("[{}{}]", "#".repeat(filled), "-".repeat(BAR_WIDTH - filled))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster_admin::proto::Move;

    #[test]
    fn progress_says_what_is_done_and_what_is_waited_for() {
        let goal = Goal { node_id: 2, what: "draining", reached: &|_| false, lost: &|_| false };
        let node = Node { node_id: 2, groups: vec![1], ..Node::default() };
        let mut now = WatchProgressResponse::default();
        assert_eq!(line(&goal, &node, &now, 4), "draining node 2: 3 of 4 groups moved");
        now.waiting.push("no node takes group 1".to_owned());
        let waiting = "draining node 2: 3 of 4 groups moved, waiting: no node takes group 1";
        assert_eq!(line(&goal, &node, &now, 4), waiting);
        let moving =
            Move { group: 1, step: "copies".to_owned(), lag_entries: Some(7), ..Move::default() };
        now.moves.push(moving);
        let moving = "draining node 2: 3 of 4 groups moved, group 1: copies (7 entries behind)";
        assert_eq!(line(&goal, &node, &now, 4), moving);
        assert_eq!(bar(3, 4), "[##################------]");
        assert_eq!(bar(0, 0), format!("[{}]", "#".repeat(BAR_WIDTH)));
    }
}
