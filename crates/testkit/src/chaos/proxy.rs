//! What happens to the bytes between nodes. A proxy in user space, so that it works where the kernel has no `netem`.
//!
//! What it does, it does to TCP streams: nothing can be lost, repeated or put into another order within one. Meaningful there
//! are delay (with jitter), stalls (what a lost packet looks like from above), resets, silence in one direction or both
//! (half-open links), a drip of a byte a second, and flipped bits, which TLS finds.

use std::{
    collections::{BTreeMap, HashMap},
    fs,
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, Result};
use parking_lot::{Mutex, RwLock};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpSocket, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::{mpsc, watch},
    task::AbortHandle,
    time::{Instant, sleep, sleep_until, timeout},
};

use super::network::{Network, shown};
use crate::dice::Dice;

/// Bytes that are treated alike.
const CHUNK: usize = 16 << 10;
/// Chunks on their way at a time, in one direction of one connection: more than what one that is
/// delayed has under way.
const CHUNKS_UNDER_WAY: usize = 512;
const CONNECT_WITHIN: Duration = Duration::from_secs(2);
/// How long a stall takes at least: the first retransmission of a lost packet.
const STALL: Duration = Duration::from_millis(200);

/// What happens to bytes from one node to another, whoever opened the connection.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Flow {
    /// Nothing arrives; it is kept, and arrives afterwards, as with TCP.
    pub silent: bool,
    /// Each chunk takes this long,
    pub delay_ms: u64,
    /// and up to this much longer.
    pub jitter_ms: u64,
    /// How many in 1000 chunks take a retransmission longer, and hold up all that follow.
    pub stalls: u32,
    /// How many in 1000 chunks end their connection instead.
    pub resets: u32,
    /// How many in 1000 chunks have a flipped bit.
    pub flips: u32,
    /// One byte a second.
    pub drip: bool,
}

/// What has happened to bytes from one node to another.
#[derive(Debug, Default)]
pub struct Counts {
    /// Connections that the first has opened to the second.
    pub connections: AtomicU64,
    /// Bytes that have arrived.
    pub bytes: AtomicU64,
    /// Chunks that met a flow that was not free.
    pub touched: AtomicU64,
    /// Connections ended.
    pub resets: AtomicU64,
    /// Bits flipped.
    pub flips: AtomicU64,
}

struct Link {
    flow: watch::Sender<Flow>,
    counts: Counts,
}

/// Directed, and what happens on each.
type Links = BTreeMap<(u32, u32), Arc<Link>>;

/// The proxy of a cluster.
pub struct Proxy {
    links: RwLock<Links>,
    listeners: Mutex<BTreeMap<u32, AbortHandle>>,
    dice: Dice,
    network: Arc<Network>,
    /// Which node a process is: on loopback the address of a connection does not say.
    processes: Mutex<HashMap<u32, u32>>,
}

impl Proxy {
    /// A proxy without nodes. The harness is number 0.
    pub fn new(network: Arc<Network>, dice: Dice) -> Arc<Self> {
        let (links, listeners, processes) = Default::default();
        Arc::new(Self { links, listeners, dice, network, processes })
    }

    /// Listens for a node, for all others.
    ///
    /// # Errors
    /// There is no such node, or its port cannot be opened.
    pub async fn add(self: &Arc<Self>, node: u32) -> Result<()> {
        let at = self.network.of(node)?;
        let listener = TcpListener::bind(at.known).await;
        let listener =
            listener.with_context(|| format!("the proxy cannot listen at {}", at.known))?;
        let mut links = self.links.write();
        // a node reaches itself this way too
        let all = self.network.all().into_keys().chain([0]);
        for pair in all.flat_map(|other| [(node, other), (other, node)]) {
            links.entry(pair).or_insert_with(|| {
                let (flow, _) = watch::channel(Flow::default());
                Arc::new(Link { flow, counts: Counts::default() })
            });
        }
        drop(links);
        let task = tokio::spawn(Arc::clone(self).accept(listener, node, at.internal));
        self.listeners.lock().insert(node, task.abort_handle());
        Ok(())
    }

    /// Nobody reaches a node any more.
    pub fn remove(&self, node: u32) {
        if let Some(listener) = self.listeners.lock().remove(&node) {
            listener.abort();
        }
        self.links.write().retain(|(from, to), _| *from != node && *to != node);
        self.processes.lock().retain(|_, known| *known != node);
    }

    fn link(&self, from: u32, to: u32) -> Option<Arc<Link>> {
        self.links.read().get(&(from, to)).cloned()
    }

    /// Tells the proxy which process a node is.
    pub fn learn(&self, pid: u32, node: u32) {
        let mut processes = self.processes.lock();
        processes.retain(|_, known| *known != node);
        processes.insert(pid, node);
    }

    /// From now on, for what goes from one node to another.
    pub fn set(&self, from: u32, to: u32, flow: Flow) {
        if let Some(link) = self.link(from, to) {
            link.flow.send_replace(flow);
        }
    }

    /// The same in both directions.
    pub fn set_both(&self, one: u32, other: u32, flow: Flow) {
        self.set(one, other, flow);
        self.set(other, one, flow);
    }

    /// Between nodes, in all directions.
    pub fn set_all(&self, flow: Flow) {
        for ((from, to), link) in &*self.links.read() {
            if is_between(*from, *to) {
                link.flow.send_replace(flow);
            }
        }
    }

    /// Everything flows freely.
    pub fn heal(&self) {
        for link in self.links.read().values() {
            link.flow.send_replace(Flow::default());
        }
    }

    /// The sum of a count over the links from `from` to `to`.
    pub fn count(&self, from: u32, to: u32, which: impl Fn(&Counts) -> &AtomicU64) -> u64 {
        self.link(from, to).map_or(0, |link| which(&link.counts).load(Ordering::Relaxed))
    }

    /// The sum of a count over all links between nodes.
    pub fn total(&self, which: impl Fn(&Counts) -> &AtomicU64) -> u64 {
        let links = self.links.read();
        let between = links.iter().filter(|((from, to), _)| is_between(*from, *to));
        between.map(|(_, link)| which(&link.counts).load(Ordering::Relaxed)).sum()
    }

    async fn accept(self: Arc<Self>, listener: TcpListener, node: u32, internal: SocketAddr) {
        loop {
            let Ok((stream, peer)) = listener.accept().await else {
                sleep(Duration::from_millis(10)).await;
                continue;
            };
            tokio::spawn(Arc::clone(&self).connection(stream, peer, node, internal));
        }
    }

    async fn connection(
        self: Arc<Self>,
        near: TcpStream,
        peer: SocketAddr,
        to: u32,
        internal: SocketAddr,
    ) {
        let from = match self.network.source_of(peer.ip()) {
            Some(from) => from,
            None => self.owner(peer.port()),
        };
        let Some(there) = self.link(from, to) else { return };
        there.counts.connections.fetch_add(1, Ordering::Relaxed);
        // a connection cannot be made either while nothing arrives
        let mut flow = there.flow.subscribe();
        if flow.wait_for(|flow| !flow.silent).await.is_err() {
            return;
        }
        let Ok(Ok(far)) = timeout(CONNECT_WITHIN, self.connect(from, internal)).await else {
            return;
        };
        let _ = (near.set_nodelay(true), far.set_nodelay(true));
        let (near_read, near_write) = near.into_split();
        let (far_read, far_write) = far.into_split();
        let (end, ended) = watch::channel(false);
        let end = Arc::new(end);
        let one = Pump { proxy: Arc::clone(&self), from, to, end: Arc::clone(&end) };
        let other = Pump { proxy: self, from: to, to: from, end };
        tokio::join!(
            one.run(near_read, far_write, ended.clone()),
            other.run(far_read, near_write, ended)
        );
    }

    async fn connect(&self, from: u32, internal: SocketAddr) -> std::io::Result<TcpStream> {
        let socket = TcpSocket::new_v4()?;
        if self.network.namespaces && from != 0 {
            socket.bind(SocketAddr::from((shown(from), 0)))?;
        }
        socket.connect(internal).await
    }

    /// The node whose process has a local port open; 0 when it is no node's.
    fn owner(&self, port: u16) -> u32 {
        let Some(inode) = inode_of(port) else { return 0 };
        let wanted = format!("socket:[{inode}]");
        let processes = self.processes.lock().clone();
        let has = |pid: &u32| {
            let Ok(files) = fs::read_dir(format!("/proc/{pid}/fd")) else { return false };
            files.flatten().any(|file| {
                fs::read_link(file.path()).is_ok_and(|to| to.to_string_lossy() == wanted)
            })
        };
        processes.iter().find(|(pid, _)| has(pid)).map_or(0, |(_, node)| *node)
    }
}

/// Whether a link is one between two nodes.
fn is_between(from: u32, to: u32) -> bool {
    from != 0 && to != 0 && from != to
}

/// The socket on loopback that has a local port and is connected.
fn inode_of(port: u16) -> Option<String> {
    let table = fs::read_to_string("/proc/net/tcp").ok()?;
    let address = u32::from_le_bytes(Ipv4Addr::LOCALHOST.octets());
    let local = format!("{address:08X}:{port:04X}");
    table.lines().find_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        (*fields.get(1)? == local && *fields.get(3)? == "01")
            .then(|| fields.get(9))?
            .map(|i| (*i).to_owned())
    })
}

/// One direction of one connection.
struct Pump {
    proxy: Arc<Proxy>,
    from: u32,
    to: u32,
    end: Arc<watch::Sender<bool>>,
}

impl Pump {
    async fn run(
        self,
        read: OwnedReadHalf,
        write: OwnedWriteHalf,
        mut ended: watch::Receiver<bool>,
    ) {
        let Some(link) = self.proxy.link(self.from, self.to) else { return };
        let link = &*link;
        let (chunks, arriving) = mpsc::channel(CHUNKS_UNDER_WAY);
        let both = async {
            tokio::join!(self.take(link, read, chunks), self.give(link, write, arriving));
        };
        tokio::select! {
            // an end passes to the other side through `give`
            () = both => {}
            _ = ended.wait_for(|ended| *ended) => {}
        }
    }

    /// Reads, and decides what happens to each chunk.
    async fn take(
        &self,
        link: &Link,
        mut read: OwnedReadHalf,
        chunks: mpsc::Sender<(Instant, Vec<u8>)>,
    ) {
        let dice = &self.proxy.dice;
        let mut not_before = Instant::now();
        loop {
            let mut chunk = Vec::with_capacity(CHUNK);
            match read.read_buf(&mut chunk).await {
                Ok(0) | Err(_) => return,
                Ok(_) => {}
            }
            let flow = *link.flow.borrow();
            let mut due = Instant::now();
            if flow != Flow::default() {
                link.counts.touched.fetch_add(1, Ordering::Relaxed);
                due += Duration::from_millis(flow.delay_ms + dice.below(flow.jitter_ms + 1));
                if dice.happens(flow.stalls) {
                    due += STALL;
                }
                if dice.happens(flow.resets) {
                    link.counts.resets.fetch_add(1, Ordering::Relaxed);
                    self.end.send_replace(true);
                    return;
                }
                if dice.happens(flow.flips) {
                    let at = dice.below(chunk.len() as u64) as usize;
                    if let Some(byte) = chunk.get_mut(at) {
                        *byte ^= 1 << dice.below(8);
                        link.counts.flips.fetch_add(1, Ordering::Relaxed);
                    }
                }
            }
            not_before = not_before.max(due);
            if chunks.send((not_before, chunk)).await.is_err() {
                return;
            }
        }
    }

    /// Lets each chunk arrive when it is due.
    async fn give(
        &self,
        link: &Link,
        mut write: OwnedWriteHalf,
        mut arriving: mpsc::Receiver<(Instant, Vec<u8>)>,
    ) {
        let mut flow = link.flow.subscribe();
        while let Some((due, chunk)) = arriving.recv().await {
            sleep_until(due).await;
            let mut rest = &chunk[..];
            while !rest.is_empty() {
                if flow.borrow().silent {
                    link.counts.touched.fetch_add(1, Ordering::Relaxed);
                }
                if flow.wait_for(|flow| !flow.silent).await.is_err() {
                    return;
                }
                let part = if flow.borrow().drip {
                    // until the second is over, or something changes
                    let _ = timeout(Duration::from_secs(1), flow.changed()).await;
                    rest.len().min(1)
                } else {
                    rest.len()
                };
                if write.write_all(&rest[..part]).await.is_err() {
                    self.end.send_replace(true);
                    return;
                }
                link.counts.bytes.fetch_add(part as u64, Ordering::Relaxed);
                rest = &rest[part..];
            }
        }
        let _ = write.shutdown().await;
    }
}
