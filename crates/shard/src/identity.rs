//! What a data directory belongs to, and what this node remembers of its peers.
//!
//! A node that has lost its data must not come back under its old id: it has forgotten its votes and
//! what it has acknowledged. So each data directory has an *incarnation*, random bytes made with it.
//! Nodes remember the first one that they hear from each peer, and talk to no other under that id.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use bytes::Bytes;
use conclave_fault as fault;
use parking_lot::RwLock;
use prost::Message;

use crate::{
    proto,
    restore::RESTORING,
    state_db::{read_small_file, write_file_atomically},
    types::corrupt,
};

const IDENTITY_FILE: &str = "IDENTITY";
const PEERS_FILE: &str = "PEERS";
/// Node ids that are remembered. They are never used again, so this bounds how many there ever are.
const PEERS_MAX: usize = 4_096;

/// Opens the identity of a data directory, or makes one with `incarnation` when it is new.
///
/// # Errors
/// From the disk; or that the directory belongs to another node, cluster or number of groups.
pub(crate) fn open(
    dir: &Path,
    cluster_id: &str,
    node_id: u64,
    groups: u32,
    incarnation: [u8; 16],
) -> io::Result<proto::NodeIdentity> {
    fs::create_dir_all(dir)?;
    let path = dir.join(IDENTITY_FILE);
    let wanted = proto::NodeIdentity {
        cluster_id: cluster_id.to_owned(),
        node_id,
        groups,
        incarnation: Bytes::copy_from_slice(&incarnation),
    };
    match read_small_file(&path) {
        Ok(bytes) => {
            let found = proto::NodeIdentity::decode(&bytes[..]).map_err(corrupt)?;
            let same = proto::NodeIdentity { incarnation: found.incarnation.clone(), ..wanted };
            if found == same {
                return Ok(found);
            }
            Err(io::Error::other(format!(
                "the data directory belongs to node {} of cluster {} with {} groups, \
                 not to node {node_id} of cluster {cluster_id} with {groups} groups",
                found.node_id, found.cluster_id, found.groups
            )))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            if dir.join(RESTORING).exists() {
                return Err(io::Error::other(
                    "the data directory is of a restore that has not been finished: run conclave \
                     restore again",
                ));
            }
            if fs::read_dir(dir)?.any(|entry| {
                entry.is_ok_and(|entry| entry.file_name().to_string_lossy().starts_with("group-"))
            }) {
                return Err(corrupt("the data directory has lost its identity"));
            }
            write_file_atomically(dir, IDENTITY_FILE, &wanted.encode_to_vec())?;
            Ok(wanted)
        }
        Err(error) => Err(error),
    }
}

/// Gives a data directory that holds groups its identity: from here on a node starts on it.
///
/// # Errors
/// From the disk; or that it has one.
pub(crate) fn make(
    dir: &Path,
    cluster_id: &str,
    node_id: u64,
    groups: u32,
    incarnation: [u8; 16],
) -> io::Result<()> {
    if dir.join(IDENTITY_FILE).exists() {
        return Err(io::Error::other("the data directory has an identity"));
    }
    let made = proto::NodeIdentity {
        cluster_id: cluster_id.to_owned(),
        node_id,
        groups,
        incarnation: Bytes::copy_from_slice(&incarnation),
    };
    write_file_atomically(dir, IDENTITY_FILE, &made.encode_to_vec())
}

/// The incarnations of this node and of its peers.
pub(crate) struct Incarnations {
    own: Bytes,
    dir: PathBuf,
    peers: RwLock<BTreeMap<u64, Bytes>>,
}

impl Incarnations {
    /// # Errors
    /// From the disk.
    pub(crate) fn open(dir: &Path, own: Bytes) -> io::Result<Self> {
        let stored = match read_small_file(&dir.join(PEERS_FILE)) {
            Ok(bytes) => proto::PeerIncarnations::decode(&bytes[..]).map_err(corrupt)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Default::default(),
            Err(error) => return Err(error),
        };
        let peers = stored.peers.into_iter().map(|peer| (peer.node_id, peer.incarnation)).collect();
        Ok(Self { own, dir: dir.to_owned(), peers: RwLock::new(peers) })
    }

    pub(crate) fn own(&self) -> &Bytes {
        &self.own
    }

    /// What is known of a peer; empty when nothing is.
    pub(crate) fn of(&self, node_id: u64) -> Bytes {
        self.peers.read().get(&node_id).cloned().unwrap_or_default()
    }

    /// Compares what a peer says with what is remembered of it; remembers it the first time.
    ///
    /// # Errors
    /// From the disk; or that the peer has lost its data since.
    pub(crate) fn check(&self, node_id: u64, incarnation: &[u8]) -> io::Result<()> {
        let known = self.peers.read().get(&node_id).map(|known| &known[..] == incarnation);
        match known {
            Some(true) => return Ok(()),
            Some(false) if fault::bug("any-incarnation") => return Ok(()),
            Some(false) => return Err(other_data(node_id)),
            None if incarnation.is_empty() => {
                return Err(io::Error::other("a peer without an incarnation"));
            }
            None => {}
        }
        let mut peers = self.peers.write();
        if peers.len() >= PEERS_MAX {
            return Err(io::Error::other("too many node ids have been seen"));
        }
        let first = peers.entry(node_id).or_insert_with(|| Bytes::copy_from_slice(incarnation));
        if &first[..] != incarnation {
            return Err(other_data(node_id));
        }
        let stored = proto::PeerIncarnations {
            peers: peers
                .iter()
                .map(|(&node_id, incarnation)| proto::PeerIncarnation {
                    node_id,
                    incarnation: incarnation.clone(),
                })
                .collect(),
        };
        write_file_atomically(&self.dir, PEERS_FILE, &stored.encode_to_vec())
    }
}

fn other_data(node_id: u64) -> io::Error {
    io::Error::other(format!(
        "node {node_id} has come back with other data; replace it under a new node id"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_data_directory_keeps_its_first_incarnation_and_refuses_another_owner() {
        let dir = tempfile::tempdir().expect("a directory");
        let first = open(dir.path(), "c", 1, 3, [1; 16]).expect("makes");
        let again = open(dir.path(), "c", 1, 3, [2; 16]).expect("opens");
        assert_eq!(first.incarnation, again.incarnation);
        for (cluster, node, groups) in [("d", 1, 3), ("c", 2, 3), ("c", 1, 4)] {
            assert!(open(dir.path(), cluster, node, groups, [1; 16]).is_err());
        }
    }

    #[test]
    fn a_peer_with_other_data_is_refused_after_a_restart_too() {
        let dir = tempfile::tempdir().expect("a directory");
        let own = Bytes::from_static(b"own");
        let known = Incarnations::open(dir.path(), own.clone()).expect("opens");
        known.check(2, b"first").expect("is remembered");
        known.check(2, b"first").expect("is the same");
        assert!(known.check(2, b"second").is_err());
        let known = Incarnations::open(dir.path(), own).expect("opens");
        assert!(known.check(2, b"second").is_err());
        assert_eq!(&known.of(2)[..], b"first");
    }
}
