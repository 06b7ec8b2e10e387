//! Nodes from outside: alone, and three of them over loopback.

mod alone;
mod cluster;
mod exit;
mod levels;
mod placement;
mod support;
