//! A page of one sentence, for links in mail.

use axum::body::Body;
use http::header::{self, HeaderName, HeaderValue};
use http::{Response, StatusCode};

use crate::html::escape;

/// A page that says something, and may have a button that sends the page's own address by POST.
#[derive(Default)]
pub struct LinkPage<'a> {
    pub title: &'static str,
    pub text: &'a str,
    pub button: Option<&'a str>,
}

impl LinkPage<'_> {
    pub fn response(&self, status: StatusCode) -> Response<Body> {
        let mut response = Response::new(Body::from(self.html()));
        *response.status_mut() = status;
        let policy = match self.button {
            Some(_) => {
                "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'"
            }
            None => {
                "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
            }
        };
        let headers = response.headers_mut();
        for (name, value) in [
            (header::CONTENT_TYPE, "text/html; charset=utf-8"),
            (header::CACHE_CONTROL, "no-store"),
            (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
            (header::CONTENT_SECURITY_POLICY, policy),
            // the address holds a code or a token
            (header::REFERRER_POLICY, "no-referrer"),
            (HeaderName::from_static("x-robots-tag"), "noindex"),
        ] {
            headers.insert(name, HeaderValue::from_static(value));
        }
        response
    }

    fn html(&self) -> String {
        let mut html =
            String::from("<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>");
        escape(self.title, &mut html);
        html.push_str("</title></head><body><p>");
        escape(self.text, &mut html);
        html.push_str("</p>");
        if let Some(button) = self.button {
            html.push_str("<form method=\"post\"><button>");
            escape(button, &mut html);
            html.push_str("</button></form>");
        }
        html.push_str("</body></html>");
        html
    }
}
