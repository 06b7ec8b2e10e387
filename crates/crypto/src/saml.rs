//! The key pair that signs SAML requests, and its X.509 certificate, from which whoever receives them takes the key.

use std::fmt;

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::RSA_PKCS1_SHA256;
use rcgen::{
    CertificateParams, DistinguishedName, DnType, IsCa, KeyUsagePurpose, PKCS_RSA_SHA256,
    SerialNumber,
};
use time::{Duration, OffsetDateTime};

use crate::entropy::{self, Entropy};
use crate::secret::SecretBytes;

/// How long a certificate is good. API reference, `GetSigningCertificate`: 10 years.
const VALID_DAYS: i64 = 3_652;

/// Why a key or its certificate cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SamlKeyError {
    /// Not an RSA key in PKCS#8, or aws-lc refuses it.
    #[error("the key is not acceptable")]
    Key,
    /// The certificate could not be made, for a date that has none or a name that does not fit.
    #[error("the certificate cannot be made")]
    Certificate,
}

/// A key pair that was just made.
pub struct NewSamlKey {
    /// To be stored sealed.
    pub pkcs8: SecretBytes,
    /// X.509, DER.
    pub certificate: Vec<u8>,
}

/// Makes an RSA-2048 key pair, and a certificate of `name` that it signs itself and that begins at `now_ms`. It takes 50 to 500 ms, and
/// draws on the randomness of aws-lc: there is no way to hand key generation another source.
///
/// # Errors
/// [`SamlKeyError`].
pub fn generate(
    name: &str,
    now_ms: i64,
    entropy: &dyn Entropy,
) -> Result<NewSamlKey, SamlKeyError> {
    let pair = KeyPair::generate(KeySize::Rsa2048).map_err(|_| SamlKeyError::Key)?;
    let pkcs8 = pair.as_der().map_err(|_| SamlKeyError::Key)?;
    let pkcs8 = SecretBytes::new(pkcs8.as_ref().to_vec());
    let from = OffsetDateTime::from_unix_timestamp(now_ms.div_euclid(1_000))
        .map_err(|_| SamlKeyError::Certificate)?;
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.not_before = from;
    params.not_after = from + Duration::days(VALID_DAYS);
    // 16 bytes, positive: RFC 5280, 4.1.2.2
    let [first, rest @ ..]: [u8; 16] = entropy::bytes(entropy);
    params.serial_number = Some(SerialNumber::from([&[first & 0x7f | 0x40][..], &rest].concat()));
    params.is_ca = IsCa::NoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    let key = rcgen::KeyPair::from_pkcs8_der_and_sign_algo(
        &pkcs8.expose().as_slice().into(),
        &PKCS_RSA_SHA256,
    )
    .map_err(|_| SamlKeyError::Key)?;
    let certificate = params.self_signed(&key).map_err(|_| SamlKeyError::Certificate)?;
    Ok(NewSamlKey { pkcs8, certificate: certificate.der().to_vec() })
}

/// The private half.
pub struct SamlSigningKey {
    pair: KeyPair,
}

impl SamlSigningKey {
    /// Reads the PKCS#8 form.
    ///
    /// # Errors
    /// [`SamlKeyError::Key`].
    pub fn from_pkcs8(pkcs8: &SecretBytes) -> Result<Self, SamlKeyError> {
        let pair = KeyPair::from_pkcs8(pkcs8.expose()).map_err(|_| SamlKeyError::Key)?;
        Ok(Self { pair })
    }

    /// Signs with RSA and SHA-256, PKCS#1 v1.5: `http://www.w3.org/2001/04/xmldsig-more#rsa-sha256` (RFC 6931, 2.3.2).
    ///
    /// # Errors
    /// [`SamlKeyError::Key`] if aws-lc fails.
    pub fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SamlKeyError> {
        let mut signature = vec![0; self.pair.public_modulus_len()];
        // PKCS#1 v1.5 is deterministic; the generator is part of the signature of the function only
        self.pair
            .sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), message, &mut signature)
            .map_err(|_| SamlKeyError::Key)?;
        Ok(signature)
    }
}

impl fmt::Debug for SamlSigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SamlSigningKey").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::signature::{RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};
    use x509_parser::prelude::*;

    use super::*;
    use crate::testing::SeededEntropy;

    /// 2026-01-01T00:00:00Z
    const NOW_MS: i64 = 1_767_225_600_123;

    #[test]
    fn the_certificate_verifies_what_the_key_signs() {
        let made = generate("us-east-1_AbCdEfGhI", NOW_MS, &SeededEntropy::new(1)).unwrap();
        let (rest, certificate) = X509Certificate::from_der(&made.certificate).unwrap();
        assert!(rest.is_empty());
        assert_eq!(certificate.subject().to_string(), "CN=us-east-1_AbCdEfGhI");
        assert_eq!(certificate.issuer(), certificate.subject());
        let validity = certificate.validity();
        assert_eq!(validity.not_before.timestamp(), NOW_MS / 1_000);
        assert_eq!(validity.not_after.to_datetime().year(), 2036);
        assert!(!certificate.is_ca());

        let key = SamlSigningKey::from_pkcs8(&made.pkcs8).unwrap();
        let signature = key.sign(b"SAMLRequest=x&SigAlg=y").unwrap();
        let public = certificate.public_key().subject_public_key.data.clone();
        let public = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, public);
        assert!(public.verify(b"SAMLRequest=x&SigAlg=y", &signature).is_ok());
        assert!(public.verify(b"SAMLRequest=z&SigAlg=y", &signature).is_err());
        let signed = certificate.tbs_certificate.as_ref();
        assert!(public.verify(signed, &certificate.signature_value.data).is_ok());
        assert!(SamlSigningKey::from_pkcs8(&SecretBytes::new(vec![1, 2, 3])).is_err());
    }
}
