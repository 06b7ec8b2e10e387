//! Which nodes the cluster has, as the directory knows.

use bytes::Bytes;
use conclave_store::{
    NODES_SCOPE, Store, StoreError, keys, proto,
    records::{NodeRecord, node_record::State},
};
use prost::Message;

/// Nodes of one read.
const PAGE: u32 = 500;
/// Reads at most: far more nodes than a cluster has.
const PAGES_MAX: u32 = 16;

/// Where the internal ports of all nodes are that may hold groups.
pub(crate) async fn read(store: &dyn Store) -> Result<Vec<String>, StoreError> {
    let mut addresses = Vec::new();
    let mut after = Bytes::new();
    for _ in 0..PAGES_MAX {
        let scan = proto::Scan { prefix: keys::nodes().into(), after, limit: PAGE };
        let scans = vec![scan];
        let read = proto::Read { scope: NODES_SCOPE.to_owned(), scans, ..proto::Read::default() };
        let answer = store.read(read).await?;
        after = answer.rows.last().map(|row| row.key.clone()).unwrap_or_default();
        for value in answer.rows.into_iter().filter_map(|row| row.value) {
            let node = NodeRecord::decode(value)
                .map_err(|e| StoreError::Unavailable { detail: format!("a broken node: {e}") })?;
            if !matches!(node.state(), State::Dead | State::Removed) {
                addresses.push(node.address);
            }
        }
        if !answer.scan_ends.first().is_some_and(|end| end.more) {
            break;
        }
    }
    Ok(addresses)
}
