//! What operators and their machines ask, on a port of its own: is it alive, is it ready, what did
//! it count.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::routing::get;
use http::header::{self, HeaderValue};
use http::{Response, StatusCode};

use crate::metrics::Metrics;

/// Whether this process should get requests.
#[async_trait::async_trait]
pub trait Readiness: Send + Sync {
    /// Ready means: the map of groups is loaded, enough groups have a leader, the keys can be
    /// opened, and it is not shutting down.
    ///
    /// # Errors
    /// What is missing, in words for an operator.
    async fn check(&self) -> Result<(), String>;
}

/// What the management port shows.
#[derive(Clone)]
pub struct Management {
    /// The process's metrics.
    pub metrics: Metrics,
    /// Whether it is ready.
    pub readiness: Arc<dyn Readiness>,
}

/// `/livez`, `/readyz`, `/health` and `/metrics`.
///
/// Live is this process answering, never the cluster: a lost quorum must not restart every node at
/// once.
pub fn router(management: Management) -> Router {
    Router::new()
        .route(
            "/livez",
            get(async || text(StatusCode::OK, "text/plain; charset=utf-8", "ok\n".into())),
        )
        .route("/readyz", get(readyz))
        .route("/health", get(health))
        .route("/metrics", get(metrics))
        .with_state(management)
}

async fn readyz(State(management): State<Management>) -> Response<Body> {
    let (status, body) = match management.readiness.check().await {
        Ok(()) => (StatusCode::OK, "ok\n".to_owned()),
        Err(why) => (StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {why}\n")),
    };
    text(status, "text/plain; charset=utf-8", body)
}

async fn health(State(management): State<Management>) -> Response<Body> {
    let (status, body) = match management.readiness.check().await {
        Ok(()) => (StatusCode::OK, serde_json::json!({ "status": "ok" })),
        Err(why) => (
            StatusCode::SERVICE_UNAVAILABLE,
            serde_json::json!({ "status": "unavailable", "reason": why }),
        ),
    };
    text(status, "application/json", body.to_string())
}

async fn metrics(State(management): State<Management>) -> Response<Body> {
    text(
        StatusCode::OK,
        "application/openmetrics-text; version=1.0.0; charset=utf-8",
        management.metrics.encode(),
    )
}

fn text(status: StatusCode, content_type: &'static str, body: String) -> Response<Body> {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use http::Request;
    use http_body_util::BodyExt as _;
    use tower::ServiceExt as _;

    use super::*;

    struct Switch(AtomicBool);

    #[async_trait::async_trait]
    impl Readiness for Switch {
        async fn check(&self) -> Result<(), String> {
            if self.0.load(Ordering::SeqCst) { Ok(()) } else { Err("group 2 has no leader".into()) }
        }
    }

    #[tokio::test]
    async fn losing_the_quorum_makes_a_node_unready_but_not_dead() {
        let switch = Arc::new(Switch(AtomicBool::new(true)));
        let service =
            router(Management { metrics: Metrics::new("0.1.0", "abc"), readiness: switch.clone() });
        let ask = async |path: &str| {
            let response = service
                .clone()
                .oneshot(Request::get(path).body(Body::empty()).unwrap())
                .await
                .unwrap();
            let status = response.status().as_u16();
            let body = response.into_body().collect().await.unwrap().to_bytes();
            (status, String::from_utf8(body.to_vec()).unwrap())
        };
        for path in ["/livez", "/readyz", "/health", "/metrics"] {
            assert_eq!(ask(path).await.0, 200, "{path}");
        }
        assert!(ask("/metrics").await.1.ends_with("# EOF\n"));
        switch.0.store(false, Ordering::SeqCst);
        assert_eq!(ask("/livez").await.0, 200);
        assert_eq!(ask("/readyz").await, (503, "not ready: group 2 has no leader\n".into()));
        assert_eq!(ask("/health").await.0, 503);
        assert_eq!(ask("/metrics").await.0, 200);
    }
}
