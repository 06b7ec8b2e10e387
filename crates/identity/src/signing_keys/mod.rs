//! Signing keys over time: each use of a pool, ID and access tokens, has a set of key pairs that goes through the
//! replicated log.
//!
//! PENDING → ACTIVE → RETIRING → gone, and REVOKED from any of them. A key is in the JWKS from its first state on, for
//! longer than anybody may keep a JWKS, before it signs; and stays there until its last token has expired. There is
//! always one PENDING key, so that a key that has leaked has a successor at once.
//!
//! - [`set`]: the rules, as plain functions over the rows
//! - [`order`]: what an administrator asks for. It needs none of the keys that secrets are sealed with, because nodes
//!   that hold groups may not have them
//! - [`advance`]: the next steps of one pool, by a gateway, which has those keys
//! - [`worker`]: one gateway at a time looks after all pools

pub mod advance;
pub mod order;
pub mod set;
#[cfg(test)]
mod tests;
pub mod worker;

use std::time::Duration;

/// The sealed field of a key's record.
pub(crate) const PRIVATE_KEY: &str = "private_key";

/// How long things take in the life of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    /// How long a key is in the JWKS before it signs: for longer than others keep a JWKS.
    pub publish: Duration,
    /// How long a key signs; `None`: until somebody asks for a rotation.
    pub rotate_after: Option<Duration>,
    /// How long a key is in the JWKS after it has signed: for longer than its last token is good for.
    pub retire: Duration,
    /// How long a gateway signs with what it knows of the keys before it reads them again.
    pub lease: Duration,
    /// From one look at all pools to the next.
    pub check: Duration,
}

/// The longest validity of ID and access tokens (AWS: TokenValidityUnits, "between 5 minutes and 1 day").
const TOKEN_VALIDITY_MAX: Duration = Duration::from_hours(24);

impl Default for Timing {
    /// A JWKS is kept for an hour by cautious verifiers, five minutes pass until they may ask again for a key that they
    /// do not know, a gateway is half a minute behind, and clocks differ by a minute. Keys sign for 90 days: Cognito's
    /// guide tells verifiers that keys can change and to look them up by `kid`.
    fn default() -> Self {
        let lease = Duration::from_secs(30);
        let skew = Duration::from_mins(1);
        Self {
            publish: Duration::from_hours(1) + Duration::from_mins(5) + lease + skew,
            rotate_after: Some(Duration::from_hours(90 * 24)),
            retire: TOKEN_VALIDITY_MAX + lease + skew,
            lease,
            check: Duration::from_mins(1),
        }
    }
}

impl Timing {
    /// Whether tokens of the longest validity outlive the key that has signed them.
    pub fn retires_too_early(&self) -> bool {
        self.retire < TOKEN_VALIDITY_MAX + self.lease
    }
}

fn ms(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
