//! Small requests of JSON over HTTP/1.1, with TLS or on loopback. Each has a connection of its own: there are few.

use std::{fs, path::Path, sync::Arc, time::Duration};

use http::{Method, Request, StatusCode, Uri, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::{body::Bytes, client::conn::http1};
use hyper_util::rt::TokioIo;
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, ServerName, pem::PemObject as _},
};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct RequestError(String);

fn because(error: impl std::fmt::Display) -> RequestError {
    RequestError(error.to_string())
}

type Result<T> = std::result::Result<T, RequestError>;

/// Bytes of an answer, at most.
const ANSWER_BYTES_MAX: usize = 64 << 10;
/// How long a request may take.
const WITHIN: Duration = Duration::from_secs(10);

/// A server.
pub struct Client {
    host: String,
    authority: String,
    port: u16,
    tls: Option<TlsConnector>,
}

impl Client {
    /// `address` is `https://host:port`, or `http://` on loopback. `ca` takes the place of the system's authorities.
    ///
    /// # Errors
    /// When nothing can be sent there.
    pub fn new(address: &str, ca: Option<&Path>) -> Result<Self> {
        let uri: Uri = address.parse().map_err(|_| because(format!("{address} is no URL")))?;
        let host = uri.host().ok_or_else(|| because("the URL names no host"))?.to_owned();
        if !matches!(uri.path(), "" | "/") {
            return Err(because("the URL has a path"));
        }
        let is_local = matches!(host.as_str(), "localhost" | "127.0.0.1" | "[::1]");
        let (tls, port) = match uri.scheme_str() {
            Some("https") => (Some(connector(ca)?), 443),
            Some("http") if is_local => (None, 80),
            Some("http") => {
                return Err(because(
                    "keys are not sent without encryption: the URL has to begin with https://",
                ));
            }
            _ => return Err(because("the URL begins with neither https:// nor http://")),
        };
        let authority = uri.authority().map_or("", |authority| authority.as_str()).to_owned();
        Ok(Self { host, authority, port: uri.port_u16().unwrap_or(port), tls })
    }

    /// Sends a request, and answers the status and the body as JSON; null where it is none.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<&serde_json::Value>,
    ) -> Result<(StatusCode, serde_json::Value)> {
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, &self.authority)
            .header(header::CONTENT_TYPE, "application/json");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let body = body.map(ToString::to_string).unwrap_or_default();
        let request = request.body(Full::new(Bytes::from(body))).map_err(because)?;
        let sent = tokio::time::timeout(WITHIN, self.connect(request)).await;
        sent.map_err(|_| because("no answer in time"))?
    }

    async fn connect(
        &self,
        request: Request<Full<Bytes>>,
    ) -> Result<(StatusCode, serde_json::Value)> {
        let host = self.host.trim_matches(['[', ']']);
        let stream = TcpStream::connect((host, self.port)).await.map_err(because)?;
        match &self.tls {
            None => exchange(stream, request).await,
            Some(tls) => {
                let name = ServerName::try_from(host.to_owned()).map_err(because)?;
                exchange(tls.connect(name, stream).await.map_err(because)?, request).await
            }
        }
    }
}

fn connector(ca: Option<&Path>) -> Result<TlsConnector> {
    let mut roots = RootCertStore::empty();
    match ca {
        None => {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
        Some(path) => {
            let cannot = |error: &dyn std::fmt::Display| {
                because(format!("cannot read {}: {error}", path.display()))
            };
            let pem = fs::read(path).map_err(|error| cannot(&error))?;
            for certificate in CertificateDer::pem_slice_iter(&pem) {
                let certificate = certificate.map_err(|error| cannot(&error))?;
                roots.add(certificate).map_err(|error| cannot(&error))?;
            }
            if roots.is_empty() {
                return Err(because(format!("{} holds no certificate", path.display())));
            }
        }
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(because)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}

async fn exchange<S>(
    stream: S,
    request: Request<Full<Bytes>>,
) -> Result<(StatusCode, serde_json::Value)>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + Unpin + 'static,
{
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(because)?;
    let connection = tokio::spawn(connection);
    let answer = async {
        let answer = sender.send_request(request).await.map_err(because)?;
        let status = answer.status();
        let body = Limited::new(answer.into_body(), ANSWER_BYTES_MAX).collect().await;
        let body = body.map_err(|_| because("the answer is too long or ends early"))?;
        let body = body.to_bytes();
        Ok((status, serde_json::from_slice(&body).unwrap_or(serde_json::Value::Null)))
    };
    let answer = answer.await;
    connection.abort();
    answer
}
