//! The constraints of the model, in Cognito's words.
//!
//! All broken constraints of a request are reported in one text. The service gives them in no fixed order; ours is that of
//! the model, and for one value: presence, enumeration, pattern, length or range. That is the order most often seen in
//! answers of the service. Lengths count Unicode characters, as the model's `length` is defined:
//! <https://smithy.io/2.0/spec/constraint-traits.html#length-trait>.

use std::fmt::{self, Write};

use crate::error::ApiError;
use crate::message::{Limits, Member, Message, Ref};

/// No more than this many characters of a value are repeated in a text.
const MOST_ECHO: usize = 1024;

/// When the text has grown so long, further violations are only counted. In bytes.
const MOST_TEXT: usize = 16 * 1024;

/// The broken constraints of one request.
#[derive(Debug, Default)]
pub struct Violations {
    count: usize,
    text: String,
}

impl Violations {
    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.count
    }

    /// All of them as one error.
    ///
    /// # Errors
    /// `InvalidParameterException` when there are any.
    pub fn into_result(self) -> Result<(), ApiError> {
        match self.count {
            0 => Ok(()),
            1 => Err(ApiError::invalid_parameter(format!(
                "1 validation error detected: {}",
                self.text
            ))),
            n => Err(ApiError::invalid_parameter(format!(
                "{n} validation errors detected: {}",
                self.text
            ))),
        }
    }

    fn add(&mut self, value: &dyn fmt::Display, path: &Path<'_>, constraint: &dyn fmt::Display) {
        self.count += 1;
        if self.text.len() > MOST_TEXT {
            return;
        }
        if self.count > 1 {
            self.text.push_str("; ");
        }
        // Writing to a String cannot fail.
        let _ = write!(
            self.text,
            "Value{value} at '{path}' failed to satisfy constraint: {constraint}"
        );
    }
}

/// Where a value stands in the request: `userAttributes.1.member.name`.
struct Path<'a> {
    parent: Option<&'a Path<'a>>,
    step: Step<'a>,
}

#[derive(Clone, Copy)]
enum Step<'a> {
    Member(&'a str),
    /// From 1.
    Item(usize),
    Key(&'a str),
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(parent) = self.parent {
            write!(f, "{parent}.")?;
        }
        match self.step {
            Step::Member(name) => f.write_str(name),
            Step::Item(position) => write!(f, "{position}.member"),
            Step::Key(key) => write!(f, "{}.member", Echo(key)),
        }
    }
}

/// A value as it is repeated: no longer than is useful.
struct Echo<'a>(&'a str);

impl fmt::Display for Echo<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.char_indices().nth(MOST_ECHO) {
            None => f.write_str(self.0),
            Some((end, _)) => write!(f, "{}...", self.0.get(..end).unwrap_or_default()),
        }
    }
}

/// What stands between `Value` and `at`.
struct Shown<'a> {
    member: &'a Member,
    value: Ref<'a>,
}

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.member.sensitive {
            return Ok(());
        }
        if self.member.secret {
            // The service repeats these, and clients look for a value; but they are secrets in our book.
            let empty = matches!(self.value, Ref::Text(""));
            return f.write_str(if empty { " ''" } else { " '***'" });
        }
        match self.value {
            Ref::Text(text) => write!(f, " '{}'", Echo(text)),
            Ref::Int(number) => write!(f, " '{number}'"),
            Ref::Long(number) => write!(f, " '{number}'"),
            Ref::Texts(values) => {
                write!(f, " '[{}]'", Echo(&joined(values.iter(), |out, v| out.push_str(v))))
            }
            Ref::TextMap(values) => {
                let entries = joined(values.iter(), |out, (key, value)| {
                    out.push_str(key);
                    out.push('=');
                    out.push_str(value);
                });
                write!(f, " '{{{}}}'", Echo(&entries))
            }
            Ref::Messages(values) if values.is_empty() => f.write_str(" '[]'"),
            Ref::MessageMap(values) if values.is_empty() => f.write_str(" '{}'"),
            _ => Ok(()),
        }
    }
}

/// Items with commas, as far as they are going to be shown.
fn joined<T>(items: impl Iterator<Item = T>, push: impl Fn(&mut String, T)) -> String {
    let mut out = String::new();
    for (index, item) in items.enumerate() {
        if index > 0 {
            out.push_str(", ");
        }
        push(&mut out, item);
        // A character has at most four bytes.
        if out.len() > MOST_ECHO * 4 {
            break;
        }
    }
    out
}

pub(crate) fn message(message: &dyn Message, violations: &mut Violations) {
    structure(message, None, violations);
}

fn structure(message: &dyn Message, parent: Option<&Path<'_>>, violations: &mut Violations) {
    for (index, member) in message.shape().members.iter().enumerate() {
        let path = Path { parent, step: Step::Member(member.path) };
        let value = message.get(index);
        match value {
            Ref::Absent => {
                if member.required {
                    violations.add(&" null", &path, &"Member must not be null");
                }
                continue;
            }
            Ref::Message(inner) => structure(inner, Some(&path), violations),
            Ref::Messages(list) => {
                for (position, inner) in (0..list.len()).filter_map(|i| list.get(i)).enumerate() {
                    let path = Path { parent: Some(&path), step: Step::Item(position + 1) };
                    structure(inner, Some(&path), violations);
                }
            }
            Ref::MessageMap(map) => map.each(&mut |key, inner| {
                let path = Path { parent: Some(&path), step: Step::Key(key) };
                structure(inner, Some(&path), violations);
            }),
            _ => {}
        }
        if member.value.is_some() || member.item.is_some() || member.map_key.is_some() {
            limits(member, value, &path, violations);
        }
    }
}

fn limits(member: &Member, value: Ref<'_>, path: &Path<'_>, violations: &mut Violations) {
    let shown = Shown { member, value };
    if let Some(limits) = member.value {
        match value {
            Ref::Text(text) => {
                if let Some(values) = limits.values.filter(|values| !values.contains(&text)) {
                    violations.add(&shown, path, &EnumSet(values));
                }
                if let Some(pattern) = limits.pattern.filter(|pattern| !pattern.matches(text)) {
                    violations.add(&shown, path, &OfPattern(pattern.source()));
                }
                let count = || i64::try_from(text.chars().count()).unwrap_or(i64::MAX);
                range("length", limits, size(text.len()), count, |bound| {
                    violations.add(&shown, path, &bound)
                });
            }
            Ref::Int(number) => {
                let number = i64::from(number);
                range(
                    "value",
                    limits,
                    number,
                    || number,
                    |bound| violations.add(&shown, path, &bound),
                );
            }
            Ref::Long(number) => range(
                "value",
                limits,
                number,
                || number,
                |bound| violations.add(&shown, path, &bound),
            ),
            other => {
                let length = match other {
                    Ref::Bytes(bytes) => bytes.len(),
                    Ref::Texts(values) => values.len(),
                    Ref::Messages(values) => values.len(),
                    Ref::TextMap(values) => values.len(),
                    Ref::MessageMap(values) => values.len(),
                    _ => return,
                };
                let length = size(length);
                range(
                    "length",
                    limits,
                    length,
                    || length,
                    |bound| violations.add(&shown, path, &bound),
                );
            }
        }
    }
    if let Some(limits) = member.item {
        match value {
            Ref::Texts(values) if !values.iter().all(|text| allowed(limits, text)) => {
                violations.add(&shown, path, &OfEach { what: "Member", limits });
            }
            Ref::TextMap(values) if !values.values().all(|text| allowed(limits, text)) => {
                violations.add(&shown, path, &OfEach { what: "Map value", limits });
            }
            _ => {}
        }
    }
    if let Some(limits) = member.map_key {
        let fine = match value {
            Ref::TextMap(values) => values.keys().all(|key| allowed(limits, key)),
            Ref::MessageMap(values) => {
                let mut fine = true;
                values.each(&mut |key, _| fine &= allowed(limits, key));
                fine
            }
            _ => true,
        };
        if !fine {
            violations.add(&shown, path, &OfEach { what: "Map keys", limits });
        }
    }
}

fn size(length: usize) -> i64 {
    i64::try_from(length).unwrap_or(i64::MAX)
}

/// Calls `broken` when a number is out of range. `at_most` is a cheap upper bound of the number, so that a short string
/// need not be counted.
fn range(
    of: &'static str,
    limits: &Limits,
    at_most: i64,
    exact: impl Fn() -> i64,
    mut broken: impl FnMut(Bound),
) {
    if let Some(max) = limits.max
        && at_most > max
        && exact() > max
    {
        broken(Bound { of, word: "less", bound: max });
    }
    if let Some(min) = limits.min
        && (at_most < min || (min > 1 && exact() < min))
    {
        broken(Bound { of, word: "greater", bound: min });
    }
}

/// Whether one element, key or map value keeps its constraints.
fn allowed(limits: &Limits, text: &str) -> bool {
    let mut fine = limits.values.is_none_or(|values| values.contains(&text))
        && limits.pattern.is_none_or(|pattern| pattern.matches(text));
    let count = || size(text.chars().count());
    range("length", limits, size(text.len()), count, |_| fine = false);
    fine
}

struct Bound {
    of: &'static str,
    word: &'static str,
    bound: i64,
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Member must have {} {} than or equal to {}", self.of, self.word, self.bound)
    }
}

struct EnumSet<'a>(&'a [&'a str]);

impl fmt::Display for EnumSet<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Member must satisfy enum value set: [{}]", self.0.join(", "))
    }
}

struct OfPattern(&'static str);

impl fmt::Display for OfPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Member must satisfy regular expression pattern: {}", self.0)
    }
}

/// All constraints on each element, key or map value: the service names them all, whichever is broken.
struct OfEach {
    what: &'static str,
    limits: &'static Limits,
}

impl fmt::Display for OfEach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = Vec::new();
        if let Some(values) = self.limits.values {
            parts.push(EnumSet(values).to_string());
        }
        if let Some(bound) = self.limits.max {
            parts.push(Bound { of: "length", word: "less", bound }.to_string());
        }
        if let Some(bound) = self.limits.min {
            parts.push(Bound { of: "length", word: "greater", bound }.to_string());
        }
        if let Some(pattern) = self.limits.pattern {
            parts.push(OfPattern(pattern.source()).to_string());
        }
        write!(f, "{} must satisfy constraint: [{}]", self.what, parts.join(", "))
    }
}
