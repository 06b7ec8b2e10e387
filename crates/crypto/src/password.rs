//! Password hashing with Argon2id (RFC 9106). The whole password counts, byte for byte; nothing is
//! normalised or cut.
//!
//! A hash with the default parameters works in 19 MiB. Fresh memory for each call costs 25 to 40 %
//! (page faults), so [`PasswordHasher`] keeps as many buffers as calls may run at once, and that
//! number also bounds its memory.
//!
//! Buffers are not wiped between calls if Argon2id makes two passes or more: the last pass has
//! overwritten every block, so testing a guess against what is left takes all passes but one,
//! hardly less than against the stored hash. With a single pass the first blocks would allow
//! guessing without the memory cost, and the buffer is wiped.

use std::fmt;
use std::sync::{Condvar, Mutex, PoisonError};

use argon2::{Algorithm, Argon2, Block, Params as ArgonParams, Version};
use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use zeroize::{Zeroize, Zeroizing};

use crate::{
    imported::{Bounds, ImportedHash},
    mac,
};

/// Length of a salt, in bytes.
pub const SALT_LEN: usize = 16;
/// Length of a hash, in bytes.
pub const HASH_LEN: usize = 32;
/// The longest password that is hashed, in bytes. Cognito's limit of 256 characters is below.
pub const PASSWORD_LEN_MAX: usize = 4096;

const ENCODED_LEN_MAX: usize = 256;

/// The cost of a hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Params {
    /// Memory, in KiB.
    pub memory_kib: u32,
    /// Passes over the memory.
    pub passes: u32,
    /// Lanes.
    pub lanes: u32,
}

impl Params {
    /// 19 MiB, two passes, one lane: the floor for service (OWASP Password Storage Cheat Sheet).
    pub const DEFAULT: Self = Self { memory_kib: 19_456, passes: 2, lanes: 1 };
    /// The cheapest parameters that Argon2 allows: for tests that sign many users in, never for
    /// service.
    pub const INSECURE_FOR_TESTS: Self = Self { memory_kib: 8, passes: 1, lanes: 1 };
    /// The most that a stored hash may ask for, so that a value from a store or an import cannot
    /// exhaust the process.
    pub const MAX: Self = Self { memory_kib: 131_072, passes: 16, lanes: 8 };

    /// Whether no parameter is below that of `floor`.
    pub fn is_at_least(&self, floor: &Self) -> bool {
        self.memory_kib >= floor.memory_kib
            && self.passes >= floor.passes
            && self.lanes >= floor.lanes
    }

    fn argon(&self) -> Result<Argon2<'static>, PasswordError> {
        let max = &Self::MAX;
        if self.memory_kib > max.memory_kib || self.passes > max.passes || self.lanes > max.lanes {
            return Err(PasswordError::Params);
        }
        let params = ArgonParams::new(self.memory_kib, self.passes, self.lanes, None)
            .map_err(|_| PasswordError::Params)?;
        Ok(Argon2::new(Algorithm::Argon2id, Version::V0x13, params))
    }
}

impl Default for Params {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// Why a password could not be hashed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PasswordError {
    /// Below what Argon2 allows or above [`Params::MAX`].
    #[error("the argon2id parameters are out of range")]
    Params,
    /// Longer than [`PASSWORD_LEN_MAX`].
    #[error("the password is too long")]
    TooLong,
    /// Argon2 refused the input.
    #[error("argon2id failed")]
    Failed,
}

/// Hashes and verifies passwords, at most `max_parallel` at once; further callers wait for a
/// buffer. Callers bound how many of them there are.
pub struct PasswordHasher {
    params: Params,
    argon: Argon2<'static>,
    pool: Mutex<Pool>,
    returned: Condvar,
}

struct Pool {
    /// Buffers that nobody uses; made when first needed.
    buffers: Vec<Box<[Block]>>,
    /// How many more calls may start.
    permits: usize,
}

impl PasswordHasher {
    /// A hasher for new passwords at the given cost; it verifies hashes of any other cost up to
    /// [`Params::MAX`].
    ///
    /// # Errors
    /// [`PasswordError::Params`] if `params` are out of range.
    pub fn new(params: Params, max_parallel: usize) -> Result<Self, PasswordError> {
        let argon = params.argon()?;
        let pool = Pool { buffers: Vec::new(), permits: max_parallel.max(1) };
        Ok(Self { params, argon, pool: Mutex::new(pool), returned: Condvar::new() })
    }

    /// The cost of new hashes.
    pub fn params(&self) -> Params {
        self.params
    }

    /// Hashes a password: 18 ms at the default cost. The result is a PHC string,
    /// `$argon2id$v=19$m=19456,t=2,p=1$<salt>$<hash>`, which carries its parameters.
    ///
    /// # Errors
    /// [`PasswordError::TooLong`] for a password above [`PASSWORD_LEN_MAX`].
    pub fn hash(&self, password: &[u8], salt: &[u8; SALT_LEN]) -> Result<String, PasswordError> {
        let hash = self.run(&self.argon, &self.params, password, salt)?;
        let Params { memory_kib, passes, lanes } = self.params;
        let (salt, hash) = (STANDARD_NO_PAD.encode(salt), STANDARD_NO_PAD.encode(hash.as_slice()));
        Ok(format!("$argon2id$v=19$m={memory_kib},t={passes},p={lanes}${salt}${hash}"))
    }

    /// Whether `encoded` is a hash of `password`, at the cost that `encoded` names; the comparison
    /// is constant-time. A value that is not a hash, or asks for more than [`Params::MAX`], matches
    /// nothing. Hashes that were made elsewhere ([`crate::imported`]) are verified as well: whoever
    /// stored one has checked what it costs.
    pub fn verify(&self, password: &[u8], encoded: &str) -> bool {
        let Some(stored) = Stored::parse(encoded) else {
            return self.verify_imported(password, encoded);
        };
        let hash = if stored.params == self.params {
            self.run(&self.argon, &self.params, password, &stored.salt)
        } else {
            stored
                .params
                .argon()
                .and_then(|argon| self.run(&argon, &stored.params, password, &stored.salt))
        };
        hash.is_ok_and(|hash| mac::ct_eq(hash.as_slice(), &stored.hash))
    }

    fn verify_imported(&self, password: &[u8], encoded: &str) -> bool {
        if password.len() > PASSWORD_LEN_MAX {
            return false;
        }
        let Ok(imported) = ImportedHash::parse(encoded) else { return false };
        // a permit, and no buffer: as many run at once as hashes of our own
        let _lease = self.lease(0);
        imported.check(&Bounds::WIDE).is_ok() && imported.verify(password)
    }

    /// Does the work of [`Self::verify`] at today's cost, for a user that does not exist or has no
    /// password. There is nothing that it could match.
    pub fn dummy_verify(&self, password: &[u8]) {
        let hash = self.run(&self.argon, &self.params, password, b"no such password");
        std::hint::black_box(hash.is_ok_and(|hash| mac::ct_eq(hash.as_slice(), &[0; HASH_LEN])));
    }

    /// Whether a hash should be made again at the next sign-in with the password, because it is not
    /// of today's cost.
    pub fn needs_rehash(&self, encoded: &str) -> bool {
        Stored::parse(encoded).is_none_or(|stored| stored.params != self.params)
    }

    fn run(
        &self,
        argon: &Argon2<'_>,
        params: &Params,
        password: &[u8],
        salt: &[u8],
    ) -> Result<Zeroizing<[u8; HASH_LEN]>, PasswordError> {
        if password.len() > PASSWORD_LEN_MAX {
            return Err(PasswordError::TooLong);
        }
        let blocks = argon.params().block_count();
        let mut lease = self.lease(blocks);
        let mut hash = Zeroizing::new([0; HASH_LEN]);
        let done = argon.hash_password_into_with_memory(
            password,
            salt,
            hash.as_mut_slice(),
            &mut lease.buffer,
        );
        if params.passes < 2 {
            lease.buffer.iter_mut().for_each(Zeroize::zeroize);
        }
        done.map(|()| hash).map_err(|_| PasswordError::Failed)
    }

    /// Waits for a permit and takes a buffer of `blocks` KiB.
    fn lease(&self, blocks: usize) -> Lease<'_> {
        let mut pool = self.pool.lock().unwrap_or_else(PoisonError::into_inner);
        while pool.permits == 0 {
            pool = self.returned.wait(pool).unwrap_or_else(PoisonError::into_inner);
        }
        pool.permits -= 1;
        let buffer =
            if blocks == self.argon.params().block_count() { pool.buffers.pop() } else { None };
        drop(pool);
        // Another cost than today's is rare: such memory is allocated for the call and not kept.
        let buffer = buffer.unwrap_or_else(|| vec![Block::default(); blocks].into_boxed_slice());
        Lease { hasher: self, buffer }
    }
}

/// A buffer on loan; goes back to the pool when dropped, also if the call panics.
struct Lease<'a> {
    hasher: &'a PasswordHasher,
    buffer: Box<[Block]>,
}

impl Drop for Lease<'_> {
    fn drop(&mut self) {
        let buffer = std::mem::take(&mut self.buffer);
        let mut pool = self.hasher.pool.lock().unwrap_or_else(PoisonError::into_inner);
        pool.permits += 1;
        if buffer.len() == self.hasher.argon.params().block_count() {
            pool.buffers.push(buffer);
        }
        drop(pool);
        self.hasher.returned.notify_one();
    }
}

impl fmt::Debug for PasswordHasher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PasswordHasher").field("params", &self.params).finish_non_exhaustive()
    }
}

/// A stored hash, taken apart.
struct Stored {
    params: Params,
    salt: Vec<u8>,
    hash: Vec<u8>,
}

impl Stored {
    fn parse(encoded: &str) -> Option<Self> {
        if encoded.len() > ENCODED_LEN_MAX {
            return None;
        }
        let mut fields = encoded.strip_prefix("$argon2id$v=19$")?.split('$');
        let (cost, salt, hash) = (fields.next()?, fields.next()?, fields.next()?);
        let mut costs = cost.split(',');
        let mut next = |name: &str| {
            let digits = costs.next()?.strip_prefix(name)?;
            // `parse` alone would also take "+2" and "002".
            (digits.bytes().all(|b| b.is_ascii_digit()) && !digits.starts_with('0'))
                .then(|| digits.parse().ok())?
        };
        let params = Params { memory_kib: next("m=")?, passes: next("t=")?, lanes: next("p=")? };
        if costs.next().is_some() || fields.next().is_some() {
            return None;
        }
        let salt = STANDARD_NO_PAD.decode(salt).ok()?;
        let hash = STANDARD_NO_PAD.decode(hash).ok()?;
        ((8..=64).contains(&salt.len()) && hash.len() == HASH_LEN).then_some(Self {
            params,
            salt,
            hash,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SALT: [u8; SALT_LEN] = *b"0123456789abcdef";

    fn cheap() -> PasswordHasher {
        PasswordHasher::new(Params { memory_kib: 64, passes: 2, lanes: 1 }, 2).unwrap()
    }

    #[test]
    fn the_default_cost_gives_the_known_hash() {
        // computed with the reference implementation (argon2-cffi 25.1)
        let hasher = PasswordHasher::new(Params::default(), 1).unwrap();
        let encoded = hasher.hash("correct horse – battery".as_bytes(), &SALT).unwrap();
        assert_eq!(
            encoded,
            "$argon2id$v=19$m=19456,t=2,p=1$MDEyMzQ1Njc4OWFiY2RlZg\
             $7SlCfo9adWc+lLRuZE7uNTwePDqfLfg6e7CdLv8jGSw"
        );
        assert!(hasher.verify("correct horse – battery".as_bytes(), &encoded));
        assert!(!hasher.verify("correct horse – batterx".as_bytes(), &encoded));
    }

    #[test]
    fn the_whole_password_counts() {
        let hasher = cheap();
        let long = vec![b'x'; PASSWORD_LEN_MAX];
        let encoded = hasher.hash(&long, &SALT).unwrap();
        assert!(hasher.verify(&long, &encoded));
        let mut last = long.clone();
        last[PASSWORD_LEN_MAX - 1] = b'y';
        assert!(!hasher.verify(&last, &encoded));
        assert!(!hasher.verify(&long[1..], &encoded));
        let with_nul = hasher.hash(b"a\0b", &SALT).unwrap();
        assert!(!hasher.verify(b"a\0c", &with_nul));
        assert!(!hasher.verify(b"a", &with_nul));
        let spaced = hasher.hash(b" a ", &SALT).unwrap();
        assert!(!hasher.verify(b"a", &spaced));
    }

    #[test]
    fn a_password_beyond_the_limit_is_refused() {
        let hasher = cheap();
        let long = vec![b'x'; PASSWORD_LEN_MAX + 1];
        assert_eq!(hasher.hash(&long, &SALT), Err(PasswordError::TooLong));
        assert!(!hasher.verify(&long, &hasher.hash(b"x", &SALT).unwrap()));
    }

    #[test]
    fn memory_of_one_call_does_not_change_the_next() {
        let hasher =
            PasswordHasher::new(Params { memory_kib: 64, passes: 1, lanes: 1 }, 1).unwrap();
        let first = hasher.hash(b"one", &SALT).unwrap();
        let other = hasher.hash(b"two", &SALT).unwrap();
        assert_eq!(hasher.hash(b"one", &SALT).unwrap(), first);
        assert_ne!(first, other);
    }

    #[test]
    fn memory_is_wiped_where_it_would_make_guessing_cheap() {
        for (passes, wiped) in [(1, true), (2, false)] {
            let params = Params { memory_kib: 64, passes, lanes: 1 };
            let hasher = PasswordHasher::new(params, 1).unwrap();
            hasher.hash(b"password", &SALT).unwrap();
            let pool = hasher.pool.lock().unwrap();
            let mut words = pool.buffers.iter().flat_map(|b| b.iter()).flat_map(|b| b.as_ref());
            assert_eq!(words.all(|&word| word == 0), wiped);
        }
    }

    #[test]
    fn hashes_of_another_cost_are_verified_and_reported() {
        let (old, new) = (
            cheap(),
            PasswordHasher::new(Params { memory_kib: 128, passes: 3, lanes: 2 }, 1).unwrap(),
        );
        let encoded = old.hash(b"password", &SALT).unwrap();
        assert!(new.verify(b"password", &encoded) && !new.verify(b"Password", &encoded));
        assert!(new.needs_rehash(&encoded) && !old.needs_rehash(&encoded));
        assert!(new.needs_rehash("") && new.needs_rehash("$2b$10$abc"));
        assert!(new.verify(b"password", &new.hash(b"password", &SALT).unwrap()));
    }

    #[test]
    fn a_stored_value_cannot_ask_for_gigabytes() {
        let hasher = cheap();
        let encoded = hasher.hash(b"password", &SALT).unwrap();
        for (from, to) in [
            ("m=64", "m=4194304"),
            ("m=64", "m=131073"),
            ("t=2", "t=17"),
            ("p=1", "p=9"),
            ("m=64", "m=99999999999"),
        ] {
            assert!(!hasher.verify(b"password", &encoded.replace(from, to)), "{to}");
        }
        assert_eq!(
            PasswordHasher::new(Params { memory_kib: 1 << 20, ..Params::DEFAULT }, 1).err(),
            Some(PasswordError::Params)
        );
        assert_eq!(
            PasswordHasher::new(Params { passes: 0, ..Params::DEFAULT }, 1).err(),
            Some(PasswordError::Params)
        );
    }

    #[test]
    fn only_the_exact_encoding_is_read() {
        let hasher = cheap();
        let encoded = hasher.hash(b"password", &SALT).unwrap();
        assert!(hasher.verify(b"password", &encoded));
        for (from, to) in [
            ("argon2id", "argon2i"),
            ("v=19", "v=16"),
            ("m=64", "m=064"),
            ("m=64", "m=+64"),
            ("m=64,t=2", "t=2,m=64"),
            ("p=1", "p=1,x=1"),
            ("$argon2id", "argon2id"),
        ] {
            assert!(!hasher.verify(b"password", &encoded.replace(from, to)), "{to}");
        }
        assert!(!hasher.verify(b"password", &encoded[..encoded.len() - 1]));
        assert!(!hasher.verify(b"password", &format!("{encoded}$")));
        assert!(!hasher.verify(b"password", &format!("{encoded}A")));
        assert!(!hasher.verify(b"", ""));
    }

    #[test]
    fn hashes_that_were_made_elsewhere_are_verified_and_have_to_be_made_again() {
        let hasher = cheap();
        let bcrypt = "$2b$04$......................ZO0zc2eThVrmi74aYrAfbVNRl5rUhJW";
        assert!(hasher.verify("correct horse – battery".as_bytes(), bcrypt));
        assert!(!hasher.verify(b"another", bcrypt));
        assert!(!hasher.verify(&[b'x'; PASSWORD_LEN_MAX + 1], bcrypt));
        assert!(hasher.needs_rehash(bcrypt));
        // a permit was taken, and given back
        assert_eq!(hasher.pool.lock().unwrap().permits, 2);
    }

    #[test]
    fn a_user_that_does_not_exist_costs_a_whole_hash() {
        let hasher = cheap();
        hasher.dummy_verify(b"password");
        // the work was done: its memory is in the pool, and was written
        let pool = hasher.pool.lock().unwrap();
        let [buffer] = pool.buffers.as_slice() else { panic!("one buffer") };
        assert!(buffer.iter().all(|block| block.as_ref().iter().any(|&word| word != 0)));
    }

    #[test]
    fn more_callers_than_buffers_all_get_their_turn() {
        let hasher = cheap();
        let expected = hasher.hash(b"password", &SALT).unwrap();
        std::thread::scope(|scope| {
            let threads: Vec<_> =
                (0..8).map(|_| scope.spawn(|| hasher.hash(b"password", &SALT).unwrap())).collect();
            for thread in threads {
                assert_eq!(thread.join().unwrap(), expected);
            }
        });
        let pool = hasher.pool.lock().unwrap();
        assert!(pool.permits == 2 && pool.buffers.len() <= 2);
    }
}
