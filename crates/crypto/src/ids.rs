//! Identifiers and other random text: UUIDs, pool ids, client ids, client secrets, codes, temporary
//! passwords.
//!
//! Pool ids and client ids carry a hint of where they live, so that a request finds its group
//! without the directory. A short MAC tells our ids from random ones, which then cost no look-up;
//! it is not a secret and authorises nothing. Whether the pool or the client exists is decided
//! where it lives.

use crate::entropy::{self, Entropy};
use crate::mac;
use crate::secret::{Key256, SecretString};

/// The highest group number that fits into a pool id.
pub const GROUP_MAX: u32 = BASE62_PAIRS - 1;
/// The longest pool id of the API model.
pub const POOL_ID_LEN_MAX: usize = 55;
/// Length of a client id.
pub const CLIENT_ID_LEN: usize = 26;
/// Length of a client secret. Cognito's have 51 or 52 characters.
pub const CLIENT_SECRET_LEN: usize = 52;

const BASE62: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
const BASE36: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";
const BASE62_PAIRS: u32 = 62 * 62;
const POOL_SUFFIX_LEN: usize = 9;
const POOL_DIGITS_LEN: usize = 11;
const CLIENT_MAC_LEN: usize = 3;
const NO_REGION: char = 'z';

/// Regions that a client id can name. The position is part of ids that live for ever: append only,
/// 35 at most.
const REGIONS: [&str; 35] = [
    "us-east-1",
    "us-east-2",
    "us-west-1",
    "us-west-2",
    "eu-west-1",
    "eu-west-2",
    "eu-west-3",
    "eu-central-1",
    "eu-central-2",
    "eu-north-1",
    "eu-south-1",
    "eu-south-2",
    "ap-northeast-1",
    "ap-northeast-2",
    "ap-northeast-3",
    "ap-southeast-1",
    "ap-southeast-2",
    "ap-southeast-3",
    "ap-southeast-4",
    "ap-southeast-5",
    "ap-southeast-7",
    "ap-south-1",
    "ap-south-2",
    "ap-east-1",
    "ap-east-2",
    "ca-central-1",
    "ca-west-1",
    "sa-east-1",
    "mx-central-1",
    "af-south-1",
    "me-south-1",
    "me-central-1",
    "il-central-1",
    "us-gov-west-1",
    "us-gov-east-1",
];

/// Why an id could not be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// Not 1 to 45 characters of `[a-z0-9-]`.
    #[error("the region cannot be part of a pool id")]
    Region,
    /// Above [`GROUP_MAX`].
    #[error("the group number cannot be part of a pool id")]
    Group,
}

/// A random UUID (version 4) in lower case.
pub fn uuid(entropy: &dyn Entropy) -> String {
    uuid_from_bytes(entropy::bytes(entropy))
}

/// The version 4 UUID with these random bits; six of them are overwritten.
pub fn uuid_from_bytes(mut bytes: [u8; 16]) -> String {
    let [_, _, _, _, _, _, version, _, variant, ..] = &mut bytes;
    *version = *version & 0x0f | 0x40;
    *variant = *variant & 0x3f | 0x80;
    hyphenated(bytes)
}

/// The UUID with exactly these bytes, of whatever version they say; the inverse of
/// [`uuid_to_bytes`].
pub fn hyphenated(bytes: [u8; 16]) -> String {
    let hex = hex::encode(bytes);
    let mut out = String::with_capacity(36);
    for (position, digit) in hex.chars().enumerate() {
        if matches!(position, 8 | 12 | 16 | 20) {
            out.push('-');
        }
        out.push(digit);
    }
    out
}

/// The bytes of a UUID in lower case with hyphens; of any version, as imported subjects may have
/// another.
pub fn uuid_to_bytes(text: &str) -> Option<[u8; 16]> {
    let well_formed = text.len() == 36
        && text.bytes().enumerate().all(|(position, byte)| match position {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => matches!(byte, b'0'..=b'9' | b'a'..=b'f'),
        });
    let mut out = [0; 16];
    (well_formed && hex::decode_to_slice(text.replace('-', ""), &mut out).is_ok()).then_some(out)
}

/// `len` random characters of `[0-9A-Za-z]`.
pub fn alphanumeric(entropy: &dyn Entropy, len: usize) -> String {
    random_text(entropy, BASE62, len)
}

/// `len` characters of `alphabet`, which is ASCII, each as likely as the other.
pub fn random_text(entropy: &dyn Entropy, alphabet: &[u8], len: usize) -> String {
    (0..len).map(|_| pick(entropy, alphabet)).collect()
}

/// A decimal code of `digits` digits (9 at most), every value equally likely: `042137`.
pub fn numeric_code(entropy: &dyn Entropy, digits: u32) -> String {
    let digits = digits.clamp(1, 9);
    let value = entropy::below(entropy, 10u32.pow(digits));
    format!("{value:0width$}", width = digits as usize)
}

/// An app client's secret: 52 characters of `[0-9a-z]`, 268 bits.
pub fn client_secret(entropy: &dyn Entropy) -> SecretString {
    SecretString::new(random_text(entropy, BASE36, CLIENT_SECRET_LEN))
}

/// What a temporary password has to satisfy.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TemporaryPasswordRules {
    /// Characters at least; 6 to 99 in Cognito.
    pub minimum_length: usize,
    /// Whether a symbol is required.
    pub symbols: bool,
}

/// A temporary password of at least 16 characters with upper case, lower case and digits, which
/// satisfies every policy, and with a symbol where the policy wants one. Characters that are easily
/// mixed up, or that mean something in HTML or in a message template, are left out.
pub fn temporary_password(rules: &TemporaryPasswordRules, entropy: &dyn Entropy) -> SecretString {
    const UPPER: &[u8] = b"ABCDEFGHJKLMNPQRSTUVWXYZ";
    const LOWER: &[u8] = b"abcdefghijkmnopqrstuvwxyz";
    const DIGITS: &[u8] = b"23456789";
    const SYMBOLS: &[u8] = b"!@#*-_=+?.:";
    let mut classes = vec![UPPER, LOWER, DIGITS];
    if rules.symbols {
        classes.push(SYMBOLS);
    }
    let all = classes.concat();
    let len = rules.minimum_length.clamp(16, 256);
    let mut password: Vec<char> = classes.iter().map(|class| pick(entropy, class)).collect();
    while password.len() < len {
        password.push(pick(entropy, &all));
    }
    for last in (1..password.len()).rev() {
        password.swap(last, entropy::below(entropy, last as u32 + 1) as usize);
    }
    SecretString::new(password.into_iter().collect())
}

/// A pool id that says in which group it lives: `<region>_` and two characters of group number, two
/// of MAC and five at random. The caller makes sure that it is not taken.
///
/// # Errors
/// [`IdError`] for a region or group that cannot be part of it.
pub fn pool_id(
    region: &str,
    group: u32,
    key: &Key256,
    entropy: &dyn Entropy,
) -> Result<String, IdError> {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if region.is_empty()
        || region.len() + 1 + POOL_SUFFIX_LEN > POOL_ID_LEN_MAX
        || !region.bytes().all(allowed)
    {
        return Err(IdError::Region);
    }
    if group > GROUP_MAX {
        return Err(IdError::Group);
    }
    let group = digits(u64::from(group), BASE62, 2);
    let random = alphanumeric(entropy, 5);
    let mac = pool_mac(key, region, &group, &random);
    Ok(format!("{region}_{group}{mac}{random}"))
}

/// The group in which a pool lives, if the id is one that [`pool_id`] has made under `key`.
pub fn pool_group(pool_id: &str, key: &Key256) -> Option<u32> {
    let (region, suffix) = split_pool_id(pool_id)?;
    let (group, rest) = suffix.split_at_checked(2)?;
    let (mac, random) = rest.split_at_checked(2)?;
    let genuine = mac::ct_eq(pool_mac(key, region, group, random).as_bytes(), mac.as_bytes());
    genuine.then(|| value(group, BASE62)).flatten().and_then(|group| u32::try_from(group).ok())
}

/// The region of a pool id that somebody has chosen, if it is one: `<region>_<letters and digits>`.
pub fn chosen_pool_region(pool_id: &str) -> Option<&str> {
    let (region, suffix) = pool_id.split_once('_')?;
    let region_byte = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let fits = pool_id.len() <= POOL_ID_LEN_MAX
        && !region.is_empty()
        && region.bytes().all(region_byte)
        && !suffix.is_empty()
        && suffix.bytes().all(|byte| byte.is_ascii_alphanumeric());
    fits.then_some(region)
}

/// The group for a pool whose id somebody has chosen, of `groups` that are numbered from 1: that of its
/// hint where it happens to have one, and otherwise one that follows from the id. So a pool that is
/// deleted and made again stands where everybody remembers it. A hint that names no such group is none: an id
/// of another cluster can read so.
pub fn chosen_pool_group(pool_id: &str, key: &Key256, groups: u32) -> Option<u32> {
    let hinted = pool_group(pool_id, key).filter(|group| (1..=groups).contains(group));
    hinted.or_else(|| {
        let number = short_mac(key, &[b"chosen pool id", pool_id.as_bytes()]);
        u32::try_from(1 + number % u64::from(groups.max(1))).ok()
    })
}

/// The part of a pool id that SRP hashes: what stands after the first `_`, up to a second one.
pub fn pool_name(pool_id: &str) -> Option<&str> {
    pool_id.split('_').nth(1).filter(|name| !name.is_empty())
}

/// A client id that says which pool it belongs to: 1 character of region, 11 of pool, 3 of MAC and
/// 11 at random. If the pool's id is an imported one or its region is not listed, the id is random
/// and says nothing.
pub fn client_id(pool_id: &str, key: &Key256, entropy: &dyn Entropy) -> String {
    let hint = split_pool_id(pool_id).and_then(|(region, suffix)| {
        let region = REGIONS.iter().position(|&known| known == region)?;
        let region = digits(region as u64, BASE36, 1);
        Some((region, digits(value(suffix, BASE62)?, BASE36, POOL_DIGITS_LEN)))
    });
    let random = random_text(entropy, BASE36, CLIENT_ID_LEN - 1 - POOL_DIGITS_LEN - CLIENT_MAC_LEN);
    match hint {
        Some((region, pool)) => {
            let mac = client_mac(key, &region, &pool, &random);
            format!("{region}{pool}{mac}{random}")
        }
        None => format!(
            "{NO_REGION}{}{random}",
            random_text(entropy, BASE36, POOL_DIGITS_LEN + CLIENT_MAC_LEN)
        ),
    }
}

/// The id of the pool to which a client belongs, if the id is one that [`client_id`] has made under
/// `key`.
pub fn client_pool(client_id: &str, key: &Key256) -> Option<String> {
    if client_id.len() != CLIENT_ID_LEN {
        return None;
    }
    let (region, rest) = client_id.split_at_checked(1)?;
    let (pool, rest) = rest.split_at_checked(POOL_DIGITS_LEN)?;
    let (mac, random) = rest.split_at_checked(CLIENT_MAC_LEN)?;
    if !mac::ct_eq(client_mac(key, region, pool, random).as_bytes(), mac.as_bytes()) {
        return None;
    }
    let region = REGIONS.get(usize::try_from(value(region, BASE36)?).ok()?)?;
    let suffix =
        value(pool, BASE36).filter(|&number| number < 62u64.pow(POOL_SUFFIX_LEN as u32))?;
    Some(format!("{region}_{}", digits(suffix, BASE62, POOL_SUFFIX_LEN)))
}

/// Region and suffix of an id in our form.
fn split_pool_id(pool_id: &str) -> Option<(&str, &str)> {
    let (region, suffix) = pool_id.split_once('_')?;
    let ours = pool_id.len() <= POOL_ID_LEN_MAX
        && suffix.len() == POOL_SUFFIX_LEN
        && suffix.bytes().all(|byte| byte.is_ascii_alphanumeric());
    ours.then_some((region, suffix))
}

fn pool_mac(key: &Key256, region: &str, group: &str, random: &str) -> String {
    let fields = [b"pool id", region.as_bytes(), group.as_bytes(), random.as_bytes()];
    digits(short_mac(key, &fields), BASE62, 2)
}

fn client_mac(key: &Key256, region: &str, pool: &str, random: &str) -> String {
    let fields = [b"client id", region.as_bytes(), pool.as_bytes(), random.as_bytes()];
    digits(short_mac(key, &fields), BASE36, CLIENT_MAC_LEN)
}

fn short_mac(key: &Key256, fields: &[&[u8]]) -> u64 {
    let mac = mac::hmac_sha256(key.expose(), &[&mac::frame(fields)]);
    mac.iter().take(8).fold(0, |value, &byte| value << 8 | u64::from(byte))
}

/// The lowest `len` digits of `value` in the number system of `alphabet`, the highest first.
fn digits(mut value: u64, alphabet: &[u8], len: usize) -> String {
    let base = alphabet.len() as u64;
    let mut out: Vec<char> = Vec::with_capacity(len);
    for _ in 0..len {
        out.push(alphabet.get((value % base) as usize).map_or('0', |&digit| char::from(digit)));
        value /= base;
    }
    out.into_iter().rev().collect()
}

/// The inverse of [`digits`]; `None` for other characters and for numbers that are too large.
fn value(text: &str, alphabet: &[u8]) -> Option<u64> {
    text.bytes().try_fold(0u64, |value, byte| {
        let digit = alphabet.iter().position(|&known| known == byte)? as u64;
        value.checked_mul(alphabet.len() as u64)?.checked_add(digit)
    })
}

fn pick(entropy: &dyn Entropy, alphabet: &[u8]) -> char {
    let position = entropy::below(entropy, alphabet.len() as u32) as usize;
    alphabet.get(position).map_or('0', |&byte| char::from(byte))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::SeededEntropy;
    use proptest::prelude::*;

    fn key(byte: u8) -> Key256 {
        Key256::new([byte; 32])
    }

    #[test]
    fn uuids_are_version_4_and_lower_case() {
        let source = SeededEntropy::new(1);
        for _ in 0..100 {
            let id = uuid(&source);
            assert_eq!(id.len(), 36);
            assert_eq!(id.as_bytes()[14], b'4');
            assert!(b"89ab".contains(&id.as_bytes()[19]));
            assert_eq!(uuid_from_bytes(uuid_to_bytes(&id).unwrap()), id);
        }
        assert_eq!(uuid_from_bytes([0xff; 16]), "ffffffff-ffff-4fff-bfff-ffffffffffff");
    }

    #[test]
    fn only_canonical_uuids_are_read() {
        let id = "01234567-89ab-cdef-0123-456789abcdef";
        assert!(uuid_to_bytes(id).is_some());
        let upper = id.to_uppercase();
        let compact = id.replace('-', "");
        for other in [
            "",
            &id[1..],
            &upper,
            &compact,
            "0123456-789ab-cdef-0123-456789abcdef",
            "01234567-89ab-cdef-0123-456789abcdeg",
            "é1234567-89ab-cdef-0123-456789abcde",
        ] {
            assert!(uuid_to_bytes(other).is_none(), "{other}");
        }
    }

    #[test]
    fn codes_keep_their_leading_zeros() {
        let source = SeededEntropy::new(1);
        let codes: Vec<_> = (0..200).map(|_| numeric_code(&source, 6)).collect();
        assert!(
            codes.iter().all(|code| code.len() == 6 && code.bytes().all(|b| b.is_ascii_digit()))
        );
        assert!(codes.iter().any(|code| code.starts_with('0')));
        assert!(codes.iter().any(|code| code.starts_with('9')));
    }

    #[test]
    fn temporary_passwords_satisfy_every_policy() {
        let source = SeededEntropy::new(1);
        for minimum_length in [0, 6, 16, 17, 99] {
            for symbols in [false, true] {
                let rules = TemporaryPasswordRules { minimum_length, symbols };
                let password = temporary_password(&rules, &source);
                let has = |class: fn(&char) -> bool| password.expose().chars().any(|c| class(&c));
                assert!(password.expose().len() >= minimum_length.max(16));
                assert!(
                    has(char::is_ascii_uppercase)
                        && has(char::is_ascii_lowercase)
                        && has(char::is_ascii_digit)
                );
                assert_eq!(has(char::is_ascii_punctuation), symbols);
            }
        }
    }

    #[test]
    fn the_guaranteed_classes_have_no_fixed_place() {
        let source = SeededEntropy::new(1);
        let rules = TemporaryPasswordRules { minimum_length: 16, symbols: true };
        let first_is_upper = (0..100)
            .filter(|_| {
                temporary_password(&rules, &source).expose().starts_with(char::is_uppercase)
            })
            .count();
        assert!((5..70).contains(&first_is_upper), "{first_is_upper}");
    }

    #[test]
    fn a_chosen_pool_id_has_a_region_and_always_the_same_group() {
        for (id, region) in [
            ("eu-west-1_Abc123XYZ", Some("eu-west-1")),
            ("local_pool", Some("local")),
            ("eu-west-1_", None),
            ("_abc", None),
            ("eu-west-1", None),
            ("EU_abc", None),
            ("eu-west-1_a_b", None),
            ("eu-west-1_a-b", None),
        ] {
            assert_eq!(chosen_pool_region(id), region, "{id}");
        }
        assert_eq!(chosen_pool_region(&format!("a_{}", "b".repeat(54))), None);
        let groups = (0..200).map(|number| {
            let id = format!("eu-west-1_pool{number}");
            let group = chosen_pool_group(&id, &key(1), 3);
            assert_eq!(chosen_pool_group(&id, &key(1), 3), group);
            group
        });
        let used: std::collections::BTreeSet<_> = groups.flatten().collect();
        assert_eq!(used, [1, 2, 3].into());
    }

    #[test]
    fn a_chosen_pool_id_with_a_hint_stands_where_the_hint_says() {
        let source = SeededEntropy::new(1);
        let id = pool_id("eu-west-1", 7, &key(1), &source).unwrap();
        assert_eq!(chosen_pool_group(&id, &key(1), 8), Some(7));
        // an id of another cluster can read so
        let elsewhere = chosen_pool_group(&id, &key(1), 6).unwrap();
        assert!((1..=6).contains(&elsewhere));
        assert_eq!(chosen_pool_group(&id, &key(1), 6), Some(elsewhere));
    }

    #[test]
    fn client_secrets_fit_the_model() {
        let secret = client_secret(&SeededEntropy::new(1));
        assert_eq!(secret.expose().len(), 52);
        assert!(secret.expose().bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit()));
    }

    #[test]
    fn a_pool_id_says_its_group() {
        let source = SeededEntropy::new(1);
        for group in [0, 1, 61, 62, 500, GROUP_MAX] {
            let id = pool_id("eu-central-1", group, &key(1), &source).unwrap();
            assert_eq!(id.len(), "eu-central-1_".len() + 9);
            assert_eq!(pool_group(&id, &key(1)), Some(group));
        }
        assert_eq!(pool_id("eu-central-1", GROUP_MAX + 1, &key(1), &source), Err(IdError::Group));
        for region in ["", "EU", "eu_1", "eu central", &"x".repeat(46)] {
            assert_eq!(pool_id(region, 1, &key(1), &source), Err(IdError::Region), "{region}");
        }
        assert!(pool_id(&"x".repeat(45), 1, &key(1), &source).unwrap().len() == POOL_ID_LEN_MAX);
    }

    #[test]
    fn foreign_pool_ids_hint_at_nothing() {
        let source = SeededEntropy::new(1);
        let made: Vec<_> =
            (0..200).map(|_| pool_id("us-east-1", 5, &key(1), &source).unwrap()).collect();
        // a MAC of two characters lets one in 3,844 pass by chance
        let misled = |ids: &[String], key: &Key256| {
            ids.iter().filter(|id| pool_group(id, key).is_some()).count()
        };
        assert_eq!(misled(&made, &key(1)), 200);
        assert!(misled(&made, &key(2)) <= 2);
        let moved: Vec<_> = made.iter().map(|id| id.replace("us-east-1", "us-east-2")).collect();
        assert!(misled(&moved, &key(1)) <= 2);
        let random: Vec<_> =
            (0..2000).map(|_| format!("us-east-1_{}", alphanumeric(&source, 9))).collect();
        assert!(misled(&random, &key(1)) <= 5);
        for id in ["", "_", "us-east-1", "us-east-1_", "us-east-1_abc", "us-east-1_ééééé", "a_b_c"]
        {
            assert_eq!(pool_group(id, &key(1)), None, "{id}");
        }
    }

    #[test]
    fn a_client_id_says_its_pool() {
        let source = SeededEntropy::new(1);
        for region in REGIONS {
            let pool = pool_id(region, 7, &key(1), &source).unwrap();
            let client = client_id(&pool, &key(1), &source);
            assert_eq!(client.len(), 26);
            assert!(client.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit()));
            assert_eq!(client_pool(&client, &key(1)), Some(pool));
        }
        for pool in ["us-east-1_000000000", "us-east-1_zzzzzzzzz"] {
            assert_eq!(
                client_pool(&client_id(pool, &key(1), &source), &key(1)).as_deref(),
                Some(pool)
            );
        }
    }

    #[test]
    fn clients_of_foreign_pools_have_ids_without_a_hint() {
        let source = SeededEntropy::new(1);
        for pool in ["moon-1_abcdefghi", "us-east-1_short", "us-east-1_muchlongersuffix", "odd"] {
            let client = client_id(pool, &key(1), &source);
            assert!(client.len() == 26 && client.starts_with('z'), "{client}");
            assert_eq!(client_pool(&client, &key(1)), None);
        }
    }

    #[test]
    fn foreign_client_ids_hint_at_nothing() {
        let source = SeededEntropy::new(1);
        let pool = pool_id("us-east-1", 5, &key(1), &source).unwrap();
        for _ in 0..100 {
            let client = client_id(&pool, &key(1), &source);
            assert_eq!(client_pool(&client, &key(2)), None);
            assert_eq!(client_pool(&client[1..], &key(1)), None);
            assert_eq!(client_pool(&format!("{client}0"), &key(1)), None);
            assert_eq!(client_pool(&client.to_uppercase(), &key(1)), None);
            assert_eq!(client_pool(&random_text(&source, BASE36, 26), &key(1)), None);
        }
        assert_eq!(client_pool("", &key(1)), None);
        assert_eq!(client_pool(&"é".repeat(13), &key(1)), None);
    }

    #[test]
    fn ids_made_once_are_read_for_ever() {
        // fixed: the order of REGIONS, the alphabets and the MACs are part of ids that live for
        // ever
        assert_eq!(pool_group("us-east-1_05mEaB3xZ", &key(1)), Some(5));
        assert_eq!(
            client_pool("00077no5f28x2bj0123456789a", &key(1)).as_deref(),
            Some("us-east-1_05mEaB3xZ")
        );
    }

    #[test]
    fn the_pool_name_is_what_clients_split_off() {
        assert_eq!(pool_name("us-east-1_AbCdEfGhI"), Some("AbCdEfGhI"));
        assert_eq!(pool_name("us-east-1_"), None);
        assert_eq!(pool_name("us-east-1"), None);
    }

    proptest! {
        #[test]
        fn no_text_makes_the_readers_fail(text in "\\PC{0,60}") {
            let _ = (pool_group(&text, &key(1)), client_pool(&text, &key(1)));
            let _ = (uuid_to_bytes(&text), pool_name(&text));
        }

        #[test]
        fn digits_and_value_are_inverse(number in 0..62u64.pow(9)) {
            prop_assert_eq!(value(&digits(number, BASE62, 9), BASE62), Some(number));
            prop_assert_eq!(value(&digits(number, BASE36, 11), BASE36), Some(number));
        }
    }
}
