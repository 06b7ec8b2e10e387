//! Compiles the store contract and the stored records with protox, so that no protoc is needed.

use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    let proto_dir = "../../proto";
    println!("cargo:rerun-if-changed={proto_dir}/conclave/store");
    println!("cargo:rerun-if-changed={proto_dir}/conclave/records");
    let files = protox::compile(
        [
            "conclave/store/v1/store.proto",
            "conclave/records/v1/backup.proto",
            "conclave/records/v1/records.proto",
            "conclave/records/v1/pool_settings.proto",
            "conclave/records/v1/user_import.proto",
            "conclave/records/v1/branding.proto",
            "conclave/records/v1/users.proto",
            "conclave/records/v1/keys.proto",
            "conclave/records/v1/pool_moves.proto",
            "conclave/records/v1/webauthn.proto",
            "conclave/records/v1/auth_events.proto",
        ],
        [proto_dir],
    )?;
    let mut config = prost_build::Config::new();
    config.bytes(["."]);
    // values hold sealed secrets and codes' hashes, keys hold names and addresses of people: the Debug
    // of what holds either is written by hand
    config.skip_debug([
        ".conclave.records.v1",
        ".conclave.store.v1.Check",
        ".conclave.store.v1.Follow",
        ".conclave.store.v1.Hop",
        ".conclave.store.v1.OutOfBounds",
        ".conclave.store.v1.Put",
        ".conclave.store.v1.Read",
        ".conclave.store.v1.Row",
        ".conclave.store.v1.Scan",
        ".conclave.store.v1.StoredRow",
        ".conclave.store.v1.SweptRow",
        ".conclave.store.v1.Write",
    ]);
    tonic_prost_build::configure().compile_fds_with_config(files, config)?;
    Ok(())
}
