//! The audit log: who has done what to what, when, from where, and what came of it. One JSON document in a line, to a file or to
//! standard output; never a secret. The file is not rotated by the process.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context as _, Result};
use conclave_gateway::audit::{AuditLog, Entry};
use conclave_store::Clock;
use parking_lot::Mutex;
use serde_json::{Map, Value, json};

use crate::{clock::SystemClock, config::Audit};

/// Where entries go. Each is written at once, in one piece.
pub struct AuditFile {
    out: Out,
    clock: Arc<SystemClock>,
}

enum Out {
    Stdout,
    File(Appended),
}

impl AuditFile {
    /// As the configuration says; `None` without.
    pub fn open(config: Option<&Audit>, clock: &Arc<SystemClock>) -> Result<Option<Arc<Self>>> {
        let Some(Audit { output }) = config else { return Ok(None) };
        let out = match output.as_str() {
            "stdout" => Out::Stdout,
            path => Out::File(Appended::open(path.into())?),
        };
        Ok(Some(Arc::new(Self { out, clock: clock.clone() })))
    }

    /// A change of the cluster by an administrator.
    pub fn administration(
        &self,
        who: &str,
        from: &str,
        operation: &str,
        subject: Option<&str>,
        outcome: &str,
    ) {
        self.line(json!({
            "kind": "administration",
            "who": who,
            "from": from,
            "operation": operation,
            "target": subject,
            "outcome": outcome,
        }));
    }

    fn line(&self, mut entry: Value) {
        if let Value::Object(members) = &mut entry {
            members.insert("time".to_owned(), json!(rfc3339(self.clock.now_ms())));
        }
        let line = format!("{entry}\n");
        let written = match &self.out {
            Out::Stdout => io::stdout().lock().write_all(line.as_bytes()),
            Out::File(file) => file.write(line.as_bytes()),
        };
        if let Err(error) = written {
            // what has been done has been done; that it is not on record must not be silent
            tracing::error!(%error, "an entry of the audit log could not be written");
        }
    }
}

impl AuditLog for AuditFile {
    fn write(&self, entry: &Entry, outcome: &str) {
        let names = entry.target.names.iter();
        let names = names.map(|(name, value)| ((*name).to_owned(), json!(value)));
        self.line(json!({
            "kind": "api",
            "who": entry.principal.arn,
            "access_key_id": entry.principal.access_key_id,
            "from": entry.from.map(|from| from.to_string()),
            "front": entry.front,
            "region": entry.principal.region,
            "operation": entry.operation,
            "target": entry.target.resource,
            "names": names.collect::<Map<_, _>>(),
            "outcome": outcome,
            "request_id": &*entry.request_id,
        }));
    }
}

/// A file that lines are added to, and that may be moved away at any time: the next line begins a new one under the same name.
struct Appended {
    path: PathBuf,
    file: Mutex<File>,
}

impl Appended {
    fn open(path: PathBuf) -> Result<Self> {
        let file = append(&path)
            .with_context(|| format!("the audit log {} cannot be written", path.display()))?;
        Ok(Self { path, file: Mutex::new(file) })
    }

    fn write(&self, line: &[u8]) -> io::Result<()> {
        let mut file = self.file.lock();
        let kept = file.metadata()?;
        let is_there = fs::metadata(&self.path)
            .is_ok_and(|named| (named.dev(), named.ino()) == (kept.dev(), kept.ino()));
        if !is_there {
            *file = append(&self.path)?;
        }
        file.write_all(line)
    }
}

fn append(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).mode(0o640).open(path)
}

fn rfc3339(now_ms: i64) -> String {
    let now = time::OffsetDateTime::from_unix_timestamp_nanos(i128::from(now_ms) * 1_000_000);
    let now = now.unwrap_or(time::OffsetDateTime::UNIX_EPOCH);
    let (date, time) = (now.date(), now.time());
    format!(
        "{date}T{:02}:{:02}:{:02}.{:03}Z",
        time.hour(),
        time.minute(),
        time.second(),
        time.millisecond()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_was_moved_away_is_begun_again() {
        let dir = tempfile::tempdir().expect("a directory");
        let (path, moved) = (dir.path().join("audit.jsonl"), dir.path().join("audit.1"));
        let audit = Audit { output: path.to_string_lossy().into_owned() };
        let log = AuditFile::open(Some(&audit), &Arc::new(SystemClock::start())).expect("opens");
        let log = log.expect("is configured");
        log.administration("CN=ada", "127.0.0.1", "drain", Some("1"), "OK");
        fs::rename(&path, &moved).expect("moves");
        log.administration("CN=ada", "127.0.0.1", "undrain", Some("1"), "OK");
        let read = |path| fs::read_to_string(path).expect("is there");
        assert!(read(&moved).contains("\"drain\"") && read(&moved).lines().count() == 1);
        assert!(read(&path).contains("\"undrain\"") && read(&path).lines().count() == 1);
    }

    #[test]
    fn times_are_those_of_rfc_3339() {
        assert_eq!(rfc3339(1_767_225_600_007), "2026-01-01T00:00:00.007Z");
    }
}
