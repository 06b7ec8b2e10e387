//! A seed: a file that declares accounts, pools and what is in them, with fixed ids and secrets where it gives them, and brings a cluster
//! to it. For developers, tests, and the first content of a cluster.
//!
//! - `file`, `json`, `node`: from TOML or JSON to values that know their lines
//! - `form`: what may be declared; `check`: whether a file is so; `schema`: the same as a JSON schema
//! - `apply`, and beside it one file for each kind of thing: what has to be made or changed, by the API's own operations
//! - `command`, `endpoint`: `conclave seed`, and the door of a running `conclave dev`
//!
//! Applying is idempotent. What is declared is made, or changed where it is described otherwise; what the file does not mention stays as
//! it is; nothing is ever deleted. Everything goes through the constraints, refusals and rules of the API.

mod access_keys;
mod apply;
mod call;
mod check;
mod clients;
mod command;
mod compare;
mod endpoint;
mod file;
mod form;
mod json;
mod node;
mod pools;
mod resources;
mod schema;
mod users;

use std::fmt;

pub use apply::{Report, apply};
pub use command::{SeedCommand, run};
pub use endpoint::router;
pub use file::Seed;

/// What is wrong with a seed, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeedError {
    /// From 1.
    pub line: usize,
    /// Without any secret of the file.
    pub text: String,
}

impl SeedError {
    fn at(line: usize, text: impl Into<String>) -> Self {
        Self { line, text: text.into() }
    }
}

/// Everything that is wrong with a seed: one or more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeedErrors {
    /// The file's name, where it has one.
    pub name: Option<String>,
    /// In the order of the lines.
    pub errors: Vec<SeedError>,
}

impl fmt::Display for SeedErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, error) in self.errors.iter().enumerate() {
            if number > 0 {
                f.write_str("\n")?;
            }
            match &self.name {
                Some(name) => write!(f, "{name}:{}: {}", error.line, error.text)?,
                None => write!(f, "line {}: {}", error.line, error.text)?,
            }
        }
        Ok(())
    }
}

impl std::error::Error for SeedErrors {}
