//! What has been found.

use anyhow::Result;
use serde_json::json;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// As it should be.
    Ok,
    /// It works, and may not go on doing so.
    Warning,
    /// It does not work.
    Error,
}

impl Level {
    fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    pub level: Level,
    /// What it is about, in one word: a promise, as the names of members of the JSON are.
    pub about: &'static str,
    pub what: String,
    /// Empty when there is nothing to do.
    pub advice: String,
}

/// In the order in which they were made.
#[derive(Debug, Default)]
pub struct Findings(pub Vec<Finding>);

impl Findings {
    pub fn ok(&mut self, about: &'static str, what: impl Into<String>) {
        self.add(Level::Ok, about, what, "");
    }

    pub fn warning(
        &mut self,
        about: &'static str,
        what: impl Into<String>,
        advice: impl Into<String>,
    ) {
        self.add(Level::Warning, about, what, advice);
    }

    pub fn error(
        &mut self,
        about: &'static str,
        what: impl Into<String>,
        advice: impl Into<String>,
    ) {
        self.add(Level::Error, about, what, advice);
    }

    fn add(
        &mut self,
        level: Level,
        about: &'static str,
        what: impl Into<String>,
        advice: impl Into<String>,
    ) {
        self.0.push(Finding { level, about, what: what.into(), advice: advice.into() });
    }

    /// No errors.
    pub fn is_well(&self) -> bool {
        self.0.iter().all(|finding| finding.level != Level::Error)
    }

    fn count(&self, level: Level) -> usize {
        self.0.iter().filter(|finding| finding.level == level).count()
    }

    /// For people: what is wrong with what to do, and what was looked at.
    pub fn text(&self) -> String {
        let mut text = String::new();
        for Finding { level, about, what, advice } in &self.0 {
            text += &format!("{:<8} {about}: {what}\n", level.as_str());
            if !advice.is_empty() {
                text += &format!("{:<8} -> {advice}\n", "");
            }
        }
        let (errors, warnings) = (self.count(Level::Error), self.count(Level::Warning));
        text + &match (errors, warnings) {
            (0, 0) => "Nothing is wrong.".to_owned(),
            (errors, warnings) => format!("{errors} errors, {warnings} warnings."),
        }
    }

    /// For machines.
    pub fn json(&self) -> Result<String> {
        let findings = self.0.iter().map(|finding| {
            json!({
                "level": finding.level.as_str(),
                "about": finding.about,
                "what": finding.what,
                "advice": finding.advice,
            })
        });
        let document = json!({
            "well": self.is_well(),
            "errors": self.count(Level::Error),
            "warnings": self.count(Level::Warning),
            "findings": findings.collect::<Vec<_>>(),
        });
        Ok(serde_json::to_string_pretty(&document)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_warning_is_well_and_an_error_is_not() {
        let mut findings = Findings::default();
        assert!(findings.text().ends_with("Nothing is wrong."));
        findings.ok("disk", "there is room");
        findings.warning("certificates", "it expires soon", "renew it");
        assert!(findings.is_well());
        findings.error("kek", "it is missing", "put it there");
        assert!(!findings.is_well());
        assert_eq!(
            findings.text(),
            "ok       disk: there is room\n\
             warning  certificates: it expires soon\n\
             \x20        -> renew it\n\
             error    kek: it is missing\n\
             \x20        -> put it there\n\
             1 errors, 1 warnings."
        );
        let json: serde_json::Value =
            serde_json::from_str(&findings.json().expect("writes")).expect("parses");
        assert_eq!((&json["well"], &json["errors"]), (&json!(false), &json!(1)));
        assert_eq!(json["findings"][2]["advice"], "put it there");
    }
}
