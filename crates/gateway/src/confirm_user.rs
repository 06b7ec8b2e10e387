//! The page behind the link that confirms a sign-up: `GET /confirmUser` with `client_id`, `user_name` and
//! `confirmation_code`, as at the domain of a user pool.
//! <https://docs.aws.amazon.com/cognito/latest/developerguide/cognito-user-pool-settings-email-verification-message-customization.html>
//!
//! Following the link is enough, as in Cognito; a program that follows it before the person does confirms
//! just as well. What says of itself that it only looks ahead confirms nothing: HEAD, and a browser's
//! prefetch.

use std::sync::Arc;

use async_trait::async_trait;
use axum::Router;
use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::routing::get;
use conclave_api::{ApiError, ExceptionName};
use http::header::{HeaderName, HeaderValue};
use http::{HeaderMap, Response, StatusCode};

use crate::link_page::LinkPage;

/// What a link asks for.
#[derive(serde::Deserialize)]
pub struct Asked {
    /// The app client that the user signed up with.
    pub client_id: Option<String>,
    /// The user.
    pub user_name: Option<String>,
    /// The code that was sent.
    pub confirmation_code: Option<String>,
}

/// Confirms sign-ups.
#[async_trait]
pub trait Confirmations: Send + Sync + 'static {
    /// Confirms the sign-up of a user.
    ///
    /// # Errors
    /// Those of ConfirmSignUp.
    async fn confirm(&self, asked: Asked) -> Result<(), ApiError>;
}

/// The page, with and without a slash at the end.
pub fn router(confirmations: Arc<dyn Confirmations>) -> Router {
    let route = || get(confirm).head(look);
    Router::new()
        .route("/confirmUser", route())
        .route("/confirmUser/", route())
        .with_state(confirmations)
}

const CONFIRMED: &str = "Your registration has been confirmed!";

async fn confirm(
    State(confirmations): State<Arc<dyn Confirmations>>,
    asked: Result<Query<Asked>, QueryRejection>,
    headers: HeaderMap,
) -> Response<Body> {
    if looks_ahead(&headers) {
        return page(StatusCode::SERVICE_UNAVAILABLE, "This page is not for prefetching.");
    }
    let Ok(Query(asked)) = asked else {
        return page(StatusCode::BAD_REQUEST, "An error was encountered with the requested page.");
    };
    match confirmations.confirm(asked).await {
        Ok(()) => page(StatusCode::OK, CONFIRMED),
        Err(error) => {
            let status = StatusCode::from_u16(error.code.http_status());
            let status = status.unwrap_or(StatusCode::BAD_REQUEST);
            // a client id that leads nowhere is not repeated
            let text = match error.code {
                ExceptionName::ResourceNotFoundException => {
                    "An error was encountered with the requested page."
                }
                _ => error.message.as_ref(),
            };
            page(status, text)
        }
    }
}

/// Nothing happens.
async fn look() -> Response<Body> {
    page(StatusCode::OK, "")
}

/// Whether a browser asks before the person does.
fn looks_ahead(headers: &HeaderMap) -> bool {
    const PURPOSES: [HeaderName; 4] = [
        HeaderName::from_static("sec-purpose"),
        HeaderName::from_static("purpose"),
        HeaderName::from_static("x-purpose"),
        HeaderName::from_static("x-moz"),
    ];
    let says_so = |value: &HeaderValue| {
        let value = value.to_str().unwrap_or_default().to_ascii_lowercase();
        ["prefetch", "prerender", "preview"].iter().any(|purpose| value.contains(purpose))
    };
    PURPOSES.iter().flat_map(|name| headers.get_all(name)).any(says_so)
}

fn page(status: StatusCode, text: &str) -> Response<Body> {
    LinkPage { title: "Confirmation", text, button: None }.response(status)
}

#[cfg(test)]
mod tests {
    use http::Request;
    use http_body_util::BodyExt as _;
    use parking_lot::Mutex;
    use tower::ServiceExt as _;

    use super::*;

    /// Confirms the code 123456.
    #[derive(Default)]
    struct Fake(Mutex<Vec<String>>);

    #[async_trait]
    impl Confirmations for Fake {
        async fn confirm(&self, asked: Asked) -> Result<(), ApiError> {
            self.0.lock().push(asked.user_name.unwrap_or_default());
            match asked.confirmation_code.as_deref() {
                Some("123456") => Ok(()),
                Some("gone") => Err(ApiError::resource_not_found("User pool client <x> is gone")),
                _ => Err(ExceptionName::CodeMismatchException.because("Invalid <code>")),
            }
        }
    }

    async fn ask(method: &str, path: &str, extra: Option<(&str, &str)>) -> (u16, String, usize) {
        let fake = Arc::new(Fake::default());
        let mut request = Request::builder().method(method).uri(path);
        if let Some((name, value)) = extra {
            request = request.header(name, value);
        }
        let response = router(fake.clone()).oneshot(request.body(Body::empty()).unwrap()).await;
        let (parts, body) = response.unwrap().into_parts();
        if parts.status != StatusCode::METHOD_NOT_ALLOWED {
            assert_eq!(parts.headers["cache-control"], "no-store");
            assert_eq!(parts.headers["referrer-policy"], "no-referrer");
        }
        let body = String::from_utf8(body.collect().await.unwrap().to_bytes().to_vec()).unwrap();
        (parts.status.as_u16(), body, fake.0.lock().len())
    }

    const LINK: &str = "/confirmUser?client_id=c&user_name=a%2Bb%40c.de&confirmation_code=123456";

    #[tokio::test]
    async fn following_the_link_confirms() {
        for path in [LINK.to_owned(), LINK.replace('?', "/?")] {
            let (status, body, asked) = ask("GET", &path, None).await;
            assert_eq!((status, asked), (200, 1));
            assert!(body.contains(CONFIRMED), "{body}");
        }
    }

    #[tokio::test]
    async fn looking_ahead_confirms_nothing() {
        assert_eq!(ask("HEAD", LINK, None).await.2, 0);
        assert_eq!(ask("POST", LINK, None).await.0, 405);
        for header in
            [("sec-purpose", "prefetch;prerender"), ("purpose", "Prefetch"), ("x-moz", "prefetch")]
        {
            let (status, _, asked) = ask("GET", LINK, Some(header)).await;
            assert_eq!((status, asked), (503, 0), "{header:?}");
        }
    }

    #[tokio::test]
    async fn a_refusal_is_told_as_a_text() {
        let (status, body, _) = ask("GET", &LINK.replace("123456", "1"), None).await;
        assert_eq!(status, 400);
        assert!(body.contains("Invalid &lt;code&gt;") && !body.contains("<code>"), "{body}");
        let (status, body, _) = ask("GET", &LINK.replace("123456", "gone"), None).await;
        assert_eq!(status, 400);
        assert!(body.contains("An error was encountered") && !body.contains("gone"), "{body}");
        let (status, _, asked) = ask("GET", "/confirmUser?client_id=a&client_id=b", None).await;
        assert_eq!((status, asked), (400, 0));
    }
}
