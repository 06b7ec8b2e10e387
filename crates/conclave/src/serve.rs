//! `conclave serve`: a node of a cluster, with a gateway in front of it.

use std::{path::Path, sync::Arc, time::Duration};

use anyhow::{Context, Result};
use conclave_cluster::{RoutingLimits, RoutingOptions, RoutingStore};
use conclave_crypto::{
    entropy::{self, SystemEntropy},
    password::Params,
};
use conclave_identity::{directory::NewCluster, world::World};
use conclave_outbound::{
    lanes::{Lane, Lanes},
    sms::Sms,
    smtp::Smtp,
};
use conclave_shard::{GroupHost, GroupHostOptions, Limits, Listen, Member, Timing, TlsFiles};
use conclave_store::Store;

use crate::{
    clock::SystemClock,
    compose::{self, Parts},
    config::{ServeConfig, Tls},
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
    let host = GroupHost::start(host_options(&config), clock.clone(), placement.clone()).await?;
    let host = Arc::new(host);
    let store = route(&config, &placement, Some(&host))?;
    let parts = parts(&config, store, placement)?;
    let process = Process { clock, host, ports, inbox: None, ready_within: READY_WITHIN };
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
    let store = route(&config, &placement, None)?;
    compose::world(&parts(&config, store, placement)?).await
}

fn host_options(config: &ServeConfig) -> GroupHostOptions {
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
        tls: config.internal_tls.as_ref().map(tls_files),
        incarnation: entropy::bytes(&SystemEntropy),
        limits: Limits::default(),
        timing: Timing::default(),
    }
}

fn tls_files(tls: &Tls) -> TlsFiles {
    TlsFiles {
        ca: tls.ca.clone(),
        certificate: tls.certificate.clone(),
        key: tls.key.clone(),
        server_name: None,
    }
}

fn route(
    config: &ServeConfig,
    placement: &Arc<HintPlacement>,
    host: Option<&Arc<GroupHost>>,
) -> Result<Arc<dyn Store>> {
    let options = RoutingOptions {
        cluster_id: config.cluster_id.clone(),
        seeds: config.members.iter().map(|member| member.address.clone()).collect(),
        tls: config.internal_tls.as_ref().map(client_tls),
        groups: config.pool_groups + 1,
        placement: placement.clone(),
        local: host.map(|host| host.shard()),
        limits: RoutingLimits::default(),
    };
    Ok(Arc::new(RoutingStore::new(options)?))
}

fn client_tls(tls: &Tls) -> conclave_cluster::TlsFiles {
    conclave_cluster::TlsFiles {
        ca: tls.ca.clone(),
        certificate: tls.certificate.clone(),
        key: tls.key.clone(),
        server_name: None,
    }
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
        messenger: Arc::new(lanes(config)?),
        password_params: Params::DEFAULT,
    })
}

/// How messages leave; where nothing is configured, whoever would be sent a code is told so.
fn lanes(config: &ServeConfig) -> Result<Lanes> {
    let mut lanes = Lanes::default();
    if let Some(email) = &config.email {
        let smtp = Smtp::new(&email.open()?).context("the mail server cannot be used")?;
        let timeout = Duration::from_secs(email.timeout_seconds);
        lanes.email = Some(Lane::start(Arc::new(smtp), email.connections as usize, timeout));
    }
    if let Some(gateway) = &config.sms {
        let sms = Sms::new(&gateway.open()?).context("the SMS gateway cannot be used")?;
        let timeout = Duration::from_secs(gateway.timeout_seconds);
        lanes.sms = Some(Lane::start(Arc::new(sms), gateway.connections as usize, timeout));
    }
    Ok(lanes)
}
