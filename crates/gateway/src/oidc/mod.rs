//! What a relying party reads of a pool without asking anybody: its keys and its endpoints.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::routing::get;
use conclave_crypto::mac;
use conclave_crypto::token::Jwks;
use http::header::{self, HeaderValue};
use http::{HeaderMap, Response, StatusCode};

/// Where a pool's endpoints are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IssuerMetadata {
    /// The `iss` of the pool's tokens, byte for byte.
    pub issuer: String,
    /// The origin of the pool's domain, such as `https://example.auth.example.com`, without a slash
    /// at the end; `None` while the pool has no domain, and then it has no OAuth endpoints.
    pub domain: Option<String>,
}

/// What a pool is could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("issuers cannot be read now: {0}")]
pub struct IssuersUnavailable(pub String);

/// Where pools' public parts are found.
#[async_trait::async_trait]
pub trait Issuers: Send + Sync {
    /// Every key that a verifier should accept; `None` where there is no such pool.
    ///
    /// # Errors
    /// When the pool cannot be read and no earlier answer can be used.
    async fn jwks(&self, pool_id: &str) -> Result<Option<Jwks>, IssuersUnavailable>;

    /// The pool's endpoints; `None` where there is no such pool.
    ///
    /// # Errors
    /// As above.
    async fn metadata(&self, pool_id: &str) -> Result<Option<IssuerMetadata>, IssuersUnavailable>;
}

#[derive(Clone)]
struct Shared {
    issuers: Arc<dyn Issuers>,
    cache_control: HeaderValue,
}

/// The two documents. `max_age` is how long others may keep them: a new signing key has to be
/// published for longer than that before it signs.
pub fn router(issuers: Arc<dyn Issuers>, max_age: Duration) -> Router {
    let cache_control = HeaderValue::try_from(format!("public, max-age={}", max_age.as_secs()))
        .unwrap_or_else(|_| HeaderValue::from_static("no-cache"));
    Router::new()
        .route("/{pool_id}/.well-known/jwks.json", get(jwks))
        .route("/{pool_id}/.well-known/openid-configuration", get(configuration))
        .with_state(Shared { issuers, cache_control })
}

async fn jwks(
    State(shared): State<Shared>,
    Path(pool_id): Path<String>,
    headers: HeaderMap,
) -> Response<Body> {
    if !is_pool_id(&pool_id) {
        return malformed();
    }
    match shared.issuers.jwks(&pool_id).await {
        Ok(Some(keys)) => document(&shared, &headers, &serde_json::json!(keys)),
        Ok(None) => unknown(&pool_id),
        Err(error) => unavailable(&error),
    }
}

async fn configuration(
    State(shared): State<Shared>,
    Path(pool_id): Path<String>,
    headers: HeaderMap,
) -> Response<Body> {
    if !is_pool_id(&pool_id) {
        return malformed();
    }
    match shared.issuers.metadata(&pool_id).await {
        Ok(Some(metadata)) => document(&shared, &headers, &discovery(&metadata)),
        Ok(None) => unknown(&pool_id),
        Err(error) => unavailable(&error),
    }
}

/// The members that Cognito has, in its order; those of the OAuth endpoints only where there are
/// any.
fn discovery(metadata: &IssuerMetadata) -> serde_json::Value {
    let mut members = serde_json::Map::new();
    let mut put = |name: &str, value: serde_json::Value| {
        members.insert(name.to_owned(), value);
    };
    let endpoint = |path: &str| metadata.domain.as_ref().map(|domain| format!("{domain}{path}"));
    if let Some(url) = endpoint("/oauth2/authorize") {
        put("authorization_endpoint", url.into());
    }
    if let Some(url) = endpoint("/logout") {
        put("end_session_endpoint", url.into());
    }
    put("id_token_signing_alg_values_supported", serde_json::json!(["RS256"]));
    put("issuer", metadata.issuer.clone().into());
    put("jwks_uri", format!("{}/.well-known/jwks.json", metadata.issuer).into());
    put("response_types_supported", serde_json::json!(["code", "token"]));
    if let Some(url) = endpoint("/oauth2/revoke") {
        put("revocation_endpoint", url.into());
    }
    put("scopes_supported", serde_json::json!(["openid", "email", "phone", "profile"]));
    put("subject_types_supported", serde_json::json!(["public"]));
    if let Some(url) = endpoint("/oauth2/token") {
        put("token_endpoint", url.into());
        put(
            "token_endpoint_auth_methods_supported",
            serde_json::json!(["client_secret_basic", "client_secret_post"]),
        );
    }
    if let Some(url) = endpoint("/oauth2/userInfo") {
        put("userinfo_endpoint", url.into());
    }
    serde_json::Value::Object(members)
}

/// `region_id`: checked before anything is looked up, so that a path that is no pool costs nothing.
pub(crate) fn is_pool_id(text: &str) -> bool {
    text.len() <= 55
        && text.rsplit_once('_').is_some_and(|(region, id)| {
            !region.is_empty()
                && !id.is_empty()
                && region
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
                && id.bytes().all(|byte| byte.is_ascii_alphanumeric())
        })
}

fn document(shared: &Shared, asked: &HeaderMap, value: &serde_json::Value) -> Response<Body> {
    let body = value.to_string();
    let digest = mac::sha256(&[body.as_bytes()]);
    let etag = format!("\"{}\"", hex::encode(digest.get(..16).unwrap_or_default()));
    let known = asked
        .get_all(header::IF_NONE_MATCH)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|tag| matches!(tag.trim().trim_start_matches("W/"), tag if tag == etag || tag == "*"));
    let mut response = if known {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        response
    } else {
        json(StatusCode::OK, body)
    };
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, shared.cache_control.clone());
    if let Ok(etag) = HeaderValue::try_from(etag) {
        headers.insert(header::ETAG, etag);
    }
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    response
}

fn json(status: StatusCode, body: String) -> Response<Body> {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    response
}

fn refusal(status: StatusCode, message: &str) -> Response<Body> {
    let mut response = json(status, serde_json::json!({ "message": message }).to_string());
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

fn unknown(pool_id: &str) -> Response<Body> {
    refusal(StatusCode::NOT_FOUND, &format!("User pool {pool_id} does not exist."))
}

fn malformed() -> Response<Body> {
    refusal(StatusCode::BAD_REQUEST, "UserPoolId is not in the format of region_id.")
}

fn unavailable(error: &IssuersUnavailable) -> Response<Body> {
    tracing::warn!(%error, "a pool's public documents cannot be served");
    let mut response =
        refusal(StatusCode::SERVICE_UNAVAILABLE, "Service is unable to handle request.");
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    response
}

#[cfg(test)]
mod tests {
    use conclave_crypto::token::Jwk;
    use http::Request;
    use http_body_util::BodyExt as _;
    use tower::ServiceExt as _;

    use super::*;

    struct Fake;

    #[async_trait::async_trait]
    impl Issuers for Fake {
        async fn jwks(&self, pool_id: &str) -> Result<Option<Jwks>, IssuersUnavailable> {
            let key = |kid: &str| Jwk {
                alg: "RS256".into(),
                e: "AQAB".into(),
                kid: kid.into(),
                kty: "RSA".into(),
                n: "n".into(),
                usage: "sig".into(),
            };
            match pool_id {
                "eu-west-1_EXAMPLE00" => Ok(Some(Jwks { keys: vec![key("id="), key("access=")] })),
                "eu-west-1_DOWN00000" => Err(IssuersUnavailable("no leader".into())),
                _ => Ok(None),
            }
        }

        async fn metadata(
            &self,
            pool_id: &str,
        ) -> Result<Option<IssuerMetadata>, IssuersUnavailable> {
            let issuer = format!("https://id.example.com/{pool_id}");
            match pool_id {
                "eu-west-1_EXAMPLE00" => Ok(Some(IssuerMetadata {
                    issuer,
                    domain: Some("https://auth.example.com".into()),
                })),
                "eu-west-1_NODOMAIN0" => Ok(Some(IssuerMetadata { issuer, domain: None })),
                _ => Ok(None),
            }
        }
    }

    async fn get(path: &str, if_none_match: Option<&str>) -> (StatusCode, HeaderMap, String) {
        let mut request = Request::get(path);
        if let Some(tag) = if_none_match {
            request = request.header("if-none-match", tag);
        }
        let service = router(Arc::new(Fake), Duration::from_secs(300));
        let response = service.oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        (parts.status, parts.headers, String::from_utf8(body.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn the_key_set_is_cacheable_and_readable_from_browsers() {
        let (status, headers, body) = get("/eu-west-1_EXAMPLE00/.well-known/jwks.json", None).await;
        assert_eq!(status, StatusCode::OK);
        assert_eq!(
            body,
            r#"{"keys":[{"alg":"RS256","e":"AQAB","kid":"id=","kty":"RSA","n":"n","use":"sig"},{"alg":"RS256","e":"AQAB","kid":"access=","kty":"RSA","n":"n","use":"sig"}]}"#
        );
        assert_eq!(headers["cache-control"], "public, max-age=300");
        assert_eq!(headers["access-control-allow-origin"], "*");
        assert_eq!(headers["content-type"], "application/json");
        let etag = headers["etag"].to_str().unwrap().to_owned();
        let (status, headers, body) =
            get("/eu-west-1_EXAMPLE00/.well-known/jwks.json", Some(&etag)).await;
        assert_eq!((status, body.as_str()), (StatusCode::NOT_MODIFIED, ""));
        assert_eq!(headers["etag"], etag.as_str());
    }

    #[tokio::test]
    async fn the_configuration_has_cognito_s_members() {
        let (_, _, body) = get("/eu-west-1_EXAMPLE00/.well-known/openid-configuration", None).await;
        let expected = concat!(
            r#"{"authorization_endpoint":"https://auth.example.com/oauth2/authorize","#,
            r#""end_session_endpoint":"https://auth.example.com/logout","#,
            r#""id_token_signing_alg_values_supported":["RS256"],"#,
            r#""issuer":"https://id.example.com/eu-west-1_EXAMPLE00","#,
            r#""jwks_uri":"https://id.example.com/eu-west-1_EXAMPLE00/.well-known/jwks.json","#,
            r#""response_types_supported":["code","token"],"#,
            r#""revocation_endpoint":"https://auth.example.com/oauth2/revoke","#,
            r#""scopes_supported":["openid","email","phone","profile"],"subject_types_supported":["public"],"#,
            r#""token_endpoint":"https://auth.example.com/oauth2/token","#,
            r#""token_endpoint_auth_methods_supported":["client_secret_basic","client_secret_post"],"#,
            r#""userinfo_endpoint":"https://auth.example.com/oauth2/userInfo"}"#
        );
        assert_eq!(body, expected);
        let (_, _, body) = get("/eu-west-1_NODOMAIN0/.well-known/openid-configuration", None).await;
        assert!(!body.contains("oauth2") && body.contains("jwks_uri"));
    }

    #[tokio::test]
    async fn what_is_no_pool_is_not_found_and_what_cannot_be_read_can_be_tried_again() {
        for document in ["jwks.json", "openid-configuration"] {
            let (status, ..) =
                get(&format!("/eu-west-1_UNKNOWN00/.well-known/{document}"), None).await;
            assert_eq!(status, StatusCode::NOT_FOUND);
            let (status, ..) = get(&format!("/no%3Cpool/.well-known/{document}"), None).await;
            assert_eq!(status, StatusCode::BAD_REQUEST);
        }
        let (status, headers, _) = get("/eu-west-1_DOWN00000/.well-known/jwks.json", None).await;
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(headers["retry-after"], "1");
        assert_eq!(headers["cache-control"], "no-store");
    }
}
