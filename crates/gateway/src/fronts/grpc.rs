//! gRPC: every operation of the table as a unary method, without generated servers. A method is
//! found by its path, its message is bytes until the table decodes it.
//!
//! Calls for signed operations carry the headers `host` (or the authority), `x-amz-date` and
//! `authorization` of AWS Signature Version 4 over `POST`, the method's path and
//! `UNSIGNED-PAYLOAD`. The message is not covered, so such calls are taken only where the
//! connection itself protects it: TLS that ends here, or loopback.

use std::time::Duration;

use axum::body::Body;
use bytes::{BufMut as _, Bytes, BytesMut};
use conclave_api::{ApiError, Caller, ExceptionName, Operation, SERVICE_NAME};
use futures::StreamExt as _;
use http::header::{self, HeaderName, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use http_body_util::StreamBody;
use hyper::body::Frame;
use prost::Message as _;
use tonic::metadata::MetadataMap;
use tonic::{Code, Status};
use tracing::Instrument as _;

use crate::dispatch::{Front, Identity};
use crate::fronts::{Api, Connection, Exchange};
use crate::sigv4::{Payload, SignedRequest};

const CONTENT_TYPE: HeaderValue = HeaderValue::from_static("application/grpc");
const ENCODING: HeaderName = HeaderName::from_static("grpc-encoding");
const ACCEPT_ENCODING: HeaderName = HeaderName::from_static("grpc-accept-encoding");
/// A flag and four bytes of length before each message.
const FRAME_HEADER: usize = 5;

/// Whether a request is gRPC, by its content type; gRPC-Web is another protocol.
pub fn is_grpc(request: &Request<Body>) -> bool {
    request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).is_some_and(
        |value| {
            value.strip_prefix("application/grpc").is_some_and(|rest| {
                rest.is_empty() || rest.starts_with('+') || rest.starts_with(';')
            })
        },
    )
}

/// Whether a request is for the API's service rather than for health or reflection.
pub fn is_api(request: &Request<Body>) -> bool {
    request
        .uri()
        .path()
        .strip_prefix('/')
        .and_then(|path| path.strip_prefix(SERVICE_NAME))
        .is_some_and(|rest| rest.starts_with('/'))
}

/// Answers one call.
pub async fn answer(api: &Api, request: Request<Body>) -> Response<Body> {
    let connection = request.extensions().get::<Connection>().copied();
    let operation = Operation::by_path(request.uri().path());
    let exchange = api.start(Front::Grpc, operation, connection);
    let span = exchange.span.clone();
    let outcome = match (operation, request.method() == Method::POST) {
        (Some(operation), true) => call(api, &exchange, operation, request).instrument(span).await,
        _ => Err(ExceptionName::UnknownOperationException.because("the method is not known")),
    };
    api.finish(&exchange, outcome.as_ref().map(|_| ()));
    let mut response = match outcome {
        Ok(message) => unary(message),
        Err(error) => status(&error, &exchange).into_http(),
    };
    if let Ok(id) = HeaderValue::from_str(&exchange.request_id) {
        response.headers_mut().insert("x-amzn-requestid", id);
    }
    response
}

async fn call(
    api: &Api,
    exchange: &Exchange,
    operation: &'static Operation,
    request: Request<Body>,
) -> Result<Bytes, ApiError> {
    let permit = api.in_flight.enter().inspect_err(|_| api.metrics.shed())?;
    let (parts, body) = request.into_parts();
    if parts.headers.get(ENCODING).is_some_and(|encoding| encoding != "identity") {
        return Err(ApiError::not_supported("grpc-encoding"));
    }
    let signed = SignedRequest {
        method: parts.method.as_str(),
        path: parts.uri.path(),
        query: parts.uri.query().unwrap_or_default(),
        headers: &parts.headers,
        authority: parts.uri.authority().map(http::uri::Authority::as_str),
        payload: Payload::Unsigned,
    };
    let caller = match operation.caller {
        Caller::SigV4 => {
            let private = exchange.connection.is_some_and(|connection| connection.is_private());
            if !private && parts.headers.contains_key(header::AUTHORIZATION) {
                return Err(ExceptionName::AccessDeniedException
                    .because("signed gRPC calls need TLS or a loopback connection, because their messages are not signed"));
            }
            let pending = api.authenticator.begin(&signed).await?;
            Identity::Principal(api.authenticator.finish(pending, &signed)?)
        }
        _ => Identity::Anonymous,
    };
    let limit = api.limits.body_of(operation).saturating_add(FRAME_HEADER);
    let body = api.read_body(body, limit).await?;
    let input = unframed(&body).and_then(|message| operation.decode_proto(message));
    let output = api.run(exchange, operation, caller, input, permit).await?;
    let mut message = vec![0; FRAME_HEADER];
    output.encode_proto(&mut message);
    framed(message)
}

/// The one message of a unary request.
fn unframed(body: &[u8]) -> Result<&[u8], ApiError> {
    let broken = || ApiError::serialization("the body is not one gRPC message");
    let (header, message) = body.split_at_checked(FRAME_HEADER).ok_or_else(broken)?;
    let [compressed, length @ ..] = header else { return Err(broken()) };
    if *compressed != 0 {
        return Err(ApiError::not_supported("message compression"));
    }
    let length = length.iter().fold(0_usize, |length, byte| length << 8 | usize::from(*byte));
    if length == message.len() { Ok(message) } else { Err(broken()) }
}

/// Fills in the header, for which `message` starts with room.
fn framed(mut message: Vec<u8>) -> Result<Bytes, ApiError> {
    let length = u32::try_from(message.len() - FRAME_HEADER)
        .map_err(|_| ApiError::internal("the answer is too large"))?;
    let mut header = BytesMut::with_capacity(FRAME_HEADER);
    header.put_u8(0);
    header.put_u32(length);
    if let Some(room) = message.get_mut(..FRAME_HEADER) {
        room.copy_from_slice(&header);
    }
    Ok(message.into())
}

fn unary(message: Bytes) -> Response<Body> {
    let mut trailers = http::HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static("0"));
    let frames = futures::stream::iter([Frame::data(message), Frame::trailers(trailers)])
        .map(Ok::<_, std::convert::Infallible>);
    let mut response = Response::new(Body::new(StreamBody::new(frames)));
    *response.status_mut() = StatusCode::OK;
    response.headers_mut().insert(header::CONTENT_TYPE, CONTENT_TYPE);
    response.headers_mut().insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    response
}

/// `google.rpc.Status`:
/// <https://github.com/googleapis/googleapis/blob/master/google/rpc/status.proto>.
#[derive(Clone, PartialEq, prost::Message)]
struct RpcStatus {
    #[prost(int32, tag = "1")]
    code: i32,
    #[prost(string, tag = "2")]
    message: String,
    #[prost(message, repeated, tag = "3")]
    details: Vec<prost_types::Any>,
}

/// `google.rpc.ErrorInfo` of error_details.proto beside it.
#[derive(Clone, PartialEq, prost::Message)]
struct ErrorInfo {
    #[prost(string, tag = "1")]
    reason: String,
    #[prost(string, tag = "2")]
    domain: String,
}

/// `google.rpc.RetryInfo` of the same file.
#[derive(Clone, PartialEq, prost::Message)]
struct RetryInfo {
    #[prost(message, optional, tag = "1")]
    retry_delay: Option<prost_types::Duration>,
}

const RETRY_AFTER: Duration = Duration::from_secs(1);

fn any(name: &str, message: &impl prost::Message) -> prost_types::Any {
    prost_types::Any {
        type_url: format!("type.googleapis.com/google.rpc.{name}"),
        value: message.encode_to_vec(),
    }
}

fn status(error: &ApiError, exchange: &Exchange) -> Status {
    let code = Code::from_i32(error.grpc_code());
    let mut metadata = MetadataMap::new();
    if let Ok(name) = error.code.as_str().parse() {
        metadata.insert("x-amzn-errortype", name);
    }
    if let Ok(id) = exchange.request_id.parse() {
        metadata.insert("x-amzn-requestid", id);
    }
    let info =
        ErrorInfo { reason: error.code.as_str().to_owned(), domain: SERVICE_NAME.to_owned() };
    let mut details = vec![any("ErrorInfo", &info)];
    if matches!(
        error.code,
        ExceptionName::ServiceUnavailable | ExceptionName::TooManyRequestsException
    ) {
        let seconds = i64::try_from(RETRY_AFTER.as_secs()).unwrap_or_default();
        let retry = RetryInfo { retry_delay: Some(prost_types::Duration { seconds, nanos: 0 }) };
        details.push(any("RetryInfo", &retry));
    }
    if error.code == ExceptionName::ServiceUnavailable
        && let Ok(pushback) = RETRY_AFTER.as_millis().to_string().parse()
    {
        metadata.insert("grpc-retry-pushback-ms", pushback);
    }
    let message = error.message.to_string();
    let details =
        RpcStatus { code: error.grpc_code(), message: message.clone(), details }.encode_to_vec();
    Status::with_details_and_metadata(code, message, details.into(), metadata)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_read_back() {
        let mut message = vec![0; FRAME_HEADER];
        message.extend_from_slice(b"abc");
        assert_eq!(unframed(&framed(message).unwrap()).unwrap(), b"abc");
    }

    #[test]
    fn what_is_not_exactly_one_frame_is_refused() {
        for body in [
            &b""[..],
            b"\0\0\0",
            b"\0\0\0\0\x02a",
            b"\0\0\0\0\x01ab",
            b"\x01\0\0\0\x01a",
            b"\0\xff\xff\xff\xffa",
        ] {
            assert!(unframed(body).is_err(), "{body:?}");
        }
    }
}
