//! A seeded bug: reads that are answered from the past, as by a follower or by a leader that has been
//! deposed. What checks histories has to catch it.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::atomic::{AtomicU64, Ordering},
};

use async_trait::async_trait;
use conclave_store::{Store, StoreError, proto};
use parking_lot::Mutex;
use prost::Message;

use crate::dice::Dice;

const REQUESTS_MAX: usize = 256;
const ANSWERS_MAX: usize = 16;

/// Answers some reads as the same read was answered earlier.
pub struct StaleReadStore<S> {
    inner: S,
    dice: Dice,
    stale_per_mille: u32,
    past: Mutex<BTreeMap<Vec<u8>, VecDeque<proto::ReadResult>>>,
    stale: AtomicU64,
}

impl<S: Store> StaleReadStore<S> {
    /// Answers `stale_per_mille` of 1000 reads from the past, where there is one.
    pub fn new(inner: S, seed: u64, stale_per_mille: u32) -> Self {
        Self {
            inner,
            dice: Dice::new(seed, 0x57a1e),
            stale_per_mille,
            past: Mutex::default(),
            stale: AtomicU64::new(0),
        }
    }

    /// How many answers were older than the truth.
    pub fn stale_answers(&self) -> u64 {
        self.stale.load(Ordering::SeqCst)
    }
}

#[async_trait]
impl<S: Store> Store for StaleReadStore<S> {
    async fn read(&self, read: proto::Read) -> Result<proto::ReadResult, StoreError> {
        let request = read.encode_to_vec();
        let truth = self.inner.read(read).await?;
        let mut past = self.past.lock();
        if past.len() >= REQUESTS_MAX && !past.contains_key(&request) {
            return Ok(truth);
        }
        let answers = past.entry(request).or_default();
        let older = usize::try_from(self.dice.below(answers.len() as u64)).unwrap_or(0);
        if self.dice.happens(self.stale_per_mille)
            && let Some(answer) = answers.get(older)
        {
            if answer.rows != truth.rows {
                self.stale.fetch_add(1, Ordering::SeqCst);
            }
            return Ok(answer.clone());
        }
        if answers.len() == ANSWERS_MAX {
            answers.pop_front();
        }
        answers.push_back(truth.clone());
        Ok(truth)
    }

    async fn commit(&self, commit: proto::Commit) -> Result<proto::Outcome, StoreError> {
        self.inner.commit(commit).await
    }
}
