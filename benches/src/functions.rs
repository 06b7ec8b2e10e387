//! The functions of a pool with custom challenges, as a web server in the load generator: one challenge, and any
//! answer to it is right.

use std::{convert::Infallible, net::SocketAddr};

use anyhow::Result;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{Request, Response, StatusCode, body::Incoming, service::service_fn};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;

/// Serves until the program ends. Answers where.
pub async fn serve() -> Result<SocketAddr> {
    let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let connection = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service_fn(answer));
                // a server that goes away is found by its own callers
                let _ = connection.await;
            });
        }
    });
    Ok(address)
}

async fn answer(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let body = request.into_body().collect().await.map(http_body_util::Collected::to_bytes);
    let event = body.ok().and_then(|body| serde_json::from_slice::<Value>(&body).ok());
    let mut response = Response::new(Full::default());
    match event.map(decide) {
        Some(event) => *response.body_mut() = Full::new(event.to_string().into()),
        None => *response.status_mut() = StatusCode::BAD_REQUEST,
    }
    Ok(response)
}

fn decide(mut event: Value) -> Value {
    let source = event.get("triggerSource").and_then(Value::as_str).unwrap_or_default();
    let is_answered =
        event.pointer("/request/session/0/challengeResult").and_then(Value::as_bool) == Some(true);
    let response = match source.split('_').next() {
        Some("DefineAuthChallenge") if is_answered => {
            json!({ "issueTokens": true, "failAuthentication": false })
        }
        Some("DefineAuthChallenge") => json!({
            "challengeName": "CUSTOM_CHALLENGE", "issueTokens": false, "failAuthentication": false,
        }),
        Some("CreateAuthChallenge") => json!({
            "publicChallengeParameters": { "question": "which one" },
            "privateChallengeParameters": { "answer": "this one" },
        }),
        _ => json!({ "answerCorrect": true }),
    };
    if let Some(event) = event.as_object_mut() {
        event.insert("response".to_owned(), response);
    }
    event
}
