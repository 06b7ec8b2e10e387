//! Compiles the administration service with protox, so that no protoc is needed.

use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    let proto_dir = "../../proto";
    println!("cargo:rerun-if-changed={proto_dir}/conclave/admin");
    let files = protox::compile(["conclave/admin/v1/admin.proto"], [proto_dir])?;
    tonic_prost_build::configure().compile_fds(files)?;
    Ok(())
}
