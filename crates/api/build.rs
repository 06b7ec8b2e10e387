//! Makes the Rust side of `proto/conclave/cognito/v1`: message types, their tables for JSON and validation, enumerations,
//! exceptions and the table of operations. What is read and written is in `build/`.

#[path = "build/model.rs"]
mod model;
#[path = "build/pattern.rs"]
mod pattern;
#[path = "build/refusals.rs"]
mod refusals;
#[path = "build/tables.rs"]
mod tables;

use std::path::{Path, PathBuf};
use std::{env, fs};

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    let proto = Path::new("../../proto");
    let refusals_file = proto.join("model/refusals.toml");
    println!("cargo::rerun-if-changed=build");
    println!("cargo::rerun-if-changed={}", proto.join("conclave/cognito").display());
    println!("cargo::rerun-if-changed={}", refusals_file.display());

    let mut compiler = protox::Compiler::new([proto])?;
    compiler.include_imports(true);
    compiler.open_file("conclave/cognito/v1/service.proto")?;

    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or("OUT_DIR is not set")?);
    fs::write(out.join("descriptors.bin"), compiler.encode_file_descriptor_set())?;
    write_types(compiler.file_descriptor_set(), &out)?;

    let model = model::Model::read(&compiler.descriptor_pool())?;
    let refusals = refusals::read(&fs::read_to_string(&refusals_file)?, &model)?;
    fs::write(out.join("shapes.rs"), tables::shapes(&model)?)?;
    fs::write(out.join("enums.rs"), tables::enums(&model)?)?;
    fs::write(out.join("exceptions.rs"), tables::exceptions(&model)?)?;
    fs::write(out.join("operations.rs"), tables::operations(&model, &refusals)?)?;
    Ok(())
}

/// The message types. Their Debug is ours, because the derived one would show secrets.
fn write_types(mut descriptors: prost_types::FileDescriptorSet, out: &Path) -> Result<(), Failure> {
    descriptors.file.retain(|file| {
        file.name().ends_with("/types.proto") || file.name().ends_with("/operations.proto")
    });
    prost_build::Config::new()
        .out_dir(out)
        .btree_map(["."])
        .skip_debug(["."])
        .compile_fds(descriptors)?;
    Ok(())
}
