//! The source of randomness. Library code takes it as a parameter, so that a test or a simulation
//! can be repeated from its seed.

/// A source of uniformly random bytes.
pub trait Entropy: Send + Sync {
    /// Overwrites `buf` with random bytes.
    fn fill(&self, buf: &mut [u8]);
}

impl<E: Entropy + ?Sized> Entropy for &E {
    fn fill(&self, buf: &mut [u8]) {
        (**self).fill(buf);
    }
}

impl<E: Entropy + ?Sized> Entropy for std::sync::Arc<E> {
    fn fill(&self, buf: &mut [u8]) {
        (**self).fill(buf);
    }
}

/// The operating system's randomness through the generator of aws-lc. Only the composition root
/// makes one.
#[derive(Debug, Default, Clone, Copy)]
pub struct SystemEntropy;

impl Entropy for SystemEntropy {
    fn fill(&self, buf: &mut [u8]) {
        // A process without randomness must not go on: every key and token that it makes would be
        // predictable. No input can cause this.
        if aws_lc_rs::rand::fill(buf).is_err() {
            panic!("the random number generator failed");
        }
    }
}

/// `N` random bytes.
pub fn bytes<const N: usize>(entropy: &dyn Entropy) -> [u8; N] {
    let mut out = [0; N];
    entropy.fill(&mut out);
    out
}

/// A uniformly distributed number below `bound`, without modulo bias. `bound` 0 gives 0.
pub fn below(entropy: &dyn Entropy, bound: u32) -> u32 {
    if bound == 0 {
        return 0;
    }
    // Values at or above the largest multiple of `bound` are drawn again: fewer than half of them,
    // so that the limit is reached with a probability of 2^-128 only.
    let zone = u32::MAX - (u32::MAX % bound + 1) % bound;
    let mut value = 0;
    for _ in 0..128 {
        value = u32::from_be_bytes(bytes(entropy));
        if value <= zone {
            break;
        }
    }
    value % bound
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::SeededEntropy;

    struct Fixed(std::sync::Mutex<Vec<u32>>);

    impl Entropy for Fixed {
        fn fill(&self, buf: &mut [u8]) {
            let next = self.0.lock().unwrap().remove(0);
            buf.copy_from_slice(&next.to_be_bytes());
        }
    }

    #[test]
    fn below_draws_again_what_would_bias_the_result() {
        // 2^32 = 4294 * 1_000_000 + 967_296: the last 967_296 values are surplus.
        let source = Fixed(std::sync::Mutex::new(vec![u32::MAX, 4_294_000_000, 4_293_999_999]));
        assert_eq!(below(&source, 1_000_000), 999_999);
        assert!(source.0.lock().unwrap().is_empty());
    }

    #[test]
    fn below_accepts_every_value_for_a_power_of_two() {
        let source = Fixed(std::sync::Mutex::new(vec![u32::MAX]));
        assert_eq!(below(&source, 1 << 16), 0xffff);
    }

    #[test]
    fn system_entropy_does_not_repeat() {
        assert_ne!(bytes::<32>(&SystemEntropy), bytes::<32>(&SystemEntropy));
    }

    #[test]
    fn below_reaches_every_value_of_a_small_range() {
        let source = SeededEntropy::new(1);
        let mut seen = [0u32; 7];
        for _ in 0..7000 {
            seen[below(&source, 7) as usize] += 1;
        }
        assert!(seen.iter().all(|&n| (800..1200).contains(&n)), "{seen:?}");
    }
}
