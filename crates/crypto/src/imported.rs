//! Hashes of passwords that users bring along from elsewhere: bcrypt, scrypt, Argon2, PBKDF2. They are
//! verified, never made: at the first sign-in with the password its own hash takes their place
//! ([`crate::password`]).
//!
//! A hash names its own cost, and whoever imports it chooses that. [`Bounds`] decide what is taken, when
//! it is taken; what has been taken is verified at whatever it costs.

use std::num::NonZeroU32;

use argon2::{Algorithm as ArgonAlgorithm, Argon2, Params as ArgonParams, Version};
use aws_lc_rs::pbkdf2;
use base64::{
    Engine,
    alphabet::BCRYPT,
    engine::{GeneralPurpose, GeneralPurposeConfig, general_purpose::STANDARD_NO_PAD},
};
use zeroize::Zeroizing;

use crate::mac;

/// The longest text of a hash, in bytes.
pub const ENCODED_LEN_MAX: usize = 512;
/// bcrypt looks at this many bytes of a password, the zero behind it included.
const BCRYPT_LEN_MAX: usize = 72;
const SALT_LEN_MIN: usize = 4;
const SALT_LEN_MAX: usize = 64;
/// A shorter one would match other passwords by chance.
const HASH_LEN_MIN: usize = 16;
const HASH_LEN_MAX: usize = 64;

/// How a password was hashed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    /// `$2a$`, `$2b$`, `$2y$`; also `$2x$`, which matches where the password is ASCII.
    Bcrypt,
    /// `N$r$p$salt$hash` in hexadecimal, or `$scrypt$ln=…,r=…,p=…$salt$hash`.
    Scrypt,
    /// `$argon2id$v=…$m=…,t=…,p=…$salt$hash`
    Argon2id,
    /// The same with `argon2i`.
    Argon2i,
    /// The same with `argon2d`.
    Argon2d,
    /// `$pbkdf2-sha1$iterations$salt$hash`, also `$pbkdf2$…` and `i=…,l=…` in the place of a number.
    Pbkdf2Sha1,
    /// The same with `pbkdf2-sha256`.
    Pbkdf2Sha256,
    /// The same with `pbkdf2-sha512`.
    Pbkdf2Sha512,
}

/// What a hash may cost at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    bcrypt_cost: u32,
    scrypt_log_n: u8,
    scrypt_r: u32,
    scrypt_p: u32,
    /// N · r · p: 1 is 128 bytes that are written and read twice.
    scrypt_work: u64,
    argon2_memory_kib: u32,
    argon2_passes: u32,
    argon2_lanes: u32,
    /// Memory in KiB times passes.
    argon2_work: u64,
    /// Iterations times blocks of output.
    pbkdf2_work: u64,
}

impl Bounds {
    /// Cognito's. Source: developer guide, "Importing users with password hashes".
    pub const COGNITO: Self = Self {
        bcrypt_cost: 12,
        scrypt_log_n: 16,
        scrypt_r: 8,
        scrypt_p: 1,
        scrypt_work: 65_536 * 8,
        argon2_memory_kib: 19_456,
        argon2_passes: 2,
        argon2_lanes: 1,
        argon2_work: 19_456 * 2,
        pbkdf2_work: 600_000,
    };
    /// About a second of a core, and 128 MiB: what is in use, and no more. Recommended costs of
    /// today (OWASP Password Storage Cheat Sheet; RFC 9106, section 4) are below.
    pub const WIDE: Self = Self {
        bcrypt_cost: 14,
        scrypt_log_n: 17,
        scrypt_r: 32,
        scrypt_p: 16,
        scrypt_work: 131_072 * 8,
        argon2_memory_kib: 131_072,
        argon2_passes: 16,
        argon2_lanes: 8,
        argon2_work: 131_072 * 4,
        pbkdf2_work: 2_000_000,
    };
}

/// Why a hash is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ImportedError {
    /// None of the formats of [`Algorithm`].
    #[error("the password hash is malformed")]
    Malformed,
    /// Verifying it would cost more than the bounds allow.
    #[error("a parameter of the password hash exceeds its bound")]
    OutOfBounds,
}

/// A hash, taken apart.
pub struct ImportedHash {
    algorithm: Algorithm,
    cost: Cost,
    salt: Vec<u8>,
    hash: Vec<u8>,
}

enum Cost {
    Bcrypt(u32),
    Scrypt { log_n: u8, r: u32, p: u32 },
    Argon2 { version: Version, memory_kib: u32, passes: u32, lanes: u32 },
    Pbkdf2(NonZeroU32),
}

impl ImportedHash {
    /// Reads a hash in any of the formats.
    ///
    /// # Errors
    /// [`ImportedError::Malformed`]; nothing of the text is in it.
    pub fn parse(encoded: &str) -> Result<Self, ImportedError> {
        let parsed = if encoded.len() > ENCODED_LEN_MAX {
            None
        } else if encoded.starts_with("$2") {
            parse_bcrypt(encoded)
        } else if encoded.starts_with("$scrypt$") {
            parse_scrypt(encoded)
        } else if encoded.starts_with("$argon2") {
            parse_argon2(encoded)
        } else if encoded.starts_with("$pbkdf2") {
            parse_pbkdf2(encoded)
        } else {
            parse_plain_scrypt(encoded)
        };
        let parsed = parsed.ok_or(ImportedError::Malformed)?;
        let sizes = (SALT_LEN_MIN..=SALT_LEN_MAX).contains(&parsed.salt.len())
            && (HASH_LEN_MIN..=HASH_LEN_MAX).contains(&parsed.hash.len());
        if sizes { Ok(parsed) } else { Err(ImportedError::Malformed) }
    }

    /// How it was made.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Whether verifying it costs no more than `bounds`.
    ///
    /// # Errors
    /// [`ImportedError::OutOfBounds`].
    pub fn check(&self, bounds: &Bounds) -> Result<(), ImportedError> {
        let within = match self.cost {
            Cost::Bcrypt(cost) => cost <= bounds.bcrypt_cost,
            Cost::Scrypt { log_n, r, p } => {
                log_n <= bounds.scrypt_log_n
                    && r <= bounds.scrypt_r
                    && p <= bounds.scrypt_p
                    && (u64::from(r) * u64::from(p)) << log_n <= bounds.scrypt_work
            }
            Cost::Argon2 { memory_kib, passes, lanes, .. } => {
                memory_kib <= bounds.argon2_memory_kib
                    && passes <= bounds.argon2_passes
                    && lanes <= bounds.argon2_lanes
                    && u64::from(memory_kib) * u64::from(passes) <= bounds.argon2_work
            }
            Cost::Pbkdf2(iterations) => {
                let output = match self.algorithm {
                    Algorithm::Pbkdf2Sha1 => 20,
                    Algorithm::Pbkdf2Sha256 => 32,
                    _ => 64,
                };
                let blocks = self.hash.len().div_ceil(output) as u64;
                u64::from(iterations.get()) * blocks <= bounds.pbkdf2_work
            }
        };
        if within { Ok(()) } else { Err(ImportedError::OutOfBounds) }
    }

    /// Whether it is a hash of `password`; the comparison is constant-time.
    pub fn verify(&self, password: &[u8]) -> bool {
        match self.cost {
            Cost::Bcrypt(cost) => self.verify_bcrypt(cost, password),
            Cost::Scrypt { log_n, r, p } => {
                let Ok(params) = scrypt::Params::new(log_n, r, p) else { return false };
                self.compare(|out| scrypt::scrypt(password, &self.salt, &params, out).is_ok())
            }
            Cost::Argon2 { version, memory_kib, passes, lanes } => {
                let algorithm = match self.algorithm {
                    Algorithm::Argon2i => ArgonAlgorithm::Argon2i,
                    Algorithm::Argon2d => ArgonAlgorithm::Argon2d,
                    _ => ArgonAlgorithm::Argon2id,
                };
                let params = ArgonParams::new(memory_kib, passes, lanes, Some(self.hash.len()));
                let Ok(params) = params else { return false };
                let argon = Argon2::new(algorithm, version, params);
                self.compare(|out| argon.hash_password_into(password, &self.salt, out).is_ok())
            }
            Cost::Pbkdf2(iterations) => {
                let algorithm = match self.algorithm {
                    Algorithm::Pbkdf2Sha1 => pbkdf2::PBKDF2_HMAC_SHA1,
                    Algorithm::Pbkdf2Sha256 => pbkdf2::PBKDF2_HMAC_SHA256,
                    _ => pbkdf2::PBKDF2_HMAC_SHA512,
                };
                pbkdf2::verify(algorithm, iterations, &self.salt, password, &self.hash).is_ok()
            }
        }
    }

    fn verify_bcrypt(&self, cost: u32, password: &[u8]) -> bool {
        let Ok(salt) = <[u8; 16]>::try_from(self.salt.as_slice()) else { return false };
        let mut key = Zeroizing::new(Vec::with_capacity(BCRYPT_LEN_MAX));
        // the zero belongs to it; what is longer than 72 bytes was cut when the hash was made too
        key.extend(password.iter().copied().chain([0]).take(BCRYPT_LEN_MAX));
        let hash = bcrypt::bcrypt(cost, salt, &key);
        hash.get(..self.hash.len()).is_some_and(|hash| mac::ct_eq(hash, &self.hash))
    }

    fn compare(&self, compute: impl FnOnce(&mut [u8]) -> bool) -> bool {
        let mut hash = Zeroizing::new(vec![0; self.hash.len()]);
        compute(&mut hash) && mac::ct_eq(&hash, &self.hash)
    }
}

/// A number as it is written in hashes: neither a sign nor leading zeros.
fn number<N: std::str::FromStr>(text: &str) -> Option<N> {
    let plain = !text.is_empty()
        && text.bytes().all(|byte| byte.is_ascii_digit())
        && (text == "0" || !text.starts_with('0'));
    plain.then(|| text.parse().ok())?
}

/// Base64, with `.` for `+` as some write it, padded or not.
fn decoded(text: &str) -> Option<Vec<u8>> {
    STANDARD_NO_PAD.decode(text.trim_end_matches('=').replace('.', "+")).ok()
}

fn parse_bcrypt(encoded: &str) -> Option<ImportedHash> {
    // bits that are left over in the last character of the salt are anything in old hashes
    const DECODER: GeneralPurpose = GeneralPurpose::new(
        &BCRYPT,
        GeneralPurposeConfig::new()
            .with_encode_padding(false)
            .with_decode_allow_trailing_bits(true)
            .with_decode_padding_mode(base64::engine::DecodePaddingMode::RequireNone),
    );
    let mut fields = encoded.strip_prefix('$')?.split('$');
    let (version, cost, rest) = (fields.next()?, fields.next()?, fields.next()?);
    let is_known = matches!(version, "2a" | "2b" | "2x" | "2y");
    if !is_known || cost.len() != 2 || rest.len() != 53 || fields.next().is_some() {
        return None;
    }
    let cost = number(cost.strip_prefix('0').unwrap_or(cost))?;
    let (salt, hash) = rest.split_at_checked(22)?;
    let (salt, hash) = (DECODER.decode(salt).ok()?, DECODER.decode(hash).ok()?);
    (4..=31).contains(&cost).then_some(ImportedHash {
        algorithm: Algorithm::Bcrypt,
        cost: Cost::Bcrypt(cost),
        salt,
        hash,
    })
}

/// `ln=17,r=8,p=1` and the like: these names, in this order, and no others.
fn parameters<const N: usize>(text: &str, names: [&str; N]) -> Option<[u32; N]> {
    let mut values = [0; N];
    let mut given = text.split(',');
    for (value, name) in values.iter_mut().zip(names) {
        *value = number(given.next()?.strip_prefix(name)?.strip_prefix('=')?)?;
    }
    given.next().is_none().then_some(values)
}

fn scrypt_cost(log_n: u32, r: u32, p: u32) -> Option<Cost> {
    let log_n = u8::try_from(log_n).ok()?;
    // larger ones are out of every bound, and small ones keep the arithmetic within its types
    let sane =
        (1..=32).contains(&log_n) && (1..=1 << 12).contains(&r) && (1..=1 << 12).contains(&p);
    sane.then_some(Cost::Scrypt { log_n, r, p })
}

fn parse_scrypt(encoded: &str) -> Option<ImportedHash> {
    let mut fields = encoded.strip_prefix("$scrypt$")?.split('$');
    let [log_n, r, p] = parameters(fields.next()?, ["ln", "r", "p"])?;
    let (salt, hash) = (decoded(fields.next()?)?, decoded(fields.next()?)?);
    let cost = scrypt_cost(log_n, r, p)?;
    let algorithm = Algorithm::Scrypt;
    fields.next().is_none().then_some(ImportedHash { algorithm, cost, salt, hash })
}

fn parse_plain_scrypt(encoded: &str) -> Option<ImportedHash> {
    let mut fields = encoded.split('$');
    let (n, r, p): (u64, u32, u32) =
        (number(fields.next()?)?, number(fields.next()?)?, number(fields.next()?)?);
    let (salt, hash) = (hex::decode(fields.next()?).ok()?, hex::decode(fields.next()?).ok()?);
    let cost = scrypt_cost(n.is_power_of_two().then(|| n.trailing_zeros())?, r, p)?;
    let algorithm = Algorithm::Scrypt;
    fields.next().is_none().then_some(ImportedHash { algorithm, cost, salt, hash })
}

fn parse_argon2(encoded: &str) -> Option<ImportedHash> {
    let mut fields = encoded.strip_prefix('$')?.split('$');
    let algorithm = match fields.next()? {
        "argon2id" => Algorithm::Argon2id,
        "argon2i" => Algorithm::Argon2i,
        "argon2d" => Algorithm::Argon2d,
        _ => return None,
    };
    let version = match fields.next()? {
        "v=19" => Version::V0x13,
        "v=16" => Version::V0x10,
        _ => return None,
    };
    let [memory_kib, passes, lanes] = parameters(fields.next()?, ["m", "t", "p"])?;
    let (salt, hash) = (decoded(fields.next()?)?, decoded(fields.next()?)?);
    // RFC 9106, section 3.1
    let sane = passes >= 1 && (1..1 << 24).contains(&lanes) && memory_kib / 8 >= lanes;
    let cost = Cost::Argon2 { version, memory_kib, passes, lanes };
    (sane && salt.len() >= 8 && fields.next().is_none()).then_some(ImportedHash {
        algorithm,
        cost,
        salt,
        hash,
    })
}

fn parse_pbkdf2(encoded: &str) -> Option<ImportedHash> {
    let mut fields = encoded.strip_prefix('$')?.split('$');
    let algorithm = match fields.next()? {
        "pbkdf2" | "pbkdf2-sha1" => Algorithm::Pbkdf2Sha1,
        "pbkdf2-sha256" => Algorithm::Pbkdf2Sha256,
        "pbkdf2-sha512" => Algorithm::Pbkdf2Sha512,
        _ => return None,
    };
    let cost = fields.next()?;
    let (salt, hash) = (decoded(fields.next()?)?, decoded(fields.next()?)?);
    let iterations = match parameters(cost, ["i", "l"]) {
        Some([iterations, length]) => {
            (usize::try_from(length) == Ok(hash.len())).then_some(iterations)
        }
        None => match parameters(cost, ["i"]) {
            Some([iterations]) => Some(iterations),
            None => number(cost),
        },
    };
    let cost = Cost::Pbkdf2(NonZeroU32::new(iterations?)?);
    fields.next().is_none().then_some(ImportedHash { algorithm, cost, salt, hash })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWORD: &str = "correct horse – battery";

    /// Made with libxcrypt 4.4, OpenSSL's scrypt and PBKDF2, and the reference implementation of Argon2.
    const KNOWN: [(Algorithm, &str); 14] = [
        (Algorithm::Bcrypt, "$2a$04$......................ZO0zc2eThVrmi74aYrAfbVNRl5rUhJW"),
        (Algorithm::Bcrypt, "$2b$04$......................ZO0zc2eThVrmi74aYrAfbVNRl5rUhJW"),
        (Algorithm::Bcrypt, "$2y$04$......................ZO0zc2eThVrmi74aYrAfbVNRl5rUhJW"),
        (
            Algorithm::Scrypt,
            "$scrypt$ln=10,r=8,p=1$MDEyMzQ1Njc4OWFiY2RlZg$B+cmlD77w4Zgz8PIraRFQgGEp0sGwZYNqIKPVMTTtZw",
        ),
        (
            Algorithm::Scrypt,
            "1024$8$1$30313233343536373839616263646566$07e726943efbc38660cfc3c8ada445420184a74b06c1960da8828f54c4d3b59c",
        ),
        (
            Algorithm::Argon2id,
            "$argon2id$v=19$m=19456,t=2,p=1$MDEyMzQ1Njc4OWFiY2RlZg$7SlCfo9adWc+lLRuZE7uNTwePDqfLfg6e7CdLv8jGSw",
        ),
        (
            Algorithm::Pbkdf2Sha1,
            "$pbkdf2-sha1$1000$MDEyMzQ1Njc4OWFiY2RlZg$4+cngtZGyrmc5pkLc0E6dqWSUjg",
        ),
        (Algorithm::Pbkdf2Sha1, "$pbkdf2$1000$MDEyMzQ1Njc4OWFiY2RlZg$4.cngtZGyrmc5pkLc0E6dqWSUjg"),
        (
            Algorithm::Pbkdf2Sha1,
            "$pbkdf2-sha1$i=1000,l=20$MDEyMzQ1Njc4OWFiY2RlZg$4+cngtZGyrmc5pkLc0E6dqWSUjg",
        ),
        (
            Algorithm::Pbkdf2Sha256,
            "$pbkdf2-sha256$1000$MDEyMzQ1Njc4OWFiY2RlZg$HpQqgiYP4kNpZ2eivQJgyN3ZkEqJ2wHboZPiz2ETQ5I",
        ),
        (
            Algorithm::Pbkdf2Sha256,
            "$pbkdf2-sha256$i=1000,l=32$MDEyMzQ1Njc4OWFiY2RlZg$HpQqgiYP4kNpZ2eivQJgyN3ZkEqJ2wHboZPiz2ETQ5I",
        ),
        (
            Algorithm::Pbkdf2Sha256,
            "$pbkdf2-sha256$i=1000$MDEyMzQ1Njc4OWFiY2RlZg==$HpQqgiYP4kNpZ2eivQJgyN3ZkEqJ2wHboZPiz2ETQ5I=",
        ),
        (
            Algorithm::Pbkdf2Sha512,
            "$pbkdf2-sha512$1000$MDEyMzQ1Njc4OWFiY2RlZg$ykxYClkWSalguKof7L7fnNOv4VoCwCjPG843Qq79lFX6CfKAcasjeCsYkuCXoPbZI0AuRvDDwoT/0jHyLFmUCQ",
        ),
        (
            Algorithm::Pbkdf2Sha512,
            "$pbkdf2-sha512$i=1000,l=64$MDEyMzQ1Njc4OWFiY2RlZg$ykxYClkWSalguKof7L7fnNOv4VoCwCjPG843Qq79lFX6CfKAcasjeCsYkuCXoPbZI0AuRvDDwoT/0jHyLFmUCQ",
        ),
    ];

    fn parse(encoded: &str) -> ImportedHash {
        ImportedHash::parse(encoded).unwrap_or_else(|error| panic!("{encoded}: {error}"))
    }

    #[test]
    fn hashes_of_other_implementations_match_their_password_and_no_other() {
        for (algorithm, encoded) in KNOWN {
            let hash = parse(encoded);
            assert_eq!(hash.algorithm(), algorithm, "{encoded}");
            assert!(hash.verify(PASSWORD.as_bytes()), "{encoded}");
            assert!(!hash.verify(b"correct horse - battery"), "{encoded}");
            assert!(!hash.verify(b""), "{encoded}");
            assert_eq!(hash.check(&Bounds::WIDE), Ok(()), "{encoded}");
            assert_eq!(hash.check(&Bounds::COGNITO), Ok(()), "{encoded}");
        }
    }

    #[test]
    fn the_examples_of_the_developer_guide_are_read() {
        for (algorithm, encoded) in [
            (Algorithm::Bcrypt, "$2b$10$CtA.Rcu/szzn9U00wpUjOuN3vrgJRZycv4aOzcP3GzqzO8UDPEFq6"),
            (
                Algorithm::Scrypt,
                "65536$8$1$304dbaef7c5e828dc19c98f0600d18fe$4f69c498c12cd102d057356facf8d77e8d42407090491ea32c5b038f5a18c099",
            ),
            (
                Algorithm::Argon2id,
                "$argon2id$v=19$m=19456,t=2,p=1$ko/G5o1ms+ML08P95sQ8DA$AkVbvWSOqz7Hs3qthhWKxicOWnGLN+MBmpwc3emi5VA",
            ),
            (
                Algorithm::Pbkdf2Sha256,
                "$pbkdf2-sha256$600000$1XZlmwLQ2hhM3JYuCPiArQ$Pfheg9Zi/v5lXU4yyLA0WFUYEd/rlaVbzrM9oMD6IrA",
            ),
        ] {
            let hash = parse(encoded);
            assert_eq!(hash.algorithm(), algorithm);
            assert_eq!(hash.check(&Bounds::COGNITO), Ok(()));
        }
    }

    #[test]
    fn bcrypt_looks_at_72_bytes() {
        // made with libxcrypt from 72 times x and a y
        let hash = parse("$2b$04$abcdefghijklmnopqrstuubzadhGtS2zEF.gu0yd0opP6cVzb.e0i");
        assert!(hash.verify(&[b"x".repeat(72).as_slice(), b"y"].concat()));
        assert!(hash.verify(&[b"x".repeat(72).as_slice(), b"z"].concat()));
        assert!(!hash.verify(&b"x".repeat(71)));
    }

    #[test]
    fn what_would_burn_the_processor_or_the_memory_is_out_of_bounds() {
        let salt_and_hash = "MDEyMzQ1Njc4OWFiY2RlZg$HpQqgiYP4kNpZ2eivQJgyN3ZkEqJ2wHboZPiz2ETQ5I";
        let of = |start: &str| format!("{start}${salt_and_hash}");
        for (encoded, by_cognito, by_us) in [
            ("$2b$12$......................ZO0zc2eThVrmi74aYrAfbVNRl5rUhJW".to_owned(), true, true),
            (
                "$2b$13$......................ZO0zc2eThVrmi74aYrAfbVNRl5rUhJW".to_owned(),
                false,
                true,
            ),
            (
                "$2b$15$......................ZO0zc2eThVrmi74aYrAfbVNRl5rUhJW".to_owned(),
                false,
                false,
            ),
            (
                "$2b$31$......................ZO0zc2eThVrmi74aYrAfbVNRl5rUhJW".to_owned(),
                false,
                false,
            ),
            (of("$scrypt$ln=16,r=8,p=1"), true, true),
            (of("$scrypt$ln=17,r=8,p=1"), false, true),
            (of("$scrypt$ln=16,r=8,p=2"), false, true),
            (of("$scrypt$ln=17,r=8,p=2"), false, false),
            (of("$scrypt$ln=32,r=8,p=1"), false, false),
            (of("$scrypt$ln=17,r=32,p=1"), false, false),
            (of("$argon2id$v=19$m=19456,t=2,p=1"), true, true),
            (of("$argon2id$v=19$m=19456,t=3,p=1"), false, true),
            (of("$argon2id$v=19$m=65536,t=3,p=4"), false, true),
            (of("$argon2id$v=19$m=131072,t=5,p=1"), false, false),
            (of("$argon2id$v=19$m=4294967295,t=1,p=1"), false, false),
            (of("$argon2id$v=19$m=64,t=4294967295,p=1"), false, false),
            (of("$pbkdf2-sha256$600000"), true, true),
            (of("$pbkdf2-sha256$600001"), false, true),
            (of("$pbkdf2-sha1$1300000"), false, false),
            (of("$pbkdf2-sha256$4294967295"), false, false),
        ] {
            let hash = parse(&encoded);
            assert_eq!(hash.check(&Bounds::COGNITO).is_ok(), by_cognito, "{encoded}");
            assert_eq!(hash.check(&Bounds::WIDE).is_ok(), by_us, "{encoded}");
        }
    }

    #[test]
    fn what_is_not_a_hash_is_refused() {
        let long = "a".repeat(ENCODED_LEN_MAX + 1);
        for encoded in [
            "",
            "password",
            "5f4dcc3b5aa765d61d8327deb882cf99",
            "$2b$04$......................ZO0zc2eThVrmi74aYrAfbVNRl5rUhJ",
            "$2c$04$......................ZO0zc2eThVrmi74aYrAfbVNRl5rUhJW",
            "$2b$03$......................ZO0zc2eThVrmi74aYrAfbVNRl5rUhJW",
            "$2b$32$......................ZO0zc2eThVrmi74aYrAfbVNRl5rUhJW",
            "$2b$4$......................ZO0zc2eThVrmi74aYrAfbVNRl5rUhJW",
            "$2b$04$.....................+ZO0zc2eThVrmi74aYrAfbVNRl5rUhJW",
            "$scrypt$ln=0,r=8,p=1$MDEyMzQ1Njc4OWFiY2RlZg$B+cmlD77w4Zgz8PIraRFQgGEp0sGwZYNqIKPVMTTtZw",
            "$scrypt$r=8,ln=10,p=1$MDEyMzQ1Njc4OWFiY2RlZg$B+cmlD77w4Zgz8PIraRFQgGEp0sGwZYNqIKPVMTTtZw",
            "1000$8$1$30313233343536373839616263646566$07e726943efbc38660cfc3c8ada44542",
            "1024$8$1$30313233343536373839616263646566$07e7",
            "1024$8$1$30313233343536373839616263646566$07e726943efbc38660cfc3c8ada44542$",
            "$argon2id$v=18$m=64,t=2,p=1$MDEyMzQ1Njc4OWFiY2RlZg$HpQqgiYP4kNpZ2eivQJgyN3ZkEqJ2wHboZPiz2ETQ5I",
            "$argon2id$v=19$m=64,t=0,p=1$MDEyMzQ1Njc4OWFiY2RlZg$HpQqgiYP4kNpZ2eivQJgyN3ZkEqJ2wHboZPiz2ETQ5I",
            "$argon2id$v=19$m=8,t=2,p=2$MDEyMzQ1Njc4OWFiY2RlZg$HpQqgiYP4kNpZ2eivQJgyN3ZkEqJ2wHboZPiz2ETQ5I",
            "$argon2id$v=19$m=64,t=2,p=1$MDEy$HpQqgiYP4kNpZ2eivQJgyN3ZkEqJ2wHboZPiz2ETQ5I",
            "$pbkdf2-sha256$0$MDEyMzQ1Njc4OWFiY2RlZg$HpQqgiYP4kNpZ2eivQJgyN3ZkEqJ2wHboZPiz2ETQ5I",
            "$pbkdf2-sha256$i=1000,l=31$MDEyMzQ1Njc4OWFiY2RlZg$HpQqgiYP4kNpZ2eivQJgyN3ZkEqJ2wHboZPiz2ETQ5I",
            "$pbkdf2-md5$1000$MDEyMzQ1Njc4OWFiY2RlZg$HpQqgiYP4kNpZ2eivQJgyN3ZkEqJ2wHboZPiz2ETQ5I",
            "$pbkdf2-sha256$1000$$HpQqgiYP4kNpZ2eivQJgyN3ZkEqJ2wHboZPiz2ETQ5I",
            "$pbkdf2-sha256$1000$MDEyMzQ1Njc4OWFiY2RlZg$HpQq",
            "$2b$04$…………………………………………ZO0zc2eThVrmi74aYrAfbVNRl5rUhJW",
            &long,
        ] {
            assert_eq!(
                ImportedHash::parse(encoded).err(),
                Some(ImportedError::Malformed),
                "{encoded}"
            );
        }
    }
}
