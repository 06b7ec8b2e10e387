//! The page behind the links in messages about risky sign-ins: `GET /authEventFeedback` asks whether it was the user, and `POST`
//! there says so. Programs follow links in mail before people do, so looking at the page says nothing.

use std::sync::Arc;

use async_trait::async_trait;
use axum::Router;
use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::routing::get;
use conclave_api::{ApiError, ExceptionName};
use http::{Response, StatusCode};

use crate::link_page::LinkPage;

const PATH: &str = "/authEventFeedback";

/// What a link says.
#[derive(serde::Deserialize)]
pub struct Given {
    /// The pool.
    pub user_pool_id: Option<String>,
    /// The user.
    pub user_name: Option<String>,
    /// The sign-in.
    pub event_id: Option<String>,
    /// The token of the message.
    pub feedback_token: Option<String>,
    /// "Valid" or "Invalid".
    pub feedback_value: Option<String>,
}

/// Takes what users say of sign-ins.
#[async_trait]
pub trait Feedback: Send + Sync + 'static {
    /// Notes it.
    ///
    /// # Errors
    /// Those of UpdateAuthEventFeedback.
    async fn give(&self, given: Given) -> Result<(), ApiError>;
}

/// The page.
pub fn router(feedback: Arc<dyn Feedback>) -> Router {
    Router::new().route(PATH, get(ask).post(give)).with_state(feedback)
}

const THANKS: &str = "Thank you. What you have told us counts for the next sign-ins.";
const ERROR: &str = "An error was encountered with the requested page.";

/// The question. Nothing is looked up for it: whoever has no token learns nothing here.
async fn ask(given: Result<Query<Given>, QueryRejection>) -> Response<Body> {
    let value = given.ok().and_then(|Query(given)| given.feedback_value);
    let (question, button) = match value.as_deref() {
        Some("Valid") => ("Was it you who signed in?", "Yes, it was me"),
        Some("Invalid") => ("Was it somebody else who signed in?", "Yes, it was not me"),
        _ => return page(StatusCode::BAD_REQUEST, ERROR, None),
    };
    page(StatusCode::OK, question, Some(button))
}

async fn give(
    State(feedback): State<Arc<dyn Feedback>>,
    given: Result<Query<Given>, QueryRejection>,
) -> Response<Body> {
    let Ok(Query(given)) = given else { return page(StatusCode::BAD_REQUEST, ERROR, None) };
    match feedback.give(given).await {
        Ok(()) => page(StatusCode::OK, THANKS, None),
        Err(error) => {
            let status = StatusCode::from_u16(error.code.http_status());
            let text = match error.code {
                // the event, or the user, is gone
                ExceptionName::NotAuthorizedException
                | ExceptionName::ResourceNotFoundException => {
                    "This link is not good any more. Please change your password if you did not sign in."
                }
                ExceptionName::TooManyRequestsException => error.message.as_ref(),
                _ => ERROR,
            };
            page(status.unwrap_or(StatusCode::BAD_REQUEST), text, None)
        }
    }
}

/// A text, and a button that sends the page's own address by POST.
fn page(status: StatusCode, text: &str, button: Option<&str>) -> Response<Body> {
    LinkPage { title: "Sign-in", text, button }.response(status)
}

#[cfg(test)]
mod tests {
    use http::Request;
    use http_body_util::BodyExt as _;
    use parking_lot::Mutex;
    use tower::ServiceExt as _;

    use super::*;

    /// Takes the token "good".
    #[derive(Default)]
    struct Fake(Mutex<Vec<String>>);

    #[async_trait]
    impl Feedback for Fake {
        async fn give(&self, given: Given) -> Result<(), ApiError> {
            self.0.lock().push(given.feedback_value.unwrap_or_default());
            match given.feedback_token.as_deref() {
                Some("good") => Ok(()),
                Some("gone") => Err(ApiError::resource_not_found("User pool <x> is gone")),
                _ => Err(ApiError::not_authorized("Invalid feedback token.")),
            }
        }
    }

    async fn ask(method: &str, path: &str) -> (u16, String, Vec<String>) {
        let fake = Arc::new(Fake::default());
        let request = Request::builder().method(method).uri(path).body(Body::empty()).unwrap();
        let response = router(fake.clone()).oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        assert_eq!(parts.headers["cache-control"], "no-store");
        assert_eq!(parts.headers["referrer-policy"], "no-referrer");
        let body = String::from_utf8(body.collect().await.unwrap().to_bytes().to_vec()).unwrap();
        let given = fake.0.lock().clone();
        (parts.status.as_u16(), body, given)
    }

    const LINK: &str = "/authEventFeedback?user_pool_id=p&user_name=a&event_id=e&feedback_token=good&feedback_value=Valid";

    #[tokio::test]
    async fn looking_says_nothing_and_the_button_does() {
        let (status, body, given) = ask("GET", LINK).await;
        assert_eq!((status, given.len()), (200, 0));
        assert!(
            body.contains("<form method=\"post\">") && body.contains("Yes, it was me"),
            "{body}"
        );
        assert_eq!(ask("HEAD", LINK).await.2.len(), 0);
        let (status, body, given) = ask("POST", LINK).await;
        assert_eq!((status, given), (200, vec!["Valid".to_owned()]));
        assert!(body.contains("Thank you"), "{body}");
        let (_, body, _) = ask("GET", &LINK.replace("=Valid", "=Invalid")).await;
        assert!(body.contains("Yes, it was not me"), "{body}");
    }

    #[tokio::test]
    async fn a_link_that_is_not_good_says_so_and_no_more() {
        for (from, to, text) in [
            ("good", "bad", "not good any more"),
            ("good", "gone", "not good any more. Please change your password"),
            ("user_name=a", "user_name=a&user_name=b", ERROR),
        ] {
            let (status, body, _) = ask("POST", &LINK.replace(from, to)).await;
            assert_eq!(status, 400);
            assert!(body.contains(text) && !body.contains("<x>"), "{body}");
        }
        assert_eq!(ask("GET", &LINK.replace("=Valid", "=%3Cb%3E")).await.0, 400);
    }
}
