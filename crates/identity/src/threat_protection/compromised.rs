//! Passwords that are known to others. The operator gives a list of SHA-1 hashes, as Have I Been Pwned publishes them; what is kept of
//! it is a blocked Bloom filter (Putze, Sanders, Singler: "Cache-, Hash- and Space-Efficient Bloom Filters", 2007): two bytes for each
//! password of a list without counts, a little less with them. It misses no password of the list, and takes one of about a thousand
//! others for one that is on it.
//!
//! Looked at is what arrives as a password: at SignUp, in USER_PASSWORD_AUTH, ADMIN_USER_PASSWORD_AUTH and the password of USER_AUTH,
//! and where a user sets another one (ChangePassword, ConfirmForgotPassword, NEW_PASSWORD_REQUIRED). SRP sends none. What
//! administrators set is not looked at. Source: developer guide, "Working with compromised-credentials detection".

use std::io::{self, BufRead, Read};

use conclave_crypto::mac;
use conclave_store::records::RiskConfigurationRecord;

use crate::world::World;

const BLOCK_WORDS: usize = 8;
const BLOCK_BITS: u64 = 512;
const BLOCK_BYTES: u64 = BLOCK_BITS / 8;
const BITS_PER_ENTRY: u64 = 16;
/// Bits that one password sets, of its block.
const PROBES: u32 = 8;
/// Bits of a hash that choose one of them.
const PROBE_BITS: u32 = 9;
/// The shortest line: 40 digits and its end.
const LINE_BYTES_MIN: u64 = 41;
/// Digits, a colon, a count of 20 digits, and an end of two bytes.
const LINE_BYTES_MAX: u64 = 40 + 1 + 20 + 2;
/// Memory for one list, at most: two billion passwords.
const MEMORY_BYTES_MAX: u64 = 4 << 30;

/// Why a list cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ListError {
    /// A line is not what a line has to be. Lines are numbered from 1.
    #[error(
        "line {0} is not a SHA-1 hash of 40 hexadecimal digits, with a colon and a count after it or without"
    )]
    Line(u64),
    /// Reading has failed.
    #[error("line {line} cannot be read")]
    Read {
        /// Numbered from 1.
        line: u64,
        /// What has happened.
        source: io::Error,
    },
    /// A list of nothing is a mistake.
    #[error("it holds no hash")]
    Empty,
    /// Somebody writes to it.
    #[error("it has grown while it was read")]
    Grows,
    /// There would be too much to keep.
    #[error("it is longer than two billion lines")]
    TooLong,
}

/// A list of passwords, by which one can be told that is on it.
#[derive(Debug)]
pub struct CompromisedPasswords {
    blocks: Vec<[u64; BLOCK_WORDS]>,
    entries: u64,
}

impl CompromisedPasswords {
    /// Reads a list of `bytes` bytes, which say how much memory to take.
    ///
    /// # Errors
    /// See [`ListError`].
    pub fn read(mut list: impl BufRead, bytes: u64) -> Result<Self, ListError> {
        let entries_max = bytes / LINE_BYTES_MIN + 1;
        let blocks = (entries_max.saturating_mul(BITS_PER_ENTRY)).div_ceil(BLOCK_BITS);
        if blocks.saturating_mul(BLOCK_BYTES) > MEMORY_BYTES_MAX {
            return Err(ListError::TooLong);
        }
        let blocks = usize::try_from(blocks).map_err(|_| ListError::TooLong)?;
        let mut passwords = Self { blocks: vec![[0; BLOCK_WORDS]; blocks], entries: 0 };
        let mut line = Vec::with_capacity(LINE_BYTES_MAX as usize + 1);
        loop {
            line.clear();
            let number = passwords.entries + 1;
            let read = list.by_ref().take(LINE_BYTES_MAX).read_until(b'\n', &mut line);
            if read.map_err(|source| ListError::Read { line: number, source })? == 0 {
                break;
            }
            if passwords.entries >= entries_max {
                // there is no room for more: nearly every password would seem to be on the list
                return Err(ListError::Grows);
            }
            passwords.insert(&parse(&line).ok_or(ListError::Line(number))?);
        }
        if passwords.entries == 0 { Err(ListError::Empty) } else { Ok(passwords) }
    }

    /// How many lines the list has.
    pub fn entries(&self) -> u64 {
        self.entries
    }

    /// What is kept of it.
    pub fn memory_bytes(&self) -> u64 {
        self.blocks.len() as u64 * BLOCK_BYTES
    }

    /// Whether a password is on the list, or is one of the few that look like it.
    pub fn contains(&self, password: &str) -> bool {
        let hash = mac::sha1_of_lists(password.as_bytes());
        let block = self.blocks.get(self.block(&hash));
        block.is_some_and(|block| {
            probes(&hash).all(|(word, bit)| block.get(word).is_some_and(|word| word & bit != 0))
        })
    }

    fn insert(&mut self, hash: &[u8; 20]) {
        let block = self.block(hash);
        if let Some(block) = self.blocks.get_mut(block) {
            for (word, bit) in probes(hash) {
                if let Some(word) = block.get_mut(word) {
                    *word |= bit;
                }
            }
        }
        self.entries += 1;
    }

    /// By the end of the hash: lists are in the order of their beginnings, and part of one must fill all blocks alike.
    fn block(&self, hash: &[u8; 20]) -> usize {
        let end = hash.last_chunk::<8>().map_or(0, |end| u64::from_be_bytes(*end));
        ((u128::from(end) * self.blocks.len() as u128) >> 64) as usize
    }
}

/// Words of a block, and a bit of each. The hash is as good as random, so its own bits choose.
fn probes(hash: &[u8; 20]) -> impl Iterator<Item = (usize, u64)> {
    let mut middle = [0; 16];
    middle[7..].copy_from_slice(&hash[3..12]);
    let middle = u128::from_be_bytes(middle);
    (0..PROBES).map(move |probe| {
        let bit = (middle >> (probe * PROBE_BITS)) as u64 % BLOCK_BITS;
        ((bit / 64) as usize, 1 << (bit % 64))
    })
}

/// The hash of a line.
fn parse(line: &[u8]) -> Option<[u8; 20]> {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let (digits, rest) = line.split_first_chunk::<40>()?;
    let is_count = |count: &[u8]| {
        !count.is_empty() && count.iter().all(u8::is_ascii_digit) && count.len() <= 20
    };
    match rest {
        [] => {}
        [b':', count @ ..] if is_count(count) => {}
        _ => return None,
    }
    let mut hash = [0; 20];
    let mut seen = 0;
    for (byte, [high, low]) in hash.iter_mut().zip(digits.as_chunks().0) {
        let (high, low) = (DIGITS[usize::from(*high)], DIGITS[usize::from(*low)]);
        seen |= high | low;
        *byte = high << 4 | low & 15;
    }
    (seen < 16).then_some(hash)
}

/// What each byte is as a hexadecimal digit; 255: none. A list has billions of them.
const DIGITS: [u8; 256] = {
    let mut digits = [u8::MAX; 256];
    let mut digit = 0;
    while digit < 16 {
        let lower = b"0123456789abcdef"[digit as usize];
        digits[lower as usize] = digit;
        digits[lower.to_ascii_uppercase() as usize] = digit;
        digit += 1;
    }
    digits
};

/// A password that a request has sent as it is, and what for.
#[derive(Clone, Copy)]
pub enum GivenPassword<'a> {
    /// It is shown.
    SignIn(&'a str),
    /// It is a new user's.
    SignUp(&'a str),
    /// It takes another one's place.
    Change(&'a str),
}

impl<'a> GivenPassword<'a> {
    /// `EventFilter`, and the password.
    const fn parts(self) -> (&'static str, &'a str) {
        match self {
            Self::SignIn(password) => ("SIGN_IN", password),
            Self::SignUp(password) => ("SIGN_UP", password),
            Self::Change(password) => ("PASSWORD_CHANGE", password),
        }
    }
}

/// Whether a password is known to be compromised; `None` where it is not to be looked at. What is not configured is looked at
/// everywhere.
/// Source: API reference, `CompromisedCredentialsRiskConfigurationType`: "Defaults to all events".
pub fn look(
    world: &World,
    configuration: &RiskConfigurationRecord,
    given: GivenPassword<'_>,
) -> Option<bool> {
    let list = world.compromised_passwords.as_deref()?;
    let (event, password) = given.parts();
    let is_filtered = configuration
        .compromised_credentials
        .as_ref()
        .is_some_and(|risk| !risk.event_filter.iter().any(|filter| filter == event));
    (!is_filtered).then(|| list.contains(password))
}

/// What two looks within one event say of it.
pub fn either(first: Option<bool>, second: Option<bool>) -> Option<bool> {
    match (first, second) {
        (Some(first), Some(second)) => Some(first || second),
        (first, second) => first.or(second),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// SHA-1 of `password`, as the list of Have I Been Pwned has it.
    const PASSWORD: &str = "5BAA61E4C9B93F3F0682250B6CF8331B7EE68FD8";

    fn of(text: &str) -> Result<CompromisedPasswords, ListError> {
        CompromisedPasswords::read(text.as_bytes(), text.len() as u64)
    }

    fn hash(password: &str) -> String {
        let hash = mac::sha1_of_lists(password.as_bytes());
        hash.iter().map(|byte| format!("{byte:02X}")).collect()
    }

    #[test]
    fn lines_are_hashes_with_or_without_counts() {
        let lower = PASSWORD.to_lowercase();
        let other = hash("other");
        for text in [
            PASSWORD.to_owned(),
            format!("{PASSWORD}\n"),
            format!("{lower}\r\n"),
            format!("{other}:1\r\n{PASSWORD}:10434004\r\n"),
            format!("{other}\n{PASSWORD}:18446744073709551615\r\n"),
        ] {
            let list = of(&text).unwrap();
            assert!(list.contains("password"), "{text}");
            assert!(!list.contains("Password"), "{text}");
            assert_eq!(list.entries(), text.lines().count() as u64);
        }
    }

    #[test]
    fn a_line_that_is_none_is_named() {
        for line in [
            String::new(),
            "password".to_owned(),
            PASSWORD[1..].to_owned(),
            format!("{PASSWORD}0"),
            format!("{PASSWORD}:"),
            format!("{PASSWORD}:x"),
            format!("{PASSWORD}:-1"),
            format!("{PASSWORD}:1 "),
            format!("{PASSWORD}:184467440737095516150"),
            format!(" {PASSWORD}"),
            PASSWORD.replace('5', "G"),
            PASSWORD.replace('5', "+"),
            "A".repeat(1 << 20),
        ] {
            let refused = of(&format!("{PASSWORD}\n{PASSWORD}:3\n{line}\n")).unwrap_err();
            assert!(matches!(refused, ListError::Line(3)), "{line}: {refused}");
        }
        assert!(matches!(of(""), Err(ListError::Empty)));
        let long = CompromisedPasswords::read(&b""[..], u64::MAX);
        assert!(matches!(long, Err(ListError::TooLong)));
        // somebody writes to the file
        let text = format!("{PASSWORD}\n").repeat(100);
        let grown = CompromisedPasswords::read(text.as_bytes(), 41 * 50);
        assert!(matches!(grown, Err(ListError::Grows)));
    }

    #[test]
    fn one_of_a_thousand_others_is_taken_for_one_of_the_list() {
        const LISTED: u32 = 50_000;
        let text: String =
            (0..LISTED).map(|number| format!("{}\n", hash(&format!("p{number}")))).collect();
        let list = of(&text).unwrap();
        assert!((0..LISTED).all(|number| list.contains(&format!("p{number}"))));
        let others = 200_000;
        let wrong = (0..others).filter(|number| list.contains(&format!("q{number}"))).count();
        // 195 of 200,000 is what is expected; half as many again is out of the question
        assert!(wrong < 300, "{wrong} of {others}");
        assert_eq!(list.memory_bytes().div_ceil(u64::from(LISTED)), 3);
        assert_eq!(list.memory_bytes() / u64::from(LISTED), 2);
    }

    /// Lists are in order of their hashes, and an operator may take the beginning of one.
    #[test]
    fn the_beginning_of_a_list_fills_all_blocks_alike() {
        let begins = |hash: &str| hash.starts_with("00");
        let hashes: Vec<_> = (0..1_000_000)
            .map(|number| hash(&format!("p{number}")))
            .filter(|h| begins(h))
            .collect();
        let list = of(&hashes.join("\n")).unwrap();
        let wrong = (0..200_000).filter(|number| list.contains(&format!("q{number}"))).count();
        assert!(wrong < 300, "{wrong}");
    }

    #[test]
    fn two_looks_find_what_one_of_them_finds() {
        assert_eq!(either(None, None), None);
        assert_eq!(either(Some(true), None), Some(true));
        assert_eq!(either(None, Some(false)), Some(false));
        assert_eq!(either(Some(true), Some(false)), Some(true));
        assert_eq!(either(Some(false), Some(true)), Some(true));
    }
}
