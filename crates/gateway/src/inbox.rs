//! The developer inbox over HTTP: JSON for tools, a page for people. Routed in `conclave dev` only.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Query, State};
use axum::routing::get;
use conclave_outbound::inbox::{DevInbox, Received};
use http::header::{self, HeaderValue};
use http::{HeaderMap, Response};

use crate::html::escape;

/// `GET /_conclave/inbox[?to=ADDRESS]`.
pub fn router(inbox: Arc<DevInbox>) -> Router {
    Router::new().route("/_conclave/inbox", get(list)).with_state(inbox)
}

#[derive(serde::Deserialize)]
struct Filter {
    to: Option<String>,
}

async fn list(
    State(inbox): State<Arc<DevInbox>>,
    Query(filter): Query<Filter>,
    headers: HeaderMap,
) -> Response<Body> {
    let to = filter.to.as_deref().filter(|to| !to.is_empty());
    let messages = inbox.list(to);
    let (content_type, body) = if wants_html(&headers) {
        ("text/html; charset=utf-8", page(to.unwrap_or_default(), &messages))
    } else {
        ("application/json", serde_json::json!(messages).to_string())
    };
    let mut response = Response::new(Body::from(body));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    // No header for other origins: a page that a developer happens to visit must not read codes.
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::VARY, HeaderValue::from_static("accept"));
    headers.insert(
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static(
            "default-src 'none'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
        ),
    );
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    response
}

/// Whether HTML comes before JSON in what the client accepts. `*/*` alone is a tool.
fn wants_html(headers: &HeaderMap) -> bool {
    let accept =
        headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let weight = |wanted: &str| {
        accept
            .split(',')
            .filter_map(|range| {
                let mut parts = range.split(';').map(str::trim);
                if !parts.next()?.eq_ignore_ascii_case(wanted) {
                    return None;
                }
                let quality = parts
                    .find_map(|part| part.strip_prefix("q="))
                    .and_then(|q| q.parse::<f32>().ok());
                Some(quality.unwrap_or(1.0))
            })
            .fold(0.0, f32::max)
    };
    weight("text/html") > weight("application/json")
}

fn page(to: &str, messages: &[Received]) -> String {
    let mut out = String::from(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>Inbox</title></head><body><h1>Inbox</h1>",
    );
    out.push_str("<form method=\"get\"><label>To <input name=\"to\" value=\"");
    escape(to, &mut out);
    out.push_str("\"></label> <button>Show</button></form>");
    if messages.is_empty() {
        out.push_str("<p>No messages.</p>");
    }
    for message in messages {
        out.push_str("<article><h2>");
        escape(message.subject.as_deref().unwrap_or(message.channel.as_str()), &mut out);
        out.push_str("</h2><p>");
        escape(&message.sent_at, &mut out);
        out.push_str(" to ");
        escape(&message.to, &mut out);
        out.push_str("</p><pre>");
        escape(&message.body, &mut out);
        out.push_str("</pre>");
        if let Some(code) = &message.code {
            out.push_str("<p>Code: <code>");
            escape(code, &mut out);
            out.push_str("</code></p>");
        }
        out.push_str("</article><hr>");
    }
    out.push_str("</body></html>");
    out
}

#[cfg(test)]
mod tests {
    use conclave_outbound::clock::ManualClock;
    use conclave_outbound::{Channel, Message, Messenger as _};
    use http::Request;
    use http_body_util::BodyExt as _;
    use tower::ServiceExt as _;

    use super::*;

    async fn get(path: &str, accept: Option<&str>) -> (HeaderMap, String) {
        let inbox = Arc::new(DevInbox::new(Arc::new(ManualClock::at(0))));
        for (to, body) in [
            ("ada@example.com", "first"),
            ("+15550100", "second"),
            ("ada@example.com", "<script>alert(1)</script>"),
        ] {
            let channel = if to.starts_with('+') { Channel::Sms } else { Channel::Email };
            let message = Message {
                to: to.into(),
                channel,
                subject: None,
                body: body.into(),
                is_html: false,
                plain: None,
                code: Some("123456".into()),
                sender: Default::default(),
            };
            inbox.send(message).await.unwrap();
        }
        let mut request = Request::get(path);
        if let Some(accept) = accept {
            request = request.header("accept", accept);
        }
        let response = router(inbox).oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
        let (parts, body) = response.into_parts();
        (
            parts.headers,
            String::from_utf8(body.collect().await.unwrap().to_bytes().to_vec()).unwrap(),
        )
    }

    #[tokio::test]
    async fn tools_get_json_with_the_newest_first() {
        for accept in
            [None, Some("*/*"), Some("application/json"), Some("application/json, text/html;q=0.5")]
        {
            let (headers, body) = get("/_conclave/inbox?to=ada%40example.com", accept).await;
            assert_eq!(headers["content-type"], "application/json");
            let list: serde_json::Value = serde_json::from_str(&body).unwrap();
            assert_eq!(list.as_array().unwrap().len(), 2);
            assert_eq!(list[1]["body"], "first");
            assert_eq!(list[0]["code"], "123456");
            assert!(!headers.contains_key("access-control-allow-origin"));
        }
        let (_, body) = get("/_conclave/inbox?to=%2B15550100", None).await;
        assert!(body.contains("SMS"));
    }

    #[tokio::test]
    async fn people_get_a_page_in_which_nothing_runs() {
        let browser = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";
        let (headers, body) = get("/_conclave/inbox?to=%22%3E%3Cimg%3E", Some(browser)).await;
        assert!(headers["content-type"].to_str().unwrap().starts_with("text/html"));
        assert!(
            headers["content-security-policy"].to_str().unwrap().contains("default-src 'none'")
        );
        assert!(!body.contains("<img>"));
        let (_, body) = get("/_conclave/inbox", Some(browser)).await;
        assert!(
            body.contains("&lt;script&gt;alert(1)&lt;/script&gt;") && !body.contains("<script>")
        );
    }
}
