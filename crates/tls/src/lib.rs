//! Certificates that are replaced while connections are served, and the connections that they protect.
//!
//! - [`Mutual`]: the certificate, key and authorities of the internal port, for both ends of a connection
//! - [`Public`]: the certificate of the public port
//! - [`watch`]: looks for new files and takes them over; what cannot be used is reported, and the old stays
//! - [`incoming`] and [`channel`]: the two ends of the internal port
//! - [`Identity`]: whom a certificate of the internal port speaks for
//!
//! It is a crate of its own because `cluster`, `shard`, `gateway` and the binary need it and none of them may
//! name another; `store` is the contract alone, and has no network.

mod accept;
mod connect;
mod identity;
mod live;
mod material;
mod mutual;
mod part;
mod public;
mod reload;

use std::sync::Arc;

pub use accept::{Accepted, Limits, PeerInfo, incoming};
pub use connect::{channel, endpoint, is_loopback};
pub use identity::{Identity, Role};
pub use material::TlsError;
pub use mutual::{Mutual, MutualFiles};
pub use public::{Public, PublicFiles};
pub use reload::{Expiry, Reload, Reloaded, Tally, watch};
pub use rustls::time_provider::TimeProvider;

/// The clock of the machine, by which certificates expire.
pub fn system_time() -> Arc<dyn TimeProvider> {
    Arc::new(rustls::time_provider::DefaultTimeProvider)
}

/// The one cryptographic library, said rather than found by what happens to be compiled in.
fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

/// Seconds since 1970. 0 when there is no clock, which makes every certificate too young to be used.
fn now_s(time: &dyn TimeProvider) -> u64 {
    time.current_time().map_or(0, |now| now.as_secs())
}
