//! A message to a user, and the trait of what can deliver one.

use std::fmt;

/// How a message reaches a user.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Channel {
    /// E-mail, to an address.
    Email,
    /// A text message, to an E.164 number.
    Sms,
}

impl Channel {
    /// The name that Cognito has for it as a delivery medium.
    pub fn as_str(self) -> &'static str {
        match self {
            Channel::Email => "EMAIL",
            Channel::Sms => "SMS",
        }
    }
}

/// One message, with its template already filled in.
#[derive(Clone, PartialEq, Eq)]
pub struct Message {
    /// An e-mail address or an E.164 number.
    pub to: String,
    /// How it is sent.
    pub channel: Channel,
    /// The subject of an e-mail; `None` for an SMS.
    pub subject: Option<String>,
    /// The text, which contains the code.
    pub body: String,
    /// The text is HTML, and what was filled in is escaped.
    pub is_html: bool,
    /// The same as plain text, for who reads no HTML; only beside HTML.
    pub plain: Option<String>,
    /// The code or temporary password by itself, so that tools need not search for it in the text.
    pub code: Option<String>,
    /// Whom an e-mail is from, where that is not whom the operator has configured.
    pub sender: Sender,
}

/// Whom an e-mail is from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sender {
    /// `name <address>`, or an address.
    pub from: Option<String>,
    /// Where answers go.
    pub reply_to: Option<String>,
}

/// Whether an address is of one of `domains`, or of a domain below one.
pub fn is_of_domains(address: &str, domains: &[impl AsRef<str>]) -> bool {
    let of = address.rsplit_once('@').map_or("", |(_, of)| of).to_ascii_lowercase();
    domains.iter().any(|domain| {
        let domain = domain.as_ref().to_ascii_lowercase();
        !domain.is_empty()
            && of
                .strip_suffix(&domain)
                .is_some_and(|below| below.is_empty() || below.ends_with('.'))
    })
}

/// Shows neither the text nor the code, which are as good as a password, and only the kind of
/// address.
impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Message").field("channel", &self.channel).finish_non_exhaustive()
    }
}

/// Why a message was not accepted for delivery.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// The service that sends could not be reached or did not answer in time; trying again may
    /// help.
    #[error("the message service is not available: {0}")]
    Unavailable(String),
    /// The service refused this message; trying again does not help.
    #[error("the message was refused: {0}")]
    Refused(String),
}

impl SendError {
    /// Whether the same message may be sent again.
    pub fn is_retryable(&self) -> bool {
        matches!(self, SendError::Unavailable(_))
    }
}

/// Something that delivers messages. Accepted does not mean read, or even delivered.
#[async_trait::async_trait]
pub trait Messenger: Send + Sync {
    /// Hands a message over.
    ///
    /// # Errors
    /// When it was not taken over; its text names no recipient and no content.
    async fn send(&self, message: Message) -> Result<(), SendError>;

    /// Takes a message to be handed over later, without waiting: so that whoever watches the time does
    /// not see that there was one.
    ///
    /// # Errors
    /// When it cannot be taken.
    fn post(&self, message: Message) -> Result<(), SendError>;

    /// What [`Self::post`] would answer now to a message of this channel.
    ///
    /// # Errors
    /// As [`Self::post`].
    fn pretend(&self, channel: Channel) -> Result<(), SendError>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_neither_recipient_nor_text_nor_code() {
        let message = Message {
            to: "ada@example.com".into(),
            channel: Channel::Email,
            subject: Some("your code 123456".into()),
            body: "the code is 123456".into(),
            is_html: false,
            plain: None,
            code: Some("123456".into()),
            sender: Sender::default(),
        };
        let shown = format!("{message:?}");
        assert!(shown.contains("Email"));
        assert!(!shown.contains("123456") && !shown.contains("ada"), "{shown}");
    }
}
