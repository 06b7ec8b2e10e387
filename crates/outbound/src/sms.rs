//! Text messages through a gateway that speaks HTTP: Twilio's API, Amazon SNS's, or a webhook of one's own.

use std::sync::Arc;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::{Method, Request, StatusCode, Uri, header};
use http_body_util::Full;
use hyper::{body::Bytes, client::conn::http1};
use hyper_util::rt::TokioIo;
use rustls::{ClientConfig, RootCertStore, pki_types::ServerName};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::{Clock, Message, SendError, aws::Signer, lanes::Transport, sns};

const FORM: &str = "application/x-www-form-urlencoded";

/// What the gateway understands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Gateway {
    /// `POST {"to": "+1...", "text": "..."}`, with a bearer token where there is one.
    Webhook,
    /// Twilio's `Messages.json`: a form, with account and token as basic authentication.
    /// <https://www.twilio.com/docs/messaging/api/message-resource#create-a-message-resource>
    Twilio,
    /// Amazon SNS's `Publish`, signed with Signature Version 4; LocalStack and others speak it too.
    Sns,
}

/// An SMS gateway. No `Debug`: it holds a secret.
pub struct SmsSettings {
    /// What it understands.
    pub gateway: Gateway,
    /// Where requests go; with Twilio, the part before `/2010-04-01`.
    pub url: String,
    /// Twilio's account, or the id of an access key for SNS.
    pub account: Option<String>,
    /// The bearer token of a webhook, Twilio's auth token, or the secret of the access key.
    pub token: Option<String>,
    /// Twilio's sender, or the sender's name with SNS, which needs none.
    pub from: Option<String>,
    /// The region of SNS.
    pub region: Option<String>,
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
    signer: Option<Signer>,
    clock: Arc<dyn Clock>,
    from: String,
}

impl Sms {
    /// Connects when the first message comes. Signatures are made at the time of `clock`.
    ///
    /// # Errors
    /// When the URL cannot be used, or something is missing.
    pub fn new(settings: &SmsSettings, clock: Arc<dyn Clock>) -> Result<Self, SettingsError> {
        let base = settings.url.trim_end_matches('/');
        let missing = |what: &Option<String>, why| what.clone().ok_or(SettingsError(why));
        let mut signer = None;
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
            Gateway::Sns => {
                signer = Some(Signer {
                    access_key_id: missing(&settings.account, "account is missing")?,
                    secret_access_key: missing(&settings.token, "the token is missing")?,
                    region: missing(&settings.region, "region is missing")?,
                    service: "sns",
                });
                (base.to_owned(), None, settings.from.clone().unwrap_or_default())
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
        let gateway = settings.gateway;
        Ok(Self { gateway, uri, host, port, tls, authorization, signer, clock, from })
    }

    fn request(&self, message: &Message) -> Result<Request<Full<Bytes>>, SendError> {
        let (content_type, body) = match self.gateway {
            Gateway::Webhook => {
                let body = serde_json::json!({ "to": message.to, "text": message.body });
                ("application/json", body.to_string())
            }
            Gateway::Twilio => {
                let pairs = [("To", &message.to), ("From", &self.from), ("Body", &message.body)];
                (FORM, form(pairs.map(|(name, value)| (name.to_owned(), value.as_str()))))
            }
            Gateway::Sns => (FORM, form(sns::publish(&message.to, &message.body, &self.from))),
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
        if let Some(signer) = &self.signer {
            let signed = signer.sign(authority, path, content_type, &body, self.clock.now_ms());
            request = request
                .header("x-amz-date", signed.date)
                .header(header::AUTHORIZATION, signed.authorization);
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

fn form<'a>(pairs: impl IntoIterator<Item = (String, &'a str)>) -> String {
    let pairs = pairs.into_iter().map(|(name, value)| format!("{name}={}", form_encoded(value)));
    pairs.collect::<Vec<_>>().join("&")
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
    use http_body_util::BodyExt as _;

    use super::*;
    use crate::clock::ManualClock;

    fn settings(gateway: Gateway, url: &str) -> SmsSettings {
        SmsSettings {
            gateway,
            url: url.to_owned(),
            account: Some("AC1".to_owned()),
            token: Some("secret".to_owned()),
            from: Some("+12065550100".to_owned()),
            region: Some("us-east-1".to_owned()),
        }
    }

    fn sms(settings: &SmsSettings) -> Result<Sms, SettingsError> {
        // 2015-08-30T12:36:00Z
        Sms::new(settings, Arc::new(ManualClock::at(1_440_938_160_000)))
    }

    fn message() -> Message {
        Message {
            to: "+12065550199".to_owned(),
            channel: crate::Channel::Sms,
            subject: None,
            body: "Your code is 123456".to_owned(),
            is_html: false,
            plain: None,
            code: None,
            sender: Default::default(),
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
            assert_eq!(sms(&settings(Gateway::Webhook, url)).is_ok(), good, "{url}");
        }
        let without = SmsSettings { from: None, ..settings(Gateway::Twilio, "https://a.example") };
        assert!(sms(&without).is_err());
        let without = SmsSettings { region: None, ..settings(Gateway::Sns, "https://a.example") };
        assert!(sms(&without).is_err());
    }

    #[test]
    fn twilio_gets_its_path_and_its_account() {
        let sms = sms(&settings(Gateway::Twilio, "https://api.twilio.com/")).expect("is good");
        let request = sms.request(&message()).expect("is written");
        assert_eq!(request.uri(), "/2010-04-01/Accounts/AC1/Messages.json");
        assert_eq!(request.headers()["host"], "api.twilio.com");
        assert_eq!(request.headers()["authorization"], "Basic QUMxOnNlY3JldA==");
    }
    /// The signature is that of botocore for the same request.
    #[tokio::test]
    async fn sns_gets_a_signed_form() {
        let sms = sms(&settings(Gateway::Sns, "http://127.0.0.1:4566/")).expect("is good");
        let request = sms.request(&message()).expect("is written");
        assert_eq!(request.uri(), "/");
        assert_eq!(request.headers()["x-amz-date"], "20150830T123600Z");
        assert_eq!(
            request.headers()["authorization"],
            "AWS4-HMAC-SHA256 Credential=AC1/20150830/us-east-1/sns/aws4_request, \
             SignedHeaders=content-type;host;x-amz-date, \
             Signature=bc906cacb34394f7a55d3451b10f8d194a6a80e13423c51a3f2698b59efff40b"
        );
        let body = request.into_body().collect().await.expect("is there").to_bytes();
        assert_eq!(
            String::from_utf8_lossy(&body),
            "Action=Publish&Version=2010-03-31&PhoneNumber=%2B12065550199&Message=Your+code+is+123456&\
             MessageAttributes.entry.1.Name=AWS.SNS.SMS.SMSType&\
             MessageAttributes.entry.1.Value.DataType=String&\
             MessageAttributes.entry.1.Value.StringValue=Transactional&\
             MessageAttributes.entry.2.Name=AWS.SNS.SMS.SenderID&\
             MessageAttributes.entry.2.Value.DataType=String&\
             MessageAttributes.entry.2.Value.StringValue=%2B12065550100"
        );
    }
}
