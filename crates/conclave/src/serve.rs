//! `conclave serve`: a node of a cluster, with a gateway in front of it.

use std::{path::Path, sync::Arc, time::Duration};

use anyhow::Result;
use async_trait::async_trait;
use conclave_cluster::{RoutingLimits, RoutingOptions, RoutingStore};
use conclave_crypto::{
    entropy::{self, SystemEntropy},
    password::Params,
};
use conclave_identity::{directory::NewCluster, world::World};
use conclave_outbound::{Message, Messenger, SendError};
use conclave_shard::{GroupHost, GroupHostOptions, Limits, Listen, Member, Timing};
use conclave_store::Store;
use conclave_tls::Mutual;

use crate::{
    certificates::{self, Certificates},
    clock::SystemClock,
    compose::{self, Parts},
    config::ServeConfig,
    node,
    placement::HintPlacement,
    process::{Ports, Process},
};

/// A cluster that is started for the first time waits for its nodes.
const READY_WITHIN: Duration = Duration::from_secs(300);

/// Runs until it is told to stop.
pub async fn run(path: &Path) -> Result<()> {
    let config = ServeConfig::read(path)?;
    let clock = Arc::new(SystemClock::start());
    let ports = Ports {
        public: node::listen(config.listen.public, "public").await?,
        management: node::listen(config.listen.management, "management").await?,
    };
    let public = ports.public.local_addr()?;
    let placement = Arc::new(HintPlacement::default());
    let certificates = load_certificates(&config)?;
    let internal = certificates.internal.as_ref();
    let options = host_options(&config, internal);
    let host = Arc::new(GroupHost::start(options, clock.clone(), placement.clone()).await?);
    let store = route(&config, &placement, internal, Some(&host))?;
    let parts = parts(&config, store, placement)?;
    let ready_within = READY_WITHIN;
    let process = Process { clock, host, ports, certificates, inbox: None, ready_within };
    process
        .run(parts, async |_| {
            Ok(format!(
                "Conclave node {} of {} is ready: {public}",
                config.node_id, config.cluster_id
            ))
        })
        .await
}

/// The world of an administration command: a client of the running cluster.
pub async fn connect(path: &Path) -> Result<Arc<World>> {
    let config = ServeConfig::read(path)?;
    let placement = Arc::new(HintPlacement::default());
    let internal = config.internal_tls.as_ref().map(certificates::internal).transpose()?;
    let store = route(&config, &placement, internal.as_ref(), None)?;
    compose::world(&parts(&config, store, placement)?).await
}

fn load_certificates(config: &ServeConfig) -> Result<Certificates> {
    Ok(Certificates {
        internal: config.internal_tls.as_ref().map(certificates::internal).transpose()?,
        public: config.public_tls.as_ref().map(certificates::public).transpose()?,
        check_interval: Duration::from_secs(config.certificate_check_s),
    })
}

fn host_options(config: &ServeConfig, internal: Option<&Arc<Mutual>>) -> GroupHostOptions {
    GroupHostOptions {
        cluster_id: config.cluster_id.clone(),
        node_id: config.node_id,
        data_dir: config.data_dir.clone(),
        groups: config.pool_groups + 1,
        members: config
            .members
            .iter()
            .map(|member| Member { node_id: member.node_id, address: member.address.clone() })
            .collect(),
        listen: Some(Listen::Address(config.listen.internal)),
        tls: internal.cloned(),
        incarnation: entropy::bytes(&SystemEntropy),
        limits: Limits::default(),
        timing: Timing::default(),
    }
}

fn route(
    config: &ServeConfig,
    placement: &Arc<HintPlacement>,
    internal: Option<&Arc<Mutual>>,
    host: Option<&Arc<GroupHost>>,
) -> Result<Arc<dyn Store>> {
    let options = RoutingOptions {
        cluster_id: config.cluster_id.clone(),
        seeds: config.members.iter().map(|member| member.address.clone()).collect(),
        tls: internal.cloned(),
        groups: config.pool_groups + 1,
        placement: placement.clone(),
        local: host.map(|host| host.shard()),
        limits: RoutingLimits::default(),
    };
    Ok(Arc::new(RoutingStore::new(options)?))
}

fn parts(
    config: &ServeConfig,
    store: Arc<dyn Store>,
    placement: Arc<HintPlacement>,
) -> Result<Parts> {
    Ok(Parts {
        store,
        placement,
        kek: Arc::new(config.kek.open()?),
        cluster: NewCluster {
            cluster_id: config.cluster_id.clone(),
            pool_groups: config.pool_groups,
        },
        public_url: config.public_url.clone(),
        messenger: Arc::new(NoMessenger),
        password_params: Params::DEFAULT,
    })
}

/// There is no e-mail and no SMS in `serve` yet: whoever would be sent a code is told so.
struct NoMessenger;

#[async_trait]
impl Messenger for NoMessenger {
    async fn send(&self, _message: Message) -> Result<(), SendError> {
        Err(SendError::Refused("no way of sending messages is configured".to_owned()))
    }
}
