//! gRPC: the same table through another door.

use axum::body::Body;
use bytes::Bytes;
use conclave_api::types;
use futures::StreamExt as _;
use http::Request;
use prost::Message as _;
use tonic::Code;

use crate::support::{Answer, World, grpc, operation, private, public, sign};

fn signed(
    message: &impl prost::Message,
    connection: conclave_gateway::fronts::Connection,
) -> Request<Body> {
    let mut request = grpc(operation("ListUserPools"), &message.encode_to_vec(), connection);
    sign(&mut request, "root", "UNSIGNED-PAYLOAD");
    request
}

fn list() -> types::ListUserPoolsRequest {
    types::ListUserPoolsRequest { max_results: Some(7), ..Default::default() }
}

fn code(answer: &Answer) -> Code {
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("content-type"), "application/grpc");
    Code::from_i32(answer.grpc_status())
}

fn message<M: prost::Message + Default>(answer: &Answer) -> M {
    assert_eq!(code(answer), Code::Ok);
    assert_eq!(answer.body[0], 0);
    let length = u32::from_be_bytes(answer.body[1..5].try_into().unwrap());
    assert_eq!(usize::try_from(length).unwrap(), answer.body.len() - 5);
    M::decode(&answer.body[5..]).unwrap()
}

#[tokio::test]
async fn a_signed_call_reaches_its_handler_with_the_principal() {
    let answer = World::new().send(signed(&list(), private())).await;
    let output: types::ListUserPoolsResponse = message(&answer);
    let name = output.user_pools[0].name.clone().unwrap();
    assert_eq!(
        name,
        "arn:aws:iam::123456789012:user/root us-east-1 from Some(127.0.0.1) wants Some(7)"
    );
    assert_eq!(answer.header("x-amzn-requestid").len(), 36);
}

#[tokio::test]
async fn a_signed_call_is_refused_where_its_message_could_be_changed_on_the_way() {
    let world = World::new();
    let answer = world.send(signed(&list(), public())).await;
    assert_eq!(
        (code(&answer), answer.header("x-amzn-errortype")),
        (Code::PermissionDenied, "AccessDeniedException")
    );
    let tls = conclave_gateway::fronts::Connection { tls: true, ..public() };
    assert_eq!(code(&world.send(signed(&list(), tls)).await), Code::Ok);
    // A user's call carries a token in its message, as it does in JSON.
    let token = types::GetUserRequest { access_token: Some("a.b.c".into()) };
    let answer = world.send(grpc(operation("GetUser"), &token.encode_to_vec(), public())).await;
    assert_eq!(answer.header("x-amzn-errortype"), "NotAuthorizedException");
}

#[tokio::test]
async fn an_error_carries_the_exception_s_name_and_its_text() {
    let token = types::GetUserRequest { access_token: Some("a.b.c".into()) };
    let answer =
        World::new().send(grpc(operation("GetUser"), &token.encode_to_vec(), private())).await;
    assert_eq!(code(&answer), Code::Unauthenticated);
    assert_eq!(answer.header("x-amzn-errortype"), "NotAuthorizedException");
    assert_eq!(answer.header("grpc-message"), "Invalid%20Access%20Token");
    let status = tonic::Status::from_header_map(&answer.headers).unwrap();
    assert_eq!(status.message(), "Invalid Access Token");
    let details = String::from_utf8_lossy(status.details()).into_owned();
    assert!(
        details.contains("google.rpc.ErrorInfo") && details.contains("NotAuthorizedException"),
        "{details}"
    );
}

#[tokio::test]
async fn constraints_and_broken_messages_are_invalid_arguments() {
    let world = World::new();
    let answer = world.send(signed(&types::ListUserPoolsRequest::default(), private())).await;
    assert_eq!(
        (code(&answer), answer.header("x-amzn-errortype")),
        (Code::InvalidArgument, "InvalidParameterException")
    );
    let answer = world.send(grpc(operation("GetUser"), b"\xff\xff\xff", private())).await;
    assert_eq!(
        (code(&answer), answer.header("x-amzn-errortype")),
        (Code::InvalidArgument, "SerializationException")
    );
    let mut request = grpc(operation("GetUser"), b"", private());
    *request.body_mut() = Body::from("\0\0");
    assert_eq!(code(&world.send(request).await), Code::InvalidArgument);
}

#[tokio::test]
async fn a_method_that_is_not_in_the_table_is_unimplemented() {
    let world = World::new();
    for path in
        ["/conclave.cognito.v1.CognitoIdentityProvider/Nothing", "/other.Service/GetUser", "/"]
    {
        let mut request = grpc(operation("GetUser"), b"", private());
        *request.uri_mut() = path.parse().unwrap();
        assert_eq!(code(&world.send(request).await), Code::Unimplemented, "{path}");
    }
    let mut request = grpc(operation("GetUser"), b"", private());
    request.headers_mut().insert("grpc-encoding", "gzip".parse().unwrap());
    assert_eq!(code(&world.send(request).await), Code::Unimplemented);
}

#[tokio::test]
async fn a_message_of_a_hundred_megabytes_is_refused_before_it_is_read() {
    let world = World::new();
    let pulled = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let counted = pulled.clone();
    let chunk = Bytes::from(vec![0_u8; 64 * 1024]);
    let chunks = futures::stream::iter(std::iter::repeat_n(chunk, 1_600)).map(move |chunk| {
        counted.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        Ok::<_, std::io::Error>(chunk)
    });
    let mut request = grpc(operation("GetUser"), b"", private());
    *request.body_mut() = Body::from_stream(chunks);
    assert_eq!(code(&world.send(request).await), Code::ResourceExhausted);
    assert!(pulled.load(std::sync::atomic::Ordering::SeqCst) <= 18);
}

#[tokio::test]
async fn overload_says_when_to_come_back() {
    let world = World::with(|setup| setup.in_flight = 0);
    let answer = world.send(signed(&list(), private())).await;
    assert_eq!(code(&answer), Code::Unavailable);
    assert_eq!(answer.header("grpc-retry-pushback-ms"), "1000");
    let status = tonic::Status::from_header_map(&answer.headers).unwrap();
    assert!(String::from_utf8_lossy(status.details()).contains("google.rpc.RetryInfo"));
}

#[tokio::test]
async fn a_panic_is_internal_and_tells_nothing() {
    let forgot = types::ForgotPasswordRequest {
        client_id: Some("abc".into()),
        username: Some("canary".into()),
        ..Default::default()
    };
    let answer = World::new()
        .send(grpc(operation("ForgotPassword"), &forgot.encode_to_vec(), private()))
        .await;
    assert_eq!(code(&answer), Code::Internal);
    assert!(!format!("{answer:?}").contains("canary"));
}
