//! Keys of the rows that say how keys are rotated.

use super::{Tag, tagged};

/// `KeySetRecord` of a pool.
pub fn key_set() -> Vec<u8> {
    vec![Tag::KeySet as u8]
}

/// `KeyWorkerRecord` of the cluster.
pub fn key_worker() -> Vec<u8> {
    vec![Tag::KeyWorker as u8]
}

/// `KeyRotationRecord` of the cluster.
pub fn key_rotation() -> Vec<u8> {
    vec![Tag::KeyRotation as u8]
}

/// `PoolResealRecord` of the cluster.
pub fn pool_reseal() -> Vec<u8> {
    vec![Tag::PoolReseal as u8]
}

/// `KeyOrderRecord` of a pool.
pub fn key_order(pool_id: &str) -> Vec<u8> {
    tagged(Tag::KeyOrder, &[pool_id.as_bytes()])
}

/// The prefix of every [`key_order`].
pub fn key_orders() -> Vec<u8> {
    vec![Tag::KeyOrder as u8]
}

/// The pool of a [`key_order`].
pub fn key_order_pool(key: &[u8]) -> Option<&str> {
    std::str::from_utf8(key.strip_prefix(&[Tag::KeyOrder as u8])?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Stored data outlives versions: these bytes may never change.
    #[test]
    fn keys_have_the_bytes_that_they_have_always_had() {
        assert_eq!(key_set(), [0x64]);
        assert_eq!(key_worker(), [0x65]);
        assert_eq!(key_rotation(), [0x67]);
        assert_eq!(pool_reseal(), [0x62]);
        assert_eq!(key_order("p"), [0x66, b'p']);
        assert_eq!(key_order_pool(&key_order("pool")), Some("pool"));
    }
}
