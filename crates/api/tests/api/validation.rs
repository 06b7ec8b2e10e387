//! Constraints and their texts.

use conclave_api::ExceptionName::InvalidParameterException;
use conclave_api::{Kind, Limits, Member, Message, OPERATIONS, Operation, Slot, Violations};

use crate::{expect, fill, operation, request};

const POOL_ID: &str = r"[\w-]+_[0-9a-zA-Z]+";
const USERNAME: &str = r"[\p{L}\p{M}\p{S}\p{N}\p{P}]+";

#[track_caller]
fn invalid(name: &str, body: &str, violations: &[&str]) {
    let head = match violations.len() {
        1 => "1 validation error detected".to_owned(),
        n => format!("{n} validation errors detected"),
    };
    expect(name, body, InvalidParameterException, &format!("{head}: {}", violations.join("; ")));
}

#[test]
fn a_missing_member_is_null() {
    invalid(
        "DescribeUserPool",
        "{}",
        &["Value null at 'userPoolId' failed to satisfy constraint: Member must not be null"],
    );
    invalid(
        "SignUp",
        "{}",
        &[
            "Value null at 'clientId' failed to satisfy constraint: Member must not be null",
            "Value null at 'username' failed to satisfy constraint: Member must not be null",
        ],
    );
    invalid(
        "AdminUpdateUserAttributes",
        r#"{"UserPoolId":"p_1","Username":"u","UserAttributes":[{}]}"#,
        &[
            "Value null at 'userAttributes.1.member.name' failed to satisfy constraint: Member must not be null",
        ],
    );
    invalid(
        "AdminUpdateUserAttributes",
        r#"{"UserPoolId":"p_1","Username":"u"}"#,
        &["Value null at 'userAttributes' failed to satisfy constraint: Member must not be null"],
    );
    request(
        "AdminUpdateUserAttributes",
        r#"{"UserPoolId":"p_1","Username":"u","UserAttributes":[]}"#,
    )
    .expect("not null");
}

#[test]
fn a_string_is_repeated_with_its_broken_constraints() {
    invalid(
        "DescribeUserPool",
        r#"{"UserPoolId":"nope"}"#,
        &[&format!(
            "Value 'nope' at 'userPoolId' failed to satisfy constraint: Member must satisfy regular expression pattern: {POOL_ID}"
        )],
    );
    invalid(
        "DescribeUserPool",
        r#"{"UserPoolId":""}"#,
        &[
            &format!(
                "Value '' at 'userPoolId' failed to satisfy constraint: Member must satisfy regular expression pattern: {POOL_ID}"
            ),
            "Value '' at 'userPoolId' failed to satisfy constraint: Member must have length greater than or equal to 1",
        ],
    );
    let long = format!("p_{}", "1".repeat(54));
    invalid(
        "DescribeUserPool",
        &format!(r#"{{"UserPoolId":"{long}"}}"#),
        &[&format!(
            "Value '{long}' at 'userPoolId' failed to satisfy constraint: Member must have length less than or equal to 55"
        )],
    );
}

#[test]
fn a_sensitive_value_is_not_repeated() {
    invalid(
        "SignUp",
        r#"{"ClientId":"c","Username":"","Password":"a "}"#,
        &[
            &format!(
                "Value at 'username' failed to satisfy constraint: Member must satisfy regular expression pattern: {USERNAME}"
            ),
            "Value at 'username' failed to satisfy constraint: Member must have length greater than or equal to 1",
            r"Value at 'password' failed to satisfy constraint: Member must satisfy regular expression pattern: ^[\S]+.*[\S]+$",
        ],
    );
    let long = "a".repeat(257);
    invalid(
        "SignUp",
        &format!(r#"{{"ClientId":"c","Username":"u","Password":"{long}"}}"#),
        &[
            "Value at 'password' failed to satisfy constraint: Member must have length less than or equal to 256",
        ],
    );
}

/// The service repeats confirmation codes, and clients look for `Value '...' at 'confirmationCode'`.
#[test]
fn a_confirmation_code_is_masked() {
    let confirm =
        |code: &str| format!(r#"{{"ClientId":"c","Username":"u","ConfirmationCode":"{code}"}}"#);
    invalid(
        "ConfirmSignUp",
        &confirm("12 34"),
        &[
            r"Value '***' at 'confirmationCode' failed to satisfy constraint: Member must satisfy regular expression pattern: [\S]+",
        ],
    );
    invalid(
        "ConfirmSignUp",
        &confirm(""),
        &[
            r"Value '' at 'confirmationCode' failed to satisfy constraint: Member must satisfy regular expression pattern: [\S]+",
            "Value '' at 'confirmationCode' failed to satisfy constraint: Member must have length greater than or equal to 1",
        ],
    );
}

#[test]
fn an_enumeration_names_its_values() {
    invalid(
        "InitiateAuth",
        r#"{"ClientId":"c","AuthFlow":"x"}"#,
        &[
            "Value 'x' at 'authFlow' failed to satisfy constraint: Member must satisfy enum value set: [USER_SRP_AUTH, \
         REFRESH_TOKEN_AUTH, REFRESH_TOKEN, CUSTOM_AUTH, ADMIN_NO_SRP_AUTH, USER_PASSWORD_AUTH, ADMIN_USER_PASSWORD_AUTH, USER_AUTH]",
        ],
    );
    invalid(
        "CreateUserPool",
        r#"{"PoolName":"p","MfaConfiguration":"on"}"#,
        &[
            "Value 'on' at 'mfaConfiguration' failed to satisfy constraint: Member must satisfy enum value set: [OFF, ON, OPTIONAL]",
        ],
    );
}

#[test]
fn a_number_has_a_range() {
    invalid(
        "ListUserPools",
        r#"{"MaxResults":0}"#,
        &[
            "Value '0' at 'maxResults' failed to satisfy constraint: Member must have value greater than or equal to 1",
        ],
    );
    invalid(
        "ListUserPools",
        r#"{"MaxResults":61}"#,
        &[
            "Value '61' at 'maxResults' failed to satisfy constraint: Member must have value less than or equal to 60",
        ],
    );
    invalid(
        "CreateUserPool",
        r#"{"PoolName":"p","Policies":{"PasswordPolicy":{"MinimumLength":5}}}"#,
        &["Value '5' at 'policies.passwordPolicy.minimumLength' failed to satisfy constraint: \
         Member must have value greater than or equal to 6"],
    );
}

#[test]
fn lists_and_maps_name_all_constraints_of_what_is_in_them() {
    invalid(
        "CreateUserPoolClient",
        r#"{"UserPoolId":"p_1","ClientName":"c","CallbackURLs":["https://a","b c"]}"#,
        &[&format!(
            "Value '[https://a, b c]' at 'callbackURLs' failed to satisfy constraint: Member must satisfy constraint: \
         [Member must have length less than or equal to 1024, Member must have length greater than or equal to 1, \
         Member must satisfy regular expression pattern: {USERNAME}]"
        )],
    );
    invalid(
        "CreateUserPoolClient",
        r#"{"UserPoolId":"p_1","ClientName":"c","AllowedOAuthFlows":["x"]}"#,
        &[
            "Value '[x]' at 'allowedOAuthFlows' failed to satisfy constraint: Member must satisfy constraint: \
         [Member must satisfy enum value set: [code, implicit, client_credentials]]",
        ],
    );
    invalid(
        "CreateUserPool",
        r#"{"PoolName":"p","UserPoolTags":{"":"a"}}"#,
        &[
            "Value '{=a}' at 'userPoolTags' failed to satisfy constraint: Map keys must satisfy constraint: \
         [Member must have length less than or equal to 128, Member must have length greater than or equal to 1]",
        ],
    );
    let long = "a".repeat(257);
    invalid(
        "CreateUserPool",
        &format!(r#"{{"PoolName":"p","UserPoolTags":{{"k":"{long}"}}}}"#),
        &[&format!(
            "Value '{{k={long}}}' at 'userPoolTags' failed to satisfy constraint: Map value must satisfy constraint: \
         [Member must have length less than or equal to 256, Member must have length greater than or equal to 0]"
        )],
    );
}

#[test]
fn lists_have_a_length_and_positions_count_from_one() {
    invalid(
        "CreateUserPool",
        r#"{"PoolName":"p","Schema":[]}"#,
        &[
            "Value '[]' at 'schema' failed to satisfy constraint: Member must have length greater than or equal to 1",
        ],
    );
    invalid(
        "CreateUserPool",
        r#"{"PoolName":"p","Schema":[{"Name":"a"},{"Name":"123456789012345678901"}]}"#,
        &["Value '123456789012345678901' at 'schema.2.member.name' failed to satisfy constraint: \
         Member must have length less than or equal to 20"],
    );
    let schema = vec![r#"{"Name":"a"}"#; 51].join(",");
    invalid(
        "CreateUserPool",
        &format!(r#"{{"PoolName":"p","Schema":[{schema}]}}"#),
        &[
            "Value at 'schema' failed to satisfy constraint: Member must have length less than or equal to 50",
        ],
    );
    invalid(
        "CreateUserPool",
        r#"{"PoolName":"p","AcrConfiguration":{"Level1":{},"Level2":{"AcrValue":"a"}}}"#,
        &[
            "Value null at 'acrConfiguration.Level1.member.acrValue' failed to satisfy constraint: Member must not be null",
        ],
    );
}

#[test]
fn lengths_count_characters() {
    let user = |name: &str| format!(r#"{{"UserPoolId":"p_1","Username":"{name}"}}"#);
    request("AdminGetUser", &user(&"é".repeat(128))).expect("128 characters of two bytes");
    request("AdminGetUser", &user(&"😀".repeat(128))).expect("128 characters of two UTF-16 units");
    invalid(
        "AdminGetUser",
        &user(&"😀".repeat(129)),
        &[
            "Value at 'username' failed to satisfy constraint: Member must have length less than or equal to 128",
        ],
    );
}

#[test]
fn patterns_are_those_of_java() {
    let matches = |name: &str, member: &str, value: &str| -> bool {
        let message = operation(name).new_input();
        let index = message.shape().find(member.as_bytes()).expect("a member");
        let pattern =
            message.shape().members[index].value.and_then(|l| l.pattern).expect("a pattern");
        pattern.matches(value)
    };
    // \w and \s are ASCII, and the whole string counts, also its last line break.
    assert!(matches("DescribeUserPool", "UserPoolId", "eu-west-1_Ab9"));
    assert!(!matches("DescribeUserPool", "UserPoolId", "é_1"));
    assert!(!matches("DescribeUserPool", "UserPoolId", "p_1\n"));
    assert!(!matches("DescribeUserPool", "UserPoolId", "x p_1"));
    assert!(matches("CreateUserPool", "PoolName", "my pool\t+=,.@-"));
    assert!(!matches("CreateUserPool", "PoolName", "my\u{a0}pool"));
    assert!(!matches("CreateUserPool", "PoolName", "été"));
    // \S is everything but ASCII space.
    assert!(matches("ConfirmSignUp", "ConfirmationCode", "12\u{a0}3😀"));
    assert!(!matches("ConfirmSignUp", "ConfirmationCode", "12\u{b}3"));
    // \p{..} is Unicode; a space is none of the classes.
    assert!(matches("AdminGetUser", "Username", "Żółć😀_1"));
    assert!(!matches("AdminGetUser", "Username", "a b"));
    assert!(!matches("AdminGetUser", "Username", "a\u{0}"));
    // A password may have spaces inside, but no line breaks: a dot stops there.
    assert!(matches("SignUp", "Password", "correct horse"));
    assert!(!matches("SignUp", "Password", " correct horse"));
    assert!(!matches("SignUp", "Password", "correct horse "));
    assert!(!matches("SignUp", "Password", "a \u{2028} b"));
    assert!(!matches("SignUp", "Password", "a"));
    // (?s) lets the dot pass line breaks; without it, it does not.
    assert!(matches("CreateUserPoolDomain", "Domain", "a-1"));
    assert!(!matches("CreateUserPoolDomain", "Domain", "a-"));
}

#[test]
fn the_one_look_behind_of_the_model_is_kept() {
    let shape =
        conclave_api::SHAPES.iter().flat_map(|s| s.members).filter_map(|m| m.value?.pattern);
    let bucket: Vec<_> = shape.filter(|p| p.source().contains("?<!")).collect();
    for pattern in &bucket {
        assert!(pattern.matches("my.bucket-1_A"));
        assert!(!pattern.matches("my.bucket."));
        assert!(!pattern.matches("my/bucket"));
    }
}

#[test]
fn a_flood_of_violations_makes_a_short_text() {
    let attributes = vec![r#"{"Name":""}"#; 10_000].join(",");
    let body = format!(r#"{{"ClientId":"c","Username":"u","UserAttributes":[{attributes}]}}"#);
    let error = crate::refused("SignUp", &body);
    assert!(error.message.starts_with(
        "20000 validation errors detected: Value '' at 'userAttributes.1.member.name'"
    ));
    assert!(error.message.len() < 20_000, "{} bytes", error.message.len());

    let body = format!(r#"{{"UserPoolId":"{}"}}"#, "😀".repeat(100_000));
    assert!(crate::refused("DescribeUserPool", &body).message.len() < 20_000);
}

#[test]
fn a_request_with_every_member_is_valid() {
    for operation in OPERATIONS {
        let mut input = operation.new_input();
        fill::valid(&mut *input);
        assert_eq!(texts(operation, &*input), Vec::<String>::new(), "{}", operation.name);
    }
}

fn texts(operation: &Operation, input: &dyn Message) -> Vec<String> {
    let mut violations = Violations::default();
    input.validate(&mut violations);
    let count = violations.count();
    match violations.into_result() {
        Ok(()) => Vec::new(),
        Err(error) => {
            let (_, list) = error.message.split_once(" detected: ").expect("a head");
            let list: Vec<String> = list
                .split("; Value")
                .map(|t| format!("Value{}", t.strip_prefix("Value").unwrap_or(t)))
                .collect();
            assert_eq!(list.len(), count, "{}: {}", operation.name, error.message);
            list
        }
    }
}

/// Breaks every constraint of every request of the model, one at a time, and looks for its text.
#[test]
fn every_constraint_of_every_request_is_enforced_alone() {
    let mut broken = 0;
    for operation in OPERATIONS {
        let shape = operation.new_input().shape();
        let mut paths = Vec::new();
        walk(shape.members, &mut Vec::new(), &mut paths);
        for path in &paths {
            broken += break_member(operation, path);
        }
    }
    assert!(broken > 1000, "only {broken} constraints were broken");
}

#[test]
fn the_first_twenty_requests_have_constraints() {
    for name in [
        "CreateUserPool",
        "DescribeUserPool",
        "ListUserPools",
        "DeleteUserPool",
        "CreateUserPoolClient",
        "DescribeUserPoolClient",
        "ListUserPoolClients",
        "DeleteUserPoolClient",
        "SignUp",
        "ConfirmSignUp",
        "ResendConfirmationCode",
        "AdminConfirmSignUp",
        "AdminCreateUser",
        "AdminGetUser",
        "AdminSetUserPassword",
        "AdminDeleteUser",
        "ListUsers",
        "InitiateAuth",
        "RespondToAuthChallenge",
        "GetUser",
    ] {
        let mut paths = Vec::new();
        walk(operation(name).new_input().shape().members, &mut Vec::new(), &mut paths);
        assert!(
            paths.iter().map(|path| break_member(operation(name), path)).sum::<usize>() > 1,
            "{name}"
        );
    }
}

/// Positions of members from the request down to each member of the model.
fn walk(
    members: &'static [Member],
    at: &mut Vec<usize>,
    paths: &mut Vec<Vec<(usize, &'static Member)>>,
) {
    fn resolve(mut members: &'static [Member], at: &[usize]) -> Vec<(usize, &'static Member)> {
        at.iter()
            .map(|&i| {
                let member = &members[i];
                members = member.shape.map_or(&[], |s| s.members);
                (i, member)
            })
            .collect()
    }
    fn down(
        root: &'static [Member],
        members: &'static [Member],
        at: &mut Vec<usize>,
        paths: &mut Vec<Vec<(usize, &'static Member)>>,
    ) {
        for (index, member) in members.iter().enumerate() {
            at.push(index);
            paths.push(resolve(root, at));
            if let Some(shape) = member.shape {
                down(root, shape.members, at, paths);
            }
            at.pop();
        }
    }
    down(members, members, at, paths);
}

/// Gives the last member of a path a value; everything else of the request is valid.
fn with(
    operation: &Operation,
    path: &[(usize, &'static Member)],
    set: &dyn Fn(Slot<'_>),
) -> Box<dyn Message> {
    fn descend(
        message: &mut dyn Message,
        path: &[(usize, &'static Member)],
        set: &dyn Fn(Slot<'_>),
    ) {
        let Some(((index, _), rest)) = path.split_first() else { return };
        if rest.is_empty() {
            return set(message.slot(*index));
        }
        match message.slot(*index) {
            Slot::Message(inner) => descend(inner, rest, set),
            // The list and the map hold nothing yet: the valid rest is put in here.
            Slot::Messages(list) => {
                let inner = list.push();
                fill::valid(inner);
                descend(inner, rest, set);
            }
            Slot::MessageMap(map) => {
                if let Some(inner) = map.insert("Level1".to_owned()) {
                    fill::valid(inner);
                    descend(inner, rest, set);
                }
            }
            _ => {}
        }
    }
    let mut input = operation.new_input();
    // Required members only, so that the lists and maps on the path are empty and the message stays small.
    require(&mut *input, path);
    descend(&mut *input, path, set);
    input
}

/// Sets the required members at every level of a path that is reached through structures.
fn require(message: &mut dyn Message, path: &[(usize, &'static Member)]) {
    let on_path = path.first().map(|(index, _)| *index);
    for (index, member) in message.shape().members.iter().enumerate() {
        if member.required && Some(index) != on_path {
            fill::one(message, index, member);
        }
    }
    if let Some(((index, _), rest)) = path.split_first()
        && !rest.is_empty()
        && let Slot::Message(inner) = message.slot(*index)
    {
        require(inner, rest);
    }
}

fn path_text(path: &[(usize, &'static Member)]) -> String {
    let mut out = String::new();
    for (position, (_, member)) in path.iter().enumerate() {
        out.push_str(member.path);
        if position + 1 < path.len() {
            out.push_str(match member.kind {
                Kind::MessageList => ".1.member.",
                Kind::MessageMap => ".Level1.member.",
                _ => ".",
            });
        }
    }
    out
}

/// Breaks each constraint of one member and returns how many there were.
fn break_member(operation: &Operation, path: &[(usize, &'static Member)]) -> usize {
    let Some((_, member)) = path.last().copied() else { return 0 };
    let at = path_text(path);
    let mut broken = 0;
    let mut check = |input: Box<dyn Message>, constraint: &str| {
        let found = texts(operation, &*input);
        let end = format!(" at '{at}' failed to satisfy constraint: {constraint}");
        assert_eq!(
            found.iter().filter(|text| text.ends_with(&end)).count(),
            1,
            "{}: {at}: no violation {constraint:?} in {found:?}",
            operation.name
        );
        let elsewhere: Vec<_> =
            found.iter().filter(|text| !text.contains(&format!(" at '{at}' "))).collect();
        assert!(elsewhere.is_empty(), "{}: {at}: {elsewhere:?}", operation.name);
        broken += 1;
    };

    // A required member that is absent, where its structure is there.
    if member.required {
        let input = with(operation, path, &|slot| clear(slot));
        if !keeps_presence(member) {
            check(input, "Member must not be null");
        }
    }
    let text = |value: String| {
        with(operation, path, &move |slot| {
            if let Slot::Text(place) = slot {
                *place = Some(value.clone())
            }
        })
    };
    let int = |value: i64| {
        with(operation, path, &move |slot| {
            if let Slot::Int(place) = slot {
                *place = i32::try_from(value).ok()
            }
        })
    };
    if let Some(limits) = member.value {
        match member.kind {
            Kind::Text => {
                for (value, constraint) in bad_texts(limits) {
                    check(text(value), &constraint);
                }
            }
            Kind::Int => {
                if let Some(min) = limits.min {
                    check(
                        int(min - 1),
                        &format!("Member must have value greater than or equal to {min}"),
                    );
                }
                if let Some(max) = limits.max {
                    check(
                        int(max + 1),
                        &format!("Member must have value less than or equal to {max}"),
                    );
                }
            }
            Kind::TextList | Kind::MessageList => {
                let of = |count: i64| {
                    with(operation, path, &move |slot| match slot {
                        Slot::Texts(list) => {
                            list.extend((0..count).map(|_| fill::text(member.item)))
                        }
                        Slot::Messages(list) => (0..count).for_each(|_| fill::valid(list.push())),
                        _ => {}
                    })
                };
                if let Some(min) = limits.min.filter(|min| *min > 0) {
                    check(
                        of(min - 1),
                        &format!("Member must have length greater than or equal to {min}"),
                    );
                }
                if let Some(max) = limits.max {
                    check(
                        of(max + 1),
                        &format!("Member must have length less than or equal to {max}"),
                    );
                }
            }
            _ => {}
        }
    }
    if let (Some(limits), Kind::TextList) = (member.item, member.kind) {
        for (value, constraint) in bad_texts(limits) {
            let input = with(operation, path, &move |slot| {
                if let Slot::Texts(list) = slot {
                    list.push(value.clone())
                }
            });
            let found = texts(operation, &*input);
            assert!(
                found.iter().any(|t| t.contains(&format!("at '{at}' "))
                    && t.contains("Member must satisfy constraint: [")
                    && t.contains(&constraint)),
                "{}: {at}: {constraint} not in {found:?}",
                operation.name
            );
            broken += 1;
        }
    }
    if member.kind == Kind::TextMap {
        for (limits, what, is_key) in
            [(member.map_key, "Map keys", true), (member.item, "Map value", false)]
        {
            for (value, constraint) in limits.map(bad_texts).unwrap_or_default() {
                let input = with(operation, path, &move |slot| {
                    if let Slot::TextMap(map) = slot {
                        let (key, item) = if is_key {
                            (value.clone(), fill::text(member.item))
                        } else {
                            (fill::text(member.map_key), value.clone())
                        };
                        map.insert(key, item);
                    }
                });
                let found = texts(operation, &*input);
                let expected = format!("{what} must satisfy constraint: [");
                assert!(
                    found.iter().any(|t| t.contains(&format!("at '{at}' "))
                        && t.contains(&expected)
                        && t.contains(&constraint)),
                    "{}: {at}: {constraint} not in {found:?}",
                    operation.name
                );
                broken += 1;
            }
        }
    }
    broken
}

/// Whether an empty value of the member is there all the same, so that only leaving the slot alone makes it absent.
fn keeps_presence(member: &Member) -> bool {
    matches!(
        member.kind,
        Kind::Message | Kind::TextList | Kind::MessageList | Kind::TextMap | Kind::MessageMap
    )
}

fn clear(slot: Slot<'_>) {
    match slot {
        Slot::Bool(place) => *place = None,
        Slot::Int(place) => *place = None,
        Slot::Long(place) => *place = None,
        Slot::Text(place) => *place = None,
        Slot::Bytes(place) => *place = None,
        _ => {}
    }
}

/// Strings that break one constraint each, with its text.
fn bad_texts(limits: &'static Limits) -> Vec<(String, String)> {
    let mut out = Vec::new();
    if let Some(values) = limits.values {
        out.push((
            "no such value".to_owned(),
            format!("Member must satisfy enum value set: [{}]", values.join(", ")),
        ));
    }
    if let Some(pattern) = limits.pattern {
        let constraint =
            format!("Member must satisfy regular expression pattern: {}", pattern.source());
        // Half a line break, a control character, and what many patterns leave out: one of them must be refused, unless
        // the pattern takes everything.
        let bad = ["\u{0}", " \u{0}\u{85}", "a \u{7}", "\n", "\u{e000}\u{e001}"];
        if let Some(bad) = bad.iter().find(|bad| !pattern.matches(bad)) {
            out.push(((*bad).to_owned(), constraint));
        }
    }
    if let Some(max) = limits.max.and_then(|max| usize::try_from(max).ok()) {
        let mut long = fill::text_of(limits, max + 1);
        while long.len() <= max {
            long.push('a'); // the pattern allows one length only, and is broken too
        }
        out.push((long, format!("Member must have length less than or equal to {max}")));
    }
    if let Some(min) = limits.min.filter(|min| *min > 0) {
        out.push((
            String::new(),
            format!("Member must have length greater than or equal to {min}"),
        ));
    }
    out
}
