//! Repeatable randomness for tests, schedules and simulations. Never for anything that has to stay
//! secret.

use std::sync::Mutex;

use crate::entropy::Entropy;
use crate::mac;

/// SHA-256 in counter mode over a seed: the same seed and the same sequence of calls give the same
/// bytes.
#[derive(Debug)]
pub struct SeededEntropy {
    seed: u64,
    stream: Mutex<Stream>,
}

#[derive(Debug, Default)]
struct Stream {
    block: u64,
    left: Vec<u8>,
}

impl SeededEntropy {
    /// A source that is determined by `seed`.
    pub fn new(seed: u64) -> Self {
        Self { seed, stream: Mutex::default() }
    }
}

impl Entropy for SeededEntropy {
    fn fill(&self, buf: &mut [u8]) {
        let mut stream = self.stream.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        for byte in buf {
            if stream.left.is_empty() {
                let seed = self.seed.to_be_bytes();
                stream.left =
                    mac::sha256(&[b"seeded entropy", &seed, &stream.block.to_be_bytes()]).to_vec();
                stream.block += 1;
            }
            *byte = stream.left.pop().unwrap_or(0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entropy::bytes;

    #[test]
    fn one_seed_gives_one_stream() {
        let (a, b, c) = (SeededEntropy::new(7), SeededEntropy::new(7), SeededEntropy::new(8));
        let first: [u8; 100] = bytes(&a);
        assert_eq!(first, bytes::<100>(&b));
        assert_ne!(first, bytes::<100>(&c));
        assert_ne!(first, bytes::<100>(&a));
    }

    #[test]
    fn the_stream_does_not_depend_on_how_it_is_cut() {
        let (a, b) = (SeededEntropy::new(7), SeededEntropy::new(7));
        let whole: [u8; 40] = bytes(&a);
        let cut = [&bytes::<3>(&b)[..], &bytes::<37>(&b)[..]].concat();
        assert_eq!(whole.as_slice(), cut);
    }
}
