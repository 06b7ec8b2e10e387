//! Faults on a real cluster: processes, disks, links and clocks, under a load that is recorded and judged.
//!
//! | module | what it is for |
//! | --- | --- |
//! | [`acks`] | acknowledgements of each class of operations, and the gaps between them |
//! | [`cluster`] | three nodes, their certificates and their supervisor |
//! | [`cgroup`] | less of a processor |
//! | [`command`] | programs of the system, with their errors |
//! | [`disk`] | file systems in files, whose power can be cut |
//! | [`gate`] | holds all clients up for a moment |
//! | [`lab`] | all of it together: what a fault is given |
//! | [`network`] | a namespace for each node |
//! | [`node`] | a process |
//! | [`objects`] | clients of registers, through the contract of the store |
//! | [`proxy`] | what happens to the bytes between nodes |
//! | [`report`] | what came out |
//! | [`rows`] | the fault matrix: a function for each row |
//! | [`run`] | schedules |
//! | [`sandbox`] | namespaces of the harness itself, so that nothing of it outlives it |
//! | [`strace`] | syncs that are slow or fail |

pub mod acks;
pub mod cgroup;
pub mod cluster;
pub mod command;
pub mod disk;
pub mod gate;
pub mod lab;
pub mod network;
pub mod node;
pub mod objects;
pub mod proxy;
pub mod report;
pub mod rows;
pub mod run;
pub mod sandbox;
pub mod strace;
