//! Envelope encryption: KEK -> cluster key -> pool key, by version -> key by purpose -> key by
//! message.
//!
//! **Cipher.** AES-256-GCM. Under one key, random 96-bit nonces are safe for 2^32 messages only,
//! and a busy pool seals more sessions than that. So every message has a key and nonce of its own,
//! expanded (HKDF-SHA256) from the purpose's key and a random salt of 192 bits: salts repeat after
//! some 2^96 messages. The cost is two HMACs, a few microseconds.
//!
//! **Format** of a sealed value, at least 45 bytes: format (1 byte, 1) | key version (4 bytes,
//! big-endian) | salt (24) | ciphertext | tag (16). What precedes the salt is authenticated too.
//!
//! **Associated data** is a list of fields, each with its length, so that fields cannot slide into
//! each other. Give the row's whole identity: pool, kind, key, field. A value that is moved
//! elsewhere does not open.
//!
//! **Versions.** Records open under any version that the keyring knows; what clients hold
//! (sessions, page tokens, OAuth state, cookies) only under the previous one and later.
//!
//! Some secrets must never change, and so do not come from a keyring: those behind
//! [`Purpose::Attempts`], [`Purpose::FakeUser`] and [`Purpose::IdHint`]. They are random keys of
//! their own, stored wrapped; use [`purpose_key`].

use std::collections::BTreeMap;
use std::fmt;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use zeroize::Zeroize;

pub use kek::{KekError, KekProvider, StaticKek, WrappedByKek};

use crate::encoding;
use crate::entropy::{self, Entropy};
use crate::mac;
use crate::secret::{Key256, SecretBytes};

mod kek;

/// The longest value that is sealed, in bytes: more than a whole commit may hold.
pub const PLAINTEXT_LEN_MAX: usize = 1 << 20;
/// By how much a sealed value is longer than its content, in bytes.
pub const OVERHEAD: usize = HEADER_LEN + SALT_LEN + TAG_LEN;
/// The most key versions that a keyring holds.
pub const VERSIONS_MAX: usize = 256;

const FORMAT: u8 = 1;
const HEADER_LEN: usize = 5;
const SALT_LEN: usize = 24;
const TAG_LEN: usize = 16;

/// What a key is used for. A value sealed for one purpose does not open for another. The labels are
/// part of the stored format: never change or reuse one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Purpose {
    /// Values in the store.
    Record,
    /// Challenge sessions (`Session`, `SECRET_BLOCK`).
    Session,
    /// `PaginationToken`, `NextToken`.
    PageToken,
    /// State of an authorization that is under way, at an identity provider or in the managed
    /// login.
    OauthState,
    /// Cookies of the managed login, and its form tokens.
    Cookie,
    /// `FeedbackToken`, in messages about risky sign-ins.
    FeedbackToken,
    /// HMAC of confirmation codes.
    CodeHmac,
    /// Keys of the attempt records of unknown users.
    Attempts,
    /// Users that do not exist.
    FakeUser,
    /// Hints in pool ids and client ids.
    IdHint,
    /// Keys stored under another key.
    KeyWrap,
}

impl Purpose {
    const ALL: [Self; 11] = [
        Self::Record,
        Self::Session,
        Self::PageToken,
        Self::OauthState,
        Self::Cookie,
        Self::FeedbackToken,
        Self::CodeHmac,
        Self::Attempts,
        Self::FakeUser,
        Self::IdHint,
        Self::KeyWrap,
    ];

    const fn label(self) -> &'static str {
        match self {
            Self::Record => "record",
            Self::Session => "session",
            Self::PageToken => "page token",
            Self::OauthState => "oauth state",
            Self::Cookie => "cookie",
            Self::FeedbackToken => "feedback token",
            Self::CodeHmac => "code hmac",
            Self::Attempts => "attempts",
            Self::FakeUser => "fake user",
            Self::IdHint => "id hint",
            Self::KeyWrap => "key wrap",
        }
    }

    /// Whether values of long-gone key versions still open.
    const fn opens_under_any_version(self) -> bool {
        match self {
            Self::Session
            | Self::PageToken
            | Self::OauthState
            | Self::Cookie
            | Self::FeedbackToken => false,
            Self::Record
            | Self::CodeHmac
            | Self::Attempts
            | Self::FakeUser
            | Self::IdHint
            | Self::KeyWrap => true,
        }
    }
}

/// The key for one purpose under `root`; for secrets that never rotate.
pub fn purpose_key(root: &Key256, purpose: Purpose) -> Key256 {
    mac::derive_key(root, "purpose", &[purpose.label().as_bytes()])
}

/// Why a value could not be sealed or opened. Clients never learn which.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// A keyring without its current version, or with too many.
    #[error("the keyring is not consistent")]
    Keyring,
    /// Longer than [`PLAINTEXT_LEN_MAX`].
    #[error("the value is too large to be sealed")]
    TooLarge,
    /// Too short, or of an unknown format.
    #[error("the sealed value is malformed")]
    Malformed,
    /// Sealed under a key version that this keyring does not know: perhaps a newer one, so fetch
    /// the keys again.
    #[error("the key version {0} is not known")]
    UnknownVersion(u32),
    /// Sealed for a client under a key version that has been rotated out.
    #[error("the key version {0} is no longer accepted")]
    RetiredVersion(u32),
    /// Altered, or sealed for another purpose or row.
    #[error("the sealed value is not authentic")]
    NotAuthentic,
}

/// The versions of one key, and which of them seals.
#[derive(Clone)]
pub struct Keyring {
    current: u32,
    previous: u32,
    versions: BTreeMap<u32, Version>,
}

#[derive(Clone)]
struct Version {
    /// In the order of [`Purpose::ALL`].
    keys: Vec<(Purpose, Key256)>,
}

impl Version {
    fn new(root: &Key256) -> Self {
        Self { keys: Purpose::ALL.map(|purpose| (purpose, purpose_key(root, purpose))).into() }
    }

    fn key(&self, purpose: Purpose) -> Result<&Key256, SealError> {
        self.keys.iter().find(|(p, _)| *p == purpose).map(|(_, key)| key).ok_or(SealError::Keyring)
    }
}

impl Keyring {
    /// A keyring that seals under version `current`. A version above `current` is published but not
    /// yet active.
    ///
    /// # Errors
    /// [`SealError::Keyring`] if `current` is not among the versions or there are more than
    /// [`VERSIONS_MAX`].
    pub fn new(
        current: u32,
        versions: impl IntoIterator<Item = (u32, Key256)>,
    ) -> Result<Self, SealError> {
        let versions: BTreeMap<_, _> = versions
            .into_iter()
            .take(VERSIONS_MAX + 1)
            .map(|(version, root)| (version, Version::new(&root)))
            .collect();
        if versions.len() > VERSIONS_MAX || !versions.contains_key(&current) {
            return Err(SealError::Keyring);
        }
        let previous =
            versions.range(..current).next_back().map_or(current, |(version, _)| *version);
        Ok(Self { current, previous, versions })
    }

    /// The version that seals.
    pub fn current(&self) -> u32 {
        self.current
    }

    /// Every version that it knows, in their order.
    pub fn versions(&self) -> impl Iterator<Item = u32> {
        self.versions.keys().copied()
    }

    /// Seals `plaintext`. `aad` says where the value belongs; opening it takes the same.
    ///
    /// # Errors
    /// [`SealError::TooLarge`].
    pub fn seal(
        &self,
        purpose: Purpose,
        aad: &[&[u8]],
        plaintext: &[u8],
        entropy: &dyn Entropy,
    ) -> Result<Vec<u8>, SealError> {
        let [a, b, c, d] = self.current.to_be_bytes();
        encrypt(self.key(purpose, self.current)?, &[FORMAT, a, b, c, d], aad, plaintext, entropy)
    }

    /// Opens what [`Self::seal`] has made for the same purpose and `aad`.
    ///
    /// # Errors
    /// Every other [`SealError`].
    pub fn open(
        &self,
        purpose: Purpose,
        aad: &[&[u8]],
        sealed: &[u8],
    ) -> Result<SecretBytes, SealError> {
        let version = sealed_version(sealed).ok_or(SealError::Malformed)?;
        if version < self.previous && !purpose.opens_under_any_version() {
            return Err(SealError::RetiredVersion(version));
        }
        decrypt::<HEADER_LEN>(self.key(purpose, version)?, aad, sealed)
    }

    /// [`Self::seal`] as text for a client: base64url.
    ///
    /// # Errors
    /// [`SealError::TooLarge`].
    pub fn seal_token(
        &self,
        purpose: Purpose,
        aad: &[&[u8]],
        plaintext: &[u8],
        entropy: &dyn Entropy,
    ) -> Result<String, SealError> {
        self.seal(purpose, aad, plaintext, entropy).map(encoding::base64url)
    }

    /// Opens what [`Self::seal_token`] has made.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn open_token(
        &self,
        purpose: Purpose,
        aad: &[&[u8]],
        token: &str,
    ) -> Result<SecretBytes, SealError> {
        if token.len() > (PLAINTEXT_LEN_MAX + OVERHEAD) * 4 / 3 + 4 {
            return Err(SealError::TooLarge);
        }
        self.open(purpose, aad, &encoding::base64url_decode(token).ok_or(SealError::Malformed)?)
    }

    /// Seals a key of a lower level; `scope` says whose key it is and which version.
    ///
    /// # Errors
    /// As [`Self::seal`].
    pub fn wrap_key(
        &self,
        scope: &[&[u8]],
        key: &Key256,
        entropy: &dyn Entropy,
    ) -> Result<Vec<u8>, SealError> {
        self.seal(Purpose::KeyWrap, scope, key.expose(), entropy)
    }

    /// Opens what [`Self::wrap_key`] has made.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn unwrap_key(&self, scope: &[&[u8]], wrapped: &[u8]) -> Result<Key256, SealError> {
        key_from(&self.open(Purpose::KeyWrap, scope, wrapped)?).ok_or(SealError::Malformed)
    }

    /// A MAC over `fields` under the current version, which it carries: 36 bytes.
    ///
    /// # Errors
    /// [`SealError::Keyring`], which a keyring that could be made does not give.
    pub fn mac(&self, purpose: Purpose, fields: &[&[u8]]) -> Result<Vec<u8>, SealError> {
        let key = self.key(purpose, self.current)?;
        Ok([self.current.to_be_bytes().as_slice(), &tag(key, fields)].concat())
    }

    /// Whether `given` is a MAC over `fields` by [`Self::mac`], under any version that the purpose
    /// accepts.
    pub fn verify_mac(&self, purpose: Purpose, fields: &[&[u8]], given: &[u8]) -> bool {
        let Some((version, given)) = given.split_first_chunk() else { return false };
        let version = u32::from_be_bytes(*version);
        if version < self.previous && !purpose.opens_under_any_version() {
            return false;
        }
        self.key(purpose, version).is_ok_and(|key| mac::ct_eq(&tag(key, fields), given))
    }

    fn key(&self, purpose: Purpose, version: u32) -> Result<&Key256, SealError> {
        self.versions.get(&version).ok_or(SealError::UnknownVersion(version))?.key(purpose)
    }
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let known: Vec<_> = self.versions.keys().collect();
        f.debug_struct("Keyring").field("current", &self.current).field("known", &known).finish()
    }
}

/// The key version of a sealed value, for finding what still has to be sealed again. `None` if it
/// is malformed.
pub fn sealed_version(sealed: &[u8]) -> Option<u32> {
    match sealed.split_first_chunk() {
        Some((&[FORMAT, a, b, c, d], rest)) if rest.len() >= SALT_LEN + TAG_LEN => {
            Some(u32::from_be_bytes([a, b, c, d]))
        }
        _ => None,
    }
}

/// A fresh random key.
pub fn generate_key(entropy: &dyn Entropy) -> Key256 {
    Key256::new(entropy::bytes(entropy))
}

/// Reads a 256-bit key as an operator writes it: 64 hexadecimal digits or standard base64; white
/// space around it is ignored, as files end with a new line.
pub fn parse_key(text: &str) -> Option<Key256> {
    let text = text.trim();
    let bytes =
        if text.len() == 64 { hex::decode(text).ok() } else { encoding::base64_decode(text) };
    key_from(&SecretBytes::new(bytes?))
}

fn key_from(bytes: &SecretBytes) -> Option<Key256> {
    bytes.expose().as_slice().try_into().ok().map(Key256::new)
}

fn tag(key: &Key256, fields: &[&[u8]]) -> [u8; 32] {
    mac::hmac_sha256(key.expose(), &[&mac::frame(fields)])
}

/// `header` | salt | ciphertext | tag.
fn encrypt(
    key: &Key256,
    header: &[u8],
    aad: &[&[u8]],
    plaintext: &[u8],
    entropy: &dyn Entropy,
) -> Result<Vec<u8>, SealError> {
    if plaintext.len() > PLAINTEXT_LEN_MAX {
        return Err(SealError::TooLarge);
    }
    let salt: [u8; SALT_LEN] = entropy::bytes(entropy);
    let (cipher, nonce) = message_key(key, &salt)?;
    let mut out = Vec::with_capacity(header.len() + SALT_LEN + plaintext.len() + TAG_LEN);
    out.extend_from_slice(header);
    out.extend_from_slice(&salt);
    out.extend_from_slice(plaintext);
    let (_, text) =
        out.split_at_mut_checked(header.len() + SALT_LEN).ok_or(SealError::Malformed)?;
    let tag = cipher
        .seal_in_place_separate_tag(nonce, Aad::from(associated(header, aad)), text)
        .map_err(|_| SealError::TooLarge)?;
    out.extend_from_slice(tag.as_ref());
    Ok(out)
}

/// The inverse of [`encrypt`] for a header of `HEADER` bytes.
fn decrypt<const HEADER: usize>(
    key: &Key256,
    aad: &[&[u8]],
    sealed: &[u8],
) -> Result<SecretBytes, SealError> {
    let (header, rest) = sealed.split_first_chunk::<HEADER>().ok_or(SealError::Malformed)?;
    let (salt, text) = rest.split_first_chunk::<SALT_LEN>().ok_or(SealError::Malformed)?;
    if text.len() > PLAINTEXT_LEN_MAX + TAG_LEN {
        return Err(SealError::TooLarge);
    }
    let (cipher, nonce) = message_key(key, salt)?;
    let mut buffer = text.to_vec();
    match cipher.open_in_place(nonce, Aad::from(associated(header, aad)), &mut buffer) {
        Ok(plaintext) => {
            let len = plaintext.len();
            buffer.truncate(len);
            Ok(SecretBytes::new(buffer))
        }
        Err(_) => Err(SealError::NotAuthentic),
    }
}

fn associated(header: &[u8], aad: &[&[u8]]) -> Vec<u8> {
    let fields: Vec<&[u8]> = std::iter::once(header).chain(aad.iter().copied()).collect();
    mac::frame(&fields)
}

fn message_key(key: &Key256, salt: &[u8; SALT_LEN]) -> Result<(LessSafeKey, Nonce), SealError> {
    let mut material: [u8; 44] = mac::hkdf_expand(key.expose(), &[b"message", salt]);
    let (cipher, nonce) = material.split_at(32);
    let cipher = UnboundKey::new(&AES_256_GCM, cipher).map(LessSafeKey::new);
    let nonce = Nonce::try_assume_unique_for_key(nonce);
    material.zeroize();
    cipher.and_then(|cipher| Ok((cipher, nonce?))).map_err(|_| SealError::Keyring)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::SeededEntropy;
    use proptest::prelude::*;

    fn key(byte: u8) -> Key256 {
        Key256::new([byte; 32])
    }

    fn ring(current: u32, versions: &[u32]) -> Keyring {
        Keyring::new(current, versions.iter().map(|&v| (v, key(v as u8)))).unwrap()
    }

    fn seal(ring: &Keyring, purpose: Purpose, aad: &[&[u8]]) -> Vec<u8> {
        ring.seal(purpose, aad, b"content", &SeededEntropy::new(1)).unwrap()
    }

    #[test]
    fn what_was_sealed_opens() {
        let ring = ring(1, &[1]);
        let sealed = seal(&ring, Purpose::Record, &[b"pool", b"row"]);
        assert_eq!(sealed.len(), b"content".len() + OVERHEAD);
        assert!(!sealed.windows(7).any(|w| w == b"content"));
        assert_eq!(
            ring.open(Purpose::Record, &[b"pool", b"row"], &sealed).unwrap().expose(),
            b"content"
        );
    }

    #[test]
    fn the_stored_format_does_not_change() {
        let sealed = seal(&ring(1, &[1]), Purpose::Record, &[b"pool", b"row"]);
        assert_eq!(
            hex::encode(sealed),
            "010000000181dff07584624822f49283e80b74ccdf6dca00bc7a757497393702\
             c41d5eb2675699fd578e80ec6568bb9fc8ffaf4a"
        );
    }

    #[test]
    fn two_seals_of_one_value_differ() {
        let (ring, entropy) = (ring(1, &[1]), SeededEntropy::new(1));
        let a = ring.seal(Purpose::Record, &[], b"content", &entropy).unwrap();
        assert_ne!(a, ring.seal(Purpose::Record, &[], b"content", &entropy).unwrap());
    }

    #[test]
    fn a_value_opens_only_where_it_belongs() {
        let ring = ring(1, &[1]);
        let sealed = seal(&ring, Purpose::Record, &[b"pool", b"row"]);
        for other in [
            &[b"pool".as_slice(), b"row2"][..],
            &[b"poolrow"],
            &[b"poolr", b"ow"],
            &[b"pool", b"row", b""],
            &[],
        ] {
            assert_eq!(ring.open(Purpose::Record, other, &sealed), Err(SealError::NotAuthentic));
        }
    }

    #[test]
    fn a_value_opens_only_for_its_purpose() {
        let ring = ring(1, &[1]);
        for from in Purpose::ALL {
            let sealed = seal(&ring, from, &[b"x"]);
            for to in Purpose::ALL {
                assert_eq!(ring.open(to, &[b"x"], &sealed).is_ok(), from == to, "{from:?} {to:?}");
            }
        }
    }

    #[test]
    fn an_altered_value_does_not_open() {
        let ring = ring(1, &[0, 1, 257]);
        let sealed = seal(&ring, Purpose::Record, &[b"x"]);
        for position in 0..sealed.len() {
            for bit in 0..8 {
                let mut altered = sealed.clone();
                altered[position] ^= 1 << bit;
                assert!(ring.open(Purpose::Record, &[b"x"], &altered).is_err(), "{position} {bit}");
            }
        }
        for len in 0..sealed.len() {
            assert!(ring.open(Purpose::Record, &[b"x"], &sealed[..len]).is_err(), "{len}");
        }
        assert!(ring.open(Purpose::Record, &[b"x"], &[&sealed[..], &[0]].concat()).is_err());
    }

    #[test]
    fn records_open_under_every_known_version() {
        let old = seal(&ring(1, &[1]), Purpose::Record, &[]);
        assert_eq!(sealed_version(&old), Some(1));
        assert!(ring(9, &[1, 4, 9]).open(Purpose::Record, &[], &old).is_ok());
        assert_eq!(
            ring(9, &[4, 9]).open(Purpose::Record, &[], &old),
            Err(SealError::UnknownVersion(1))
        );
    }

    #[test]
    fn what_clients_hold_opens_under_the_current_and_the_previous_version() {
        for purpose in [Purpose::Session, Purpose::PageToken, Purpose::OauthState, Purpose::Cookie]
        {
            let sealed = seal(&ring(4, &[4]), purpose, &[]);
            assert!(ring(4, &[1, 4]).open(purpose, &[], &sealed).is_ok());
            assert!(ring(9, &[1, 4, 9]).open(purpose, &[], &sealed).is_ok());
            assert_eq!(
                ring(12, &[4, 9, 12]).open(purpose, &[], &sealed),
                Err(SealError::RetiredVersion(4))
            );
            // a gateway that knows the next key, which another one has activated already
            assert!(ring(1, &[1, 4]).open(purpose, &[], &sealed).is_ok());
        }
    }

    #[test]
    fn another_key_of_the_same_version_opens_nothing() {
        let sealed = seal(&ring(1, &[1]), Purpose::Record, &[]);
        let other = Keyring::new(1, [(1, key(99))]).unwrap();
        assert_eq!(other.open(Purpose::Record, &[], &sealed), Err(SealError::NotAuthentic));
    }

    #[test]
    fn a_keyring_must_have_its_current_version() {
        assert_eq!(Keyring::new(2, [(1, key(1))]).err(), Some(SealError::Keyring));
        assert_eq!(Keyring::new(0, []).err(), Some(SealError::Keyring));
        let many = (0..=VERSIONS_MAX as u32).map(|v| (v, key(1)));
        assert_eq!(Keyring::new(0, many).err(), Some(SealError::Keyring));
    }

    #[test]
    fn tokens_are_url_safe_and_strict() {
        let (ring, entropy) = (ring(1, &[1]), SeededEntropy::new(1));
        let token = ring.seal_token(Purpose::PageToken, &[b"x"], &[0xff; 100], &entropy).unwrap();
        assert!(token.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_'));
        assert_eq!(
            ring.open_token(Purpose::PageToken, &[b"x"], &token).unwrap().expose(),
            &[0xff; 100]
        );
        for other in [
            format!("{token}="),
            format!(" {token}"),
            format!("{token}A"),
            token[1..].to_owned(),
            String::new(),
        ] {
            assert!(ring.open_token(Purpose::PageToken, &[b"x"], &other).is_err());
        }
    }

    #[test]
    fn too_large_values_are_refused() {
        let ring = ring(1, &[1]);
        let large = vec![0; PLAINTEXT_LEN_MAX + 1];
        let entropy = SeededEntropy::new(1);
        assert_eq!(ring.seal(Purpose::Record, &[], &large, &entropy), Err(SealError::TooLarge));
        let whole = ring.seal(Purpose::Record, &[], &large[1..], &entropy).unwrap();
        assert_eq!(
            ring.open(Purpose::Record, &[], &whole).unwrap().expose().len(),
            PLAINTEXT_LEN_MAX
        );
        assert_eq!(
            ring.open(Purpose::Record, &[], &[whole, vec![0]].concat()),
            Err(SealError::TooLarge)
        );
    }

    #[test]
    fn keys_are_wrapped_for_a_scope() {
        let (cluster, entropy) = (ring(3, &[3]), SeededEntropy::new(1));
        let wrapped = cluster.wrap_key(&[b"pool a", b"1"], &key(7), &entropy).unwrap();
        assert_eq!(cluster.unwrap_key(&[b"pool a", b"1"], &wrapped).unwrap(), key(7));
        assert_eq!(cluster.unwrap_key(&[b"pool b", b"1"], &wrapped), Err(SealError::NotAuthentic));
        let short = cluster.seal(Purpose::KeyWrap, &[], &[1; 31], &entropy).unwrap();
        assert_eq!(cluster.unwrap_key(&[], &short), Err(SealError::Malformed));
    }

    #[test]
    fn macs_carry_their_version() {
        let old = ring(1, &[1]);
        let given = old.mac(Purpose::CodeHmac, &[b"user", b"123456"]).unwrap();
        for ring in [&old, &ring(2, &[1, 2]), &ring(9, &[1, 2, 9])] {
            assert!(ring.verify_mac(Purpose::CodeHmac, &[b"user", b"123456"], &given));
        }
        assert!(!old.verify_mac(Purpose::CodeHmac, &[b"user", b"123457"], &given));
        assert!(!old.verify_mac(Purpose::CodeHmac, &[b"user1", b"23456"], &given));
        assert!(!old.verify_mac(Purpose::Session, &[b"user", b"123456"], &given));
        assert!(!old.verify_mac(Purpose::CodeHmac, &[b"user", b"123456"], &given[..35]));
        assert!(!old.verify_mac(Purpose::CodeHmac, &[b"user", b"123456"], &[]));
        assert!(!ring(2, &[2]).verify_mac(Purpose::CodeHmac, &[b"user", b"123456"], &given));
        let state = old.mac(Purpose::Cookie, &[b"x"]).unwrap();
        assert!(!ring(9, &[1, 2, 9]).verify_mac(Purpose::Cookie, &[b"x"], &state));
    }

    #[test]
    fn the_kek_wraps_the_cluster_key() {
        let (kek, entropy) = (StaticKek::new(key(1), vec![]), SeededEntropy::new(1));
        let wrapped = kek.wrap(&[b"cluster", b"1"], &key(7), &entropy).unwrap();
        assert_eq!(kek.unwrap(&[b"cluster", b"1"], &wrapped).unwrap(), key(7));
        assert_eq!(kek.unwrap(&[b"cluster", b"2"], &wrapped), Err(KekError::NotAuthentic));
        for position in 0..wrapped.len() {
            let mut altered = wrapped.clone();
            altered[position] ^= 1;
            assert!(kek.unwrap(&[b"cluster", b"1"], &altered).is_err());
            assert!(kek.unwrap(&[b"cluster", b"1"], &wrapped[..position]).is_err());
        }
    }

    #[test]
    fn a_kek_is_rotated_by_wrapping_again() {
        let entropy = SeededEntropy::new(1);
        let old = StaticKek::new(key(1), vec![]);
        let both = StaticKek::new(key(2), vec![key(1)]);
        let new = StaticKek::new(key(2), vec![]);
        let wrapped = old.wrap(&[b"c"], &key(7), &entropy).unwrap();
        assert_eq!(new.unwrap(&[b"c"], &wrapped), Err(KekError::UnknownKek(old.key_id())));
        let again = both.wrap(&[b"c"], &both.unwrap(&[b"c"], &wrapped).unwrap(), &entropy).unwrap();
        assert_eq!(new.unwrap(&[b"c"], &again).unwrap(), key(7));
    }

    #[test]
    fn operators_write_keys_in_hex_or_base64() {
        assert_eq!(parse_key(&format!(" {}\n", "ab".repeat(32))).unwrap(), key(0xab));
        assert_eq!(parse_key(&encoding::base64([0xab; 32])).unwrap(), key(0xab));
        for wrong in ["", "ab", &"ab".repeat(31), &"zz".repeat(32), &encoding::base64([1; 33])] {
            assert!(parse_key(wrong).is_none(), "{wrong}");
        }
    }

    #[test]
    fn debug_shows_no_keys() {
        assert_eq!(format!("{:?}", ring(2, &[1, 2])), "Keyring { current: 2, known: [1, 2] }");
        assert!(!format!("{:?}", StaticKek::new(key(0xab), vec![])).contains("abab"));
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_open(bytes: Vec<u8>) {
            prop_assert!(ring(1, &[0, 1]).open(Purpose::Session, &[], &bytes).is_err());
            let valid_start = [&[FORMAT, 0, 0, 0, 1], bytes.as_slice()].concat();
            prop_assert!(ring(1, &[0, 1]).open(Purpose::Session, &[], &valid_start).is_err());
        }
    }
}
