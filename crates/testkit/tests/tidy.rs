//! The rules of the house that the compiler does not hold: arrows between crates, manifests, licences, left-overs, size.
//!
//! To relax one, change the table that it reads, with the reason beside it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// Which of our crates each crate may name. The table is closed: what a crate reaches through another is listed too.
const ARROWS: &[(&str, &[&str])] = &[
    ("api", &[]),
    ("bench", &["cluster", "crypto", "fault", "store", "testkit", "tls"]),
    ("cluster", &["fault", "store", "tls"]),
    (
        "conclave",
        &[
            "api",
            "cluster",
            "crypto",
            "fault",
            "federation",
            "gateway",
            "identity",
            "outbound",
            "shard",
            "store",
            "tls",
        ],
    ),
    ("crypto", &[]),
    ("fault", &[]),
    ("federation", &["crypto", "fault", "store"]),
    ("gateway", &["api", "crypto", "fault", "federation", "identity", "outbound", "store", "tls"]),
    ("identity", &["api", "crypto", "fault", "outbound", "store"]),
    ("outbound", &[]),
    ("shard", &["fault", "store", "tls"]),
    ("store", &["fault"]),
    ("testkit", &["cluster", "crypto", "fault", "store", "tls"]),
    ("tls", &[]),
];

/// Libraries that only the named crates may depend on.
const KEPT_IN: &[(&str, &[&str])] = &[
    ("openraft", &["shard"]),
    ("rocksdb", &["shard"]),
    ("aws-lc-sys", &["crypto"]),
    ("argon2", &["crypto"]),
    ("bcrypt", &["crypto"]),
    ("scrypt", &["crypto"]),
    ("rustls", &["outbound", "tls"]),
    ("tokio-rustls", &["outbound", "tls"]),
    ("x509-parser", &["tls"]),
    ("axum", &["conclave", "gateway"]),
    ("clap", &["bench", "conclave", "testkit"]),
    ("anyhow", &["bench", "conclave", "testkit"]),
];

/// Dependencies whose name stands only in generated code.
const USED_BY_GENERATED_CODE: &[&str] = &["prost", "prost-types", "tonic", "tonic-prost"];

/// Files that are longer than `LINES_MAX`, with the length they may have. Lengths only go down.
const LONG_FILES: &[(&str, usize)] = &[];
const LINES_MAX: usize = 800;

const SOURCE_ENDINGS: &[&str] = &["rs", "py", "mjs", "proto", "toml", "sh"];

fn root() -> PathBuf {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest.ancestors().nth(2).expect("crates/testkit is two levels down").to_path_buf()
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|e| panic!("{path}: {e}"))
}

fn output(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program)
        .args(arguments)
        .current_dir(root())
        .output()
        .unwrap_or_else(|e| panic!("{program}: {e}"));
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?}: {error}");
    String::from_utf8(output.stdout).expect("the output is text")
}

fn metadata() -> Value {
    let arguments = ["metadata", "--format-version=1", "--locked", "--no-deps"];
    serde_json::from_str(&output(env!("CARGO"), &arguments)).expect("cargo metadata is JSON")
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_default()
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

/// The folder of one of our crates from its package name.
fn short(package: &str) -> &str {
    package.strip_prefix("conclave-").unwrap_or(package)
}

/// One of our crates.
struct Crate {
    /// The package name without our prefix.
    name: String,
    /// Where it is, from the root, such as `crates/api`.
    folder: String,
    /// Names and kinds (`normal`, `dev`, `build`) of its direct dependencies.
    dependencies: Vec<(String, String)>,
}

fn crates() -> Vec<Crate> {
    let direct = |package: &Value| {
        list(&package["dependencies"])
            .iter()
            .map(|d| {
                (text(d, "name").to_owned(), d["kind"].as_str().unwrap_or("normal").to_owned())
            })
            .collect()
    };
    let folder = |package: &Value| {
        let manifest = Path::new(text(package, "manifest_path"));
        let folder = manifest.parent().and_then(|folder| folder.strip_prefix(root()).ok());
        folder.expect("a crate of ours is below the root").display().to_string()
    };
    list(&metadata()["packages"])
        .iter()
        .map(|package| Crate {
            name: short(text(package, "name")).to_owned(),
            folder: folder(package),
            dependencies: direct(package),
        })
        .collect()
}

/// Every file that is tracked, or would be by `git add`.
fn files() -> Vec<String> {
    output("git", &["ls-files", "--cached", "--others", "--exclude-standard"])
        .lines()
        .filter(|path| root().join(path).is_file())
        .map(str::to_owned)
        .collect()
}

fn is_source(path: &str) -> bool {
    let ending = path.rsplit('.').next().unwrap_or_default();
    SOURCE_ENDINGS.contains(&ending) || path.starts_with(".ci/") || path == "Makefile"
}

fn is_generated(path: &str) -> bool {
    path.starts_with("proto/conclave/cognito/")
        || path.contains("/golden/")
        || path.ends_with(".lock")
}

fn assert_none(what: &str, found: &[String]) {
    assert!(found.is_empty(), "{what}:\n  {}", found.join("\n  "));
}

#[test]
fn crates_depend_only_along_the_arrows() {
    let arrows: BTreeMap<_, _> = ARROWS.iter().copied().collect();
    let mut wrong = Vec::new();
    for Crate { name, dependencies, .. } in crates() {
        let Some(allowed) = arrows.get(name.as_str()) else {
            wrong.push(format!("{name} is not in the table of arrows"));
            continue;
        };
        for (dependency, kind) in dependencies {
            let ours = dependency.starts_with("conclave");
            if ours && kind == "normal" && !allowed.contains(&short(&dependency)) {
                wrong.push(format!("{name} -> {}", short(&dependency)));
            }
        }
    }
    assert_none("arrows that the design does not have", &wrong);
}

#[test]
fn the_table_of_arrows_is_closed() {
    let arrows: BTreeMap<_, _> = ARROWS.iter().copied().collect();
    let mut wrong = Vec::new();
    for (name, allowed) in ARROWS {
        for through in *allowed {
            for reached in arrows[through] {
                if !allowed.contains(reached) {
                    wrong.push(format!("{name} -> {through} -> {reached}"));
                }
            }
        }
    }
    assert_none("reached through another crate, but not allowed directly", &wrong);
}

#[test]
fn libraries_stay_in_the_crates_that_wrap_them() {
    let mut wrong = Vec::new();
    for Crate { name, dependencies, .. } in crates() {
        for (dependency, kind) in dependencies {
            let kept = KEPT_IN.iter().find(|(library, _)| *library == dependency);
            if let Some((_, crates)) = kept
                && kind == "normal"
                && !crates.contains(&name.as_str())
            {
                wrong.push(format!("{name} -> {dependency}"));
            }
        }
    }
    assert_none("libraries outside the crate that wraps them", &wrong);
}

#[test]
fn manifests_take_everything_from_the_workspace() {
    let mut wrong = Vec::new();
    for path in crates().iter().map(|c| format!("{}/Cargo.toml", c.folder)) {
        let manifest = read(&path);
        if !manifest.contains("[lints]\nworkspace = true") {
            wrong.push(format!("{path}: [lints] workspace = true is missing"));
        }
        for field in ["version", "edition", "rust-version", "license", "publish"] {
            if !manifest.contains(&format!("\n{field}.workspace = true")) {
                wrong.push(format!("{path}: {field} is not the workspace's"));
            }
        }
        for (section, line) in sectioned(&manifest) {
            if section.ends_with("dependencies") && !line.contains("workspace = true") {
                wrong.push(format!("{path}: {line}"));
            }
        }
    }
    assert_none("manifests that do not follow the workspace", &wrong);
}

#[test]
fn every_workspace_dependency_is_used_by_a_crate() {
    let used: BTreeSet<String> = crates()
        .into_iter()
        .flat_map(|c| c.dependencies)
        .map(|(dependency, _)| dependency)
        .collect();
    let manifest = read("Cargo.toml");
    let unused: Vec<String> = sectioned(&manifest)
        .filter(|(section, _)| section == "workspace.dependencies")
        .filter_map(|(_, line)| Some(line.split_once('=')?.0.trim().to_owned()))
        .filter(|name| !used.contains(name))
        .collect();
    assert_none("workspace dependencies that no crate uses", &unused);
}

#[test]
fn every_dependency_is_named_in_the_code_of_its_crate() {
    let files = files();
    let mut unused = Vec::new();
    for Crate { name, folder, dependencies } in crates() {
        let folder = format!("{folder}/");
        let code: String = files
            .iter()
            .filter(|p| p.starts_with(&folder) && p.ends_with(".rs"))
            .map(|p| read(p))
            .collect();
        for (dependency, _) in dependencies {
            let generated = USED_BY_GENERATED_CODE.contains(&dependency.as_str());
            if !generated && !names(&code, &dependency.replace('-', "_")) {
                unused.push(format!("{name} -> {dependency}"));
            }
        }
    }
    assert_none("dependencies that the crate's code never names", &unused);
}

/// Whether `code` has `word` as a whole identifier.
fn names(code: &str, word: &str) -> bool {
    let part = |c: char| c.is_alphanumeric() || c == '_';
    code.match_indices(word)
        .any(|(at, _)| !code[..at].ends_with(part) && !code[at + word.len()..].starts_with(part))
}

/// The lines of a TOML file with a value, each with the section that it stands in.
fn sectioned(toml: &str) -> impl Iterator<Item = (String, &str)> {
    let mut section = String::new();
    toml.lines().filter_map(move |line| {
        let line = line.trim();
        if let Some(header) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            section = header.to_owned();
            return None;
        }
        (line.contains('=') && !line.starts_with('#')).then(|| (section.clone(), line))
    })
}

#[test]
fn files_stay_short_enough_to_have_one_subject() {
    let allowed: BTreeMap<_, _> = LONG_FILES.iter().copied().collect();
    let mut wrong = Vec::new();
    for path in files().iter().filter(|p| is_source(p) && !is_generated(p)) {
        let lines = read(path).lines().count();
        let most = allowed.get(path.as_str()).copied().unwrap_or(LINES_MAX);
        if lines > most {
            wrong.push(format!("{path}: {lines} lines, at most {most}"));
        }
        if allowed.contains_key(path.as_str()) && lines <= LINES_MAX {
            wrong.push(format!("{path}: {lines} lines, no longer needs its exception"));
        }
    }
    assert_none("files that have outgrown one subject", &wrong);
}

#[test]
fn sources_have_no_left_overs() {
    // Put together here, so that this file does not find itself.
    let needles = [
        ["TO", "DO"],
        ["FIX", "ME"],
        ["XX", "X"],
        ["db", "g!("],
        ["to", "do!("],
        ["unimpl", "emented!("],
    ]
    .map(|halves| halves.concat());
    let mut found = Vec::new();
    for path in files().iter().filter(|p| is_source(p) && !is_generated(p)) {
        for (number, line) in read(path).lines().enumerate() {
            for needle in needles.iter().filter(|needle| line.contains(needle.as_str())) {
                found.push(format!("{path}:{}: {needle}", number + 1));
            }
        }
    }
    assert_none("left-overs", &found);
}

#[test]
fn no_file_names_the_machine_it_was_written_on() {
    let needles = [["/ro", "ot/"], ["/wo", "rk/"], ["bash", "_jobs"], ["artif", "actory"]]
        .map(|halves| halves.concat());
    // A path from the root, not a part of a longer one.
    let begins = |line: &str, at: usize| !line[..at].ends_with(char::is_alphanumeric);
    let mut found = Vec::new();
    for path in files() {
        let Ok(contents) = std::fs::read_to_string(root().join(&path)) else { continue };
        for (number, line) in contents.lines().enumerate() {
            for needle in &needles {
                if line.match_indices(needle.as_str()).any(|(at, _)| begins(line, at)) {
                    found.push(format!("{path}:{}: {needle}", number + 1));
                }
            }
        }
    }
    assert_none("paths or hosts of a machine", &found);
}

#[test]
fn every_crate_says_what_it_is_for() {
    let missing: Vec<String> = crates()
        .into_iter()
        .map(|c| format!("{}/src", c.folder))
        .filter(|source| {
            let path = ["lib.rs", "main.rs"].iter().map(|file| format!("{source}/{file}"));
            path.filter(|p| root().join(p).is_file()).any(|p| !read(&p).starts_with("//! "))
        })
        .collect();
    assert_none("crates whose root does not begin with their purpose", &missing);
}

#[test]
fn links_between_documents_lead_somewhere() {
    let mut broken = Vec::new();
    for path in files().iter().filter(|p| p.ends_with(".md")) {
        let here = root().join(path);
        for target in read(path).split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let file = target.split('#').next().unwrap_or_default();
            let outside = file.contains("://") || file.starts_with("mailto:") || file.is_empty();
            if !outside && !here.with_file_name(file).exists() {
                broken.push(format!("{path}: {target}"));
            }
        }
    }
    assert_none("links to files that are not there", &broken);
}

#[test]
fn dependencies_have_licences_on_the_list() {
    let deny = read("deny.toml");
    let allowed = quoted(between(&deny, "allow = [", "]"));
    let refused: Vec<String> = all_packages()
        .into_iter()
        .filter(|package| !licence_allowed(&package.licence, &allowed))
        .map(|package| format!("{} {}: {:?}", package.name, package.version, package.licence))
        .collect();
    assert_none("licences that deny.toml does not list", &refused);
}

#[test]
fn dependencies_keep_to_the_bans() {
    let mut versions: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for package in all_packages() {
        versions.entry(package.name).or_default().push(package.version);
    }
    let deny = read("deny.toml");
    let mut wrong = Vec::new();
    for line in between(&deny, "deny = [", "\n]").lines().filter(|l| l.contains("crate =")) {
        let name = quoted(line).remove(0);
        let most = usize::from(line.contains("deny-multiple-versions"));
        let found = versions.get(&name).map(Vec::as_slice).unwrap_or_default();
        if found.len() > most {
            wrong.push(format!("{name}: {found:?}"));
        }
    }
    assert_none("banned libraries, or two versions of one that has to be single", &wrong);
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Package {
    name: String,
    version: String,
    licence: String,
}

#[test]
fn tests_and_the_binary_build_the_same_libraries() {
    // A feature that only a test asks for would compile the library, and all that use it, a second time.
    let features = |edges: &str| -> BTreeSet<String> {
        let tree = ["tree", "--workspace", "--locked", "--prefix=none", "--format={p}|{f}", edges];
        output(env!("CARGO"), &tree)
            .lines()
            .map(|l| l.trim_end_matches(" (*)").to_owned())
            .collect()
    };
    let without = features("--edges=normal,build");
    let with = features("--edges=normal,build,dev");
    let rebuilt: Vec<String> = without.difference(&with).cloned().collect();
    assert_none("libraries that dev-dependencies ask for with other features", &rebuilt);
}

/// What is really built, with the features that are on. `cargo metadata` would also list what they leave out.
fn all_packages() -> BTreeSet<Package> {
    let tree = ["tree", "--workspace", "--locked", "--prefix=none", "--format={p}|{l}"];
    output(env!("CARGO"), &tree)
        .lines()
        .filter_map(|line| {
            let (package, licence) = line.trim_end_matches(" (*)").split_once('|')?;
            let mut words = package.split(' ');
            let (name, version) = (words.next()?.to_owned(), words.next()?.to_owned());
            Some(Package { name, version, licence: licence.to_owned() })
        })
        .collect()
}

fn between<'a>(text: &'a str, begin: &str, end: &str) -> &'a str {
    let rest = text.split_once(begin).unwrap_or_else(|| panic!("no {begin:?}")).1;
    rest.split_once(end).unwrap_or_else(|| panic!("no {end:?} after {begin:?}")).0
}

/// The strings in double quotes.
fn quoted(text: &str) -> Vec<String> {
    text.split('"').skip(1).step_by(2).map(str::to_owned).collect()
}

/// Whether an SPDX expression can be met with the allowed licences. `/` is the old way to write OR.
fn licence_allowed(expression: &str, allowed: &[String]) -> bool {
    let spaced = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
    let mut tokens = spaced.split_whitespace().peekable();
    let met = any_of(&mut tokens, allowed);
    met && tokens.next().is_none()
}

type Tokens<'a> = std::iter::Peekable<std::str::SplitWhitespace<'a>>;

fn any_of(tokens: &mut Tokens<'_>, allowed: &[String]) -> bool {
    let mut met = all_of(tokens, allowed);
    while tokens.next_if_eq(&"OR").is_some() {
        met |= all_of(tokens, allowed);
    }
    met
}

fn all_of(tokens: &mut Tokens<'_>, allowed: &[String]) -> bool {
    let mut met = one(tokens, allowed);
    while tokens.next_if_eq(&"AND").is_some() {
        met &= one(tokens, allowed);
    }
    met
}

fn one(tokens: &mut Tokens<'_>, allowed: &[String]) -> bool {
    if tokens.next_if_eq(&"(").is_some() {
        let met = any_of(tokens, allowed);
        return tokens.next() == Some(")") && met;
    }
    let mut licence = tokens.next().unwrap_or_default().to_owned();
    if tokens.next_if_eq(&"WITH").is_some() {
        licence = format!("{licence} WITH {}", tokens.next().unwrap_or_default());
    }
    allowed.contains(&licence)
}

#[test]
fn licence_expressions_are_read_as_spdx_says() {
    let allowed = ["MIT".to_owned(), "ISC".to_owned()];
    let met = |expression| licence_allowed(expression, &allowed);
    assert!(
        met("MIT")
            && met("GPL-3.0 OR MIT")
            && met("GPL-3.0/MIT")
            && met("ISC AND (GPL-3.0 OR MIT)")
    );
    assert!(
        !met("") && !met("GPL-3.0") && !met("MIT AND GPL-3.0") && !met("MIT WITH Some-exception")
    );
    assert!(!met("MIT MIT") && !met("(MIT"));
}
