//! The routing client: finds the leader of a group and asks it, again where that is safe.
//!
//! [`RoutingStore`] implements the store contract for gateways. Where a scope lives is told by its
//! name ([`conclave_store::Placement`]) or by the directory; who leads is remembered for each group,
//! and learned from the nodes' answers. A read is repeated until the deadline. A commit is repeated
//! with the same id and bytes, which the shard answers as it answered first.

mod channels;
mod location;
mod nodes;
mod routing;
mod trace_context;

pub use channels::{Connect, Connection};
pub use routing::{RoutingLimits, RoutingOptions, RoutingStore};
