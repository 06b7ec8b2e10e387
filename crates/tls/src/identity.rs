//! Whom a certificate of the internal port speaks for: a URI of its SubjectAltName (RFC 5280, section 4.2.1.6),
//! `conclave://<cluster id>/<role>/<node id>`. `conclave pki` makes such certificates.

use std::fmt;

use x509_parser::prelude::{GeneralName, X509Certificate};

/// What a certificate allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// Replicates and votes, as its node and no other; reads and commits.
    Node,
    /// Reads and commits.
    Gateway,
    /// Administers the cluster, and nothing else.
    Admin,
}

impl Role {
    /// As it stands in certificates.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Node => "node",
            Self::Gateway => "gateway",
            Self::Admin => "admin",
        }
    }
}

/// Who is at the other end of a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The cluster that the certificate is of.
    pub cluster_id: String,
    /// What it allows.
    pub role: Role,
    /// The node's number; 0 for what is no node.
    pub node_id: u64,
    /// The common name, for logs.
    pub name: String,
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { cluster_id, role, node_id, name } = self;
        write!(f, "CN={name} conclave://{cluster_id}/{}/{node_id}", role.as_str())
    }
}

impl Identity {
    pub(crate) fn of(certificate: &X509Certificate<'_>) -> Option<Self> {
        let names = certificate.subject_alternative_name().ok()??;
        let name = certificate.subject().iter_common_name().next().and_then(|cn| cn.as_str().ok());
        names.value.general_names.iter().find_map(|general| match general {
            GeneralName::URI(uri) => parse(uri, name.unwrap_or_default()),
            _ => None,
        })
    }
}

fn parse(uri: &str, name: &str) -> Option<Identity> {
    let rest = uri.strip_prefix("conclave://")?;
    let (rest, id) = rest.rsplit_once('/')?;
    let (cluster_id, role) = rest.rsplit_once('/')?;
    let node_id: u64 = id.parse().ok()?;
    let role = match role {
        "node" if node_id != 0 => Role::Node,
        "gateway" => Role::Gateway,
        "admin" => Role::Admin,
        _ => return None,
    };
    let (cluster_id, name) = (cluster_id.to_owned(), name.to_owned());
    Some(Identity { cluster_id, role, node_id, name })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_speaks_for_its_cluster_role_and_node_alone() {
        let read = |uri| parse(uri, "x").map(|who| (who.cluster_id, who.role, who.node_id));
        let blue = |role, node_id| Some(("blue".to_owned(), role, node_id));
        assert_eq!(read("conclave://blue/node/2"), blue(Role::Node, 2));
        assert_eq!(read("conclave://blue/gateway/0"), blue(Role::Gateway, 0));
        assert_eq!(read("conclave://blue/admin/0"), blue(Role::Admin, 0));
        for uri in [
            "conclave://blue/node/0",
            "conclave://blue/node/x",
            "conclave://blue/node/-1",
            "conclave://blue/node",
            "conclave://blue/root/2",
            "conclave://blue/Admin/0",
            "https://blue/node/2",
            "",
        ] {
            assert_eq!(read(uri), None, "{uri}");
        }
    }

    #[test]
    fn a_cluster_id_with_a_slash_is_not_taken_for_another_cluster() {
        let who = parse("conclave://blue/admin/node/2", "x").expect("is one");
        assert_eq!((who.cluster_id.as_str(), who.role), ("blue/admin", Role::Node));
    }
}
