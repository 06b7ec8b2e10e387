//! One group on a clock that the test moves, and a short way to write commits down.

use bytes::Bytes;
use conclave_store::{
    find_expired, keys,
    memory::MemoryKv,
    proto::{self, check::Expect, entry::Command, outcome::Result as Answer, write::Action},
    read,
};

/// 2023-11-14T22:13:20Z.
pub const START_MS: i64 = 1_700_000_000_000;

/// A group without a network: every request is answered at once.
pub struct Group {
    pub kv: MemoryKv,
    /// The leader's clock.
    pub now_ms: i64,
    next_id: u128,
}

impl Group {
    pub fn new() -> Self {
        Self { kv: MemoryKv::default(), now_ms: START_MS, next_id: 1 }
    }

    /// A group with a scope "p" that has a root.
    pub fn with_pool() -> Self {
        let mut group = Self::new();
        group.must(txn("p").absent(keys::ROOT).put(keys::ROOT, "pool"));
        group
    }

    /// Gives the commit an id and the present time, where it has none.
    pub fn finish(&mut self, mut txn: Txn) -> proto::Commit {
        if txn.0.id.is_empty() {
            txn.0.id = Bytes::copy_from_slice(&self.next_id.to_be_bytes());
            self.next_id += 1;
        }
        if txn.0.decided_ms == 0 {
            txn.0.decided_ms = self.now_ms;
        }
        txn.0
    }

    pub fn commit(&mut self, txn: Txn) -> Answer {
        let commit = self.finish(txn);
        self.apply(Some(Command::Commit(commit)))
    }

    pub fn apply(&mut self, command: Option<Command>) -> Answer {
        let entry = proto::Entry { stamp_ms: self.now_ms, command, level: 0 };
        self.kv.apply(&entry).expect("the memory does not fail").result.expect("an answer")
    }

    /// Commits what has to succeed; the version of what it wrote.
    pub fn must(&mut self, txn: Txn) -> u64 {
        match self.commit(txn) {
            Answer::Committed(committed) => committed.seq,
            other => panic!("not committed: {other:?}"),
        }
    }

    /// Commits what has to meet a conflict.
    pub fn conflict(&mut self, txn: Txn) -> proto::Conflict {
        match self.commit(txn) {
            Answer::Conflict(conflict) => conflict,
            other => panic!("no conflict: {other:?}"),
        }
    }

    pub fn read(&self, request: &proto::Read) -> proto::ReadResult {
        read(&self.kv, request, self.now_ms).expect("the memory does not fail")
    }

    pub fn get(&self, scope: &str, key: impl AsRef<[u8]>) -> proto::Row {
        let gets = vec![Bytes::copy_from_slice(key.as_ref())];
        let request = proto::Read { scope: scope.to_owned(), gets, ..Default::default() };
        self.read(&request).rows.remove(0)
    }

    pub fn value(&self, key: impl AsRef<[u8]>) -> Option<Bytes> {
        self.get("p", key).value
    }

    pub fn counter(&self, key: impl AsRef<[u8]>) -> Option<i64> {
        let value = self.value(key)?;
        Some(i64::from_be_bytes(value[..].try_into().expect("a counter")))
    }

    /// What a leader does from time to time. How many rows it found.
    pub fn sweep(&mut self) -> usize {
        let rows = find_expired(&self.kv, self.now_ms, 1_000).expect("the memory does not fail");
        let found = rows.len();
        self.apply(Some(Command::Sweep(proto::Sweep { rows })));
        found
    }

    /// A node that starts from the bytes of this one.
    pub fn restored(&self) -> MemoryKv {
        self.kv.rows().iter().map(|(key, value)| (key.clone(), value.clone())).collect()
    }

    /// Whether a row takes up space, live or not.
    pub fn is_stored(&self, scope: &str, key: &[u8]) -> bool {
        self.kv.rows().contains_key(&keys::row(scope, key))
    }
}

/// A commit in the making.
#[derive(Clone)]
pub struct Txn(pub proto::Commit);

pub fn txn(scope: &str) -> Txn {
    Txn(proto::Commit { scope: scope.to_owned(), ..Default::default() })
}

impl Txn {
    pub fn id(mut self, id: u128) -> Self {
        self.0.id = Bytes::copy_from_slice(&id.to_be_bytes());
        self
    }

    pub fn decided_ms(mut self, decided_ms: i64) -> Self {
        self.0.decided_ms = decided_ms;
        self
    }

    pub fn epoch(mut self, epoch: u64) -> Self {
        self.0.epoch = Some(epoch);
        self
    }

    pub fn at(self, key: impl AsRef<[u8]>, version: u64) -> Self {
        self.check(key, Expect::AtVersion(version))
    }

    pub fn exists(self, key: impl AsRef<[u8]>) -> Self {
        self.check(key, Expect::Exists(true))
    }

    pub fn absent(self, key: impl AsRef<[u8]>) -> Self {
        self.check(key, Expect::Absent(true))
    }

    fn check(mut self, key: impl AsRef<[u8]>, expect: Expect) -> Self {
        let key = Bytes::copy_from_slice(key.as_ref());
        self.0.checks.push(proto::Check { key, expect: Some(expect) });
        self
    }

    pub fn put(self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Self {
        let value = Bytes::copy_from_slice(value.as_ref());
        self.write(key, Action::Put(proto::Put { value, expires_at_ms: None }))
    }

    pub fn put_until(
        self,
        key: impl AsRef<[u8]>,
        value: impl AsRef<[u8]>,
        expires_at_ms: i64,
    ) -> Self {
        let value = Bytes::copy_from_slice(value.as_ref());
        self.write(key, Action::Put(proto::Put { value, expires_at_ms: Some(expires_at_ms) }))
    }

    pub fn delete(self, key: impl AsRef<[u8]>) -> Self {
        self.write(key, Action::Delete(proto::Delete {}))
    }

    pub fn delete_prefix(self, key: impl AsRef<[u8]>) -> Self {
        self.write(key, Action::DeletePrefix(proto::DeletePrefix {}))
    }

    pub fn add(self, key: impl AsRef<[u8]>, delta: i64) -> Self {
        self.write(key, Action::Add(proto::Add { delta, ..Default::default() }))
    }

    pub fn add_up_to(self, key: impl AsRef<[u8]>, delta: i64, max: i64) -> Self {
        self.write(key, Action::Add(proto::Add { delta, max: Some(max), ..Default::default() }))
    }

    pub fn add_down_to(self, key: impl AsRef<[u8]>, delta: i64, min: i64) -> Self {
        self.write(key, Action::Add(proto::Add { delta, min: Some(min), ..Default::default() }))
    }

    pub fn add_until(self, key: impl AsRef<[u8]>, delta: i64, expires_at_ms: i64) -> Self {
        let expires_at_ms = Some(expires_at_ms);
        self.write(key, Action::Add(proto::Add { delta, expires_at_ms, ..Default::default() }))
    }

    pub fn write(mut self, key: impl AsRef<[u8]>, action: Action) -> Self {
        let key = Bytes::copy_from_slice(key.as_ref());
        self.0.writes.push(proto::Write { key, action: Some(action) });
        self
    }
}

pub fn committed(seq: u64) -> Answer {
    Answer::Committed(proto::Committed { seq })
}

pub fn stale() -> Answer {
    Answer::Stale(proto::Stale {})
}

pub fn scope_gone() -> Answer {
    Answer::ScopeGone(proto::ScopeGone {})
}

pub fn out_of_bounds(key: &str, value: i64) -> Answer {
    Answer::OutOfBounds(proto::OutOfBounds { key: Bytes::copy_from_slice(key.as_bytes()), value })
}
