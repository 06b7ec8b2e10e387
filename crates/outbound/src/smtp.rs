//! E-mail over SMTP (RFC 5321), with connections that are kept.

use std::{fmt, time::Duration};

use lettre::{
    AsyncSmtpTransport, AsyncTransport, Tokio1Executor,
    message::{Mailbox, MultiPart, header::ContentType},
    transport::smtp::{
        PoolConfig,
        authentication::Credentials,
        client::{Certificate, CertificateStore, Tls, TlsParameters},
    },
};
use rustls::pki_types::{CertificateDer, pem::PemObject as _};

use crate::{Message, SendError, Sender, is_of_domains, lanes::Transport};

/// How the connection is encrypted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Security {
    /// By STARTTLS (RFC 3207), without which nothing is sent.
    #[default]
    StartTls,
    /// From the start (RFC 8314).
    Tls,
    /// Not at all.
    None,
}

/// A mail server. No `Debug`: it holds a password.
pub struct SmtpSettings {
    /// Its name.
    pub host: String,
    /// Its port; that of the encryption by default.
    pub port: Option<u16>,
    /// See [`Security`].
    pub security: Security,
    /// Authorities of its certificate in PEM, in place of the system's.
    pub ca: Option<Vec<u8>>,
    /// User name and password.
    pub credentials: Option<(String, String)>,
    /// `From`.
    pub from: String,
    /// `Reply-To`.
    pub reply_to: Option<String>,
    /// How long one command may take.
    pub timeout: Duration,
    /// Connections at a time.
    pub connections: u32,
    /// Domains, with what is below them, that messages may be from beside `from`; `None`: any.
    pub sender_domains: Option<Vec<String>>,
}

impl SmtpSettings {
    /// From a URL: `smtp://host:port` without encryption, with `?tls=required` by STARTTLS, `smtps://` with
    /// TLS from the start; each with `user:password@` before the host.
    ///
    /// # Errors
    /// The URL is none, or would send a password without encryption to another machine.
    pub fn from_url(url: &str, from: &str) -> Result<Self, SettingsError> {
        let refused = |why: &str| SettingsError(why.to_owned());
        let uri: http::Uri = url.parse().map_err(|_| refused("it is no URL"))?;
        let security = match (uri.scheme_str(), uri.query()) {
            (Some("smtps"), None) => Security::Tls,
            (Some("smtp"), None) => Security::None,
            (Some("smtp"), Some("tls=required")) => Security::StartTls,
            _ => return Err(refused("it begins with neither smtp:// nor smtps://")),
        };
        let authority = uri.authority().map_or("", |authority| authority.as_str());
        let credentials = match authority.rsplit_once('@') {
            None => None,
            Some((credentials, _)) => {
                let (user, password) =
                    credentials.split_once(':').ok_or_else(|| refused("it has no password"))?;
                let decoded = |text| url_decoded(text).ok_or_else(|| refused("it is not encoded"));
                Some((decoded(user)?, decoded(password)?))
            }
        };
        let host = uri.host().unwrap_or_default().trim_matches(['[', ']']).to_owned();
        let is_local = matches!(host.as_str(), "localhost" | "127.0.0.1" | "::1");
        if credentials.is_some() && security == Security::None && !is_local {
            return Err(refused("a password is not sent without encryption"));
        }
        Ok(Self {
            host,
            port: uri.port_u16(),
            security,
            ca: None,
            credentials,
            from: from.to_owned(),
            reply_to: None,
            timeout: Duration::from_secs(10),
            connections: 4,
            sender_domains: None,
        })
    }
}

/// RFC 3986, section 2.1.
fn url_decoded(text: &str) -> Option<String> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            decoded.push(byte);
            continue;
        }
        let digits = [bytes.next()?, bytes.next()?];
        let digits = std::str::from_utf8(&digits).ok()?;
        decoded.push(u8::from_str_radix(digits, 16).ok()?);
    }
    String::from_utf8(decoded).ok()
}

/// Settings that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct SettingsError(String);

impl SettingsError {
    fn of(what: &str, error: &dyn fmt::Display) -> Self {
        Self(format!("{what}: {error}"))
    }
}

/// Sends by one mail server.
pub struct Smtp {
    transport: AsyncSmtpTransport<Tokio1Executor>,
    from: Mailbox,
    reply_to: Option<Mailbox>,
    sender_domains: Option<Vec<String>>,
}

impl Smtp {
    /// Connects when the first message comes. Called on a runtime, which looks after the connections.
    ///
    /// # Errors
    /// When an address or a certificate cannot be read.
    pub fn new(settings: &SmtpSettings) -> Result<Self, SettingsError> {
        let mailbox = |what: &str, text: &str| {
            text.parse::<Mailbox>().map_err(|error| SettingsError::of(what, &error))
        };
        let (tls, port) = match settings.security {
            Security::StartTls => (Tls::Required(parameters(settings)?), 587),
            Security::Tls => (Tls::Wrapper(parameters(settings)?), 465),
            Security::None => (Tls::None, 25),
        };
        let pool = PoolConfig::new().max_size(settings.connections);
        let mut builder =
            AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(settings.host.as_str())
                .port(settings.port.unwrap_or(port))
                .tls(tls)
                .timeout(Some(settings.timeout))
                .pool_config(pool);
        if let Some((username, password)) = &settings.credentials {
            builder = builder.credentials(Credentials::new(username.clone(), password.clone()));
        }
        let reply_to = settings.reply_to.as_deref();
        Ok(Self {
            transport: builder.build(),
            from: mailbox("from", &settings.from)?,
            reply_to: reply_to.map(|text| mailbox("reply_to", text)).transpose()?,
            sender_domains: settings.sender_domains.clone(),
        })
    }

    /// Whom a message is from: checked here too, because the operator may have taken a domain away since a
    /// pool was set up.
    fn from(&self, message: &Message) -> Result<Mailbox, SendError> {
        let Some(from) = &message.sender.from else { return Ok(self.from.clone()) };
        let refused = |what: &str| SendError::Refused(format!("the pool's sender {what}"));
        let from: Mailbox = from.parse().map_err(|_| refused("cannot be written"))?;
        let domains = self.sender_domains.as_deref();
        if domains.is_none_or(|domains| is_of_domains(from.email.as_ref(), domains)) {
            return Ok(from);
        }
        Err(refused("is of a domain that is not allowed"))
    }

    /// Where answers go: with a sender of its own, only where the pool says.
    fn reply_to(&self, message: &Message) -> Result<Option<Mailbox>, SendError> {
        let refused = |_| SendError::Refused("Reply-To cannot be written".to_owned());
        match &message.sender {
            Sender { reply_to: Some(reply_to), .. } => reply_to.parse().map(Some).map_err(refused),
            Sender { from: Some(_), .. } => Ok(None),
            _ => Ok(self.reply_to.clone()),
        }
    }

    fn email(&self, message: &Message) -> Result<lettre::Message, SendError> {
        let refused = |what: &str| SendError::Refused(format!("{what} cannot be written"));
        let to: lettre::Address = message.to.parse().map_err(|_| refused("the address"))?;
        // a line's end would begin another header
        let subject = message.subject.as_deref().unwrap_or_default();
        let subject = subject.replace(char::is_control, " ");
        let mut builder = lettre::Message::builder()
            .from(self.from(message)?)
            .to(Mailbox::new(None, to))
            .subject(subject);
        if let Some(reply_to) = self.reply_to(message)? {
            builder = builder.reply_to(reply_to);
        }
        let written = match &message.plain {
            Some(plain) => builder
                .multipart(MultiPart::alternative_plain_html(plain.clone(), message.body.clone())),
            None => {
                let content =
                    if message.is_html { ContentType::TEXT_HTML } else { ContentType::TEXT_PLAIN };
                builder.header(content).body(message.body.clone())
            }
        };
        written.map_err(|_| refused("the message"))
    }
}

fn parameters(settings: &SmtpSettings) -> Result<TlsParameters, SettingsError> {
    let mut builder = TlsParameters::builder(settings.host.clone());
    if let Some(ca) = &settings.ca {
        // what is no certificate is passed over without a word below
        if CertificateDer::pem_slice_iter(ca).next().is_none() {
            return Err(SettingsError::of("ca", &"it holds no certificate"));
        }
        builder = builder.certificate_store(CertificateStore::None);
        let certificate =
            Certificate::from_pem(ca).map_err(|error| SettingsError::of("ca", &error))?;
        builder = builder.add_root_certificate(certificate);
    }
    builder.build().map_err(|error| SettingsError::of("tls", &error))
}

#[async_trait::async_trait]
impl Transport for Smtp {
    async fn deliver(&self, message: &Message) -> Result<(), SendError> {
        let email = self.email(message)?;
        self.transport.send(email).await.map(|_| ()).map_err(|error| {
            // what a server answers can hold the address
            let code = error.status().map(|code| format!("the mail server answered {code}"));
            match code {
                Some(text) if error.is_permanent() => SendError::Refused(text),
                Some(text) => SendError::Unavailable(text),
                None if error.is_timeout() => {
                    SendError::Unavailable("the mail server did not answer in time".to_owned())
                }
                None => SendError::Unavailable("the mail server cannot be reached".to_owned()),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Channel;

    fn smtp() -> Smtp {
        let settings = SmtpSettings {
            host: "127.0.0.1".to_owned(),
            port: Some(9),
            security: Security::None,
            ca: None,
            credentials: None,
            from: "Example <no-reply@example.com>".to_owned(),
            reply_to: Some("help@example.com".to_owned()),
            timeout: Duration::from_secs(1),
            connections: 1,
            sender_domains: Some(vec!["example.org".to_owned()]),
        };
        Smtp::new(&settings).expect("can be used")
    }

    fn message() -> Message {
        Message {
            to: "ada@example.com".to_owned(),
            channel: Channel::Email,
            subject: Some("Your code\r\nBcc: eve@example.com".to_owned()),
            body: "The code is 123456".to_owned(),
            is_html: false,
            plain: None,
            code: None,
            sender: Default::default(),
        }
    }

    #[test]
    fn a_url_says_how_mail_is_sent() {
        let read = |url: &str| SmtpSettings::from_url(url, "a@b.de");
        let settings = read("smtp://127.0.0.1:1025").expect("is good");
        assert_eq!((settings.host.as_str(), settings.port), ("127.0.0.1", Some(1025)));
        assert!(settings.security == Security::None && settings.credentials.is_none());
        let settings = read("smtps://ada:p%40ss@mail.example.com").expect("is good");
        assert_eq!(settings.credentials, Some(("ada".to_owned(), "p@ss".to_owned())));
        assert_eq!((settings.security, settings.port), (Security::Tls, None));
        let settings = read("smtp://mail.example.com:587?tls=required").expect("is good");
        assert_eq!(settings.security, Security::StartTls);
        for url in [
            "mail.example.com",
            "http://a.example",
            "smtp://a:b@mail.example.com",
            "smtps://a@b.de",
        ] {
            assert!(read(url).is_err(), "{url}");
        }
    }

    #[tokio::test]
    async fn a_subject_begins_no_other_header() {
        let email = smtp().email(&message()).expect("is written");
        let recipients = email.envelope().to().len();
        let text = String::from_utf8(email.formatted()).expect("is a text");
        assert_eq!(recipients, 1);
        assert!(!text.lines().any(|line| line.starts_with("Bcc")), "{text}");
        assert!(text.contains("Reply-To: help@example.com"));
        assert!(text.contains("Content-Type: text/plain; charset=utf-8"));
    }

    #[tokio::test]
    async fn html_goes_with_the_same_as_plain_text() {
        let message = Message {
            body: "<p>Hello</p>".to_owned(),
            is_html: true,
            plain: Some("Hello".to_owned()),
            ..message()
        };
        let text = smtp().email(&message).expect("is written").formatted();
        let text = String::from_utf8(text).expect("is a text");
        assert!(text.contains("Content-Type: multipart/alternative"), "{text}");
        let (plain, html) = (text.find("text/plain"), text.find("text/html"));
        // RFC 2046, section 5.1.4: what is preferred comes last
        assert!(plain.is_some() && plain < html, "{text}");
    }

    #[tokio::test]
    async fn a_message_is_from_the_pool_s_own_address_where_its_domain_is_allowed() {
        let of = |from: &str, reply_to: Option<&str>| {
            let sender = Sender { from: Some(from.into()), reply_to: reply_to.map(str::to_owned) };
            smtp().email(&Message { sender, ..message() })
        };
        let email = of("Ada <ada@mail.example.org>", Some("b@c.de")).expect("is written");
        let text = String::from_utf8(email.formatted()).expect("is a text");
        assert!(text.contains("From: Ada <ada@mail.example.org>"), "{text}");
        assert!(text.contains("Reply-To: b@c.de"), "{text}");
        let email = of("ada@example.org", None).expect("is written");
        assert!(!String::from_utf8(email.formatted()).expect("is a text").contains("Reply-To"));
        for from in ["ada@example.com", "ada@badexample.org", "x", "a@example.org, b@example.org"] {
            assert!(matches!(of(from, None), Err(SendError::Refused(_))), "{from}");
        }
    }

    #[tokio::test]
    async fn an_address_that_is_none_is_refused() {
        for to in ["ada", "ada@example.com\r\nRCPT TO:<eve@example.com>", "a@b, c@d"] {
            let message = Message { to: to.to_owned(), ..message() };
            assert!(matches!(smtp().email(&message), Err(SendError::Refused(_))), "{to}");
        }
    }

    #[tokio::test]
    async fn settings_are_read_when_the_process_starts() {
        let settings = SmtpSettings {
            host: "mail.example.com".to_owned(),
            port: None,
            security: Security::StartTls,
            ca: Some(b"no certificate".to_vec()),
            credentials: Some(("a".to_owned(), "b".to_owned())),
            from: "no-reply@example.com".to_owned(),
            reply_to: None,
            timeout: Duration::from_secs(1),
            connections: 1,
            sender_domains: Some(vec!["example.org".to_owned()]),
        };
        assert!(Smtp::new(&settings).is_err());
        let from =
            SmtpSettings { ca: None, security: Security::None, from: "x".into(), ..settings };
        assert!(Smtp::new(&from).is_err());
    }
}
