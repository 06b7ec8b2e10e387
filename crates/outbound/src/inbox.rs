//! The developer inbox: takes every message and keeps the newest, so that tests and people can read
//! codes without a mail server. It exists in `conclave dev` only.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

use parking_lot::Mutex;
use time::OffsetDateTime;

use crate::{Channel, Clock, Message, Messenger, SendError};

/// How many messages are kept.
pub const CAPACITY: usize = 1_000;
/// Messages with a longer text are refused, so that the inbox is bounded in bytes too.
pub const MAX_BODY: usize = 64 * 1024;

/// A message as it was received. Serializes to what `GET /_conclave/inbox` answers.
#[derive(Clone, PartialEq, Eq, serde::Serialize)]
pub struct Received {
    /// The recipient.
    pub to: String,
    /// How it was sent.
    pub channel: Channel,
    /// The subject of an e-mail.
    pub subject: Option<String>,
    /// The text.
    pub body: String,
    /// The code by itself.
    pub code: Option<String>,
    /// When it was sent: RFC 3339, UTC, with milliseconds.
    pub sent_at: String,
}

impl fmt::Debug for Received {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Received")
            .field("channel", &self.channel)
            .field("sent_at", &self.sent_at)
            .finish_non_exhaustive()
    }
}

/// The newest [`CAPACITY`] messages.
pub struct DevInbox {
    clock: Arc<dyn Clock>,
    messages: Mutex<VecDeque<Received>>,
}

impl DevInbox {
    /// An empty inbox.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        DevInbox { clock, messages: Mutex::new(VecDeque::new()) }
    }

    /// The messages to one recipient (exactly as it was addressed, but for case), or to all; newest
    /// first.
    pub fn list(&self, to: Option<&str>) -> Vec<Received> {
        let messages = self.messages.lock();
        messages
            .iter()
            .rev()
            .filter(|message| to.is_none_or(|to| message.to.eq_ignore_ascii_case(to)))
            .cloned()
            .collect()
    }
}

#[async_trait::async_trait]
impl Messenger for DevInbox {
    async fn send(&self, message: Message) -> Result<(), SendError> {
        self.post(message)
    }

    fn post(&self, message: Message) -> Result<(), SendError> {
        if message.body.len() > MAX_BODY {
            return Err(SendError::Refused("the text is too long".into()));
        }
        let received = Received {
            to: message.to,
            channel: message.channel,
            subject: message.subject,
            body: message.body,
            code: message.code,
            sent_at: rfc3339(self.clock.now_ms()),
        };
        let mut messages = self.messages.lock();
        if messages.len() >= CAPACITY {
            messages.pop_front();
        }
        messages.push_back(received);
        Ok(())
    }

    fn pretend(&self, _channel: Channel) -> Result<(), SendError> {
        Ok(())
    }
}

fn rfc3339(ms: i64) -> String {
    match OffsetDateTime::from_unix_timestamp_nanos(i128::from(ms) * 1_000_000) {
        Ok(at) => format!(
            "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z",
            at.year(),
            u8::from(at.month()),
            at.day(),
            at.hour(),
            at.minute(),
            at.second(),
            at.millisecond()
        ),
        Err(_) => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::clock::ManualClock;

    fn message(to: &str, code: usize) -> Message {
        Message {
            to: to.into(),
            channel: Channel::Email,
            subject: Some("Your verification code".into()),
            body: format!("Your confirmation code is {code}"),
            is_html: false,
            plain: None,
            code: Some(code.to_string()),
            sender: Default::default(),
        }
    }

    #[tokio::test]
    async fn the_newest_message_comes_first_and_only_the_recipient_s_own() {
        let clock = Arc::new(ManualClock::at(1_767_225_600_000));
        let inbox = DevInbox::new(clock.clone());
        inbox.send(message("ada@example.com", 1)).await.unwrap();
        clock.advance(Duration::from_millis(1_500));
        inbox.send(message("Ada@Example.com", 2)).await.unwrap();
        inbox.send(message("grace@example.com", 3)).await.unwrap();
        let found = inbox.list(Some("ada@example.com"));
        assert_eq!(found.iter().map(|m| m.code.clone().unwrap()).collect::<Vec<_>>(), ["2", "1"]);
        assert_eq!(found[0].sent_at, "2026-01-01T00:00:01.500Z");
        assert_eq!(inbox.list(None).len(), 3);
    }

    #[tokio::test]
    async fn the_inbox_keeps_the_newest_thousand() {
        let inbox = DevInbox::new(Arc::new(ManualClock::at(0)));
        for code in 0..CAPACITY + 5 {
            inbox.send(message("ada@example.com", code)).await.unwrap();
        }
        let all = inbox.list(None);
        assert_eq!(all.len(), CAPACITY);
        assert_eq!(all.last().unwrap().code.as_deref(), Some("5"));
    }

    #[tokio::test]
    async fn a_text_without_end_is_refused() {
        let inbox = DevInbox::new(Arc::new(ManualClock::at(0)));
        let long = Message { body: "x".repeat(MAX_BODY + 1), ..message("ada@example.com", 1) };
        assert!(!inbox.send(long).await.unwrap_err().is_retryable());
    }

    #[tokio::test]
    async fn the_json_is_what_tools_read() {
        let inbox = DevInbox::new(Arc::new(ManualClock::at(0)));
        inbox.send(message("ada@example.com", 42)).await.unwrap();
        let json = serde_json::to_value(inbox.list(None)).unwrap();
        let expected = serde_json::json!([{
            "to": "ada@example.com", "channel": "EMAIL", "subject": "Your verification code",
            "body": "Your confirmation code is 42", "code": "42", "sent_at": "1970-01-01T00:00:00.000Z",
        }]);
        assert_eq!(json, expected);
        assert!(!format!("{:?}", inbox.list(None)).contains("42"));
    }
}
