//! Faults on a real cluster: processes, disks, links and clocks, under a load that is recorded and judged.
//!
//! | module | what it is for |
//! | --- | --- |
//! | [`acks`] | acknowledgements of each class of operations, and the gaps between them |
//! | [`api`] | calls of the public API, and what an answer lets a client know |
//! | [`cluster`] | nodes, their certificates and their supervisor |
//! | [`catch_up`] | a new follower of a large group |
//! | [`cgroup`] | less of a processor |
//! | [`command`] | programs of the system, with their errors |
//! | [`disk`] | file systems in files, whose power can be cut |
//! | [`gate`] | holds all clients up for a moment |
//! | [`guesses`] | passwords that are guessed, and locks |
//! | [`lab`] | all of it together: what a fault is given |
//! | [`names`] | clients of users as registers, through the public API |
//! | [`network`] | a namespace for each node |
//! | [`node`] | a process |
//! | [`objects`] | clients of registers, through the contract of the store |
//! | [`operator`] | commands of an administrator |
//! | [`people`] | users from beginning to end, through the public API |
//! | [`people_rows`] | many users at once, as rows |
//! | [`proxy`] | what happens to the bytes between nodes |
//! | [`report`] | what came out |
//! | [`rows`] | the fault matrix: a function for each row |
//! | [`run`] | schedules |
//! | [`sandbox`] | namespaces of the harness itself, so that nothing of it outlives it |
//! | [`strace`] | syncs that are slow or fail |
//! | [`watcher`] | what nodes say and use all the time |

pub mod acks;
pub mod api;
pub mod catch_up;
pub mod cgroup;
pub mod cluster;
pub mod command;
pub mod disk;
pub mod gate;
pub mod guesses;
pub mod lab;
pub mod names;
pub mod network;
pub mod node;
pub mod objects;
pub mod operator;
pub mod people;
pub mod people_rows;
pub mod proxy;
pub mod report;
pub mod rows;
pub mod run;
pub mod sandbox;
pub mod strace;
pub mod watcher;
