//! AWS JSON 1.1 as SDKs and browsers speak it.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use conclave_gateway::dispatch::Dispatcher;
use conclave_gateway::limits::{Quotas, Rates};
use conclave_gateway::principal::Mode;
use conclave_outbound::clock::ManualClock;
use futures::StreamExt as _;
use http::Request;
use tower::ServiceExt as _;

use crate::support::{POOL, World, principal, signed, signed_by, unsigned};

#[tokio::test]
async fn a_signed_call_reaches_its_handler_with_the_principal() {
    let answer = World::new().send(signed("ListUserPools", r#"{"MaxResults":7}"#)).await;
    assert_eq!(answer.status, 200);
    assert_eq!(
        answer.json()["UserPools"][0]["Name"],
        "arn:aws:iam::123456789012:user/root us-east-1 from Some(127.0.0.1) wants Some(7)"
    );
    assert_eq!(answer.header("content-type"), "application/x-amz-json-1.1");
    assert_eq!(answer.header("x-amzn-requestid").len(), 36);
    assert_eq!(answer.header("access-control-allow-origin"), "*");
    assert_eq!(answer.header("cache-control"), "no-store");
}

#[tokio::test]
async fn an_error_is_in_the_body_and_in_the_headers() {
    let answer = World::new().send(unsigned("GetUser", r#"{"AccessToken":"a.b.c"}"#)).await;
    assert_eq!(answer.status, 400);
    assert_eq!(
        answer.text(),
        r#"{"__type":"NotAuthorizedException","message":"Invalid Access Token"}"#
    );
    assert_eq!(answer.header("x-amzn-errortype"), "NotAuthorizedException:");
    assert_eq!(answer.header("x-amzn-errormessage"), "Invalid Access Token");
    assert_eq!(answer.header("x-amzn-requestid").len(), 36);
}

#[tokio::test]
async fn an_operation_without_an_output_has_an_empty_body() {
    let answer = World::new()
        .send(signed("AdminDeleteUser", &format!(r#"{{"UserPoolId":"{POOL}","Username":"ada"}}"#)))
        .await;
    assert_eq!((answer.status, answer.text()), (200, ""));
}

#[tokio::test]
async fn a_denial_names_the_pool() {
    let world = World::new();
    let body = |pool: &str| format!(r#"{{"UserPoolId":"{pool}"}}"#);
    assert_eq!(world.send(signed_by("reader", "DescribeUserPool", &body(POOL))).await.status, 200);
    let answer =
        world.send(signed_by("reader", "DescribeUserPool", &body("us-east-1_ANOTHER00"))).await;
    assert_eq!((answer.status, answer.exception().as_str()), (400, "AccessDeniedException"));
    assert_eq!(
        answer.message(),
        "User: arn:aws:iam::123456789012:user/reader is not authorized to perform: cognito-idp:DescribeUserPool on resource: \
         arn:aws:cognito-idp:us-east-1:123456789012:userpool/us-east-1_ANOTHER00 because no identity-based policy allows the \
         cognito-idp:DescribeUserPool action"
    );
    let answer = world.send(signed_by("reader", "ListUserPools", r#"{"MaxResults":1}"#)).await;
    assert!(answer.message().contains("on resource: * because"));
}

#[tokio::test]
async fn authorization_comes_before_the_constraints() {
    let answer =
        World::new().send(signed_by("reader", "ListUserPools", r#"{"MaxResults":1000000}"#)).await;
    assert_eq!(answer.exception(), "AccessDeniedException");
}

#[tokio::test]
async fn broken_constraints_are_named() {
    let answer = World::new().send(signed("ListUserPools", "{}")).await;
    assert_eq!(answer.exception(), "InvalidParameterException");
    assert!(answer.message().contains("maxResults"), "{}", answer.message());
}

#[tokio::test]
async fn a_directory_that_is_down_can_be_tried_again() {
    let answer = World::new().send(signed_by("down", "ListUserPools", "{}")).await;
    assert_eq!((answer.status, answer.header("retry-after")), (503, "1"));
}

#[tokio::test]
async fn in_development_any_credentials_of_the_right_form_will_do() {
    let world = World::with(|setup| setup.mode = Mode::AcceptAny(principal("root").unwrap()));
    let answer = world.send(signed_by("test", "ListUserPools", r#"{"MaxResults":7}"#)).await;
    assert!(answer.text().contains("user/root us-east-1"), "{}", answer.text());
    let answer = world.send(unsigned("ListUserPools", r#"{"MaxResults":7}"#)).await;
    assert_eq!(answer.exception(), "MissingAuthenticationTokenException");
}

#[tokio::test]
async fn what_is_not_the_protocol_is_an_unknown_operation() {
    let world = World::new();
    for target in ["AWSCognitoIdentityProviderService.Nothing", "Other.SignUp", "SignUp", ""] {
        let mut request = unsigned("SignUp", "{}");
        request.headers_mut().insert("x-amz-target", target.parse().unwrap());
        let answer = world.send(request).await;
        assert_eq!(
            (answer.status, answer.exception().as_str()),
            (400, "UnknownOperationException"),
            "{target}"
        );
    }
    let mut twice = unsigned("SignUp", "{}");
    twice
        .headers_mut()
        .append("x-amz-target", "AWSCognitoIdentityProviderService.GetUser".parse().unwrap());
    assert_eq!(world.send(twice).await.exception(), "UnknownOperationException");
    for content_type in ["application/json", "text/plain", "application/x-amz-json-1.0", ""] {
        let mut request = unsigned("SignUp", "{}");
        request.headers_mut().insert("content-type", content_type.parse().unwrap());
        let answer = world.send(request).await;
        assert_eq!(
            (answer.status, answer.exception().as_str()),
            (404, "UnknownOperationException"),
            "{content_type}"
        );
    }
    let mut request = unsigned("GetUser", r#"{"AccessToken":"a.b.c"}"#);
    request
        .headers_mut()
        .insert("content-type", "application/x-amz-json-1.1; charset=utf-8".parse().unwrap());
    assert_eq!(world.send(request).await.exception(), "NotAuthorizedException");
    assert!(world.reached.lock().is_empty());
}

#[tokio::test]
async fn a_body_that_is_not_the_operation_s_json_is_a_serialization_exception() {
    let world = World::new();
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let long = format!(r#"{{"AccessToken":{deep}}}"#);
    let duplicate = r#"{"AccessToken":"a","AccessToken":"b"}"#;
    for body in [
        "",
        "{",
        "[]",
        "null",
        "\u{feff}{}",
        r#"{"AccessToken":1}"#,
        r#"{"AccessToken":{}}"#,
        duplicate,
        &deep,
        &long,
    ] {
        let answer = world.send(unsigned("GetUser", body)).await;
        assert_eq!(answer.status, 400);
        let exception = answer.exception();
        // An empty body counts as `{}`, which lacks a required member.
        let expected = if body.is_empty() || body == "null" {
            "InvalidParameterException"
        } else {
            "SerializationException"
        };
        assert!(
            exception == expected || exception == "SerializationException",
            "{exception} for {:.40}",
            body
        );
    }
}

#[tokio::test]
async fn members_that_are_not_known_are_counted() {
    let world = World::new();
    world.send(unsigned("GetUser", r#"{"AccessToken":"a.b.c","Future":1,"Other":{}}"#)).await;
    assert!(
        world
            .metrics
            .encode()
            .contains(r#"conclave_api_unknown_members_total{operation="GetUser"} 2"#)
    );
}

#[tokio::test]
async fn a_body_over_the_limit_is_refused_with_and_without_a_length() {
    let world = World::with(|setup| setup.limits.body = 1_000);
    let long = "x".repeat(1_001);
    assert_eq!(world.send(unsigned("GetUser", &long)).await.status, 413);
    let chunks = futures::stream::iter(std::iter::repeat_n(Bytes::from_static(&[b'x'; 100]), 11))
        .map(Ok::<_, std::io::Error>);
    let mut request = unsigned("GetUser", "");
    *request.body_mut() = Body::from_stream(chunks);
    let answer = world.send(request).await;
    assert_eq!(
        (answer.status, answer.exception().as_str()),
        (413, "RequestEntityTooLargeException")
    );
}

#[tokio::test(start_paused = true)]
async fn a_body_that_does_not_arrive_is_not_waited_for() {
    let mut request = unsigned("GetUser", "");
    *request.body_mut() =
        Body::from_stream(futures::stream::pending::<Result<Bytes, std::io::Error>>());
    let answer = World::new().send(request).await;
    assert_eq!((answer.status, answer.exception().as_str()), (400, "SerializationException"));
}

#[tokio::test]
async fn without_a_key_no_body_is_waited_for() {
    let mut request = unsigned("ListUserPools", "");
    *request.body_mut() =
        Body::from_stream(futures::stream::pending::<Result<Bytes, std::io::Error>>());
    assert_eq!(World::new().send(request).await.exception(), "MissingAuthenticationTokenException");
}

#[tokio::test]
async fn browsers_may_ask_first_and_may_read_the_error() {
    let world = World::new();
    let preflight = Request::options("/")
        .header("origin", "https://app.example.com")
        .header("access-control-request-method", "POST")
        .header(
            "access-control-request-headers",
            "content-type,x-amz-target,x-amz-user-agent,amz-sdk-request",
        )
        .body(Body::empty())
        .unwrap();
    let answer = world.send(preflight).await;
    assert_eq!((answer.status, answer.text()), (200, ""));
    assert_eq!(answer.header("access-control-allow-origin"), "*");
    assert_eq!(answer.header("access-control-allow-methods"), "POST");
    assert_eq!(
        answer.header("access-control-allow-headers"),
        "content-type,x-amz-target,x-amz-user-agent,amz-sdk-request"
    );
    assert!(!answer.headers.contains_key("access-control-allow-credentials"));
    let answer = world.send(unsigned("GetUser", r#"{"AccessToken":"a.b.c"}"#)).await;
    assert_eq!(answer.header("access-control-allow-origin"), "*");
    let exposed = answer.header("access-control-expose-headers").to_ascii_lowercase();
    for name in ["x-amzn-requestid", "x-amzn-errortype", "x-amzn-errormessage", "date"] {
        assert!(exposed.split(',').any(|exposed| exposed == name), "{name}");
    }
}

#[tokio::test]
async fn the_root_says_what_this_is_and_other_paths_are_not_found() {
    let world = World::new();
    let get = async |path: &str| world.send(Request::get(path).body(Body::empty()).unwrap()).await;
    let landing = get("/").await;
    assert_eq!(landing.status, 200);
    assert!(landing.text().contains("Conclave"));
    assert_eq!(get("/nothing").await.status, 404);
    assert_eq!(get(&format!("/{POOL}/.well-known/jwks.json")).await.text(), r#"{"keys":[]}"#);
}

#[tokio::test]
async fn the_api_is_at_the_base_path_too() {
    let world = World::new();
    for path in ["/base", "/base/"] {
        let mut request = unsigned("GetUser", r#"{"AccessToken":"a.b.c"}"#);
        *request.uri_mut() = path.parse().unwrap();
        assert_eq!(world.send(request).await.exception(), "NotAuthorizedException", "{path}");
    }
    let mut request = unsigned("GetUser", "{}");
    *request.uri_mut() = "/elsewhere".parse().unwrap();
    assert_eq!(world.send(request).await.status, 404);
}

#[tokio::test]
async fn a_panic_ends_one_request_and_tells_nothing() {
    let world = World::new();
    let answer =
        world.send(unsigned("ForgotPassword", r#"{"ClientId":"abc","Username":"canary"}"#)).await;
    assert_eq!(answer.status, 500);
    assert_eq!(answer.text(), r#"{"__type":"InternalErrorException","message":"Internal error"}"#);
    assert_eq!(world.send(unsigned("GetUser", r#"{"AccessToken":"a.b.c"}"#)).await.status, 400);
}

#[tokio::test]
async fn what_has_no_handler_is_refused_by_name() {
    let world = World::with(|setup| setup.dispatcher = Dispatcher::new());
    let answer = world.send(signed("ListUserPools", r#"{"MaxResults":1}"#)).await;
    assert_eq!(answer.status, 501);
    assert!(answer.message().starts_with("ListUserPools is not supported"), "{}", answer.message());
}

#[tokio::test]
async fn overload_is_refused_at_once_and_public_documents_are_still_served() {
    let world = World::with(|setup| setup.in_flight = 1);
    let slow = tokio::spawn({
        let world = world.clone();
        async move { world.send(unsigned("GlobalSignOut", r#"{"AccessToken":"a.b.c"}"#)).await }
    });
    world.slow_handler("started").await;
    let refused = world.send(unsigned("GetUser", r#"{"AccessToken":"a.b.c"}"#)).await;
    assert_eq!(refused.status, 503);
    assert_eq!(
        (refused.exception().as_str(), refused.header("retry-after")),
        ("ServiceUnavailable", "1")
    );
    let jwks = Request::get(format!("/{POOL}/.well-known/jwks.json")).body(Body::empty()).unwrap();
    assert_eq!(world.send(jwks).await.status, 200);
    world.release.notify_one();
    assert_eq!(slow.await.unwrap().status, 200);
    assert_eq!(world.send(unsigned("GetUser", r#"{"AccessToken":"a.b.c"}"#)).await.status, 400);
    assert!(world.metrics.encode().contains("conclave_requests_shed_total"));
}

#[tokio::test]
async fn a_client_that_goes_away_does_not_stop_its_handler() {
    let world = World::new();
    let request = unsigned("GlobalSignOut", r#"{"AccessToken":"a.b.c"}"#);
    let mut answer = Box::pin(world.gateway.clone().oneshot(request));
    while !world.reached.lock().contains(&"GlobalSignOut started".to_owned()) {
        assert!(futures::poll!(&mut answer).is_pending());
        tokio::task::yield_now().await;
    }
    drop(answer);
    world.release.notify_one();
    world.slow_handler("ended").await;
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_takes_too_long_is_not_waited_for() {
    let world = World::new();
    let answer = world.send(unsigned("GlobalSignOut", r#"{"AccessToken":"a.b.c"}"#)).await;
    assert_eq!(answer.status, 503);
}

#[tokio::test]
async fn a_quota_that_is_used_up_answers_as_cognito_does() {
    let clock = Arc::new(ManualClock::at(0));
    let quotas =
        Quotas::new(Rates::from([(conclave_api::Category::UserPoolRead, 2.0)]), clock.clone());
    let world = World::with(|setup| setup.checks.quotas = Some(quotas));
    let call = async || world.send(signed("ListUserPools", r#"{"MaxResults":1}"#)).await;
    assert_eq!(call().await.status, 200);
    assert_eq!(call().await.status, 200);
    let answer = call().await;
    assert_eq!(
        (answer.status, answer.exception().as_str(), answer.message().as_str()),
        (400, "TooManyRequestsException", "Rate exceeded")
    );
    clock.advance(Duration::from_secs(1));
    assert_eq!(call().await.status, 200);
}

#[tokio::test]
async fn every_answer_is_counted() {
    let world = World::new();
    world.send(signed("ListUserPools", r#"{"MaxResults":1}"#)).await;
    world.send(unsigned("ListUserPools", "{}")).await;
    world.send(unsigned("Made up", "{}")).await;
    let metrics = world.metrics.encode();
    for line in [
        r#"conclave_api_requests_total{operation="ListUserPools",code="OK"} 1"#,
        r#"conclave_api_requests_total{operation="ListUserPools",code="MissingAuthenticationTokenException"} 1"#,
        r#"conclave_api_requests_total{operation="unknown",code="UnknownOperationException"} 1"#,
    ] {
        assert!(metrics.contains(line), "{line} is not in\n{metrics}");
    }
}
