//! The link that a job is described with: what a file is uploaded to, and a report read from, by whoever
//! has it. It names pool and job, ends at a time, and carries a MAC over all of that.

use conclave_crypto::mac;
use conclave_crypto::secret::Key256;

use crate::world::World;

/// Where such links lead, on the public address.
pub const PATH: &str = "/_conclave/user-import";
/// How long a link is good. Source: developer guide, "Creating a user import job".
const GOOD_FOR_MS: i64 = 15 * 60 * 1_000;

/// A link, as it has arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// From the path.
    pub pool_id: String,
    /// From the path.
    pub job_id: String,
    /// The last second at which it is good, since 1970.
    pub expires_s: i64,
    /// Hexadecimal.
    pub signature: String,
}

/// A link to a job of a pool that is good for a while from `now_ms` on.
pub(super) fn make(world: &World, pool_id: &str, job_id: &str, now_ms: i64) -> String {
    let expires_s = (now_ms + GOOD_FOR_MS).div_euclid(1_000);
    let signature: String =
        tag(world, pool_id, job_id, expires_s).map(|byte| format!("{byte:02x}")).concat();
    format!(
        "{}{PATH}/{pool_id}/{job_id}?expires={expires_s}&signature={signature}",
        world.settings.public_url
    )
}

/// Whether this gateway, or another of the cluster, has made `link`. Its end is looked at when the time is
/// known.
pub fn is_authentic(world: &World, link: &Link) -> bool {
    let tag = tag(world, &link.pool_id, &link.job_id, link.expires_s);
    let expected = tag.map(|byte| format!("{byte:02x}")).concat();
    mac::ct_eq(expected.as_bytes(), link.signature.as_bytes())
}

/// Whether `link` is still good at `now_ms`.
pub(super) fn is_good(link: &Link, now_ms: i64) -> bool {
    now_ms.div_euclid(1_000) <= link.expires_s
}

fn tag(world: &World, pool_id: &str, job_id: &str, expires_s: i64) -> [u8; 32] {
    let key: Key256 = mac::derive_key(&world.hint_key, "user import link", &[]);
    let fields = [pool_id.as_bytes(), job_id.as_bytes(), &expires_s.to_be_bytes()];
    mac::hmac_sha256(key.expose(), &[&mac::frame(&fields)])
}
