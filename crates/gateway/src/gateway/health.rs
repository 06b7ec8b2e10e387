//! gRPC health, from the same readiness as `/readyz`.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use conclave_api::SERVICE_NAME;
use futures::{Stream, StreamExt as _};
use tonic::{Request, Response, Status};
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_server::{Health, HealthServer};
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};

use crate::management::Readiness;

/// How often a watcher's answer is looked at again.
const INTERVAL: Duration = Duration::from_secs(1);

pub(super) fn server(readiness: Arc<dyn Readiness>) -> HealthServer<ReadinessHealth> {
    HealthServer::new(ReadinessHealth(readiness))
}

pub(super) struct ReadinessHealth(Arc<dyn Readiness>);

async fn serving(readiness: &dyn Readiness) -> ServingStatus {
    match readiness.check().await {
        Ok(()) => ServingStatus::Serving,
        Err(_) => ServingStatus::NotServing,
    }
}

/// The server as a whole, and its one service.
fn is_known(service: &str) -> bool {
    service.is_empty() || service == SERVICE_NAME
}

fn response(status: ServingStatus) -> HealthCheckResponse {
    HealthCheckResponse { status: status.into() }
}

#[tonic::async_trait]
impl Health for ReadinessHealth {
    type WatchStream = Pin<Box<dyn Stream<Item = Result<HealthCheckResponse, Status>> + Send>>;

    async fn check(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        if !is_known(&request.get_ref().service) {
            return Err(Status::not_found("the service is not known"));
        }
        Ok(Response::new(response(serving(&*self.0).await)))
    }

    async fn watch(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        if !is_known(&request.get_ref().service) {
            // The protocol wants a stream that says so, because the service may come.
            let once = futures::stream::once(async { Ok(response(ServingStatus::ServiceUnknown)) });
            return Ok(Response::new(once.chain(futures::stream::pending()).boxed()));
        }
        let start = (Arc::clone(&self.0), None::<ServingStatus>);
        let changes = futures::stream::unfold(start, |(readiness, last)| async move {
            loop {
                let now = serving(&*readiness).await;
                if last != Some(now) {
                    return Some((Ok(response(now)), (readiness, Some(now))));
                }
                tokio::time::sleep(INTERVAL).await;
            }
        });
        Ok(Response::new(changes.boxed()))
    }
}
