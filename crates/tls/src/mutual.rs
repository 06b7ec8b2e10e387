//! Certificates for both ends of an internal connection.

use std::{fmt, path::PathBuf, sync::Arc};

use parking_lot::Mutex;
use rustls::{
    ClientConfig, ServerConfig,
    client::{Resumption, WebPkiServerVerifier, danger::ServerCertVerifier as _},
    server::{NoServerSessionStorage, WebPkiClientVerifier, danger::ClientCertVerifier},
    sign::SingleCertAndKey,
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use tokio::sync::watch;

use crate::{
    Identity, TimeProvider, TlsError,
    material::{Own, Trust},
    now_s,
    part::{Look, Part},
    provider,
    reload::{Expiry, Reload, Reloaded, Tally},
};

/// PEM files for mutual TLS between nodes and gateways.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MutualFiles {
    /// Issuers of the certificates that the other end may show. More than one while an authority is replaced.
    pub ca: PathBuf,
    /// Our certificate chain, leaf first.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
    /// The name that every node's certificate has; `None`: the host part of its address.
    pub server_name: Option<String>,
}

/// Mutual TLS with what the files hold now. Share one: all connections that begin later use what is reloaded,
/// and connections whose other end is no longer trusted are ended.
pub struct Mutual {
    server_name: Option<String>,
    time: Arc<dyn TimeProvider>,
    parts: Mutex<Parts>,
    present: watch::Sender<Arc<Present>>,
    tally: Tally,
}

struct Parts {
    own: Part<Own>,
    trust: Part<Trust>,
}

/// Everything that follows from one state of the files.
pub(crate) struct Present {
    own: Arc<Own>,
    trust: Arc<Trust>,
    pub server: Arc<ServerConfig>,
    pub client: Arc<ClientConfig>,
    clients: Arc<dyn ClientCertVerifier>,
    servers: Arc<WebPkiServerVerifier>,
}

impl Present {
    fn new(
        own: Arc<Own>,
        trust: Arc<Trust>,
        time: &Arc<dyn TimeProvider>,
    ) -> Result<Self, TlsError> {
        let unusable = |error: &dyn fmt::Display| TlsError::Unusable(error.to_string());
        let clients = WebPkiClientVerifier::builder_with_provider(trust.roots.clone(), provider())
            .build()
            .map_err(|error| unusable(&error))?;
        let servers = WebPkiServerVerifier::builder_with_provider(trust.roots.clone(), provider())
            .build()
            .map_err(|error| unusable(&error))?;
        let resolver = Arc::new(SingleCertAndKey::from(own.key.clone()));

        let mut server = ServerConfig::builder_with_details(provider(), time.clone())
            .with_safe_default_protocol_versions()?
            .with_client_cert_verifier(clients.clone())
            .with_cert_resolver(resolver.clone());
        server.alpn_protocols = vec![b"h2".to_vec()];
        // a resumed session would not verify the certificate again
        server.session_storage = Arc::new(NoServerSessionStorage {});
        server.send_tls13_tickets = 0;

        let mut client = ClientConfig::builder_with_details(provider(), time.clone())
            .with_safe_default_protocol_versions()?
            .with_webpki_verifier(servers.clone())
            .with_client_cert_resolver(resolver);
        client.alpn_protocols = vec![b"h2".to_vec()];
        client.resumption = Resumption::disabled();

        let (server, client) = (Arc::new(server), Arc::new(client));
        Ok(Self { own, trust, server, client, clients, servers })
    }

    /// Whether our certificate is of an authority in our own bundle.
    fn trusts_itself(&self, now: UnixTime) -> bool {
        trusts_client(self, &self.own.key.cert, now)
    }
}

/// How a server looks at its client again.
pub(crate) fn trusts_client(
    present: &Present,
    chain: &[CertificateDer<'static>],
    now: UnixTime,
) -> bool {
    let Some((leaf, rest)) = chain.split_first() else { return false };
    present.clients.verify_client_cert(leaf, rest, now).is_ok()
}

/// How a client looks at its server again.
pub(crate) fn trusts_server(
    name: ServerName<'static>,
) -> impl Fn(&Present, &[CertificateDer<'static>], UnixTime) -> bool {
    move |present, chain, now| {
        let Some((leaf, rest)) = chain.split_first() else { return false };
        present.servers.verify_server_cert(leaf, rest, &name, &[], now).is_ok()
    }
}

impl Mutual {
    /// Reads the files.
    ///
    /// # Errors
    /// One of them cannot be read or used.
    pub fn load(files: &MutualFiles, time: Arc<dyn TimeProvider>) -> Result<Arc<Self>, TlsError> {
        let own = Part::open(vec![files.certificate.clone(), files.key.clone()], parse_own)?;
        let trust = Part::open(vec![files.ca.clone()], |contents| match contents {
            [bundle] => Trust::parse(bundle),
            _ => Err(TlsError::Unusable("one bundle is needed".to_owned())),
        })?;
        let present = Present::new(own.value(), trust.value(), &time)?;
        Ok(Arc::new(Self {
            server_name: files.server_name.clone(),
            time,
            parts: Mutex::new(Parts { own, trust }),
            present: watch::Sender::new(Arc::new(present)),
            tally: Tally::default(),
        }))
    }

    /// Whom our certificate speaks for; `None` when it does not say.
    pub fn identity(&self) -> Option<Identity> {
        self.present.borrow().own.facts.identity.clone()
    }

    /// Handshakes of the internal port, and what became of new files.
    pub fn tally(&self) -> &Tally {
        &self.tally
    }

    pub(crate) fn present(&self) -> watch::Receiver<Arc<Present>> {
        self.present.subscribe()
    }

    pub(crate) fn time(&self) -> Arc<dyn TimeProvider> {
        self.time.clone()
    }

    /// The name that a server at `host` must have in its certificate.
    pub(crate) fn server_name(&self, host: &str) -> Result<ServerName<'static>, TlsError> {
        let name = self.server_name.as_deref().unwrap_or(host);
        let name = name.trim_start_matches('[').trim_end_matches(']').to_owned();
        ServerName::try_from(name).map_err(|error| TlsError::Unusable(error.to_string()))
    }
}

pub(crate) fn parse_own(contents: &[zeroize::Zeroizing<Vec<u8>>]) -> Result<Own, TlsError> {
    match contents {
        [certificate, key] => Own::parse(certificate, key),
        _ => Err(TlsError::Unusable("a certificate and a key are needed".to_owned())),
    }
}

/// What a new certificate must not be: expired in place of one that is good, or another's.
pub(crate) fn accept_own(old: &Own, new: &Own, now_s: u64) -> Result<(), TlsError> {
    if new.facts.not_after_s < now_s && old.facts.not_after_s >= now_s {
        return Err(TlsError::Expired);
    }
    let who = |own: &Own| {
        own.facts.identity.as_ref().map(|who| (who.cluster_id.clone(), who.role, who.node_id))
    };
    if who(old) != who(new) {
        let text = |own: &Own| {
            own.facts.identity.as_ref().map_or("nobody".to_owned(), ToString::to_string)
        };
        return Err(TlsError::OtherIdentity { old: text(old), new: text(new) });
    }
    Ok(())
}

impl Reload for Mutual {
    fn name(&self) -> &'static str {
        "internal"
    }

    /// Certificate with key, and bundle, are taken over apart: a mistake in one does not hold up the other.
    fn reload(&self) -> Vec<Reloaded> {
        let now = now_s(&*self.time);
        let mut parts = self.parts.lock();
        let looks = [
            ("certificate", parts.own.look(|old, new| accept_own(old, new, now))),
            ("bundle of authorities", parts.trust.look(|_, _| Ok(()))),
        ];
        let mut reloaded = Vec::new();
        for (what, look) in looks {
            match look {
                Look::Same => {}
                Look::Changed => reloaded.push(Reloaded { what, outcome: Ok(()) }),
                Look::Wrong(error) => reloaded.push(Reloaded { what, outcome: Err(error) }),
            }
        }
        if reloaded.iter().any(|reloaded| reloaded.outcome.is_ok()) {
            match Present::new(parts.own.value(), parts.trust.value(), &self.time) {
                Ok(present) => {
                    let at = UnixTime::since_unix_epoch(std::time::Duration::from_secs(now));
                    if !present.trusts_itself(at) {
                        tracing::error!(
                            "this node's certificate is not good by its own bundle of authorities: \
                             nodes with the same bundle refuse it"
                        );
                    }
                    self.present.send_replace(Arc::new(present));
                }
                Err(error) => reloaded.push(Reloaded { what: "certificates", outcome: Err(error) }),
            }
        }
        for reloaded in &reloaded {
            self.tally.reloaded(reloaded.outcome.is_ok());
        }
        reloaded
    }

    fn expiries(&self) -> Vec<Expiry> {
        let present = self.present.borrow();
        let facts = &present.own.facts;
        vec![
            Expiry {
                certificate: "internal",
                not_before_s: facts.not_before_s,
                not_after_s: facts.not_after_s,
            },
            Expiry {
                certificate: "internal_authority",
                not_before_s: 0,
                not_after_s: present.trust.not_after_s,
            },
        ]
    }

    fn tally(&self) -> &Tally {
        &self.tally
    }
}

impl fmt::Debug for Mutual {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mutual").field("identity", &self.identity()).finish_non_exhaustive()
    }
}
