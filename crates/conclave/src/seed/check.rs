//! Whether a file has the form of a seed: names, kinds of values, and the API's constraints and refusals. Everything that is wrong is
//! told at once.

use std::collections::HashSet;

use conclave_api::{ApiError, Kind, Member, Shape};
use serde_json::Value as Json;

use super::{
    SeedError, call,
    form::{Form, OwnKind, ROOT},
    node::{Node, Value},
};

/// More errors are not told.
const ERRORS_MAX: usize = 50;

/// Everything that is wrong.
pub fn check(root: &Node) -> Vec<SeedError> {
    let mut errors = Vec::new();
    table(root, &ROOT, &mut errors);
    errors.sort_by_key(|error: &SeedError| error.line);
    errors.truncate(ERRORS_MAX);
    errors
}

fn table(node: &Node, form: &Form, errors: &mut Vec<SeedError>) {
    if !matches!(node.value, Value::Table(_)) {
        let text = format!("{} {} is a table, not {}", article(form.what), form.what, node.kind());
        errors.push(SeedError::at(node.line, text));
        return;
    }
    // without what is wrong in the children
    let mut of_its_own = Vec::new();
    for entry in node.entries() {
        if let Some(own) = form.own.iter().find(|own| own.name == entry.name) {
            own_kind(&entry.name, &entry.node, own.kind, &mut of_its_own);
        } else if let Some(child) = form.children.iter().find(|child| child.list == entry.name) {
            children(&entry.name, &entry.node, child, errors);
        } else if let Some(known) = form.member(&entry.name) {
            member(known, &entry.node, &mut of_its_own);
        } else {
            let what = form.what;
            let text = format!("{} {what} has no member {}", article(what), entry.name);
            of_its_own.push(SeedError::at(entry.line, text));
        }
    }
    let missing = form.own.iter().filter(|own| own.is_required && node.get(own.name).is_none());
    of_its_own
        .extend(missing.map(|own| SeedError::at(node.line, format!("{} is missing", own.name))));
    // what is no value of its kind cannot be asked for its constraints
    if of_its_own.is_empty()
        && let Some(operation) = form.operation()
    {
        let mut body = form.declared(node);
        for place in form.without.iter().filter(|name| **name == "UserPoolId") {
            body.insert((*place).to_owned(), Json::from("us-east-1_000000000"));
        }
        if let Err(error) = call::check(operation, &Json::Object(body)) {
            of_its_own.push(at(node, &error));
        }
    }
    errors.append(&mut of_its_own);
}

fn children(name: &str, node: &Node, form: &Form, errors: &mut Vec<SeedError>) {
    match &node.value {
        Value::List(items) => {
            items.iter().for_each(|item| table(item, form, errors));
            for unique in form.unique {
                repetitions(items, unique, errors);
            }
        }
        _ => errors.push(not_a(name, "a list of tables", node)),
    }
}

fn own_kind(name: &str, node: &Node, kind: OwnKind, errors: &mut Vec<SeedError>) {
    let is_text = |node: &Node| matches!(node.value, Value::Text(_));
    let (is_good, wanted) = match kind {
        OwnKind::Text => (is_text(node), "a text"),
        OwnKind::Flag => (matches!(node.value, Value::Bool(_)), "true or false"),
        OwnKind::Texts => (
            matches!(&node.value, Value::List(items) if items.iter().all(is_text)),
            "a list of texts",
        ),
    };
    if !is_good {
        errors.push(not_a(name, wanted, node));
    }
}

fn member(member: &Member, node: &Node, errors: &mut Vec<SeedError>) {
    let name = member.name;
    match (member.kind, &node.value) {
        (Kind::Bool, Value::Bool(_))
        | (Kind::Int | Kind::Long | Kind::Timestamp, Value::Int(_))
        | (Kind::Text | Kind::Blob, Value::Text(_))
        | (Kind::Document, _) => {}
        (Kind::Message, Value::Table(_)) => structure(member.shape, node, errors),
        (Kind::TextList, Value::List(items)) => {
            for item in items.iter().filter(|item| !matches!(item.value, Value::Text(_))) {
                errors.push(not_a(&format!("an element of {name}"), "a text", item));
            }
        }
        (Kind::MessageList, Value::List(items)) => {
            for item in items {
                match item.value {
                    Value::Table(_) => structure(member.shape, item, errors),
                    _ => errors.push(not_a(&format!("an element of {name}"), "a table", item)),
                }
            }
        }
        (Kind::TextMap, Value::Table(entries)) => {
            for entry in entries.iter().filter(|e| !matches!(e.node.value, Value::Text(_))) {
                errors.push(not_a(&format!("{name}.{}", entry.name), "a text", &entry.node));
            }
        }
        (Kind::MessageMap, Value::Table(entries)) => {
            for entry in entries {
                match entry.node.value {
                    Value::Table(_) => structure(member.shape, &entry.node, errors),
                    _ => errors.push(not_a(&entry.name, "a table", &entry.node)),
                }
            }
        }
        (kind, _) => errors.push(not_a(name, wanted(kind), node)),
    }
}

fn structure(shape: Option<&'static Shape>, node: &Node, errors: &mut Vec<SeedError>) {
    let Some(shape) = shape else { return };
    for entry in node.entries() {
        let known = shape.find(entry.name.as_bytes()).and_then(|at| shape.members.get(at));
        match known {
            Some(known) => member(known, &entry.node, errors),
            None => {
                let text = format!("{} has no member {}", shape.name, entry.name);
                errors.push(SeedError::at(entry.line, text));
            }
        }
    }
}

fn wanted(kind: Kind) -> &'static str {
    match kind {
        Kind::Bool => "true or false",
        Kind::Int | Kind::Long | Kind::Timestamp => "a number",
        Kind::Text | Kind::Blob => "a text",
        Kind::TextList => "a list of texts",
        Kind::MessageList => "a list of tables",
        Kind::Document | Kind::Message | Kind::TextMap | Kind::MessageMap => "a table",
    }
}

fn not_a(name: &str, wanted: &str, node: &Node) -> SeedError {
    SeedError::at(node.line, format!("{name} is {wanted}, not {}", node.kind()))
}

fn article(noun: &str) -> &'static str {
    match noun.chars().next() {
        // "user" begins with a consonant
        Some('a' | 'e' | 'i' | 'o') => "an",
        _ => "a",
    }
}

/// An exception of the API, with the line of the member that its text names.
pub fn at(node: &Node, error: &ApiError) -> SeedError {
    let line = named_member(&error.message).and_then(|path| line_of(node, &path));
    SeedError::at(line.unwrap_or(node.line), error.to_string())
}

/// The path in `... at 'policies.passwordPolicy.minimumLength' failed ...`, or in `CreateUserPool.MfaConfiguration = ON is not ...`.
fn named_member(text: &str) -> Option<Vec<String>> {
    let path = match text.split_once(" at '") {
        Some((_, rest)) => rest.split('\'').next()?,
        None => text.split(' ').next()?.split_once('.')?.1,
    };
    Some(path.split('.').map(str::to_owned).collect())
}

/// Follows a path as far as it leads. Names differ in the case of their first letter.
fn line_of(node: &Node, path: &[String]) -> Option<usize> {
    let mut here = node;
    let mut line = None;
    for step in path {
        if step == "member" {
            continue;
        }
        if let Ok(number) = step.parse::<usize>() {
            let Some(item) = here.items().get(number.saturating_sub(1)) else { break };
            (here, line) = (item, Some(item.line));
            continue;
        }
        let mut entries = here.entries().iter();
        let Some(entry) = entries.find(|entry| entry.name.eq_ignore_ascii_case(step)) else {
            break;
        };
        (here, line) = (&entry.node, Some(entry.line));
    }
    line
}

/// Two of a kind with one id or name would undo each other.
fn repetitions(nodes: &[Node], name: &str, errors: &mut Vec<SeedError>) {
    let mut seen = HashSet::new();
    for node in nodes {
        if let Some(text) = node.text(name)
            && !seen.insert(text)
        {
            let text = format!("{name} {text} is declared twice");
            errors.push(SeedError::at(node.line_of(name), text));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::file::{Format, Seed};

    fn errors(text: &str) -> Vec<(usize, String)> {
        let Err(errors) = Seed::parse(text, Format::Toml, None) else { return Vec::new() };
        errors.errors.into_iter().map(|error| (error.line, error.text)).collect()
    }

    #[test]
    fn all_that_is_wrong_with_the_form_is_told_with_its_line() {
        let text = "\
Something = 1

[[Accounts]]
Name = 5

[[UserPools]]
PoolName = \"web\"
Nonsense = true
AutoVerifiedAttributes = \"email\"

[UserPools.Policies.PasswordPolicy]
MinimumLength = \"8\"
Length = 8

[[UserPools.Users]]
Username = \"ada\"
Groups = [\"a\", 1]
MessageAction = \"SUPPRESS\"
";
        let expected = [
            (1, "a seed has no member Something"),
            (3, "AccountId is missing"),
            (4, "Name is a text, not a number"),
            (8, "a user pool has no member Nonsense"),
            (9, "AutoVerifiedAttributes is a list of texts, not a text"),
            (12, "MinimumLength is a number, not a text"),
            (13, "PasswordPolicyType has no member Length"),
            (17, "Groups is a list of texts, not a list"),
            (18, "a user has no member MessageAction"),
        ];
        let expected = expected.map(|(line, text)| (line, text.to_owned()));
        assert_eq!(errors(text), expected);
    }

    #[test]
    fn constraints_and_refusals_of_the_api_are_told_with_the_line_of_the_member() {
        let text = "\
[[UserPools]]
PoolName = \"web\"

[UserPools.Policies.PasswordPolicy]
RequireNumbers = true
MinimumLength = 5

[[UserPools]]
PoolName = \"other\"
IssuerConfiguration = { Type = \"UPDATED\" }

[[UserPools.Users]]
Username = \"ada\"
UserAttributes = [
  { Name = \"email\", Value = \"ada@example.com\" },
  { Name = \"\", Value = \"x\" },
]

[[UserPools]]
MfaConfiguration = \"SOMETIMES\"
";
        let found = errors(text);
        let lines: Vec<_> = found.iter().map(|(line, _)| *line).collect();
        assert_eq!(lines, [6, 10, 16, 19], "{found:?}");
        assert!(found[0].1.starts_with("InvalidParameterException: 1 validation error detected"));
        assert!(found[1].1.starts_with("NotImplemented: CreateUserPool.IssuerConfiguration.Type"));
    }

    #[test]
    fn two_of_a_kind_do_not_share_an_id() {
        let text = "[[UserPools]]\nPoolName = \"a\"\nId = \"a_b\"\n[[UserPools]]\nPoolName = \"b\"\nId = \"a_b\"\n";
        assert_eq!(errors(text), [(6, "Id a_b is declared twice".to_owned())]);
    }

    #[test]
    fn a_secret_is_not_repeated() {
        let text = "[[UserPools]]\nPoolName = \"a\"\n\n[[UserPools.Users]]\nUsername = \"ada\"\nTemporaryPassword = \" se cret \"\n";
        let found = errors(text);
        assert_eq!(found[0].0, 6);
        assert!(!found[0].1.contains("cret"), "{found:?}");
    }
}
