//! How nodes reach each other. Every node is known under one address to all others, and what they send there meets the
//! [`proxy`](super::proxy) first.
//!
//! With namespaces node `i` is at `10.78.0.i` of a bridge, and known as `10.77.0.i`, an address of the harness, which passes
//! on what comes for it; it shows itself to the node as `10.79.0.s` for the source `s`. So the kernel can cut two nodes apart too.
//! Without namespaces there is loopback, and ports tell nodes apart.

use std::{
    collections::BTreeSet,
    fs,
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener},
};

use anyhow::{Context, Result};
use parking_lot::Mutex;

use super::command::run;

/// The internal port of a node in a namespace.
const INTERNAL: u16 = 9_230;
const PUBLIC: u16 = 9_229;
const MANAGEMENT: u16 = 9_000;

/// Where a node is.
#[derive(Debug, Clone)]
pub struct Addresses {
    /// What others connect to, and what the members' list says: the proxy.
    pub known: SocketAddr,
    /// Where the internal port really is.
    pub internal: SocketAddr,
    /// The public port.
    pub public: SocketAddr,
    /// The management port.
    pub management: SocketAddr,
}

/// The network of a cluster.
#[derive(Debug)]
pub struct Network {
    /// Whether each node has a namespace.
    pub namespaces: bool,
    nodes: u32,
    /// In the name of every namespace: several runs at a time do not meet.
    run: u32,
    /// Addresses by node, the first is node 1.
    pub addresses: Vec<Addresses>,
    blackholes: Mutex<BTreeSet<(u32, u32)>>,
}

fn known(node: u32) -> Ipv4Addr {
    Ipv4Addr::from([10, 77, 0, node as u8])
}

fn real(node: u32) -> Ipv4Addr {
    Ipv4Addr::from([10, 78, 0, node as u8])
}

/// The address under which the proxy passes on what comes from a node.
pub fn shown(node: u32) -> Ipv4Addr {
    Ipv4Addr::from([10, 79, 0, node as u8])
}

impl Network {
    /// Makes the network of `nodes` nodes, in the namespace of the harness.
    ///
    /// # Errors
    /// What `ip` says, or no port is free.
    pub fn create(namespaces: bool, nodes: u32) -> Result<Self> {
        let run = std::process::id();
        let addresses = if namespaces { in_namespaces(nodes, run)? } else { on_loopback(nodes)? };
        Ok(Self { namespaces, nodes, run, addresses, blackholes: Mutex::default() })
    }

    /// The namespace of a node.
    pub fn namespace(&self, node: u32) -> String {
        namespace(self.run, node)
    }

    /// The words to put before a command that is to run in a node's namespace.
    pub fn prefix(&self, node: u32) -> Vec<String> {
        if !self.namespaces {
            return Vec::new();
        }
        let file = format!("--net=/run/netns/{}", self.namespace(node));
        vec!["nsenter".to_owned(), file, "--".to_owned()]
    }

    /// The node that a connection to the proxy comes from, by its address; 0: the harness.
    pub fn source_of(&self, peer: IpAddr) -> Option<u32> {
        if !self.namespaces {
            return None;
        }
        Some((1..=self.nodes).find(|node| peer == IpAddr::V4(real(*node))).unwrap_or(0))
    }

    /// The kernel throws away what `from` sends to `to`: on connections that it has opened, and on
    /// those that the other has.
    ///
    /// # Errors
    /// What `ip` says.
    pub fn blackhole(&self, from: u32, to: u32, on: bool) -> Result<()> {
        let mut blackholes = self.blackholes.lock();
        let changes =
            if on { blackholes.insert((from, to)) } else { blackholes.remove(&(from, to)) };
        drop(blackholes);
        if !changes {
            return Ok(());
        }
        let namespace = self.namespace(from);
        let verb = if on { "add" } else { "del" };
        for address in [known(to), shown(to)] {
            let route = format!("{address}/32");
            run("ip", &["-n", &namespace, "route", verb, "blackhole", &route])?;
        }
        Ok(())
    }
}

impl Network {
    /// The kernel passes everything on again.
    pub fn heal(&self) {
        let left: Vec<_> = self.blackholes.lock().iter().copied().collect();
        for (from, to) in left {
            let _ = self.blackhole(from, to, false);
        }
    }
}

fn namespace(run: u32, node: u32) -> String {
    format!("conclave-{run}-{node}")
}

fn in_namespaces(nodes: u32, run_number: u32) -> Result<Vec<Addresses>> {
    // names of namespaces are files here: of this run alone
    fs::create_dir_all("/run/netns").context("/run/netns")?;
    run("mount", &["-t", "tmpfs", "-o", "mode=755,size=1m", "tmpfs", "/run/netns"])?;
    let ip = |line: &str| run("ip", &line.split(' ').collect::<Vec<_>>());
    ip("link set lo up")?;
    ip("link add chaos0 type bridge")?;
    ip("addr add 10.78.0.254/24 dev chaos0")?;
    ip("link set chaos0 up")?;
    let mut addresses = Vec::new();
    for node in 1..=nodes {
        let name = namespace(run_number, node);
        let (known, real, shown) = (known(node), real(node), shown(node));
        ip(&format!("addr add {known}/32 dev lo"))?;
        ip(&format!("addr add {shown}/32 dev lo"))?;
        ip(&format!("netns add {name}"))?;
        ip(&format!("link add chaos0-{node} type veth peer name eth0 netns {name}"))?;
        ip(&format!("link set chaos0-{node} master chaos0 up"))?;
        ip(&format!("-n {name} addr add {real}/24 dev eth0"))?;
        ip(&format!("-n {name} link set eth0 up"))?;
        ip(&format!("-n {name} link set lo up"))?;
        ip(&format!("-n {name} route add 10.77.0.0/24 via 10.78.0.254"))?;
        ip(&format!("-n {name} route add 10.79.0.0/24 via 10.78.0.254"))?;
        let at = |ip: Ipv4Addr, port| SocketAddr::from((ip, port));
        addresses.push(Addresses {
            known: at(known, INTERNAL),
            internal: at(real, INTERNAL),
            public: at(real, PUBLIC),
            management: at(real, MANAGEMENT),
        });
    }
    Ok(addresses)
}

/// Ports that nothing listens on; all are held at once, so that they differ.
fn on_loopback(nodes: u32) -> Result<Vec<Addresses>> {
    let listeners = (0..nodes * 4)
        .map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)))
        .collect::<Result<Vec<_>, _>>()?;
    let at = listeners.iter().map(TcpListener::local_addr).collect::<Result<Vec<_>, _>>()?;
    let four = |ports: &[SocketAddr]| match *ports {
        [known, internal, public, management] => {
            Ok(Addresses { known, internal, public, management })
        }
        _ => anyhow::bail!("four ports for each node"),
    };
    at.chunks(4).map(four).collect()
}
