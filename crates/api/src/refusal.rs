//! Honest refusal: a member whose effect is not built is refused by name, unless its value is "off".
//! The list is `proto/model/refusals.toml`.

use std::fmt::Write;

use crate::error::ApiError;
use crate::message::{Message, Ref};
use crate::operation::{OPERATIONS, Operation};

/// One member that is refused unless it is off.
#[derive(Debug)]
pub struct Refusal {
    /// The path of JSON names within the request.
    pub member: &'static str,
    pub(crate) steps: &'static [usize],
    pub(crate) rule: Rule,
}

#[derive(Debug)]
pub(crate) enum Rule {
    /// Off when absent or empty all the way down.
    Empty,
    /// Off when every value is one of these.
    Off(&'static [&'static str]),
    /// On when any value is one of these.
    On(&'static [&'static str]),
}

pub(crate) fn check(operation: &Operation, input: &dyn Message) -> Result<(), ApiError> {
    for refusal in operation.refusals {
        if let Some(value) = find(input, refusal.steps, &refusal.rule) {
            let name = format!("{}.{}", operation.name, refusal.member);
            return Err(match value {
                Some(value) => ApiError::not_supported(format_args!("{name} = {value}")),
                None => ApiError::not_supported(name),
            });
        }
    }
    Ok(())
}

/// The value that is not off, if there is one; `Some(None)` when only the member can be named.
fn find(message: &dyn Message, steps: &[usize], rule: &Rule) -> Option<Option<String>> {
    let (&step, rest) = steps.split_first()?;
    let value = message.get(step);
    if rest.is_empty() {
        return judge(value, rule);
    }
    match value {
        Ref::Message(inner) => find(inner, rest, rule),
        Ref::Messages(list) => {
            (0..list.len()).filter_map(|i| list.get(i)).find_map(|inner| find(inner, rest, rule))
        }
        Ref::MessageMap(map) => {
            let mut found = None;
            map.each(&mut |_, inner| {
                if found.is_none() {
                    found = find(inner, rest, rule);
                }
            });
            found
        }
        _ => None,
    }
}

fn judge(value: Ref<'_>, rule: &Rule) -> Option<Option<String>> {
    let refused = |text: &str| match rule {
        Rule::Empty => true,
        Rule::Off(values) => !values.contains(&text),
        Rule::On(values) => values.contains(&text),
    };
    let name = |text: &str| refused(text).then(|| Some(text.to_owned()));
    match (value, rule) {
        (Ref::Absent, _) => None,
        (value, Rule::Empty) => (!is_empty(value)).then_some(None),
        (Ref::Text(text), _) => name(text),
        (Ref::Bool(value), _) => name(if value { "true" } else { "false" }),
        (Ref::Int(value), _) => name(&value.to_string()),
        (Ref::Texts(values), _) => values.iter().find_map(|text| name(text)),
        _ => Some(None),
    }
}

fn is_empty(value: Ref<'_>) -> bool {
    match value {
        Ref::Absent => true,
        Ref::Text(text) => text.is_empty(),
        Ref::Bytes(bytes) => bytes.is_empty(),
        Ref::Texts(values) => values.is_empty(),
        Ref::Messages(values) => values.is_empty(),
        Ref::TextMap(values) => values.is_empty(),
        Ref::MessageMap(values) => values.is_empty(),
        Ref::Message(message) => {
            (0..message.shape().members.len()).all(|i| is_empty(message.get(i)))
        }
        Ref::Bool(_) | Ref::Int(_) | Ref::Long(_) => false,
    }
}

/// Every refusal, one on a line, sorted: what the golden file holds.
#[must_use]
pub fn refusals_listing() -> String {
    let mut out = String::new();
    for operation in OPERATIONS {
        for refusal in operation.refusals {
            let rule = match refusal.rule {
                Rule::Empty => "unless empty".to_owned(),
                Rule::Off(values) => format!("unless {}", values.join(", ")),
                Rule::On(values) => format!("if {}", values.join(", ")),
            };
            // Writing to a String cannot fail.
            let _ = writeln!(out, "{}.{} {rule}", operation.name, refusal.member);
        }
    }
    out
}
