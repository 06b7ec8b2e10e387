//! AWS JSON and protobuf: what goes out comes back.

use std::collections::BTreeMap;

use conclave_api::{Message, OPERATIONS, types};
use serde_json::{Value, json};

use crate::{fill, operation};

fn to_json(message: &dyn Message) -> String {
    let mut out = Vec::new();
    message.encode_json(&mut out);
    String::from_utf8(out).expect("JSON is UTF-8")
}

#[test]
fn every_input_and_output_survives_json_and_protobuf() {
    for operation in OPERATIONS {
        for (mut message, mut again, mut from_proto) in [
            (operation.new_input(), operation.new_input(), operation.new_input()),
            (operation.new_output(), operation.new_output(), operation.new_output()),
        ] {
            let name = message.shape().name;
            fill::valid(&mut *message);
            let written = to_json(&*message);
            let parsed: Value =
                serde_json::from_str(&written).unwrap_or_else(|e| panic!("{name}: {e}: {written}"));
            assert_eq!(
                parsed.as_object().map(|o| o.len()),
                Some(message.shape().members.len()),
                "{name} does not write every member"
            );

            let decoded = if name.ends_with("Response") {
                operation.decode_json_output(written.as_bytes())
            } else {
                operation.decode_json(written.as_bytes())
            };
            let decoded = decoded.unwrap_or_else(|e| panic!("{name}: {e}: {written}"));
            assert_eq!(decoded.unknown_members, 0, "{name}");
            again = {
                drop(again);
                decoded.message
            };
            assert_eq!(to_json(&*again), written, "{name} changes in JSON");

            let mut bytes = Vec::new();
            message.encode_proto(&mut bytes);
            from_proto.merge_proto(&bytes).unwrap_or_else(|e| panic!("{name}: {e}"));
            assert_eq!(to_json(&*from_proto), written, "{name} changes in protobuf");
        }
    }
}

#[test]
fn a_request_is_read_into_its_members() {
    let body = r#"{
        "ClientId": "client1", "Username": "jane", "Password": "p w\u00e4\ud83d\ude00\n",
        "UserAttributes": [{"Name": "email", "Value": "jane@example.com"}, {"Name": "given_name"}],
        "ClientMetadata": {"b": "2", "a": "1"},
        "UserContextData": {"IpAddress": "192.0.2.1"}
    }"#;
    let decoded = operation("SignUp").decode_json(body.as_bytes()).expect("a valid request");
    let request: types::SignUpRequest = decoded.message.downcast().expect("the input of SignUp");
    assert_eq!(request.client_id.as_deref(), Some("client1"));
    assert_eq!(request.password.as_deref(), Some("p wä😀\n"));
    assert_eq!(request.secret_hash, None);
    assert_eq!(request.user_attributes.len(), 2);
    assert_eq!(request.user_attributes[0].value.as_deref(), Some("jane@example.com"));
    assert_eq!(request.user_attributes[1].value, None);
    assert_eq!(
        request.client_metadata,
        BTreeMap::from([("a", "1"), ("b", "2")].map(|(k, v)| (k.into(), v.into())))
    );
    assert_eq!(request.user_context_data.and_then(|d| d.ip_address).as_deref(), Some("192.0.2.1"));
}

#[test]
fn an_answer_has_its_members_by_the_models_names_in_alphabetical_order() {
    let answer = types::DescribeUserPoolResponse {
        user_pool: Some(types::UserPoolType {
            id: Some("us-east-1_abc".into()),
            creation_date: Some(1_700_000_000_120),
            last_modified_date: Some(1_700_000_001_000),
            estimated_number_of_users: Some(0),
            lambda_config: Some(types::LambdaConfigType::default()),
            user_pool_tags: Some(types::StringMap::default()),
            username_configuration: Some(types::UsernameConfigurationType {
                case_sensitive: Some(false),
            }),
            ..Default::default()
        }),
    };
    assert_eq!(
        to_json(&answer),
        r#"{"UserPool":{"CreationDate":1700000000.12,"EstimatedNumberOfUsers":0,"Id":"us-east-1_abc","LambdaConfig":{},"#
            .to_owned()
            + r#""LastModifiedDate":1700000001,"UserPoolTags":{},"UsernameConfiguration":{"CaseSensitive":false}}}"#
    );
}

#[test]
fn names_that_begin_with_a_small_letter_stay_so() {
    let header =
        types::HttpHeader { header_name: Some("a".into()), header_value: Some("b".into()) };
    assert_eq!(to_json(&header), r#"{"headerName":"a","headerValue":"b"}"#);
}

#[test]
fn the_main_list_of_an_answer_is_written_when_it_is_empty_and_others_are_left_out() {
    assert_eq!(to_json(&types::ListUsersResponse::default()), r#"{"Users":[]}"#);
    assert_eq!(to_json(&types::ListUserPoolsResponse::default()), r#"{"UserPools":[]}"#);
    assert_eq!(
        to_json(&types::ListUserPoolClientsResponse::default()),
        r#"{"UserPoolClients":[]}"#
    );
    assert_eq!(to_json(&types::InitiateAuthResponse::default()), r#"{"ChallengeParameters":{}}"#);
    assert_eq!(to_json(&types::ListTagsForResourceResponse::default()), r#"{"Tags":{}}"#);
    assert_eq!(to_json(&types::UserType::default()), "{}");
}

#[test]
fn an_absent_and_an_empty_list_are_told_apart_in_both_forms_where_it_matters() {
    let operation = operation("UpdateIdentityProvider");
    for (body, present) in
        [("{}", false), (r#"{"IdpIdentifiers":null}"#, false), (r#"{"IdpIdentifiers":[]}"#, true)]
    {
        let message = operation.decode_json(body.as_bytes()).expect("valid JSON").message;
        let mut bytes = Vec::new();
        message.encode_proto(&mut bytes);
        let again = operation.decode_proto(&bytes).expect("valid protobuf");
        for message in [message, again] {
            let request: types::UpdateIdentityProviderRequest =
                message.downcast().expect("its input");
            assert_eq!(request.idp_identifiers.is_some(), present, "{body}");
        }
    }
}

#[test]
fn timestamps_are_seconds_with_up_to_three_digits_of_fraction() {
    for (milliseconds, written) in [
        (0, "0"),
        (1, "0.001"),
        (1500, "1.5"),
        (1_700_000_000_000, "1700000000"),
        (1_700_000_000_007, "1700000000.007"),
        (-1, "-0.001"),
        (-1500, "-1.5"),
    ] {
        let user = types::UserType { user_create_date: Some(milliseconds), ..Default::default() };
        assert_eq!(to_json(&user), format!(r#"{{"UserCreateDate":{written}}}"#));
        let body = format!(r#"{{"Users":[{{"UserCreateDate":{written}}}]}}"#);
        let decoded =
            operation("ListUsers").decode_json_output(body.as_bytes()).expect("valid JSON");
        let answer: types::ListUsersResponse = decoded.message.downcast().expect("its output");
        assert_eq!(answer.users[0].user_create_date, Some(milliseconds));
    }
    // As older SDKs and servers write them.
    let body = br#"{"Users":[{"UserCreateDate":1.70000000012E9}]}"#;
    let decoded = operation("ListUsers").decode_json_output(body).expect("valid JSON");
    let answer: types::ListUsersResponse = decoded.message.downcast().expect("its output");
    assert_eq!(answer.users[0].user_create_date, Some(1_700_000_000_120));
}

#[test]
fn integers_are_written_whole() {
    for number in [0, 7, 10, -1, i64::MAX, i64::MIN] {
        let job = types::UserImportJobType { imported_users: Some(number), ..Default::default() };
        assert_eq!(to_json(&job), format!(r#"{{"ImportedUsers":{number}}}"#));
    }
}

#[test]
fn every_character_comes_back() {
    let mut text: String = (0..0x250u32).filter_map(char::from_u32).collect();
    text.push_str("\u{2028}\u{ffff}😀");
    let attribute = types::AttributeType { name: Some(text.clone()), value: None };
    let written = to_json(&attribute);
    let parsed: Value = serde_json::from_str(&written).expect("valid JSON");
    assert_eq!(parsed, json!({ "Name": text }));

    let body = format!(r#"{{"UserAttributes":[{written}]}}"#);
    let message = operation("SignUp").decode_json(body.as_bytes()).expect("valid JSON").message;
    let request: types::SignUpRequest = message.downcast().expect("its input");
    assert_eq!(request.user_attributes[0].name.as_deref(), Some(&*text));
}

#[test]
fn blobs_are_base64_and_documents_are_json_as_it_came() {
    let body = br#"{"UserPoolId":"p_1","Settings":{"a" : [1.0, "\u0041"]},"Assets":[{"Bytes":"AP+A","Category":"FORM_LOGO"}]}"#;
    let operation = operation("CreateManagedLoginBranding");
    let message = operation.decode_json(body).expect("valid JSON").message;
    let written = to_json(&*message);
    let request: types::CreateManagedLoginBrandingRequest = message.downcast().expect("its input");
    assert_eq!(request.settings.as_deref(), Some(&br#"{"a" : [1.0, "\u0041"]}"#[..]));
    assert_eq!(request.assets[0].bytes.as_deref(), Some(&[0, 255, 128][..]));
    assert!(written.contains(r#""Settings":{"a" : [1.0, "\u0041"]}"#), "{written}");
    assert!(written.contains(r#""Bytes":"AP+A""#), "{written}");
}

#[test]
fn a_document_that_is_not_json_is_refused_in_protobuf_and_left_out_of_json() {
    let request = types::CreateManagedLoginBrandingRequest {
        client_id: Some("c".into()),
        settings: Some(b"{\"a\":1}, \"Admin\":true".to_vec()),
        ..Default::default()
    };
    assert_eq!(to_json(&request), r#"{"ClientId":"c"}"#);
    let mut bytes = Vec::new();
    request.encode_proto(&mut bytes);
    assert!(operation("CreateManagedLoginBranding").decode_proto(&bytes).is_err());
}
