//! Seeded choices.

use parking_lot::Mutex;
use rand_chacha::ChaCha8Rng;
use rand_core::{RngCore, SeedableRng};

/// A source of choices that repeats itself from its seed. Shared by reference.
pub struct Dice(Mutex<ChaCha8Rng>);

impl Dice {
    /// `stream` tells the users of one seed apart, so that one more choice of one of them does not
    /// change those of the others.
    pub fn new(seed: u64, stream: u64) -> Self {
        let mut generator = ChaCha8Rng::seed_from_u64(seed);
        generator.set_stream(stream);
        Self(Mutex::new(generator))
    }

    /// A number below `bound`; 0 when `bound` is 0.
    pub fn below(&self, bound: u64) -> u64 {
        // the bias is of no account here: bounds are small
        self.0.lock().next_u64().checked_rem(bound).unwrap_or(0)
    }

    /// True in `per_mille` of 1000 cases.
    pub fn happens(&self, per_mille: u32) -> bool {
        self.below(1_000) < u64::from(per_mille)
    }

    /// One of `choices`; `None` when there are none.
    pub fn pick<'a, T>(&self, choices: &'a [T]) -> Option<&'a T> {
        choices.get(usize::try_from(self.below(choices.len() as u64)).ok()?)
    }

    /// 16 bytes, for the id of a commit.
    pub fn id(&self) -> [u8; 16] {
        let mut id = [0; 16];
        self.0.lock().fill_bytes(&mut id);
        id
    }
}
