//! Answers for users that do not exist (PreventUserExistenceErrors), as in RFC 5054, section
//! 2.5.1.3: the same name gets the same salt, verifier and subject for ever, at the cost of a real
//! user's.
//!
//! Real users' rows are unsealed instead, which differs by some microseconds; a caller that wants
//! not even that computes the fake values for real users too and drops them.
//!
//! The secret behind it belongs to one pool, never rotates and is part of backups: a change would
//! tell which users are real.

use crate::bignum::{self, Element};
use crate::ids;
use crate::mac;
use crate::secret::Key256;
use crate::srp::{self, SrpError, Verifier};

/// Makes the users that do not exist in one pool.
#[derive(Debug, Clone)]
pub struct FakeUsers {
    key: Key256,
}

impl FakeUsers {
    /// `key` is the pool's secret for this purpose and for nothing else.
    pub fn new(key: Key256) -> Self {
        Self { key }
    }

    /// The salt that SRP shows for `name`. Pass the name in the form in which the pool compares
    /// names.
    pub fn salt(&self, name: &str) -> [u8; srp::SALT_LEN] {
        srp::shape_salt(self.expand("salt", name))
    }

    /// A verifier that no password matches: a random square, as real ones are, whose logarithm
    /// nobody knows.
    ///
    /// # Errors
    /// [`SrpError::Arithmetic`] when memory runs out.
    pub fn verifier(&self, name: &str) -> Result<Verifier, SrpError> {
        let mut bytes: [u8; bignum::LEN] = self.expand("verifier", name);
        if let Some(first) = bytes.first_mut() {
            *first &= 0x7f; // below N, whose top 64 bits are set
        }
        let root = Element::from_bytes(&bytes).ok_or(SrpError::Degenerate)?;
        Ok(Verifier::from_element(bignum::mod_mul(&root, &root)?))
    }

    /// The subject, which SRP shows as USER_ID_FOR_SRP where user names are generated: a version 4
    /// UUID.
    pub fn sub(&self, name: &str) -> String {
        ids::uuid_from_bytes(self.expand("sub", name))
    }

    /// Random bytes that stay the same, for other answers: the challenges on offer, a masked
    /// destination.
    pub fn bytes<const N: usize>(&self, label: &str, name: &str) -> [u8; N] {
        self.expand(&format!("other {label}"), name)
    }

    fn expand<const N: usize>(&self, label: &str, name: &str) -> [u8; N] {
        let framed = mac::frame(&[b"fake user", label.as_bytes(), name.as_bytes()]);
        mac::hkdf_expand(self.key.expose(), &[&framed])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::srp::{ClientPublic, ServerEphemeral};
    use crate::testing::SeededEntropy;

    fn pool(key: u8) -> FakeUsers {
        FakeUsers::new(Key256::new([key; 32]))
    }

    #[test]
    fn a_name_always_gets_the_same_answers() {
        let (a, b) = (pool(1), pool(1));
        assert_eq!(a.salt("nobody"), b.salt("nobody"));
        assert_eq!(a.sub("nobody"), b.sub("nobody"));
        assert_eq!(a.verifier("nobody").unwrap(), b.verifier("nobody").unwrap());
        assert_eq!(a.bytes::<4>("x", "nobody"), b.bytes::<4>("x", "nobody"));
    }

    #[test]
    fn names_and_pools_get_different_answers() {
        assert_ne!(pool(1).salt("nobody"), pool(1).salt("nobody2"));
        assert_ne!(pool(1).salt("nobody"), pool(2).salt("nobody"));
        assert_ne!(pool(1).sub("nobody"), pool(2).sub("nobody"));
        assert_ne!(pool(1).verifier("nobody").unwrap(), pool(2).verifier("nobody").unwrap());
    }

    #[test]
    fn the_answers_to_one_name_are_independent() {
        let (salt, verifier) = (pool(1).salt("nobody"), pool(1).verifier("nobody").unwrap());
        let others: [[u8; 16]; 2] = ["x", "y"].map(|label| pool(1).bytes(label, "nobody"));
        assert_ne!(others[0], others[1]);
        // the last bytes, as the first ones are shaped
        assert_ne!(others[0][1..], salt[1..]);
        assert_ne!(ids::uuid_to_bytes(&pool(1).sub("nobody")).unwrap()[10..], salt[10..]);
        assert!(!verifier.to_bytes().expose().windows(8).any(|w| w == &salt[8..]));
    }

    #[test]
    fn answers_look_like_those_of_real_users() {
        for i in 0..64 {
            let name = format!("user{i}");
            assert_eq!(srp::salt_hex(&pool(1).salt(&name)).len(), 32);
            let sub = pool(1).sub(&name);
            assert_eq!(ids::uuid_to_bytes(&sub).map(ids::uuid_from_bytes), Some(sub));
        }
        let source = SeededEntropy::new(1);
        let real = srp::compute_verifier("pool", "user", b"password", &srp::generate_salt(&source))
            .unwrap();
        let fake = pool(1).verifier("user").unwrap();
        for verifier in [real, fake] {
            let ephemeral = ServerEphemeral::new(&verifier, &source).unwrap();
            assert!((760..=768).contains(&ephemeral.public_hex().len()));
            srp::server_key(&ClientPublic::parse("1234567").unwrap(), &ephemeral, &verifier)
                .unwrap();
        }
    }
}
