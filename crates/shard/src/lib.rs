//! The stateful side of a node: groups of replicas behind the store contract.
//!
//! A [`GroupHost`] opens one log database for the node and one state database for each group, runs
//! one openraft instance for each group on threads of its own, and serves the [`Shard`] contract.
//! openraft and RocksDB are named nowhere outside this crate, and neither are their types in its
//! public interface.
//!
//! - `log_store`, `log_writer`, `high_water`: logs and votes, and what is known to be on disk
//! - `state_machine`, `state_db`, `snapshot`: applied state
//! - `group`, `read_index`, `sweeper`, `reclaim`, `retention`: one group at work
//! - `replicas`, `held`, `membership`: groups that open, change and close while the node runs
//! - `placement`: what is moved next, and the controller that moves it; `manage`: a node's own part
//! - `cut`, `restore`: what a backup is made of, and the data directory that is made of one
//! - `registry`: the nodes of the cluster; `admin`: what operators see and ask for
//! - `transport`: what nodes say to each other; `service`: what gateways ask
//!
//! [`Shard`]: conclave_store::proto::shard_server::Shard

mod admin;
mod clock_skew;
mod cut;
mod disk;
mod feature_level;
mod group;
mod held;
mod high_water;
mod host;
mod identity;
mod local_store;
mod log_store;
mod log_writer;
mod manage;
mod membership;
mod placement;
mod proposals;
mod read_index;
mod reclaim;
mod registry;
mod replicas;
mod restore;
mod retention;
mod service;
mod snapshot;
mod state_db;
mod state_machine;
mod status;
mod sweeper;
mod trace_context;
mod transport;
mod types;
mod view;

#[cfg(test)]
#[path = "../tests/shard/exit.rs"]
mod exit;

/// Messages of `proto/conclave/raft/v1/raft.proto`.
mod proto {
    #![allow(
        missing_docs,
        clippy::all,
        clippy::allow_attributes_without_reason,
        reason = "generated from raft.proto, which is documented"
    )]
    tonic::include_proto!("conclave.raft.v1");
}

pub use admin::{
    Admin, AdminError, AdminOptions, GroupInfo, Move, NodeInfo, Progress, ReplicaInfo,
};
pub use cut::{CutError, GroupCut, VisitRow};
pub use disk::Space;
pub use host::{
    DiskLimits, GroupHost, GroupHostOptions, Limits, Listen, Member, Retention, StartError, Timing,
};
pub use manage::ManageOptions;
pub use registry::{
    NewId, NodeState, Nodes, RegisteredNode, Registration, Registry, RegistryError,
};
pub use restore::{Changes, DataBuilder, GroupBuilder, NewData, holds_data};
pub use status::{COMMIT_BUCKETS_MS, GroupStatus, HostStatus};

mod redacted {
    //! `Debug` of messages that hold values: sizes, never bytes.

    use std::fmt;

    use crate::proto::{FileData, LogEntry, log_entry::Payload};

    impl fmt::Debug for LogEntry {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.debug_struct("LogEntry")
                .field("log_id", &self.log_id)
                .field("payload", &self.payload)
                .finish()
        }
    }

    impl fmt::Debug for Payload {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            match self {
                Self::Blank(_) => f.write_str("Blank"),
                Self::Command(bytes) => write!(f, "Command({} bytes)", bytes.len()),
                Self::Membership(membership) => membership.fmt(f),
            }
        }
    }

    impl fmt::Debug for FileData {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "FileData({} bytes)", self.data.len())
        }
    }
}
