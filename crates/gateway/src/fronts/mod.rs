//! The two fronts of the API. Each turns its protocol into a call of the
//! [`Dispatcher`](crate::dispatch::Dispatcher) and the outcome into its protocol's answer;
//! everything that both do is in [`Api`].

pub mod aws_json;
pub mod grpc;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use conclave_api::{ApiError, ExceptionName, Message, Operation};
use conclave_crypto::entropy::Entropy;
use conclave_crypto::ids;
use conclave_outbound::Clock;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper::body::Body as _;
use tracing::field::Empty;

use crate::audit::{AuditLog, Entry, Pending, Target};
use crate::dispatch::{CallContext, Checks, Dispatcher, Front, Identity};
use crate::limits::InFlight;
use crate::metrics::Metrics;
use crate::principal::Authenticator;

/// What the server knows of the connection that a request came on. It puts one into every request's
/// extensions.
#[derive(Clone, Copy, Debug)]
pub struct Connection {
    /// The other end.
    pub peer: SocketAddr,
    /// Whether the connection is encrypted by this server.
    pub tls: bool,
}

impl Connection {
    /// Whether nobody on the way can read or change what is sent.
    pub fn is_private(&self) -> bool {
        self.tls || self.peer.ip().is_loopback()
    }
}

/// Limits on what one request may send.
#[derive(Clone, Copy, Debug)]
pub struct RequestLimits {
    /// Bytes of a request's body.
    pub body: usize,
    /// Bytes of the body of a request that holds images.
    pub body_with_images: usize,
    /// How long a body may take to arrive.
    pub body_timeout: Duration,
}

impl Default for RequestLimits {
    fn default() -> Self {
        RequestLimits {
            body: 1024 * 1024,
            body_with_images: 2 * 1024 * 1024,
            body_timeout: Duration::from_secs(20),
        }
    }
}

/// Operations whose requests hold images. API reference: "This operation has a 2-megabyte request-size limit".
const WITH_IMAGES: [&str; 2] = ["CreateManagedLoginBranding", "UpdateManagedLoginBranding"];

impl RequestLimits {
    /// Bytes of the body of a request for `operation`.
    fn body_of(&self, operation: &Operation) -> usize {
        if WITH_IMAGES.contains(&operation.name) { self.body_with_images } else { self.body }
    }
}

/// What both fronts need to answer a request.
pub struct Api {
    /// The handlers.
    pub dispatcher: Dispatcher,
    /// Who signs.
    pub authenticator: Authenticator,
    /// What a call goes through besides its handler.
    pub checks: Checks,
    /// How many requests may be under way.
    pub in_flight: InFlight,
    /// Limits on one request.
    pub limits: RequestLimits,
    /// What is counted.
    pub metrics: Metrics,
    /// For request ids.
    pub entropy: Arc<dyn Entropy>,
    /// For durations.
    pub clock: Arc<dyn Clock>,
    /// Where signed operations are put on record.
    pub audit: Option<Arc<dyn AuditLog>>,
}

/// One request from its headers to its answer: its id, its span, its place in the metrics.
struct Exchange {
    front: Front,
    request_id: Arc<str>,
    operation: Option<&'static Operation>,
    connection: Option<Connection>,
    started: Duration,
    span: tracing::Span,
}

impl Api {
    fn start(
        &self,
        front: Front,
        operation: Option<&'static Operation>,
        connection: Option<Connection>,
    ) -> Exchange {
        let request_id: Arc<str> = ids::uuid(&*self.entropy).into();
        let name = operation.map_or("unknown", |operation| operation.name);
        let span = tracing::info_span!("request", operation = name, %request_id, front = front.as_str(), code = Empty);
        Exchange { front, request_id, operation, connection, started: self.clock.monotonic(), span }
    }

    /// Writes down how a request ended.
    fn finish(&self, exchange: &Exchange, outcome: Result<(), &ApiError>) {
        let operation = exchange.operation.map_or("unknown", |operation| operation.name);
        let code = outcome.map_or_else(|error| error.code.as_str(), |()| "OK");
        let took = self.clock.monotonic().saturating_sub(exchange.started);
        self.metrics.request(operation, code, took);
        exchange.span.record("code", code);
        let _entered = exchange.span.enter();
        match outcome {
            // The text of an error can repeat what the client sent, so only its name is logged
            // unless the fault is ours.
            Err(error) if error.is_our_fault() => {
                tracing::error!(code, message = %error.message, "request failed")
            }
            Err(_) => tracing::debug!(code, "request refused"),
            Ok(()) => tracing::debug!("request answered"),
        }
    }

    async fn run(
        &self,
        exchange: &Exchange,
        operation: &'static Operation,
        caller: Identity,
        input: Result<Box<dyn Message>, ApiError>,
        permit: impl Send + 'static,
    ) -> Result<Box<dyn Message>, ApiError> {
        let audited = self.audited(exchange, operation, &caller, &input);
        let context = CallContext {
            operation,
            caller,
            request_id: Arc::clone(&exchange.request_id),
            peer: exchange.connection.map(|connection| connection.peer.ip()),
            front: exchange.front,
        };
        let outcome = self.dispatcher.call(context, input, &self.checks, permit).await;
        if let Some(audited) = audited {
            audited.end(outcome.as_ref().map_or_else(|error| error.code.as_str(), |_| "OK"));
        }
        outcome
    }

    /// Begins the record of a signed operation.
    fn audited(
        &self,
        exchange: &Exchange,
        operation: &'static Operation,
        caller: &Identity,
        input: &Result<Box<dyn Message>, ApiError>,
    ) -> Option<Pending> {
        let (Some(audit), Identity::Principal(principal)) = (&self.audit, caller) else {
            return None;
        };
        let target = Target::of(principal, input.as_ref().map(|input| &**input));
        let entry = Entry {
            request_id: Arc::clone(&exchange.request_id),
            operation: operation.name,
            principal: principal.clone(),
            from: exchange.connection.map(|connection| connection.peer.ip()),
            front: exchange.front.as_str(),
            target,
        };
        Some(Pending::begin(Arc::clone(audit), entry))
    }

    /// The whole body, within the limits.
    async fn read_body(&self, body: Body, limit: usize) -> Result<Bytes, ApiError> {
        let too_large = || {
            ExceptionName::RequestEntityTooLargeException
                .because("Request size exceeded the limit.")
        };
        if body.size_hint().lower() > u64::try_from(limit).unwrap_or(u64::MAX) {
            return Err(too_large());
        }
        match tokio::time::timeout(self.limits.body_timeout, Limited::new(body, limit).collect())
            .await
        {
            Ok(Ok(collected)) => Ok(collected.to_bytes()),
            Ok(Err(error)) if error.is::<LengthLimitError>() => Err(too_large()),
            Ok(Err(_)) => Err(ApiError::serialization("the body did not arrive whole")),
            Err(_) => Err(ApiError::serialization("the body did not arrive in time")),
        }
    }
}
