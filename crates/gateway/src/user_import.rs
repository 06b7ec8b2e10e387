//! The link of a user import job: `PUT` uploads the file, `GET` reads what became of its rows. Whoever has the
//! link may; it is not signed beyond that, like a pre-signed link of S3, whose errors it answers with.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::routing;
use bytes::Bytes;
use futures::{Stream, StreamExt as _, stream};
use http::header::{self, HeaderName, HeaderValue};
use http::{HeaderMap, Response, StatusCode};
use http_body_util::BodyExt as _;
use hyper::body::Body as _;
use tokio::sync::Semaphore;

/// Files that come in at once: each of them goes through the log of a group.
const UPLOADS_AT_ONCE: usize = 2;
/// How long a file may pause.
const IDLE_MAX: Duration = Duration::from_secs(30);
/// Bytes that are still read of a file that has been refused, at most.
const DRAINED_BYTES_MAX: usize = 128 << 20;
/// What clients of S3 say of how the file is to be kept.
const ENCRYPTION: HeaderName = HeaderName::from_static("x-amz-server-side-encryption");

/// A link, as it has arrived: nothing of it has been checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// From the path.
    pub pool_id: String,
    /// From the path.
    pub job_id: String,
    /// Seconds since 1970.
    pub expires_s: i64,
    /// Over all of the above.
    pub signature: String,
}

/// Why what came through a link was not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The HTTP status.
    pub status: u16,
    /// What S3 calls it.
    pub code: &'static str,
    /// For people.
    pub message: String,
}

/// The body ended too early, or paused for too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cut;

/// Parts of a file as they arrive.
pub type Parts = stream::BoxStream<'static, Result<Bytes, Cut>>;

/// Where links lead.
#[async_trait::async_trait]
pub trait UserImports: Send + Sync {
    /// The path under which links lie, without pool and job.
    fn path(&self) -> &'static str;

    /// The most bytes that a file may have.
    fn file_bytes_max(&self) -> u64;

    /// Takes a file.
    ///
    /// # Errors
    /// Why it was not taken; nothing of it is kept then.
    async fn upload(&self, link: Link, parts: &mut Parts) -> Result<(), Refusal>;

    /// The report of the job, as text.
    ///
    /// # Errors
    /// Why it cannot be read.
    async fn report(&self, link: Link) -> Result<String, Refusal>;
}

#[derive(Clone)]
struct Shared {
    imports: Arc<dyn UserImports>,
    uploads: Arc<Semaphore>,
}

#[derive(serde::Deserialize)]
struct Signature {
    expires: Option<i64>,
    signature: Option<String>,
}

/// `PUT` and `GET` of every job's link.
pub fn router(imports: Arc<dyn UserImports>) -> Router {
    let path = format!("{}/{{pool_id}}/{{job_id}}", imports.path());
    let shared = Shared { imports, uploads: Arc::new(Semaphore::new(UPLOADS_AT_ONCE)) };
    Router::new().route(&path, routing::put(upload).get(report)).with_state(shared)
}

fn link(pool_id: String, job_id: String, signature: Signature) -> Result<Link, Refusal> {
    match (signature.expires, signature.signature) {
        (Some(expires_s), Some(signature)) => Ok(Link { pool_id, job_id, expires_s, signature }),
        _ => Err(Refusal {
            status: 403,
            code: "AccessDenied",
            message: "The link has no signature.".to_owned(),
        }),
    }
}

async fn upload(
    State(shared): State<Shared>,
    Path((pool_id, job_id)): Path<(String, String)>,
    Query(signature): Query<Signature>,
    headers: HeaderMap,
    body: Body,
) -> Response<Body> {
    let announced = body.size_hint().exact();
    // fused: what has come to its end may be asked again
    let mut parts = parts(body, announced).fuse().boxed();
    let taken = async {
        let link = link(pool_id, job_id, signature)?;
        let encryption = check_encryption(&headers)?;
        if announced.is_some_and(|bytes| bytes > shared.imports.file_bytes_max()) {
            return Err(too_large());
        }
        let _place = shared.uploads.try_acquire().map_err(|_| Refusal {
            status: 503,
            code: "SlowDown",
            message: "Too many files are uploaded at present, please try again.".to_owned(),
        })?;
        shared.imports.upload(link, &mut parts).await?;
        Ok(encryption)
    };
    match taken.await {
        Ok(encryption) => {
            let mut response = Response::new(Body::empty());
            if let Some(encryption) = encryption {
                response.headers_mut().insert(ENCRYPTION, encryption);
            }
            response
        }
        Err(refusal) => {
            let is_read = drain(parts).await;
            let mut response = refuse(&refusal);
            if !is_read {
                let close = HeaderValue::from_static("close");
                response.headers_mut().insert(header::CONNECTION, close);
            }
            response
        }
    }
}

/// Reads what is still on its way: a client that is cut off while it sends does not see the answer. Answers
/// whether all was read.
async fn drain(mut parts: Parts) -> bool {
    let read = async {
        let mut bytes = 0;
        while let Some(part) = parts.next().await {
            match part {
                Ok(part) if bytes < DRAINED_BYTES_MAX => bytes += part.len(),
                _ => return false,
            }
        }
        true
    };
    tokio::time::timeout(IDLE_MAX, read).await.unwrap_or(false)
}

/// Every file is sealed, whatever the client says of it; what it may say is what S3 knows.
fn check_encryption(headers: &HeaderMap) -> Result<Option<HeaderValue>, Refusal> {
    match headers.get(&ENCRYPTION) {
        None => Ok(None),
        Some(value) if value == "aws:kms" || value == "AES256" => Ok(Some(value.clone())),
        Some(_) => Err(Refusal {
            status: 400,
            code: "InvalidArgument",
            message: "The encryption method specified is not supported.".to_owned(),
        }),
    }
}

fn too_large() -> Refusal {
    Refusal {
        status: 400,
        code: "EntityTooLarge",
        message: "The file has more than 100 MB.".to_owned(),
    }
}

/// The parts of a body. One that announced its length and ends before is cut, as is one that pauses.
fn parts(body: Body, announced: Option<u64>) -> impl Stream<Item = Result<Bytes, Cut>> + Send {
    stream::unfold(Some((body, 0)), move |state| async move {
        let (mut body, arrived) = state?;
        loop {
            let frame = match tokio::time::timeout(IDLE_MAX, body.frame()).await {
                Ok(Some(Ok(frame))) => frame,
                Ok(None) if announced.is_none_or(|announced| announced == arrived) => return None,
                Ok(None | Some(Err(_))) | Err(_) => return Some((Err(Cut), None)),
            };
            if let Ok(data) = frame.into_data() {
                let arrived = arrived + data.len() as u64;
                return Some((Ok(data), Some((body, arrived))));
            }
        }
    })
}

async fn report(
    State(shared): State<Shared>,
    Path((pool_id, job_id)): Path<(String, String)>,
    Query(signature): Query<Signature>,
) -> Response<Body> {
    let read = async {
        let link = link(pool_id, job_id, signature)?;
        shared.imports.report(link).await
    };
    match read.await {
        Ok(text) => {
            let mut response = Response::new(Body::from(text));
            let headers = response.headers_mut();
            let plain = HeaderValue::from_static("text/plain; charset=utf-8");
            headers.insert(header::CONTENT_TYPE, plain);
            headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
            headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
            response
        }
        Err(refusal) => refuse(&refusal),
    }
}

fn refuse(refusal: &Refusal) -> Response<Body> {
    // neither holds anything that came from outside
    let Refusal { status, code, message } = refusal;
    let body = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>{code}</Code><Message>{message}</Message></Error>"
    );
    let mut response = Response::new(Body::from(body));
    *response.status_mut() =
        StatusCode::from_u16(*status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/xml"));
    if *status == 503 {
        headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    }
    response
}

#[cfg(test)]
mod tests {
    use http::Request;
    use tower::ServiceExt as _;

    use super::*;

    /// Keeps what is uploaded.
    #[derive(Default)]
    struct Kept(parking_lot::Mutex<Vec<Result<Vec<u8>, Cut>>>);

    #[async_trait::async_trait]
    impl UserImports for Kept {
        fn path(&self) -> &'static str {
            "/imports"
        }

        fn file_bytes_max(&self) -> u64 {
            10
        }

        async fn upload(&self, link: Link, parts: &mut Parts) -> Result<(), Refusal> {
            assert_eq!((link.pool_id.as_str(), link.job_id.as_str()), ("pool", "job"));
            let mut file = Vec::new();
            let mut whole = Ok(());
            while let Some(part) = parts.next().await {
                match part {
                    Ok(part) => file.extend_from_slice(&part),
                    Err(cut) => whole = Err(cut),
                }
            }
            self.0.lock().push(whole.map(|()| file));
            Ok(())
        }

        async fn report(&self, link: Link) -> Result<String, Refusal> {
            Ok(link.signature)
        }
    }

    async fn send(kept: &Arc<Kept>, request: Request<Body>) -> (StatusCode, String) {
        let response = router(kept.clone()).oneshot(request).await.unwrap();
        let status = response.status();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    fn put() -> http::request::Builder {
        Request::put("/imports/pool/job?expires=5&signature=abc")
    }

    #[tokio::test]
    async fn a_file_is_passed_on_part_by_part() {
        let kept = Arc::new(Kept::default());
        let parts =
            stream::iter(["ab", "cd"].map(|part| Ok::<_, std::io::Error>(Bytes::from(part))));
        let request = put().body(Body::from_stream(parts)).unwrap();
        assert_eq!(send(&kept, request).await.0, StatusCode::OK);
        assert_eq!(kept.0.lock().pop(), Some(Ok(b"abcd".to_vec())));
    }

    #[tokio::test]
    async fn a_body_that_breaks_off_is_cut() {
        let kept = Arc::new(Kept::default());
        let broken = || std::io::Error::other("reset");
        let parts = stream::iter([Ok(Bytes::from("ab")), Err(broken())]);
        let request = put().body(Body::from_stream(parts)).unwrap();
        send(&kept, request).await;
        assert_eq!(kept.0.lock().pop(), Some(Err(Cut)));
    }

    #[tokio::test]
    async fn what_is_announced_to_be_too_large_is_not_read() {
        let kept = Arc::new(Kept::default());
        let request = put().body(Body::from("a".repeat(11))).unwrap();
        let (status, body) = send(&kept, request).await;
        assert_eq!(status, StatusCode::BAD_REQUEST);
        assert!(body.contains("<Code>EntityTooLarge</Code>"));
        assert!(kept.0.lock().is_empty());
    }

    #[tokio::test]
    async fn links_without_a_signature_and_unknown_encryption_are_refused() {
        let kept = Arc::new(Kept::default());
        for path in
            ["/imports/pool/job", "/imports/pool/job?expires=5", "/imports/pool/job?signature=a"]
        {
            let request = Request::put(path).body(Body::from("a")).unwrap();
            assert_eq!(send(&kept, request).await.0, StatusCode::FORBIDDEN, "{path}");
        }
        for (method, expected) in [
            ("aws:kms", StatusCode::OK),
            ("AES256", StatusCode::OK),
            ("rot13", StatusCode::BAD_REQUEST),
        ] {
            let request = put().header(ENCRYPTION, method).body(Body::from("a"));
            assert_eq!(send(&kept, request.unwrap()).await.0, expected, "{method}");
        }
    }

    #[tokio::test]
    async fn the_report_is_text_that_nothing_keeps() {
        let kept = Arc::new(Kept::default());
        let request = Request::get("/imports/pool/job?expires=5&signature=abc");
        let response = router(kept).oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
        assert_eq!(response.headers()["content-type"], "text/plain; charset=utf-8");
        assert_eq!(response.headers()["cache-control"], "no-store");
    }
}
