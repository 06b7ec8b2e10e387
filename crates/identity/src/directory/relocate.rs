//! A cluster's keys under the name of another cluster: what makes the directory of a restored cluster.

use conclave_crypto::{
    entropy::Entropy,
    seal::{KekProvider, Keyring},
    secret::Key256,
};
use conclave_store::records::ClusterRecord;

use super::OpenError;
use crate::cluster_key;

/// A cluster's keys by version, the current one last.
pub type ClusterKeys = Vec<(u32, Key256)>;

/// The cluster's keys, as the key-encryption key opens them.
///
/// # Errors
/// [`OpenError::Kek`] when they are wrapped under another one.
pub async fn unwrap_cluster_keys(
    record: &ClusterRecord,
    kek: &dyn KekProvider,
) -> Result<ClusterKeys, OpenError> {
    let mut unwrapped = Vec::with_capacity(record.keys.len());
    for key in &record.keys {
        unwrapped.push((key.version, cluster_key::unwrap_one(record, key, kek).await?));
    }
    Ok(unwrapped)
}

/// The record of the cluster under another name, its keys wrapped for it by `kek`. What is sealed under the keys
/// stays as it is: the keys are the same.
///
/// # Errors
/// [`OpenError::Damaged`] when `keys` are not the record's.
pub async fn relocate(
    record: &ClusterRecord,
    keys: ClusterKeys,
    kek: &dyn KekProvider,
    cluster_id: &str,
    entropy: &dyn Entropy,
    now_ms: i64,
) -> Result<ClusterRecord, OpenError> {
    let unusable = |_| OpenError::Damaged("the cluster's keys cannot be used");
    let current = keys.last().map(|(version, _)| *version);
    let current = current.ok_or(OpenError::Damaged("the cluster has no key"))?;
    let keyring = Keyring::new(current, keys.clone()).map_err(unusable)?;
    let before: [&[u8]; 2] = [record.cluster_id.as_bytes(), b"hint key"];
    let hint_key = keyring
        .unwrap_key(&before, &record.sealed_hint_key)
        .map_err(|_| OpenError::Damaged("the hint key does not open with these keys"))?;
    let mut wrapped = Vec::with_capacity(keys.len());
    for (version, key) in &keys {
        let known = record.keys.iter().find(|known| known.version == *version);
        let created_ms = known.map_or(now_ms, |known| known.created_ms);
        wrapped.push(cluster_key::wrap(cluster_id, *version, key, kek, entropy, created_ms).await?);
    }
    let after: [&[u8]; 2] = [cluster_id.as_bytes(), b"hint key"];
    Ok(ClusterRecord {
        cluster_id: cluster_id.to_owned(),
        keys: wrapped,
        sealed_hint_key: keyring.wrap_key(&after, &hint_key, entropy).map_err(unusable)?.into(),
        ..record.clone()
    })
}

#[cfg(test)]
mod tests {
    use conclave_crypto::{seal::StaticKek, testing::SeededEntropy};
    use conclave_store::{DIRECTORY_SCOPE, Store as _, keys, memory::MemoryStore, proto};
    use prost::Message as _;

    use super::{super::*, *};

    #[tokio::test]
    async fn a_record_opens_under_its_new_name_and_key_with_the_keys_that_it_had() {
        let (old, new) =
            (StaticKek::new([1; 32].into(), vec![]), StaticKek::new([2; 32].into(), vec![]));
        let entropy = SeededEntropy::new(1);
        let store = MemoryStore::new(std::sync::Arc::new(crate::testing::TestClock::at(1_000)));
        let of = |id: &str| NewCluster { cluster_id: id.to_owned(), pool_groups: 3 };
        let before = open(&store, &old, &entropy, &of("old")).await.expect("is made");
        let read = proto::Read {
            scope: DIRECTORY_SCOPE.to_owned(),
            gets: vec![keys::cluster().into()],
            ..Default::default()
        };
        let row = store.read(read).await.expect("reads").rows.remove(0).value.expect("is there");
        let record = ClusterRecord::decode(row).expect("decodes");

        assert!(matches!(unwrap_cluster_keys(&record, &new).await, Err(OpenError::Kek(_))));
        let unwrapped = unwrap_cluster_keys(&record, &old).await.expect("unwraps");
        let moved =
            relocate(&record, unwrapped, &new, "new", &entropy, 2_000).await.expect("moves");
        let after = unlock(&moved, &new, &of("new")).await.expect("opens");
        assert_eq!(after.hint_key, before.hint_key);
        let sealed = before.cluster_keys.wrap_key(&[b"x"], &[9; 32].into(), &entropy).unwrap();
        assert_eq!(after.cluster_keys.unwrap_key(&[b"x"], &sealed).unwrap(), [9; 32].into());
        assert!(unlock(&moved, &old, &of("new")).await.is_err());
        assert!(unlock(&moved, &new, &of("old")).await.is_err());
        let strange = vec![(1, Key256::new([7; 32]))];
        assert!(relocate(&record, strange, &new, "new", &entropy, 2_000).await.is_err());
    }
}
