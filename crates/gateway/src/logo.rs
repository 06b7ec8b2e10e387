//! Logos of the classic sign-in pages, where their `ImageUrl` says. Anybody may see them.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::routing::get;
use bytes::Bytes;
use http::header::{self, HeaderName, HeaderValue};
use http::{Response, StatusCode};
use tokio::sync::Semaphore;

use crate::oidc::is_pool_id;

/// How long browsers may keep a logo: as long as the service says that a change may take to show.
const CACHE_CONTROL: HeaderValue = HeaderValue::from_static("public, max-age=60");
/// Logos that are read at once: each is up to 100 KB from a group's leader, and nobody has to sign for it.
const READS_MAX: usize = 64;
/// Bytes of an app client's id.
const CLIENT_ID_BYTES_MAX: usize = 128;
/// Digits of a version.
const VERSION_DIGITS: usize = 14;

/// An image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Logo {
    /// `image/png` or `image/jpeg`.
    pub content_type: String,
    /// The file.
    pub bytes: Bytes,
}

/// A logo could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("logos cannot be read now: {0}")]
pub struct LogosUnavailable(pub String);

/// Where logos are found.
#[async_trait::async_trait]
pub trait Logos: Send + Sync {
    /// The logo of a pool's client, or of `ALL`; `None` where there is none of that version.
    ///
    /// # Errors
    /// When the pool cannot be read.
    async fn logo(
        &self,
        pool_id: &str,
        client_id: &str,
        version: &str,
    ) -> Result<Option<Logo>, LogosUnavailable>;
}

#[derive(Clone)]
struct Shared {
    logos: Arc<dyn Logos>,
    reads: Arc<Semaphore>,
}

/// The page of every logo.
pub fn router(logos: Arc<dyn Logos>) -> Router {
    Router::new()
        .route("/{pool_id}/{client_id}/{version}/assets/images/image.jpg", get(logo))
        .with_state(Shared { logos, reads: Arc::new(Semaphore::new(READS_MAX)) })
}

async fn logo(
    State(shared): State<Shared>,
    Path((pool_id, client_id, version)): Path<(String, String, String)>,
) -> Response<Body> {
    let is_client = |text: &str| {
        text.len() <= CLIENT_ID_BYTES_MAX
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'+'))
    };
    let is_version =
        version.len() == VERSION_DIGITS && version.bytes().all(|byte| byte.is_ascii_digit());
    if !is_pool_id(&pool_id) || !is_client(&client_id) || !is_version {
        return empty(StatusCode::NOT_FOUND);
    }
    let Ok(_read) = shared.reads.try_acquire() else {
        return empty(StatusCode::SERVICE_UNAVAILABLE);
    };
    match shared.logos.logo(&pool_id, &client_id, &version).await {
        Ok(Some(logo)) => image(logo),
        Ok(None) => empty(StatusCode::NOT_FOUND),
        Err(error) => {
            tracing::warn!(%error, "a logo cannot be served");
            empty(StatusCode::SERVICE_UNAVAILABLE)
        }
    }
}

/// The file was checked for its type when it was set; browsers are told to take it for nothing else.
fn image(logo: Logo) -> Response<Body> {
    let Ok(content_type) = HeaderValue::try_from(logo.content_type) else {
        return empty(StatusCode::NOT_FOUND);
    };
    let mut response = Response::new(Body::from(logo.bytes));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, content_type);
    headers.insert(header::CACHE_CONTROL, CACHE_CONTROL);
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static("default-src 'none'; sandbox"),
    );
    headers.insert(
        HeaderName::from_static("cross-origin-resource-policy"),
        HeaderValue::from_static("cross-origin"),
    );
    response
}

fn empty(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if status == StatusCode::SERVICE_UNAVAILABLE {
        headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    }
    response
}

#[cfg(test)]
mod tests {
    use http::Request;
    use tower::ServiceExt as _;

    use super::*;

    struct One;

    #[async_trait::async_trait]
    impl Logos for One {
        async fn logo(
            &self,
            pool_id: &str,
            client_id: &str,
            version: &str,
        ) -> Result<Option<Logo>, LogosUnavailable> {
            let is_it = (pool_id, client_id, version) == ("us-east-1_a", "ALL", "20260101000000");
            let bytes = Bytes::from_static(b"png");
            Ok(is_it.then(|| Logo { content_type: "image/png".to_owned(), bytes }))
        }
    }

    async fn answer(path: &str) -> Response<Body> {
        let request = Request::get(path).body(Body::empty()).unwrap();
        router(Arc::new(One)).oneshot(request).await.unwrap()
    }

    #[tokio::test]
    async fn a_logo_is_an_image_and_nothing_else() {
        let answer = answer("/us-east-1_a/ALL/20260101000000/assets/images/image.jpg").await;
        assert_eq!(answer.status(), StatusCode::OK);
        assert_eq!(answer.headers()[header::CONTENT_TYPE], "image/png");
        assert_eq!(answer.headers()[header::X_CONTENT_TYPE_OPTIONS], "nosniff");
        assert_eq!(
            answer.headers()[header::CONTENT_SECURITY_POLICY],
            "default-src 'none'; sandbox"
        );
    }

    #[tokio::test]
    async fn what_is_no_logo_is_not_found() {
        for path in [
            "/us-east-1_a/ALL/20260101000001/assets/images/image.jpg",
            "/us-east-1_a/other/20260101000000/assets/images/image.jpg",
            "/us-east-1_b/ALL/20260101000000/assets/images/image.jpg",
            "/nopool/ALL/20260101000000/assets/images/image.jpg",
            "/us-east-1_a/a%2Fb/20260101000000/assets/images/image.jpg",
            "/us-east-1_a/ALL/latest/assets/images/image.jpg",
            "/us-east-1_a/ALL/20260101000000/assets/images/other.jpg",
        ] {
            assert_eq!(answer(path).await.status(), StatusCode::NOT_FOUND, "{path}");
        }
    }
}
