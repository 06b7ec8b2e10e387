//! What shard nodes say to each other: openraft's messages over gRPC, on the internal port.
//!
//! Each pair of nodes has three connections, so that entries, heartbeats and snapshots do not wait
//! for one another. Every request says which cluster, group, nodes and data it is meant for, and the
//! receiver checks all of it.

mod client;
mod control;
mod control_service;
mod peer;
mod server;
#[cfg(test)]
mod tests;

pub(crate) use client::Peers;
pub(crate) use control::ControlClient;
pub(crate) use control_service::ControlService;
pub(crate) use peer::CheckPeer;
pub(crate) use server::{GroupDirectory, RaftService, ReplicaHandles};

/// The response header in which a node says which data it has.
const INCARNATION_HEADER: &str = "conclave-incarnation-bin";

/// The response header with a node's wall clock, milliseconds since 1970.
const CLOCK_HEADER: &str = "conclave-clock-ms";

/// The response header with the highest feature level that a node knows.
const LEVEL_HEADER: &str = "conclave-feature-level";

/// Bytes of one message between nodes: a batch is cut at 1 MiB, a single entry may be larger.
const MESSAGE_BYTES_MAX: usize = 8 << 20;
