//! The faults themselves.

use std::{
    collections::BTreeMap,
    io::Write as _,
    sync::{
        OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use crate::{BUGS, POINTS, TIMES};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Action {
    Abort,
    Sleep(Duration),
    Error,
}

#[derive(Debug)]
struct Fault {
    action: Action,
    /// The first time at which it happens, and whether it goes on happening.
    first: u64,
    always: bool,
    passed: AtomicU64,
}

#[derive(Debug, Default)]
struct Faults {
    points: BTreeMap<String, Fault>,
    bug: Option<String>,
    times_ms: BTreeMap<String, u32>,
    feature_level: Option<u32>,
}

static FAULTS: OnceLock<Result<Faults, String>> = OnceLock::new();

fn faults() -> Option<&'static Faults> {
    FAULTS.get_or_init(read).as_ref().ok()
}

#[expect(clippy::disallowed_methods, reason = "there is no configuration where points are passed")]
fn read() -> Result<Faults, String> {
    let variable = |name| std::env::var(name).unwrap_or_default();
    let bug = variable("CONCLAVE_SEEDED_BUG");
    let mut faults = parse(&variable("CONCLAVE_FAILPOINTS"), &bug, &variable("CONCLAVE_TIMES"))?;
    let level = variable("CONCLAVE_FEATURE_LEVEL");
    if !level.is_empty() {
        let parsed = level.parse().map_err(|_| format!("{level:?} is no feature level"))?;
        faults.feature_level = Some(parsed);
    }
    Ok(faults)
}

pub fn active() -> Result<String, String> {
    match FAULTS.get_or_init(read) {
        Ok(faults) => Ok(format!(
            "points {:?}, bug {:?}, times {:?}, feature level {:?}",
            faults.points, faults.bug, faults.times_ms, faults.feature_level
        )),
        Err(error) => Err(error.clone()),
    }
}

/// Passes a point. True: it has to fail.
pub fn pass(name: &str) -> bool {
    let Some(fault) = faults().and_then(|faults| faults.points.get(name)) else { return false };
    let time = fault.passed.fetch_add(1, Ordering::SeqCst) + 1;
    if time < fault.first || (time > fault.first && !fault.always) {
        return false;
    }
    match fault.action {
        Action::Abort => {
            // without it a test could not tell this end from any other
            let _ = writeln!(std::io::stderr(), "fault point {name}: abort at time {time}");
            std::process::abort();
        }
        Action::Sleep(duration) => {
            let _ = writeln!(std::io::stderr(), "fault point {name}: sleep at time {time}");
            thread::sleep(duration);
            false
        }
        Action::Error => true,
    }
}

pub fn has_bug(name: &str) -> bool {
    debug_assert!(BUGS.iter().any(|(known, _)| *known == name), "{name} is not in the table");
    faults().is_some_and(|faults| faults.bug.as_deref() == Some(name))
}

pub fn time_ms(name: &str) -> Option<u32> {
    debug_assert!(TIMES.iter().any(|(known, _)| *known == name), "{name} is not in the table");
    faults().and_then(|faults| faults.times_ms.get(name).copied())
}

pub fn feature_level() -> Option<u32> {
    faults().and_then(|faults| faults.feature_level)
}

fn parse(points: &str, bug: &str, times: &str) -> Result<Faults, String> {
    let mut faults = Faults::default();
    for text in points.split(';').map(str::trim).filter(|text| !text.is_empty()) {
        let (name, what) = text.split_once('=').ok_or(format!("no action in {text:?}"))?;
        if !POINTS.iter().any(|(known, _)| *known == name) {
            return Err(format!("there is no fault point {name:?}"));
        }
        faults.points.insert(name.to_owned(), parse_fault(what)?);
    }
    if !bug.is_empty() {
        if !BUGS.iter().any(|(known, _)| *known == bug) {
            return Err(format!("there is no seeded bug {bug:?}"));
        }
        faults.bug = Some(bug.to_owned());
    }
    for text in times.split(';').map(str::trim).filter(|text| !text.is_empty()) {
        let (name, ms) = text.split_once('=').ok_or(format!("no milliseconds in {text:?}"))?;
        if !TIMES.iter().any(|(known, _)| *known == name) {
            return Err(format!("there is no time {name:?}"));
        }
        let ms = ms.parse().map_err(|_| format!("{ms:?} is no number of milliseconds"))?;
        faults.times_ms.insert(name.to_owned(), ms);
    }
    Ok(faults)
}

fn parse_fault(text: &str) -> Result<Fault, String> {
    let (action, when) = text.split_once('@').unwrap_or((text, "1+"));
    let (first, always) = match when.strip_suffix('+') {
        Some(first) => (first, true),
        None => (when, false),
    };
    let first = first.parse().map_err(|_| format!("{when:?} is no time"))?;
    let action = match action.split_once(':') {
        None if action == "abort" => Action::Abort,
        None if action == "error" => Action::Error,
        Some(("sleep", ms)) => Action::Sleep(Duration::from_millis(
            ms.parse().map_err(|_| format!("{ms:?} is no number of milliseconds"))?,
        )),
        _ => return Err(format!("there is no action {action:?}")),
    };
    Ok(Fault { action, first, always, passed: AtomicU64::new(0) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_are_read_as_they_are_written() {
        let faults = parse(
            "raft.before_append_sync=abort@3; apply.before_batch=sleep:20;purge.after_batch=error@2+",
            "follower-read",
            "make.within=500",
        )
        .expect("is valid");
        let found = |name: &str| {
            let fault = &faults.points[name];
            (fault.action, fault.first, fault.always)
        };
        assert_eq!(found("raft.before_append_sync"), (Action::Abort, 3, false));
        let sleep = Action::Sleep(Duration::from_millis(20));
        assert_eq!(found("apply.before_batch"), (sleep, 1, true));
        assert_eq!(found("purge.after_batch"), (Action::Error, 2, true));
        assert_eq!(faults.bug.as_deref(), Some("follower-read"));
        assert_eq!(faults.times_ms["make.within"], 500);
    }

    #[test]
    fn what_names_nothing_is_refused() {
        for points in [
            "raft=abort",
            "apply.before_batch",
            "apply.before_batch=stop",
            "apply.before_batch=abort@x",
        ] {
            assert!(parse(points, "", "").is_err(), "{points}");
        }
        assert!(parse("", "follower-reads", "").is_err());
        for times in ["make", "make.within", "make.within=soon", "make.without=1"] {
            assert!(parse("", "", times).is_err(), "{times}");
        }
    }
}
