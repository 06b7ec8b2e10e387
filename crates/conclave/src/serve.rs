//! `conclave serve`: a node of a cluster, a gateway in front of one, or both in one process.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, Result};
use conclave_cluster::{RoutingLimits, RoutingOptions, RoutingStore};
use conclave_crypto::{
    entropy::{self, SystemEntropy},
    password::Params,
};
use conclave_gateway::management::Readiness;
use conclave_identity::{directory::NewCluster, world::World};
use conclave_outbound::{
    lanes::{Lane, Lanes},
    sms::Sms,
    smtp::Smtp,
};
use conclave_shard::{
    Admin, AdminOptions, DiskLimits, GroupHost, GroupHostOptions, Limits, Listen, ManageOptions,
    Member, NewId, Retention, Timing,
};
use conclave_store::{Store, levels};
use conclave_tls::Mutual;
use tokio::{net::TcpListener, sync::watch};

use crate::{
    audit::AuditFile,
    backup,
    certificates::{self, Certificates},
    clock::SystemClock,
    cluster_admin::{AdminService, Serving},
    compose::{self, Parts},
    config::{Role, ServeConfig, Snapshots},
    key_work, known_nodes,
    node::{self, ClusterReached, GroupsReady, Registered},
    placement::HintPlacement,
    process::{Ports, Process},
};

/// A cluster that is started for the first time waits for its nodes.
const READY_WITHIN: Duration = Duration::from_secs(300);
/// Room that a node keeps on its disk for what is under way when others have filled it.
const RESERVE_BYTES: u64 = 64 << 20;

/// How often a gateway looks which nodes there are.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// A gateway that has not reached the directory so often in a row is not ready.
const MISSED_MAX: u32 = 3;

/// Runs until it is told to stop.
pub async fn run(path: &Path) -> Result<()> {
    let config = ServeConfig::read(path)?;
    let compromised_passwords = match config.has(Role::Gateway) {
        true => config.threat_protection.open().await.context("threat_protection")?,
        false => None,
    };
    let clock = Arc::new(SystemClock::start());
    let public = match config.has(Role::Gateway) {
        true => Some(node::listen(config.listen.public, "public").await?),
        false => None,
    };
    let serves = public.as_ref().map(TcpListener::local_addr).transpose()?;
    let ports =
        Ports { public, management: node::listen(config.listen.management, "management").await? };
    let placement = Arc::new(HintPlacement::default());
    let certificates = load_certificates(&config)?;
    let internal = certificates.internal.as_ref();
    let administration = AdminService::new();
    let audit = AuditFile::open(config.audit.as_ref(), &clock)?;
    let host = match host_options(&config, internal, &administration, audit.clone()) {
        Some(options) => {
            let host = GroupHost::start(options, clock.clone(), placement.clone()).await?;
            Some(Arc::new(host))
        }
        None => None,
    };
    let routing = route(&config, &placement, internal, host.as_ref())?;
    let mut ready: Vec<Arc<dyn Readiness>> = Vec::new();
    if let Some(host) = &host {
        let options = AdminOptions {
            cluster_id: config.cluster_id.clone(),
            store: routing.clone(),
            tls: internal.cloned(),
            clock: clock.clone(),
            new_id: new_id(),
        };
        let admin = Admin::new(options);
        administration.serve(Serving {
            cluster_id: config.cluster_id.as_str().into(),
            host: host.clone(),
            admin: admin.clone(),
            store: routing.clone(),
        });
        let copying = backup::Serving {
            cluster_id: config.cluster_id.clone(),
            groups: config.pool_groups + 1,
            host: host.clone(),
            admin,
            store: routing.clone(),
            recipients: config.export_recipients()?,
        };
        administration.serve_exports(copying.clone());
        let recipients = config.backup.recipients()?;
        administration.serve_backups(backup::Serving { recipients, ..copying });
        host.manage(routing.clone(), manage_options(&config)?);
        ready.push(Arc::new(GroupsReady(host.clone())));
        ready.push(Arc::new(Registered(host.registered())));
    }
    let (reached, reaches) = watch::channel(true);
    let looking = look_for_nodes(routing.clone(), reached, config.data_dir.clone());
    let looking = tokio::spawn(looking);
    ready.push(Arc::new(ClusterReached(reaches)));
    let parts = match config.has(Role::Gateway) {
        true => Some(Parts {
            audit,
            compromised_passwords,
            ..parts(&config, routing, placement, &clock)?
        }),
        false => None,
    };
    let process = Process {
        clock,
        host: host.clone(),
        ports,
        certificates,
        inbox: None,
        ready_within: READY_WITHIN,
        ready,
    };
    let text = move || ready_text(&config, serves, host.as_deref());
    let ended = match parts {
        Some(parts) => process.run(parts, async |_| Ok(text())).await,
        None => process.run_without_gateway(text).await,
    };
    looking.abort();
    ended
}

fn ready_text(
    config: &ServeConfig,
    serves: Option<SocketAddr>,
    host: Option<&GroupHost>,
) -> String {
    let cluster = &config.cluster_id;
    let who = match host {
        Some(_) => format!("Conclave node {} of {cluster} is ready", config.node_id),
        None => format!("Conclave gateway of {cluster} is ready"),
    };
    let groups = match host {
        Some(host) if host.status().groups.is_empty() => ", without groups yet",
        _ => "",
    };
    match serves {
        Some(public) => format!("{who}{groups}: {public}"),
        None => format!("{who}{groups}"),
    }
}

/// Tells the routing client which nodes there are, for as long as the process runs, and keeps it for the next start.
async fn look_for_nodes(
    routing: Arc<RoutingStore>,
    reached: watch::Sender<bool>,
    data_dir: Option<PathBuf>,
) {
    let mut missed = 0;
    let mut kept = Vec::new();
    loop {
        match routing.look_for_nodes().await {
            Ok(found) => {
                missed = 0;
                if let Some(dir) = data_dir.clone().filter(|_| found != kept) {
                    kept.clone_from(&found);
                    let saved =
                        tokio::task::spawn_blocking(move || known_nodes::save(&dir, &found)).await;
                    if let Ok(Err(error)) = saved {
                        tracing::warn!(%error, "the known nodes cannot be kept");
                    }
                }
            }
            Err(error) => {
                missed += 1;
                tracing::debug!(%error, "the registry of nodes does not answer");
            }
        }
        reached.send_replace(missed < MISSED_MAX);
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// The world of an administration command: a client of the running cluster.
pub async fn connect(path: &Path) -> Result<Arc<World>> {
    let config = ServeConfig::read(path)?;
    let placement = Arc::new(HintPlacement::default());
    let internal = config.internal_tls.as_ref().map(certificates::internal).transpose()?;
    let store = route(&config, &placement, internal.as_ref(), None)?;
    let clock = Arc::new(SystemClock::start());
    let parts = parts(&config, store, placement, &clock)?;
    let world = compose::world(&parts).await?;
    key_work::keep_fresh(Arc::clone(&world), Arc::clone(&parts.kek));
    Ok(world)
}

/// The rows of the running cluster, for an administration command with the certificate of the configuration.
pub fn connect_store(config: &ServeConfig) -> Result<Arc<dyn Store>> {
    let placement = Arc::new(HintPlacement::default());
    let internal = config.internal_tls.as_ref().map(certificates::internal).transpose()?;
    Ok(route(config, &placement, internal.as_ref(), None)?)
}

fn load_certificates(config: &ServeConfig) -> Result<Certificates> {
    Ok(Certificates {
        internal: config.internal_tls.as_ref().map(certificates::internal).transpose()?,
        public: config.public_tls.as_ref().map(certificates::public).transpose()?,
        check_interval: Duration::from_secs(config.certificate_check_s),
    })
}

/// `None` without the role of a shard.
fn host_options(
    config: &ServeConfig,
    internal: Option<&Arc<Mutual>>,
    administration: &AdminService,
    audit: Option<Arc<AuditFile>>,
) -> Option<GroupHostOptions> {
    if !config.has(Role::Shard) {
        return None;
    }
    Some(GroupHostOptions {
        cluster_id: config.cluster_id.clone(),
        node_id: config.node_id,
        data_dir: config.data_dir.clone()?,
        groups: config.pool_groups + 1,
        members: config
            .members
            .iter()
            .map(|member| Member { node_id: member.node_id, address: member.address.clone() })
            .collect(),
        replication_factor: config.replication_factor,
        listen: Some(Listen::Address(config.listen.internal)),
        tls: internal.cloned(),
        services: administration.routes(&config.cluster_id, internal.is_some(), audit),
        incarnation: entropy::bytes(&SystemEntropy),
        limits: Limits {
            retention: retention(config.snapshots),
            cache_bytes: config.memory.cache_mebibytes << 20,
            disk: DiskLimits { reserve_bytes: RESERVE_BYTES, ..DiskLimits::default() },
            ..Limits::default()
        },
        timing: Timing::default(),
        feature_level: conclave_fault::feature_level(levels::KNOWN),
    })
}

fn retention(snapshots: Snapshots) -> Retention {
    Retention {
        snapshot_entries: snapshots.entries,
        snapshot_bytes: snapshots.mebibytes << 20,
        keep_entries: snapshots.keep_entries,
        keep_for: Duration::from_secs(snapshots.keep_seconds),
        ..Retention::default()
    }
}

fn manage_options(config: &ServeConfig) -> Result<ManageOptions> {
    Ok(ManageOptions {
        address: config.own_address()?.to_owned(),
        gateway: config.has(Role::Gateway),
        groups: config.pool_groups + 1,
        replication_factor: config.replication_factor,
        dead_after: Duration::from_secs(config.dead_after_seconds),
        new_id: new_id(),
    })
}

fn new_id() -> NewId {
    Arc::new(|| entropy::bytes(&SystemEntropy))
}

fn route(
    config: &ServeConfig,
    placement: &Arc<HintPlacement>,
    internal: Option<&Arc<Mutual>>,
    host: Option<&Arc<GroupHost>>,
) -> Result<Arc<RoutingStore>> {
    let mut seeds = config.seeds();
    let known = config.data_dir.as_deref().map(known_nodes::load).unwrap_or_default();
    seeds.extend(known.into_iter().filter(|address| !config.seeds().contains(address)));
    let options = RoutingOptions {
        cluster_id: config.cluster_id.clone(),
        seeds,
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
    clock: &Arc<SystemClock>,
) -> Result<Parts> {
    let lanes = lanes(config, clock)?;
    let kek = config.kek.as_ref().context("kek is needed for this")?;
    let opened = config.triggers.open(clock)?;
    Ok(Parts {
        store,
        placement,
        kek: kek.open()?,
        kek_timing: kek.timing(),
        cluster: NewCluster {
            cluster_id: config.cluster_id.clone(),
            pool_groups: config.pool_groups,
        },
        public_url: config.gateway_url()?.to_owned(),
        deliveries: lanes.tallies(),
        messenger: Arc::new(lanes),
        triggers: opened.functions,
        data_keys: opened.data_keys,
        sender_domains: Some(
            config.email.as_ref().map_or_else(Vec::new, |email| email.sender_domains.clone()),
        ),
        password_params: Params::DEFAULT,
        limits: config.limits.clone(),
        signing_keys: config.signing_keys.timing(),
        audit: None,
        compromised_passwords: None,
    })
}

/// How messages leave; where nothing is configured, whoever would be sent a code is told so.
fn lanes(config: &ServeConfig, clock: &Arc<SystemClock>) -> Result<Lanes> {
    let mut lanes = Lanes::default();
    if let Some(email) = &config.email {
        let smtp = Smtp::new(&email.open()?).context("the mail server cannot be used")?;
        let timeout = Duration::from_secs(email.timeout_seconds);
        lanes.email = Some(Lane::start(Arc::new(smtp), email.connections as usize, timeout));
    }
    if let Some(gateway) = &config.sms {
        let sms =
            Sms::new(&gateway.open()?, clock.clone()).context("the SMS gateway cannot be used")?;
        let timeout = Duration::from_secs(gateway.timeout_seconds);
        lanes.sms = Some(Lane::start(Arc::new(sms), gateway.connections as usize, timeout));
    }
    Ok(lanes)
}
