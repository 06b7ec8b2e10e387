//! The certificate of the public port.

use std::{io, path::PathBuf, sync::Arc, time::Duration};

use parking_lot::{Mutex, RwLock};
use rustls::{ServerConfig, sign::SingleCertAndKey};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    sync::Semaphore,
    time::timeout,
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use crate::{
    TimeProvider, TlsError,
    material::Own,
    mutual::{accept_own, parse_own},
    now_s,
    part::{Look, Part},
    provider,
    reload::{Expiry, Reload, Reloaded, Tally},
};

/// Connections at once that are in the handshake; more are closed.
const HANDSHAKES_MAX: usize = 1_024;
/// The first byte of a TLS connection: a record of the type handshake (RFC 8446, section 5.1).
const HANDSHAKE_RECORD: u8 = 22;

/// PEM files for the public port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicFiles {
    /// The certificate chain, leaf first.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// TLS 1.2 and 1.3 with what the files hold now; HTTP/2 and HTTP/1.1 by ALPN.
pub struct Public {
    time: Arc<dyn TimeProvider>,
    own: Mutex<Part<Own>>,
    server: RwLock<Arc<ServerConfig>>,
    handshakes: Semaphore,
    tally: Tally,
}

impl Public {
    /// Reads the files.
    ///
    /// # Errors
    /// One of them cannot be read, or they do not fit each other.
    pub fn load(files: &PublicFiles, time: Arc<dyn TimeProvider>) -> Result<Arc<Self>, TlsError> {
        let own = Part::open(vec![files.certificate.clone(), files.key.clone()], parse_own)?;
        let server = RwLock::new(config(&own.value(), &time)?);
        let (own, handshakes) = (Mutex::new(own), Semaphore::new(HANDSHAKES_MAX));
        Ok(Arc::new(Self { time, own, server, handshakes, tally: Tally::default() }))
    }

    /// Does the handshake. Whoever speaks HTTP without TLS is told so.
    ///
    /// # Errors
    /// The client does not do its part, or too many are in the handshake.
    pub async fn accept(&self, stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        let Ok(_place) = self.handshakes.try_acquire() else {
            self.tally.handshake_shed();
            return Err(io::Error::other("too many handshakes at once"));
        };
        // counted as failed unless it comes to its end, also when it is given up
        let mut failed = Failed(Some(&self.tally));
        let mut first = [0];
        let read = stream.peek(&mut first).await?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if first[0] != HANDSHAKE_RECORD {
            if first[0].is_ascii_uppercase() {
                refuse_plain_http(stream).await;
            }
            return Err(io::Error::new(io::ErrorKind::InvalidData, "this is no TLS"));
        }
        let server = Arc::clone(&self.server.read());
        let stream = TlsAcceptor::from(server).accept(stream).await?;
        failed.0 = None;
        Ok(stream)
    }
}

struct Failed<'a>(Option<&'a Tally>);

impl Drop for Failed<'_> {
    fn drop(&mut self) {
        if let Some(tally) = self.0 {
            tally.handshake_failed();
        }
    }
}

/// Says what is wrong to a client that may have sent a whole request, and reads some of it: closing before would
/// throw the answer away.
async fn refuse_plain_http(mut stream: TcpStream) {
    const TEXT: &str = "This port speaks TLS: use https://\n";
    const WAIT: Duration = Duration::from_secs(1);
    const READ_MAX: u64 = 64 << 10;
    let answer = format!(
        "HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain; charset=utf-8\r\ncontent-length: {}\r\n\
         connection: close\r\n\r\n{TEXT}",
        TEXT.len()
    );
    let talk = async {
        stream.write_all(answer.as_bytes()).await?;
        stream.shutdown().await?;
        tokio::io::copy(&mut (&mut stream).take(READ_MAX), &mut tokio::io::sink()).await
    };
    // it is a courtesy
    let _ = timeout(WAIT, talk).await;
}

fn config(own: &Own, time: &Arc<dyn TimeProvider>) -> Result<Arc<ServerConfig>, TlsError> {
    let mut config = ServerConfig::builder_with_details(provider(), time.clone())
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(own.key.clone())));
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

impl Reload for Public {
    fn name(&self) -> &'static str {
        "public"
    }

    fn reload(&self) -> Vec<Reloaded> {
        let what = "certificate";
        let now = now_s(&*self.time);
        let mut own = self.own.lock();
        let outcome = match own.look(|old, new| accept_own(old, new, now)) {
            Look::Same => return Vec::new(),
            Look::Changed => config(&own.value(), &self.time).map(|config| {
                *self.server.write() = config;
            }),
            Look::Wrong(error) => Err(error),
        };
        self.tally.reloaded(outcome.is_ok());
        vec![Reloaded { what, outcome }]
    }

    fn expiries(&self) -> Vec<Expiry> {
        let facts = self.own.lock().value().facts.clone();
        vec![Expiry {
            certificate: "public",
            not_before_s: facts.not_before_s,
            not_after_s: facts.not_after_s,
        }]
    }

    fn tally(&self) -> &Tally {
        &self.tally
    }
}
