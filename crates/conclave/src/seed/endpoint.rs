//! `POST /_conclave/seed`: the door for a seed into a running `conclave dev`. Routed there only: whoever reaches a developer's server
//! has all of it anyway, and reads its inbox. A page that a developer happens to visit does not get in: browsers ask before they send these
//! media types to another origin, and are not answered.

use std::{sync::Arc, time::Duration};

use anyhow::{Context, Result, bail};
use axum::{
    Router,
    body::{Body, Bytes},
    extract::{DefaultBodyLimit, State},
    response::Response,
    routing::post,
};
use conclave_identity::world::World;
use serde_json::{Value as Json, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    sync::Mutex,
    time::timeout,
};

use super::{
    Report, SeedError, SeedErrors, apply,
    file::{BYTES_MAX, Format, Seed},
};

const PATH: &str = "/_conclave/seed";
/// A long seed hashes many passwords.
const ANSWER_WITHIN: Duration = Duration::from_secs(600);
/// No answer is longer.
const ANSWER_BYTES_MAX: u64 = 16 << 20;

struct Door {
    world: Arc<World>,
    /// One seed after the other.
    turn: Mutex<()>,
}

/// The route.
pub fn router(world: Arc<World>) -> Router {
    let door = Arc::new(Door { world, turn: Mutex::default() });
    let limit = DefaultBodyLimit::max(BYTES_MAX);
    Router::new().route(PATH, post(receive)).layer(limit).with_state(door)
}

async fn receive(
    State(door): State<Arc<Door>>,
    headers: axum::http::HeaderMap,
    body: Bytes,
) -> Response {
    let content_type = headers.get("content-type").and_then(|value| value.to_str().ok());
    let media_type = content_type.map(|value| value.split(';').next().unwrap_or_default().trim());
    let formats = [Format::Toml, Format::Json];
    let format = formats.into_iter().find(|format| media_type == Some(format.media_type()));
    let Some(format) = format else {
        return answer(415, &json!({ "message": "send application/toml or application/json" }));
    };
    let Ok(text) = std::str::from_utf8(&body) else {
        return answer(400, &json!({ "message": "the seed is not UTF-8" }));
    };
    let seed = match Seed::parse(text, format, None) {
        Ok(seed) => seed,
        Err(errors) => return refusal(&errors),
    };
    let _turn = door.turn.lock().await;
    match apply(&door.world, &seed).await {
        Ok(report) => answer(200, &json!(report)),
        Err(errors) => refusal(&errors),
    }
}

fn refusal(errors: &SeedErrors) -> Response {
    let errors = errors.errors.iter();
    let errors = errors.map(|error| json!({ "line": error.line, "message": error.text }));
    answer(400, &json!({ "errors": Json::from_iter(errors) }))
}

fn answer(status: u16, body: &Json) -> Response {
    let response = Response::builder()
        .status(status)
        .header("content-type", "application/json")
        .header("cache-control", "no-store")
        .header("x-content-type-options", "nosniff")
        .body(Body::from(body.to_string()));
    response.unwrap_or_default()
}

/// What the door has answered.
pub enum Answer {
    Done(Report),
    Refused(SeedErrors),
}

impl SeedErrors {
    /// The same, of a file.
    pub fn named(self, name: String) -> Self {
        Self { name: Some(name), ..self }
    }
}

/// One request, and its status and body.
async fn exchange(authority: &str, format: Format, text: &str) -> Result<(u16, Vec<u8>)> {
    let mut stream = TcpStream::connect(authority).await?;
    let head = format!(
        "POST {PATH} HTTP/1.1\r\nhost: {authority}\r\ncontent-type: {}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        format.media_type(),
        text.len()
    );
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(text.as_bytes()).await?;
    let mut received = Vec::new();
    stream.take(ANSWER_BYTES_MAX).read_to_end(&mut received).await?;
    let end = received.windows(4).position(|window| window == b"\r\n\r\n");
    let end = end.context("the answer is no HTTP")?;
    let head = String::from_utf8_lossy(received.get(..end).unwrap_or_default()).into_owned();
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    let body = received.get(end + 4..).unwrap_or_default().to_vec();
    Ok((status.context("the answer has no status")?, body))
}

/// Sends a seed to a running `conclave dev`, and understands the answer.
pub async fn send(endpoint: &str, format: Format, text: &str) -> Result<Answer> {
    let Some(authority) = endpoint.trim_end_matches('/').strip_prefix("http://") else {
        bail!(
            "--endpoint begins with http://. With --tls, use curl --cacert: POST {PATH}, {}",
            format.media_type()
        );
    };
    let authority = match authority.rsplit_once(':') {
        Some((_, port)) if port.parse::<u16>().is_ok() => authority.to_owned(),
        _ => format!("{authority}:80"),
    };
    let sent = timeout(ANSWER_WITHIN, exchange(&authority, format, text)).await;
    let (status, body) = sent
        .context("no answer in time")?
        .with_context(|| format!("{endpoint} cannot be asked"))?;
    let body: Json = serde_json::from_slice(&body).unwrap_or_default();
    match status {
        200 => Ok(Answer::Done(serde_json::from_value(body).context("the answer is no report")?)),
        404 | 405 => bail!("{endpoint} takes no seeds: it is no conclave dev"),
        _ => {
            let errors = body["errors"].as_array().cloned().unwrap_or_default();
            let error = |error: &Json| {
                let line = error["line"].as_u64().and_then(|line| usize::try_from(line).ok())?;
                Some(SeedError::at(line, error["message"].as_str()?))
            };
            let errors: Vec<_> = errors.iter().filter_map(error).collect();
            if errors.is_empty() {
                bail!("{endpoint} answered {status}: {}", body["message"].as_str().unwrap_or(""));
            }
            Ok(Answer::Refused(SeedErrors { name: None, errors }))
        }
    }
}
