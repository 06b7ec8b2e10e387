//! What is declared against what is described.

use conclave_api::Operation;
use serde_json::{Map, Value as Json};

/// Names of the declared members that are described otherwise.
pub fn differences(declared: &Map<String, Json>, described: &Map<String, Json>) -> Vec<String> {
    let mut names = Vec::new();
    for (name, wanted) in declared {
        if !holds(wanted, described.get(name)) {
            names.push(name.clone());
        }
    }
    names
}

/// Whether everything that is declared is described. What is described beside it is a default.
fn holds(wanted: &Json, described: Option<&Json>) -> bool {
    match (wanted, described) {
        (Json::Object(wanted), Some(Json::Object(described))) => {
            wanted.iter().all(|(name, value)| holds(value, described.get(name)))
        }
        (Json::Array(wanted), Some(Json::Array(described))) => {
            let is_set = wanted.iter().all(Json::is_string);
            wanted.len() == described.len()
                && match is_set {
                    true => wanted.iter().all(|value| described.contains(value)),
                    false => wanted.iter().zip(described).all(|(w, d)| holds(w, Some(d))),
                }
        }
        (wanted, Some(described)) => wanted == described,
        // nothing is described where there is nothing
        (wanted, None) => is_empty(wanted),
    }
}

fn is_empty(value: &Json) -> bool {
    match value {
        Json::Null => true,
        Json::Bool(value) => !value,
        Json::String(text) => text.is_empty(),
        Json::Array(items) => items.is_empty(),
        Json::Object(members) => members.values().all(is_empty),
        Json::Number(_) => false,
    }
}

/// What an update sends, when an update resets what it leaves out: what is declared, and for the rest what is described.
pub fn update_body(
    operation: &str,
    declared: &Map<String, Json>,
    described: &Map<String, Json>,
) -> Map<String, Json> {
    let shape = Operation::by_name(operation).map(|operation| operation.new_input().shape());
    let names = shape.map_or(&[][..], |shape| shape.members).iter().map(|member| member.name);
    let value = |name: &str| declared.get(name).or_else(|| described.get(name)).cloned();
    names.filter_map(|name| Some((name.to_owned(), value(name)?))).collect()
}

/// Whether an operation has a member of that name.
pub fn has_member(operation: &str, name: &str) -> bool {
    Operation::by_name(operation)
        .is_some_and(|operation| operation.new_input().shape().find(name.as_bytes()).is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(value: Json) -> Map<String, Json> {
        match value {
            Json::Object(members) => members,
            _ => Map::new(),
        }
    }

    #[test]
    fn what_is_described_beside_the_declaration_is_no_difference() {
        let described = map(serde_json::json!({
            "Name": "a", "Flows": ["x", "y"], "Policy": {"Min": 8, "Symbols": false},
            "Scopes": [{"ScopeName": "r", "ScopeDescription": "d"}], "Date": 1.5}));
        for declared in [
            serde_json::json!({}),
            serde_json::json!({"Name": "a", "Flows": ["y", "x"]}),
            serde_json::json!({"Policy": {"Min": 8}, "Scopes": [{"ScopeName": "r"}]}),
            serde_json::json!({"Other": [], "More": {"Deep": {}}, "Off": false}),
        ] {
            assert_eq!(differences(&map(declared.clone()), &described), [""; 0], "{declared}");
        }
        let declared = serde_json::json!({"Name": "b", "Flows": ["x"], "Policy": {"Min": 9},
            "Scopes": [{"ScopeName": "w"}], "Other": true});
        let expected = ["Name", "Flows", "Policy", "Scopes", "Other"];
        assert_eq!(differences(&map(declared), &described), expected);
    }

    #[test]
    fn an_update_keeps_what_is_described_and_sends_only_its_own_members() {
        let declared =
            map(serde_json::json!({"UserPoolId": "a_b", "DeletionProtection": "ACTIVE"}));
        let described = map(serde_json::json!({"DeletionProtection": "INACTIVE",
            "AutoVerifiedAttributes": ["email"], "Arn": "arn", "AliasAttributes": ["email"]}));
        let body = update_body("UpdateUserPool", &declared, &described);
        let expected = serde_json::json!({"UserPoolId": "a_b", "DeletionProtection": "ACTIVE",
            "AutoVerifiedAttributes": ["email"]});
        assert_eq!(body, map(expected));
    }
}
