//! Compiles the messages that shard nodes exchange and store, with protox.

use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    let proto_dir = "../../proto";
    println!("cargo:rerun-if-changed={proto_dir}/conclave/raft");
    let files = protox::compile(["conclave/raft/v1/raft.proto"], [proto_dir])?;
    let mut config = prost_build::Config::new();
    config.bytes(["."]);
    // log entries and snapshot data hold what gateways stored: never in a log line
    config.skip_debug([
        ".conclave.raft.v1.LogEntry",
        ".conclave.raft.v1.LogEntry.payload",
        ".conclave.raft.v1.FileData",
    ]);
    tonic_prost_build::configure().compile_fds_with_config(files, config)?;
    Ok(())
}
