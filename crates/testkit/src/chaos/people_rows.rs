//! Many users at once: the rows of one who was made through the API, again and again under other names, written through the
//! contract of the store. They are as large, and as hard to compress, as rows of real users; nobody knows their passwords.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use conclave_cluster::RoutingStore;
use conclave_store::{
    Store,
    keys::{self, UserChild},
    limits,
    proto::{self, outcome, write::Action},
    records::CredentialsRecord,
};
use prost::Message;
use tokio::task::JoinSet;

use crate::dice::Dice;

/// Commits that are under way at a time.
const UNDER_WAY: u64 = 8;
/// Of the limit of a commit, what its users may take.
const COMMIT_BYTES: usize = limits::COMMIT_BYTES_MAX * 3 / 4;
/// How often a commit is sent again whose fate is not known.
const REPEATS_MAX: u32 = 20;

/// A user whose rows are copied.
pub struct Template {
    scope: String,
    sub: String,
    name: String,
    rows: Vec<(Bytes, Bytes)>,
}

/// What was written.
#[derive(Debug, Default)]
pub struct Written {
    /// Users.
    pub users: AtomicU64,
    /// Bytes of their keys and values.
    pub bytes: AtomicU64,
}

impl Template {
    /// Reads the rows of a user of a pool that has few. Names that are made have the length of `name`.
    ///
    /// # Errors
    /// The store's, or there is no such user.
    pub async fn read(store: &RoutingStore, scope: &str, sub: &str, name: &str) -> Result<Self> {
        let scan =
            proto::Scan { prefix: Bytes::new(), after: Bytes::new(), limit: limits::SCAN_ROWS_MAX };
        let read = proto::Read { scope: scope.to_owned(), scans: vec![scan], ..Default::default() };
        let found = store.read(read).await?;
        ensure!(!found.scan_ends.iter().any(|end| end.more), "the pool is not new");
        let has = |bytes: &[u8]| bytes.windows(sub.len()).any(|window| window == sub.as_bytes());
        let rows: Vec<_> = found
            .rows
            .into_iter()
            .filter_map(|row| Some((row.key, row.value?)))
            .filter(|(key, value)| has(key) || has(value))
            .collect();
        ensure!(rows.iter().any(|(key, _)| *key == keys::user(sub)), "no user {name}");
        Ok(Self { scope: scope.to_owned(), sub: sub.to_owned(), name: name.to_owned(), rows })
    }

    /// Rows of each user.
    pub fn rows(&self) -> usize {
        self.rows.len()
    }

    /// The rows of user `number`.
    fn user(&self, number: u64, dice: &Dice) -> Result<Vec<proto::Write>> {
        let digits = self.name.len();
        let name = format!("{number:0digits$}");
        ensure!(name.len() == digits, "user {number}: a name of more than {digits} digits");
        let id = hex::encode(dice.id());
        let sub = [&id[..8], &id[8..12], &id[12..16], &id[16..20], &id[20..]].join("-");
        let renamed = |bytes: &[u8]| {
            let bytes = replace(bytes, self.sub.as_bytes(), sub.as_bytes());
            replace(&bytes, self.name.as_bytes(), name.as_bytes())
        };
        let credentials = keys::user_child(&self.sub, UserChild::Credentials, &[]);
        let write = |(key, value): &(Bytes, Bytes)| {
            let mut value = renamed(value);
            if *key == credentials {
                let mut record = CredentialsRecord::decode(&value[..])?;
                for sealed in [&mut record.sealed_password_hash, &mut record.sealed_srp_verifier] {
                    *sealed = random(sealed.len(), dice);
                }
                value = record.encode_to_vec();
            }
            let put = proto::Put { value: value.into(), expires_at_ms: None };
            Ok(proto::Write { key: renamed(key).into(), action: Some(Action::Put(put)) })
        };
        self.rows.iter().map(write).collect()
    }

    /// Writes `users` users, as many in one transaction as its limits allow.
    ///
    /// # Errors
    /// What the store says of a commit that cannot succeed.
    pub async fn fill(
        self: &Arc<Self>,
        store: &Arc<RoutingStore>,
        users: u64,
        seed: u64,
    ) -> Result<Written> {
        let size = |write: &proto::Write| write.encoded_len() + 8;
        let one: usize = self.user(1, &Dice::new(seed, 0))?.iter().map(size).sum();
        let in_one = (limits::WRITES_MAX / self.rows().max(1)).min(COMMIT_BYTES / one.max(1));
        let in_one = in_one.max(1) as u64;
        let (next, written) = (Arc::new(AtomicU64::new(0)), Arc::new(Written::default()));
        let mut tasks = JoinSet::new();
        for task in 0..UNDER_WAY {
            let (template, store) = (Arc::clone(self), Arc::clone(store));
            let (next, written) = (Arc::clone(&next), Arc::clone(&written));
            let dice = Dice::new(seed, 0xf111_0000 + task);
            tasks.spawn(async move {
                loop {
                    let from = next.fetch_add(in_one, Ordering::Relaxed);
                    if from >= users {
                        return Ok::<_, anyhow::Error>(());
                    }
                    let to = (from + in_one).min(users);
                    let mut writes = Vec::new();
                    for number in from..to {
                        // 0 is the template
                        writes.extend(template.user(number + 1, &dice)?);
                    }
                    let bytes: usize = writes.iter().map(size).sum();
                    template.commit(&store, writes, &dice).await?;
                    written.users.fetch_add(to - from, Ordering::Relaxed);
                    written.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
                }
            });
        }
        while let Some(task) = tasks.join_next().await {
            task??;
        }
        Arc::into_inner(written).context("a task has not ended")
    }

    async fn commit(
        &self,
        store: &RoutingStore,
        writes: Vec<proto::Write>,
        dice: &Dice,
    ) -> Result<()> {
        let read = proto::Read { scope: self.scope.clone(), ..Default::default() };
        let mut said = String::new();
        let mut now_ms = None;
        for _ in 0..REPEATS_MAX {
            match store.read(read.clone()).await {
                Ok(reply) => {
                    now_ms = Some(reply.now_ms);
                    break;
                }
                Err(error) => said = error.to_string(),
            }
        }
        let Some(decided_ms) = now_ms else { bail!("the time of the store: {said}") };
        let commit = proto::Commit {
            id: Bytes::copy_from_slice(&dice.id()),
            scope: self.scope.clone(),
            decided_ms,
            epoch: None,
            checks: Vec::new(),
            writes,
        };
        for _ in 0..REPEATS_MAX {
            match store.commit(commit.clone()).await {
                Ok(proto::Outcome { result: Some(outcome::Result::Committed(_)) }) => {
                    return Ok(());
                }
                Ok(other) => bail!("not committed: {other:?}"),
                // with the same id it is done once
                Err(error) => said = error.to_string(),
            }
        }
        bail!("a commit of users: {said}")
    }
}

/// Every `from` in `bytes` becomes `to`, which is as long.
fn replace(bytes: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let mut replaced = bytes.to_vec();
    let mut at = 0;
    while !from.is_empty() && at + from.len() <= replaced.len() {
        if replaced[at..].starts_with(from) {
            replaced[at..at + from.len()].copy_from_slice(to);
            at += from.len();
        } else {
            at += 1;
        }
    }
    replaced
}

fn random(length: usize, dice: &Dice) -> Bytes {
    let mut bytes = Vec::with_capacity(length + 16);
    while bytes.len() < length {
        bytes.extend_from_slice(&dice.id());
    }
    bytes.truncate(length);
    bytes.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn template() -> Template {
        let sub = "0f8e7d6c-0000-4000-8000-00000000abcd".to_owned();
        let credentials = CredentialsRecord {
            sealed_password_hash: Bytes::from_static(&[7; 150]),
            srp_user_id: "00000000".to_owned(),
            ..CredentialsRecord::default()
        };
        let rows = vec![
            (keys::user(&sub).into(), Bytes::from(format!("{sub} is 00000000"))),
            (keys::username("00000000").into(), Bytes::from(sub.clone())),
            (
                keys::user_child(&sub, UserChild::Credentials, &[]).into(),
                credentials.encode_to_vec().into(),
            ),
        ];
        Template { scope: "pool".to_owned(), sub, name: "00000000".to_owned(), rows }
    }

    #[test]
    fn a_copy_has_a_name_and_a_sub_of_its_own_and_rows_as_large() {
        let template = template();
        let (one, two) = (Dice::new(1, 1), Dice::new(1, 2));
        let writes = [template.user(41, &one), template.user(42, &two)];
        let [one, two] = writes.map(|writes| writes.expect("makes"));
        let value = |write: &proto::Write| match &write.action {
            Some(Action::Put(put)) => put.value.clone(),
            other => panic!("{other:?}"),
        };
        assert_eq!(one[1].key, keys::username("00000041"));
        assert_ne!(one[0].key, two[0].key);
        for ((key, original), write) in template.rows.iter().zip(&one) {
            assert_eq!((key.len(), original.len()), (write.key.len(), value(write).len()));
        }
        assert_eq!(one[0].key, keys::user(std::str::from_utf8(&value(&one[1])).expect("text")));
        let record = CredentialsRecord::decode(value(&one[2])).expect("decodes");
        assert_eq!(record.srp_user_id, "00000041");
        assert_ne!(record.sealed_password_hash, Bytes::from_static(&[7; 150]));
        assert!(template.user(1_000_000_000, &Dice::new(1, 1)).is_err());
    }
}
