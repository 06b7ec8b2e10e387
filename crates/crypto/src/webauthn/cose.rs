//! Public keys as authenticators write them (RFC 9052, section 7; RFC 9053; RFC 8230), and the signatures that they
//! verify (section 6.5.5).

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, ED25519, ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256,
    RsaPublicKeyComponents, UnparsedPublicKey,
};

use super::{
    Refusal,
    cbor::{Reader, once},
};

/// The kinds of key that are asked for, the preferred one first, by their numbers at IANA: ES256, EdDSA, RS256.
pub const ALGORITHMS: [i64; 3] = [ES256, EDDSA, RS256];
const ES256: i64 = -7;
const EDDSA: i64 = -8;
const RS256: i64 = -257;

const KTY_OKP: i64 = 1;
const KTY_EC2: i64 = 2;
const KTY_RSA: i64 = 3;
const CRV_P256: i64 = 1;
const CRV_ED25519: i64 = 6;

/// A modulus of 2048 to 4096 bits: more is slow to verify, and nobody's authenticator makes it.
const MODULUS_BYTES: std::ops::RangeInclusive<usize> = 256..=512;
const EXPONENT_BYTES_MAX: usize = 4;

/// A public key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PublicKey<'b> {
    /// P-256 with SHA-256: both coordinates.
    Es256(&'b [u8], &'b [u8]),
    /// Ed25519.
    EdDsa(&'b [u8]),
    /// PKCS #1 v1.5 with SHA-256: modulus and exponent.
    Rs256(&'b [u8], &'b [u8]),
}

impl<'b> PublicKey<'b> {
    /// Reads a key of one of [`ALGORITHMS`].
    ///
    /// # Errors
    /// [`Refusal::Malformed`]; [`Refusal::Algorithm`] for other kinds and for what is no key of its kind.
    pub fn parse(bytes: &'b [u8]) -> Result<Self, Refusal> {
        let (mut kty, mut alg, mut first, mut x, mut y) = (None, None, None, None, None);
        let mut reader = Reader::new(bytes);
        for _ in 0..reader.map()? {
            match reader.integer()? {
                1 => once(&mut kty, reader.integer()?)?,
                3 => once(&mut alg, reader.integer()?)?,
                // a curve's number, or a modulus
                -1 => once(&mut first, reader.value()?)?,
                -2 => once(&mut x, reader.value()?)?,
                -3 => once(&mut y, reader.value()?)?,
                _ => {
                    reader.value()?;
                }
            }
        }
        reader.end()?;
        let number = |value: Option<&'b [u8]>| Reader::new(value.unwrap_or_default()).integer();
        let bytes = |value: Option<&'b [u8]>| Reader::new(value.unwrap_or_default()).bytes();
        let key = match (kty, alg) {
            (Some(KTY_EC2), Some(ES256)) if number(first)? == CRV_P256 => {
                Self::Es256(bytes(x)?, bytes(y)?)
            }
            (Some(KTY_OKP), Some(EDDSA)) if number(first)? == CRV_ED25519 => Self::EdDsa(bytes(x)?),
            (Some(KTY_RSA), Some(RS256)) => Self::Rs256(bytes(first)?, bytes(x)?),
            _ => return Err(Refusal::Algorithm),
        };
        if key.is_valid() { Ok(key) } else { Err(Refusal::Algorithm) }
    }

    /// The kind, by its number at IANA.
    pub fn algorithm(&self) -> i64 {
        match self {
            Self::Es256(..) => ES256,
            Self::EdDsa(_) => EDDSA,
            Self::Rs256(..) => RS256,
        }
    }

    /// Whether this is a key of its kind: a point on the curve, a modulus of a sensible size.
    fn is_valid(&self) -> bool {
        match self {
            Self::Es256(x, y) => {
                let is_point =
                    |point: &[u8]| ParsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, point).is_ok();
                x.len() == 32 && y.len() == 32 && is_point(&point(x, y))
            }
            Self::EdDsa(x) => ParsedPublicKey::new(&ED25519, x).is_ok(),
            Self::Rs256(n, e) => {
                let is_number = |bytes: &[u8]| bytes.first().is_some_and(|byte| *byte != 0);
                // an even modulus or exponent is none, and 1 encrypts nothing
                let is_odd = |bytes: &[u8]| bytes.last().is_some_and(|byte| byte % 2 == 1);
                MODULUS_BYTES.contains(&n.len())
                    && e.len() <= EXPONENT_BYTES_MAX
                    && [n, e].into_iter().all(|part| is_number(part) && is_odd(part))
                    && **e != [1]
            }
        }
    }

    /// Whether the key has signed `message`.
    pub fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        let verified = match self {
            Self::Es256(x, y) => UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, point(x, y))
                .verify(message, signature),
            Self::EdDsa(x) => UnparsedPublicKey::new(&ED25519, x).verify(message, signature),
            Self::Rs256(n, e) => RsaPublicKeyComponents { n, e }.verify(
                &RSA_PKCS1_2048_8192_SHA256,
                message,
                signature,
            ),
        };
        verified.is_ok()
    }
}

/// A point, uncompressed (SEC 1, section 2.3.3).
fn point(x: &[u8], y: &[u8]) -> Vec<u8> {
    [&[4], x, y].concat()
}
