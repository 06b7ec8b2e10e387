//! What answers do to claims.

use conclave_api::ExceptionName;

use super::*;

fn generation(is_first_version: bool) -> Generation {
    let event = Event {
        trigger: Trigger::PreTokenGeneration,
        function: "arn".to_owned(),
        source: "TokenGeneration_Authentication",
        payload: Default::default(),
    };
    Generation { event, is_first_version }
}

fn object(value: Value) -> Map<String, Value> {
    let Value::Object(object) = value else { panic!("an object is expected") };
    object
}

fn id() -> Map<String, Value> {
    object(json!({
        "sub": "s", "aud": "c", "iss": "i", "token_use": "id", "email": "a@example.com",
        "cognito:username": "ada", "cognito:groups": ["staff"], "cognito:roles": ["r"],
        "cognito:preferred_role": "r",
    }))
}

fn access() -> Map<String, Value> {
    object(json!({
        "sub": "s", "client_id": "c", "iss": "i", "token_use": "access", "username": "ada",
        "scope": "aws.cognito.signin.user.admin", "cognito:groups": ["staff"], "exp": 7,
    }))
}

type Claimed = Map<String, Value>;

fn apply(is_first_version: bool, answer: Value) -> Result<(Claimed, Claimed), ApiError> {
    let (mut id, mut access) = (id(), access());
    let claims = Claims { id: &mut id, access: &mut access };
    generation(is_first_version).apply(&object(answer), claims)?;
    Ok((id, access))
}

#[test]
fn s55_claims_by_which_tokens_are_trusted_stay() {
    let reserved: Map<String, Value> = RESERVED
        .iter()
        .chain(&["cognito:username", "cognito:groups", "cognito:roles", "dev:custom:x", "aws:x"])
        .map(|name| ((*name).to_owned(), json!("evil")))
        .collect();
    let names: Vec<&String> = reserved.keys().collect();
    let first = json!({"claimsOverrideDetails": {
        "claimsToAddOrOverride": reserved, "claimsToSuppress": names,
    }});
    assert_eq!(apply(true, first).unwrap(), (id(), access()));
    let both = json!({"claimsToAddOrOverride": reserved, "claimsToSuppress": names});
    let second = json!({"claimsAndScopeOverrideDetails": {
        "idTokenGeneration": both, "accessTokenGeneration": both,
    }});
    assert_eq!(apply(false, second).unwrap(), (id(), access()));
}

#[test]
fn the_first_version_changes_the_id_token_and_the_groups() {
    let answer = json!({"claimsOverrideDetails": {
        "claimsToAddOrOverride": {"tenant": "acme", "level": 3, "both": "x", "email_verified": "true"},
        "claimsToSuppress": ["email", "both"],
        "groupOverrideDetails": {"groupsToOverride": ["a", "b"], "iamRolesToOverride": [], "preferredRole": ""},
    }});
    let (id, access) = apply(true, answer).unwrap();
    assert_eq!(id["tenant"], "acme");
    assert_eq!(id["level"], "3", "a text");
    assert_eq!(id["email_verified"], true);
    assert_eq!(id["cognito:groups"], json!(["a", "b"]));
    assert_eq!(access["cognito:groups"], json!(["a", "b"]));
    for gone in ["email", "both", "cognito:roles", "cognito:preferred_role"] {
        assert!(!id.contains_key(gone), "{gone}");
    }
    assert!(!access.contains_key("tenant"));
}

#[test]
fn groups_go_with_an_empty_object_and_stay_without_one() {
    for none in [json!({}), Value::Null] {
        let answer = json!({"claimsOverrideDetails": {"groupOverrideDetails": none}});
        let (id, access) = apply(true, answer).unwrap();
        assert!(!id.contains_key("cognito:groups") && !access.contains_key("cognito:groups"));
    }
    for nothing in [json!({}), json!({"claimsOverrideDetails": null})] {
        assert_eq!(apply(true, nothing).unwrap(), (id(), access()));
    }
}

#[test]
fn later_versions_change_both_tokens_and_scopes() {
    let answer = json!({"claimsAndScopeOverrideDetails": {
        "idTokenGeneration": {"claimsToAddOrOverride": {"list": [1, "a"]}},
        "accessTokenGeneration": {
            "claimsToAddOrOverride": {"plan": {"name": "pro"}, "aud": "c"},
            "scopesToAdd": ["orders/read", "aws.cognito.signin.user.admin"],
            "scopesToSuppress": ["aws.cognito.signin.user.admin"],
        },
    }});
    let (id, access) = apply(false, answer).unwrap();
    assert_eq!(id["list"], json!([1, "a"]));
    assert_eq!(access["plan"], json!({"name": "pro"}));
    assert_eq!(access["aud"], "c");
    assert_eq!(access["scope"], "orders/read");
    let other = json!({"claimsAndScopeOverrideDetails": {
        "accessTokenGeneration": {"claimsToAddOrOverride": {"aud": "other"}},
    }});
    assert!(!apply(false, other).unwrap().1.contains_key("aud"));
}

#[test]
fn what_cannot_be_a_claim_is_refused() {
    let long = "x".repeat(ADDED_BYTES_MAX + 1);
    for (is_first_version, answer) in [
        (true, json!({"claimsOverrideDetails": []})),
        (true, json!({"claimsOverrideDetails": {"claimsToAddOrOverride": {"a": {}}}})),
        (true, json!({"claimsOverrideDetails": {"claimsToSuppress": "email"}})),
        (true, json!({"claimsOverrideDetails": {"groupOverrideDetails": {"groupsToOverride": 1}}})),
        (true, json!({"claimsOverrideDetails": {"claimsToAddOrOverride": {"a": long}}})),
        (
            false,
            json!({"claimsAndScopeOverrideDetails": {"accessTokenGeneration": {"scopesToAdd": ["a b"]}}}),
        ),
    ] {
        let error = apply(is_first_version, answer).unwrap_err();
        assert_eq!(error.code, ExceptionName::InvalidLambdaResponseException);
    }
}
