//! Which node has which group: what is moved next, and the controller that moves it.
//!
//! - `plan`: a pure function of what nodes and groups are, to the next step of each group
//! - `observe`: what nodes say, as `plan` takes it
//! - `controller`: asks, plans and acts, on the node that leads the directory
//!
//! Nothing is remembered between two steps: each is decided on what the group's leader has committed,
//! and made on top of exactly that. So a controller can die between any two, and another one goes on;
//! and of two at once, the second finds another membership than the one that it decided on.

pub(crate) mod controller;
pub(crate) mod observe;
pub(crate) mod plan;
