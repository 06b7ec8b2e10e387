//! The HTTP floor: a hyper server that reads a JSON request and answers a fixed one. What a request
//! costs beyond it is our own doing. It runs as a process of its own, so that its processor time
//! can be told from the load generator's.

use std::{
    convert::Infallible,
    io::{BufRead, BufReader, Write, stdout},
    net::SocketAddr,
    process::{Child, Command, Stdio},
};

use anyhow::{Context, Result};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{Request, Response, body::Incoming, header, service::service_fn};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpListener;

/// The subcommand under which this binary is the floor.
pub const COMMAND: &str = "floor";

/// About what GetUser answers.
const ANSWER: &str = r#"{"Username":"user-000001","UserAttributes":[{"Name":"email","Value":"user-000001@example.com"},{"Name":"email_verified","Value":"true"},{"Name":"sub","Value":"6f1c1f0a-9f6e-4a53-a7e5-0d6a7b1f2c3d"}]}"#;

/// Serves until the process is ended; prints its address first.
pub async fn serve() -> Result<()> {
    let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await?;
    let mut out = stdout();
    writeln!(out, "{}", listener.local_addr()?)?;
    out.flush()?;
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        tokio::spawn(async move {
            let connection = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service_fn(answer));
            // a client that goes away is no failure of the floor
            let _ = connection.await;
        });
    }
}

async fn answer(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let body = request.into_body().collect().await.map(http_body_util::Collected::to_bytes);
    let read = body.ok().and_then(|body| serde_json::from_slice::<Value>(&body).ok());
    let mut response = Response::new(Full::new(Bytes::from_static(ANSWER.as_bytes())));
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        header::HeaderValue::from_static("application/x-amz-json-1.1"),
    );
    if read.is_none() {
        *response.status_mut() = hyper::StatusCode::BAD_REQUEST;
    }
    Ok(response)
}

/// The floor as a child; ends when dropped.
pub struct Floor {
    child: Child,
    /// `host:port`
    pub authority: String,
}

impl Floor {
    /// Starts it and reads where it listens.
    pub fn start() -> Result<Self> {
        let program = std::env::current_exe()?;
        let child = Command::new(program).arg(COMMAND).stdout(Stdio::piped()).spawn()?;
        let mut floor = Self { child, authority: String::new() };
        let out = floor.child.stdout.take().context("the floor has no output")?;
        BufReader::new(out).read_line(&mut floor.authority)?;
        floor.authority = floor.authority.trim().to_owned();
        floor.authority.parse::<SocketAddr>().context("the floor did not start")?;
        Ok(floor)
    }

    /// The process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Floor {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
