//! The store's contract, from outside: `apply` and `read` over the in-memory state.

mod group;

mod behaviour;
mod ids;
mod levels;
mod limits;
mod model;
mod properties;
mod reads;
mod totality;
