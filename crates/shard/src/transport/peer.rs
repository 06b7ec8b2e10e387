//! Who is at the other end of a connection: what the certificate says, not what the message says.
//!
//! Every certificate of the internal port names its cluster, role and node in a URI of its
//! SubjectAltName: `conclave://<cluster id>/<role>/<node id>`. `conclave pki` makes such certificates.

use std::sync::Arc;

use tonic::{Request, Status, service::Interceptor};
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

/// What a certificate allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Peer {
    /// Replicates and votes, as this node and no other.
    Node(u64),
    /// Reads and commits.
    Gateway,
}

/// Refuses connections whose certificate is not of this cluster, and remembers whose it is.
#[derive(Clone)]
pub(crate) struct CheckPeer {
    cluster_id: Arc<str>,
    /// Plain text is for this machine alone, where there is nobody to tell apart.
    tls: bool,
}

impl CheckPeer {
    pub(crate) fn new(cluster_id: &str, tls: bool) -> Self {
        Self { cluster_id: cluster_id.into(), tls }
    }
}

impl Interceptor for CheckPeer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if !self.tls {
            return Ok(request);
        }
        let refused = || Status::permission_denied("the certificate is not of this cluster");
        let certificates = request.peer_certs().ok_or_else(refused)?;
        let certificate = certificates.first().ok_or_else(refused)?;
        let peer = identity(certificate, &self.cluster_id).ok_or_else(refused)?;
        request.extensions_mut().insert(peer);
        Ok(request)
    }
}

/// Whether a message that says that it comes from `source` may come over this connection.
///
/// # Errors
/// PERMISSION_DENIED.
pub(crate) fn check_source(peer: Option<Peer>, source: u64) -> Result<(), Status> {
    match peer {
        // plain text on loopback
        None => Ok(()),
        Some(Peer::Node(node_id)) if node_id == source => Ok(()),
        Some(_) => {
            Err(Status::permission_denied(format!("the certificate is not that of node {source}")))
        }
    }
}

fn identity(certificate: &[u8], cluster_id: &str) -> Option<Peer> {
    let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
    let names = certificate.subject_alternative_name().ok()??;
    names.value.general_names.iter().find_map(|name| match name {
        GeneralName::URI(uri) => parse(uri, cluster_id),
        _ => None,
    })
}

fn parse(uri: &str, cluster_id: &str) -> Option<Peer> {
    let rest = uri.strip_prefix("conclave://")?.strip_prefix(cluster_id)?.strip_prefix('/')?;
    match rest.split_once('/')? {
        ("node", id) => id.parse().ok().filter(|id| *id != 0).map(Peer::Node),
        ("gateway", _) => Some(Peer::Gateway),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_speaks_for_its_cluster_and_node_alone() {
        assert_eq!(parse("conclave://blue/node/2", "blue"), Some(Peer::Node(2)));
        assert_eq!(parse("conclave://blue/gateway/0", "blue"), Some(Peer::Gateway));
        for uri in [
            "conclave://green/node/2",
            "conclave://bluer/node/2",
            "conclave://blue/node/0",
            "conclave://blue/node/x",
            "conclave://blue/node",
            "conclave://blue/root/2",
            "https://blue/node/2",
        ] {
            assert_eq!(parse(uri, "blue"), None, "{uri}");
        }
        assert!(check_source(Some(Peer::Node(2)), 2).is_ok());
        assert!(check_source(Some(Peer::Node(2)), 1).is_err());
        assert!(check_source(Some(Peer::Gateway), 1).is_err());
    }
}
