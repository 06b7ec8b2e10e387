//! The checked-in protos: field numbers never change their meaning.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use conclave_api::SHAPES;
use prost::Message as _;

fn proto_dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../proto")
}

/// `UserMFASettingList` and `user_mfa_setting_list` are the same name.
fn folded(name: &str) -> String {
    name.chars().filter(|c| *c != '_').collect::<String>().to_ascii_lowercase()
}

#[test]
fn field_numbers_are_those_of_the_lock_file() {
    let lock = std::fs::read_to_string(proto_dir().join("model/field-numbers.lock"))
        .expect("the lock file");
    let lock: BTreeMap<String, BTreeMap<String, i32>> = serde_json::from_str(&lock).expect("JSON");
    let lock: BTreeMap<String, BTreeMap<String, i32>> = lock
        .into_iter()
        .map(|(shape, members)| {
            (folded(&shape), members.into_iter().map(|(m, n)| (folded(&m), n)).collect())
        })
        .collect();
    let set = prost_types::FileDescriptorSet::decode(conclave_api::FILE_DESCRIPTOR_SET)
        .expect("a descriptor set");
    let mut fields = 0;
    for message in set.file.iter().flat_map(|file| &file.message_type) {
        let Some(shape) = SHAPES.iter().find(|shape| shape.name == message.name()) else {
            continue;
        };
        assert_eq!(shape.members.len(), message.field.len(), "{}", shape.name);
        for (field, member) in message.field.iter().zip(shape.members) {
            assert_eq!(folded(field.name()), folded(member.name), "{}", shape.name);
            let known =
                lock.get(&folded(shape.name)).and_then(|members| members.get(&folded(member.name)));
            assert_eq!(known, Some(&field.number()), "{}.{}", shape.name, member.name);
            fields += 1;
        }
    }
    let of_the_lock: usize = lock.values().map(BTreeMap::len).sum();
    assert_eq!(
        fields, of_the_lock,
        "the lock file knows members that the protos do not reserve or have"
    );
}

/// Needs Python and the API model, which is not part of the project: set `CONCLAVE_API_MODEL` to its path.
#[test]
#[allow(clippy::print_stdout, reason = "a skipped test says so")]
fn the_protos_are_what_the_generator_makes() {
    let Some(model) = std::env::var_os("CONCLAVE_API_MODEL") else {
        println!("skipped: CONCLAVE_API_MODEL is not set");
        return;
    };
    let output = Command::new("python3")
        .arg(proto_dir().join("model/generate.py"))
        .arg("--check")
        .arg(model)
        .output()
        .expect("python3 runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
