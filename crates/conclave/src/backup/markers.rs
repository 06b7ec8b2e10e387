//! What the cluster remembers of its backups: rows in the scope of nodes, which any node can write.
//!
//! A backup's row is committed before the first group is cut, and again after the last one: all cuts lie between two
//! commits of the directory's group. The first of the two is in the backup itself.

use std::sync::Arc;

use bytes::Bytes;
use conclave_crypto::entropy::{self, SystemEntropy};
use conclave_shard::{AdminError, RegistryError};
use conclave_store::{
    DIRECTORY_SCOPE, NODES_SCOPE, Store, StoreError, keys,
    proto::{self, check::Expect, outcome::Result as Answer, write::Action},
    records::{BackupRecord, KeyRotationRecord},
};
use prost::Message as _;

/// How long a backup is remembered: 400 days.
const REMEMBERED_MS: i64 = 400 * 24 * 3_600_000;
/// How often a commit is repeated whose fate is not known.
const ATTEMPTS_MAX: u32 = 5;

/// The rows, through any way to the directory.
#[derive(Clone)]
pub struct Markers {
    store: Arc<dyn Store>,
}

impl Markers {
    pub fn new(store: Arc<dyn Store>) -> Self {
        Self { store }
    }

    /// A backup begins. Its id sorts by time.
    pub async fn start(&self, administrator: &str) -> Result<BackupRecord, AdminError> {
        let (_, now_ms) = self.read(Vec::new()).await?;
        let [a, b, c, d] = entropy::bytes(&SystemEntropy);
        let record = BackupRecord {
            backup_id: format!("{}-{a:02x}{b:02x}{c:02x}{d:02x}", timestamp(now_ms)),
            began_ms: now_ms,
            administrator: administrator.to_owned(),
            ..BackupRecord::default()
        };
        self.write(&record, Expect::Absent(true), now_ms).await?;
        Ok(record)
    }

    /// All groups have been cut.
    ///
    /// Refused when a rotation of the cluster's key has come to its end meanwhile: a pool that was cut before may be sealed
    /// with a version of the key that the directory, which was cut after, does not have any more.
    pub async fn seal(&self, backup_id: &str) -> Result<BackupRecord, AdminError> {
        let rotated_ms = self.rotated_ms().await?;
        // asked again when an answer was lost: no group can have been cut since
        self.change(backup_id, |record, now_ms| {
            if record.cut_ms == 0 {
                if rotated_ms >= record.began_ms {
                    return Err("the cluster's key was rotated while the groups were cut: make another backup".to_owned());
                }
                record.cut_ms = now_ms;
            }
            Ok(())
        })
        .await
    }

    /// It is where it is kept.
    pub async fn complete(&self, backup_id: &str, bytes: u64) -> Result<BackupRecord, AdminError> {
        self.change(backup_id, |record, now_ms| {
            if record.cut_ms == 0 {
                return Err("the groups have not been cut".to_owned());
            }
            (record.completed_ms, record.bytes) = (now_ms, bytes);
            Ok(())
        })
        .await
    }

    /// Whether groups may be cut for it.
    pub async fn is_open(&self, backup_id: &str) -> Result<bool, AdminError> {
        let (row, _) = self.read(keys::backup(backup_id)).await?;
        Ok(row.is_some_and(|(record, _)| record.cut_ms == 0))
    }

    async fn change(
        &self,
        backup_id: &str,
        change: impl Fn(&mut BackupRecord, i64) -> Result<(), String>,
    ) -> Result<BackupRecord, AdminError> {
        let (row, now_ms) = self.read(keys::backup(backup_id)).await?;
        let (mut record, version) =
            row.ok_or_else(|| RegistryError::Refused(format!("there is no backup {backup_id}")))?;
        change(&mut record, now_ms).map_err(RegistryError::Refused)?;
        self.write(&record, Expect::AtVersion(version), now_ms).await?;
        Ok(record)
    }

    /// When the last rotation of the cluster's key came to its end; 0: there was none.
    async fn rotated_ms(&self) -> Result<i64, AdminError> {
        let read = proto::Read {
            scope: DIRECTORY_SCOPE.to_owned(),
            gets: vec![keys::key_rotation().into()],
            ..proto::Read::default()
        };
        let value = self.store.read(read).await?.rows.into_iter().find_map(|row| row.value);
        let record = value.map(KeyRotationRecord::decode).transpose();
        let record = record.map_err(|error| RegistryError::Damaged(error.to_string()))?;
        Ok(record.map_or(0, |record| record.finished_ms))
    }

    async fn read(&self, key: Vec<u8>) -> Result<(Option<(BackupRecord, u64)>, i64), AdminError> {
        let read = proto::Read {
            scope: NODES_SCOPE.to_owned(),
            gets: if key.is_empty() { Vec::new() } else { vec![key.into()] },
            ..proto::Read::default()
        };
        let result = self.store.read(read).await?;
        let row = result.rows.into_iter().next();
        let row = row.and_then(|row| Some((row.value?, row.version)));
        let row = row.map(|(value, version)| {
            let record = BackupRecord::decode(value);
            record
                .map(|record| (record, version))
                .map_err(|error| RegistryError::Damaged(error.to_string()))
        });
        Ok((row.transpose()?, result.now_ms))
    }

    async fn write(
        &self,
        record: &BackupRecord,
        expect: Expect,
        now_ms: i64,
    ) -> Result<(), AdminError> {
        let key = Bytes::from(keys::backup(&record.backup_id));
        let expires_at_ms = Some(record.began_ms.saturating_add(REMEMBERED_MS));
        let put = proto::Put { value: record.encode_to_vec().into(), expires_at_ms };
        let id: [u8; 16] = entropy::bytes(&SystemEntropy);
        let commit = proto::Commit {
            id: Bytes::copy_from_slice(&id),
            scope: NODES_SCOPE.to_owned(),
            decided_ms: now_ms,
            epoch: None,
            checks: vec![proto::Check { key: key.clone(), expect: Some(expect) }],
            writes: vec![proto::Write { key, action: Some(Action::Put(put)) }],
        };
        let mut attempts = 0;
        loop {
            attempts += 1;
            match self.store.commit(commit.clone()).await {
                Ok(outcome) => {
                    return match outcome.result {
                        Some(Answer::Committed(_)) => Ok(()),
                        _ => Err(RegistryError::Contended),
                    };
                }
                Err(StoreError::Unknown { .. }) if attempts < ATTEMPTS_MAX => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// `20261125T013000Z`
pub fn timestamp(now_ms: i64) -> String {
    let now = time::OffsetDateTime::from_unix_timestamp(now_ms.div_euclid(1_000));
    let now = now.unwrap_or(time::OffsetDateTime::UNIX_EPOCH);
    let (date, time) = (now.date(), now.time());
    format!(
        "{:04}{:02}{:02}T{:02}{:02}{:02}Z",
        date.year(),
        u8::from(date.month()),
        date.day(),
        time.hour(),
        time.minute(),
        time.second()
    )
}

#[cfg(test)]
mod tests {
    use conclave_store::{Clock, memory::MemoryStore};

    use super::*;

    struct At(i64);

    impl Clock for At {
        fn now_ms(&self) -> i64 {
            self.0
        }
    }

    async fn put(store: &MemoryStore, scope: &str, rows: Vec<(Vec<u8>, Vec<u8>)>) {
        let id: [u8; 16] = entropy::bytes(&SystemEntropy);
        let write = |(key, value): (Vec<u8>, Vec<u8>)| proto::Write {
            key: key.into(),
            action: Some(Action::Put(proto::Put { value: value.into(), expires_at_ms: None })),
        };
        let commit = proto::Commit {
            id: Bytes::copy_from_slice(&id),
            scope: scope.to_owned(),
            decided_ms: 5_000,
            writes: rows.into_iter().map(write).collect(),
            ..Default::default()
        };
        let outcome = store.commit(commit).await.expect("answers");
        assert!(matches!(outcome.result, Some(Answer::Committed(_))));
    }

    #[tokio::test]
    async fn a_backup_in_which_the_cluster_s_key_was_rotated_is_not_sealed() {
        for (finished_ms, is_sealed) in [(0, true), (4_999, true), (5_000, false)] {
            let store = Arc::new(MemoryStore::new(Arc::new(At(5_000))));
            put(&store, NODES_SCOPE, vec![(keys::ROOT.to_vec(), Vec::new())]).await;
            let rotation = KeyRotationRecord { finished_ms, ..Default::default() };
            let rows = vec![
                (keys::ROOT.to_vec(), Vec::new()),
                (keys::key_rotation(), rotation.encode_to_vec()),
            ];
            put(&store, DIRECTORY_SCOPE, rows).await;
            let markers = Markers::new(store);
            let begun = markers.start("admin").await.expect("begins");
            let sealed = markers.seal(&begun.backup_id).await;
            assert_eq!(sealed.is_ok(), is_sealed, "{finished_ms}");
            if is_sealed {
                let again = markers.seal(&begun.backup_id).await.expect("can be repeated");
                assert_eq!(again.cut_ms, 5_000);
            }
        }
    }

    #[test]
    fn ids_sort_by_time() {
        assert_eq!(timestamp(1_767_225_600_000), "20260101T000000Z");
        assert!(timestamp(1_767_225_601_000) > timestamp(1_767_225_600_999));
    }
}
