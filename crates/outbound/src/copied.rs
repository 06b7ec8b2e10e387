//! Messages that people read in their own mail program while tools read them in the developer's inbox.

use std::sync::Arc;

use crate::{Channel, Message, Messenger, SendError, inbox::DevInbox, lanes::Lanes};

/// Puts every message into the inbox, and sends e-mail besides.
pub struct Copied {
    /// Takes everything.
    pub inbox: Arc<DevInbox>,
    /// Sends e-mail.
    pub lanes: Lanes,
}

#[async_trait::async_trait]
impl Messenger for Copied {
    async fn send(&self, message: Message) -> Result<(), SendError> {
        self.inbox.send(message.clone()).await?;
        match message.channel {
            Channel::Email => self.lanes.send(message).await,
            Channel::Sms => Ok(()),
        }
    }

    fn post(&self, message: Message) -> Result<(), SendError> {
        self.inbox.post(message.clone())?;
        match message.channel {
            Channel::Email => self.lanes.post(message),
            Channel::Sms => Ok(()),
        }
    }

    fn pretend(&self, channel: Channel) -> Result<(), SendError> {
        match channel {
            Channel::Email => self.lanes.pretend(channel),
            Channel::Sms => Ok(()),
        }
    }
}
