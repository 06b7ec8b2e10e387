//! What a restore changes in what a backup holds, row by row.
//!
//! A restored cluster has gone back in time: it has forgotten which tokens were revoked, which codes were used and
//! which passwords were changed since. So what would let somebody in on the strength of the past ends, unless the
//! operator wants it otherwise, and what keeps people out (failed attempts, locks, disabled users) stays.

use std::collections::HashSet;

use bytes::Bytes;
use conclave_store::{
    DIRECTORY_SCOPE, NODES_SCOPE,
    keys::{self, Tag, UserChild},
    proto::StoredRow,
    records::{
        ClusterRecord, PoolRecord, PoolResealRecord, UserImportJobRecord, UserImportsRecord,
        user_import_job_record::State as JobState,
    },
};
use prost::Message;

use crate::pool_keys;

/// What stays good of what was issued before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Keep {
    /// Nothing: everybody signs in again.
    #[default]
    Nothing,
    /// Refresh tokens, those among them that were revoked after the backup.
    RefreshTokens,
    /// Access tokens too.
    Tokens,
}

/// A stored row that is not what this version writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a row of the backup cannot be decoded")]
pub struct Damaged;

/// What becomes of a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// It stays as it is.
    Stays,
    /// It goes.
    Goes,
    /// This takes its place.
    Becomes(Vec<u8>),
}

/// One restore.
pub struct Restore {
    /// When it happens, in milliseconds since 1970.
    pub now_ms: i64,
    /// See there.
    pub keep: Keep,
    /// The cluster's record, as [`crate::directory::relocate`] has made it.
    pub cluster: ClusterRecord,
    /// The pools that the directory knows.
    pub pools: HashSet<String>,
}

/// The cluster's record, and the pools that the directory knows: from the physical rows of the directory's group.
#[derive(Default)]
pub struct Found {
    /// `None` when no gateway has ever been started.
    pub cluster: Option<ClusterRecord>,
    /// Ids.
    pub pools: HashSet<String>,
}

impl Found {
    /// Looks at a row.
    ///
    /// # Errors
    /// [`Damaged`].
    pub fn look(&mut self, physical: &[u8], value: &[u8]) -> Result<(), Damaged> {
        let Some((DIRECTORY_SCOPE, key)) = keys::parse_row(physical) else { return Ok(()) };
        if key == keys::cluster() {
            let record = ClusterRecord::decode(stored(value)?.value).map_err(|_| Damaged)?;
            self.cluster = Some(record);
        } else if let Some(pool_id) = key.strip_prefix(keys::pool_locations().as_slice()) {
            let pool_id = std::str::from_utf8(pool_id).map_err(|_| Damaged)?;
            self.pools.insert(pool_id.to_owned());
        }
        Ok(())
    }
}

impl Restore {
    /// What becomes of a row, by its physical key.
    ///
    /// # Errors
    /// [`Damaged`].
    pub fn fate(&self, physical: &[u8], value: &[u8]) -> Result<Fate, Damaged> {
        let Some((scope, key)) = keys::parse_row(physical) else { return Ok(Fate::Stays) };
        match scope {
            // the nodes of another cluster
            NODES_SCOPE => Ok(Fate::Goes),
            DIRECTORY_SCOPE if key == keys::cluster() => {
                Ok(Fate::Becomes(with_value(stored(value)?, self.cluster.encode_to_vec())))
            }
            // imports are stopped
            DIRECTORY_SCOPE if key.starts_with(&keys::active_imports()) => Ok(Fate::Goes),
            // the groups were cut before the directory: it may be further than they are
            DIRECTORY_SCOPE if key == keys::pool_reseal() => {
                let row = stored(value)?;
                let reseal = PoolResealRecord::decode(row.value.clone()).map_err(|_| Damaged)?;
                Ok(match pool_keys::begun_anew(reseal, self.now_ms) {
                    Some(reseal) => Fate::Becomes(with_value(row, reseal.encode_to_vec())),
                    None => Fate::Stays,
                })
            }
            DIRECTORY_SCOPE => Ok(Fate::Stays),
            // deleted while the groups were being cut, or made then: the directory was cut last, and says
            pool if !self.pools.contains(pool) => Ok(Fate::Goes),
            _ => {
                let (now_ms, keep) = (self.now_ms, self.keep);
                let because = "The user pool was restored from a backup.";
                Rewind { now_ms, keep, because }.fate(key, value)
            }
        }
    }
}

/// What changes in a pool that goes back to an earlier state.
pub(crate) struct Rewind {
    pub now_ms: i64,
    pub keep: Keep,
    /// What is said of an import that was under way.
    pub because: &'static str,
}

impl Rewind {
    /// What becomes of a row of the pool, by its relative key.
    pub(crate) fn fate(&self, key: &[u8], value: &[u8]) -> Result<Fate, Damaged> {
        if key == keys::ROOT && self.keep != Keep::Tokens {
            let row = stored(value)?;
            let mut pool = PoolRecord::decode(row.value.clone()).map_err(|_| Damaged)?;
            pool.tokens_not_before_ms = pool.tokens_not_before_ms.max(self.now_ms);
            return Ok(Fate::Becomes(with_value(row, pool.encode_to_vec())));
        }
        if key == keys::user_imports() {
            let row = stored(value)?;
            let imports = UserImportsRecord::decode(row.value.clone()).map_err(|_| Damaged)?;
            let imports = UserImportsRecord { active_job_id: String::new(), ..imports };
            return Ok(Fate::Becomes(with_value(row, imports.encode_to_vec())));
        }
        if key.starts_with(&keys::user_import_jobs()) {
            return self.fate_of_import(stored(value)?);
        }
        if key.first() != Some(&(Tag::UserChild as u8)) {
            return Ok(Fate::Stays);
        }
        let kind = keys::user_child_kind(key).ok_or(Damaged)?;
        let is = |child: UserChild| kind == child as u8;
        let ends = is(UserChild::Code)
            || is(UserChild::DeviceChallenge)
            || is(UserChild::Session) && self.keep == Keep::Nothing;
        Ok(if ends { Fate::Goes } else { Fate::Stays })
    }

    /// An import that was under way is stopped: the directory, which was cut later, may not know it any more, and then no
    /// node would ever go on with it.
    fn fate_of_import(&self, row: StoredRow) -> Result<Fate, Damaged> {
        let mut job = UserImportJobRecord::decode(row.value.clone()).map_err(|_| Damaged)?;
        if !matches!(job.state(), JobState::Pending | JobState::InProgress | JobState::Stopping) {
            return Ok(Fate::Stays);
        }
        job.set_state(JobState::Stopped);
        job.completed_ms = self.now_ms;
        job.completion_message = self.because.to_owned();
        job.worker.clear();
        job.worker_until_ms = 0;
        Ok(Fate::Becomes(with_value(row, job.encode_to_vec())))
    }
}

fn stored(value: &[u8]) -> Result<StoredRow, Damaged> {
    StoredRow::decode(value).map_err(|_| Damaged)
}

fn with_value(row: StoredRow, value: Vec<u8>) -> Vec<u8> {
    StoredRow { value: Bytes::from(value), ..row }.encode_to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    const POOL: &str = "us-east-1_abcdefghi";

    fn restore(keep: Keep) -> Restore {
        let cluster = ClusterRecord { cluster_id: "new".to_owned(), ..Default::default() };
        Restore { now_ms: 5_000, keep, cluster, pools: [POOL.to_owned()].into() }
    }

    fn row(value: Vec<u8>) -> Vec<u8> {
        StoredRow { version: 3, expires_at_ms: 9, value: value.into() }.encode_to_vec()
    }

    fn fate(keep: Keep, scope: &str, key: &[u8]) -> Fate {
        restore(keep).fate(&keys::row(scope, key), &row(Vec::new())).expect("decodes")
    }

    #[test]
    fn imports_that_were_under_way_are_stopped_and_others_stay() {
        let restore = restore(Keep::Tokens);
        let becomes = |key: &[u8], value: Vec<u8>| match restore
            .fate(&keys::row(POOL, key), &row(value))
            .expect("decodes")
        {
            Fate::Becomes(row) => StoredRow::decode(&row[..]).expect("decodes").value,
            fate => panic!("{fate:?}"),
        };
        let imports = UserImportsRecord { active_job_id: "j".to_owned(), ..Default::default() };
        let imports = becomes(&keys::user_imports(), imports.encode_to_vec());
        assert_eq!(UserImportsRecord::decode(imports).expect("decodes").active_job_id, "");
        let job = |state: JobState| UserImportJobRecord {
            state: state.into(),
            worker_until_ms: 9,
            ..Default::default()
        };
        let key = keys::user_import_job("j");
        for state in [JobState::Pending, JobState::InProgress, JobState::Stopping] {
            let stopped = becomes(&key, job(state).encode_to_vec());
            let stopped = UserImportJobRecord::decode(stopped).expect("decodes");
            assert!(stopped.state() == JobState::Stopped && stopped.completed_ms == 5_000);
            assert_eq!(stopped.worker_until_ms, 0);
        }
        for state in [JobState::Created, JobState::Succeeded, JobState::Failed] {
            let stays = restore.fate(&keys::row(POOL, &key), &row(job(state).encode_to_vec()));
            assert_eq!(stays, Ok(Fate::Stays));
        }
        let active = keys::active_import("000000000000", "us-east-1");
        assert_eq!(fate(Keep::Tokens, DIRECTORY_SCOPE, &active), Fate::Goes);
    }

    #[test]
    fn an_exchange_of_pools_keys_begins_anew() {
        let fate = |reseal: &PoolResealRecord| {
            let key = keys::row(DIRECTORY_SCOPE, &keys::pool_reseal());
            restore(Keep::Tokens).fate(&key, &row(reseal.encode_to_vec())).expect("decodes")
        };
        let under_way = PoolResealRecord {
            started_ms: 1_000,
            only_pool: POOL.to_owned(),
            pass: 3,
            pool_id: POOL.to_owned(),
            after: vec![1, 2, 3].into(),
            keys_version: 7,
            finished_ms: 500,
            ..Default::default()
        };
        let Fate::Becomes(becomes) = fate(&under_way) else { panic!("it stays") };
        let value = StoredRow::decode(&becomes[..]).expect("decodes").value;
        let asked = PoolResealRecord {
            asked_ms: 5_000,
            asked_pool: POOL.to_owned(),
            finished_ms: 500,
            ..Default::default()
        };
        assert!(PoolResealRecord::decode(value).expect("decodes") == asked);
        assert_eq!(fate(&asked), Fate::Stays);
    }

    #[test]
    fn sessions_and_codes_end_and_what_keeps_people_out_stays() {
        let sub = "0".repeat(keys::SUB_BYTES);
        let child = |kind| keys::user_child(&sub, kind, b"name");
        for keep in [Keep::Nothing, Keep::RefreshTokens, Keep::Tokens] {
            let sessions = if keep == Keep::Nothing { Fate::Goes } else { Fate::Stays };
            assert_eq!(fate(keep, POOL, &child(UserChild::Session)), sessions);
            for ends in [UserChild::Code, UserChild::DeviceChallenge] {
                assert_eq!(fate(keep, POOL, &child(ends)), Fate::Goes);
            }
            for stays in [
                UserChild::Credentials,
                UserChild::Attempts,
                UserChild::MfaAttempts,
                UserChild::Rate,
                UserChild::SoftwareToken,
                UserChild::Device,
                UserChild::Groups,
                UserChild::PasswordHistory,
            ] {
                assert_eq!(fate(keep, POOL, &child(stays)), Fate::Stays, "{stays:?}");
            }
            for key in [keys::user(&sub), keys::unknown_attempts(b"x"), keys::used(b"x")] {
                assert_eq!(fate(keep, POOL, &key), Fate::Stays);
            }
        }
    }

    #[test]
    fn a_pool_forgets_the_tokens_of_before_unless_they_are_kept() {
        let pool = PoolRecord { name: "pool".to_owned(), ..Default::default() };
        let physical = keys::row(POOL, keys::ROOT);
        for keep in [Keep::Nothing, Keep::RefreshTokens] {
            let fate = restore(keep).fate(&physical, &row(pool.encode_to_vec())).expect("decodes");
            let Fate::Becomes(changed) = fate else { panic!("{fate:?}") };
            let changed = StoredRow::decode(&changed[..]).expect("decodes");
            assert_eq!((changed.version, changed.expires_at_ms), (3, 9));
            let changed = PoolRecord::decode(changed.value).expect("decodes");
            assert_eq!((changed.tokens_not_before_ms, changed.name.as_str()), (5_000, "pool"));
        }
        let fate = restore(Keep::Tokens).fate(&physical, &row(pool.encode_to_vec()));
        assert_eq!(fate, Ok(Fate::Stays));
    }

    #[test]
    fn nodes_and_pools_that_the_directory_does_not_know_go_and_the_cluster_has_its_new_name() {
        assert_eq!(fate(Keep::Tokens, NODES_SCOPE, &keys::node(1)), Fate::Goes);
        assert_eq!(fate(Keep::Tokens, "us-east-1_gone", keys::ROOT), Fate::Goes);
        assert_eq!(fate(Keep::Nothing, DIRECTORY_SCOPE, &keys::account("1")), Fate::Stays);
        let restore = restore(Keep::Nothing);
        assert_eq!(restore.fate(keys::GROUP_STATE, b"any"), Ok(Fate::Stays));
        let cluster = fate(Keep::Nothing, DIRECTORY_SCOPE, &keys::cluster());
        let Fate::Becomes(changed) = cluster else { panic!("{cluster:?}") };
        let changed = StoredRow::decode(&changed[..]).expect("decodes").value;
        assert_eq!(ClusterRecord::decode(changed).expect("decodes").cluster_id, "new");
        assert_eq!(restore.fate(&keys::row(POOL, keys::ROOT), b"\xff"), Err(Damaged));
    }

    #[test]
    fn the_directory_says_what_there_is() {
        let mut found = Found::default();
        let record = ClusterRecord { cluster_id: "old".to_owned(), ..Default::default() };
        let rows = [
            (DIRECTORY_SCOPE, keys::cluster(), record.encode_to_vec()),
            (DIRECTORY_SCOPE, keys::pool_location(POOL), Vec::new()),
            (NODES_SCOPE, keys::node(1), Vec::new()),
        ];
        for (scope, key, value) in rows {
            found.look(&keys::row(scope, &key), &row(value)).expect("decodes");
        }
        assert_eq!(found.cluster.expect("is there").cluster_id, "old");
        assert_eq!(found.pools, [POOL.to_owned()].into());
    }
}
