//! E-mail, SMS and triggers behind traits; the developer inbox.
//!
//! Whoever wants to reach a user takes an `Arc<dyn Messenger>`. To add a way of sending: implement
//! [`lanes::Transport`] in a file of its own, as [`smtp`] and [`sms`] do, and let the binary choose it by
//! configuration; nothing else knows which one is in use. Whoever wants to call a function takes an
//! `Arc<dyn Triggers>`.

mod aws;
pub mod clock;
pub mod copied;
pub mod inbox;
pub mod json_client;
pub mod lanes;
pub mod message;
pub mod sms;
pub mod smtp;
mod sns;
pub mod triggers;

pub use clock::Clock;
pub use message::{Channel, Message, Messenger, SendError, Sender, is_of_domains};
pub use triggers::{
    DataKey, DataKeyError, DataKeys, Invocation, InvokeError, KeyRequest, Place, Time, Triggers,
    Wait,
};
