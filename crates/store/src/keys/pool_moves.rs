//! Keys of the rows of a pool that comes from another cluster.

use super::Tag;

/// `PoolImportRecord` of a pool that has no root yet.
pub fn pool_import() -> Vec<u8> {
    vec![Tag::PoolImport as u8]
}

/// `PoolFreezeRecord` of the pool.
pub fn pool_freeze() -> Vec<u8> {
    vec![Tag::PoolFreeze as u8]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Stored data outlives versions: these bytes may never change.
    #[test]
    fn keys_have_the_bytes_that_they_have_always_had() {
        assert_eq!(pool_import(), [0x5C]);
        assert_eq!(pool_freeze(), [0x5D]);
    }
}
