//! What a principal may do: the part of IAM's policy language that an identity service needs.
//!
//! Understood: `Effect`, `Action`/`NotAction`, `Resource`/`NotResource`, with the wildcards `*` and
//! `?`. An explicit deny wins over every allow, and what nothing allows is denied. A policy with
//! anything else (`Condition`, `Principal`, a policy variable) is refused when it is loaded: a
//! condition that is silently not checked would grant more than its author meant.

use serde::Deserialize;

const MAX_DOCUMENT: usize = 64 * 1024;
const MAX_STATEMENTS: usize = 256;
const MAX_PATTERNS: usize = 1_024;

/// A policy, ready to be evaluated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    statements: Vec<Statement>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Statement {
    allow: bool,
    actions: Matcher,
    resources: Matcher,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Matcher {
    patterns: Vec<String>,
    /// `NotAction`, `NotResource`: everything but the patterns.
    inverted: bool,
}

/// Why a policy cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// It is not a policy document.
    #[error("policy is malformed: {0}")]
    Malformed(String),
    /// It says something that is not evaluated here.
    #[error("policy uses {0}, which is not supported")]
    Unsupported(String),
    /// It has more statements or patterns than are evaluated.
    #[error("policy is too large")]
    TooLarge,
}

/// What a policy says to one action on one resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// A statement allows it, and none denies it.
    Allowed,
    /// A statement denies it.
    ExplicitDeny,
    /// No statement allows it.
    ImplicitDeny,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Document {
    #[serde(default)]
    version: Option<String>,
    #[serde(default, rename = "Id")]
    _id: Option<String>,
    statement: OneOrMany<serde_json::Map<String, serde_json::Value>>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMany<T> {
    One(T),
    Many(Vec<T>),
}

impl Policy {
    /// Everything: the policy of an account's first principal.
    pub fn allow_all() -> Policy {
        let everything = || Matcher { patterns: vec!["*".into()], inverted: false };
        Policy {
            statements: vec![Statement {
                allow: true,
                actions: everything(),
                resources: everything(),
            }],
        }
    }

    /// Reads an IAM policy document (version `2012-10-17` or `2008-10-17`).
    ///
    /// # Errors
    /// When it is not a policy, or says something that would not be evaluated.
    pub fn parse(json: &str) -> Result<Policy, PolicyError> {
        if json.len() > MAX_DOCUMENT {
            return Err(PolicyError::TooLarge);
        }
        let document: Document = serde_json::from_str(json)
            .map_err(|error| PolicyError::Malformed(error.to_string()))?;
        match document.version.as_deref() {
            None | Some("2012-10-17" | "2008-10-17") => {}
            Some(other) => return Err(PolicyError::Unsupported(format!("version {other}"))),
        }
        let statements = match document.statement {
            OneOrMany::One(one) => vec![one],
            OneOrMany::Many(many) => many,
        };
        if statements.len() > MAX_STATEMENTS {
            return Err(PolicyError::TooLarge);
        }
        Ok(Policy {
            statements: statements.into_iter().map(Statement::read).collect::<Result<_, _>>()?,
        })
    }

    /// Decides one action (`cognito-idp:ListUsers`) on one resource (an ARN, or `*` where an
    /// operation has none).
    pub fn decide(&self, action: &str, resource: &str) -> Decision {
        let mut decision = Decision::ImplicitDeny;
        for statement in &self.statements {
            if statement.actions.matches(action, action_matches)
                && statement.resources.matches(resource, resource_matches)
            {
                if !statement.allow {
                    return Decision::ExplicitDeny;
                }
                decision = Decision::Allowed;
            }
        }
        decision
    }
}

impl Statement {
    fn read(fields: serde_json::Map<String, serde_json::Value>) -> Result<Statement, PolicyError> {
        let (mut allow, mut actions, mut resources) = (None, None, None);
        for (name, value) in fields {
            match name.as_str() {
                "Sid" => {}
                "Effect" => {
                    allow = Some(match value.as_str() {
                        Some("Allow") => true,
                        Some("Deny") => false,
                        _ => {
                            return Err(PolicyError::Malformed(
                                "Effect has to be Allow or Deny".into(),
                            ));
                        }
                    });
                }
                "Action" | "NotAction" => {
                    fill(&mut actions, &name, value, name == "NotAction", check_action)?
                }
                "Resource" | "NotResource" => {
                    fill(&mut resources, &name, value, name == "NotResource", check_resource)?
                }
                other => return Err(PolicyError::Unsupported(other.to_owned())),
            }
        }
        let missing = |what: &str| PolicyError::Malformed(format!("a statement has no {what}"));
        Ok(Statement {
            allow: allow.ok_or_else(|| missing("Effect"))?,
            actions: actions.ok_or_else(|| missing("Action"))?,
            resources: resources.ok_or_else(|| missing("Resource"))?,
        })
    }
}

impl Matcher {
    fn matches(&self, value: &str, one: fn(&str, &str) -> bool) -> bool {
        self.patterns.iter().any(|pattern| one(pattern, value)) != self.inverted
    }
}

fn fill(
    slot: &mut Option<Matcher>,
    name: &str,
    value: serde_json::Value,
    inverted: bool,
    check: fn(&str) -> Result<(), PolicyError>,
) -> Result<(), PolicyError> {
    let malformed =
        || PolicyError::Malformed(format!("{name} has to be a string or a list of strings"));
    if slot.is_some() {
        return Err(PolicyError::Malformed(format!(
            "a statement has both {name} and its opposite"
        )));
    }
    let patterns: Vec<String> = match value {
        serde_json::Value::String(one) => vec![one],
        serde_json::Value::Array(many) => many
            .into_iter()
            .map(|item| item.as_str().map(str::to_owned).ok_or_else(malformed))
            .collect::<Result<_, _>>()?,
        _ => return Err(malformed()),
    };
    if patterns.is_empty() {
        return Err(malformed());
    }
    if patterns.len() > MAX_PATTERNS {
        return Err(PolicyError::TooLarge);
    }
    patterns.iter().try_for_each(|pattern| check(pattern))?;
    *slot = Some(Matcher { patterns, inverted });
    Ok(())
}

fn check_action(pattern: &str) -> Result<(), PolicyError> {
    if pattern == "*"
        || pattern
            .split_once(':')
            .is_some_and(|(service, name)| !service.is_empty() && !name.is_empty())
    {
        return Ok(());
    }
    Err(PolicyError::Malformed(format!("action '{pattern}' is not service:name")))
}

fn check_resource(pattern: &str) -> Result<(), PolicyError> {
    if pattern.contains("${") {
        return Err(PolicyError::Unsupported(format!("the policy variable in '{pattern}'")));
    }
    if pattern == "*" || (pattern.starts_with("arn:") && pattern.splitn(6, ':').count() == 6) {
        return Ok(());
    }
    Err(PolicyError::Malformed(format!(
        "resource '{pattern}' is neither * nor an ARN with six parts"
    )))
}

/// Actions are compared without regard to case, as IAM does.
fn action_matches(pattern: &str, action: &str) -> bool {
    glob(&pattern.to_ascii_lowercase(), &action.to_ascii_lowercase())
}

/// A wildcard stays within its part of the ARN; the last part takes the rest, colons and all.
fn resource_matches(pattern: &str, resource: &str) -> bool {
    if pattern == "*" {
        return true;
    }
    let (mut patterns, mut parts) = (pattern.splitn(6, ':'), resource.splitn(6, ':'));
    loop {
        match (patterns.next(), parts.next()) {
            (None, None) => return true,
            (Some(pattern), Some(part)) if glob(pattern, part) => {}
            _ => return false,
        }
    }
}

/// `*` is any run of characters, `?` is one. Linear in practice: the last `*` is the only point of
/// return.
fn glob(pattern: &str, text: &str) -> bool {
    let pattern: Vec<char> = pattern.chars().collect();
    let text: Vec<char> = text.chars().collect();
    let (mut p, mut t) = (0, 0);
    let mut back: Option<(usize, usize)> = None;
    while t < text.len() {
        match pattern.get(p) {
            Some('*') => {
                back = Some((p, t));
                p += 1;
            }
            Some(&c) if c == '?' || Some(&c) == text.get(t) => {
                p += 1;
                t += 1;
            }
            _ => match back {
                Some((star, from)) => {
                    p = star + 1;
                    t = from + 1;
                    back = Some((star, from + 1));
                }
                None => return false,
            },
        }
    }
    pattern.get(p..).is_some_and(|rest| rest.iter().all(|&c| c == '*'))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const POOL: &str = "arn:aws:cognito-idp:eu-west-1:000000000000:userpool/eu-west-1_EXAMPLE00";

    fn decide(statements: &str, action: &str, resource: &str) -> Decision {
        Policy::parse(&format!(r#"{{"Version":"2012-10-17","Statement":{statements}}}"#))
            .unwrap()
            .decide(action, resource)
    }

    #[test]
    fn what_no_statement_allows_is_denied() {
        let allow_list =
            r#"[{"Effect":"Allow","Action":["cognito-idp:ListUsers"],"Resource":"*"}]"#;
        assert_eq!(decide(allow_list, "cognito-idp:ListUsers", POOL), Decision::Allowed);
        assert_eq!(
            decide(allow_list, "cognito-idp:ListUsersInGroup", POOL),
            Decision::ImplicitDeny
        );
        assert_eq!(decide("[]", "cognito-idp:ListUsers", POOL), Decision::ImplicitDeny);
    }

    #[test]
    fn an_explicit_deny_wins_wherever_it_stands() {
        for statements in [
            r#"[{"Effect":"Deny","Action":"cognito-idp:Delete*","Resource":"*"},{"Effect":"Allow","Action":"*","Resource":"*"}]"#,
            r#"[{"Effect":"Allow","Action":"*","Resource":"*"},{"Effect":"Deny","Action":"cognito-idp:Delete*","Resource":"*"}]"#,
        ] {
            assert_eq!(
                decide(statements, "cognito-idp:DeleteUserPool", POOL),
                Decision::ExplicitDeny
            );
            assert_eq!(decide(statements, "cognito-idp:ListUsers", POOL), Decision::Allowed);
        }
    }

    #[test]
    fn actions_have_wildcards_and_no_case() {
        for pattern in [
            "*",
            "cognito-idp:*",
            "cognito-idp:Admin*User",
            "COGNITO-IDP:admingetuser",
            "cognito-idp:AdminGetUse?",
            "cognito-*:Admin*",
        ] {
            let statement = format!(r#"{{"Effect":"Allow","Action":"{pattern}","Resource":"*"}}"#);
            assert_eq!(
                decide(&statement, "cognito-idp:AdminGetUser", POOL),
                Decision::Allowed,
                "{pattern}"
            );
        }
        for pattern in
            ["s3:*", "cognito-idp:AdminGet", "cognito-idp:AdminGetUser?", "cognito-idp:?dminget"]
        {
            let statement = format!(r#"{{"Effect":"Allow","Action":"{pattern}","Resource":"*"}}"#);
            assert_eq!(
                decide(&statement, "cognito-idp:AdminGetUser", POOL),
                Decision::ImplicitDeny,
                "{pattern}"
            );
        }
    }

    #[test]
    fn not_action_and_not_resource_are_everything_else() {
        let statement = r#"{"Effect":"Allow","NotAction":"cognito-idp:Delete*","Resource":"*"}"#;
        assert_eq!(decide(statement, "cognito-idp:DeleteUserPool", POOL), Decision::ImplicitDeny);
        assert_eq!(decide(statement, "cognito-idp:ListUsers", POOL), Decision::Allowed);
        let statement = format!(r#"{{"Effect":"Deny","Action":"*","NotResource":"{POOL}"}}"#);
        assert_eq!(decide(&statement, "cognito-idp:ListUsers", POOL), Decision::ImplicitDeny);
        assert_eq!(decide(&statement, "cognito-idp:ListUserPools", "*"), Decision::ExplicitDeny);
    }

    #[test]
    fn a_wildcard_in_an_arn_stays_within_its_part() {
        let matches = |pattern: &str, resource: &str| {
            let statement = format!(r#"{{"Effect":"Allow","Action":"*","Resource":"{pattern}"}}"#);
            decide(&statement, "cognito-idp:ListUsers", resource) == Decision::Allowed
        };
        assert!(matches("arn:aws:cognito-idp:*:*:userpool/*", POOL));
        assert!(matches("arn:aws:cognito-idp:eu-west-1:000000000000:*", POOL));
        assert!(matches("arn:*:*:*:*:*", POOL));
        assert!(!matches("arn:aws:cognito-idp:eu-*:111111111111:userpool/*", POOL));
        assert!(!matches("arn:aws:*:000000000000:userpool/*:x:y", POOL));
        assert!(!matches("arn:aws:cognito-idp:*:*:userpool/*", "*"));
        assert!(!matches(
            POOL,
            "arn:aws:cognito-idp:eu-west-1:000000000000:userpool/eu-west-1_EXAMPLE001"
        ));
    }

    #[test]
    fn what_would_not_be_evaluated_is_refused_when_it_is_loaded() {
        let unsupported = |json: &str| match Policy::parse(json) {
            Err(PolicyError::Unsupported(what)) => what,
            other => panic!("{json}: {other:?}"),
        };
        let conditional = r#"{"Statement":{"Effect":"Allow","Action":"*","Resource":"*","Condition":{"Bool":{"aws:SecureTransport":"true"}}}}"#;
        assert_eq!(unsupported(conditional), "Condition");
        assert_eq!(
            unsupported(
                r#"{"Statement":{"Effect":"Allow","Action":"*","Resource":"*","Principal":"*"}}"#
            ),
            "Principal"
        );
        assert_eq!(unsupported(r#"{"Version":"2030-01-01","Statement":[]}"#), "version 2030-01-01");
        unsupported(
            r#"{"Statement":{"Effect":"Allow","Action":"*","Resource":"arn:aws:cognito-idp:*:*:userpool/${aws:username}"}}"#,
        );
        for malformed in [
            "",
            "[]",
            "{}",
            r#"{"Statement":{"Action":"*","Resource":"*"}}"#,
            r#"{"Statement":{"Effect":"Allow","Resource":"*"}}"#,
            r#"{"Statement":{"Effect":"Allow","Action":"*"}}"#,
            r#"{"Statement":{"Effect":"allow","Action":"*","Resource":"*"}}"#,
            r#"{"Statement":{"Effect":"Allow","Action":[],"Resource":"*"}}"#,
            r#"{"Statement":{"Effect":"Allow","Action":"ListUsers","Resource":"*"}}"#,
            r#"{"Statement":{"Effect":"Allow","Action":"*","Resource":"arn:aws:cognito-idp"}}"#,
            r#"{"Statement":{"Effect":"Allow","Action":"*","NotAction":"*","Resource":"*"}}"#,
            r#"{"Statement":{"Effect":"Allow","Action":"*","Resource":[1]}}"#,
        ] {
            assert!(
                matches!(Policy::parse(malformed), Err(PolicyError::Malformed(_))),
                "{malformed}"
            );
        }
        let many = format!(
            r#"{{"Statement":[{}]}}"#,
            vec![r#"{"Effect":"Deny","Action":"*","Resource":"*"}"#; 300].join(",")
        );
        assert_eq!(Policy::parse(&many), Err(PolicyError::TooLarge));
    }

    #[test]
    fn the_policy_of_everything_allows_everything() {
        assert_eq!(
            Policy::allow_all().decide("cognito-idp:DeleteUserPool", "*"),
            Decision::Allowed
        );
    }

    proptest! {
        #[test]
        fn a_pattern_without_wildcards_matches_only_itself(a in "[a-z/_-]{0,12}", b in "[a-z/_-]{0,12}") {
            prop_assert_eq!(glob(&a, &b), a == b);
        }

        #[test]
        fn a_star_stands_for_any_run(head in "[a-z]{0,6}", middle in "[a-z]{0,6}", tail in "[a-z]{0,6}") {
            let pattern = format!("{}*{}", head, tail);
            let text = format!("{}{}{}", head, middle, tail);
            prop_assert!(glob(&pattern, &text));
        }
    }
}
