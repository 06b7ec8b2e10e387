//! Random histories of one group against the model, on two replicas.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use conclave_store::{
    find_expired, keys,
    memory::MemoryKv,
    proto::{self, check::Expect, entry::Command, write::Action},
    read,
};
use proptest::{prelude::*, sample::Index};
use prost::Message;

use crate::{
    group::START_MS,
    model::{Cell, Model},
};

/// One name begins with another, so that a scope that is not told apart from its neighbour shows.
const SCOPES: [&str; 3] = ["p", "pq", "q"];
/// Prefixes of each other, the empty key, and the highest bytes.
const KEYS: [&[u8]; 10] =
    [keys::ROOT, keys::EPOCH, b"", b"a", b"ab", b"ab\xff", b"ab\xff\xff", b"b", b"c", b"\xff"];

#[derive(Debug, Clone)]
enum Step {
    Create(usize),
    Commit(CommitPlan),
    /// Repeats an earlier commit, byte for byte.
    Retry(Index),
    /// Moves the leader's clock; a new leader's may be behind.
    Advance(i64),
    Sweep {
        limit: usize,
    },
    ForgedSweep(Vec<(usize, usize, Expiry)>),
    Restart,
    LaterVersion,
}

#[derive(Debug, Clone)]
struct CommitPlan {
    scope: usize,
    decided_ago_ms: i64,
    /// Some(0): the present epoch; otherwise off by so much.
    epoch_off: Option<u64>,
    checks: Vec<(usize, CheckPlan)>,
    writes: Vec<(usize, WritePlan)>,
}

#[derive(Debug, Clone)]
enum CheckPlan {
    Current,
    AtVersion(u64),
    Exists,
    Absent,
}

#[derive(Debug, Clone)]
enum WritePlan {
    Put(u8, Expiry),
    PutKey(usize),
    Delete,
    DeletePrefix,
    Add { delta: i64, min: Option<i64>, max: Option<i64>, expiry: Expiry },
}

#[derive(Debug, Clone, Copy)]
enum Expiry {
    Never,
    At(i64),
    In(i64),
}

impl Expiry {
    fn at(self, now_ms: i64) -> Option<i64> {
        match self {
            Self::Never => None,
            Self::At(at_ms) => Some(at_ms),
            Self::In(in_ms) => Some(now_ms + in_ms),
        }
    }
}

fn expiry() -> impl Strategy<Value = Expiry> {
    prop_oneof![
        6 => Just(Expiry::Never),
        1 => prop_oneof![Just(0), Just(1), Just(-7), Just(i64::MIN), Just(i64::MAX)]
            .prop_map(Expiry::At),
        // few different times, so that rows meet their neighbours' expiries
        4 => (-1_i64..4).prop_map(|seconds| Expiry::In(seconds * 1_000)),
    ]
}

fn key() -> impl Strategy<Value = usize> {
    prop_oneof![1 => 0..2_usize, 8 => 2..KEYS.len()]
}

fn check_plan() -> impl Strategy<Value = CheckPlan> {
    prop_oneof![
        8 => Just(CheckPlan::Current),
        1 => (0..40_u64).prop_map(CheckPlan::AtVersion),
        2 => Just(CheckPlan::Exists),
        2 => Just(CheckPlan::Absent),
    ]
}

fn write_plan() -> impl Strategy<Value = WritePlan> {
    let bound = || {
        prop_oneof![
            Just(None),
            (-3_i64..6).prop_map(Some),
            Just(Some(i64::MAX)),
            Just(Some(i64::MIN))
        ]
    };
    let delta = prop_oneof![8 => -3_i64..4, 1 => Just(i64::MAX), 1 => Just(i64::MIN)];
    prop_oneof![
        4 => (any::<u8>(), expiry()).prop_map(|(value, expiry)| WritePlan::Put(value, expiry)),
        1 => key().prop_map(WritePlan::PutKey),
        2 => Just(WritePlan::Delete),
        1 => Just(WritePlan::DeletePrefix),
        4 => (delta, bound(), bound(), expiry())
            .prop_map(|(delta, min, max, expiry)| WritePlan::Add { delta, min, max, expiry }),
    ]
}

fn commit_plan() -> impl Strategy<Value = CommitPlan> {
    let decided_ago_ms = prop_oneof![
        20 => 0_i64..1_000,
        1 => Just(119_999), 1 => Just(120_000), 1 => Just(-60_000), 1 => Just(-60_001),
        1 => -70_000_i64..130_000,
    ];
    let epoch_off =
        prop_oneof![6 => Just(None), 3 => Just(Some(0)), 1 => (1..3_u64).prop_map(Some)];
    (
        0..SCOPES.len(),
        decided_ago_ms,
        epoch_off,
        prop::collection::vec((key(), check_plan()), 0..3),
        // now and then two writes of one key: leaders refuse them, apply must still agree with itself
        prop::collection::vec((key(), write_plan()), 0..5),
    )
        .prop_map(|(scope, decided_ago_ms, epoch_off, checks, writes)| CommitPlan {
            scope,
            decided_ago_ms,
            epoch_off,
            checks,
            writes,
        })
}

fn step() -> impl Strategy<Value = Step> {
    let advance = prop_oneof![
        6 => 0_i64..1_500,
        1 => Just(60_000), 1 => Just(120_000), 1 => Just(-5_000), 1 => 0_i64..400_000,
    ];
    prop_oneof![
        3 => (0..SCOPES.len()).prop_map(Step::Create),
        24 => commit_plan().prop_map(Step::Commit),
        6 => any::<Index>().prop_map(Step::Retry),
        6 => advance.prop_map(Step::Advance),
        3 => prop_oneof![Just(1_usize), Just(3), Just(1_000)].prop_map(|limit| Step::Sweep { limit }),
        1 => prop::collection::vec((0..SCOPES.len(), key(), expiry()), 0..6)
            .prop_map(Step::ForgedSweep),
        1 => Just(Step::Restart),
        1 => Just(Step::LaterVersion),
    ]
}

struct World {
    leader: MemoryKv,
    follower: MemoryKv,
    model: Model,
    now_ms: i64,
    made: Vec<proto::Commit>,
}

impl World {
    fn new() -> Self {
        Self {
            leader: MemoryKv::default(),
            follower: MemoryKv::default(),
            model: Model::default(),
            now_ms: START_MS,
            made: Vec::new(),
        }
    }

    fn take(&mut self, step: Step) -> Result<(), TestCaseError> {
        let command = match step {
            Step::Create(scope) => {
                let writes = vec![(0, WritePlan::Put(0, Expiry::Never))];
                let checks = vec![(0, CheckPlan::Absent)];
                let plan = CommitPlan { scope, decided_ago_ms: 0, epoch_off: None, checks, writes };
                Some(Command::Commit(self.commit(&plan)))
            }
            Step::Commit(plan) => Some(Command::Commit(self.commit(&plan))),
            Step::Retry(index) if !self.made.is_empty() => {
                Some(Command::Commit(index.get(&self.made).clone()))
            }
            Step::Retry(_) => return Ok(()),
            Step::Advance(by_ms) => {
                self.now_ms += by_ms;
                return self.agree();
            }
            Step::Sweep { limit } => {
                let rows = find_expired(&self.leader, self.now_ms, limit).expect("reads");
                Some(Command::Sweep(proto::Sweep { rows }))
            }
            Step::ForgedSweep(rows) => {
                let rows = rows.into_iter().map(|(scope, key, expiry)| proto::SweptRow {
                    scope: SCOPES[scope].to_owned(),
                    key: KEYS[key].into(),
                    expires_at_ms: expiry.at(self.now_ms).unwrap_or(0),
                });
                Some(Command::Sweep(proto::Sweep { rows: rows.collect() }))
            }
            Step::Restart => {
                self.leader =
                    self.leader.rows().iter().map(|(k, v)| (k.clone(), v.clone())).collect();
                return self.agree();
            }
            Step::LaterVersion => None,
        };
        let entry = proto::Entry { stamp_ms: self.now_ms, command, level: 0 };
        let outcome = self.leader.apply(&entry).expect("the memory does not fail");
        // a follower gets the entry as bytes
        let received = proto::Entry::decode(&entry.encode_to_vec()[..]).expect("decodes");
        let of_follower = self.follower.apply(&received).expect("the memory does not fail");
        prop_assert_eq!(&of_follower, &outcome);
        prop_assert_eq!(outcome.result, Some(self.model.apply(&entry)));
        self.agree()
    }

    fn commit(&mut self, plan: &CommitPlan) -> proto::Commit {
        let scope = SCOPES[plan.scope];
        let present = |key: &Bytes| {
            let request = proto::Read {
                scope: scope.to_owned(),
                gets: vec![key.clone()],
                ..Default::default()
            };
            self.model.read(&request, self.now_ms)
        };
        let checks = plan.checks.iter().map(|(key, check)| {
            let key = Bytes::from_static(KEYS[*key]);
            let expect = match check {
                CheckPlan::Current => Expect::AtVersion(present(&key).rows[0].version),
                CheckPlan::AtVersion(version) => Expect::AtVersion(*version),
                CheckPlan::Exists => Expect::Exists(true),
                CheckPlan::Absent => Expect::Absent(true),
            };
            proto::Check { key, expect: Some(expect) }
        });
        let writes = plan.writes.iter().map(|(key, write)| {
            let action = match write {
                WritePlan::Put(value, expiry) => Action::Put(proto::Put {
                    value: vec![*value; usize::from(*value % 10)].into(),
                    expires_at_ms: expiry.at(self.now_ms),
                }),
                WritePlan::PutKey(key) => {
                    Action::Put(proto::Put { value: KEYS[*key].into(), expires_at_ms: None })
                }
                WritePlan::Delete => Action::Delete(proto::Delete {}),
                WritePlan::DeletePrefix => Action::DeletePrefix(proto::DeletePrefix {}),
                WritePlan::Add { delta, min, max, expiry } => Action::Add(proto::Add {
                    delta: *delta,
                    min: *min,
                    max: *max,
                    expires_at_ms: expiry.at(self.now_ms),
                }),
            };
            proto::Write { key: KEYS[*key].into(), action: Some(action) }
        });
        let epoch = present(&Bytes::new()).epoch;
        let commit = proto::Commit {
            id: Bytes::copy_from_slice(&(self.made.len() as u128).to_be_bytes()),
            scope: scope.to_owned(),
            decided_ms: self.now_ms.max(self.model.clock_ms) - plan.decided_ago_ms,
            epoch: plan.epoch_off.map(|off| epoch.wrapping_add(off)),
            checks: checks.collect(),
            writes: writes.collect(),
        };
        self.made.push(commit.clone());
        commit
    }

    /// The replicas hold the same bytes, the model's rows, and an expiry for each row that has one;
    /// and they answer reads as the model does.
    fn agree(&self) -> Result<(), TestCaseError> {
        prop_assert_eq!(self.leader.rows(), self.follower.rows());

        let mut stored = BTreeMap::new();
        for scope in SCOPES {
            let base = keys::row(scope, b"");
            for (key, value) in self.leader.rows().range(base.clone()..) {
                let Some(key) = key.strip_prefix(&base[..]) else { break };
                let row = proto::StoredRow::decode(&value[..]).expect("a row");
                stored.insert((scope, Bytes::copy_from_slice(key)), row);
            }
        }
        let as_stored = |cell: &Cell| proto::StoredRow {
            version: cell.version,
            expires_at_ms: cell.expires_at_ms.map_or(0, |at| at.max(1)),
            value: cell.value.clone(),
        };
        let expected: BTreeMap<_, _> = SCOPES
            .iter()
            .filter_map(|scope| Some((scope, self.model.scopes.get(*scope)?)))
            .flat_map(|(scope, rows)| {
                rows.iter().map(|(key, cell)| ((*scope, key.clone()), as_stored(cell)))
            })
            .collect();
        prop_assert_eq!(&stored, &expected);

        let index: BTreeSet<_> = find_expired(&self.leader, i64::MAX, usize::MAX)
            .expect("reads")
            .into_iter()
            .map(|row| (row.scope, row.key, row.expires_at_ms))
            .collect();
        for ((scope, key), row) in &stored {
            if row.expires_at_ms != 0 {
                prop_assert!(index.contains(&(
                    (*scope).to_owned(),
                    key.clone(),
                    row.expires_at_ms
                )));
            }
        }

        for scope in SCOPES {
            let scan = |prefix: &'static [u8], after: &'static [u8], limit| proto::Scan {
                prefix: prefix.into(),
                after: after.into(),
                limit,
            };
            let hop = |before: &'static [u8], after: &'static [u8], prefix_limit| proto::Hop {
                before: before.into(),
                after: after.into(),
                prefix_limit,
            };
            let hops = vec![hop(b"", b"", 0), hop(b"", b"", 2), hop(b"a", b"\xff", 9)];
            let request = proto::Read {
                scope: scope.to_owned(),
                gets: KEYS.map(Bytes::from_static).to_vec(),
                follows: [&b"a"[..], b"b", b"c"]
                    .map(|index| proto::Follow { index: index.into(), hops: hops.clone() })
                    .to_vec(),
                scans: vec![
                    scan(b"", b"", 100),
                    scan(b"", b"ab", 3),
                    scan(b"ab", b"a", 2),
                    scan(b"\xff", b"", 1),
                ],
            };
            let answer = read(&self.leader, &request, self.now_ms).expect("reads");
            prop_assert_eq!(answer, self.model.read(&request, self.now_ms));
        }
        Ok(())
    }

    /// After a sweep without a limit nothing is left of what has expired, and of the ids only those
    /// that a commit could still repeat.
    fn settle(&mut self) -> Result<(), TestCaseError> {
        self.now_ms = self.now_ms.max(self.model.clock_ms);
        self.take(Step::Sweep { limit: usize::MAX })?;
        prop_assert_eq!(find_expired(&self.leader, self.now_ms, 10).expect("reads"), vec![]);
        let lives = |cell: &Cell| cell.expires_at_ms.is_none_or(|at| at > self.now_ms);
        prop_assert!(self.model.scopes.values().flat_map(BTreeMap::values).all(lives));

        self.now_ms += 300_000;
        self.take(Step::LaterVersion)?;
        self.take(Step::Sweep { limit: usize::MAX })?;
        let rows: usize = self.model.scopes.values().map(BTreeMap::len).sum();
        let index = find_expired(&self.leader, i64::MAX, usize::MAX).expect("reads").len();
        // the group's own state is the one row besides
        prop_assert_eq!(self.leader.rows().len(), rows + index + 1);
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 384, ..ProptestConfig::default() })]

    #[test]
    fn replicas_agree_with_each_other_and_with_the_model(
        steps in prop::collection::vec(step(), 1..60),
    ) {
        let mut world = World::new();
        world.take(Step::Create(0))?;
        world.take(Step::Create(1))?;
        for step in steps {
            world.take(step)?;
        }
        world.settle()?;
    }
}
