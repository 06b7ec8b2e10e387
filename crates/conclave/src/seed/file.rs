//! A seed file: read, taken apart, and checked as a whole before anything is done.

use std::{fs, path::Path};

use anyhow::{Context, Result, bail};
use toml::de::{DeTable, DeValue};

use super::{
    SeedError, SeedErrors, check, json,
    node::{Entry, Node, Value},
};

/// No seed is larger.
pub const BYTES_MAX: usize = 4 << 20;

/// How a seed is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    Toml,
    Json,
}

impl Format {
    /// By the ending of a file's name.
    pub fn of(path: &Path) -> Result<Self> {
        match path.extension().and_then(|ending| ending.to_str()) {
            Some("toml") => Ok(Self::Toml),
            Some("json") => Ok(Self::Json),
            _ => bail!("{}: a seed ends in .toml or .json", path.display()),
        }
    }

    /// As HTTP names it.
    pub fn media_type(self) -> &'static str {
        match self {
            Self::Toml => "application/toml",
            Self::Json => "application/json",
        }
    }
}

/// A seed whose form is good.
pub struct Seed {
    pub(super) root: Node,
    /// The file's name, where it has one.
    pub(super) name: Option<String>,
}

impl Seed {
    /// Reads and checks a file.
    ///
    /// # Errors
    /// It cannot be read, or [`SeedErrors`].
    pub fn read(path: &Path) -> Result<Self> {
        let format = Format::of(path)?;
        Self::parse(&text(path)?, format, Some(path.display().to_string())).map_err(Into::into)
    }

    /// Checks a text.
    ///
    /// # Errors
    /// Everything that is wrong with its form.
    pub fn parse(text: &str, format: Format, name: Option<String>) -> Result<Self, SeedErrors> {
        let parsed = match format {
            Format::Toml => parse_toml(text),
            Format::Json => json::parse(text),
        };
        let errors = match parsed {
            Ok(root) => {
                let errors = check::check(&root);
                if errors.is_empty() {
                    return Ok(Self { root, name });
                }
                errors
            }
            Err(error) => vec![error],
        };
        Err(SeedErrors { name, errors })
    }
}

/// The text of a file, within the limit.
pub fn text(path: &Path) -> Result<String> {
    let cannot = || format!("cannot read {}", path.display());
    let length = fs::metadata(path).with_context(cannot)?.len();
    if length > BYTES_MAX as u64 {
        bail!("{} is larger than {} MiB", path.display(), BYTES_MAX >> 20);
    }
    fs::read_to_string(path).with_context(cannot)
}

fn parse_toml(text: &str) -> Result<Node, SeedError> {
    let lines = Lines::of(text);
    match DeTable::parse(text) {
        Ok(table) => {
            let entries = entries(table.get_ref(), &lines)?;
            Ok(Node { line: 1, value: Value::Table(entries) })
        }
        // its own display repeats the line, which can hold a secret
        Err(error) => {
            let line = lines.line(error.span().map_or(0, |span| span.start));
            Err(SeedError::at(line, error.message().trim()))
        }
    }
}

fn entries(table: &DeTable<'_>, lines: &Lines) -> Result<Vec<Entry>, SeedError> {
    let mut entries = Vec::with_capacity(table.len());
    for (name, value) in table {
        let line = lines.line(name.span().start);
        let node = node(value.get_ref(), line.max(lines.line(value.span().start)), lines)?;
        entries.push(Entry { name: name.get_ref().to_string(), line, node });
    }
    Ok(entries)
}

fn node(value: &DeValue<'_>, line: usize, lines: &Lines) -> Result<Node, SeedError> {
    let value = match value {
        DeValue::String(text) => Value::Text(text.to_string()),
        DeValue::Integer(number) => {
            let digits = number.as_str().replace('_', "");
            let number = i64::from_str_radix(&digits, number.radix());
            Value::Int(number.map_err(|_| SeedError::at(line, "the number is too large"))?)
        }
        DeValue::Boolean(value) => Value::Bool(*value),
        DeValue::Array(items) => {
            let items = items.iter().map(|item| {
                let at = lines.line(item.span().start);
                node(item.get_ref(), at, lines)
            });
            Value::List(items.collect::<Result<_, _>>()?)
        }
        DeValue::Table(table) => Value::Table(entries(table, lines)?),
        DeValue::Float(_) => return Err(SeedError::at(line, "expected a whole number")),
        DeValue::Datetime(_) => {
            return Err(SeedError::at(line, "a time is written as a text in quotes"));
        }
    };
    Ok(Node { line, value })
}

/// Where lines begin.
struct Lines(Vec<usize>);

impl Lines {
    fn of(text: &str) -> Self {
        Self(text.match_indices('\n').map(|(at, _)| at).collect())
    }

    fn line(&self, at: usize) -> usize {
        self.0.partition_point(|end| *end < at) + 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn errors(text: &str) -> Vec<(usize, String)> {
        let Err(errors) = Seed::parse(text, Format::Toml, None) else { return Vec::new() };
        errors.errors.into_iter().map(|error| (error.line, error.text)).collect()
    }

    #[test]
    fn toml_and_json_say_the_same() {
        let toml =
            "[[UserPools]]\nPoolName = \"web\"\n\n[[UserPools.Clients]]\nClientName = \"app\"\n";
        let json = r#"{"UserPools": [{"PoolName": "web", "Clients": [{"ClientName": "app"}]}]}"#;
        let [toml, json] = [(toml, Format::Toml), (json, Format::Json)].map(|(text, format)| {
            let seed = Seed::parse(text, format, None);
            seed.map(|seed| seed.root.to_json()).map_err(|errors| errors.to_string())
        });
        assert!(toml.is_ok(), "{toml:?}");
        assert_eq!(toml, json);
    }

    #[test]
    fn what_is_not_toml_is_named_with_its_line_and_without_its_content() {
        let found = errors("[[UserPools]]\nPoolName = \"secret\n");
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].0, 2);
        assert!(!found[0].1.contains("secret"), "{}", found[0].1);
        assert_eq!(errors("a = 1\na = 2\n")[0].0, 2);
        assert_eq!(errors("a = 1.5")[0].1, "expected a whole number");
    }

    #[test]
    fn tables_and_members_know_their_lines() {
        let text = "\n[[UserPools]]\nPoolName = \"web\"\n\n[[UserPools.Users]]\nUsername = \"a\"\n";
        let Ok(seed) = Seed::parse(text, Format::Toml, None) else { panic!("parses") };
        let pool = &seed.root.list("UserPools")[0];
        assert_eq!((pool.line, pool.line_of("PoolName")), (2, 3));
        assert_eq!(pool.list("Users")[0].line, 5);
    }
}
