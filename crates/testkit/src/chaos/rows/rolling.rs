//! F26: every node is restarted in turn, with the other version where there is one.

use std::{path::Path, sync::Arc, time::Duration};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tokio::{sync::watch, task::JoinHandle, time::sleep};

use super::Evidence;
use crate::chaos::{
    api::{Api, Pool, Reply},
    command::until,
    gate::Gate,
    lab::Lab,
};

const PASSWORD: &str = "Correct-horse-1";
/// Between two calls of the one who is watched.
const PAUSE: Duration = Duration::from_millis(10);
/// Before the one repetition of a call; as the AWS SDKs wait.
const RETRY_AFTER: Duration = Duration::from_millis(100);
const FAILURES_MAX: usize = 20;
const MADE_WITHIN: Duration = Duration::from_secs(30);

/// F26: every node is stopped in order and started again, one after the other. With two versions each comes back with the
/// other one, and whenever both serve, the replicas are brought to the same entry and compared: what differs ends the round.
/// Meanwhile somebody uses the public API through all gateways in turn, and repeats a call once, at the next one.
pub async fn restart(lab: &mut Lab) -> Result<Evidence> {
    let mut order = lab.cluster.ids();
    let shift = lab.dice.below(order.len() as u64) as usize;
    order.rotate_left(shift);
    let mut what = format!("in the order {order:?}");
    if let Some((from, to)) = &lab.versions {
        what.push_str(&format!(", from {} to {}", file_name(from), file_name(to)));
    }
    let caller = Caller::start(lab).await?;
    let mut mixed = 0_u32;
    for (id, left) in order.iter().zip((0..order.len()).rev()) {
        let status = lab.cluster.node_mut(*id)?.stop().await?;
        ensure!(status.is_some_and(|status| status.success()), "node {id} ended with {status:?}");
        if let Some((_, other)) = &lab.versions {
            lab.cluster.node_mut(*id)?.launch.binary.clone_from(other);
        }
        lab.cluster.start_node(*id)?;
        lab.cluster.wait_ready().await?;
        if lab.versions.is_some() && left > 0 {
            lab.settle(false).await.context("with both versions in the cluster")?;
            mixed += 1;
        }
    }
    let called = caller.stop().await?;
    lab.versions = lab.versions.take().map(|(from, to)| (to, from));
    let tallies = lab.acks.tallies();
    let steady = tallies.iter().filter(|(class, _)| Lab::is_steady(class));
    let failed: u64 = steady.map(|(_, tally)| tally.failed + tally.unknown).sum();
    what.push_str(&format!("; {} calls, {} repeated", called.calls, called.repeated));
    let mut evidence = Evidence::new(called.calls > 0, what);
    let groups = lab.cluster.groups().len() as u32;
    let figures = [
        ("failed", failed as f64),
        ("calls", called.calls as f64),
        ("calls_repeated", called.repeated as f64),
        ("groups_compared_while_mixed", f64::from(mixed * groups)),
    ];
    evidence.figures.extend(figures);
    if failed > 0 {
        evidence.slow.push(format!("{failed} operations failed"));
    }
    evidence.slow.extend(called.failed);
    evidence.violations.extend(called.wrong);
    Ok(evidence)
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// What has become of the calls of one who repeats each at most once.
#[derive(Debug, Default)]
struct Called {
    calls: u64,
    repeated: u64,
    /// Calls that failed twice.
    failed: Vec<String>,
    /// Answers that cannot be right.
    wrong: Vec<String>,
}

impl Called {
    fn fail(&mut self, reply: &Reply) {
        if self.failed.len() < FAILURES_MAX {
            self.failed.push(format!("a call failed twice: {}", reply.words()));
        }
    }

    fn compare(&mut self, user: &Value, written: Option<&str>) {
        let Some(written) = written else { return };
        let shown = user["UserAttributes"].as_array().into_iter().flatten();
        let shown = shown.filter(|a| a["Name"] == "nickname").map(|a| &a["Value"]).next();
        if shown.is_none_or(|shown| shown != written) && self.wrong.len() < FAILURES_MAX {
            self.wrong.push(format!("{written} was acknowledged, and then {shown:?} was read"));
        }
    }
}

/// One who uses the public API all the time.
struct Caller {
    over: watch::Sender<bool>,
    task: JoinHandle<Called>,
}

impl Caller {
    async fn start(lab: &Lab) -> Result<Self> {
        let (api, pool) = (lab.api.clone(), lab.some_pool()?);
        let name = format!("rolling-{}", lab.round);
        let body = json!({ "UserPoolId": pool.id, "Username": name, "MessageAction": "SUPPRESS" });
        make(&api, "AdminCreateUser", &body).await?;
        let body = json!({
            "UserPoolId": pool.id, "Username": name, "Password": PASSWORD, "Permanent": true,
        });
        make(&api, "AdminSetUserPassword", &body).await?;
        let (over, seen) = watch::channel(false);
        let task = tokio::spawn(call(api, lab.gate(), pool, name, seen));
        Ok(Self { over, task })
    }

    async fn stop(self) -> Result<Called> {
        self.over.send_replace(true);
        self.task.await.context("the caller has ended")
    }
}

/// Before anything is restarted: for as long as a machine that others use needs.
async fn make(api: &Api, operation: &str, body: &Value) -> Result<()> {
    let mut reply = Reply::NotDone;
    let made = until(operation, MADE_WITHIN, async || {
        reply = api.signed(0, operation, body).await;
        // an attempt of which nobody knows may have done it
        reply.is_ok() || reply.is("UsernameExistsException")
    });
    made.await.map(|_| ()).with_context(|| reply.words())
}

/// Writes, reads and signs in, at one gateway after another.
async fn call(
    api: Api,
    gate: Arc<Gate>,
    pool: Pool,
    name: String,
    over: watch::Receiver<bool>,
) -> Called {
    let mut called = Called::default();
    // `None` while nobody knows
    let mut written: Option<String> = None;
    for number in 0_usize.. {
        if *over.borrow() || over.has_changed().is_err() {
            break;
        }
        let Some(_pass) = gate.pass().await else { break };
        let value = number.to_string();
        let user = json!({ "UserPoolId": pool.id, "Username": name });
        let update = json!({
            "UserPoolId": pool.id, "Username": name,
            "UserAttributes": [{ "Name": "nickname", "Value": value }],
        });
        let once = async |gateway: usize| match number % 3 {
            0 => api.signed(gateway, "AdminUpdateUserAttributes", &update).await,
            1 => api.signed(gateway, "AdminGetUser", &user).await,
            _ => api.sign_in(gateway, &pool, &name, PASSWORD).await,
        };
        let mut reply = once(number).await;
        if !reply.is_ok() {
            called.repeated += 1;
            sleep(RETRY_AFTER).await;
            reply = once(number + 1).await;
        }
        called.calls += 1;
        match (&reply, number % 3) {
            (Reply::Ok(_), 0) => written = Some(value),
            (Reply::Ok(user), 1) => called.compare(user, written.as_deref()),
            (Reply::Ok(_), _) => {}
            (failed, which) => {
                written = written.filter(|_| which != 0);
                called.fail(failed);
            }
        }
        sleep(PAUSE).await;
    }
    called
}
