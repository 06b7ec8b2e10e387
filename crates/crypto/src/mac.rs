//! SHA-256, HMAC-SHA256, HKDF-SHA256 and comparison in constant time, and the `SECRET_HASH` of
//! Cognito's clients.

use aws_lc_rs::{constant_time, digest, hmac};
use zeroize::Zeroize;

use crate::encoding;
use crate::secret::Key256;

/// SHA-256 over the concatenation of `parts`. Fields of variable length need [`frame`].
pub fn sha256(parts: &[&[u8]]) -> [u8; 32] {
    let mut context = digest::Context::new(&digest::SHA256);
    for part in parts {
        context.update(part);
    }
    array(context.finish().as_ref())
}

/// SHA-1 of `data`, for lists that others have made with it. It keeps nothing apart that somebody wants to be the same.
pub fn sha1_of_lists(data: &[u8]) -> [u8; 20] {
    let digest = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, data);
    let mut out = [0; 20];
    out.copy_from_slice(digest.as_ref());
    out
}

/// SHA-256 over what comes a piece at a time.
#[derive(Clone)]
pub struct Sha256(digest::Context);

impl Default for Sha256 {
    fn default() -> Self {
        Self(digest::Context::new(&digest::SHA256))
    }
}

impl Sha256 {
    /// Takes more.
    pub fn update(&mut self, data: &[u8]) {
        self.0.update(data);
    }

    /// The digest of all that has come.
    pub fn finish(self) -> [u8; 32] {
        array(self.0.finish().as_ref())
    }
}

/// HMAC-SHA256 over the concatenation of `parts`. Fields of variable length need [`frame`].
pub fn hmac_sha256(key: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    let key = hmac::Key::new(hmac::HMAC_SHA256, key);
    let mut context = hmac::Context::with_key(&key);
    for part in parts {
        context.update(part);
    }
    array(context.sign().as_ref())
}

/// HKDF-Extract (RFC 5869, section 2.2).
pub fn hkdf_extract(salt: &[u8], ikm: &[u8]) -> [u8; 32] {
    hmac_sha256(salt, &[ikm])
}

/// HKDF-Expand (RFC 5869, section 2.3); `info` is the concatenation of its parts. `N` above 8160
/// does not compile.
pub fn hkdf_expand<const N: usize>(prk: &[u8], info: &[&[u8]]) -> [u8; N] {
    const { assert!(N <= 255 * 32, "HKDF-Expand gives at most 8160 bytes") };
    let mut out = [0; N];
    let mut block: [u8; 32] = [0; 32];
    for (chunk, counter) in out.chunks_mut(32).zip(1u8..=255) {
        let previous: &[u8] = if counter == 1 { &[] } else { &block };
        let parts: Vec<&[u8]> = [previous]
            .into_iter()
            .chain(info.iter().copied())
            .chain([std::slice::from_ref(&counter)])
            .collect();
        block = hmac_sha256(prk, &parts);
        for (to, from) in chunk.iter_mut().zip(block) {
            *to = from;
        }
    }
    block.zeroize();
    out
}

/// A key for one use, derived from `root` by HKDF-Expand. `root` must be uniformly random.
pub fn derive_key(root: &Key256, label: &str, fields: &[&[u8]]) -> Key256 {
    let framed = frame(fields);
    Key256::new(hkdf_expand(root.expose(), &[label.as_bytes(), &[0], &framed]))
}

/// Joins fields so that no two different lists give the same bytes: the number of fields, then each
/// with its length.
pub fn frame(fields: &[&[u8]]) -> Vec<u8> {
    let mut out = Vec::with_capacity(4 + fields.iter().map(|f| f.len() + 8).sum::<usize>());
    out.extend_from_slice(&(fields.len() as u32).to_be_bytes());
    for field in fields {
        out.extend_from_slice(&(field.len() as u64).to_be_bytes());
        out.extend_from_slice(field);
    }
    out
}

/// Compares in constant time; values of different length differ at once.
pub fn ct_eq(a: &[u8], b: &[u8]) -> bool {
    constant_time::verify_slices_are_equal(a, b).is_ok()
}

/// The `SECRET_HASH` that a client with a secret sends: base64 of the HMAC-SHA256, under the client
/// secret, of user name and client id.
///
/// <https://docs.aws.amazon.com/cognito/latest/developerguide/signing-up-users-in-your-app.html>
pub fn secret_hash(client_secret: &str, username: &str, client_id: &str) -> String {
    encoding::base64(hmac_sha256(
        client_secret.as_bytes(),
        &[username.as_bytes(), client_id.as_bytes()],
    ))
}

/// Whether `given` is the `SECRET_HASH` of these values; constant time.
pub fn verify_secret_hash(
    client_secret: &str,
    username: &str,
    client_id: &str,
    given: &str,
) -> bool {
    ct_eq(secret_hash(client_secret, username, client_id).as_bytes(), given.as_bytes())
}

fn array(digest: &[u8]) -> [u8; 32] {
    let mut out = [0; 32];
    for (to, from) in out.iter_mut().zip(digest) {
        *to = *from;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn sha256_is_the_standard_one() {
        // FIPS 180-2, appendix B.1
        let expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(hex::encode(sha256(&[b"abc"])), expected);
        assert_eq!(hex::encode(sha256(&[b"a", b"", b"bc"])), expected);
    }

    #[test]
    fn sha1_is_the_standard_one() {
        // FIPS 180-2, appendix A.1
        let expected = "a9993e364706816aba3e25717850c26c9cd0d89d";
        assert_eq!(hex::encode(sha1_of_lists(b"abc")), expected);
    }

    #[test]
    fn hmac_is_the_standard_one() {
        // RFC 4231, test case 2
        let expected = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";
        assert_eq!(
            hex::encode(hmac_sha256(b"Jefe", &[b"what do ya want ", b"for nothing?"])),
            expected
        );
    }

    #[test]
    fn hkdf_is_the_standard_one() {
        // RFC 5869, test case 1
        let prk = hkdf_extract(&hex::decode("000102030405060708090a0b0c").unwrap(), &[0x0b; 22]);
        assert_eq!(
            hex::encode(prk),
            "077709362c2e32df0ddc3f0dc47bba6390b6c73bb50f9c3122ec844ad7c2b3e5"
        );
        let info = hex::decode("f0f1f2f3f4f5f6f7f8f9").unwrap();
        let okm: [u8; 42] = hkdf_expand(&prk, &[&info[..3], &info[3..]]);
        assert_eq!(
            hex::encode(okm),
            "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865"
        );
    }

    #[test]
    fn secret_hash_is_what_clients_compute() {
        // computed with Python's hmac module
        let hash = secret_hash("s3cr3t", "alice", "1example23456789");
        assert_eq!(hash, "IMpPuFOEIbgZyOCkK5ZvTY2hXdhUUff9Wz0ungvQbF8=");
        assert!(verify_secret_hash("s3cr3t", "alice", "1example23456789", &hash));
    }

    #[test]
    fn secret_hash_of_something_else_is_refused() {
        let hash = secret_hash("s3cr3t", "alice", "client");
        assert!(!verify_secret_hash("s3cr3t", "bob", "client", &hash));
        assert!(!verify_secret_hash("s3cr3t", "alice", "other", &hash));
        assert!(!verify_secret_hash("other", "alice", "client", &hash));
        assert!(!verify_secret_hash("s3cr3t", "alice", "client", &hash[..hash.len() - 1]));
        assert!(!verify_secret_hash("s3cr3t", "alice", "client", ""));
    }

    #[test]
    fn derived_keys_differ_by_label_and_fields() {
        let root = Key256::new([1; 32]);
        let base = derive_key(&root, "a", &[b"x", b"y"]);
        assert_eq!(base, derive_key(&root, "a", &[b"x", b"y"]));
        assert_ne!(base, derive_key(&root, "b", &[b"x", b"y"]));
        assert_ne!(base, derive_key(&root, "a", &[b"xy", b""]));
        assert_ne!(base, derive_key(&Key256::new([2; 32]), "a", &[b"x", b"y"]));
    }

    proptest! {
        #[test]
        fn framing_is_injective(a: Vec<Vec<u8>>, b: Vec<Vec<u8>>) {
            fn slices(v: &[Vec<u8>]) -> Vec<&[u8]> { v.iter().map(Vec::as_slice).collect() }
            prop_assert_eq!(a == b, frame(&slices(&a)) == frame(&slices(&b)));
        }
    }
}
