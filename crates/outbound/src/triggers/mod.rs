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

use bytes::Bytes;
use tokio::sync::OwnedSemaphorePermit;

pub use caller::Caller;
pub use data_keys::{DataKey, DataKeyError, DataKeys, Keyring, LocalKey};
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
    /// What is waited for.
    pub wait: Wait,
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

    /// A place for a call that nobody waits for; `None` when there are too many.
    fn reserve(&self) -> Option<OwnedSemaphorePermit>;
}
