//! Who is at the other end of a connection: what the certificate says, not what the message says.

use std::sync::Arc;

use conclave_tls::{PeerInfo, Role};
use tonic::{Request, Status, service::Interceptor};

/// What a certificate allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Peer {
    /// Replicates and votes, as this node and no other.
    Node(u64),
    /// Reads and commits.
    Gateway,
}

/// Refuses connections whose certificate is not of this cluster or is for administration alone, and remembers
/// whose it is.
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

    fn peer(&self, info: Option<&PeerInfo>) -> Result<Peer, Status> {
        let identity = info.and_then(|info| info.identity.as_ref());
        match identity.filter(|identity| *identity.cluster_id == *self.cluster_id) {
            Some(identity) => match identity.role {
                Role::Node => Ok(Peer::Node(identity.node_id)),
                Role::Gateway => Ok(Peer::Gateway),
                Role::Admin => Err(Status::permission_denied(
                    "the certificate is for administration: it neither reads nor commits",
                )),
            },
            None => Err(Status::permission_denied("the certificate is not of this cluster")),
        }
    }
}

impl Interceptor for CheckPeer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if self.tls {
            let peer = self.peer(request.extensions().get())?;
            request.extensions_mut().insert(peer);
        }
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

#[cfg(test)]
mod tests {
    use conclave_tls::Identity;

    use super::*;

    fn peer(cluster_id: &str, role: Role, node_id: u64) -> Option<Peer> {
        let identity =
            Identity { cluster_id: cluster_id.to_owned(), role, node_id, name: "x".to_owned() };
        let address = std::net::SocketAddr::from(([127, 0, 0, 1], 1));
        let info = PeerInfo { address, encrypted: true, identity: Some(identity) };
        CheckPeer::new("blue", true).peer(Some(&info)).ok()
    }

    #[test]
    fn a_certificate_speaks_for_its_cluster_and_node_alone() {
        assert_eq!(peer("blue", Role::Node, 2), Some(Peer::Node(2)));
        assert_eq!(peer("blue", Role::Gateway, 0), Some(Peer::Gateway));
        assert_eq!(peer("green", Role::Node, 2), None);
        assert_eq!(peer("bluer", Role::Node, 2), None);
        assert_eq!(peer("blue", Role::Admin, 0), None);
        assert!(CheckPeer::new("blue", true).peer(None).is_err());
        assert!(check_source(Some(Peer::Node(2)), 2).is_ok());
        assert!(check_source(Some(Peer::Node(2)), 1).is_err());
        assert!(check_source(Some(Peer::Gateway), 1).is_err());
    }
}
