//! What happens after a commit, beside the answer: messages, and functions that are told of it.

use std::sync::Arc;

use conclave_api::ApiError;
use conclave_crypto::ids;
use conclave_outbound::{Channel, SendError};
use conclave_store::records::PoolRecord;
use tokio::time::Instant;
use tracing::{Instrument as _, Span};

use super::Tx;
use crate::{
    errors, log_delivery,
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
        let pool = self.config.as_ref();
        let by = pool.map_or(By::Messenger, |pool| By::of(&pool.record, channel));
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
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum By {
    /// What the operator sends with.
    Messenger,
    /// A function that finds the words, before that.
    Words(String),
    /// A function that sends it, in its place.
    Sender(String),
}

impl By {
    fn of(pool: &PoolRecord, channel: Channel) -> Self {
        let sender = custom_sender::of(pool, channel);
        if let Some(function) = sender.and_then(|trigger| trigger.function(pool)) {
            Self::Sender(function.to_owned())
        } else if let Some(function) = Trigger::CustomMessage.function(pool) {
            Self::Words(function.to_owned())
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
    pub async fn go_unheard(self, world: &World, until: Instant) {
        let span = match &self {
            Self::Send(_, span) | Self::Post(_, span) => span.clone(),
            Self::Pretend { .. } | Self::Trigger(_) => Span::none(),
        };
        match self.go(world, until).await {
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

    /// Functions have time until `until`, where somebody waits for them.
    pub async fn go(self, world: &World, until: Instant) -> Result<(), Undone> {
        match self {
            Self::Send(draft, span) => send(world, draft, span, until).await,
            Self::Post(draft, span) => post(world, draft, span),
            Self::Pretend { channel, by } => {
                let has_place = |function: &str| match world.triggers.reserve(function) {
                    Some(_) => Ok(()),
                    None => Err(full()),
                };
                match by {
                    By::Messenger => Ok(world.messenger.pretend(channel)?),
                    By::Sender(function) => Ok(has_place(&function)?),
                    By::Words(function) => {
                        world.messenger.pretend(channel)?;
                        Ok(has_place(&function)?)
                    }
                }
            }
            Self::Trigger(event) => {
                triggers::call(world, &event, until).await.map(|_| ()).map_err(Undone::Trigger)
            }
        }
    }
}

/// Where a function finds the words, or sends the message, it waits in the queue of that function, for a short time: what was
/// committed is there, and whoever asked would have to ask again.
async fn send(world: &World, draft: Draft, span: Span, until: Instant) -> Result<(), Undone> {
    let channel = draft.channel().as_str();
    let reserve = |function: &str| {
        let place = world.triggers.reserve(function);
        place.ok_or_else(|| Undone::Trigger(errors::too_many_requests()))
    };
    let (id, time) = (ids::uuid(&*world.entropy), triggers::in_turn(until));
    let message = match draft.into_way() {
        Way::Message(message) => message,
        Way::Later(later) => {
            let _place = reserve(later.function())?;
            later.finish_with(&*world.triggers, id, time).await.map_err(Undone::Trigger)?
        }
        Way::Sender(parcel) => {
            let _place = reserve(parcel.function())?;
            let sent = parcel.hand_over(&Means::of(world), id, time).await;
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
/// asked later too: the time that it takes would tell that there is somebody. It waits in the queue of that function, for a
/// minute at most; where that is full, nobody gets a message.
fn post(world: &World, draft: Draft, span: Span) -> Result<(), Undone> {
    let channel = draft.channel();
    let later = match draft.into_way() {
        Way::Message(message) => return Ok(span.in_scope(|| world.messenger.post(message))?),
        Way::Sender(parcel) => {
            let Some(place) = world.triggers.reserve(parcel.function()) else {
                log_full(&span, channel);
                return Err(full().into());
            };
            let (means, id) = (Means::of(world), ids::uuid(&*world.entropy));
            tokio::spawn(async move {
                let _place = place;
                let handing_over = parcel.hand_over(&means, id, triggers::in_background());
                if let Err(error) = handing_over.instrument(span.clone()).await {
                    log_undelivered(&span, &error, channel.as_str());
                }
            });
            return Ok(());
        }
        Way::Later(later) => later,
    };
    world.messenger.pretend(channel)?;
    let Some(place) = world.triggers.reserve(later.function()) else {
        log_full(&span, channel);
        return Err(full().into());
    };
    let messenger = Arc::clone(&world.messenger);
    let functions = Arc::clone(&world.triggers);
    let invocation_id = ids::uuid(&*world.entropy);
    tokio::spawn(async move {
        let _place = place;
        match later.finish_with(&*functions, invocation_id, triggers::in_background()).await {
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
    SendError::Unavailable("too many messages wait for their function".to_owned())
}

fn log_full(span: &Span, channel: Channel) {
    let channel = channel.as_str();
    span.in_scope(|| tracing::error!(error = %full(), channel, "message not delivered"));
}
