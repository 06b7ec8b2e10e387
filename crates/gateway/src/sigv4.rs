//! AWS Signature Version 4, the verifying side, for the `Authorization` header.
//!
//! Two steps, both without input or output, because the credential lies in the directory between
//! them:
//!
//! 1. [`Claim::read`] reads the header and checks everything that needs no secret: form, scope,
//!    clock, signed headers.
//! 2. [`Claim::verify`] computes the signature with the secret that belongs to
//!    [`Claim::access_key_id`] and compares.
//!
//! The order of the checks and the texts are those of AWS's own front ("Troubleshoot Signature
//! Version 4 signing of AWS API requests" in the IAM guide); user pools answer all of them with
//! status 400. Presigned URLs are not accepted: no operation of the user pools API can be called
//! with one.

use std::collections::HashMap;

use conclave_crypto::secret::{Key256, SecretString};
use conclave_crypto::{encoding, mac};
use http::HeaderMap;
use parking_lot::Mutex;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc2822;

/// The only algorithm.
pub const ALGORITHM: &str = "AWS4-HMAC-SHA256";
/// What stands in the place of the body's hash when the body is not signed.
pub const UNSIGNED_PAYLOAD: &str = "UNSIGNED-PAYLOAD";

const TERMINATOR: &str = "aws4_request";
const MAX_SIGNED_HEADERS: usize = 64;
const MAX_ACCESS_KEY_ID: usize = 128;
const MAX_HEADER: usize = 8 * 1024;

/// Headers that a proxy adds after the client signed; every other `x-amz-*` header has to be
/// signed.
const ADDED_BY_PROXIES: [&str; 1] = ["x-amz-cf-id"];

/// What of a request takes part in a signature.
#[derive(Clone, Copy)]
pub struct SignedRequest<'a> {
    /// The HTTP method in upper case.
    pub method: &'a str,
    /// The path exactly as it stands in the request line.
    pub path: &'a str,
    /// The query exactly as it stands in the request line, without the question mark.
    pub query: &'a str,
    /// The headers as they arrived.
    pub headers: &'a HeaderMap,
    /// HTTP/2's `:authority`, used where no `Host` header came.
    pub authority: Option<&'a str>,
    /// The body, or that the body is not signed.
    pub payload: Payload<'a>,
}

/// The body's part of the signature.
#[derive(Clone, Copy)]
pub enum Payload<'a> {
    /// These bytes are signed.
    Signed(&'a [u8]),
    /// The signature says `UNSIGNED-PAYLOAD`. Only a channel that protects the body itself may use
    /// this.
    Unsigned,
}

/// What a verifier demands.
#[derive(Clone, Debug)]
pub struct Options {
    /// The service in the credential scope.
    pub service: String,
    /// The regions that a scope may name; empty accepts every region.
    pub regions: Vec<String>,
    /// How far the date of a signature may be off, in minutes.
    pub skew_minutes: u32,
}

impl Default for Options {
    fn default() -> Self {
        Options { service: "cognito-idp".into(), regions: Vec::new(), skew_minutes: 5 }
    }
}

/// Why a signature is refused. `Display` is the text that AWS's front sends.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// No `Authorization` header of this scheme came.
    #[error("Missing Authentication Token")]
    MissingAuthenticationToken,
    /// The header lacks something or cannot be read.
    #[error("{0}")]
    IncompleteSignature(String),
    /// The signature is expired, for another scope, or wrong.
    #[error("{0}")]
    InvalidSignature(String),
    /// The access key or the session token is not known.
    #[error("The security token included in the request is invalid.")]
    UnrecognizedClient,
}

impl SignatureError {
    /// The exception's name in AWS JSON.
    pub fn name(&self) -> &'static str {
        match self {
            SignatureError::MissingAuthenticationToken => "MissingAuthenticationTokenException",
            SignatureError::IncompleteSignature(_) => "IncompleteSignatureException",
            SignatureError::InvalidSignature(_) => "InvalidSignatureException",
            SignatureError::UnrecognizedClient => "UnrecognizedClientException",
        }
    }

    fn mismatch() -> Self {
        SignatureError::InvalidSignature(
            "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key \
             and signing method. Consult the service documentation for details."
                .into(),
        )
    }
}

/// The secret half of an access key.
#[derive(Clone, Copy)]
pub struct Credential<'a> {
    /// The secret access key.
    pub secret_access_key: &'a str,
    /// The session token that has to come with a temporary key; `None` for a lasting key, with
    /// which none may come.
    pub session_token: Option<&'a str>,
}

/// A signature that has passed every check that needs no secret.
#[derive(Clone)]
pub struct Claim {
    access_key_id: String,
    scope_date: String,
    region: String,
    service: String,
    timestamp: String,
    signed_headers: Vec<String>,
    signature: [u8; 32],
}

impl Claim {
    /// Reads the `Authorization` header and checks form, scope, clock and signed headers.
    ///
    /// # Errors
    /// What AWS answers to the first thing that is wrong.
    pub fn read(
        request: &SignedRequest<'_>,
        now_ms: i64,
        options: &Options,
    ) -> Result<Claim, SignatureError> {
        let header = authorization(request.headers)?;
        let (algorithm, parameters) = match header.split_once([' ', '\t']) {
            Some((algorithm, rest)) => (algorithm, rest),
            None => (header.as_str(), ""),
        };
        let parameters = Parameters::read(parameters, &header)?;
        let timestamp = date_value(request.headers);

        let mut missing = String::new();
        for (name, value) in [
            ("Credential", &parameters.credential),
            ("Signature", &parameters.signature),
            ("SignedHeaders", &parameters.signed_headers),
        ] {
            if value.is_none() {
                missing.push_str(&format!("Authorization header requires '{name}' parameter. "));
            }
        }
        if timestamp.is_none() {
            missing.push_str("Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header. ");
        }
        let (Some(credential), Some(signature), Some(signed_headers), Some(timestamp)) =
            (parameters.credential, parameters.signature, parameters.signed_headers, timestamp)
        else {
            // AWS used to repeat the header here; it now sends a hash, so that no answer repeats a
            // signature or a token.
            return Err(SignatureError::IncompleteSignature(format!(
                "{missing}(Hashed with SHA-256 and encoded with Base64) Authorization={}",
                hashed(&header)
            )));
        };

        let signed_at_ms = basic_to_ms(&timestamp).ok_or_else(|| {
            SignatureError::IncompleteSignature(format!(
                "Date must be in ISO-8601 'basic format'. Got '{}'. See http://en.wikipedia.org/wiki/ISO_8601",
                shortened(&timestamp)
            ))
        })?;
        check_clock(&timestamp, signed_at_ms, now_ms, options.skew_minutes)?;

        if algorithm != ALGORITHM {
            return Err(SignatureError::IncompleteSignature(format!(
                "Unsupported AWS 'algorithm': '{}' (only AWS4-HMAC-SHA256 for now). ",
                shortened(algorithm)
            )));
        }
        let signed_headers = signed_header_names(signed_headers)?;
        check_signed(&signed_headers, request)?;

        let parts: Vec<&str> = credential.split('/').collect();
        let [access_key_id, scope_date, region, service, terminator] = parts.as_slice() else {
            return Err(SignatureError::IncompleteSignature(format!(
                "Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term, got '{}'",
                shortened(credential)
            )));
        };
        let mut wrong = String::new();
        if region.is_empty()
            || (!options.regions.is_empty() && !options.regions.iter().any(|known| known == region))
        {
            wrong.push_str(&format!(
                "Credential should be scoped to a valid region, not '{}'. ",
                shortened(region)
            ));
        }
        if *service != options.service {
            wrong.push_str(&format!(
                "Credential should be scoped to correct service: '{}'. ",
                options.service
            ));
        }
        if *terminator != TERMINATOR {
            wrong.push_str(&format!(
                "Credential should be scoped with a valid terminator: '{TERMINATOR}', not '{}'. ",
                shortened(terminator)
            ));
        }
        if timestamp.get(..8) != Some(*scope_date) {
            wrong.push_str(&format!(
                "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: '{}' != '{}', from '{timestamp}'.",
                shortened(scope_date),
                timestamp.get(..8).unwrap_or_default()
            ));
        }
        if !wrong.is_empty() {
            return Err(SignatureError::InvalidSignature(wrong));
        }
        if access_key_id.is_empty() || access_key_id.len() > MAX_ACCESS_KEY_ID {
            return Err(SignatureError::UnrecognizedClient);
        }
        let mut expected = [0_u8; 32];
        if hex::decode_to_slice(signature, &mut expected).is_err() {
            return Err(SignatureError::mismatch());
        }
        Ok(Claim {
            access_key_id: (*access_key_id).to_owned(),
            scope_date: (*scope_date).to_owned(),
            region: (*region).to_owned(),
            service: (*service).to_owned(),
            timestamp,
            signed_headers,
            signature: expected,
        })
    }

    /// The access key that the caller claims to hold.
    pub fn access_key_id(&self) -> &str {
        &self.access_key_id
    }

    /// The region in the credential scope.
    pub fn region(&self) -> &str {
        &self.region
    }

    /// Computes the signature with the credential's secret and compares it in constant time.
    ///
    /// # Errors
    /// `InvalidSignature` when it differs, `UnrecognizedClient` when the session token is not the
    /// credential's.
    pub fn verify(
        &self,
        request: &SignedRequest<'_>,
        credential: Credential<'_>,
        keys: &SigningKeys,
    ) -> Result<(), SignatureError> {
        let canonical = self.canonical_request(request)?;
        let scope = format!("{}/{}/{}/{TERMINATOR}", self.scope_date, self.region, self.service);
        let to_sign = format!(
            "{ALGORITHM}\n{}\n{scope}\n{}",
            self.timestamp,
            hex::encode(mac::sha256(&[canonical.as_bytes()]))
        );
        let key = keys.derive(
            &self.access_key_id,
            credential.secret_access_key,
            &self.scope_date,
            &self.region,
            &self.service,
        );
        let computed = mac::hmac_sha256(key.expose(), &[to_sign.as_bytes()]);
        if !mac::ct_eq(&computed, &self.signature) {
            return Err(SignatureError::mismatch());
        }
        let sent = joined(request.headers, "x-amz-security-token");
        let same = match (&sent, credential.session_token) {
            (None, None) => true,
            (Some(sent), Some(known)) => mac::ct_eq(sent.as_bytes(), known.as_bytes()),
            (None, Some(_)) | (Some(_), None) => false,
        };
        if same { Ok(()) } else { Err(SignatureError::UnrecognizedClient) }
    }

    fn canonical_request(&self, request: &SignedRequest<'_>) -> Result<String, SignatureError> {
        let payload = payload_hash(request)?;
        let mut out = String::with_capacity(512);
        out.push_str(request.method);
        out.push('\n');
        out.push_str(&canonical_path(request.path));
        out.push('\n');
        out.push_str(&canonical_query(request.query));
        out.push('\n');
        for name in &self.signed_headers {
            // A header that is signed but did not arrive was removed on the way: the signature
            // cannot match.
            let value = header_value(request, name).ok_or_else(SignatureError::mismatch)?;
            out.push_str(name);
            out.push(':');
            out.push_str(&value);
            out.push('\n');
        }
        out.push('\n');
        out.push_str(&self.signed_headers.join(";"));
        out.push('\n');
        out.push_str(&payload);
        Ok(out)
    }
}

impl std::fmt::Debug for Claim {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Claim")
            .field("access_key_id", &self.access_key_id)
            .field("region", &self.region)
            .field("timestamp", &self.timestamp)
            .finish_non_exhaustive()
    }
}

/// Reads and verifies in one step, for a caller that has the credential at hand.
///
/// # Errors
/// As [`Claim::read`] and [`Claim::verify`]; `UnrecognizedClient` when `lookup` knows no such
/// access key.
pub fn verify<'c>(
    request: &SignedRequest<'_>,
    now_ms: i64,
    options: &Options,
    keys: &SigningKeys,
    lookup: impl FnOnce(&str) -> Option<Credential<'c>>,
) -> Result<Claim, SignatureError> {
    let claim = Claim::read(request, now_ms, options)?;
    let credential = lookup(claim.access_key_id()).ok_or(SignatureError::UnrecognizedClient)?;
    claim.verify(request, credential, keys)?;
    Ok(claim)
}

/// Derived signing keys, so that a busy caller costs one HMAC and not five. Bounded: two
/// generations of half the size each.
pub struct SigningKeys {
    half: usize,
    generations: Mutex<Generations>,
}

#[derive(Default)]
struct Generations {
    young: HashMap<[u8; 32], Key256>,
    old: HashMap<[u8; 32], Key256>,
}

impl SigningKeys {
    /// Keeps at most `capacity` keys.
    pub fn new(capacity: usize) -> Self {
        SigningKeys { half: (capacity / 2).max(1), generations: Mutex::new(Generations::default()) }
    }

    /// How many keys are held now.
    pub fn len(&self) -> usize {
        let generations = self.generations.lock();
        generations.young.len() + generations.old.len()
    }

    /// Whether no key is held.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn derive(
        &self,
        access_key_id: &str,
        secret: &str,
        date: &str,
        region: &str,
        service: &str,
    ) -> Key256 {
        // The secret takes part in the index, so a key issued again under the same id never meets
        // the old secret's key.
        let fields = [access_key_id, secret, date, region, service].map(str::as_bytes);
        let id = mac::sha256(&[&mac::frame(&fields)]);
        {
            let mut generations = self.generations.lock();
            if let Some(key) = generations.young.get(&id) {
                return key.clone();
            }
            if let Some(key) = generations.old.remove(&id) {
                self.keep(&mut generations, id, key.clone());
                return key;
            }
        }
        let first = SecretString::new(format!("AWS4{secret}"));
        let mut key = Key256::new(mac::hmac_sha256(first.expose().as_bytes(), &[date.as_bytes()]));
        for part in [region, service, TERMINATOR] {
            key = Key256::new(mac::hmac_sha256(key.expose(), &[part.as_bytes()]));
        }
        self.keep(&mut self.generations.lock(), id, key.clone());
        key
    }

    fn keep(&self, generations: &mut Generations, id: [u8; 32], key: Key256) {
        if generations.young.len() >= self.half {
            generations.old = std::mem::take(&mut generations.young);
        }
        generations.young.insert(id, key);
    }
}

/// The three parameters of the header.
#[derive(Default)]
struct Parameters<'a> {
    credential: Option<&'a str>,
    signature: Option<&'a str>,
    signed_headers: Option<&'a str>,
}

impl<'a> Parameters<'a> {
    /// SDKs separate with a comma, a comma and a space, or several spaces.
    fn read(text: &'a str, header: &str) -> Result<Self, SignatureError> {
        let mut found = Parameters::default();
        for pair in text.split([',', ' ', '\t']).filter(|pair| !pair.is_empty()) {
            let Some((name, value)) = pair.split_once('=') else {
                return Err(SignatureError::IncompleteSignature(format!(
                    "Invalid key=value pair (missing equal-sign) in Authorization header (hashed with SHA-256 and encoded with \
                     Base64): '{}'.",
                    hashed(header)
                )));
            };
            let slot = match name {
                "Credential" => &mut found.credential,
                "Signature" => &mut found.signature,
                "SignedHeaders" => &mut found.signed_headers,
                _ => continue,
            };
            // Two values for one parameter: which one another reader would take cannot be known.
            if slot.is_some() {
                return Err(SignatureError::mismatch());
            }
            *slot = Some(value).filter(|value| !value.is_empty());
        }
        Ok(found)
    }
}

fn authorization(headers: &HeaderMap) -> Result<String, SignatureError> {
    let mut values = headers.get_all(http::header::AUTHORIZATION).iter();
    let first = values.next().ok_or(SignatureError::MissingAuthenticationToken)?;
    if values.next().is_some() {
        return Err(SignatureError::mismatch());
    }
    let text = first.to_str().map_err(|_| SignatureError::MissingAuthenticationToken)?.trim();
    if !text.starts_with("AWS4-") || text.len() > MAX_HEADER {
        return Err(SignatureError::MissingAuthenticationToken);
    }
    Ok(text.to_owned())
}

/// `X-Amz-Date` as sent, or `Date` brought into the basic format.
fn date_value(headers: &HeaderMap) -> Option<String> {
    if let Some(value) = joined(headers, "x-amz-date") {
        return Some(value);
    }
    let value = joined(headers, "date")?;
    match OffsetDateTime::parse(&value, &Rfc2822) {
        Ok(date) => Some(basic_format(date.unix_timestamp().saturating_mul(1_000))),
        Err(_) => Some(value),
    }
}

fn check_clock(
    timestamp: &str,
    signed_at_ms: i64,
    now_ms: i64,
    skew_minutes: u32,
) -> Result<(), SignatureError> {
    let skew_ms = i64::from(skew_minutes) * 60_000;
    // AWS compares whole seconds, which is all that the header can say.
    let now_ms = now_ms - now_ms.rem_euclid(1_000);
    let (earliest, latest) = (now_ms.saturating_sub(skew_ms), now_ms.saturating_add(skew_ms));
    if signed_at_ms < earliest {
        return Err(SignatureError::InvalidSignature(format!(
            "Signature expired: {timestamp} is now earlier than {} ({} - {skew_minutes} min.)",
            basic_format(earliest),
            basic_format(now_ms)
        )));
    }
    if signed_at_ms > latest {
        return Err(SignatureError::InvalidSignature(format!(
            "Signature not yet current: {timestamp} is still later than {} ({} + {skew_minutes} min.)",
            basic_format(latest),
            basic_format(now_ms)
        )));
    }
    Ok(())
}

/// The names in `SignedHeaders`, which have to be lower case, sorted and each there once: that is
/// the canonical form, and any other form leaves open which bytes were signed.
fn signed_header_names(text: &str) -> Result<Vec<String>, SignatureError> {
    let names: Vec<String> = text.split(';').map(str::to_owned).collect();
    let canonical = names.len() <= MAX_SIGNED_HEADERS
        && names
            .iter()
            .all(|name| !name.is_empty() && !name.bytes().any(|byte| byte.is_ascii_uppercase()))
        && names.windows(2).all(|pair| matches!(pair, [a, b] if a < b));
    if canonical { Ok(names) } else { Err(SignatureError::mismatch()) }
}

fn check_signed(signed: &[String], request: &SignedRequest<'_>) -> Result<(), SignatureError> {
    let is_signed = |name: &str| signed.iter().any(|signed| signed == name);
    if !is_signed("host") && !is_signed(":authority") {
        return Err(SignatureError::InvalidSignature(
            "'Host' or ':authority' must be a 'SignedHeader' in the AWS Authorization.".into(),
        ));
    }
    for name in request.headers.keys().map(http::HeaderName::as_str) {
        if name.starts_with("x-amz-") && !ADDED_BY_PROXIES.contains(&name) && !is_signed(name) {
            return Err(SignatureError::InvalidSignature(format!(
                "'{name}' must be a 'SignedHeader' in the AWS Authorization."
            )));
        }
    }
    // Without `X-Amz-Date` the `Date` header carries the time of the signature and has to be
    // covered as well.
    if !request.headers.contains_key("x-amz-date") && !is_signed("date") {
        return Err(SignatureError::InvalidSignature(
            "'Date' must be a 'SignedHeader' in the AWS Authorization.".into(),
        ));
    }
    Ok(())
}

fn payload_hash(request: &SignedRequest<'_>) -> Result<String, SignatureError> {
    let announced = joined(request.headers, "x-amz-content-sha256");
    match request.payload {
        Payload::Unsigned => match announced.as_deref() {
            None | Some(UNSIGNED_PAYLOAD) => Ok(UNSIGNED_PAYLOAD.to_owned()),
            Some(_) => Err(SignatureError::mismatch()),
        },
        Payload::Signed(body) => {
            let computed = hex::encode(mac::sha256(&[body]));
            match announced {
                Some(announced) if announced != computed => Err(SignatureError::mismatch()),
                _ => Ok(computed),
            }
        }
    }
}

fn header_value(request: &SignedRequest<'_>, name: &str) -> Option<String> {
    match name {
        "host" | ":authority" => {
            joined(request.headers, "host").or_else(|| request.authority.map(str::to_owned))
        }
        name => joined(request.headers, name),
    }
}

/// All values of a header in order, each trimmed and with runs of spaces folded, joined with
/// commas.
fn joined(headers: &HeaderMap, name: &str) -> Option<String> {
    let mut out: Option<String> = None;
    for value in headers.get_all(name) {
        let text = String::from_utf8_lossy(value.as_bytes());
        let text = folded(&text);
        match &mut out {
            None => out = Some(text),
            Some(out) => {
                out.push(',');
                out.push_str(&text);
            }
        }
    }
    out
}

fn folded(value: &str) -> String {
    let mut out = String::with_capacity(value.len());
    for word in value.split([' ', '\t']).filter(|word| !word.is_empty()) {
        if !out.is_empty() {
            out.push(' ');
        }
        out.push_str(word);
    }
    out
}

/// The path without dot segments and empty segments, every byte outside the unreserved set escaped
/// once more.
fn canonical_path(path: &str) -> String {
    let mut segments: Vec<&str> = Vec::new();
    for segment in path.split('/') {
        match segment {
            "" | "." => {}
            ".." => {
                segments.pop();
            }
            segment => segments.push(segment),
        }
    }
    let mut out = String::with_capacity(path.len() + 1);
    for segment in &segments {
        out.push('/');
        escape(segment.bytes(), &mut out);
    }
    if out.is_empty() || path.ends_with('/') || path.ends_with("/.") || path.ends_with("/..") {
        out.push('/');
    }
    out
}

fn canonical_query(query: &str) -> String {
    let mut pairs: Vec<(String, String)> = query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (escaped_once(name), escaped_once(value))
        })
        .collect();
    pairs.sort_unstable();
    let mut out = String::with_capacity(query.len());
    for (name, value) in &pairs {
        if !out.is_empty() {
            out.push('&');
        }
        out.push_str(name);
        out.push('=');
        out.push_str(value);
    }
    out
}

/// Reads the escapes that a client may have written in its own way and writes them in the one
/// canonical way.
fn escaped_once(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let escape = match (first, after) {
            (b'%', [high, low, ..]) => {
                hex_digit(*high).zip(hex_digit(*low)).map(|(high, low)| high << 4 | low)
            }
            _ => None,
        };
        match (escape, first) {
            (Some(byte), _) => {
                bytes.push(byte);
                rest = after.get(2..).unwrap_or_default();
            }
            (None, b'+') => {
                bytes.push(b' ');
                rest = after;
            }
            (None, byte) => {
                bytes.push(byte);
                rest = after;
            }
        }
    }
    let mut out = String::with_capacity(bytes.len());
    escape(bytes.into_iter(), &mut out);
    out
}

fn hex_digit(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

fn escape(bytes: impl Iterator<Item = u8>, out: &mut String) {
    const HEX: [char; 16] =
        ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'A', 'B', 'C', 'D', 'E', 'F'];
    for byte in bytes {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            out.push(char::from(byte));
        } else {
            out.push('%');
            out.push(HEX[usize::from(byte >> 4)]);
            out.push(HEX[usize::from(byte & 15)]);
        }
    }
}

fn hashed(header: &str) -> String {
    encoding::base64(mac::sha256(&[header.as_bytes()]))
}

/// What a refusal repeats of the caller's own words, kept short.
fn shortened(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(128).collect()
}

/// `20260101T120000Z` in milliseconds since the epoch; `None` for every other form.
fn basic_to_ms(text: &str) -> Option<i64> {
    let bytes = text.as_bytes();
    if bytes.len() != 16 || bytes.get(8) != Some(&b'T') || bytes.get(15) != Some(&b'Z') {
        return None;
    }
    let number = |from: usize, to: usize| -> Option<u16> {
        let digits = text.get(from..to)?;
        digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok()).flatten()
    };
    let small = |from, to| number(from, to).and_then(|n| u8::try_from(n).ok());
    let month = time::Month::try_from(small(4, 6)?).ok()?;
    let date =
        time::Date::from_calendar_date(i32::from(number(0, 4)?), month, small(6, 8)?).ok()?;
    let time = time::Time::from_hms(small(9, 11)?, small(11, 13)?, small(13, 15)?).ok()?;
    Some(OffsetDateTime::new_utc(date, time).unix_timestamp() * 1_000)
}

fn basic_format(ms: i64) -> String {
    match OffsetDateTime::from_unix_timestamp(ms.div_euclid(1_000)) {
        Ok(date) => format!(
            "{:04}{:02}{:02}T{:02}{:02}{:02}Z",
            date.year(),
            u8::from(date.month()),
            date.day(),
            date.hour(),
            date.minute(),
            date.second()
        ),
        Err(_) => String::new(),
    }
}

#[cfg(test)]
#[path = "sigv4_tests.rs"]
mod tests;
