//! The fronts: AWS JSON, gRPC, OpenID Connect; caller authentication and limits.
//!
//! A request goes [`server`] (connections) -> [`gateway`] (which front) -> [`fronts`] (protocol) ->
//! [`principal`] with [`sigv4`] (who) -> [`dispatch`] with [`policy`] and [`limits`] (may they,
//! now) -> a handler of the crate `identity`. This crate decides nothing about users.
//!
//! To add a document or page: make a router as in [`oidc`] and give it to
//! [`gateway::Gateway::new`]. An operation needs nothing here: the fronts know every operation of
//! the API's table, and the binary registers its handler with [`dispatch::Dispatcher::on`].

pub mod audit;
pub mod auth_event_feedback;
pub mod confirm_user;
pub mod dispatch;
pub mod fronts;
pub mod gateway;
mod html;
pub mod inbox;
pub mod limits;
mod link_page;
pub mod logo;
pub mod management;
pub mod metrics;
pub mod oidc;
pub mod policy;
pub mod principal;
pub mod server;
pub mod sigv4;
pub mod user_import;
