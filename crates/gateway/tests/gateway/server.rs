//! Connections: both HTTP versions on one port, limits against slow and silent clients, draining.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use conclave_api::{SERVICE_NAME, types};
use conclave_gateway::server::{Drained, Options, TlsAcceptor, serve};
use conclave_tls::{Public, PublicFiles, Reload as _};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_reflection::pb::v1::ServerReflectionRequest;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;

use crate::support::World;

struct Server {
    address: SocketAddr,
    stop: Arc<Notify>,
    ended: JoinHandle<Drained>,
}

impl Server {
    async fn start(world: &World, options: Options) -> Server {
        Server::start_with(world, options, None).await
    }

    async fn start_with(
        world: &World,
        options: Options,
        tls: Option<Arc<dyn TlsAcceptor>>,
    ) -> Server {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let stop = Arc::new(Notify::new());
        let stopped = Arc::clone(&stop);
        let shutdown = async move { stopped.notified().await };
        let ended = tokio::spawn(serve(
            listener,
            tls,
            world.gateway.clone(),
            options,
            world.metrics.clone(),
            shutdown,
        ));
        Server { address, stop, ended }
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    async fn channel(&self) -> Channel {
        Endpoint::from_shared(format!("http://{}", self.address)).unwrap().connect().await.unwrap()
    }
}

fn post(operation: &str, body: &str) -> String {
    format!(
        "POST / HTTP/1.1\r\nhost: x\r\ncontent-type: application/x-amz-json-1.1\r\n\
         x-amz-target: AWSCognitoIdentityProviderService.{operation}\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// Reads until the text has come, or the connection ends.
async fn read_until(stream: &mut TcpStream, wanted: &str) -> String {
    let mut seen = Vec::new();
    let mut buffer = [0; 1_024];
    loop {
        match stream.read(&mut buffer).await {
            Ok(0) | Err(_) => break,
            Ok(n) => seen.extend_from_slice(&buffer[..n]),
        }
        if String::from_utf8_lossy(&seen).contains(wanted) {
            break;
        }
    }
    String::from_utf8_lossy(&seen).into_owned()
}

#[tokio::test]
async fn one_port_speaks_http1_and_grpc_with_health_and_reflection() {
    let world = World::new();
    let server = Server::start(&world, Options::default()).await;

    let mut plain = server.connect().await;
    plain.write_all(post("GetUser", r#"{"AccessToken":"a.b.c"}"#).as_bytes()).await.unwrap();
    let answer = read_until(&mut plain, "Invalid Access Token\"}").await;
    assert!(
        answer.starts_with("HTTP/1.1 400") && answer.to_ascii_lowercase().contains("\r\ndate: "),
        "{answer}"
    );

    let channel = server.channel().await;
    let mut grpc = tonic::client::Grpc::new(channel.clone());
    grpc.ready().await.unwrap();
    let codec = tonic_prost::ProstCodec::<types::GetUserRequest, types::GetUserResponse>::default();
    let path = http::uri::PathAndQuery::from_static(
        "/conclave.cognito.v1.CognitoIdentityProvider/GetUser",
    );
    let request = tonic::Request::new(types::GetUserRequest { access_token: Some("a.b.c".into()) });
    let status = grpc.unary(request, path, codec).await.unwrap_err();
    assert_eq!(
        (status.code(), status.message()),
        (tonic::Code::Unauthenticated, "Invalid Access Token")
    );
    assert_eq!(status.metadata().get("x-amzn-errortype").unwrap(), "NotAuthorizedException");

    let mut health = HealthClient::new(channel.clone());
    for service in ["", SERVICE_NAME] {
        let answer = health.check(HealthCheckRequest { service: service.into() }).await.unwrap();
        assert_eq!(answer.get_ref().status(), ServingStatus::Serving);
    }
    let unknown = health.check(HealthCheckRequest { service: "other".into() }).await.unwrap_err();
    assert_eq!(unknown.code(), tonic::Code::NotFound);
    let mut watch =
        health.watch(HealthCheckRequest { service: String::new() }).await.unwrap().into_inner();
    assert_eq!(watch.message().await.unwrap().unwrap().status(), ServingStatus::Serving);

    let mut reflection = ServerReflectionClient::new(channel);
    let question = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let mut answers = reflection
        .server_reflection_info(futures::stream::iter([question]))
        .await
        .unwrap()
        .into_inner();
    let Some(MessageResponse::ListServicesResponse(services)) =
        answers.message().await.unwrap().unwrap().message_response
    else {
        panic!("no list of services");
    };
    assert!(services.service.iter().any(|service| service.name == SERVICE_NAME), "{services:?}");
}

#[tokio::test]
async fn requests_under_way_finish_when_the_server_stops() {
    let world = World::new();
    let server = Server::start(&world, Options::default()).await;
    let mut idle = server.connect().await;
    idle.write_all(post("GetUser", r#"{"AccessToken":"a.b.c"}"#).as_bytes()).await.unwrap();
    read_until(&mut idle, "Token\"}").await;
    let mut busy = server.connect().await;
    busy.write_all(post("GlobalSignOut", r#"{"AccessToken":"a.b.c"}"#).as_bytes()).await.unwrap();
    world.slow_handler("started").await;
    // The idle connection is closed by the order to stop, which shows that it has arrived.
    server.stop.notify_one();
    assert_eq!(read_until(&mut idle, "never").await, "");
    assert!(TcpStream::connect(server.address).await.is_err());
    world.release.notify_one();
    assert!(read_until(&mut busy, "{}").await.starts_with("HTTP/1.1 200"));
    assert_eq!(server.ended.await.unwrap(), Drained { cut: 0 });
}

#[tokio::test(start_paused = true)]
async fn what_does_not_finish_within_the_drain_time_is_cut() {
    let world = World::with(|setup| setup.checks.deadline = Duration::from_secs(3_600));
    let server = Server::start(
        &world,
        Options { idle_timeout: Duration::from_secs(3_600), ..Options::default() },
    )
    .await;
    let mut busy = server.connect().await;
    busy.write_all(post("GlobalSignOut", r#"{"AccessToken":"a.b.c"}"#).as_bytes()).await.unwrap();
    world.slow_handler("started").await;
    server.stop.notify_one();
    assert_eq!(server.ended.await.unwrap(), Drained { cut: 1 });
    assert_eq!(read_until(&mut busy, "never").await, "");
}

#[tokio::test(start_paused = true)]
async fn silent_and_slow_connections_are_closed() {
    let world = World::new();
    let server = Server::start(&world, Options::default()).await;
    for start in ["", "P", "POST / HTTP/1.1\r\nhost: x\r\nx-slow: ", "PRI * HTTP/2.0\r\n"] {
        let mut stream = server.connect().await;
        stream.write_all(start.as_bytes()).await.unwrap();
        let rest = read_until(&mut stream, "never").await;
        assert!(rest.is_empty() || rest.starts_with("HTTP/1.1 408"), "{start:?}: {rest}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_without_requests_is_closed() {
    let world = World::new();
    let server = Server::start(&world, Options::default()).await;
    let mut plain = server.connect().await;
    plain.write_all(post("GetUser", r#"{"AccessToken":"a.b.c"}"#).as_bytes()).await.unwrap();
    assert!(read_until(&mut plain, "never").await.contains("Invalid Access Token"));
    // HTTP/2: the preface and empty settings, then nothing. The server says goodbye and closes.
    let mut h2 = server.connect().await;
    h2.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.unwrap();
    read_until(&mut h2, "never").await;
}

#[tokio::test]
async fn headers_over_the_limit_are_refused() {
    let world = World::new();
    let server = Server::start(&world, Options::default()).await;
    let mut stream = server.connect().await;
    let long = format!("POST / HTTP/1.1\r\nhost: x\r\nx-long: {}\r\n\r\n", "x".repeat(64 * 1024));
    // The server may close before it has read everything.
    let _ = stream.write_all(long.as_bytes()).await;
    let answer = read_until(&mut stream, "\r\n\r\n").await;
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 431"), "{answer}");
    let mut stream = server.connect().await;
    let many = format!("POST / HTTP/1.1\r\nhost: x\r\n{}\r\n", "x-many: 1\r\n".repeat(200));
    let _ = stream.write_all(many.as_bytes()).await;
    let answer = read_until(&mut stream, "\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 431"), "{answer}");
}

#[tokio::test]
async fn connections_over_the_limit_wait_until_another_ends() {
    let world = World::new();
    let server = Server::start(&world, Options { max_connections: 1, ..Options::default() }).await;
    let request = post("GetUser", r#"{"AccessToken":"a.b.c"}"#);
    let mut first = server.connect().await;
    first.write_all(request.as_bytes()).await.unwrap();
    read_until(&mut first, "Token\"}").await;
    let mut second = server.connect().await;
    second.write_all(request.as_bytes()).await.unwrap();
    assert!(world.metrics.encode().contains("conclave_connections 1"));
    drop(first);
    assert!(read_until(&mut second, "Token\"}").await.contains("Invalid Access Token"));
}

#[tokio::test]
async fn two_lengths_or_a_length_and_chunks_are_no_way_to_smuggle_a_request() {
    let world = World::new();
    let server = Server::start(&world, Options::default()).await;
    let head = "POST / HTTP/1.1\r\nhost: x\r\ncontent-type: application/x-amz-json-1.1\r\n\
                x-amz-target: AWSCognitoIdentityProviderService.GetUser\r\n";
    for framing in [
        "content-length: 5\r\ncontent-length: 6\r\n\r\n{}abc",
        "transfer-encoding: gzip\r\n\r\n{}",
        "content-length: -1\r\n\r\n",
        "transfer-encoding: chunked\r\ntransfer-encoding: identity\r\n\r\n0\r\n\r\n",
    ] {
        let mut stream = server.connect().await;
        stream.write_all(format!("{head}{framing}").as_bytes()).await.unwrap();
        let answer = read_until(&mut stream, "never").await;
        assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{framing}: {answer}");
        assert!(answer.starts_with("HTTP/1.1 400"), "{framing}: {answer}");
    }
}

/// A directory with `certificate.pem` and `key.pem`.
struct Files(tempfile::TempDir);

impl Files {
    fn new(certificate: &str, key: &str) -> Files {
        let files = Files(tempfile::tempdir().unwrap());
        files.write(certificate, key);
        files
    }

    fn write(&self, certificate: &str, key: &str) {
        std::fs::write(self.0.path().join("certificate.pem"), certificate).unwrap();
        std::fs::write(self.0.path().join("key.pem"), key).unwrap();
    }

    fn load(&self) -> Arc<Public> {
        let files = PublicFiles {
            certificate: self.0.path().join("certificate.pem"),
            key: self.0.path().join("key.pem"),
        };
        Public::load(&files, conclave_tls::system_time()).unwrap()
    }
}

fn self_signed() -> (String, String) {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".into()]).unwrap();
    (made.cert.pem(), made.signing_key.serialize_pem())
}

async fn health_over_tls(server: &Server, certificate: &str) -> Result<ServingStatus, String> {
    let tls = ClientTlsConfig::new()
        .ca_certificate(Certificate::from_pem(certificate))
        .domain_name("localhost");
    let endpoint = Endpoint::from_shared(format!("https://{}", server.address)).unwrap();
    let channel = endpoint.tls_config(tls).unwrap().connect().await.map_err(|e| e.to_string())?;
    let mut health = HealthClient::new(channel);
    let answer = health.check(HealthCheckRequest { service: String::new() });
    Ok(answer.await.map_err(|e| e.to_string())?.get_ref().status())
}

#[tokio::test]
async fn a_certificate_is_replaced_while_the_server_runs_and_a_bad_one_is_refused() {
    let (old, old_key) = self_signed();
    let (new, new_key) = self_signed();
    let files = Files::new(&old, &old_key);
    let public = files.load();
    let tls: Arc<dyn TlsAcceptor> = public.clone();
    let server = Server::start_with(&World::new(), Options::default(), Some(tls)).await;
    assert_eq!(health_over_tls(&server, &old).await, Ok(ServingStatus::Serving));
    assert!(public.reload().is_empty(), "nothing has changed");

    for (certificate, key) in [(&new, &old_key), (&old_key, &old_key), (&new, &new)] {
        files.write(certificate, key);
        let reloaded = public.reload();
        assert!(reloaded.len() == 1 && reloaded[0].outcome.is_err(), "{reloaded:?}");
        assert!(public.reload().is_empty(), "said once");
    }
    std::fs::remove_file(files.0.path().join("key.pem")).unwrap();
    assert!(public.reload()[0].outcome.is_err());
    assert_eq!(health_over_tls(&server, &old).await, Ok(ServingStatus::Serving));

    files.write(&new, &new_key);
    assert!(public.reload()[0].outcome.is_ok());
    assert_eq!(health_over_tls(&server, &new).await, Ok(ServingStatus::Serving));
    assert!(health_over_tls(&server, &old).await.is_err());
    assert_eq!((public.tally().reloads(), public.tally().reloads_refused()), (1, 4));
}

#[tokio::test(start_paused = true)]
async fn a_handshake_that_does_not_come_to_an_end_is_cut() {
    let (certificate, key) = self_signed();
    let public = Files::new(&certificate, &key).load();
    let tls: Arc<dyn TlsAcceptor> = public.clone();
    let server = Server::start_with(&World::new(), Options::default(), Some(tls)).await;
    for start in [&b""[..], b"\x16\x03\x01", b"\0\0\0"] {
        let mut stream = server.connect().await;
        stream.write_all(start).await.unwrap();
        let answer = read_until(&mut stream, "never").await;
        assert!(!answer.contains("HTTP"), "{answer}");
    }
    assert_eq!(public.tally().handshakes_failed(), 3);
}

#[tokio::test]
async fn who_speaks_plain_http_to_a_port_with_tls_is_told_so_and_others_are_served() {
    let (certificate, key) = self_signed();
    let tls: Arc<dyn TlsAcceptor> = Files::new(&certificate, &key).load();
    let server = Server::start_with(&World::new(), Options::default(), Some(tls)).await;
    for request in [post("GetUser", "{}"), "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned()] {
        let mut stream = server.connect().await;
        stream.write_all(request.as_bytes()).await.unwrap();
        let answer = read_until(&mut stream, "never").await;
        assert!(answer.starts_with("HTTP/1.1 400 Bad Request\r\n"), "{answer}");
        assert!(answer.ends_with("\r\n\r\nThis port speaks TLS: use https://\n"), "{answer}");
    }
    assert_eq!(health_over_tls(&server, &certificate).await, Ok(ServingStatus::Serving));
}
