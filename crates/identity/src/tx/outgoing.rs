//! What happens after a commit, beside the answer: messages, and functions that are told of it.

use std::sync::Arc;

use conclave_api::ApiError;
use conclave_crypto::ids;
use conclave_outbound::{Channel, SendError};
use conclave_store::records::PoolRecord;
use tracing::{Instrument as _, Span};

use super::Tx;
use crate::{
    log_delivery,
    triggers::{
        self, Event, Trigger,
        custom_message::{Draft, Way},
        custom_sender::{self, Means, NotHandedOver},
    },
    world::World,
};

impl Tx<'_> {
    /// A message that is handed over after the commit; the caller learns when it is not taken.
    pub fn send(&mut self, message: impl Into<Draft>) {
        let span = self.notification_span();
        self.messages.push(Outgoing::Send(message.into(), span));
    }

    /// A message that is put into a queue after the commit: where [`Tx::pretend`] is the other case, and
    /// the caller must not tell the two apart by the time that delivery takes.
    pub fn post(&mut self, message: impl Into<Draft>) {
        let span = self.notification_span();
        self.messages.push(Outgoing::Post(message.into(), span));
    }

    /// A message about what this decision comes to, also where that is a refusal: put into a queue after the commit. Neither that
    /// there is one nor what becomes of it changes the answer.
    pub fn notify(&mut self, message: impl Into<Draft>) {
        let span = self.notification_span();
        self.notices.push(Outgoing::Post(message.into(), span));
    }

    /// No message, and nothing that shows that there is none: where a message of this channel could not be
    /// queued, this fails as well.
    pub fn pretend(&mut self, channel: Channel) {
        let by = self.config.as_ref().map_or(By::Messenger, |pool| By::of(&pool.record, channel));
        self.messages.push(Outgoing::Pretend { channel, by });
    }

    /// A function that is told of it after the commit. When it fails, the caller learns that, and what was
    /// committed stays.
    pub fn after_commit(&mut self, event: Event) {
        self.messages.push(Outgoing::Trigger(event));
    }

    /// What the caller is told when a message of this decision is not taken, instead of
    /// CodeDeliveryFailureException.
    pub fn refuse_delivery_as(&mut self, refusal: fn(&SendError) -> ApiError) {
        self.delivery_refusal = refusal;
    }

    fn notification_span(&self) -> Span {
        let pool = self.config.as_ref();
        pool.map_or_else(Span::none, |pool| log_delivery::notification_span(&pool.record))
    }
}

/// See the module.
pub(super) enum Outgoing {
    /// It is handed over before the caller has the answer.
    Send(Draft, Span),
    /// It is put into a queue.
    Post(Draft, Span),
    /// There is none, and the caller must not see that.
    Pretend { channel: Channel, by: By },
    /// A function is told, before the caller has the answer.
    Trigger(Event),
}

/// What takes part in a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum By {
    /// What the operator sends with.
    Messenger,
    /// A function that finds the words, before that.
    Words,
    /// A function that sends it, in its place.
    Sender,
}

impl By {
    fn of(pool: &PoolRecord, channel: Channel) -> Self {
        if custom_sender::of(pool, channel).is_some() {
            Self::Sender
        } else if Trigger::CustomMessage.function(pool).is_some() {
            Self::Words
        } else {
            Self::Messenger
        }
    }
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

impl From<NotHandedOver> for Undone {
    fn from(error: NotHandedOver) -> Self {
        match error {
            NotHandedOver::Message(error) => Self::Message(error),
            NotHandedOver::Function(error) => Self::Trigger(error),
        }
    }
}

impl Outgoing {
    /// [`Self::go`], where only the log is told that nothing came of it.
    pub async fn go_unheard(self, world: &World) {
        let span = match &self {
            Self::Send(_, span) | Self::Post(_, span) => span.clone(),
            Self::Pretend { .. } | Self::Trigger(_) => Span::none(),
        };
        match self.go(world).await {
            Ok(()) => {}
            Err(Undone::Message(error)) => {
                span.in_scope(|| tracing::error!(%error, "message not delivered"));
            }
            Err(Undone::Trigger(error)) => {
                let exception = error.code.as_str();
                span.in_scope(|| tracing::error!(exception, "message not delivered"));
            }
        }
    }

    pub async fn go(self, world: &World) -> Result<(), Undone> {
        match self {
            Self::Send(draft, span) => send(world, draft, span).await,
            Self::Post(draft, span) => post(world, draft, span),
            Self::Pretend { channel, by } => {
                if by != By::Messenger && world.triggers.reserve().is_none() {
                    return Err(full().into());
                }
                if by == By::Sender {
                    return Ok(());
                }
                Ok(world.messenger.pretend(channel)?)
            }
            Self::Trigger(event) => {
                triggers::call(world, &event).await.map(|_| ()).map_err(Undone::Trigger)
            }
        }
    }
}

async fn send(world: &World, draft: Draft, span: Span) -> Result<(), Undone> {
    let channel = draft.channel().as_str();
    let message = match draft.into_way() {
        Way::Message(message) => message,
        Way::Later(later) => {
            let id = ids::uuid(&*world.entropy);
            later.finish_with(&*world.triggers, id).await.map_err(Undone::Trigger)?
        }
        Way::Sender(parcel) => {
            let sent = parcel.hand_over(&Means::of(world), ids::uuid(&*world.entropy)).await;
            return sent.map_err(|error| {
                if !span.is_none() {
                    log_undelivered(&span, &error, channel);
                }
                error.into()
            });
        }
    };
    let sent = world.messenger.send(message).instrument(span.clone()).await;
    if let Err(error) = &sent
        && !span.is_none()
    {
        span.in_scope(|| tracing::error!(%error, channel, "message not delivered"));
    }
    Ok(sent?)
}

/// Whoever works the queue off goes on in this span. Where a function finds the words, or sends the message, it is
/// asked later too: the time that it takes would tell that there is somebody.
fn post(world: &World, draft: Draft, span: Span) -> Result<(), Undone> {
    let channel = draft.channel();
    let later = match draft.into_way() {
        Way::Message(message) => return Ok(span.in_scope(|| world.messenger.post(message))?),
        Way::Sender(parcel) => {
            let place = world.triggers.reserve().ok_or_else(full)?;
            let (means, id) = (Means::of(world), ids::uuid(&*world.entropy));
            tokio::spawn(async move {
                let _place = place;
                if let Err(error) = parcel.hand_over(&means, id).instrument(span.clone()).await {
                    log_undelivered(&span, &error, channel.as_str());
                }
            });
            return Ok(());
        }
        Way::Later(later) => later,
    };
    world.messenger.pretend(channel)?;
    let place = world.triggers.reserve().ok_or_else(full)?;
    let messenger = Arc::clone(&world.messenger);
    let functions = Arc::clone(&world.triggers);
    let invocation_id = ids::uuid(&*world.entropy);
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

fn log_undelivered(span: &Span, error: &NotHandedOver, channel: &'static str) {
    let _entered = span.enter();
    match error {
        NotHandedOver::Message(error) => tracing::error!(%error, channel, "message not delivered"),
        NotHandedOver::Function(error) => {
            let exception = error.code.as_str();
            tracing::error!(exception, channel, "message not taken over by its function");
        }
    }
}

fn full() -> SendError {
    SendError::Unavailable("too many calls of functions are waiting".to_owned())
}
