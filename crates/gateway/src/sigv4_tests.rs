//! What botocore signs is accepted, what AWS refuses is refused with AWS's words.

use http::{HeaderMap, HeaderName, HeaderValue};
use proptest::prelude::*;

use super::*;

const ACCESS_KEY: &str = "AKIDEXAMPLE";
const SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
const VECTORS: &str = include_str!("../tests/vectors/sigv4-botocore.json");

/// A request that a test can change before it is verified.
#[derive(Clone)]
struct Case {
    name: String,
    method: String,
    path: String,
    query: String,
    headers: HeaderMap,
    body: Vec<u8>,
    token: Option<String>,
    now_ms: i64,
}

impl Case {
    fn request(&self) -> SignedRequest<'_> {
        SignedRequest {
            method: &self.method,
            path: &self.path,
            query: &self.query,
            headers: &self.headers,
            authority: None,
            payload: Payload::Signed(&self.body),
        }
    }

    fn check(&self) -> Result<Claim, SignatureError> {
        self.check_with(&Options::default())
    }

    fn check_with(&self, options: &Options) -> Result<Claim, SignatureError> {
        verify(&self.request(), self.now_ms, options, &SigningKeys::new(4), |key| {
            (key == ACCESS_KEY).then_some(Credential {
                secret_access_key: SECRET,
                session_token: self.token.as_deref(),
            })
        })
    }

    fn set(&mut self, name: &'static str, value: &str) {
        self.headers.insert(name, HeaderValue::from_str(value).unwrap());
    }

    fn authorization(&self) -> String {
        self.headers["authorization"].to_str().unwrap().to_owned()
    }

    fn edit_authorization(&mut self, from: &str, to: &str) {
        let text = self.authorization();
        assert!(text.contains(from), "{text} has no {from}");
        self.set("authorization", &text.replace(from, to));
    }
}

fn vectors() -> Vec<Case> {
    let file: serde_json::Value = serde_json::from_str(VECTORS).unwrap();
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    file["cases"]
        .as_array()
        .unwrap()
        .iter()
        .map(|case| {
            let mut headers = HeaderMap::new();
            for pair in case["headers"].as_array().unwrap() {
                headers.append(
                    HeaderName::from_bytes(text(&pair[0]).as_bytes()).unwrap(),
                    HeaderValue::from_str(&text(&pair[1])).unwrap(),
                );
            }
            Case {
                name: text(&case["name"]),
                method: text(&case["method"]),
                path: text(&case["path"]),
                query: text(&case["query"]),
                headers,
                body: text(&case["body"]).into_bytes(),
                token: case["session_token"].as_str().map(str::to_owned),
                now_ms: basic_to_ms(&text(&case["now"])).unwrap(),
            }
        })
        .collect()
}

fn case(name: &str) -> Case {
    vectors().into_iter().find(|case| case.name == name).unwrap()
}

fn plain() -> Case {
    case("list user pools")
}

fn message(result: Result<Claim, SignatureError>) -> (&'static str, String) {
    let error = result.unwrap_err();
    (error.name(), error.to_string())
}

const MISMATCH: &str = "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key \
                        and signing method. Consult the service documentation for details.";

#[test]
fn every_request_that_botocore_signs_is_accepted() {
    let cases = vectors();
    assert!(cases.len() >= 24);
    for case in cases {
        let claim = case.check().unwrap_or_else(|error| panic!("{}: {error}", case.name));
        assert_eq!(claim.access_key_id(), ACCESS_KEY);
    }
}

#[test]
fn the_region_is_the_one_in_the_scope() {
    assert_eq!(case("other region").check().unwrap().region(), "eu-central-1");
}

/// "get-vanilla" of AWS's published test suite.
#[test]
fn the_published_vanilla_request_is_accepted() {
    let mut headers = HeaderMap::new();
    headers.insert("host", HeaderValue::from_static("example.amazonaws.com"));
    headers.insert("x-amz-date", HeaderValue::from_static("20150830T123600Z"));
    headers.insert(
        "authorization",
        HeaderValue::from_static(
            "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, SignedHeaders=host;x-amz-date, \
             Signature=5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31",
        ),
    );
    let case = Case {
        name: String::new(),
        method: "GET".into(),
        path: "/".into(),
        query: String::new(),
        headers,
        body: Vec::new(),
        token: None,
        now_ms: basic_to_ms("20150830T123600Z").unwrap(),
    };
    let options = Options { service: "service".into(), ..Options::default() };
    case.check_with(&options).unwrap();
}

#[test]
fn anything_that_was_signed_and_then_changed_is_a_mismatch() {
    let mut changed = Vec::new();
    let mut with = |change: &dyn Fn(&mut Case)| {
        let mut case = plain();
        change(&mut case);
        changed.push(case);
    };
    with(&|case| case.body.push(b' '));
    with(&|case| case.body.clear());
    with(&|case| case.method = "PUT".into());
    with(&|case| case.path = "/other".into());
    with(&|case| case.query = "a=b".into());
    with(&|case| case.set("host", "evil.example.com"));
    with(&|case| case.set("x-amz-target", "AWSCognitoIdentityProviderService.DeleteUserPool"));
    with(&|case| {
        case.headers.append(
            "x-amz-target",
            HeaderValue::from_static("AWSCognitoIdentityProviderService.DeleteUserPool"),
        );
    });
    with(&|case| {
        case.headers.remove("content-type");
    });
    with(&|case| case.edit_authorization("us-east-1", "us-west-2"));
    with(&|case| case.edit_authorization("SignedHeaders=content-type;", "SignedHeaders="));
    with(&|case| case.edit_authorization("content-type;host", "host;content-type"));
    with(&|case| case.edit_authorization("content-type;host", "content-type;host;host"));
    with(&|case| case.edit_authorization("content-type;host", "Content-Type;host"));
    with(&|case| case.set("x-amz-date", "20260101T120001Z"));
    with(&|case| {
        let text = case.authorization();
        let last = if text.ends_with('0') { "1" } else { "0" };
        case.set("authorization", &format!("{}{last}", &text[..text.len() - 1]));
    });
    with(&|case| case.edit_authorization("Signature=", "Signature=zz"));
    for case in changed {
        assert_eq!(message(case.check()), ("InvalidSignatureException", MISMATCH.to_owned()));
    }
}

#[test]
fn a_wrong_secret_is_a_mismatch() {
    let case = plain();
    let result =
        verify(&case.request(), case.now_ms, &Options::default(), &SigningKeys::new(4), |_| {
            Some(Credential { secret_access_key: "another", session_token: None })
        });
    assert_eq!(message(result), ("InvalidSignatureException", MISMATCH.to_owned()));
}

#[test]
fn a_header_that_is_not_there_is_a_missing_token() {
    let mut case = plain();
    case.headers.remove("authorization");
    let expected =
        ("MissingAuthenticationTokenException", "Missing Authentication Token".to_owned());
    assert_eq!(message(case.check()), expected);
    for other in ["", "Bearer abc", "Basic QTpC", "token"] {
        case.set("authorization", other);
        assert_eq!(message(case.check()), expected, "{other}");
    }
}

#[test]
fn two_authorization_headers_are_refused() {
    let mut case = plain();
    case.headers.append("authorization", HeaderValue::from_str(&case.authorization()).unwrap());
    assert_eq!(message(case.check()).0, "InvalidSignatureException");
}

#[test]
fn missing_parameters_are_named_together_and_the_header_is_not_repeated() {
    let mut case = plain();
    case.headers.remove("x-amz-date");
    case.set("authorization", "AWS4-HMAC-SHA256 Canary=1");
    assert_eq!(
        message(case.check()),
        (
            "IncompleteSignatureException",
            format!(
                "Authorization header requires 'Credential' parameter. Authorization header requires 'Signature' parameter. \
                 Authorization header requires 'SignedHeaders' parameter. Authorization header requires existence of either a \
                 'X-Amz-Date' or a 'Date' header. (Hashed with SHA-256 and encoded with Base64) Authorization={}",
                hashed("AWS4-HMAC-SHA256 Canary=1")
            )
        )
    );
    case.set(
        "authorization",
        "AWS4-HMAC-SHA256 Credential=A/20260101/us-east-1/cognito-idp/aws4_request Canary",
    );
    let (name, text) = message(case.check());
    assert_eq!(name, "IncompleteSignatureException");
    assert!(
        text.starts_with("Invalid key=value pair (missing equal-sign) in Authorization header")
    );
    assert!(!text.contains("Canary"));
}

#[test]
fn the_spacing_of_real_clients_is_read() {
    for separator in [",", ", ", ",  ", " , ", " "] {
        let mut case = plain();
        case.edit_authorization(", ", separator);
        case.check().unwrap_or_else(|error| panic!("{separator:?}: {error}"));
    }
}

#[test]
fn a_parameter_given_twice_is_refused() {
    let mut case = plain();
    let text = format!("{}, SignedHeaders=host", case.authorization());
    case.set("authorization", &text);
    assert_eq!(message(case.check()), ("InvalidSignatureException", MISMATCH.to_owned()));
}

#[test]
fn five_minutes_are_current_and_one_second_more_is_not() {
    let mut case = plain();
    let signed = case.now_ms;
    for off in [-300_000, 300_000, 300_999] {
        case.now_ms = signed + off;
        case.check().unwrap();
    }
    case.now_ms = signed + 301_000;
    assert_eq!(
        message(case.check()),
        (
            "InvalidSignatureException",
            "Signature expired: 20260101T120000Z is now earlier than 20260101T120001Z (20260101T120501Z - 5 min.)".to_owned()
        )
    );
    case.now_ms = signed - 301_000;
    assert_eq!(
        message(case.check()),
        (
            "InvalidSignatureException",
            "Signature not yet current: 20260101T120000Z is still later than 20260101T115959Z (20260101T115459Z + 5 min.)".to_owned()
        )
    );
}

#[test]
fn a_date_in_another_form_is_incomplete() {
    for value in
        ["2026-01-01T12:00:00Z", "201", "20260101T120000Z,20260101T120000Z", "20261301T120000Z"]
    {
        let mut case = plain();
        case.set("x-amz-date", value);
        assert_eq!(
            message(case.check()),
            (
                "IncompleteSignatureException",
                format!(
                    "Date must be in ISO-8601 'basic format'. Got '{value}'. See http://en.wikipedia.org/wiki/ISO_8601"
                )
            )
        );
    }
}

#[test]
fn a_scope_for_something_else_names_all_that_is_wrong() {
    let mut case = plain();
    case.edit_authorization(
        "20260101/us-east-1/cognito-idp/aws4_request",
        "20251231/us-east-1/s3/aws4",
    );
    let options = Options { regions: vec!["eu-west-1".into()], ..Options::default() };
    assert_eq!(
        message(case.check_with(&options)),
        (
            "InvalidSignatureException",
            "Credential should be scoped to a valid region, not 'us-east-1'. Credential should be scoped to correct service: \
             'cognito-idp'. Credential should be scoped with a valid terminator: 'aws4_request', not 'aws4'. Date in Credential \
             scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: '20251231' != '20260101', from \
             '20260101T120000Z'."
                .to_owned()
        )
    );
    let mut case = plain();
    case.edit_authorization("/us-east-1/", "/");
    let (name, text) = message(case.check());
    assert_eq!(name, "IncompleteSignatureException");
    assert!(text.starts_with("Credential must have exactly 5 slash-delimited elements"), "{text}");
}

#[test]
fn another_algorithm_is_refused_by_name() {
    let mut case = plain();
    case.edit_authorization("AWS4-HMAC-SHA256 ", "AWS4-ECDSA-P256-SHA256 ");
    assert_eq!(
        message(case.check()),
        (
            "IncompleteSignatureException",
            "Unsupported AWS 'algorithm': 'AWS4-ECDSA-P256-SHA256' (only AWS4-HMAC-SHA256 for now). ".to_owned()
        )
    );
}

#[test]
fn host_and_every_amz_header_have_to_be_signed() {
    let mut case = plain();
    case.edit_authorization("content-type;host;", "content-type;");
    assert_eq!(
        message(case.check()),
        (
            "InvalidSignatureException",
            "'Host' or ':authority' must be a 'SignedHeader' in the AWS Authorization.".to_owned()
        )
    );
    let mut case = plain();
    case.set("x-amz-security-token", "injected");
    assert_eq!(
        message(case.check()),
        (
            "InvalidSignatureException",
            "'x-amz-security-token' must be a 'SignedHeader' in the AWS Authorization.".to_owned()
        )
    );
    let mut case = plain();
    case.set("x-amz-cf-id", "added by a proxy");
    case.set("x-amzn-trace-id", "added by a proxy");
    case.check().unwrap();
}

#[test]
fn the_announced_hash_of_the_body_has_to_be_the_body_s() {
    let mut case = case("content hash header");
    case.body = b"{ }".to_vec();
    assert_eq!(message(case.check()).0, "InvalidSignatureException");
}

#[test]
fn an_unsigned_body_is_not_accepted_where_bodies_are_signed() {
    let mut headers = HeaderMap::new();
    headers.insert("host", HeaderValue::from_static("h"));
    headers.insert("x-amz-date", HeaderValue::from_static("20260101T120000Z"));
    headers.insert("x-amz-content-sha256", HeaderValue::from_static(UNSIGNED_PAYLOAD));
    let mut signed = sign_for_test("POST", "/", headers, Payload::Unsigned);
    assert_eq!(message(signed.check()).0, "InvalidSignatureException");
    let request = SignedRequest { payload: Payload::Unsigned, ..signed.request() };
    let lookup = |_: &str| Some(Credential { secret_access_key: SECRET, session_token: None });
    verify(&request, signed.now_ms, &Options::default(), &SigningKeys::new(4), lookup).unwrap();
    signed.set("host", "other");
    let request = SignedRequest { payload: Payload::Unsigned, ..signed.request() };
    verify(&request, signed.now_ms, &Options::default(), &SigningKeys::new(4), lookup).unwrap_err();
}

#[test]
fn http2_signs_its_authority_as_the_host() {
    let mut headers = HeaderMap::new();
    headers.insert("host", HeaderValue::from_static("id.example.com:9229"));
    headers.insert("x-amz-date", HeaderValue::from_static("20260101T120000Z"));
    let mut signed = sign_for_test("POST", "/", headers, Payload::Signed(b""));
    signed.headers.remove("host");
    let request = SignedRequest { authority: Some("id.example.com:9229"), ..signed.request() };
    let lookup = |_: &str| Some(Credential { secret_access_key: SECRET, session_token: None });
    verify(&request, signed.now_ms, &Options::default(), &SigningKeys::new(4), lookup).unwrap();
}

#[test]
fn the_date_header_serves_where_no_amz_date_came_but_has_to_be_signed() {
    let mut headers = HeaderMap::new();
    headers.insert("host", HeaderValue::from_static("h"));
    headers.insert("date", HeaderValue::from_static("Thu, 01 Jan 2026 12:00:00 GMT"));
    let mut signed = sign_for_test("POST", "/", headers, Payload::Signed(b""));
    signed.check().unwrap();
    signed.edit_authorization("SignedHeaders=date;host", "SignedHeaders=host");
    assert_eq!(
        message(signed.check()),
        (
            "InvalidSignatureException",
            "'Date' must be a 'SignedHeader' in the AWS Authorization.".to_owned()
        )
    );
}

#[test]
fn an_unknown_access_key_and_an_unknown_session_token_are_unrecognized() {
    let expected = (
        "UnrecognizedClientException",
        "The security token included in the request is invalid.".to_owned(),
    );
    let mut case = plain();
    case.edit_authorization(ACCESS_KEY, "AKIDOTHER");
    assert_eq!(message(case.check()), expected);

    let mut with_token = self::case("session token");
    with_token.check().unwrap();
    with_token.token = Some("another".into());
    assert_eq!(message(with_token.check()), expected);
    with_token.token = None;
    assert_eq!(message(with_token.check()), expected);

    let mut without_token = plain();
    without_token.token = Some("expected".into());
    assert_eq!(message(without_token.check()), expected);
}

#[test]
fn the_cache_of_signing_keys_is_bounded_and_changes_no_verdict() {
    let keys = SigningKeys::new(4);
    let case = plain();
    for round in 0..50 {
        let other = format!("secret {round}");
        let lookup = |_: &str| Some(Credential { secret_access_key: &other, session_token: None });
        verify(&case.request(), case.now_ms, &Options::default(), &keys, lookup).unwrap_err();
        let lookup = |_: &str| Some(Credential { secret_access_key: SECRET, session_token: None });
        verify(&case.request(), case.now_ms, &Options::default(), &keys, lookup).unwrap();
        assert!(keys.len() <= 4);
    }
}

#[test]
fn debug_shows_no_signature() {
    let claim = plain().check().unwrap();
    assert!(!format!("{claim:?}").contains(&hex::encode(claim.signature)));
}

/// Signs with the same canonical form; botocore's vectors show that this form is right.
fn sign_for_test(method: &str, path: &str, mut headers: HeaderMap, payload: Payload<'_>) -> Case {
    let mut names: Vec<String> = headers.keys().map(|name| name.as_str().to_owned()).collect();
    names.sort();
    let claim = Claim {
        access_key_id: ACCESS_KEY.into(),
        scope_date: "20260101".into(),
        region: "us-east-1".into(),
        service: "cognito-idp".into(),
        timestamp: "20260101T120000Z".into(),
        signed_headers: names.clone(),
        signature: [0; 32],
    };
    let request =
        SignedRequest { method, path, query: "", headers: &headers, authority: None, payload };
    let canonical = claim.canonical_request(&request).unwrap();
    let scope = "20260101/us-east-1/cognito-idp/aws4_request";
    let to_sign = format!(
        "{ALGORITHM}\n20260101T120000Z\n{scope}\n{}",
        hex::encode(mac::sha256(&[canonical.as_bytes()]))
    );
    let key =
        SigningKeys::new(2).derive(ACCESS_KEY, SECRET, "20260101", "us-east-1", "cognito-idp");
    let value = format!(
        "{ALGORITHM} Credential={ACCESS_KEY}/{scope}, SignedHeaders={}, Signature={}",
        names.join(";"),
        hex::encode(mac::hmac_sha256(key.expose(), &[to_sign.as_bytes()]))
    );
    headers.insert("authorization", HeaderValue::from_str(&value).unwrap());
    let body = match payload {
        Payload::Signed(body) => body.to_vec(),
        Payload::Unsigned => Vec::new(),
    };
    Case {
        name: String::new(),
        method: method.into(),
        path: path.into(),
        query: String::new(),
        headers,
        body,
        token: None,
        now_ms: basic_to_ms("20260101T120000Z").unwrap(),
    }
}

proptest! {
    #[test]
    fn no_header_makes_the_reader_panic_or_accept(value in "AWS4-[ -~]{0,200}", date in "[ -~]{0,20}") {
        let mut case = plain();
        case.set("authorization", &value);
        case.set("x-amz-date", &date);
        prop_assert!(case.check().is_err());
    }

    #[test]
    fn no_edit_of_one_byte_of_the_header_is_accepted(at in 0_usize..400, byte in 0x21_u8..0x7f) {
        let mut case = plain();
        let mut text = case.authorization().into_bytes();
        let at = at % text.len();
        prop_assume!(text[at] != byte);
        // Spaces and commas both separate, and a hexadecimal digit has two cases.
        prop_assume!(!matches!(text[at], b' ' | b','));
        prop_assume!(!text[at].eq_ignore_ascii_case(&byte));
        text[at] = byte;
        case.set("authorization", std::str::from_utf8(&text).unwrap());
        prop_assert!(case.check().is_err());
    }

    #[test]
    fn canonical_paths_and_queries_are_total(path in "\\PC{0,60}", query in "\\PC{0,60}") {
        let path = canonical_path(&path);
        prop_assert!(path.starts_with('/') && path.is_ascii());
        let once = canonical_query(&query);
        prop_assert!(once.is_ascii());
        prop_assert_eq!(canonical_query(&once), once);
    }
}
