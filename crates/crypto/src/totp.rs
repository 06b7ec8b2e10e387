//! Time-based one-time passwords (RFC 6238) as authenticator apps compute them: HMAC-SHA1, 30
//! seconds, 6 digits.

use aws_lc_rs::hmac;

use crate::entropy::{self, Entropy};
use crate::mac;
use crate::secret::{Secret, SecretString};

/// Length of a seed, in bytes (RFC 4226, section 4, recommends 160 bits; Cognito's have 256).
pub const SEED_LEN: usize = 32;
/// Length of a step, in seconds.
pub const STEP_S: u64 = 30;

const BASE32: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

/// What the server and the authenticator share. Stored sealed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TotpSeed(Secret<[u8; SEED_LEN]>);

impl TotpSeed {
    /// A new seed.
    pub fn generate(entropy: &dyn Entropy) -> Self {
        Self(Secret::new(entropy::bytes(entropy)))
    }

    /// Reads a stored seed back.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(|bytes| Self(Secret::new(bytes)))
    }

    /// The stored form.
    pub fn as_bytes(&self) -> &[u8; SEED_LEN] {
        self.0.expose()
    }

    /// `SecretCode`: base32 without padding, 52 characters.
    pub fn secret_code(&self) -> SecretString {
        let mut out = String::with_capacity(SEED_LEN * 8 / 5 + 1);
        let (mut buffer, mut bits) = (0u16, 0);
        for byte in self.0.expose() {
            buffer = buffer << 8 | u16::from(*byte);
            bits += 8;
            while bits >= 5 {
                bits -= 5;
                out.push(base32(buffer >> bits));
            }
            buffer &= (1 << bits) - 1;
        }
        if bits > 0 {
            out.push(base32(buffer << (5 - bits)));
        }
        SecretString::new(out)
    }

    /// What an authenticator reads of [`Self::secret_code`].
    pub fn from_secret_code(text: &str) -> Option<Self> {
        let (mut bytes, mut buffer, mut bits) = (Vec::with_capacity(SEED_LEN), 0u16, 0);
        for character in text.bytes() {
            let value = BASE32.iter().position(|digit| *digit == character)?;
            buffer = buffer << 5 | u16::try_from(value).ok()?;
            bits += 5;
            if bits >= 8 {
                bits -= 8;
                bytes.push(u8::try_from(buffer >> bits).ok()?);
                buffer &= (1 << bits) - 1;
            }
        }
        // a whole number of bytes, and no bits that say something else
        if bits < 5 && buffer == 0 { Self::from_bytes(&bytes) } else { None }
    }

    /// The code of a step.
    pub fn code(&self, step: u64) -> String {
        code(self.0.expose(), step)
    }

    /// The step whose code this is, among the current one and `window` on either side (clocks of
    /// phones are off). The caller remembers it and refuses it the next time: a code is good once
    /// (RFC 6238, section 5.2). `window` is cut to 10. Every candidate is computed and compared in
    /// constant time.
    pub fn verify(&self, code: &str, now_s: u64, window: u64) -> Option<u64> {
        let now = now_s / STEP_S;
        let window = window.min(10);
        let mut found = None;
        for step in now.saturating_sub(window)..=now.saturating_add(window) {
            if mac::ct_eq(self.code(step).as_bytes(), code.as_bytes()) {
                found = Some(step);
            }
        }
        found
    }
}

fn base32(value: u16) -> char {
    BASE32.get(usize::from(value & 31)).map_or('A', |&digit| char::from(digit))
}

/// HOTP (RFC 4226, section 5.3).
fn code(seed: &[u8], counter: u64) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, seed);
    let tag = hmac::sign(&key, &counter.to_be_bytes());
    let tag = tag.as_ref();
    let offset = tag.last().map_or(0, |byte| usize::from(byte & 15));
    let word =
        tag.iter().skip(offset).take(4).fold(0u32, |word, &byte| word << 8 | u32::from(byte));
    format!("{:06}", (word & 0x7fff_ffff) % 1_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::SeededEntropy;

    #[test]
    fn codes_are_those_of_the_standard() {
        // RFC 6238, appendix B, cut to six digits
        for (time, expected) in [
            (59, "287082"),
            (1_111_111_109, "081804"),
            (1_111_111_111, "050471"),
            (1_234_567_890, "005924"),
            (2_000_000_000, "279037"),
            (20_000_000_000, "353130"),
        ] {
            assert_eq!(code(b"12345678901234567890", time / STEP_S), expected);
        }
    }

    #[test]
    fn neighbouring_steps_are_accepted_within_the_window() {
        let seed = TotpSeed::generate(&SeededEntropy::new(1));
        let now = 1_700_000_000;
        let step = now / STEP_S;
        for other in step - 3..=step + 3 {
            let expected = other.abs_diff(step) <= 1;
            assert_eq!(seed.verify(&seed.code(other), now, 1), expected.then_some(other));
        }
        assert_eq!(seed.verify(&seed.code(0), 0, 1), Some(0));
    }

    #[test]
    fn a_secret_code_is_read_back() {
        for number in 0..32 {
            let seed = TotpSeed::generate(&SeededEntropy::new(number));
            let code = seed.secret_code();
            assert_eq!(TotpSeed::from_secret_code(code.expose()), Some(seed));
            assert_eq!(TotpSeed::from_secret_code(&code.expose()[1..]), None);
            assert_eq!(TotpSeed::from_secret_code(&format!("{}=", code.expose())), None);
        }
    }

    #[test]
    fn other_texts_are_refused() {
        let seed = TotpSeed::generate(&SeededEntropy::new(1));
        let right = seed.code(100);
        let other = TotpSeed::generate(&SeededEntropy::new(2));
        for wrong in [
            "",
            "000000",
            &right[1..],
            &format!("{right}0"),
            &format!(" {right}"),
            &other.code(100),
        ] {
            assert_eq!(seed.verify(wrong, 3000, 0), None);
        }
    }

    #[test]
    fn the_secret_code_is_base32() {
        // computed with Python's base64.b32encode
        let seed = TotpSeed::from_bytes(b"0123456789abcdef0123456789abcdef").unwrap();
        assert_eq!(
            seed.secret_code().expose(),
            "GAYTEMZUGU3DOOBZMFRGGZDFMYYDCMRTGQ2TMNZYHFQWEY3EMVTA"
        );
        assert!(TotpSeed::from_bytes(&[0; 31]).is_none());
        assert_eq!(format!("{seed:?}"), "TotpSeed(***)");
    }
}
