//! Certificates over real connections on loopback.

mod public;
mod reload;
mod strangers;
mod support;
