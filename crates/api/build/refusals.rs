//! Reads `proto/model/refusals.toml`: which members are refused by name because their effect is not built.

use toml::{Table, Value};

use crate::Failure;
use crate::model::{Member, MemberKind, Model};

pub struct Refusal {
    pub operation: String,
    /// As it is written: `Policies.PasswordPolicy.PasswordHistorySize`.
    pub path: String,
    /// Positions of the members along the path, each in its own structure.
    pub steps: Vec<usize>,
    pub rule: Rule,
}

pub enum Rule {
    /// Off when absent or empty all the way down.
    Empty,
    /// Off when every value is one of these.
    Off(Vec<String>),
    /// On when any value is one of these.
    On(Vec<String>),
}

pub fn read(source: &str, model: &Model) -> Result<Vec<Refusal>, Failure> {
    let mut refusals = Vec::new();
    for (operation, members) in source.parse::<Table>()? {
        let known = model
            .operations
            .iter()
            .find(|o| o.name == operation)
            .ok_or(format!("refusals: no operation {operation}"))?;
        let members = members.as_table().ok_or(format!("refusals: {operation} is no table"))?;
        for (path, rule) in members {
            let at = format!("refusals: {operation}.{path}");
            let rule = read_rule(rule).ok_or(format!("{at}: not a rule"))?;
            let (steps, last) =
                resolve(model, &known.input, path).ok_or(format!("{at}: no such member"))?;
            let fits = match rule {
                Rule::Empty => true,
                _ => matches!(
                    last.kind,
                    MemberKind::Bool | MemberKind::Int | MemberKind::Text | MemberKind::TextList
                ),
            };
            if !fits {
                return Err(format!(
                    "{at}: values can be given only for scalars and lists of strings"
                )
                .into());
            }
            refusals.push(Refusal {
                operation: operation.clone(),
                path: path.clone(),
                steps,
                rule,
            });
        }
    }
    refusals.sort_by(|a, b| (&a.operation, &a.path).cmp(&(&b.operation, &b.path)));
    Ok(refusals)
}

fn read_rule(value: &Value) -> Option<Rule> {
    let table = value.as_table()?;
    let texts = |value: &Value| -> Option<Vec<String>> {
        value.as_array()?.iter().map(|v| v.as_str().map(str::to_owned)).collect()
    };
    match (table.len(), table.get("off"), table.get("on")) {
        (1, Some(Value::String(word)), None) if word == "empty" => Some(Rule::Empty),
        (1, Some(values), None) => texts(values).map(Rule::Off),
        (1, None, Some(values)) => texts(values).map(Rule::On),
        _ => None,
    }
}

fn resolve<'a>(model: &'a Model, input: &str, path: &str) -> Option<(Vec<usize>, &'a Member)> {
    let mut message = model.message(input)?;
    let mut steps = Vec::new();
    let mut parts = path.split('.').peekable();
    while let Some(part) = parts.next() {
        let index = message.members.iter().position(|m| m.json == part)?;
        let member = &message.members[index];
        steps.push(index);
        if parts.peek().is_none() {
            return Some((steps, member));
        }
        message = match &member.kind {
            MemberKind::Message(name)
            | MemberKind::MessageList(name)
            | MemberKind::MessageMap(name) => model.message(name)?,
            _ => return None,
        };
    }
    None
}
