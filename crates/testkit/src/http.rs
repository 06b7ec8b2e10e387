//! An HTTP/1.1 client that costs little: one connection, kept open, one request at a time.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time,
};

/// Longer than any answer of a server that works.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);
const HEAD_LEN_MAX: usize = 64 * 1024;
const BODY_LEN_MAX: usize = 4 * 1024 * 1024;

/// One connection.
pub struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

/// What came back.
pub struct Answer {
    pub status: u16,
    pub body: Vec<u8>,
}

impl Connection {
    /// Connects to `host:port`.
    pub async fn open(authority: &str) -> Result<Self> {
        let stream = TcpStream::connect(authority)
            .await
            .with_context(|| format!("cannot connect to {authority}"))?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, buffer: Vec::with_capacity(16 * 1024) })
    }

    /// Sends a whole request and waits for the whole answer.
    pub async fn send(&mut self, request: &[u8]) -> Result<Answer> {
        time::timeout(ANSWER_WITHIN, self.exchange(request)).await.context("no answer in time")?
    }

    async fn exchange(&mut self, request: &[u8]) -> Result<Answer> {
        self.stream.write_all(request).await?;
        self.buffer.clear();
        let head_len = loop {
            if let Some(at) = self.buffer.windows(4).position(|w| w == b"\r\n\r\n") {
                break at + 4;
            }
            ensure!(self.buffer.len() < HEAD_LEN_MAX, "the head of the answer is too long");
            self.read_more().await?;
        };
        let head = parse_head(&self.buffer[..head_len])?;
        while self.buffer.len() < head_len + head.body_len {
            self.read_more().await?;
        }
        let body = self.buffer.split_off(head_len);
        ensure!(body.len() == head.body_len, "more came than was announced");
        Ok(Answer { status: head.status, body })
    }

    async fn read_more(&mut self) -> Result<()> {
        let read = self.stream.read_buf(&mut self.buffer).await?;
        ensure!(read > 0, "the server closed the connection");
        Ok(())
    }
}

struct Head {
    status: u16,
    body_len: usize,
}

fn parse_head(head: &[u8]) -> Result<Head> {
    let head = std::str::from_utf8(head).context("the head of the answer is not text")?;
    let mut lines = head.split("\r\n");
    let status = lines.next().and_then(|l| l.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok());
    let status = status.context("not an HTTP/1.1 answer")?;
    let mut body_len = None;
    for line in lines {
        let Some((name, value)) = line.split_once(':') else { continue };
        if name.eq_ignore_ascii_case("content-length") {
            body_len = Some(value.trim().parse::<usize>()?);
        } else if name.eq_ignore_ascii_case("transfer-encoding") {
            bail!("a body without a length");
        }
    }
    let body_len = body_len.context("a body without a length")?;
    ensure!(body_len <= BODY_LEN_MAX, "the body of the answer is too long");
    Ok(Head { status, body_len })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_head_of_an_answer_says_its_status_and_length() {
        let head = parse_head(b"HTTP/1.1 400 Bad Request\r\nX: y\r\nContent-Length: 12\r\n\r\n");
        let head = head.unwrap();
        assert_eq!((head.status, head.body_len), (400, 12));
    }

    #[test]
    fn an_answer_whose_end_is_unknown_is_refused() {
        assert!(parse_head(b"HTTP/1.1 200 OK\r\n\r\n").is_err());
        assert!(parse_head(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").is_err());
        assert!(parse_head(b"HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n").is_err());
    }
}
