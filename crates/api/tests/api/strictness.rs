//! Requests that could be read in two ways are not read.

use conclave_api::ExceptionName::SerializationException;
use conclave_api::types;

use crate::{expect, operation, refused};

#[track_caller]
fn broken(name: &str, body: &[u8]) -> String {
    match operation(name).decode_json(body) {
        Ok(decoded) => panic!("{name} took {:?}: {decoded:?}", String::from_utf8_lossy(body)),
        Err(error) => {
            assert_eq!(error.code, SerializationException);
            error.message.into_owned()
        }
    }
}

#[test]
fn a_member_may_be_there_once() {
    expect(
        "GetUser",
        r#"{"AccessToken":"a","AccessToken":"b"}"#,
        SerializationException,
        "the member AccessToken is there twice",
    );
    // Null counts as being there, and so do escaped and nested names.
    broken("GetUser", br#"{"AccessToken":null,"AccessToken":"b"}"#);
    broken("GetUser", br#"{"AccessToken":"a","Access\u0054oken":"b"}"#);
    broken("SignUp", br#"{"UserAttributes":[{"Name":"a","Value":"1","Name":"b"}]}"#);
    broken("SignUp", br#"{"ClientMetadata":{"a":"1","a":"2"}}"#);
    broken("CreateUserPool", br#"{"AcrConfiguration":{"Level1":{},"Level1":{}}}"#);
}

#[test]
fn a_value_of_another_type_is_refused() {
    for (name, body, message) in [
        ("GetUser", r#"{"AccessToken":1}"#, "NUMBER_VALUE cannot be converted to String"),
        ("GetUser", r#"{"AccessToken":true}"#, "TRUE_VALUE cannot be converted to String"),
        ("GetUser", r#"{"AccessToken":{}}"#, "Start of structure or map found where not expected"),
        ("GetUser", r#"{"AccessToken":[]}"#, "Start of list found where not expected"),
        ("ListUsers", r#"{"Limit":"1"}"#, "STRING_VALUE cannot be converted to Integer"),
        ("ListUsers", r#"{"Limit":1.0}"#, "DECIMAL_VALUE cannot be converted to Integer"),
        ("ListUsers", r#"{"Limit":1e1}"#, "DECIMAL_VALUE cannot be converted to Integer"),
        ("ListUsers", r#"{"Limit":2147483648}"#, "NUMBER_VALUE is out of the range of Integer"),
        ("ListUsers", r#"{"Limit":-2147483649}"#, "NUMBER_VALUE is out of the range of Integer"),
        (
            "ConfirmSignUp",
            r#"{"ForceAliasCreation":"true"}"#,
            "STRING_VALUE cannot be converted to Boolean",
        ),
        (
            "ConfirmSignUp",
            r#"{"ForceAliasCreation":0}"#,
            "NUMBER_VALUE cannot be converted to Boolean",
        ),
        (
            "SignUp",
            r#"{"UserAttributes":{}}"#,
            "Start of structure or map found where not expected",
        ),
        ("SignUp", r#"{"UserAttributes":["a"]}"#, "STRING_VALUE cannot be converted to Structure"),
        ("SignUp", r#"{"UserAttributes":[null]}"#, "NULL_VALUE cannot be converted to Structure"),
        ("SignUp", r#"{"ClientMetadata":[]}"#, "Start of list found where not expected"),
        ("SignUp", r#"{"ClientMetadata":{"a":1}}"#, "NUMBER_VALUE cannot be converted to String"),
        ("SignUp", "[]", "Start of list found where not expected"),
        ("SignUp", "null", "NULL_VALUE cannot be converted to Structure"),
        ("SetUICustomization", r#"{"ImageFile":"a"}"#, "a blob is not valid base64"),
        ("SetUICustomization", r#"{"ImageFile":"****"}"#, "a blob is not valid base64"),
    ] {
        let error = refused(name, body);
        assert_eq!(
            (error.code, &*error.message),
            (SerializationException, message),
            "{name} {body}"
        );
    }
}

#[test]
fn what_is_not_json_is_refused() {
    for body in [
        "{",
        "{\"a\"",
        "{\"a\":",
        "{\"a\":1",
        "{\"a\":1,}",
        "{,}",
        "{\"a\" 1}",
        "{a:1}",
        "{'a':1}",
        "{}}",
        "{} x",
        "{}{}",
        "{\"a\":01}",
        "{\"a\":+1}",
        "{\"a\":.5}",
        "{\"a\":1.}",
        "{\"a\":1e}",
        "{\"a\":-}",
        "{\"a\":nul}",
        "{\"a\":NaN}",
        "{\"a\":\"\\x\"}",
        "{\"a\":\"\\u12\"}",
        "{\"a\":\"\\u+123\"}",
        "{\"a\":\"\n\"}",
        "{\"a\":\"b}",
        "{\"a\":[1 2]}",
        "{\"a\":[1,]}",
        "{\"a\":[,]}",
        "{\"a\":\"\\ud800\"}",
        "{\"a\":\"\\udc00\"}",
        "{\"a\":\"\\ud800\\u0041\"}",
        "\u{feff}{}",
        "/**/{}",
        "{\"a\":tru",
        "\"",
        "{\"\\",
        "{\"a\":\"\\u",
        "{\"a\":\"\\u00",
        "-",
        "x",
    ] {
        broken("GetUser", body.as_bytes());
        // The same inside of a known member's place.
        broken("GetUser", body.replace("\"a\"", "\"AccessToken\"").as_bytes());
    }
}

#[test]
fn every_prefix_of_a_request_is_refused() {
    let body = r#"{"ClientId":"c\u00e9","UserAttributes":[{"Name":"ä","Value":"\ud83d\ude00"}],"ClientMetadata":{"a":"b"},"X":[1.5e3,true,null]}"#;
    operation("SignUp").decode_json(body.as_bytes()).expect("the whole is valid");
    for end in 1..body.len() {
        broken("SignUp", &body.as_bytes()[..end]);
    }
}

#[test]
fn bytes_that_are_not_utf8_are_refused() {
    broken("GetUser", b"{\"AccessToken\":\"\xff\"}");
    broken("GetUser", b"{\"AccessToken\":\"\xc0\xaf\"}");
    broken("GetUser", b"{\"AccessToken\":\"\xed\xa0\x80\"}");
}

#[test]
fn nesting_has_a_limit() {
    let nested = |depth: usize| format!("{{\"X\":{}1{}}}", "[".repeat(depth), "]".repeat(depth));
    operation("GetUser").decode_json(nested(63).as_bytes()).expect("64 levels");
    assert_eq!(broken("GetUser", nested(64).as_bytes()), "the body is nested too deeply");
    assert_eq!(broken("GetUser", nested(1_000_000).as_bytes()), "the body is nested too deeply");
    broken("GetUser", "{\"X\":".repeat(100_000).as_bytes());
    broken("GetUser", "[".repeat(100_000).as_bytes());
}

#[test]
fn lists_and_maps_have_a_limit_together() {
    let items = |count: usize| vec!["{}"; count].join(",");
    let body =
        format!(r#"{{"UserAttributes":[{}],"ValidationData":[{}]}}"#, items(5000), items(5000));
    operation("SignUp").decode_json(body.as_bytes()).expect("10,000 items");
    let body =
        format!(r#"{{"UserAttributes":[{}],"ValidationData":[{}]}}"#, items(5000), items(5001));
    assert_eq!(broken("SignUp", body.as_bytes()), "the body has too many items");
}

#[test]
fn unknown_members_are_ignored_and_counted() {
    let body = r#"{"X":1,"AccessToken":"a","Y":{"AccessToken":"z","Z":[{}]}}"#;
    let decoded = operation("GetUser").decode_json(body.as_bytes()).expect("valid JSON");
    assert_eq!(decoded.unknown_members, 2);
    let request: types::GetUserRequest = decoded.message.downcast().expect("its input");
    assert_eq!(request.access_token.as_deref(), Some("a"));

    let body = br#"{"UserAttributes":[{"Name":"a","name":"b"},{"NAME":"c"}]}"#;
    assert_eq!(operation("SignUp").decode_json(body).expect("valid JSON").unknown_members, 2);
}

#[test]
fn null_means_absent() {
    let body = br#"{"ClientId":null,"UserAttributes":null,"UserContextData":null,"ClientMetadata":{"a":null,"b":"c"}}"#;
    let decoded = operation("SignUp").decode_json(body).expect("valid JSON");
    assert_eq!(decoded.unknown_members, 0);
    let request: types::SignUpRequest = decoded.message.downcast().expect("its input");
    let expected = types::SignUpRequest {
        client_metadata: [("b".to_owned(), "c".to_owned())].into(),
        ..Default::default()
    };
    assert!(request == expected, "{request:?}");
}

#[test]
fn an_empty_body_is_an_empty_request() {
    for body in ["", " \r\n\t", "{}", " { } "] {
        let decoded =
            operation("ListUserPools").decode_json(body.as_bytes()).expect("an empty request");
        let request: types::ListUserPoolsRequest = decoded.message.downcast().expect("its input");
        assert!(request == types::ListUserPoolsRequest::default());
    }
}

#[test]
fn protobuf_that_is_cut_short_or_of_another_type_is_refused() {
    let operation = operation("GetUser");
    for bytes in [&b"\x0a\x05ab"[..], b"\x08\x01", b"\x0a\x01\xff", b"\xff"] {
        let error = operation.decode_proto(bytes).expect_err("broken bytes");
        assert_eq!(error.code, SerializationException);
    }
    // A field that this version does not know is ignored, as in JSON.
    operation.decode_proto(b"\x0a\x01a\xfa\x3f\x01b").expect("an unknown field");
}
