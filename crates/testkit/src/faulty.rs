//! A store behind a network that loses requests and replies, delays them, and delivers commits twice
//! or long after their sender has given up.

use std::collections::VecDeque;

use async_trait::async_trait;
use conclave_store::{Store, StoreError, proto};
use parking_lot::Mutex;

use crate::{dice::Dice, schedule::turns};

/// How often what goes wrong, in 1000 requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Faults {
    /// The request is lost. A commit's sender cannot tell this from a lost reply.
    pub request_lost: u32,
    /// The request is done, and its reply is lost.
    pub reply_lost: u32,
    /// The sender of a commit gives up, and the commit arrives later.
    pub commit_late: u32,
    /// A commit arrives now and again later.
    pub commit_twice: u32,
    /// How many turns of the others a request and a reply take at most.
    pub delay_turns_max: u64,
    /// How many requests of others come before a late commit at most.
    pub late_requests_max: u64,
}

impl Faults {
    /// A network that works.
    pub const NONE: Self = Self {
        request_lost: 0,
        reply_lost: 0,
        commit_late: 0,
        commit_twice: 0,
        delay_turns_max: 0,
        late_requests_max: 0,
    };

    /// Everything goes wrong now and then, and commits get through in a few tries.
    pub const SOME: Self = Self {
        request_lost: 50,
        reply_lost: 100,
        commit_late: 100,
        commit_twice: 100,
        delay_turns_max: 6,
        late_requests_max: 30,
    };
}

/// How often what went wrong: a run in which the faults did not bite shows nothing.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Bites {
    /// Requests that never arrived.
    pub requests_lost: u64,
    /// Replies that never arrived.
    pub replies_lost: u64,
    /// Commits that arrived after their sender had given up or had its answer.
    pub commits_late: u64,
}

impl std::ops::AddAssign for Bites {
    fn add_assign(&mut self, other: Self) {
        self.requests_lost += other.requests_lost;
        self.replies_lost += other.replies_lost;
        self.commits_late += other.commits_late;
    }
}

/// See the module. Deterministic by its seed, under a [`schedule`](crate::schedule) of the same seed.
pub struct FaultyStore<S> {
    inner: S,
    dice: Dice,
    network: Mutex<Network>,
}

struct Network {
    faults: Faults,
    requests: u64,
    /// Commits on their way, with the number of requests that come first.
    late: VecDeque<(u64, proto::Commit)>,
    bites: Bites,
}

/// More than this are lost.
const LATE_MAX: usize = 1_024;

impl<S: Store> FaultyStore<S> {
    /// `inner` behind a network with `faults`.
    pub fn new(inner: S, seed: u64, faults: Faults) -> Self {
        let network =
            Network { faults, requests: 0, late: VecDeque::new(), bites: Bites::default() };
        Self { inner, dice: Dice::new(seed, 0xfa017), network: Mutex::new(network) }
    }

    /// The store behind the network.
    pub fn inner(&self) -> &S {
        &self.inner
    }

    /// What has gone wrong so far.
    pub fn bites(&self) -> Bites {
        self.network.lock().bites
    }

    /// Ends all faults, and delivers what is still on its way.
    pub async fn heal(&self) {
        let late = {
            let mut network = self.network.lock();
            network.faults = Faults::NONE;
            network.bites.commits_late += network.late.len() as u64;
            std::mem::take(&mut network.late)
        };
        for (_, commit) in late {
            // nobody waits for the answer
            let _ = self.inner.commit(commit).await;
        }
    }

    /// Counts a request and delivers what is due before it.
    async fn arrive(&self) -> Faults {
        let (faults, due) = {
            let mut network = self.network.lock();
            network.requests += 1;
            let requests = network.requests;
            let all = std::mem::take(&mut network.late);
            let (due, late): (VecDeque<_>, VecDeque<_>) =
                all.into_iter().partition(|(after, _)| *after <= requests);
            network.late = late;
            network.bites.commits_late += due.len() as u64;
            (network.faults, due)
        };
        for (_, commit) in due {
            let _ = self.inner.commit(commit).await;
        }
        faults
    }

    async fn delay(&self, faults: &Faults) {
        turns(self.dice.below(faults.delay_turns_max + 1)).await;
    }

    fn send_late(&self, faults: &Faults, commit: proto::Commit) {
        let after = 1 + self.dice.below(faults.late_requests_max);
        let mut network = self.network.lock();
        if network.late.len() < LATE_MAX {
            let after = network.requests + after;
            network.late.push_back((after, commit));
        }
    }
}

#[async_trait]
impl<S: Store> Store for FaultyStore<S> {
    async fn read(&self, read: proto::Read) -> Result<proto::ReadResult, StoreError> {
        let faults = self.arrive().await;
        self.delay(&faults).await;
        let lost = || StoreError::Unavailable { detail: "the network lost a message".to_owned() };
        if self.dice.happens(faults.request_lost) {
            self.network.lock().bites.requests_lost += 1;
            return Err(lost());
        }
        let result = self.inner.read(read).await;
        self.delay(&faults).await;
        if self.dice.happens(faults.reply_lost) {
            self.network.lock().bites.replies_lost += 1;
            return Err(lost());
        }
        result
    }

    async fn commit(&self, commit: proto::Commit) -> Result<proto::Outcome, StoreError> {
        let faults = self.arrive().await;
        self.delay(&faults).await;
        let unknown = || StoreError::Unknown { detail: "the network lost a message".to_owned() };
        if self.dice.happens(faults.request_lost) {
            self.network.lock().bites.requests_lost += 1;
            return Err(unknown());
        }
        if self.dice.happens(faults.commit_late) {
            self.send_late(&faults, commit);
            return Err(unknown());
        }
        if self.dice.happens(faults.commit_twice) {
            self.send_late(&faults, commit.clone());
        }
        let outcome = self.inner.commit(commit).await;
        self.delay(&faults).await;
        if self.dice.happens(faults.reply_lost) {
            self.network.lock().bites.replies_lost += 1;
            return Err(unknown());
        }
        outcome
    }
}
