//! A node's part in the cluster: it registers, learns where the others are, and ends when it has
//! been removed.

use std::{sync::Arc, time::Duration};

use conclave_store::Store;
use tokio::{sync::watch, time::sleep};

use crate::{
    placement::controller::Controller,
    registry::{NewId, RegisteredNode, Registration, Registry, RegistryError},
    replicas::HostInner,
};

/// How soon a registration that has found nobody is tried again.
const REGISTER_EVERY: Duration = Duration::from_millis(250);
/// How often a node looks what the registry knows.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// How a node takes part in its cluster.
#[derive(Clone)]
pub struct ManageOptions {
    /// Where others reach the internal port: `host:port`.
    pub address: String,
    /// Whether the node serves the public API too.
    pub gateway: bool,
    /// Groups of the cluster, the directory among them.
    pub groups: u32,
    /// How many nodes a group has where there are as many; counts when the cluster is made.
    pub replication_factor: u32,
    /// A node that has not been reached for so long is replaced, where another one can take its place.
    pub dead_after: Duration,
    /// Makes the ids of commits.
    pub new_id: NewId,
}

pub(crate) fn start(
    host: &Arc<HostInner>,
    store: Arc<dyn Store>,
    options: ManageOptions,
    registered: watch::Sender<Option<RegisteredNode>>,
) {
    let registry = Registry::new(store, options.new_id.clone());
    let registration = Registration {
        node_id: host.shared.node_id,
        address: options.address.clone(),
        gateway: options.gateway,
        groups: options.groups,
        incarnation: host.shared.peers.incarnation().clone(),
    };
    let controller = Controller::new(host.clone(), registry.clone(), options);
    let host = host.clone();
    host.shared.runtime.clone().spawn(async move {
        tokio::select! {
            () = controller.run() => {}
            () = keep_registered(&host, &registry, &registration, &registered) => {}
            () = host.shared.stopped() => {}
        }
    });
}

/// Returns when the node has to end, and has said why.
async fn keep_registered(
    host: &HostInner,
    registry: &Registry,
    registration: &Registration,
    registered: &watch::Sender<Option<RegisteredNode>>,
) {
    loop {
        match registry.register(registration).await {
            Ok(node) => {
                registered.send_replace(Some(node));
                break;
            }
            Err(error @ RegistryError::Refused(_)) => {
                return host.shared.report_fatal(error.to_string());
            }
            Err(error) => {
                tracing::debug!(%error, "not registered yet");
                sleep(REGISTER_EVERY).await;
            }
        }
    }
    loop {
        match registry.nodes().await {
            Ok(nodes) => {
                let addresses = nodes.nodes.iter().filter(|node| !node.state.is_gone());
                let addresses = addresses.map(|node| (node.node_id, node.address.clone()));
                host.shared.peers.set_addresses(addresses.collect());
                let own = nodes.get(registration.node_id).cloned();
                if own.as_ref().is_some_and(|own| own.state.is_gone()) {
                    let id = registration.node_id;
                    return host.shared.report_fatal(format!(
                        "node {id} has been removed from the cluster; its id is never used again"
                    ));
                }
                registered.send_replace(own);
            }
            Err(error) => tracing::debug!(%error, "the registry of nodes does not answer"),
        }
        sleep(LOOK_EVERY).await;
    }
}
