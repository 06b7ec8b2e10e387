//! One run: the hosts, the clients, and what happens to them.

use std::{
    cell::RefCell,
    io,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use conclave_cluster::{Connect, Connection, RoutingLimits, RoutingOptions, RoutingStore};
use conclave_store::{Placement, StoreError, proto::shard_server::ShardServer};
use conclave_testkit::{
    clock::ManualClock,
    dice::Dice,
    history::{Operation, Recorder},
    registers::{Client, Workload, create_scope},
};
use hyper::server::conn::http2;
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    service::TowerToHyperService,
};
use turmoil::{Sim, net::TcpListener, net::TcpStream};

use crate::nodes::{Agreement, Bug, CLUSTER, NODES, NodeService, PORT, address_of, host_of};

const CLIENTS: u32 = 3;
const OPERATIONS: u32 = 8;
/// Turmoil moves time and messages in such steps.
const TICK: Duration = Duration::from_millis(4);
/// Of the simulation; clients that have not ended by then are stuck.
const TIME_MAX: Duration = Duration::from_secs(300);

pub struct Run {
    pub history: Vec<Operation>,
    pub bites: Bites,
}

/// How often what went wrong.
#[derive(Debug, Default, Clone, Copy)]
pub struct Bites {
    pub elections: u64,
    pub crashes: u64,
    pub partitions: u64,
    pub holds: u64,
}

impl Bites {
    pub fn all_bit(&self) -> bool {
        [self.elections, self.crashes, self.partitions, self.holds].iter().all(|bites| *bites > 50)
    }
}

impl std::ops::AddAssign for Bites {
    fn add_assign(&mut self, other: Self) {
        self.elections += other.elections;
        self.crashes += other.crashes;
        self.partitions += other.partitions;
        self.holds += other.holds;
    }
}

/// Turmoil's TCP.
struct Network;

#[async_trait]
impl Connect for Network {
    async fn connect(&self, address: &str) -> io::Result<Box<dyn Connection>> {
        match TcpStream::connect(address).await {
            Ok(stream) => Ok(Box::new(stream)),
            Err(error) => Err(io::Error::new(error.kind(), format!("tcp connect error: {error}"))),
        }
    }
}

struct OneGroup;

impl Placement for OneGroup {
    fn group_of(&self, _: &str) -> Option<u32> {
        Some(1)
    }
}

fn routing_store() -> io::Result<RoutingStore> {
    let options = RoutingOptions {
        cluster_id: CLUSTER.to_owned(),
        seeds: (1..=NODES).map(address_of).collect(),
        tls: None,
        groups: 2,
        placement: Arc::new(OneGroup),
        local: None,
        // shorter than in a gateway, so that some commits end without an answer
        limits: RoutingLimits {
            read_deadline: Duration::from_millis(1_200),
            read_attempt: Duration::from_millis(400),
            commit_deadline: Duration::from_millis(1_000),
            commit_attempt: Duration::from_millis(400),
            ..RoutingLimits::default()
        },
    };
    RoutingStore::with_network(options, Arc::new(Network))
}

/// One node's server, until the host crashes.
async fn serve(service: NodeService) -> turmoil::Result {
    let listener = TcpListener::bind(("0.0.0.0", PORT)).await?;
    let service = ShardServer::new(service);
    loop {
        let (stream, _) = listener.accept().await?;
        let service = TowerToHyperService::new(service.clone());
        tokio::spawn(async move {
            // a connection that is lost is the client's business
            let _ = http2::Builder::new(TokioExecutor::new())
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

fn client_host(number: u32) -> String {
    format!("client-{number}")
}

/// The same run for the same seed.
///
/// # Errors
/// Clients that do not come to an end.
pub fn simulate(seed: u64, bug: Bug) -> Result<Run, String> {
    let clock = Arc::new(ManualClock::default());
    let agreement = Agreement::new(seed, Arc::clone(&clock), bug);
    let recorder = Recorder::new();
    let mut sim = turmoil::Builder::new()
        .rng_seed(seed)
        .tick_duration(TICK)
        .min_message_latency(Duration::from_millis(1))
        .max_message_latency(Duration::from_millis(20))
        .simulation_duration(TIME_MAX)
        .tcp_capacity(4_096)
        .build();
    for node in 1..=NODES {
        let agreement = Arc::clone(&agreement);
        let starts = Arc::new(AtomicU64::new(0));
        sim.host(host_of(node), move || {
            let start = starts.fetch_add(1, Ordering::SeqCst);
            serve(NodeService::new(node, seed, start, Arc::clone(&agreement)))
        });
    }
    sim.client("maker", async {
        let store = routing_store()?;
        while let Err(error) = create_scope(&store).await {
            // a node that is busy says so
            if !matches!(error, StoreError::Overloaded { .. }) {
                return Err(error.into());
            }
        }
        Ok(())
    });
    run_to_the_end(&mut sim, &mut |_| {})?;

    let add_client = |sim: &mut Sim<'_>, number: u32, reads_only: bool| {
        let (clock, recorder) = (Arc::clone(&clock), Arc::clone(&recorder));
        sim.client(client_host(number), async move {
            let store = routing_store()?;
            let workload = Workload { operations: OPERATIONS, ..Workload::default() };
            let dice = Dice::new(seed, u64::from(number));
            let client = Client {
                number,
                store: &store,
                clock: &clock,
                recorder: &recorder,
                workload,
                dice,
            };
            if reads_only {
                client.read_all().await
            } else {
                client.run().await
            }
            Ok(())
        });
    };
    for number in 0..CLIENTS {
        add_client(&mut sim, number, false);
    }
    let nemesis = Rc::new(RefCell::new(Nemesis::new(seed, Arc::clone(&agreement))));
    run_to_the_end(&mut sim, &mut |sim| nemesis.borrow_mut().step(sim))?;
    nemesis.borrow_mut().heal(&mut sim);
    add_client(&mut sim, CLIENTS, true);
    run_to_the_end(&mut sim, &mut |_| agreement.settle_abandoned())?;
    let bites = nemesis.borrow().bites;
    Ok(Run { history: recorder.history(), bites })
}

fn run_to_the_end(sim: &mut Sim<'_>, between: &mut dyn FnMut(&mut Sim<'_>)) -> Result<(), String> {
    loop {
        between(sim);
        if sim.step().map_err(|error| error.to_string())? {
            return Ok(());
        }
    }
}

/// What can be wrong for a while.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trouble {
    Crashed(u64),
    /// A client and a node do not reach each other.
    CutOff(u32, u64),
    /// A node answers nobody.
    Isolated(u64),
    /// What is sent between a client and a node arrives when this is over.
    Held(u32, u64),
}

/// Makes trouble, one at a time and some at once, and ends it again.
struct Nemesis {
    dice: Dice,
    agreement: Arc<Agreement>,
    /// With the time at which it ends, in steps.
    troubles: Vec<(u64, Trouble)>,
    now: u64,
    next: u64,
    /// Nodes that have not heard yet who leads, and when they will.
    deaf: Vec<(u64, u64)>,
    election: Option<u64>,
    bites: Bites,
}

impl Nemesis {
    fn new(seed: u64, agreement: Arc<Agreement>) -> Self {
        Self {
            dice: Dice::new(seed, 0x4e3e),
            agreement,
            troubles: Vec::new(),
            now: 0,
            next: 5,
            deaf: Vec::new(),
            election: None,
            bites: Bites::default(),
        }
    }

    fn steps(&self, ms_max: u64) -> u64 {
        1 + self.dice.below(ms_max) / TICK.as_millis() as u64
    }

    fn step(&mut self, sim: &mut Sim<'_>) {
        self.now += 1;
        let now = self.now;
        self.agreement.settle_abandoned();
        let (over, left) = self.troubles.iter().copied().partition(|(end, _)| *end <= now);
        self.troubles = left;
        for (_, trouble) in over {
            end(sim, trouble);
        }
        let (heard, deaf) = self.deaf.iter().copied().partition(|(at, _)| *at <= now);
        self.deaf = deaf;
        for (_, node) in heard {
            self.agreement.tell(node);
        }
        if self.election.is_some_and(|at| at <= now) {
            self.election = None;
            self.elect();
        }
        if now >= self.next {
            self.next = now + self.steps(250);
            self.trouble(sim);
        }
    }

    fn is_troubled(&self, node: u64) -> bool {
        self.troubles.iter().any(|(_, trouble)| {
            matches!(trouble, Trouble::Crashed(n) | Trouble::Isolated(n) if *n == node)
        })
    }

    /// Another node that is well takes the lead; the others hear of it in their time.
    fn elect(&mut self) {
        let leader = self.agreement.leader();
        let well: Vec<u64> =
            (1..=NODES).filter(|node| *node != leader && !self.is_troubled(*node)).collect();
        let Some(next) = self.dice.pick(&well).copied() else { return };
        self.bites.elections += 1;
        self.agreement.elect(next);
        for node in (1..=NODES).filter(|node| *node != next) {
            let at = self.now + self.steps(600);
            self.deaf.push((at, node));
        }
    }

    fn trouble(&mut self, sim: &mut Sim<'_>) {
        let client = self.dice.below(u64::from(CLIENTS)) as u32;
        let node = if self.dice.happens(600) {
            self.agreement.leader()
        } else {
            1 + self.dice.below(NODES)
        };
        let alone = !(1..=NODES).any(|node| self.is_troubled(node));
        let trouble = match self.dice.below(10) {
            0..3 => return self.elect(),
            3..5 if alone => Trouble::Crashed(node),
            5..6 if alone => Trouble::Isolated(node),
            6..8 => Trouble::CutOff(client, node),
            8..10 => Trouble::Held(client, node),
            _ => return,
        };
        if self.troubles.iter().any(|(_, other)| overlap(*other, trouble)) {
            return;
        }
        match trouble {
            Trouble::Crashed(node) => {
                self.bites.crashes += 1;
                sim.crash(host_of(node));
            }
            Trouble::Isolated(node) => {
                self.bites.partitions += 1;
                (0..CLIENTS).for_each(|client| sim.partition(client_host(client), host_of(node)));
            }
            Trouble::CutOff(client, node) => {
                self.bites.partitions += 1;
                sim.partition(client_host(client), host_of(node));
            }
            Trouble::Held(client, node) => {
                self.bites.holds += 1;
                sim.hold(client_host(client), host_of(node));
            }
        }
        let lasts = self.steps(1_500);
        self.troubles.push((self.now + lasts, trouble));
        // the others notice that the leader is gone
        if self.is_troubled(self.agreement.leader()) && self.election.is_none() {
            let after = 50 + self.dice.below(40);
            self.election = Some(self.now + after);
        }
    }

    fn heal(&mut self, sim: &mut Sim<'_>) {
        for (_, trouble) in std::mem::take(&mut self.troubles) {
            end(sim, trouble);
        }
        self.agreement.tell_all();
    }
}

fn nodes_and_clients(trouble: Trouble) -> (u64, Option<u32>) {
    match trouble {
        Trouble::Crashed(node) | Trouble::Isolated(node) => (node, None),
        Trouble::CutOff(client, node) | Trouble::Held(client, node) => (node, Some(client)),
    }
}

/// Whether two troubles are about one link: turmoil would mix them up.
fn overlap(one: Trouble, other: Trouble) -> bool {
    let ((node, client), (other_node, other_client)) =
        (nodes_and_clients(one), nodes_and_clients(other));
    node == other_node && (client.is_none() || other_client.is_none() || client == other_client)
}

fn end(sim: &mut Sim<'_>, trouble: Trouble) {
    match trouble {
        Trouble::Crashed(node) => sim.bounce(host_of(node)),
        Trouble::Isolated(node) => {
            (0..CLIENTS).for_each(|client| sim.repair(client_host(client), host_of(node)));
        }
        Trouble::CutOff(client, node) => sim.repair(client_host(client), host_of(node)),
        Trouble::Held(client, node) => sim.release(client_host(client), host_of(node)),
    }
}
