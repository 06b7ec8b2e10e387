//! One request over one connection, to an address that has been checked.

use std::sync::Arc;

use ::http::{HeaderMap, Method, Request, StatusCode, Uri, header, response::Parts};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::{body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, ServerName, pem::PemObject as _},
};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::{InvokeError, egress::Egress, settings::SettingsError};

/// Where a request goes.
#[derive(Debug)]
pub(super) struct Target {
    /// Without brackets.
    pub host: String,
    pub port: u16,
    /// As in `Host`.
    pub authority: String,
    /// With the query; without a slash at the end when it is a prefix.
    pub path: String,
    pub is_tls: bool,
}

impl Target {
    /// Of a URL.
    ///
    /// # Errors
    /// When it cannot be called, or not without encryption.
    pub fn parse(url: &str, allows_plain_http: bool) -> Result<Self, SettingsError> {
        let none = || SettingsError::Url(url.to_owned());
        let uri: Uri = url.parse().map_err(|_| none())?;
        let authority = uri.authority().ok_or_else(none)?;
        if authority.as_str().contains('@') {
            return Err(none());
        }
        let host = authority.host().trim_matches(['[', ']']).to_owned();
        let is_tls = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err(none()),
        };
        let is_local = matches!(host.as_str(), "localhost" | "127.0.0.1" | "::1");
        let is_allowed = is_tls || (is_local && allows_plain_http);
        if !is_allowed {
            return Err(SettingsError::Plain(url.to_owned()));
        }
        Ok(Self {
            port: authority.port_u16().unwrap_or(if is_tls { 443 } else { 80 }),
            authority: authority.as_str().to_owned(),
            path: uri.path_and_query().map_or("/", |path| path.as_str()).to_owned(),
            host,
            is_tls,
        })
    }
}

/// Makes connections, and refuses those that must not be.
pub(super) struct Client {
    egress: Egress,
    tls: TlsConnector,
    answer_bytes_max: usize,
}

/// What came back.
pub(super) struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Answer {
    /// A status of which nothing else matters.
    pub fn without_body(status: StatusCode) -> Self {
        Self { status, headers: HeaderMap::new(), body: Bytes::new() }
    }
}

/// An answer of which the body has not been read, and the connection on which it comes.
pub(super) struct Begun {
    parts: Parts,
    body: Incoming,
    bytes_max: usize,
    _connection: AbortOnDrop,
}

impl Begun {
    /// The status, which comes before the rest.
    pub fn status(&self) -> StatusCode {
        self.parts.status
    }

    /// Waits for the rest.
    ///
    /// # Errors
    /// When it does not come, or is too long.
    pub async fn whole(self) -> Result<Answer, InvokeError> {
        let body = Limited::new(self.body, self.bytes_max).collect().await.map_err(|error| {
            if error.downcast_ref::<LengthLimitError>().is_some() {
                InvokeError::TooLong
            } else {
                InvokeError::Unreachable("the connection broke")
            }
        })?;
        let Parts { status, headers, .. } = self.parts;
        Ok(Answer { status, headers, body: body.to_bytes() })
    }
}

impl Client {
    /// # Errors
    /// When the authorities cannot be used.
    pub fn new(
        egress: Egress,
        ca: Option<&[u8]>,
        answer_bytes_max: usize,
    ) -> Result<Self, SettingsError> {
        let mut roots = RootCertStore::empty();
        match ca {
            None => {
                roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            }
            Some(pem) => {
                for certificate in CertificateDer::pem_slice_iter(pem) {
                    let certificate = certificate.map_err(|_| SettingsError::Authorities)?;
                    roots.add(certificate).map_err(|_| SettingsError::Authorities)?;
                }
                if roots.is_empty() {
                    return Err(SettingsError::Authorities);
                }
            }
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|_| SettingsError::Authorities)?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self { egress, tls: TlsConnector::from(Arc::new(config)), answer_bytes_max })
    }

    /// Posts a body to `path` of `target`.
    ///
    /// # Errors
    /// When no answer begins.
    pub async fn post(
        &self,
        target: &Target,
        path: &str,
        headers: &[(&'static str, String)],
        body: Bytes,
    ) -> Result<Begun, InvokeError> {
        let mut request = Request::builder()
            .method(Method::POST)
            .uri(path)
            .header(header::HOST, &target.authority);
        for (name, value) in headers {
            request = request.header(*name, value);
        }
        let request = request
            .body(Full::new(body))
            .map_err(|_| InvokeError::Unreachable("the request cannot be written"))?;
        let address = self.egress.resolve(&target.host, target.port).await?;
        let stream = TcpStream::connect(address).await.map_err(unreachable)?;
        if !target.is_tls {
            return self.exchange(stream, request).await;
        }
        let name = ServerName::try_from(target.host.clone()).map_err(unreachable)?;
        let stream = self.tls.connect(name, stream).await.map_err(|_| {
            InvokeError::Unreachable("its certificate, or how it encrypts, cannot be used")
        })?;
        self.exchange(stream, request).await
    }

    async fn exchange<S>(
        &self,
        stream: S,
        request: Request<Full<Bytes>>,
    ) -> Result<Begun, InvokeError>
    where
        S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + Unpin + 'static,
    {
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(unreachable)?;
        let connection = AbortOnDrop(tokio::spawn(async move {
            // what goes wrong shows where the answer is awaited
            let _ = connection.await;
        }));
        let answer = sender.send_request(request).await.map_err(unreachable)?;
        let (parts, body) = answer.into_parts();
        Ok(Begun { parts, body, bytes_max: self.answer_bytes_max, _connection: connection })
    }
}

/// A try that is over in the middle of it leaves no connection behind.
struct AbortOnDrop(tokio::task::JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn unreachable<E>(_: E) -> InvokeError {
    InvokeError::Unreachable("no connection")
}
