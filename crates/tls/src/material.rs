//! What the files hold, read and checked.

use std::sync::Arc;

use rustls::{RootCertStore, sign::CertifiedKey};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};
use x509_parser::prelude::{FromDer as _, X509Certificate};

use crate::{Identity, provider};

/// Why certificates cannot be used. Says nothing of a key's bytes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("{path}: {why}")]
    File {
        /// Which one.
        path: String,
        /// What the system says.
        why: String,
    },
    /// A file is not PEM, or lacks what it should hold.
    #[error("the {what} cannot be read: {why}")]
    Unreadable {
        /// `certificate`, `private key` or `bundle of authorities`.
        what: &'static str,
        /// What the reader says.
        why: String,
    },
    /// Certificate and key do not fit each other, or are of a kind that is not supported.
    #[error("the certificate cannot be used: {0}")]
    Unusable(String),
    /// It has expired, and the one in use has not.
    #[error("the certificate has expired")]
    Expired,
    /// It is another's: an exchange of files by mistake would cut the node off.
    #[error("the certificate is of {new}, and the one in use is of {old}")]
    OtherIdentity {
        /// Whose the present one is.
        old: String,
        /// Whose the new one is.
        new: String,
    },
}

impl From<rustls::Error> for TlsError {
    fn from(error: rustls::Error) -> Self {
        Self::Unusable(error.to_string())
    }
}

/// A certificate chain with its key.
pub(crate) struct Own {
    pub key: Arc<CertifiedKey>,
    pub facts: Facts,
}

/// What a certificate says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Facts {
    /// Seconds since 1970.
    pub not_before_s: u64,
    /// Seconds since 1970; of a chain, the earliest.
    pub not_after_s: u64,
    pub identity: Option<Identity>,
}

impl Own {
    pub(crate) fn parse(certificates: &[u8], private_key: &[u8]) -> Result<Self, TlsError> {
        let unreadable = |what| {
            move |why: rustls_pki_types::pem::Error| TlsError::Unreadable {
                what,
                why: why.to_string(),
            }
        };
        let chain = certificates_of("certificate", certificates)?;
        let key = PrivateKeyDer::from_pem_slice(private_key).map_err(unreadable("private key"))?;
        let facts = facts(&chain)
            .ok_or_else(|| TlsError::Unusable("it is no X.509 certificate".to_owned()))?;
        let key = CertifiedKey::from_der(chain, key, &provider())?;
        Ok(Self { key: Arc::new(key), facts })
    }
}

/// Those who may sign the certificates of peers.
pub(crate) struct Trust {
    pub roots: Arc<RootCertStore>,
    /// When the last of them expires, seconds since 1970.
    pub not_after_s: u64,
}

impl Trust {
    pub(crate) fn parse(bundle: &[u8]) -> Result<Self, TlsError> {
        let what = "bundle of authorities";
        let mut roots = RootCertStore::empty();
        let mut not_after_s = 0;
        for certificate in certificates_of(what, bundle)? {
            let facts = facts(std::slice::from_ref(&certificate));
            not_after_s = not_after_s.max(facts.map_or(0, |facts| facts.not_after_s));
            roots
                .add(certificate)
                .map_err(|error| TlsError::Unreadable { what, why: error.to_string() })?;
        }
        Ok(Self { roots: Arc::new(roots), not_after_s })
    }
}

fn certificates_of(
    what: &'static str,
    pem: &[u8],
) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let unreadable = |why: String| TlsError::Unreadable { what, why };
    let chain = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| unreadable(error.to_string()))?;
    if chain.is_empty() { Err(unreadable("no certificate in it".to_owned())) } else { Ok(chain) }
}

/// Of a chain, the leaf first.
pub(crate) fn facts(chain: &[CertificateDer<'_>]) -> Option<Facts> {
    let mut facts: Option<Facts> = None;
    for certificate in chain {
        let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
        let seconds = |time: x509_parser::time::ASN1Time| u64::try_from(time.timestamp()).ok();
        let not_before_s = seconds(certificate.validity().not_before).unwrap_or(0);
        // before 1970 is long ago
        let not_after_s = seconds(certificate.validity().not_after).unwrap_or(0);
        match &mut facts {
            Some(facts) => {
                facts.not_before_s = facts.not_before_s.max(not_before_s);
                facts.not_after_s = facts.not_after_s.min(not_after_s);
            }
            None => {
                let identity = Identity::of(&certificate);
                facts = Some(Facts { not_before_s, not_after_s, identity });
            }
        }
    }
    facts
}
