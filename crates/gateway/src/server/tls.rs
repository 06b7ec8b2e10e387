//! TLS with rustls, with a certificate that can be replaced while connections are served.

use std::io;
use std::sync::Arc;

use parking_lot::RwLock;
use rustls::ServerConfig;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::TcpStream;

use super::{Io, TlsAcceptor};

/// Why a certificate cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The file is not PEM, or lacks what it should hold.
    #[error("the {what} cannot be read: {why}")]
    Unreadable {
        /// `certificate` or `private key`.
        what: &'static str,
        /// What the reader says; never a part of the key.
        why: String,
    },
    /// Certificate and key do not fit each other, or are of a kind that is not supported.
    #[error("the certificate cannot be used: {0}")]
    Unusable(#[from] rustls::Error),
}

/// TLS 1.2 and 1.3; HTTP/2 and HTTP/1.1 by ALPN.
pub struct RustlsAcceptor {
    config: RwLock<Arc<ServerConfig>>,
}

impl RustlsAcceptor {
    /// Uses a certificate chain (leaf first) and its private key, both PEM.
    ///
    /// # Errors
    /// When they cannot be read or do not fit each other.
    pub fn from_pem(certificates: &[u8], private_key: &[u8]) -> Result<Self, TlsError> {
        Ok(RustlsAcceptor { config: RwLock::new(config(certificates, private_key)?) })
    }

    /// Uses another certificate for connections from now on. When it cannot be used the present one
    /// stays.
    ///
    /// # Errors
    /// As [`RustlsAcceptor::from_pem`].
    pub fn replace(&self, certificates: &[u8], private_key: &[u8]) -> Result<(), TlsError> {
        let config = config(certificates, private_key)?;
        *self.config.write() = config;
        Ok(())
    }
}

fn config(certificates: &[u8], private_key: &[u8]) -> Result<Arc<ServerConfig>, TlsError> {
    let unreadable = |what| {
        move |why: rustls_pki_types::pem::Error| TlsError::Unreadable { what, why: why.to_string() }
    };
    let chain = CertificateDer::pem_slice_iter(certificates)
        .collect::<Result<Vec<_>, _>>()
        .map_err(unreadable("certificate"))?;
    if chain.is_empty() {
        return Err(TlsError::Unreadable {
            what: "certificate",
            why: "no certificate in it".into(),
        });
    }
    let key = PrivateKeyDer::from_pem_slice(private_key).map_err(unreadable("private key"))?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

#[async_trait::async_trait]
impl TlsAcceptor for RustlsAcceptor {
    async fn accept(&self, stream: TcpStream) -> io::Result<Box<dyn Io>> {
        let config = Arc::clone(&self.config.read());
        let stream = tokio_rustls::TlsAcceptor::from(config).accept(stream).await?;
        Ok(Box::new(stream))
    }
}
