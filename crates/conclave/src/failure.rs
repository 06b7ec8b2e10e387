//! Why a command has not done what it should.

use std::fmt;

/// What the exit codes of commands mean; also in their help.
pub const CODES: &str = "Exit codes: 0 done, 1 failed, 2 usage, 3 no node could be reached, 4 the cluster is not well \
                         (status only).";

/// Why a command has not done what it should, with the code for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    code: u8,
    text: String,
}

impl Failure {
    /// It was asked, and refused or not done.
    pub fn failed(text: impl Into<String>) -> Self {
        Self { code: 1, text: text.into() }
    }

    /// The command line does not say enough, or contradicts itself.
    pub fn usage(text: impl Into<String>) -> Self {
        Self { code: 2, text: text.into() }
    }

    /// Nobody could be asked.
    pub fn unreachable(text: impl Into<String>) -> Self {
        Self { code: 3, text: text.into() }
    }

    /// It was asked, and something is wrong with the cluster.
    pub fn not_well(text: impl Into<String>) -> Self {
        Self { code: 4, text: text.into() }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for Failure {}

/// The exit code for an error of a command.
pub fn code(error: &anyhow::Error) -> u8 {
    error.downcast_ref::<Failure>().map_or(1, |failure| failure.code)
}
