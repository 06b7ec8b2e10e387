//! One port for everything that clients ask: sorts requests to the fronts and the pages.

use std::convert::Infallible;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::Router;
use axum::body::Body;
use conclave_crypto::ids;
use futures::FutureExt as _;
use http::header::{self, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use tonic::service::Routes;
use tower::ServiceExt as _;

use crate::fronts::{Api, aws_json, grpc};
use crate::management::Readiness;

mod health;

/// The service of the public port. Cheap to clone.
#[derive(Clone)]
pub struct Gateway(Arc<Inner>);

struct Inner {
    api: Arc<Api>,
    base_paths: Vec<String>,
    pages: Router,
    /// Health and reflection.
    grpc: Router,
}

/// Reflection could not be built from the API's descriptors.
#[derive(Debug, thiserror::Error)]
#[error("the gRPC descriptors are broken: {0}")]
pub struct DescriptorError(String);

impl Gateway {
    /// The API at `/` and at every one of `base_paths`, and `pages` for everything else.
    ///
    /// # Errors
    /// When the API's descriptors cannot be read, which is a fault of the build.
    pub fn new(
        api: Arc<Api>,
        base_paths: Vec<String>,
        pages: Router,
        readiness: Arc<dyn Readiness>,
    ) -> Result<Gateway, DescriptorError> {
        let broken = |error: tonic_reflection::server::Error| DescriptorError(error.to_string());
        let reflection = || {
            tonic_reflection::server::Builder::configure()
                .register_encoded_file_descriptor_set(conclave_api::FILE_DESCRIPTOR_SET)
                .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        };
        let grpc = Routes::new(reflection().build_v1().map_err(broken)?)
            .add_service(reflection().build_v1alpha().map_err(broken)?)
            .add_service(health::server(readiness))
            .into_axum_router();
        let base_paths =
            base_paths.iter().map(|path| path.trim_end_matches('/').to_owned()).collect();
        Ok(Gateway(Arc::new(Inner { api, base_paths, pages, grpc })))
    }

    async fn answer(&self, request: Request<Body>) -> Response<Body> {
        let inner = &*self.0;
        if grpc::is_grpc(&request) {
            if grpc::is_api(&request) {
                return grpc::answer(&inner.api, request).await;
            }
            return oneshot(&inner.grpc, request).await;
        }
        let path = request.uri().path().trim_end_matches('/');
        if path.is_empty() || inner.base_paths.iter().any(|base| base == path) {
            return match *request.method() {
                Method::GET | Method::HEAD => landing(),
                _ => aws_json::answer(&inner.api, request).await,
            };
        }
        oneshot(&inner.pages, request).await
    }
}

impl tower::Service<Request<Body>> for Gateway {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let gateway = self.clone();
        Box::pin(async move {
            let is_grpc = grpc::is_grpc(&request);
            // A panic ends one request, and its text, which may hold data of the request, does not
            // leave the process.
            let outcome = AssertUnwindSafe(gateway.answer(request)).catch_unwind().await;
            Ok(outcome.unwrap_or_else(|_| {
                let request_id = ids::uuid(&*gateway.0.api.entropy);
                tracing::error!(%request_id, "a request panicked");
                if is_grpc {
                    tonic::Status::internal("Internal error").into_http()
                } else {
                    aws_json::internal_error(request_id.into())
                }
            }))
        })
    }
}

async fn oneshot(router: &Router, request: Request<Body>) -> Response<Body> {
    match router.clone().oneshot(request).await {
        Ok(response) => response,
        Err(never) => match never {},
    }
}

fn landing() -> Response<Body> {
    let mut response = Response::new(Body::from(
        "Conclave, an identity service that speaks the Amazon Cognito user pools API.\n\
         Point an AWS SDK or the AWS CLI at this address: --endpoint-url, or AWS_ENDPOINT_URL_COGNITO_IDENTITY_PROVIDER.\n",
    ));
    *response.status_mut() = StatusCode::OK;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}
