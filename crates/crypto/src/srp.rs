//! Cognito's SRP-6a, as its clients compute it (`USER_SRP_AUTH`, `DEVICE_SRP_AUTH`).
//!
//! It is RFC 5054 with the 3072-bit group and g = 2, with these differences: the hash is SHA-256;
//! numbers are hashed as two's complement (a `00` byte in front when the top bit is set) instead of
//! padded to the length of N; and in place of M1 the client sends an HMAC under a key derived from
//! S.
//!
//! | step | server | client |
//! | --- | --- | --- |
//! | sign-up | [`compute_verifier`] | |
//! | InitiateAuth | [`ClientPublic::parse`], [`ServerEphemeral::new`] | [`client::Session::new`] |
//! | RespondToAuthChallenge | [`server_key`], [`check_claim`] | [`client::Session::answer`] |
//!
//! Cognito's `PASSWORD_VERIFIER` challenge comes without a `Session` member that all clients send
//! back, so the server's state (user, A, b, B) travels, sealed, in `SECRET_BLOCK`, as standard
//! base64.
//!
//! The group name is the part of the pool id after `_` and the user id is `USER_ID_FOR_SRP`; for
//! devices they are the device group key and the device key.

use std::fmt;

use zeroize::{Zeroize, Zeroizing};

use crate::bignum::{self, BignumError, Element};
use crate::encoding;
use crate::entropy::Entropy;
use crate::mac;
use crate::secret::{Secret, SecretBytes};

pub mod client;

/// Length of a salt that we generate, in bytes.
pub const SALT_LEN: usize = 16;
/// Length of the stored form of a verifier, in bytes.
pub const VERIFIER_LEN: usize = bignum::LEN;
/// Length of [`ServerEphemeral::to_bytes`].
pub const EPHEMERAL_LEN: usize = EXPONENT_LEN + bignum::LEN;
/// The longest `SRP_A` that is read: 384 bytes and the padding of one byte, in hexadecimal.
pub const PUBLIC_HEX_LEN_MAX: usize = 2 * (bignum::LEN + 1);

const EXPONENT_LEN: usize = 32;
const KEY_INFO: &[u8] = b"Caldera Derived Key";

/// Why an SRP value is refused. Callers answer all of them alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SrpError {
    /// Not hexadecimal, empty, too long, zero modulo N, or N and above.
    #[error("the client's public value is not valid")]
    InvalidPublicValue,
    /// A stored or supplied value that is not between 0 and N, or of the wrong length.
    #[error("the stored value is not valid")]
    InvalidStoredValue,
    /// u or S would be degenerate; chance alone never gives this.
    #[error("the exchange is degenerate")]
    Degenerate,
    /// aws-lc is out of memory.
    #[error(transparent)]
    Arithmetic(#[from] BignumError),
}

/// v = g^x mod N. As good as a fast hash of the password: store it sealed.
#[derive(Clone, PartialEq, Eq)]
pub struct Verifier(Element);

impl Verifier {
    /// Reads [`Self::to_bytes`], and verifiers that clients made for their devices: big-endian,
    /// with or without leading zero bytes.
    ///
    /// # Errors
    /// [`SrpError::InvalidStoredValue`] for 0 and 1 (anybody could sign in) and for N and above.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, SrpError> {
        let element = Element::from_bytes(bytes).ok_or(SrpError::InvalidStoredValue)?;
        if matches!(element.minimal_bytes(), [] | [1]) {
            return Err(SrpError::InvalidStoredValue);
        }
        Ok(Self(element))
    }

    /// Big-endian, 384 bytes.
    pub fn to_bytes(&self) -> SecretBytes {
        SecretBytes::new(self.0.as_bytes().to_vec())
    }

    pub(crate) fn from_element(element: Element) -> Self {
        Self(element)
    }
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Verifier(***)")
    }
}

/// A random salt. Its first hexadecimal digit is 1 to 7, so that clients which strip leading zeros
/// and clients which keep them hash the same bytes (some pad the text of `SALT`, some the number
/// that it denotes).
pub fn generate_salt(entropy: &dyn Entropy) -> [u8; SALT_LEN] {
    let mut salt = [0; SALT_LEN];
    entropy.fill(&mut salt);
    shape_salt(salt)
}

pub(crate) fn shape_salt(mut salt: [u8; SALT_LEN]) -> [u8; SALT_LEN] {
    if let Some(first) = salt.first_mut() {
        *first &= 0x7f;
        if *first < 0x10 {
            *first |= 0x10;
        }
    }
    salt
}

/// The verifier of a password: one exponentiation, 0.6 ms.
///
/// # Errors
/// [`SrpError::Arithmetic`] when memory runs out.
pub fn compute_verifier(
    group_name: &str,
    user_id: &str,
    password: &[u8],
    salt: &[u8],
) -> Result<Verifier, SrpError> {
    let x = private_exponent(group_name, user_id, password, salt);
    Ok(Verifier(bignum::mod_exp(&Element::two(), x.as_slice())?))
}

/// A, the client's public value, checked.
#[derive(Clone, PartialEq, Eq)]
pub struct ClientPublic(Element);

impl ClientPublic {
    /// Reads `SRP_A`: hexadecimal of either case, with or without leading zeros.
    ///
    /// # Errors
    /// [`SrpError::InvalidPublicValue`] if it is empty, not hexadecimal, longer than
    /// [`PUBLIC_HEX_LEN_MAX`], zero, or not below N: a multiple of N would make the key independent
    /// of the password (RFC 5054, section 2.5.4).
    pub fn parse(hex: &str) -> Result<Self, SrpError> {
        if hex.is_empty() || hex.len() > PUBLIC_HEX_LEN_MAX {
            return Err(SrpError::InvalidPublicValue);
        }
        let bytes = decode_hex(hex).ok_or(SrpError::InvalidPublicValue)?;
        Self::from_bytes(&bytes).map_err(|_| SrpError::InvalidPublicValue)
    }

    /// Reads [`Self::to_bytes`] back from a sealed session.
    ///
    /// # Errors
    /// [`SrpError::InvalidStoredValue`] for zero and for N and above.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, SrpError> {
        match Element::from_bytes(bytes) {
            Some(element) if !element.is_zero() => Ok(Self(element)),
            _ => Err(SrpError::InvalidStoredValue),
        }
    }

    /// Big-endian, without leading zeros.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.0.minimal_bytes().to_vec()
    }
}

impl fmt::Debug for ClientPublic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ClientPublic({})", to_hex(self.0.minimal_bytes()))
    }
}

/// The server's one-time pair: b (256 random bits) and B = k v + g^b mod N.
#[derive(Clone)]
pub struct ServerEphemeral {
    private: Zeroizing<[u8; EXPONENT_LEN]>,
    public: Element,
}

impl ServerEphemeral {
    /// Makes a pair for one sign-in: one exponentiation, 0.6 ms.
    ///
    /// # Errors
    /// [`SrpError::Arithmetic`] when memory runs out.
    pub fn new(verifier: &Verifier, entropy: &dyn Entropy) -> Result<Self, SrpError> {
        let mut private = Zeroizing::new([0; EXPONENT_LEN]);
        // B = 0 would give the client nothing to compute with; that it happens by chance is out of
        // the question.
        for _ in 0..4 {
            entropy.fill(private.as_mut_slice());
            let power = bignum::mod_exp(&Element::two(), private.as_slice())?;
            let public = bignum::mod_add(&bignum::mod_mul(&multiplier()?, &verifier.0)?, &power)?;
            if !public.is_zero() {
                return Ok(Self { private, public });
            }
        }
        Err(SrpError::Degenerate)
    }

    /// `SRP_B`: lower-case hexadecimal without leading zeros, as Cognito writes it.
    pub fn public_hex(&self) -> String {
        to_hex(self.public.minimal_bytes())
    }

    /// b and B, [`EPHEMERAL_LEN`] bytes. b is secret: only ever inside something sealed.
    pub fn to_bytes(&self) -> SecretBytes {
        SecretBytes::new([self.private.as_slice(), self.public.as_bytes()].concat())
    }

    /// Reads [`Self::to_bytes`].
    ///
    /// # Errors
    /// [`SrpError::InvalidStoredValue`] for another length or a B that is zero or not below N.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, SrpError> {
        let (private, public) = bytes.split_first_chunk().ok_or(SrpError::InvalidStoredValue)?;
        let public: &[u8; bignum::LEN] =
            public.try_into().map_err(|_| SrpError::InvalidStoredValue)?;
        match Element::from_bytes(public) {
            Some(public) if !public.is_zero() => {
                Ok(Self { private: Zeroizing::new(*private), public })
            }
            _ => Err(SrpError::InvalidStoredValue),
        }
    }
}

impl fmt::Debug for ServerEphemeral {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerEphemeral")
            .field("private", &"***")
            .field("public", &self.public_hex())
            .finish()
    }
}

/// The key under which the client signs its claim.
pub type ClaimKey = Secret<[u8; 16]>;

/// The server's key, from S = (A v^u)^b mod N: two exponentiations, 1.2 ms.
///
/// # Errors
/// [`SrpError::Degenerate`] if u or S is 0 or S is 1; [`SrpError::Arithmetic`] when memory runs
/// out.
pub fn server_key(
    client: &ClientPublic,
    ephemeral: &ServerEphemeral,
    verifier: &Verifier,
) -> Result<ClaimKey, SrpError> {
    let u = scramble(&client.0, &ephemeral.public)?;
    let base = bignum::mod_mul(&client.0, &bignum::mod_exp(&verifier.0, &u)?)?;
    let shared = bignum::mod_exp(&base, ephemeral.private.as_slice())?;
    // Values that would not depend on b. Reaching them on purpose takes an A with A v^H(A, B) = 1
    // or -1.
    if matches!(shared.minimal_bytes(), [] | [1]) {
        return Err(SrpError::Degenerate);
    }
    Ok(claim_key(&shared, &u))
}

/// Whether the base64 `signature` (`PASSWORD_CLAIM_SIGNATURE`) is the one of these values; constant
/// time. `secret_block` is the decoded `PASSWORD_CLAIM_SECRET_BLOCK`.
pub fn check_claim(
    key: &ClaimKey,
    group_name: &str,
    user_id: &str,
    secret_block: &[u8],
    timestamp: &str,
    signature: &str,
) -> bool {
    let expected = claim_signature(key, group_name, user_id, secret_block, timestamp);
    encoding::base64_decode(signature).is_some_and(|given| mac::ct_eq(&expected, &given))
}

/// `SALT`: lower-case hexadecimal without leading zeros, as Cognito writes it.
pub fn salt_hex(salt: &[u8]) -> String {
    to_hex(salt)
}

/// Reads a claim's `TIMESTAMP` (`EEE MMM d HH:mm:ss z yyyy` in UTC and in English, such as `Tue Sep
/// 25 00:09:40 UTC 2018`; a day below 10 has one digit) as epoch seconds. `None` for anything else,
/// a date that does not exist and a wrong day of the week among it. How far it may be off is the
/// caller's decision.
pub fn parse_timestamp(text: &str) -> Option<i64> {
    if text.len() > 32 {
        return None;
    }
    let mut fields = text.split(' ');
    let (weekday, month, day) = (fields.next()?, fields.next()?, fields.next()?);
    let (time, zone, year) = (fields.next()?, fields.next()?, fields.next()?);
    if fields.next().is_some() || zone != "UTC" || day.starts_with('0') {
        return None;
    }
    let month = MONTHS.iter().position(|&name| name == month)?;
    let day = number(day, 1..=2)?;
    let year = number(year, 4..=4)?;
    let mut parts = time.split(':');
    let hour = number(parts.next()?, 2..=2).filter(|&h| h < 24)?;
    let minute = number(parts.next()?, 2..=2).filter(|&m| m < 60)?;
    let second = number(parts.next()?, 2..=2).filter(|&s| s < 60)?;
    if parts.next().is_some() || year < 1970 {
        return None;
    }
    let leap = |y: i64| y % 4 == 0 && (y % 100 != 0 || y % 400 == 0);
    let length_of = |m: usize| match m {
        1 if leap(year) => 29,
        1 => 28,
        3 | 5 | 8 | 10 => 30,
        _ => 31,
    };
    if day < 1 || day > length_of(month) {
        return None;
    }
    let leap_days = |y: i64| y / 4 - y / 100 + y / 400;
    let days = (year - 1970) * 365 + leap_days(year - 1) - leap_days(1969)
        + (0..month).map(length_of).sum::<i64>()
        + day
        - 1;
    // 1 January 1970 was a Thursday.
    let weekday_of_date = usize::try_from((days + 4) % 7).ok()?;
    (WEEKDAYS.get(weekday_of_date) == Some(&weekday))
        .then_some(days * 86_400 + hour * 3600 + minute * 60 + second)
}

/// Writes epoch seconds as a claim's `TIMESTAMP`; the inverse of [`parse_timestamp`] for the years
/// 1970 to 9999.
pub fn format_timestamp(epoch_seconds: u64) -> String {
    let (days, seconds) = ((epoch_seconds / 86_400) as i64, epoch_seconds % 86_400);
    // Days since 1 March of year 0, in cycles of 400 years, so that the leap day ends a year.
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = (month_from_march + 2) % 12;
    let year = year_of_era + era * 400 + i64::from(month < 2);
    let weekday = WEEKDAYS.get(((days + 4) % 7) as usize).unwrap_or(&"");
    let month = MONTHS.get(month as usize).unwrap_or(&"");
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    format!("{weekday} {month} {day} {hour:02}:{minute:02}:{second:02} UTC {year:04}")
}

const WEEKDAYS: [&str; 7] = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"];
const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

fn number(text: &str, digits: std::ops::RangeInclusive<usize>) -> Option<i64> {
    (digits.contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit()))
        .then(|| text.parse().ok())?
}

/// x = H(pad(salt) | H(group name | user id | ":" | password)).
fn private_exponent(
    group_name: &str,
    user_id: &str,
    password: &[u8],
    salt: &[u8],
) -> Zeroizing<[u8; 32]> {
    let identity =
        Zeroizing::new(mac::sha256(&[group_name.as_bytes(), user_id.as_bytes(), b":", password]));
    Zeroizing::new(mac::sha256(&[&pad(salt), identity.as_slice()]))
}

/// k = H(pad(N) | pad(g)).
fn multiplier() -> Result<Element, SrpError> {
    let k = mac::sha256(&[&[0], &bignum::MODULUS, &[2]]);
    Element::from_bytes(&k).ok_or(SrpError::Degenerate)
}

/// u = H(pad(A) | pad(B)), which must not be 0.
fn scramble(a: &Element, b: &Element) -> Result<[u8; 32], SrpError> {
    let u = mac::sha256(&[&pad(a.minimal_bytes()), &pad(b.minimal_bytes())]);
    if u.iter().all(|&byte| byte == 0) { Err(SrpError::Degenerate) } else { Ok(u) }
}

/// HKDF-SHA256 with salt pad(u) and key material pad(S), cut to 16 bytes.
fn claim_key(shared: &Element, u: &[u8; 32]) -> ClaimKey {
    let mut material = pad(shared.minimal_bytes());
    let mut prk = mac::hkdf_extract(&pad(u), &material);
    material.zeroize();
    let key = mac::hkdf_expand(&prk, &[KEY_INFO]);
    prk.zeroize();
    ClaimKey::new(key)
}

fn claim_signature(
    key: &ClaimKey,
    group_name: &str,
    user_id: &str,
    secret_block: &[u8],
    timestamp: &str,
) -> [u8; 32] {
    let parts = [group_name.as_bytes(), user_id.as_bytes(), secret_block, timestamp.as_bytes()];
    mac::hmac_sha256(key.expose(), &parts)
}

/// A number as its shortest two's complement: what the clients' `padHex` gives.
fn pad(number: &[u8]) -> Vec<u8> {
    let digits = number.iter().copied().skip_while(|&byte| byte == 0);
    match digits.clone().next() {
        Some(first) if first < 0x80 => digits.collect(),
        _ => std::iter::once(0).chain(digits).collect(),
    }
}

fn to_hex(number: &[u8]) -> String {
    let hex = hex::encode(number);
    match hex.trim_start_matches('0') {
        "" => "0".to_owned(),
        digits => digits.to_owned(),
    }
}

/// Hexadecimal of any length; the first digit may stand alone.
fn decode_hex(text: &str) -> Option<Vec<u8>> {
    let padded = if text.len() % 2 == 1 { format!("0{text}") } else { text.to_owned() };
    hex::decode(padded).ok()
}

#[cfg(test)]
mod tests;
