//! Authorities, certificates in files, a clock that a test moves, and a server that says that it serves.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use conclave_tls::{Limits, Mutual, MutualFiles, TimeProvider, channel, incoming};
use rustls_pki_types::UnixTime;
use tempfile::TempDir;
use time::OffsetDateTime;
use tokio::net::TcpListener;
use tonic::transport::{Channel, Server};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};

/// Seconds since 1970: 2030-01-01.
pub const NOW_S: u64 = 1_893_456_000;
pub const DAY_S: u64 = 86_400;

#[derive(Debug)]
pub struct Clock(AtomicU64);

impl Clock {
    pub fn new() -> Arc<Self> {
        Arc::new(Self(AtomicU64::new(NOW_S)))
    }

    pub fn advance(&self, seconds: u64) {
        self.0.fetch_add(seconds, Ordering::SeqCst);
    }
}

impl TimeProvider for Clock {
    fn current_time(&self) -> Option<UnixTime> {
        Some(UnixTime::since_unix_epoch(Duration::from_secs(self.0.load(Ordering::SeqCst))))
    }
}

/// An authority.
pub struct Authority {
    pub pem: String,
    issuer: rcgen::Issuer<'static, rcgen::KeyPair>,
}

fn at(seconds: u64) -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp(seconds as i64).expect("a time")
}

impl Authority {
    pub fn new(name: &str) -> Self {
        let key = rcgen::KeyPair::generate().expect("a key");
        let mut params = rcgen::CertificateParams::new(Vec::new()).expect("parameters");
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let pem = params.self_signed(&key).expect("signs").pem();
        Self { pem, issuer: rcgen::Issuer::new(params, key) }
    }

    /// A certificate and its key, good for 30 days.
    pub fn issue(&self, uri: &str) -> (String, String) {
        self.issue_until(uri, NOW_S + 30 * DAY_S)
    }

    pub fn issue_until(&self, uri: &str, not_after_s: u64) -> (String, String) {
        let key = rcgen::KeyPair::generate().expect("a key");
        let names = vec!["127.0.0.1".to_owned(), "localhost".to_owned()];
        let mut params = rcgen::CertificateParams::new(names).expect("parameters");
        params.subject_alt_names.push(rcgen::SanType::URI(uri.try_into().expect("a URI")));
        params.not_before = at(NOW_S - 60 * DAY_S);
        params.not_after = at(not_after_s);
        let certificate = params.signed_by(&key, &self.issuer).expect("signs");
        (certificate.pem(), key.serialize_pem())
    }
}

/// The three files of one process.
pub struct Files(pub TempDir);

impl Files {
    pub fn new(bundle: &str, own: &(String, String)) -> Self {
        let files = Self(tempfile::tempdir().expect("a directory"));
        files.write_bundle(bundle);
        files.write_own(own);
        files
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub fn write_bundle(&self, bundle: &str) {
        write(&self.path("ca.pem"), bundle);
    }

    pub fn write_own(&self, (certificate, key): &(String, String)) {
        write(&self.path("own.pem"), certificate);
        write(&self.path("own-key.pem"), key);
    }

    pub fn load(&self, clock: &Arc<Clock>) -> Arc<Mutual> {
        let files = MutualFiles {
            ca: self.path("ca.pem"),
            certificate: self.path("own.pem"),
            key: self.path("own-key.pem"),
            server_name: None,
        };
        Mutual::load(&files, clock.clone()).expect("loads")
    }
}

fn write(path: &Path, text: &str) {
    std::fs::write(path, text).expect("writes");
}

/// Serves gRPC health on loopback until the test ends.
pub async fn serve(certificates: &Arc<Mutual>, limits: Limits) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
    let address = listener.local_addr().expect("an address");
    let accepted = incoming(listener, Some(certificates.clone()), limits);
    let (_, health) = tonic_health::server::health_reporter();
    tokio::spawn(Server::builder().add_service(health).serve_with_incoming(accepted));
    address
}

/// Asks over a connection that exists already, or over a new one.
pub async fn ask(channel: &Channel) -> Result<(), String> {
    let request = HealthCheckRequest { service: String::new() };
    let mut client = HealthClient::new(channel.clone());
    let answer = tokio::time::timeout(Duration::from_secs(10), client.check(request)).await;
    answer.expect("an answer in time").map(|_| ()).map_err(|status| status.to_string())
}

pub fn connect(address: SocketAddr, certificates: &Arc<Mutual>, node_id: Option<u64>) -> Channel {
    channel(&address.to_string(), Some(certificates), node_id).expect("an address")
}

/// Asks over a new connection.
pub async fn ask_anew(address: SocketAddr, certificates: &Arc<Mutual>) -> Result<(), String> {
    ask(&connect(address, certificates, Some(1))).await
}
