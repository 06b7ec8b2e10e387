//! The calling side of `NodeControl`.

use std::{collections::HashMap, io, sync::Arc, time::Duration};

use conclave_tls::Mutual;
use parking_lot::Mutex;
use tokio::time::timeout;
use tonic::{Response, Status, transport::Channel};

use crate::proto::{self, node_control_client::NodeControlClient};

/// Addresses that are known at a time; a cluster has fewer.
const ADDRESSES_MAX: usize = 256;
const STATUS_TIMEOUT: Duration = Duration::from_millis(1_500);
/// A change of members waits for the group to commit it.
const CHANGE_TIMEOUT: Duration = Duration::from_secs(10);
/// Deleting the data of a group waits for those who still read it.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(20);

/// Asks nodes for their status, and has them open, move and close groups.
pub(crate) struct ControlClient {
    cluster_id: String,
    /// 0: a gateway.
    source: u64,
    tls: Option<Arc<Mutual>>,
    open: Mutex<HashMap<String, Channel>>,
}

impl ControlClient {
    pub(crate) fn new(cluster_id: String, source: u64, tls: Option<Arc<Mutual>>) -> Self {
        Self { cluster_id, source, tls, open: Mutex::default() }
    }

    fn client(&self, address: &str) -> io::Result<NodeControlClient<Channel>> {
        let mut open = self.open.lock();
        if let Some(channel) = open.get(address) {
            return Ok(NodeControlClient::new(channel.clone()));
        }
        let channel = conclave_tls::channel(address, self.tls.as_ref(), None)?;
        if open.len() >= ADDRESSES_MAX {
            open.clear();
        }
        open.insert(address.to_owned(), channel.clone());
        Ok(NodeControlClient::new(channel))
    }

    pub(crate) fn header(&self, target: u64, directory_term: u64) -> Option<proto::ControlHeader> {
        Some(proto::ControlHeader {
            cluster_id: self.cluster_id.clone(),
            source: self.source,
            target,
            directory_term,
        })
    }

    /// What a node has.
    pub(crate) async fn status(
        &self,
        target: u64,
        address: &str,
        directory_term: u64,
    ) -> Result<proto::NodeStatus, String> {
        let mut client = self.client(address).map_err(|error| error.to_string())?;
        let request = proto::StatusRequest { header: self.header(target, directory_term) };
        let status = answer(STATUS_TIMEOUT, client.status(request)).await?;
        if status.node_id != target {
            return Err(format!("node {} is at the address of node {target}", status.node_id));
        }
        Ok(status)
    }

    pub(crate) async fn open_group(
        &self,
        address: &str,
        request: proto::OpenGroupRequest,
    ) -> Result<(), String> {
        let mut client = self.client(address).map_err(|error| error.to_string())?;
        done(answer(CHANGE_TIMEOUT, client.open_group(request)).await?)
    }

    pub(crate) async fn close_group(
        &self,
        address: &str,
        request: proto::CloseGroupRequest,
    ) -> Result<(), String> {
        let mut client = self.client(address).map_err(|error| error.to_string())?;
        done(answer(CLOSE_TIMEOUT, client.close_group(request)).await?)
    }

    pub(crate) async fn change_members(
        &self,
        address: &str,
        request: proto::ChangeMembersRequest,
    ) -> Result<(), String> {
        let mut client = self.client(address).map_err(|error| error.to_string())?;
        done(answer(CHANGE_TIMEOUT, client.change_members(request)).await?)
    }

    pub(crate) async fn move_leader(
        &self,
        address: &str,
        request: proto::MoveLeaderRequest,
    ) -> Result<(), String> {
        let mut client = self.client(address).map_err(|error| error.to_string())?;
        done(answer(CHANGE_TIMEOUT, client.move_leader(request)).await?)
    }
}

async fn answer<T>(
    limit: Duration,
    call: impl Future<Output = Result<Response<T>, Status>>,
) -> Result<T, String> {
    match timeout(limit, call).await {
        Ok(Ok(response)) => Ok(response.into_inner()),
        Ok(Err(status)) => Err(format!("{:?}: {}", status.code(), status.message())),
        Err(_) => Err("no answer in time".to_owned()),
    }
}

fn done(reply: proto::ControlReply) -> Result<(), String> {
    reply.refused.map_or(Ok(()), Err)
}
