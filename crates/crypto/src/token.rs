//! RS256 tokens (RFC 7515, RFC 7519) and JWKS (RFC 7517), in the form of Cognito's.
//!
//! Verification knows one algorithm and takes keys only from its own map, by `kid`; a header that
//! holds anything beyond `kid`, `alg` and `typ` is refused, so `jku`, `x5u`, `jwk` and `crit` never
//! get a say. Keys are parsed once: a general JWT library parses the private key again for every
//! signature.

use std::collections::{HashMap, HashSet};
use std::fmt;

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair, KeySize, PublicKeyComponents};
use aws_lc_rs::signature::{KeyPair as _, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256};
use jsonwebtoken::{Algorithm, DecodingKey};
use serde::de::{DeserializeSeed, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

use crate::encoding;
use crate::mac;
use crate::secret::SecretBytes;

/// The longest token that is looked at, in bytes: the longest that the API model has in any place.
pub const TOKEN_LEN_MAX: usize = 131_072;

const ALGORITHM: &str = "RS256";

/// The claims of a token, in the order in which they were written.
pub type Claims = Map<String, Value>;

/// Why a token or key is refused. Clients never learn which.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Not three parts of canonical base64url that hold JSON objects without duplicate members, or
    /// too long.
    #[error("the token is malformed")]
    Malformed,
    /// A header that is not exactly `alg` RS256, a `kid`, and perhaps `typ` JWT.
    #[error("the token's header is not acceptable")]
    Header,
    /// No key with the token's `kid`.
    #[error("the token's key is not known")]
    UnknownKey,
    /// The signature is not that of the key.
    #[error("the token's signature is wrong")]
    Signature,
    /// `exp` or `iat` is missing or not an integer.
    #[error("the token's times are missing or malformed")]
    Times,
    /// `exp` has come.
    #[error("the token has expired")]
    Expired,
    /// `iat` or `nbf` lies ahead.
    #[error("the token is not valid yet")]
    NotYetValid,
    /// A key that is not RSA of 2048 bits or more, or does not fit together.
    #[error("the key is not acceptable")]
    Key,
    /// The claims could not be written as JSON.
    #[error("the claims are not serializable")]
    Claims,
}

/// A public key in a JWKS. The members and their order are Cognito's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Jwk {
    /// `RS256`
    pub alg: String,
    /// The public exponent, base64url.
    pub e: String,
    /// The RFC 7638 thumbprint, in standard base64 as Cognito writes its key ids.
    pub kid: String,
    /// `RSA`
    pub kty: String,
    /// The modulus, base64url.
    pub n: String,
    /// `sig`
    #[serde(rename = "use")]
    pub usage: String,
}

/// A JSON Web Key Set.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Jwks {
    /// The keys.
    pub keys: Vec<Jwk>,
}

/// An RSA-2048 key pair that signs tokens.
pub struct SigningKey {
    pair: KeyPair,
    jwk: Jwk,
    /// The first part of every token, with the dot.
    header: String,
}

impl SigningKey {
    /// Makes a key pair, and its PKCS#8 form to be stored sealed. It takes 50 to 500 ms, and it
    /// alone draws on the randomness of aws-lc: there is no way to hand key generation another
    /// source.
    ///
    /// # Errors
    /// [`TokenError::Key`] if aws-lc fails.
    pub fn generate() -> Result<(Self, SecretBytes), TokenError> {
        let pair = KeyPair::generate(KeySize::Rsa2048).map_err(|_| TokenError::Key)?;
        let pkcs8 = SecretBytes::new(pair.as_der().map_err(|_| TokenError::Key)?.as_ref().to_vec());
        Ok((Self::new(pair)?, pkcs8))
    }

    /// Reads the PKCS#8 form. About 0.1 ms, so keep the result.
    ///
    /// # Errors
    /// [`TokenError::Key`].
    pub fn from_pkcs8(pkcs8: &SecretBytes) -> Result<Self, TokenError> {
        Self::new(KeyPair::from_pkcs8(pkcs8.expose()).map_err(|_| TokenError::Key)?)
    }

    fn new(pair: KeyPair) -> Result<Self, TokenError> {
        let (n, e) = rsa_public_key(pair.public_key().as_ref()).ok_or(TokenError::Key)?;
        if n.len() < 256 {
            return Err(TokenError::Key);
        }
        let (n, e) = (encoding::base64url(n), encoding::base64url(e));
        let kid = thumbprint(&n, &e);
        let header = Map::from_iter([
            ("kid".to_owned(), Value::from(kid.as_str())),
            ("alg".to_owned(), Value::from(ALGORITHM)),
        ]);
        let header = format!("{}.", encoding::base64url(Value::from(header).to_string()));
        let jwk = Jwk {
            alg: ALGORITHM.to_owned(),
            e,
            kid,
            kty: "RSA".to_owned(),
            n,
            usage: "sig".to_owned(),
        };
        Ok(Self { pair, jwk, header })
    }

    /// The key id.
    pub fn kid(&self) -> &str {
        &self.jwk.kid
    }

    /// The public half.
    pub fn jwk(&self) -> &Jwk {
        &self.jwk
    }

    /// Signs claims: 0.3 ms. The header is `{"kid":…,"alg":"RS256"}`, without `typ`, as Cognito's.
    ///
    /// # Errors
    /// [`TokenError::Claims`] if they cannot be written as JSON.
    pub fn sign(&self, claims: &impl Serialize) -> Result<String, TokenError> {
        let claims = serde_json::to_vec(claims).map_err(|_| TokenError::Claims)?;
        let mut token = self.header.clone();
        token.push_str(&encoding::base64url(claims));
        let mut signature = vec![0; self.pair.public_modulus_len()];
        // PKCS#1 v1.5 is deterministic; the generator is part of the signature of the function
        // only.
        self.pair
            .sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), token.as_bytes(), &mut signature)
            .map_err(|_| TokenError::Key)?;
        token.push('.');
        token.push_str(&encoding::base64url(signature));
        Ok(token)
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey").field("kid", &self.jwk.kid).finish_non_exhaustive()
    }
}

/// A parsed public key.
pub struct VerifyingKey {
    kid: String,
    key: DecodingKey,
}

impl VerifyingKey {
    /// Reads a key as [`SigningKey::jwk`] gives it.
    ///
    /// # Errors
    /// [`TokenError::Key`] if it is not an RSA signing key of 2048 to 8192 bits for RS256.
    pub fn from_jwk(jwk: &Jwk) -> Result<Self, TokenError> {
        if (jwk.kty.as_str(), jwk.alg.as_str(), jwk.usage.as_str()) != ("RSA", ALGORITHM, "sig") {
            return Err(TokenError::Key);
        }
        let n = encoding::base64url_decode(&jwk.n).ok_or(TokenError::Key)?;
        let e = encoding::base64url_decode(&jwk.e).ok_or(TokenError::Key)?;
        if !(256..=1024).contains(&n.len()) {
            return Err(TokenError::Key);
        }
        let key = DecodingKey::from_rsa_raw_components(&n, &e);
        // parsed here to refuse a bad key at once, and not at its first token
        PublicKeyComponents { n, e }
            .to_parsed_public_key(&RSA_PKCS1_2048_8192_SHA256)
            .map_err(|_| TokenError::Key)?;
        Ok(Self { kid: jwk.kid.clone(), key })
    }

    /// The key id.
    pub fn kid(&self) -> &str {
        &self.kid
    }
}

impl fmt::Debug for VerifyingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VerifyingKey").field("kid", &self.kid).finish_non_exhaustive()
    }
}

/// The public keys of one pool, by `kid`.
#[derive(Debug, Default)]
pub struct KeySet {
    keys: HashMap<String, VerifyingKey>,
}

impl KeySet {
    /// Parses each key once.
    ///
    /// # Errors
    /// [`TokenError::Key`] if any of them is not acceptable or two have the same id.
    pub fn new<'a>(jwks: impl IntoIterator<Item = &'a Jwk>) -> Result<Self, TokenError> {
        let mut keys = HashMap::new();
        for jwk in jwks {
            if keys.insert(jwk.kid.clone(), VerifyingKey::from_jwk(jwk)?).is_some() {
                return Err(TokenError::Key);
            }
        }
        Ok(Self { keys })
    }

    /// Verifies the signature of a token, 0.02 ms. Its times are for [`check_times`].
    ///
    /// # Errors
    /// [`TokenError::UnknownKey`], and those of [`UnverifiedToken::parse`] and
    /// [`UnverifiedToken::verify`].
    pub fn verify(&self, token: &str) -> Result<Claims, TokenError> {
        let token = UnverifiedToken::parse(token)?;
        let key = self.keys.get(token.kid()).ok_or(TokenError::UnknownKey)?;
        token.verify(key)
    }
}

/// A well-formed token whose signature nobody has looked at yet.
pub struct UnverifiedToken<'a> {
    kid: String,
    claims: Claims,
    signed: &'a str,
    signature: &'a str,
}

impl<'a> UnverifiedToken<'a> {
    /// Takes a token apart.
    ///
    /// # Errors
    /// [`TokenError::Malformed`], [`TokenError::Header`].
    pub fn parse(token: &'a str) -> Result<Self, TokenError> {
        if token.len() > TOKEN_LEN_MAX {
            return Err(TokenError::Malformed);
        }
        let (signed, signature) = token.rsplit_once('.').ok_or(TokenError::Malformed)?;
        let (header, claims) = signed.split_once('.').ok_or(TokenError::Malformed)?;
        let header = object(header)?;
        let claims = object(claims)?;
        // one form only: two texts of one token would be two tokens to whoever compares them
        encoding::base64url_decode(signature).ok_or(TokenError::Malformed)?;
        let mut kid = None;
        for (name, value) in &header {
            match (name.as_str(), value.as_str()) {
                ("alg", Some(ALGORITHM)) | ("typ", Some("JWT")) => {}
                ("kid", Some(value)) => kid = Some(value.to_owned()),
                _ => return Err(TokenError::Header),
            }
        }
        if !header.contains_key("alg") {
            return Err(TokenError::Header);
        }
        Ok(Self { kid: kid.ok_or(TokenError::Header)?, claims, signed, signature })
    }

    /// The id of the key that is said to have signed it.
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// What the token says, which nobody has checked: good only for finding the pool whose keys
    /// decide.
    pub fn unverified_claim(&self, name: &str) -> Option<&Value> {
        self.claims.get(name)
    }

    /// Verifies the signature and hands out the claims.
    ///
    /// # Errors
    /// [`TokenError::UnknownKey`] if `key` has another id, [`TokenError::Signature`].
    pub fn verify(self, key: &VerifyingKey) -> Result<Claims, TokenError> {
        if self.kid != key.kid {
            return Err(TokenError::UnknownKey);
        }
        let signed = self.signed.as_bytes();
        match jsonwebtoken::crypto::verify(self.signature, signed, &key.key, Algorithm::RS256) {
            Ok(true) => Ok(self.claims),
            _ => Err(TokenError::Signature),
        }
    }
}

impl fmt::Debug for UnverifiedToken<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UnverifiedToken").field("kid", &self.kid).finish_non_exhaustive()
    }
}

/// Checks `exp`, `iat` and `nbf` against `now_s`, in epoch seconds. `leeway_s` is granted to `iat`
/// and `nbf` only: a token lives no longer than it says. `exp` and `iat` must be there.
///
/// # Errors
/// [`TokenError::Times`], [`TokenError::Expired`], [`TokenError::NotYetValid`].
pub fn check_times(claims: &Claims, now_s: i64, leeway_s: i64) -> Result<(), TokenError> {
    let time = |name: &str| match claims.get(name) {
        None => Ok(None),
        Some(value) => value.as_i64().map(Some).ok_or(TokenError::Times),
    };
    let (exp, iat, nbf) = (
        time("exp")?.ok_or(TokenError::Times)?,
        time("iat")?.ok_or(TokenError::Times)?,
        time("nbf")?,
    );
    if now_s >= exp {
        return Err(TokenError::Expired);
    }
    let latest = now_s.saturating_add(leeway_s);
    if iat > latest || nbf.is_some_and(|nbf| nbf > latest) {
        return Err(TokenError::NotYetValid);
    }
    Ok(())
}

/// `at_hash` of an ID token: the left half of the access token's SHA-256 (OpenID Connect Core,
/// section 3.1.3.6).
pub fn at_hash(access_token: &str) -> String {
    encoding::base64url(mac::sha256(&[access_token.as_bytes()]).split_at(16).0)
}

/// RFC 7638, section 3, in the alphabet of Cognito's key ids.
fn thumbprint(n: &str, e: &str) -> String {
    encoding::base64(mac::sha256(&[format!(r#"{{"e":"{e}","kty":"RSA","n":"{n}"}}"#).as_bytes()]))
}

/// A part of a token: base64url of a JSON object without duplicate members, at any depth.
fn object(part: &str) -> Result<Map<String, Value>, TokenError> {
    let json = encoding::base64url_decode(part).ok_or(TokenError::Malformed)?;
    match serde_json::from_slice(&json) {
        Ok(Strict(Value::Object(object))) => Ok(object),
        _ => Err(TokenError::Malformed),
    }
}

/// JSON in which no object has two members of one name: parsers differ in which of them counts.
struct Strict(Value);

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        StrictSeed.deserialize(deserializer).map(Self)
    }
}

struct StrictSeed;

impl<'de> DeserializeSeed<'de> for StrictSeed {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for StrictSeed {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON without duplicate members")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut out = Vec::new();
        while let Some(item) = items.next_element_seed(StrictSeed)? {
            out.push(item);
        }
        Ok(Value::Array(out))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let mut seen = HashSet::new();
        let mut out = Map::new();
        while let Some(name) = members.next_key::<String>()? {
            if !seen.insert(name.clone()) {
                return Err(serde::de::Error::custom("duplicate member"));
            }
            out.insert(name, members.next_value_seed(StrictSeed)?);
        }
        Ok(Value::Object(out))
    }
}

/// n and e of an RSAPublicKey (RFC 8017, appendix A.1.1), without leading zeros.
fn rsa_public_key(der: &[u8]) -> Option<(&[u8], &[u8])> {
    let (sequence, rest) = der_value(der, 0x30)?;
    let (n, after_n) = der_value(sequence, 0x02)?;
    let (e, after_e) = der_value(after_n, 0x02)?;
    if !rest.is_empty() || !after_e.is_empty() {
        return None;
    }
    Some((n.strip_prefix(&[0]).unwrap_or(n), e.strip_prefix(&[0]).unwrap_or(e)))
}

/// The content of the DER value with this tag at the start of `input`, and what follows it.
fn der_value(input: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    match input {
        [first, len, rest @ ..] if *first == tag && *len < 0x80 => {
            rest.split_at_checked(usize::from(*len))
        }
        [first, 0x81, len, rest @ ..] if *first == tag => rest.split_at_checked(usize::from(*len)),
        [first, 0x82, high, low, rest @ ..] if *first == tag => {
            rest.split_at_checked(usize::from(u16::from_be_bytes([*high, *low])))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests;
