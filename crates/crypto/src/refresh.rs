//! Refresh tokens: 256 random bits, and in front of them what finds the session's record with one
//! read.
//!
//! The text is base64url of: format (1 byte, 1) | length of the pool id (1) | pool id | sub (16) |
//! origin_jti (16) | random (32). It is opaque to clients and secret as a whole. Nothing in it
//! authorises anything: the record holds the hash of the current token, and a token whose hash
//! differs is refused, whatever it says in front.
//!
//! Rotation replaces the second half of the random part and keeps the first, the *family*: so a token
//! that was replaced long ago is told from one that never was, without a list of all that there were.

use std::fmt;

use zeroize::Zeroizing;

use crate::encoding;
use crate::entropy::{self, Entropy};
use crate::ids;
use crate::mac;
use crate::secret::{Key256, SecretString};

/// The longest token, in characters.
pub const TOKEN_LEN_MAX: usize = (FIXED_LEN + ids::POOL_ID_LEN_MAX) * 4 / 3 + 1;

/// Length of the salt of a rotation, in bytes.
pub const SALT_LEN: usize = 32;

const FORMAT: u8 = 1;
/// Half of the random part: 128 bits each for the family and for the token.
const FAMILY_LEN: usize = 16;
const FIXED_LEN: usize = 2 + 16 + 16 + 32;

/// What a refresh token says.
#[derive(Clone, PartialEq, Eq)]
pub struct RefreshToken {
    /// The pool that issued it.
    pub pool_id: String,
    /// The user.
    pub sub: String,
    /// The sign-in that it belongs to.
    pub origin_jti: String,
    random: Key256,
}

impl RefreshToken {
    /// A new token of a session. `None` if the pool id is empty or too long, or `sub` or
    /// `origin_jti` is not a UUID in lower case.
    pub fn new(pool_id: &str, sub: &str, origin_jti: &str, entropy: &dyn Entropy) -> Option<Self> {
        let token = Self {
            pool_id: pool_id.to_owned(),
            sub: sub.to_owned(),
            origin_jti: origin_jti.to_owned(),
            random: Key256::new(entropy::bytes(entropy)),
        };
        token.to_bytes().map(|_| token)
    }

    /// The text for the client.
    pub fn encode(&self) -> SecretString {
        SecretString::new(
            self.to_bytes().map(|bytes| encoding::base64url(bytes.as_slice())).unwrap_or_default(),
        )
    }

    /// Reads a token that [`Self::encode`] has written. Anything shortened, extended or written in
    /// another way is `None`.
    pub fn parse(text: &str) -> Option<Self> {
        if text.len() > TOKEN_LEN_MAX {
            return None;
        }
        let bytes = Zeroizing::new(encoding::base64url_decode(text)?);
        let (&[FORMAT, pool_len], rest) = bytes.split_first_chunk()? else { return None };
        let (pool_id, rest) = rest.split_at_checked(usize::from(pool_len))?;
        let (sub, rest) = rest.split_first_chunk()?;
        let (origin_jti, random) = rest.split_first_chunk()?;
        let valid = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
        if pool_id.is_empty() || pool_id.len() > ids::POOL_ID_LEN_MAX || !pool_id.iter().all(valid)
        {
            return None;
        }
        Some(Self {
            pool_id: String::from_utf8(pool_id.to_vec()).ok()?,
            sub: ids::hyphenated(*sub),
            origin_jti: ids::hyphenated(*origin_jti),
            random: Key256::new(random.try_into().ok()?),
        })
    }

    /// What the record stores. It covers the whole token.
    pub fn hash(&self) -> [u8; 32] {
        let bytes = self.to_bytes().unwrap_or_default();
        mac::sha256(&[b"refresh token\0", &bytes])
    }

    /// Whether the record's hash is that of this token; constant time.
    pub fn matches(&self, stored_hash: &[u8]) -> bool {
        mac::ct_eq(&self.hash(), stored_hash)
    }

    /// The token that replaces this one. Whoever has this token and the `salt`, which the record keeps,
    /// gets the same one: a client that repeats a rotation is answered as the first time. Neither of the
    /// two alone tells anything of it.
    #[must_use]
    pub fn rotated(&self, salt: &[u8; SALT_LEN]) -> Self {
        let bytes = self.to_bytes().unwrap_or_default();
        let fresh = Zeroizing::new(mac::hmac_sha256(salt, &[b"refresh token rotation\0", &bytes]));
        let mut random = Zeroizing::new(*self.random.expose());
        random[FAMILY_LEN..].copy_from_slice(&fresh[FAMILY_LEN..]);
        Self { random: Key256::new(*random), ..self.clone() }
    }

    /// What the record stores of the family. It covers all that rotation keeps.
    pub fn family_hash(&self) -> [u8; 32] {
        let bytes = self.to_bytes().unwrap_or_default();
        let kept = bytes.len().saturating_sub(FAMILY_LEN);
        mac::sha256(&[b"refresh token family\0", bytes.get(..kept).unwrap_or_default()])
    }

    /// Whether this token has been, or is, one of the family whose hash the record stores; constant
    /// time.
    pub fn is_of_family(&self, stored_hash: &[u8]) -> bool {
        mac::ct_eq(&self.family_hash(), stored_hash)
    }

    fn to_bytes(&self) -> Option<Zeroizing<Vec<u8>>> {
        let pool_len = u8::try_from(self.pool_id.len()).ok()?;
        if pool_len == 0 || self.pool_id.len() > ids::POOL_ID_LEN_MAX {
            return None;
        }
        let (sub, jti) = (ids::uuid_to_bytes(&self.sub)?, ids::uuid_to_bytes(&self.origin_jti)?);
        let parts =
            [&[FORMAT, pool_len], self.pool_id.as_bytes(), &sub, &jti, self.random.expose()];
        Some(Zeroizing::new(parts.concat()))
    }
}

impl fmt::Debug for RefreshToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RefreshToken")
            .field("pool_id", &self.pool_id)
            .field("sub", &self.sub)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::SeededEntropy;
    use proptest::prelude::*;

    const POOL: &str = "us-east-1_AbCdEfGhI";
    const SUB: &str = "01234567-89ab-4def-8123-456789abcdef";
    const JTI: &str = "fedcba98-7654-1210-0edc-ba9876543210";

    fn token() -> RefreshToken {
        RefreshToken::new(POOL, SUB, JTI, &SeededEntropy::new(1)).unwrap()
    }

    #[test]
    fn a_token_finds_its_session() {
        let text = token().encode();
        let read = RefreshToken::parse(text.expose()).unwrap();
        assert_eq!(
            (read.pool_id.as_str(), read.sub.as_str(), read.origin_jti.as_str()),
            (POOL, SUB, JTI)
        );
        assert_eq!(read, token());
        assert!(read.matches(&token().hash()));
        assert!(
            text.expose().bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
        );
    }

    #[test]
    fn every_token_is_new() {
        let source = SeededEntropy::new(1);
        let (a, b) = (
            RefreshToken::new(POOL, SUB, JTI, &source).unwrap(),
            RefreshToken::new(POOL, SUB, JTI, &source).unwrap(),
        );
        assert_ne!(a.encode(), b.encode());
        assert!(!a.matches(&b.hash()));
    }

    #[test]
    fn shortened_and_extended_tokens_are_refused() {
        let text = token().encode();
        let text = text.expose();
        for len in 0..text.len() {
            assert!(RefreshToken::parse(&text[..len]).is_none(), "{len}");
        }
        for more in ["A", "AA", "AAA", "AAAA", "=", "==", " ", "\n"] {
            assert!(RefreshToken::parse(&format!("{text}{more}")).is_none(), "{more:?}");
            assert!(RefreshToken::parse(&format!("{more}{text}")).is_none(), "{more:?}");
        }
    }

    #[test]
    fn an_altered_token_does_not_match() {
        let stored = token().hash();
        let text = token().encode().expose().clone();
        for position in 0..text.len() {
            for other in [b'A', b'B', b'_'] {
                let mut altered = text.clone().into_bytes();
                if altered[position] == other {
                    continue;
                }
                altered[position] = other;
                let altered = String::from_utf8(altered).unwrap();
                assert!(
                    !RefreshToken::parse(&altered).is_some_and(|token| token.matches(&stored)),
                    "{position}"
                );
            }
        }
    }

    #[test]
    fn a_rotation_can_be_repeated_and_is_another_one_with_another_salt() {
        let (first, salt) = (token(), [1; SALT_LEN]);
        let next = first.rotated(&salt);
        assert_eq!(next, first.rotated(&salt));
        assert_eq!(RefreshToken::parse(next.encode().expose()), Some(next.clone()));
        assert_eq!((&next.sub, &next.origin_jti), (&first.sub, &first.origin_jti));
        let others = [first.clone(), first.rotated(&[2; SALT_LEN]), next.rotated(&salt)];
        for other in others {
            assert!(!other.matches(&next.hash()));
            assert!(other.is_of_family(&next.family_hash()));
        }
    }

    #[test]
    fn other_tokens_of_the_session_are_of_no_family() {
        let source = SeededEntropy::new(1);
        let made = || RefreshToken::new(POOL, SUB, JTI, &source).unwrap();
        let (first, second) = (made(), made());
        assert!(!second.is_of_family(&first.family_hash()));
        assert!(!first.is_of_family(&[]) && !first.is_of_family(&first.hash()));
    }

    #[test]
    fn tokens_are_made_of_valid_parts_only() {
        let source = SeededEntropy::new(1);
        assert!(RefreshToken::new("", SUB, JTI, &source).is_none());
        assert!(RefreshToken::new(&"x".repeat(56), SUB, JTI, &source).is_none());
        assert!(RefreshToken::new(POOL, "not a uuid", JTI, &source).is_none());
        assert!(RefreshToken::new(POOL, SUB, &JTI.to_uppercase(), &source).is_none());
        let longest = RefreshToken::new(&"x".repeat(55), SUB, JTI, &source).unwrap();
        assert!(longest.encode().expose().len() <= TOKEN_LEN_MAX);
        assert_eq!(RefreshToken::parse(longest.encode().expose()), Some(longest));
    }

    #[test]
    fn debug_does_not_show_the_token() {
        let shown = format!("{:?}", token());
        assert!(
            shown.contains(POOL) && !shown.contains(&hex::encode(token().random.expose())),
            "{shown}"
        );
    }

    proptest! {
        #[test]
        fn what_is_read_is_written_the_same(bytes in prop::collection::vec(any::<u8>(), 60..130)) {
            let pool_len = (bytes.len() as u8).wrapping_sub(64);
            let text = encoding::base64url([&[FORMAT, pool_len], &bytes[..]].concat());
            if let Some(token) = RefreshToken::parse(&text) {
                let written = token.encode();
                prop_assert_eq!(written.expose(), &text);
            }
        }
    }
}
