//! Compiles the store contract and the stored records with protox, so that no protoc is needed.

use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    let proto_dir = "../../proto";
    println!("cargo:rerun-if-changed={proto_dir}/conclave/store");
    println!("cargo:rerun-if-changed={proto_dir}/conclave/records");
    let files = protox::compile(
        ["conclave/store/v1/store.proto", "conclave/records/v1/records.proto"],
        [proto_dir],
    )?;
    let mut config = prost_build::Config::new();
    config.bytes(["."]);
    // records hold sealed secrets, codes' hashes and personal data: their Debug is written by hand
    config.skip_debug([
        ".conclave.records.v1",
        ".conclave.store.v1.Put",
        ".conclave.store.v1.Row",
        ".conclave.store.v1.StoredRow",
    ]);
    tonic_prost_build::configure().compile_fds_with_config(files, config)?;
    Ok(())
}
