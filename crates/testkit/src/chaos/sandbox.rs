//! Namespaces of the harness itself: network, mounts and processes. What it makes in them (links, mounted images, servers)
//! ends with it, however it ends.

use std::{
    fs, io,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use anyhow::{Context, Result};

use super::{
    command::{command, works},
    rows::points,
    strace,
};

/// What the machine lets us do.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tools {
    /// Each node has a network namespace of its own; else they share loopback.
    pub namespaces: bool,
    /// Each node has a file system of its own in a file; else a plain directory.
    pub disks: bool,
    /// strace can be attached.
    pub strace: bool,
    /// Processes can be given less of a processor.
    pub cgroup: bool,
    /// libfaketime is installed.
    pub faketime: bool,
    /// The server was built with points at which it can be made to crash.
    pub failpoints: bool,
}

impl Tools {
    /// Tries each of them, in `dir`. To be called within the namespaces, where there are some.
    pub fn probe(inside: bool, dir: &Path, server: &Path) -> Self {
        Self {
            namespaces: inside && works("ip", &["link", "show"]),
            disks: inside && super::disk::probe(dir).is_ok(),
            strace: strace::probe(dir).is_ok(),
            cgroup: super::cgroup::Cgroup::new(dir, "probe").is_ok(),
            faketime: faketime_library().is_some(),
            failpoints: has_failpoints(server),
        }
    }
}

/// A server with points refuses one that it does not know; one without does not look.
fn has_failpoints(server: &Path) -> bool {
    let asked = Command::new(server)
        .args(["account", "list", "--config", "/nonexistent"])
        .env(points::VARIABLE, "nowhere=abort")
        .output();
    asked.is_ok_and(|output| String::from_utf8_lossy(&output.stderr).contains("fault point"))
}

/// The library that changes the time that a process is told.
pub fn faketime_library() -> Option<PathBuf> {
    let places = [
        "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1",
        "/usr/lib/aarch64-linux-gnu/faketime/libfaketimeMT.so.1",
        "/usr/lib/faketime/libfaketimeMT.so.1",
    ];
    places.iter().map(PathBuf::from).find(|path| path.exists())
}

const NAMESPACES: [&str; 6] =
    ["--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"];

/// Whether this process may make namespaces, and links in them.
pub fn can_unshare() -> bool {
    works(
        "unshare",
        &[&NAMESPACES[..], &["ip", "link", "add", "probe0", "type", "bridge"]].concat(),
    )
}

/// Runs this program again in namespaces of its own. Whoever ends the child ends all that runs in them.
///
/// # Errors
/// It cannot be started.
pub fn enter(arguments: &[String]) -> Result<Child> {
    let program = std::env::current_exe().context("this program has no path")?;
    // also when this process is killed and cannot clean up
    let bound = ["--pdeathsig", "KILL"];
    let mut enter = if works("setpriv", &[&bound[..], &["true"]].concat()) {
        let mut enter = command("setpriv");
        enter.args(bound).arg("unshare");
        enter
    } else {
        command("unshare")
    };
    enter
        .args(NAMESPACES)
        .arg("--")
        .arg(program)
        .args(arguments)
        .stdin(Stdio::null())
        .spawn()
        .context("cannot run unshare")
}

/// A directory for a run, removed when this is dropped unless it is kept.
pub struct WorkDir {
    /// Where it is.
    pub path: PathBuf,
    /// Whether it stays.
    pub keep: bool,
}

impl WorkDir {
    /// Makes it, named after this process.
    ///
    /// # Errors
    /// The disk's.
    pub fn create(below: &Path) -> io::Result<Self> {
        let path = below.join(format!("conclave-chaos-{}", std::process::id()));
        fs::create_dir_all(&path)?;
        Ok(Self { path, keep: false })
    }
}

impl Drop for WorkDir {
    fn drop(&mut self) {
        super::cgroup::remove_all(&self.path);
        if !self.keep {
            let _ = fs::remove_dir_all(&self.path);
        }
    }
}
