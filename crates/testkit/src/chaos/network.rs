//! How nodes reach each other. Every node is known under one address to all others, and what they send there meets the
//! [`proxy`](super::proxy) first.
//!
//! With namespaces node `i` is at `10.78.0.i` of a bridge, and known as `10.77.0.i`, an address of the harness, which passes
//! on what comes for it; it shows itself to the node as `10.79.0.s` for the source `s`. So the kernel can cut two nodes apart too.
//! Without namespaces there is loopback, and ports tell nodes apart.
//!
//! Nodes come and go while the network is there. A number is never used twice; the third byte of an address counts on
//! where the fourth is full.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener},
};

use anyhow::{Context, Result};
use parking_lot::{Mutex, RwLock};

use super::command::run;

/// The internal port of a node in a namespace.
const INTERNAL: u16 = 9_230;
const PUBLIC: u16 = 9_229;
const MANAGEMENT: u16 = 9_000;

/// Where a node is.
#[derive(Debug, Clone, Copy)]
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
    /// In the name of every namespace: several runs at a time do not meet.
    run: u32,
    nodes: RwLock<BTreeMap<u32, Addresses>>,
    blackholes: Mutex<BTreeSet<(u32, u32)>>,
}

/// The harness on the bridge.
const HARNESS: Ipv4Addr = Ipv4Addr::new(10, 78, 255, 254);

fn numbered(net: u8, node: u32) -> Ipv4Addr {
    let [_, _, high, low] = node.to_be_bytes();
    Ipv4Addr::from([10, net, high, low])
}

fn known(node: u32) -> Ipv4Addr {
    numbered(77, node)
}

fn real(node: u32) -> Ipv4Addr {
    numbered(78, node)
}

/// The address under which the proxy passes on what comes from a node.
pub fn shown(node: u32) -> Ipv4Addr {
    numbered(79, node)
}

impl Network {
    /// Makes a network without nodes, in the namespace of the harness.
    ///
    /// # Errors
    /// What `ip` says.
    pub fn create(namespaces: bool) -> Result<Self> {
        if namespaces {
            // names of namespaces are files here: of this run alone
            fs::create_dir_all("/run/netns").context("/run/netns")?;
            run("mount", &["-t", "tmpfs", "-o", "mode=755,size=1m", "tmpfs", "/run/netns"])?;
            ip("link set lo up")?;
            // a bridge without an address of its own takes that of a port, and another one when that port goes:
            // until the nodes have forgotten it, half a minute later, none of them reaches the harness
            ip("link add chaos0 address 02:00:0a:4e:ff:fe type bridge")?;
            ip(&format!("addr add {HARNESS}/16 dev chaos0"))?;
            ip("link set chaos0 up")?;
        }
        let (nodes, blackholes) = (RwLock::default(), Mutex::default());
        Ok(Self { namespaces, run: std::process::id(), nodes, blackholes })
    }

    /// Makes room for one more node.
    ///
    /// # Errors
    /// What `ip` says, or no port is free.
    pub fn add(&self, node: u32) -> Result<Addresses> {
        let addresses = if self.namespaces {
            in_namespace(node, &self.namespace(node))?
        } else {
            on_loopback()?
        };
        self.nodes.write().insert(node, addresses);
        Ok(addresses)
    }

    /// Takes a node's room away; its process has ended. What others knew it under refuses from here on.
    pub fn remove(&self, node: u32) {
        if self.nodes.write().remove(&node).is_some() && self.namespaces {
            // the link ends with the namespace; what is left ends with the harness
            let _ = ip(&format!("netns del {}", self.namespace(node)));
        }
    }

    /// Where a node is.
    ///
    /// # Errors
    /// There is no such node.
    pub fn of(&self, node: u32) -> Result<Addresses> {
        self.nodes.read().get(&node).copied().with_context(|| format!("no node {node}"))
    }

    /// Where all nodes are.
    pub fn all(&self) -> BTreeMap<u32, Addresses> {
        self.nodes.read().clone()
    }

    /// The namespace of a node.
    pub fn namespace(&self, node: u32) -> String {
        format!("conclave-{}-{node}", self.run)
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
        let nodes = self.nodes.read();
        Some(nodes.keys().copied().find(|node| peer == IpAddr::V4(real(*node))).unwrap_or(0))
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

    /// The kernel passes everything on again.
    pub fn heal(&self) {
        let left: Vec<_> = self.blackholes.lock().iter().copied().collect();
        for (from, to) in left {
            let _ = self.blackhole(from, to, false);
        }
    }
}

fn ip(line: &str) -> Result<String> {
    run("ip", &line.split(' ').collect::<Vec<_>>())
}

fn in_namespace(node: u32, name: &str) -> Result<Addresses> {
    let (known, real, shown) = (known(node), real(node), shown(node));
    ip(&format!("addr add {known}/32 dev lo"))?;
    ip(&format!("addr add {shown}/32 dev lo"))?;
    ip(&format!("netns add {name}"))?;
    ip(&format!("link add chaos0-{node} type veth peer name eth0 netns {name}"))?;
    ip(&format!("link set chaos0-{node} master chaos0 up"))?;
    ip(&format!("-n {name} addr add {real}/16 dev eth0"))?;
    ip(&format!("-n {name} link set eth0 up"))?;
    ip(&format!("-n {name} link set lo up"))?;
    ip(&format!("-n {name} route add 10.77.0.0/16 via {HARNESS}"))?;
    ip(&format!("-n {name} route add 10.79.0.0/16 via {HARNESS}"))?;
    let at = |ip: Ipv4Addr, port| SocketAddr::from((ip, port));
    Ok(Addresses {
        known: at(known, INTERNAL),
        internal: at(real, INTERNAL),
        public: at(real, PUBLIC),
        management: at(real, MANAGEMENT),
    })
}

/// Ports that nothing listens on; all are held at once, so that they differ.
fn on_loopback() -> Result<Addresses> {
    let listeners = (0..4)
        .map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)))
        .collect::<Result<Vec<_>, _>>()?;
    let at = listeners.iter().map(TcpListener::local_addr).collect::<Result<Vec<_>, _>>()?;
    match at[..] {
        [known, internal, public, management] => {
            Ok(Addresses { known, internal, public, management })
        }
        _ => anyhow::bail!("four ports for each node"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_has_addresses_of_its_own() {
        assert_eq!(known(3), Ipv4Addr::new(10, 77, 0, 3));
        assert_eq!(real(300), Ipv4Addr::new(10, 78, 1, 44));
    }
}
