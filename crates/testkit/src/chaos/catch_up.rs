//! A new follower of a group with many users, while sign-ins go on: how long it takes, what is sent, and what sender and
//! receiver need for it.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep},
};

use super::{
    api::{Api, Pool},
    cluster::{Cluster, ClusterOptions},
    command::until,
    network::Network,
    operator::Status,
    people_rows::Template,
    proxy::Proxy,
    report::ms,
    run::say,
    sandbox::Tools,
    watcher::memory_mb,
};
use crate::dice::Dice;

/// A node of an image has room for more than a million users, thrice.
const DISK_BYTES: u64 = 24 << 30;
/// The only group with users.
const GROUP: u32 = 1;
/// What is sent is a snapshot, not the log.
const SETTINGS: &str = "\n[snapshots]\nentries = 1000\nkeep_entries = 200\nkeep_seconds = 0\n";
/// How long sign-ins are measured without anything else.
const BASE_FOR: Duration = Duration::from_secs(10);
const CAUGHT_UP_WITHIN: Duration = Duration::from_secs(1_800);
const PASSWORD: &str = "Correct-horse-1";
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// What is measured.
#[derive(Debug, Clone)]
pub struct CatchUpOptions {
    /// The server.
    pub binary: PathBuf,
    /// A directory for all that is made.
    pub dir: PathBuf,
    /// Decides everything that is left to chance.
    pub seed: u64,
    /// What the machine lets us do.
    pub tools: Tools,
    /// Users of the group.
    pub users: u64,
    /// Users who sign in, each again and again, one at a time for each.
    pub clients: u32,
    /// A process may need so much more memory than before, in MB.
    pub memory_mb: f64,
}

/// How sign-ins went.
#[derive(Debug, Default)]
struct SignIns {
    latencies: Mutex<Vec<Duration>>,
    failures: Mutex<Vec<String>>,
    stop: AtomicBool,
}

impl SignIns {
    /// What there was since the last time, and forgets it.
    fn take(&self) -> Value {
        let mut latencies = std::mem::take(&mut *self.latencies.lock());
        latencies.sort_unstable();
        let at = |per_cent: usize| {
            let index = latencies.len().saturating_sub(1) * per_cent / 100;
            latencies.get(index).copied().map_or(0, ms)
        };
        let failures = std::mem::take(&mut *self.failures.lock());
        json!({
            "acknowledged": latencies.len(), "failed": failures.len(), "failures": failures,
            "median_ms": at(50), "p99_ms": at(99), "worst_ms": at(100),
        })
    }
}

/// Fills a group, loses a node for good, puts a new one in its place, and measures. Whether all of it was as it must be.
///
/// # Errors
/// The cluster does not become what it should.
pub async fn measure(options: &CatchUpOptions) -> Result<(Value, bool)> {
    let CatchUpOptions { binary, dir, seed, tools, users, clients, memory_mb } = options.clone();
    let network = Arc::new(Network::create(tools.namespaces)?);
    let proxy = Proxy::new(Arc::clone(&network), Dice::new(seed, 0x9a0c_0001));
    let made = ClusterOptions {
        binary,
        dir,
        nodes: 3,
        pool_groups: 1,
        images: tools.disks,
        disk_bytes: DISK_BYTES,
        settings: SETTINGS.to_owned(),
        environment: Vec::new(),
    };
    let mut cluster = Cluster::start(made, network, proxy).await?;
    let api = Api::new(Arc::clone(&cluster.gateways), cluster.access_key.clone());
    let store = cluster.store()?;

    let pool = api.make_pool("many").await?;
    let template = template(&api, &store, &pool).await?;
    let names = make_clients(&api, &pool, clients).await?;
    let began = Instant::now();
    let written = template.fill(&store, users, seed).await?;
    let filled = began.elapsed();
    let bytes = written.bytes.load(Ordering::Relaxed);
    say(&format!(
        "{users} users with {} rows each, {:.1} MB, after {:.1} s",
        template.rows(),
        bytes as f64 / 1e6,
        filled.as_secs_f64()
    ));
    let ids = cluster.ids();
    let whole = |status: &Status| status.is_just(&ids);
    cluster.wait_status("all nodes have the users", CAUGHT_UP_WITHIN, &[], whole).await?;

    let sign_ins = Arc::new(SignIns::default());
    let mut tasks = JoinSet::new();
    for (name, number) in names.into_iter().zip(0..) {
        let (api, pool, sign_ins) = (api.clone(), pool.clone(), Arc::clone(&sign_ins));
        tasks.spawn(sign_in(api, pool, name, number, sign_ins));
    }
    let begun = async || !sign_ins.latencies.lock().is_empty();
    until("sign-ins have begun", Duration::from_secs(60), begun).await?;
    sign_ins.take();
    sleep(BASE_FOR).await;
    let base = sign_ins.take();

    // one that leads nothing is lost: an election is not what is measured
    let leader = cluster.leader(GROUP, &ids).await?;
    let lost = ids.iter().copied().find(|id| *id != leader).context("one node only")?;
    cluster.gateways.write().remove(&lost);
    cluster.node_mut(lost)?.kill();
    let memory = Memory::watch(&cluster);
    sign_ins.take();
    // from its start: it may be given groups before it is said in whose place
    let began = Instant::now();
    let new = cluster.add_node().await?;
    let active = |status: &Status| status.state(new) == "active";
    cluster.wait_status("the new node is active", CAUGHT_UP_WITHIN, &[lost], active).await?;
    let (dead, with) = (lost.to_string(), new.to_string());
    cluster.operate(&["replace", "--no-wait", &dead, "--with", &with], &[lost]).await?;
    let caught_up = async || {
        let readings = cluster.readings().await;
        let of = |id: u32| readings.get(&id)?.groups.get(&GROUP).copied();
        let most = readings.values().filter_map(|r| r.groups.get(&GROUP)).map(|g| g.last).max();
        // sign-ins go on, so it is never wholly at the end
        of(new).is_some_and(|g| g.votes && g.applied + 100 >= most.unwrap_or(u64::MAX))
    };
    let what = format!("node {new} votes and has caught up");
    until(&what, CAUGHT_UP_WITHIN, caught_up).await?;
    let took = began.elapsed();
    let meanwhile = sign_ins.take();
    let peaks = memory.end();
    let sent = sent_to(&cluster, new);
    cluster.take_away(lost);

    sign_ins.stop.store(true, Ordering::Relaxed);
    tasks.join_all().await;
    let ids = cluster.ids();
    let whole = |status: &Status| status.is_just(&ids);
    cluster.wait_status("every group is on all nodes", CAUGHT_UP_WITHIN, &[], whole).await?;
    let same = async || {
        let readings = cluster.readings().await;
        let mut states = readings.values().filter_map(|r| r.groups.get(&GROUP));
        let first = states.next().map(|g| (g.applied, g.history));
        states.all(|g| Some((g.applied, g.history)) == first)
    };
    until("all replicas have come to the same", Duration::from_secs(60), same).await?;

    let grown: BTreeMap<u32, f64> =
        peaks.iter().map(|(id, (before, most))| (*id, most - before)).collect();
    let of = |id: u32| grown.get(&id).copied().unwrap_or(0.0);
    let most = grown.values().copied().fold(0.0, f64::max);
    let failed = meanwhile["failed"].as_u64().unwrap_or(0);
    say(&format!(
        "node {new} caught up in {:.2} s ({:.1} MB sent to it); memory grew by {:.0} MB on the leader, {:.0} MB on the \
         new node, {most:.0} MB at most; sign-ins before: {}; meanwhile: {}",
        took.as_secs_f64(),
        sent as f64 / 1e6,
        of(leader),
        of(new),
        words(&base),
        words(&meanwhile),
    ));
    let good = failed == 0 && most <= memory_mb;
    let report = json!({
        "users": users, "rows_per_user": template.rows(), "bytes_written": bytes,
        "filled_s": filled.as_secs_f64(), "caught_up_s": took.as_secs_f64(), "bytes_sent": sent,
        "memory_mb": peaks.iter().map(|(id, (before, most))| json!({
            "node": id, "before": before, "most": most, "leader": *id == leader, "new": *id == new,
        })).collect::<Vec<_>>(),
        "memory_growth_max_mb": memory_mb, "sign_ins_before": base, "sign_ins_meanwhile": meanwhile,
        "passed": good,
    });
    Ok((report, good))
}

fn words(sign_ins: &Value) -> String {
    format!(
        "{} with {} failed, median {} ms, p99 {} ms, worst {} ms",
        sign_ins["acknowledged"],
        sign_ins["failed"],
        sign_ins["median_ms"],
        sign_ins["p99_ms"],
        sign_ins["worst_ms"]
    )
}

/// A user such as administrators make, and its rows.
async fn template(
    api: &Api,
    store: &Arc<conclave_cluster::RoutingStore>,
    pool: &Pool,
) -> Result<Arc<Template>> {
    let name = "00000000";
    let body = json!({
        "UserPoolId": pool.id, "Username": name, "MessageAction": "SUPPRESS",
        "UserAttributes": [
            { "Name": "email", "Value": format!("{name}@example.com") },
            { "Name": "email_verified", "Value": "true" },
            { "Name": "phone_number", "Value": format!("+1{name}") },
            { "Name": "given_name", "Value": "Given" },
            { "Name": "family_name", "Value": "Family" },
        ],
    });
    let made = api.signed(0, "AdminCreateUser", &body).await;
    ensure!(made.is_ok(), "AdminCreateUser: {}", made.words());
    set_password(api, pool, name).await?;
    let get = json!({ "UserPoolId": pool.id, "Username": name });
    let user = api.signed(0, "AdminGetUser", &get).await;
    let sub = (0..8).find_map(|at| {
        let is_sub = user.text(&format!("/UserAttributes/{at}/Name"))? == "sub";
        is_sub.then(|| user.text(&format!("/UserAttributes/{at}/Value")))?
    });
    let sub = sub.with_context(|| format!("no sub: {}", user.words()))?;
    Ok(Arc::new(Template::read(store, &pool.id, &sub, name).await?))
}

async fn set_password(api: &Api, pool: &Pool, name: &str) -> Result<()> {
    let body = json!({
        "UserPoolId": pool.id, "Username": name, "Password": PASSWORD, "Permanent": true,
    });
    let set = api.signed(0, "AdminSetUserPassword", &body).await;
    ensure!(set.is_ok(), "AdminSetUserPassword: {}", set.words());
    Ok(())
}

/// Users who sign in.
async fn make_clients(api: &Api, pool: &Pool, count: u32) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for number in 0..count {
        let name = format!("client-{number}");
        let body = json!({ "UserPoolId": pool.id, "Username": name, "MessageAction": "SUPPRESS" });
        let made = api.signed(0, "AdminCreateUser", &body).await;
        ensure!(made.is_ok(), "AdminCreateUser: {}", made.words());
        set_password(api, pool, &name).await?;
        names.push(name);
    }
    Ok(names)
}

async fn sign_in(api: Api, pool: Pool, name: String, number: usize, sign_ins: Arc<SignIns>) {
    let mut turn = number;
    while !sign_ins.stop.load(Ordering::Relaxed) {
        let began = Instant::now();
        let reply = api.sign_in(turn, &pool, &name, PASSWORD).await;
        turn += 1;
        if reply.is_ok() {
            sign_ins.latencies.lock().push(began.elapsed());
        } else {
            sign_ins.failures.lock().push(reply.words());
        }
    }
}

/// Bytes that have arrived at a node from all others.
fn sent_to(cluster: &Cluster, node: u32) -> u64 {
    cluster.ids().iter().map(|from| cluster.proxy.count(*from, node, |counts| &counts.bytes)).sum()
}

/// Looks at the memory of every node's process until it is ended.
struct Memory {
    seen: Arc<Mutex<BTreeMap<u32, (f64, f64)>>>,
    task: tokio::task::JoinHandle<()>,
}

impl Memory {
    fn watch(cluster: &Cluster) -> Self {
        let seen: Arc<Mutex<BTreeMap<u32, (f64, f64)>>> = Arc::default();
        let (targets, looked) = (Arc::clone(&cluster.targets), Arc::clone(&seen));
        let look = move || {
            for (id, (_, pid)) in targets.lock().iter() {
                let Some(now) = pid.and_then(memory_mb) else { continue };
                let mut seen = looked.lock();
                let (_, most) = seen.entry(*id).or_insert((now, now));
                *most = most.max(now);
            }
        };
        look();
        let task = tokio::spawn(async move {
            loop {
                sleep(LOOK_EVERY).await;
                look();
            }
        });
        Self { seen, task }
    }

    /// By node: what it had at first, and the most.
    fn end(self) -> BTreeMap<u32, (f64, f64)> {
        self.task.abort();
        self.seen.lock().clone()
    }
}
