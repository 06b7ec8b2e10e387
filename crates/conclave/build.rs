//! Compiles the administration service with protox, so that no protoc is needed.

use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    let proto_dir = "../../proto";
    println!("cargo:rerun-if-changed={proto_dir}/conclave/admin");
    println!("cargo:rerun-if-changed={proto_dir}/conclave/backup");
    let files = protox::compile(
        [
            "conclave/admin/v1/admin.proto",
            "conclave/admin/v1/backup.proto",
            "conclave/admin/v1/export.proto",
            "conclave/backup/v1/backup.proto",
        ],
        [proto_dir],
    )?;
    // rows hold what people are called and sealed secrets
    tonic_prost_build::configure().skip_debug([".conclave.backup.v1"]).compile_fds(files)?;
    Ok(())
}
