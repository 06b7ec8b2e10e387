//! AWS JSON 1.1: `POST /` with the operation in `X-Amz-Target`.

use std::sync::Arc;

use axum::body::Body;
use bytes::Bytes;
use conclave_api::{ApiError, Caller, ExceptionName, Operation};
use http::header::{self, HeaderName, HeaderValue};
use http::{HeaderMap, Method, Request, Response, StatusCode};
use tracing::Instrument as _;

use crate::dispatch::{Front, Identity};
use crate::fronts::{Api, Connection, Exchange};
use crate::sigv4::{Payload, SignedRequest};

const CONTENT_TYPE: &str = "application/x-amz-json-1.1";
const TARGET: HeaderName = HeaderName::from_static("x-amz-target");
const REQUEST_ID: HeaderName = HeaderName::from_static("x-amzn-requestid");
const ERROR_TYPE: HeaderName = HeaderName::from_static("x-amzn-errortype");
const ERROR_MESSAGE: HeaderName = HeaderName::from_static("x-amzn-errormessage");

/// What a browser may read of an answer, and what JavaScript SDKs need: the id, the error, and the
/// date for clock skew.
const EXPOSED: HeaderValue =
    HeaderValue::from_static("x-amzn-RequestId,x-amzn-ErrorType,x-amzn-ErrorMessage,Date");
/// What SDKs send when a preflight does not say.
const ALLOWED: HeaderValue = HeaderValue::from_static(
    "authorization,content-type,x-amz-date,x-amz-target,x-amz-user-agent,x-amz-security-token,x-amz-content-sha256,\
     amz-sdk-invocation-id,amz-sdk-request,cache-control",
);
const MAX_ASKED_HEADERS: usize = 1_024;

/// Answers one request to the API's path, whatever its method.
pub async fn answer(api: &Api, request: Request<Body>) -> Response<Body> {
    if request.method() == Method::OPTIONS {
        return preflight(request.headers());
    }
    let connection = request.extensions().get::<Connection>().copied();
    let target = target(request.headers());
    let operation = target.as_ref().ok().copied();
    let exchange = api.start(Front::AwsJson, operation, connection);
    let span = exchange.span.clone();
    let outcome = match protocol(&request).and(target.map_err(Refused::from)) {
        Ok(operation) => {
            call(api, &exchange, operation, request).instrument(span).await.map_err(Refused::from)
        }
        Err(refused) => Err(refused),
    };
    api.finish(&exchange, outcome.as_ref().map(|_| ()).map_err(|refused| &refused.error));
    match outcome {
        Ok(body) => respond(StatusCode::OK, &exchange, body),
        Err(refused) => respond_error(&exchange, &refused),
    }
}

/// An exception with the status that it is sent with.
struct Refused {
    error: ApiError,
    status: StatusCode,
}

impl From<ApiError> for Refused {
    fn from(error: ApiError) -> Self {
        let status =
            StatusCode::from_u16(error.http_status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        Refused { error, status }
    }
}

/// What is not this protocol at all is answered with status 404, as AWS does.
fn protocol(request: &Request<Body>) -> Result<(), Refused> {
    let content_type = single(request.headers(), &header::CONTENT_TYPE)
        .map(|value| value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase());
    if request.method() == Method::POST && content_type.as_deref() == Some(CONTENT_TYPE) {
        return Ok(());
    }
    let error = ExceptionName::UnknownOperationException
        .because(format!("requests are POSTs with content type {CONTENT_TYPE}"));
    Err(Refused { error, status: StatusCode::NOT_FOUND })
}

fn target(headers: &HeaderMap) -> Result<&'static Operation, ApiError> {
    single(headers, &TARGET).and_then(Operation::by_target).ok_or_else(|| {
        ExceptionName::UnknownOperationException
            .because("the operation in X-Amz-Target is not known")
    })
}

async fn call(
    api: &Api,
    exchange: &Exchange,
    operation: &'static Operation,
    request: Request<Body>,
) -> Result<Bytes, ApiError> {
    let permit = api.in_flight.enter().inspect_err(|_| api.metrics.shed())?;
    let (parts, body) = request.into_parts();
    let signed = |payload| SignedRequest {
        method: parts.method.as_str(),
        path: parts.uri.path(),
        query: parts.uri.query().unwrap_or_default(),
        headers: &parts.headers,
        authority: parts.uri.authority().map(http::uri::Authority::as_str),
        payload,
    };
    // What needs no body is refused before a body is read, so that nobody without a key can make
    // the server wait for one.
    let pending = match operation.caller {
        Caller::SigV4 => Some(api.authenticator.begin(&signed(Payload::Unsigned)).await?),
        _ => None,
    };
    let body = api.read_body(body, api.limits.body_of(operation)).await?;
    let caller = match pending {
        Some(pending) => {
            Identity::Principal(api.authenticator.finish(pending, &signed(Payload::Signed(&body)))?)
        }
        None => Identity::Anonymous,
    };
    let decoded = operation.decode_json(&body).map(|decoded| {
        if decoded.unknown_members > 0 {
            api.metrics.unknown_members(operation.name, decoded.unknown_members);
        }
        decoded.message
    });
    let output = api.run(exchange, operation, caller, decoded, permit).await?;
    let mut out = Vec::new();
    if operation.has_output {
        output.encode_json(&mut out);
    }
    Ok(out.into())
}

fn respond(status: StatusCode, exchange: &Exchange, body: Bytes) -> Response<Body> {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(CONTENT_TYPE));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
    if let Ok(id) = HeaderValue::from_str(&exchange.request_id) {
        headers.insert(REQUEST_ID, id);
    }
    response
}

fn respond_error(exchange: &Exchange, refused: &Refused) -> Response<Body> {
    let error = &refused.error;
    let mut response = respond(refused.status, exchange, error.to_json().into());
    let headers = response.headers_mut();
    headers.insert(ERROR_TYPE, error_type(error.code));
    // A text with other characters than a header can hold is in the body only.
    if error.message.len() <= 1_024
        && let Ok(message) = HeaderValue::from_str(&error.message)
    {
        headers.insert(ERROR_MESSAGE, message);
    }
    if refused.status == StatusCode::SERVICE_UNAVAILABLE {
        headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    }
    response
}

fn preflight(asked: &HeaderMap) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    let headers = response.headers_mut();
    let allowed = asked
        .get(header::ACCESS_CONTROL_REQUEST_HEADERS)
        .filter(|value| value.len() <= MAX_ASKED_HEADERS)
        .cloned()
        .unwrap_or(ALLOWED);
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("POST"));
    headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, allowed);
    headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
    headers.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("172800"));
    headers.insert(header::VARY, HeaderValue::from_static("access-control-request-headers"));
    response
}

/// A header that came once: with two, another reader on the way may have looked at the other one.
fn single<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?;
    if values.next().is_some() {
        return None;
    }
    value.to_str().ok()
}

/// The answer to a request whose handling itself failed, in this front's form.
pub(crate) fn internal_error(request_id: Arc<str>) -> Response<Body> {
    let error = ApiError::internal("Internal error");
    let mut response = Response::new(Body::from(error.to_json()));
    *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(CONTENT_TYPE));
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    headers.insert(ERROR_TYPE, error_type(error.code));
    if let Ok(id) = HeaderValue::from_str(&request_id) {
        headers.insert(REQUEST_ID, id);
    }
    response
}

/// The exception's name and, as AWS's front writes it, a colon before the place of an address that is not there. Clients cut
/// it off.
fn error_type(code: ExceptionName) -> HeaderValue {
    HeaderValue::try_from(format!("{}:", code.as_str()))
        .unwrap_or_else(|_| HeaderValue::from_static(code.as_str()))
}
