//! In-process cluster, clock and network fakes, client vocabulary, invariants.
//!
//! Everything here is decided by a seed: a run that fails is run again with the seed that it printed.
//!
//! | module | what it is for |
//! | --- | --- |
//! | [`clock`] | a clock that the test moves |
//! | [`dice`] | seeded choices |
//! | [`schedule`] | tasks that take turns in a seeded order, without a runtime |
//! | [`faulty`] | a store behind a network that loses, delays and repeats |
//! | [`stale`] | a store with a seeded bug: it answers reads from the past |
//! | [`registers`] | clients that read and write registers in transactions, and record what they saw |
//! | [`history`] | what clients saw, and when |
//! | [`linearizability`] | whether a history has an explanation |
//! | [`chaos`] | faults on a real cluster, under a load that is recorded and judged |
//! | [`request`], [`http`] | requests of the public API, and a client for them that costs little |

pub mod chaos;
pub mod clock;
pub mod dice;
pub mod faulty;
pub mod history;
pub mod http;
pub mod linearizability;
pub mod registers;
pub mod request;
pub mod schedule;
pub mod stale;
