//! Who may ask: certificates of the role admin of this cluster. Nodes and gateways have certificates too, and a stolen
//! one of theirs must not be able to change the cluster.

use std::{fmt, sync::Arc};

use conclave_tls::{PeerInfo, Role};
use tonic::{Request, Status, service::Interceptor};

use crate::audit::AuditFile;

/// Who asks, for the log.
#[derive(Clone)]
pub struct Administrator {
    name: Arc<str>,
    from: Arc<str>,
    audit: Option<Arc<AuditFile>>,
}

impl fmt::Display for Administrator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

impl fmt::Debug for Administrator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Administrator {
    /// Puts on record what has been asked, and what came of it.
    pub fn audit(&self, operation: &str, subject: Option<&str>, outcome: Result<(), &Status>) {
        if let Some(audit) = &self.audit {
            let outcome = outcome
                .map_or_else(|refused| format!("{:?}", refused.code()), |()| "OK".to_owned());
            audit.administration(&self.name, &self.from, operation, subject, &outcome);
        }
    }
}

/// Refuses everybody else, and remembers who it is.
#[derive(Clone)]
pub struct CheckAdministrator {
    cluster_id: Arc<str>,
    /// Without certificates the port is on loopback, and so must be who asks.
    tls: bool,
    audit: Option<Arc<AuditFile>>,
}

impl CheckAdministrator {
    pub fn new(cluster_id: &str, tls: bool, audit: Option<Arc<AuditFile>>) -> Self {
        Self { cluster_id: cluster_id.into(), tls, audit }
    }

    fn named(&self, name: &str, peer: &PeerInfo) -> Administrator {
        let from = peer.address.ip().to_canonical().to_string();
        Administrator { name: name.into(), from: from.into(), audit: self.audit.clone() }
    }

    fn administrator(&self, peer: Option<&PeerInfo>) -> Result<Administrator, Status> {
        let refused = |why: &str| Err(Status::permission_denied(why));
        let Some(peer) = peer else { return refused("nothing is known of the connection") };
        if !self.tls {
            return match peer.address.ip().to_canonical().is_loopback() {
                true => Ok(self.named("loopback", peer)),
                false => refused("without certificates, this machine alone may ask"),
            };
        }
        match &peer.identity {
            Some(identity) if *identity.cluster_id != *self.cluster_id => {
                refused("the certificate is not of this cluster")
            }
            Some(identity) if identity.role == Role::Admin => {
                Ok(self.named(&identity.to_string(), peer))
            }
            Some(identity) => Err(Status::permission_denied(format!(
                "the certificate is of the role {}; one of the role admin is needed: conclave pki \
                 issue --role admin",
                identity.role.as_str()
            ))),
            None => refused("the certificate names no cluster and role"),
        }
    }
}

impl Interceptor for CheckAdministrator {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        let checked = self.administrator(request.extensions().get());
        match checked {
            Ok(administrator) => {
                request.extensions_mut().insert(administrator);
                Ok(request)
            }
            Err(status) => {
                let peer = request.extensions().get::<PeerInfo>();
                let who = peer.and_then(|peer| peer.identity.as_ref()).map(ToString::to_string);
                if let Some(peer) = peer {
                    let name = who.as_deref().unwrap_or("nobody that is known");
                    self.named(name, peer).audit("connect", None, Err(&status));
                }
                tracing::warn!(
                    who = who.unwrap_or_default(),
                    address = peer.map(|peer| peer.address.to_string()).unwrap_or_default(),
                    why = status.message(),
                    "administration refused"
                );
                Err(status)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use conclave_tls::Identity;

    use super::*;

    fn peer(address: [u8; 4], identity: Option<(&str, Role)>) -> PeerInfo {
        let identity = identity.map(|(cluster_id, role)| Identity {
            cluster_id: cluster_id.to_owned(),
            role,
            node_id: u64::from(role == Role::Node),
            name: "somebody".to_owned(),
        });
        let address = SocketAddr::from((address, 1));
        PeerInfo { address, encrypted: identity.is_some(), identity }
    }

    #[test]
    fn certificates_of_the_role_admin_of_the_cluster_are_taken_and_no_others() {
        let check = CheckAdministrator::new("blue", true, None);
        let ask = |identity| check.administrator(Some(&peer([10, 0, 0, 1], identity)));
        let who = ask(Some(("blue", Role::Admin))).expect("is taken");
        assert_eq!(who.to_string(), "CN=somebody conclave://blue/admin/0");
        for identity in [
            Some(("green", Role::Admin)),
            Some(("blue", Role::Node)),
            Some(("blue", Role::Gateway)),
            None,
        ] {
            let refused = ask(identity).expect_err("is refused");
            assert_eq!(refused.code(), tonic::Code::PermissionDenied, "{identity:?}");
        }
        assert!(check.administrator(Some(&peer([127, 0, 0, 1], None))).is_err());
        assert!(check.administrator(None).is_err());
    }

    #[test]
    fn without_certificates_only_loopback_is_taken() {
        let check = CheckAdministrator::new("blue", false, None);
        assert!(check.administrator(Some(&peer([127, 0, 0, 1], None))).is_ok());
        assert!(check.administrator(Some(&peer([10, 0, 0, 1], None))).is_err());
        assert!(check.administrator(None).is_err());
    }
}
