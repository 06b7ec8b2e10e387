//! What happens after a commit, beside the answer: messages, and functions that are told of it.

use conclave_api::ApiError;
use conclave_outbound::{Channel, SendError};
use tracing::{Instrument as _, Span};

use crate::{
    triggers::{self, Event, custom_message::Draft},
    world::World,
};

/// See the module.
pub(super) enum Outgoing {
    /// It is handed over before the caller has the answer.
    Send(Draft, Span),
    /// It is put into a queue.
    Post(Draft, Span),
    /// There is none, and the caller must not see that.
    Pretend {
        channel: Channel,
        /// Whether a function would be asked for the words.
        is_custom: bool,
    },
    /// A function is told, before the caller has the answer.
    Trigger(Event),
}

/// Why it has not happened.
pub(super) enum Undone {
    /// A message was not taken.
    Message(SendError),
    /// A function has failed.
    Trigger(ApiError),
}

impl From<SendError> for Undone {
    fn from(error: SendError) -> Self {
        Self::Message(error)
    }
}

impl Outgoing {
    pub async fn go(self, world: &World) -> Result<(), Undone> {
        match self {
            Self::Send(draft, span) => {
                let message = draft.finish(world).await.map_err(Undone::Trigger)?;
                let channel = message.channel.as_str();
                let sent = world.messenger.send(message).instrument(span.clone()).await;
                if let Err(error) = &sent
                    && !span.is_none()
                {
                    span.in_scope(|| tracing::error!(%error, channel, "message not delivered"));
                }
                Ok(sent?)
            }
            Self::Post(draft, span) => post(world, draft, span),
            Self::Pretend { channel, is_custom } => {
                if is_custom && world.triggers.reserve().is_none() {
                    return Err(full().into());
                }
                Ok(world.messenger.pretend(channel)?)
            }
            Self::Trigger(event) => {
                triggers::call(world, &event).await.map(|_| ()).map_err(Undone::Trigger)
            }
        }
    }
}

/// Whoever works the queue off goes on in this span. Where a function finds the words, it is asked later too:
/// the time that it takes would tell that there is somebody.
fn post(world: &World, draft: Draft, span: Span) -> Result<(), Undone> {
    let channel = draft.channel();
    let later = match draft.into_message() {
        Ok(message) => return Ok(span.in_scope(|| world.messenger.post(message))?),
        Err(later) => later,
    };
    world.messenger.pretend(channel)?;
    let place = world.triggers.reserve().ok_or_else(full)?;
    let messenger = std::sync::Arc::clone(&world.messenger);
    let functions = std::sync::Arc::clone(&world.triggers);
    let invocation_id = conclave_crypto::ids::uuid(&*world.entropy);
    tokio::spawn(async move {
        let _place = place;
        match later.finish_with(&*functions, invocation_id).await {
            Ok(message) => {
                if let Err(error) = span.in_scope(|| messenger.post(message)) {
                    tracing::error!(%error, channel = channel.as_str(), "message not delivered");
                }
            }
            // what it says is about a user who may not be known to exist: it is for the log alone
            Err(error) => {
                let exception = error.code.as_str();
                span.in_scope(|| tracing::error!(exception, "message not written by its function"));
            }
        }
    });
    Ok(())
}

fn full() -> SendError {
    SendError::Unavailable("too many calls of functions are waiting".to_owned())
}
