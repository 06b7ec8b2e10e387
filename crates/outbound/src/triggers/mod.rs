//! Calls of functions that pools name by ARN: by the AWS Lambda invoke API at an endpoint, or as webhooks.
//!
//! Tenants name functions, operators say where they are: an ARN by itself leads nowhere. To add a way of
//! calling: a [`settings::Route`], and what [`caller`] does with it.

pub mod caller;
pub mod data_keys;
pub mod egress;
mod http;
mod kms;
pub mod settings;
mod shares;
mod webhook;

#[cfg(test)]
mod data_key_tests;
#[cfg(test)]
mod tests;

use std::{any::Any, time::Duration};

use bytes::Bytes;
use tokio::time::Instant;

pub use caller::Caller;
pub use data_keys::{DataKey, DataKeyError, DataKeys, KeyRequest, Keyring, LocalKey};
pub use settings::{KmsEndpoint, LambdaEndpoint, TriggerSettings, Webhook};

/// One call of a function.
#[derive(Clone)]
pub struct Invocation {
    /// The ARN of the function.
    pub function: String,
    /// The event, in JSON.
    pub event: Bytes,
    /// The same for all tries of a call, so that a function can tell them from two calls.
    pub id: String,
    /// `triggerSource` of the event.
    pub source: &'static str,
    /// What is waited for.
    pub wait: Wait,
    /// How long it may take.
    pub time: Time,
}

/// How long a call may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Time {
    /// How long it may wait for others of its function, or of its pool, to end: not at all where it is zero. Whoever has a
    /// place in the queue ([`Triggers::reserve`]) may wait.
    pub patience: Duration,
    /// When it is over, with all tries.
    pub until: Instant,
}

impl Time {
    /// What of the patience is left before it is over.
    fn patience(self) -> Duration {
        self.patience.min(self.until.saturating_duration_since(Instant::now()))
    }
}

/// A place in the queue, until it is dropped.
pub struct Place {
    _held: Box<dyn Any + Send + Sync>,
}

impl Place {
    /// A place that is kept by what is held.
    pub fn holding(held: impl Any + Send + Sync) -> Self {
        Self { _held: Box::new(held) }
    }
}

/// What is waited for, in a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// What the function returns.
    Answer,
    /// That the call has been taken over: AWS Lambda tries by itself until the function has worked. A webhook
    /// has nobody who would do that, and takes a call over by its answer.
    TakenOver,
}

/// Shows no event: it holds what users have typed.
impl std::fmt::Debug for Invocation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Invocation").field("function", &self.function).finish_non_exhaustive()
    }
}

/// Why a function has not answered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvokeError {
    /// The operator has not said where this function is.
    #[error("no endpoint and no webhook is configured for the function")]
    NotConfigured,
    /// Its address is not one that calls may go to.
    #[error("calls may not go to the address of the function")]
    NotAllowed,
    /// It has not answered in time, in any of the tries.
    #[error("the function did not answer in time")]
    TimedOut,
    /// It cannot be reached; the text names no address.
    #[error("the function cannot be reached: {0}")]
    Unreachable(&'static str),
    /// Whoever runs it refuses the call, by this name.
    #[error("the call was refused: {0}")]
    Refused(String),
    /// It has failed, and says this.
    #[error("the function failed")]
    Failed(String),
    /// Its answer is longer than one may be.
    #[error("the answer of the function is too long")]
    TooLong,
    /// Too many calls are under way.
    #[error("too many calls of functions are under way")]
    Overloaded,
}

/// Something that calls functions.
#[async_trait::async_trait]
pub trait Triggers: Send + Sync {
    /// Calls a function and waits for its answer, which need not be JSON.
    ///
    /// # Errors
    /// See [`InvokeError`].
    async fn invoke(&self, invocation: Invocation) -> Result<Bytes, InvokeError>;

    /// A place in the queue for a call of this function that may wait until others have ended; `None` when the queue, or the
    /// part of it that one function has, is full.
    fn reserve(&self, function: &str) -> Option<Place>;
}
