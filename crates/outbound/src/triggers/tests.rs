//! The caller against a server that does what the test says, byte by byte.

use std::{
    collections::VecDeque,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};

use super::{
    settings::{SettingsError, matches},
    *,
};
use crate::clock::ManualClock;

const ARN: &str = "arn:aws:lambda:us-east-1:111122223333:function:hook";

/// What the server does with one request.
#[derive(Clone)]
pub(super) enum Does {
    /// It answers this.
    Says(String),
    /// It takes the request and says nothing.
    Waits,
    /// It hangs up.
    HangsUp,
}

pub(super) fn answer(status: &str, headers: &str, body: &str) -> Does {
    let length = body.len();
    Does::Says(format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\n{headers}\r\n{body}"))
}

pub(super) struct Server {
    pub address: SocketAddr,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Server {
    /// Does these things in turn, then the last one for ever.
    pub async fn start(script: &[Does]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
        let address = listener.local_addr().expect("has one");
        let requests = Arc::new(Mutex::new(Vec::new()));
        let (mut script, seen) = (VecDeque::from(script.to_vec()), Arc::clone(&requests));
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let does =
                    if script.len() > 1 { script.pop_front() } else { script.front().cloned() };
                let seen = Arc::clone(&seen);
                tokio::spawn(async move {
                    let request = read(&mut stream).await;
                    seen.lock().expect("is free").push(request);
                    match does.expect("there is something to do") {
                        Does::Says(text) => drop(stream.write_all(text.as_bytes()).await),
                        Does::Waits => std::future::pending().await,
                        Does::HangsUp => {}
                    }
                });
            }
        });
        Self { address, requests }
    }

    pub fn requests(&self) -> Vec<String> {
        self.requests.lock().expect("is free").clone()
    }
}

async fn read(stream: &mut tokio::net::TcpStream) -> String {
    let mut bytes = Vec::new();
    let mut chunk = [0; 4_096];
    loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
            if body.len() >= length.and_then(|length| length.parse().ok()).unwrap_or(0) {
                return text;
            }
        }
        match stream.read(&mut chunk).await {
            Ok(0) | Err(_) => return text,
            Ok(count) => bytes.extend_from_slice(&chunk[..count]),
        }
    }
}

pub(super) fn local() -> TriggerSettings {
    TriggerSettings {
        networks: vec!["127.0.0.0/8".parse().expect("is one")],
        allows_plain_http: true,
        timeout: Duration::from_millis(200),
        ..TriggerSettings::new()
    }
}

fn endpoint(url: String, functions: &[&str]) -> LambdaEndpoint {
    LambdaEndpoint {
        url,
        region: "us-east-1".to_owned(),
        access_key_id: "AKIDEXAMPLE".to_owned(),
        secret_access_key: "secret".to_owned(),
        functions: functions.iter().map(|pattern| (*pattern).to_owned()).collect(),
    }
}

fn caller(settings: TriggerSettings) -> Result<Caller, SettingsError> {
    // 2015-08-30T12:36:00Z
    Caller::new(settings, Arc::new(ManualClock::at(1_440_938_160_000)))
}

/// A call that does not wait for others.
pub(super) fn time() -> Time {
    Time { patience: Duration::ZERO, until: Instant::now() + Duration::from_secs(25) }
}

fn invocation(wait: Wait, time: Time) -> Invocation {
    Invocation {
        function: ARN.to_owned(),
        event: Bytes::from_static(b"{\"a\":1}"),
        id: "call-1".to_owned(),
        source: "PreSignUp_SignUp",
        wait,
        time,
    }
}

async fn invoke(settings: TriggerSettings) -> Result<Bytes, InvokeError> {
    let invocation = invocation(Wait::Answer, time());
    caller(settings).expect("can be used").invoke(invocation).await
}

async fn at(server: &Server) -> Result<Bytes, InvokeError> {
    let url = format!("http://{}", server.address);
    invoke(TriggerSettings { lambda: Some(endpoint(url, &["*"])), ..local() }).await
}

#[tokio::test]
async fn an_arn_is_called_by_the_invoke_api() {
    let server = Server::start(&[answer("200 OK", "", "{\"b\":2}")]).await;
    assert_eq!(at(&server).await.expect("answers"), "{\"b\":2}");
    let request = server.requests().remove(0).to_lowercase();
    let path = "/2015-03-31/functions/arn%3aaws%3alambda%3aus-east-1%3a111122223333%3afunction%3ahook/invocations";
    assert!(request.starts_with(&format!("post {path} http/1.1\r\n")), "{request}");
    for line in [
        format!("host: {}", server.address),
        "x-amz-invocation-type: requestresponse".to_owned(),
        "x-amz-date: 20150830t123600z".to_owned(),
        "conclave-invocation-id: call-1".to_owned(),
        "content-type: application/json".to_owned(),
    ] {
        assert!(request.contains(&format!("\r\n{line}\r\n")), "{line}");
    }
    assert!(request.contains("credential=akidexample/20150830/us-east-1/lambda/aws4_request"));
    assert!(request.ends_with("\r\n\r\n{\"a\":1}"));
}

#[tokio::test]
async fn a_call_that_nobody_waits_for_is_taken_over() {
    let server = Server::start(&[answer("202 Accepted", "", "")]).await;
    let url = format!("http://{}", server.address);
    let settings = TriggerSettings { lambda: Some(endpoint(url, &["*"])), ..local() };
    let invocation = invocation(Wait::TakenOver, time());
    let answer = caller(settings).expect("can be used").invoke(invocation).await;
    assert_eq!(answer, Ok(Bytes::new()));
    let request = server.requests().remove(0).to_lowercase();
    assert!(request.contains("\r\nx-amz-invocation-type: event\r\n"), "{request}");
}

/// By its status: a message that was taken over is neither an error nor sent again for what comes with it.
#[tokio::test]
async fn a_call_is_taken_over_whatever_comes_with_the_status() {
    let long = "x".repeat(600_000);
    let thrown = "x-amz-function-error: Unhandled\r\n";
    let stalls = "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n".to_owned();
    for (does, error) in [
        (answer("200 OK", "", &long), None),
        (answer("200 OK", thrown, "{\"errorMessage\":\"no\"}"), None),
        (Does::Says(stalls), None),
        (answer("404 Not Found", "", &long), Some(InvokeError::Refused("HTTP 404".to_owned()))),
        (answer("400 Bad Request", "", &long), Some(InvokeError::Failed("HTTP 400".to_owned()))),
    ] {
        let server = Server::start(&[does]).await;
        let url = format!("http://{}/", server.address);
        let hook = Webhook { arn: ARN.to_owned(), url, secret: "secret".to_owned() };
        let settings = TriggerSettings { webhooks: vec![hook], ..local() };
        let caller = caller(settings).expect("can be used");
        let answer = caller.invoke(invocation(Wait::TakenOver, time())).await;
        assert_eq!(answer.err(), error);
        assert_eq!(server.requests().len(), 1);
    }
}

/// Each of the 40 calls takes one of 2 places for a moment, and none is lost.
#[tokio::test]
async fn a_burst_of_calls_that_may_wait_waits() {
    let server = Server::start(&[answer("200 OK", "", "{}")]).await;
    let url = format!("http://{}", server.address);
    let settings = || TriggerSettings {
        lambda: Some(endpoint(url.clone(), &["*"])),
        concurrency: 8,
        timeout: Duration::from_secs(5),
        ..local()
    };
    let burst = async |patience: Duration| {
        let caller = Arc::new(caller(settings()).expect("can be used"));
        let time = Time { patience, ..time() };
        let mut calls = tokio::task::JoinSet::new();
        for _ in 0..40 {
            let caller = Arc::clone(&caller);
            calls.spawn(async move { caller.invoke(invocation(Wait::TakenOver, time)).await });
        }
        calls.join_all().await.into_iter().filter(Result::is_ok).count()
    };
    assert!(burst(Duration::ZERO).await < 40);
    assert_eq!(burst(Duration::from_secs(20)).await, 40);
}

#[tokio::test]
async fn all_tries_of_a_call_end_when_its_time_is_over() {
    let server = Server::start(&[Does::Waits]).await;
    let url = format!("http://{}", server.address);
    let settings = TriggerSettings { lambda: Some(endpoint(url, &["*"])), ..local() };
    let caller = caller(settings).expect("can be used");
    // in the middle of the second of three tries
    let until = Instant::now() + Duration::from_millis(350);
    let time = Time { patience: Duration::ZERO, until };
    let answer = caller.invoke(invocation(Wait::Answer, time)).await;
    assert_eq!(answer, Err(InvokeError::TimedOut));
    assert_eq!(server.requests().len(), 2);
    let over = Time { until: Instant::now(), ..time };
    let answer = caller.invoke(invocation(Wait::Answer, over)).await;
    assert_eq!(answer, Err(InvokeError::TimedOut));
}

/// The signature is that of botocore for the same request.
#[test]
fn an_invocation_is_signed_as_botocore_signs_it() {
    let signer = crate::aws::Signer {
        access_key_id: "AKIDEXAMPLE".to_owned(),
        secret_access_key: "secret".to_owned(),
        region: "us-east-1".to_owned(),
        service: "lambda",
    };
    let path = "/2015-03-31/functions/arn%253Aaws%253Alambda%253Aus-east-1%253A111122223333%253Afunction%253Ahook/invocations";
    let signed =
        signer.sign("127.0.0.1:4566", path, "application/json", "{\"a\":1}", 1_440_938_160_000);
    assert!(signed.authorization.ends_with(BOTOCORE), "{}", signed.authorization);
}

const BOTOCORE: &str = "Signature=88c016a5071e7c240a889cece7b4f96a20db2dfa1a2095d7c35bf2bd1f9f3aa0";

#[tokio::test]
async fn s55_an_answer_that_does_not_come_is_asked_for_three_times() {
    let server = Server::start(&[Does::Waits]).await;
    assert_eq!(at(&server).await, Err(InvokeError::TimedOut));
    assert_eq!(server.requests().len(), 3);
    let good = answer("200 OK", "", "{}");
    let server = Server::start(&[Does::Waits, Does::HangsUp, good.clone()]).await;
    assert_eq!(at(&server).await.expect("answers"), "{}");
    assert_eq!(server.requests().len(), 3);
    let throttled = answer("429 Too Many Requests", "", "{}");
    let broken = answer("503 Service Unavailable", "", "{}");
    let server = Server::start(&[throttled, broken, good]).await;
    assert_eq!(at(&server).await.expect("answers"), "{}");
}

#[tokio::test]
async fn s55_a_function_that_fails_or_is_refused_is_not_asked_again() {
    let thrown = |body| answer("200 OK", "x-amz-function-error: Unhandled\r\n", body);
    let denied = "x-amzn-errortype: AccessDeniedException:http://internal\r\n";
    let long = format!("{{\"errorMessage\":\"{}\"}}", "é".repeat(5_000));
    for (does, error) in [
        (
            thrown("{\"errorMessage\":\"no such luck\",\"errorType\":\"Error\"}"),
            InvokeError::Failed("no such luck".to_owned()),
        ),
        (thrown("nothing"), InvokeError::Failed("Unhandled".to_owned())),
        (thrown(&long), InvokeError::Failed("é".repeat(1_024))),
        (
            answer("403 Forbidden", denied, "{}"),
            InvokeError::Refused("AccessDeniedException".to_owned()),
        ),
        (answer("404 Not Found", "", ""), InvokeError::Refused("HTTP 404".to_owned())),
    ] {
        let server = Server::start(&[does]).await;
        assert_eq!(at(&server).await, Err(error));
        assert_eq!(server.requests().len(), 1);
    }
}

#[tokio::test]
async fn s55_a_redirect_is_not_followed() {
    let other = Server::start(&[answer("200 OK", "", "{}")]).await;
    for status in ["301 Moved Permanently", "302 Found", "307 Temporary Redirect"] {
        let location = format!("location: http://{}/\r\n", other.address);
        let server = Server::start(&[answer(status, &location, "")]).await;
        let code = status.split(' ').next().expect("has one");
        assert_eq!(at(&server).await, Err(InvokeError::Refused(format!("HTTP {code}"))));
    }
    assert!(other.requests().is_empty());
}

#[tokio::test]
async fn s55_an_answer_has_a_limit() {
    for headers in ["content-length: 9999\r\n", "transfer-encoding: chunked\r\n"] {
        let body = if headers.starts_with('c') {
            "x".repeat(9_999)
        } else {
            format!("270f\r\n{}\r\n0\r\n\r\n", "x".repeat(9_999))
        };
        let says = Does::Says(format!("HTTP/1.1 200 OK\r\n{headers}\r\n{body}"));
        let server = Server::start(&[says]).await;
        let url = format!("http://{}", server.address);
        let settings = TriggerSettings {
            lambda: Some(endpoint(url, &["*"])),
            answer_bytes_max: 9_998,
            ..local()
        };
        assert_eq!(invoke(settings).await, Err(InvokeError::TooLong));
        assert_eq!(server.requests().len(), 1);
    }
}

#[tokio::test]
async fn s55_calls_go_to_networks_that_are_open_and_nowhere_else() {
    let server = Server::start(&[answer("200 OK", "", "{}")]).await;
    // a name that leads to this machine, as one can that an attacker owns
    for host in ["127.0.0.1", "localhost"] {
        let url = format!("http://{host}:{}", server.address.port());
        let settings = TriggerSettings {
            lambda: Some(endpoint(url, &["*"])),
            networks: Vec::new(),
            ..local()
        };
        assert_eq!(invoke(settings).await, Err(InvokeError::NotAllowed));
    }
    assert!(server.requests().is_empty());
}

#[tokio::test]
async fn an_arn_leads_nowhere_that_the_operator_has_not_said() {
    assert_eq!(invoke(local()).await, Err(InvokeError::NotConfigured));
    let server = Server::start(&[answer("200 OK", "", "{}")]).await;
    let url = format!("http://{}", server.address);
    let others = ["arn:aws:lambda:us-east-1:444455556666:function:*"];
    let settings = TriggerSettings { lambda: Some(endpoint(url, &others)), ..local() };
    assert_eq!(invoke(settings).await, Err(InvokeError::NotConfigured));
    assert!(server.requests().is_empty());
}

#[tokio::test]
async fn a_webhook_is_signed_and_says_what_it_does_not_like() {
    let refuses = answer("400 Bad Request", "", "{\"errorMessage\":\"not you\"}");
    let server = Server::start(&[answer("200 OK", "", "{}"), refuses]).await;
    let hook = || Webhook {
        arn: ARN.to_owned(),
        url: format!("http://{}/hook?a=b", server.address),
        secret: "secret".to_owned(),
    };
    let settings = || TriggerSettings { webhooks: vec![hook()], ..local() };
    assert_eq!(invoke(settings()).await.expect("answers"), "{}");
    assert_eq!(invoke(settings()).await, Err(InvokeError::Failed("not you".to_owned())));
    let request = server.requests().remove(0);
    assert!(request.starts_with("POST /hook?a=b HTTP/1.1\r\n"), "{request}");
    assert!(request.contains("\r\nconclave-timestamp: 1440938160\r\n"));
    let signature = webhook::sign("secret", "1440938160", b"{\"a\":1}");
    assert!(request.contains(&format!("\r\nconclave-signature: {signature}\r\n")));
    let twice = TriggerSettings { webhooks: vec![hook(), hook()], ..local() };
    assert_eq!(caller(twice).err(), Some(SettingsError::Twice(ARN.to_owned())));
}

#[tokio::test]
async fn calls_under_way_have_a_limit() {
    let server = Server::start(&[Does::Waits]).await;
    let url = format!("http://{}", server.address);
    let settings = TriggerSettings {
        lambda: Some(endpoint(url, &["*"])),
        concurrency: 1,
        tries: 1,
        ..local()
    };
    let caller = Arc::new(caller(settings).expect("can be used"));
    let call = || caller.invoke(invocation(Wait::Answer, time()));
    let (first, second, third) = tokio::join!(call(), call(), call());
    let errors = [first, second, third].map(|answer| answer.expect_err("has no answer"));
    assert!(errors.contains(&InvokeError::TimedOut) && errors.contains(&InvokeError::Overloaded));
    let places = |function: &'static str| -> Vec<Place> {
        std::iter::from_fn(|| caller.reserve(function)).take(100).collect()
    };
    // four places in the queue, and each function has a quarter of them
    let kept: Vec<_> = ["a", "b", "c", "d", "e"].map(places).into_iter().flatten().collect();
    assert_eq!(kept.len(), 4);
    drop(kept);
    assert_eq!(places("a").len(), 1);
}

#[test]
fn what_leaves_the_machine_is_encrypted() {
    for (url, plain, good) in [
        ("https://hooks.example.com/a", false, true),
        ("http://127.0.0.1:4566", true, true),
        ("http://localhost:4566", true, true),
        ("http://[::1]:4566", true, true),
        ("http://127.0.0.1:4566", false, false),
        ("http://hooks.example.com", true, false),
        ("http://10.0.0.1", true, false),
        ("http://localhost@hooks.example.com", true, false),
        ("ftp://127.0.0.1", true, false),
        ("127.0.0.1", true, false),
        ("", true, false),
    ] {
        let settings = TriggerSettings {
            lambda: Some(endpoint(url.to_owned(), &["*"])),
            allows_plain_http: plain,
            ..TriggerSettings::new()
        };
        assert_eq!(caller(settings).is_ok(), good, "{url}");
    }
    for settings in [
        TriggerSettings { tries: 0, ..local() },
        TriggerSettings { concurrency: 0, ..local() },
        TriggerSettings { timeout: Duration::from_secs(21), ..local() },
        TriggerSettings { ca: Some(b"none".to_vec()), ..local() },
    ] {
        assert!(caller(settings).is_err());
    }
}

#[test]
fn a_star_stands_for_anything() {
    for (pattern, text, is_match) in [
        ("*", "a", true),
        ("a", "a", true),
        ("a", "ab", false),
        ("a*", "ab", true),
        ("*b", "ab", true),
        ("a*c*e", "abcde", true),
        ("a*c*e", "abde", false),
        ("a*a", "a", false),
        ("", "a", false),
    ] {
        assert_eq!(matches(pattern, text), is_match, "{pattern} {text}");
    }
}
