//! The contract between gateways and shards, and everything that both sides share about it.
//!
//! A gateway reads the rows that an operation needs ([`Store::read`]), decides, and commits the
//! result with the versions it relied on ([`Store::commit`]). A shard applies transactions
//! ([`apply`]) and knows nothing of users. The same [`apply`] and [`read`] run over RocksDB, over the
//! [`memory`] store of tests, and in the simulator.
//!
//! To store something new: add its message to a file of `proto/conclave/records/v1`, its key to
//! [`keys`], and nothing here.

mod apply;
mod kv;
mod read;

pub mod keys;
pub mod levels;
pub mod limits;
pub mod memory;

/// Messages of `proto/conclave/store/v1/store.proto`, with the client and server of the internal API.
pub mod proto {
    #![allow(
        missing_docs,
        clippy::all,
        clippy::allow_attributes_without_reason,
        reason = "generated from store.proto, which is documented"
    )]
    tonic::include_proto!("conclave.store.v1");
}

/// Messages of `proto/conclave/records/v1`: what the rows hold.
pub mod records {
    #![allow(
        missing_docs,
        clippy::all,
        reason = "generated from records.proto, which is documented"
    )]
    include!(concat!(env!("OUT_DIR"), "/conclave.records.v1.rs"));
}

mod redacted;

pub use apply::{DECIDED_AHEAD_MS_MAX, ID_MEMORY_MS, apply, find_expired};
pub use kv::{Batch, Kv};
pub use read::read;

use async_trait::async_trait;

/// The scope that holds accounts, principals, and where pools and clients live.
pub const DIRECTORY_SCOPE: &str = "directory";

/// The scope that holds the nodes of the cluster. It is in the directory's group, and apart from
/// [`DIRECTORY_SCOPE`], which a gateway makes when it is first started: nodes come before.
pub const NODES_SCOPE: &str = "nodes";

/// The group that holds [`DIRECTORY_SCOPE`] and [`NODES_SCOPE`].
pub const DIRECTORY_GROUP: u32 = 0;

/// The world as a gateway sees it: linearizable reads and checked transactions.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// Reads one snapshot of one scope. Repeating it is always safe.
    async fn read(&self, read: proto::Read) -> Result<proto::ReadResult, StoreError>;

    /// Commits one transaction. After [`StoreError::Unknown`] it may or may not have happened: repeat
    /// it with the same id and bytes, never decide it again.
    async fn commit(&self, commit: proto::Commit) -> Result<proto::Outcome, StoreError>;
}

/// Why a store gave no answer. Whether a repetition is safe is a property of the error.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// No quorum or no leader within the deadline. Nothing was done.
    #[error("store unavailable: {detail}")]
    Unavailable {
        /// For the log, never for a client.
        detail: String,
    },
    /// Too much is in flight. Nothing was done.
    #[error("store overloaded, retry after {retry_after_ms} ms")]
    Overloaded {
        /// How long to wait before trying again.
        retry_after_ms: u32,
    },
    /// A commit was proposed and its fate is not known.
    #[error("outcome unknown: {detail}")]
    Unknown {
        /// For the log, never for a client.
        detail: String,
    },
    /// The request breaks a limit of the contract. Nothing was done, and a repetition fails too.
    #[error("invalid store request: {detail}")]
    Invalid {
        /// Which limit.
        detail: String,
    },
}

/// The wall clock, as a parameter. Milliseconds since 1970.
pub trait Clock: Send + Sync + 'static {
    /// The time of this machine.
    fn now_ms(&self) -> i64;
}

/// The group of a scope that is not a pool's.
pub fn fixed_group(scope: &str) -> Option<u32> {
    matches!(scope, DIRECTORY_SCOPE | NODES_SCOPE).then_some(DIRECTORY_GROUP)
}

/// Which group holds a scope.
pub trait Placement: Send + Sync + 'static {
    /// The group of `scope`, where the scope's name tells it; `None`: the directory has to be asked.
    fn group_of(&self, scope: &str) -> Option<u32>;
}
