//! Text messages through a gateway that speaks HTTP: Twilio's API, or a webhook of one's own.

use std::sync::Arc;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::{Method, Request, StatusCode, Uri, header};
use http_body_util::Full;
use hyper::{body::Bytes, client::conn::http1};
use hyper_util::rt::TokioIo;
use rustls::{ClientConfig, RootCertStore, pki_types::ServerName};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::{Message, SendError, lanes::Transport};

/// What the gateway understands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Gateway {
    /// `POST {"to": "+1...", "text": "..."}`, with a bearer token where there is one.
    Webhook,
    /// Twilio's `Messages.json`: a form, with account and token as basic authentication.
    /// <https://www.twilio.com/docs/messaging/api/message-resource#create-a-message-resource>
    Twilio,
}

/// An SMS gateway. No `Debug`: it holds a secret.
pub struct SmsSettings {
    /// What it understands.
    pub gateway: Gateway,
    /// Where requests go; with Twilio, the part before `/2010-04-01`.
    pub url: String,
    /// Twilio's account.
    pub account: Option<String>,
    /// The bearer token of a webhook, or Twilio's auth token.
    pub token: Option<String>,
    /// Twilio's sender.
    pub from: Option<String>,
}

/// Settings that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct SettingsError(&'static str);

/// Sends by one gateway. Each message has a connection of its own.
pub struct Sms {
    gateway: Gateway,
    uri: Uri,
    host: String,
    port: u16,
    tls: Option<TlsConnector>,
    authorization: Option<String>,
    from: String,
}

impl Sms {
    /// Connects when the first message comes.
    ///
    /// # Errors
    /// When the URL cannot be used, or something is missing.
    pub fn new(settings: &SmsSettings) -> Result<Self, SettingsError> {
        let base = settings.url.trim_end_matches('/');
        let missing = |what: &Option<String>, why| what.clone().ok_or(SettingsError(why));
        let (url, authorization, from) = match settings.gateway {
            Gateway::Webhook => {
                let bearer = settings.token.as_ref().map(|token| format!("Bearer {token}"));
                (base.to_owned(), bearer, String::new())
            }
            Gateway::Twilio => {
                let account = missing(&settings.account, "account is missing")?;
                let token = missing(&settings.token, "the token is missing")?;
                let basic = STANDARD.encode(format!("{account}:{token}"));
                let url = format!("{base}/2010-04-01/Accounts/{account}/Messages.json");
                (url, Some(format!("Basic {basic}")), missing(&settings.from, "from is missing")?)
            }
        };
        let uri: Uri = url.parse().map_err(|_| SettingsError("url is none"))?;
        let host = uri.host().ok_or(SettingsError("url names no host"))?.to_owned();
        let is_local = matches!(host.as_str(), "localhost" | "127.0.0.1" | "[::1]");
        let (tls, port) = match uri.scheme_str() {
            Some("https") => (Some(connector()?), 443),
            Some("http") if is_local => (None, 80),
            Some("http") => return Err(SettingsError("codes are not sent without encryption")),
            _ => return Err(SettingsError("url begins with neither https:// nor http://")),
        };
        let port = uri.port_u16().unwrap_or(port);
        Ok(Self { gateway: settings.gateway, uri, host, port, tls, authorization, from })
    }

    fn request(&self, message: &Message) -> Result<Request<Full<Bytes>>, SendError> {
        let (content_type, body) = match self.gateway {
            Gateway::Webhook => {
                let body = serde_json::json!({ "to": message.to, "text": message.body });
                ("application/json", body.to_string())
            }
            Gateway::Twilio => {
                let pairs = [("To", &message.to), ("From", &self.from), ("Body", &message.body)];
                let pairs = pairs.map(|(name, value)| format!("{name}={}", form_encoded(value)));
                ("application/x-www-form-urlencoded", pairs.join("&"))
            }
        };
        let path = self.uri.path_and_query().map_or("/", |path| path.as_str());
        let authority = self.uri.authority().map_or("", |authority| authority.as_str());
        let mut request = Request::builder()
            .method(Method::POST)
            .uri(path)
            .header(header::HOST, authority)
            .header(header::CONTENT_TYPE, content_type);
        if let Some(authorization) = &self.authorization {
            request = request.header(header::AUTHORIZATION, authorization);
        }
        request
            .body(Full::new(Bytes::from(body)))
            .map_err(|_| SendError::Refused("the request cannot be written".to_owned()))
    }

    async fn post(&self, request: Request<Full<Bytes>>) -> Result<StatusCode, SendError> {
        let host = self.host.trim_matches(['[', ']']);
        let stream = TcpStream::connect((host, self.port)).await.map_err(unreachable)?;
        match &self.tls {
            None => exchange(stream, request).await,
            Some(tls) => {
                let name = ServerName::try_from(host.to_owned()).map_err(unreachable)?;
                let stream = tls.connect(name, stream).await.map_err(unreachable)?;
                exchange(stream, request).await
            }
        }
    }
}

fn connector() -> Result<TlsConnector, SettingsError> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|_| SettingsError("TLS cannot be used"))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}

async fn exchange<S>(stream: S, request: Request<Full<Bytes>>) -> Result<StatusCode, SendError>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + Unpin + 'static,
{
    let (mut sender, connection) =
        http1::handshake(TokioIo::new(stream)).await.map_err(unreachable)?;
    let connection = tokio::spawn(connection);
    let answer = sender.send_request(request).await;
    // the body says nothing that is needed
    connection.abort();
    answer.map(|answer| answer.status()).map_err(unreachable)
}

fn unreachable<E>(_: E) -> SendError {
    SendError::Unavailable("the SMS gateway cannot be reached".to_owned())
}

/// As HTML forms encode values (WHATWG URL, `application/x-www-form-urlencoded`).
fn form_encoded(text: &str) -> String {
    use std::fmt::Write as _;
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'*' => {
                encoded.push(char::from(byte));
            }
            b' ' => encoded.push('+'),
            _ => {
                let _ = write!(encoded, "%{byte:02X}");
            }
        }
    }
    encoded
}

#[async_trait::async_trait]
impl Transport for Sms {
    async fn deliver(&self, message: &Message) -> Result<(), SendError> {
        let status = self.post(self.request(message)?).await?;
        let text = format!("the SMS gateway answered {}", status.as_u16());
        match status {
            _ if status.is_success() => Ok(()),
            StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT => {
                Err(SendError::Unavailable(text))
            }
            _ if status.is_server_error() => Err(SendError::Unavailable(text)),
            _ => Err(SendError::Refused(text)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(gateway: Gateway, url: &str) -> SmsSettings {
        SmsSettings {
            gateway,
            url: url.to_owned(),
            account: Some("AC1".to_owned()),
            token: Some("secret".to_owned()),
            from: Some("+12065550100".to_owned()),
        }
    }

    #[test]
    fn values_of_forms_are_encoded() {
        assert_eq!(form_encoded("+1 a&b=é\n"), "%2B1+a%26b%3D%C3%A9%0A");
    }

    #[test]
    fn codes_leave_the_machine_encrypted_only() {
        for (url, good) in [
            ("https://sms.example.com/send", true),
            ("http://127.0.0.1:8080/send", true),
            ("http://sms.example.com/send", false),
            ("sms.example.com", false),
            ("ftp://sms.example.com", false),
        ] {
            assert_eq!(Sms::new(&settings(Gateway::Webhook, url)).is_ok(), good, "{url}");
        }
        let without = SmsSettings { from: None, ..settings(Gateway::Twilio, "https://a.example") };
        assert!(Sms::new(&without).is_err());
    }

    #[test]
    fn twilio_gets_its_path_and_its_account() {
        let sms = Sms::new(&settings(Gateway::Twilio, "https://api.twilio.com/")).expect("is good");
        let message = Message {
            to: "+12065550199".to_owned(),
            channel: crate::Channel::Sms,
            subject: None,
            body: "Your code is 123456".to_owned(),
            is_html: false,
            code: None,
        };
        let request = sms.request(&message).expect("is written");
        assert_eq!(request.uri(), "/2010-04-01/Accounts/AC1/Messages.json");
        assert_eq!(request.headers()["host"], "api.twilio.com");
        assert_eq!(request.headers()["authorization"], "Basic QUMxOnNlY3JldA==");
    }
}
