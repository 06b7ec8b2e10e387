//! Wires a gateway: the domain over a store, the fronts over the domain.

use std::{sync::Arc, time::Duration};

use anyhow::{Context, Result};
use axum::Router;
use conclave_crypto::{
    entropy::{Entropy, SystemEntropy},
    password::{Params, PasswordHasher},
    seal::KekProvider,
};
use conclave_gateway::{
    audit::AuditLog,
    auth_event_feedback, confirm_user,
    dispatch::{Checks, Dispatcher},
    fronts::{Api, RequestLimits},
    gateway::Gateway,
    inbox,
    limits::InFlight,
    logo,
    management::Readiness,
    metrics::Metrics,
    oidc,
    principal::{Authenticator, CachedPrincipals, Mode},
    sigv4, user_import,
};
use conclave_identity::{
    cluster_key::ClusterKeys,
    config_cache::ConfigCache,
    cpu::CpuPool,
    directory::{self, NewCluster},
    signing_keys,
    threat_protection::compromised::CompromisedPasswords,
    world::{Settings, World},
};
use conclave_outbound::{Channel, DataKeys, Messenger, Triggers, inbox::DevInbox, lanes::Tally};
use conclave_store::Store;

use crate::{
    adapters::{DirectoryPrincipals, LinkedFeedback, LinkedSignUps, PoolIssuers, PoolLogos},
    audit::AuditFile,
    clock::SystemClock,
    config::Limits,
    kek::KekTiming,
    operations,
    placement::HintPlacement,
    seed,
    user_imports::Links,
};

/// How long others may keep a JWKS.
const JWKS_MAX_AGE: Duration = Duration::from_secs(300);
/// Requests under way at once.
const IN_FLIGHT_MAX: usize = 4_096;
/// Pools whose configuration is kept decoded.
const POOLS_KEPT: usize = 10_000;
/// Processor-heavy work that may wait, for each core.
const CPU_QUEUE_PER_CORE: usize = 64;
/// How long it may wait.
const CPU_WAIT_MAX: Duration = Duration::from_secs(1);
/// How long a gateway seals with the cluster's keys that it has read; it reads them every second.
const CLUSTER_KEYS_FRESH: Duration = Duration::from_secs(30);
/// Access keys that are kept, each for a second at most.
const PRINCIPALS_KEPT: usize = 4_096;
/// Access keys that are looked up at once.
const PRINCIPAL_LOOKUPS: usize = 64;

/// What a gateway is made of.
pub struct Parts {
    /// The cluster.
    pub store: Arc<dyn Store>,
    /// Learns the key of the hints.
    pub placement: Arc<HintPlacement>,
    /// Unwraps the cluster's keys.
    pub kek: Arc<dyn KekProvider>,
    /// How long things take when it, or the cluster's key, is rotated.
    pub kek_timing: KekTiming,
    /// The name of the cluster, and its number of groups should it be new.
    pub cluster: NewCluster,
    /// The first part of `iss`.
    pub public_url: String,
    /// Delivers messages.
    pub messenger: Arc<dyn Messenger>,
    /// Calls the functions of pools.
    pub triggers: Arc<dyn Triggers>,
    /// Makes keys for functions that send messages.
    pub data_keys: Arc<dyn DataKeys>,
    /// What becomes of the messages, for the metrics.
    pub deliveries: Vec<(Channel, Arc<Tally>)>,
    /// Domains that pools may send e-mail from; `None`: any.
    pub sender_domains: Option<Vec<String>>,
    /// Password hashing; never weaker than the default outside of tests.
    pub password_params: Params,
    /// How much there may be of what administrators make.
    pub limits: Limits,
    /// How long things take in the life of a signing key.
    pub signing_keys: signing_keys::Timing,
    /// Where signed operations are put on record.
    pub audit: Option<Arc<AuditFile>>,
    /// Passwords that threat protection looks for.
    pub compromised_passwords: Option<Arc<CompromisedPasswords>>,
}

/// Opens the directory and makes the world of the domain.
pub async fn world(parts: &Parts) -> Result<Arc<World>> {
    let entropy: Arc<dyn Entropy> = Arc::new(SystemEntropy);
    let directory = directory::open(&*parts.store, &*parts.kek, &*entropy, &parts.cluster)
        .await
        .context("the directory cannot be opened")?;
    parts.placement.learn(directory.hint_key.clone(), directory.pool_groups);
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let passwords = PasswordHasher::new(parts.password_params, cores)
        .map_err(|error| anyhow::anyhow!("the password parameters cannot be used: {error}"))?;
    Ok(Arc::new(World {
        store: Arc::clone(&parts.store),
        entropy,
        cpu: CpuPool::new(cores, cores * CPU_QUEUE_PER_CORE, CPU_WAIT_MAX),
        passwords: Arc::new(passwords),
        messenger: Arc::clone(&parts.messenger),
        triggers: Arc::clone(&parts.triggers),
        data_keys: Arc::clone(&parts.data_keys),
        cluster_keys: Arc::new(ClusterKeys::new(directory.cluster_keys, CLUSTER_KEYS_FRESH)),
        hint_key: directory.hint_key,
        configs: ConfigCache::new(POOLS_KEPT),
        compromised_passwords: parts.compromised_passwords.clone(),
        settings: Settings {
            public_url: parts.public_url.clone(),
            pool_groups: directory.pool_groups,
            pools_per_account_max: parts.limits.pools_per_account,
            clients_per_pool_max: parts.limits.clients_per_pool,
            limits: parts.limits.domain(),
            sender_domains: parts.sender_domains.clone(),
            signing_keys: parts.signing_keys,
        },
    }))
}

/// What the public port serves.
pub fn gateway(
    world: &Arc<World>,
    clock: &Arc<SystemClock>,
    metrics: &Metrics,
    readiness: Arc<dyn Readiness>,
    inbox: Option<Arc<DevInbox>>,
    audit: Option<Arc<AuditFile>>,
) -> Result<Gateway> {
    let clock: Arc<dyn conclave_outbound::Clock> = clock.clone();
    let principals = CachedPrincipals::new(
        DirectoryPrincipals(Arc::clone(world)),
        Arc::clone(&clock),
        PRINCIPALS_KEPT,
        PRINCIPAL_LOOKUPS,
    );
    let api = Api {
        dispatcher: operations::register(Dispatcher::new(), world, metrics),
        authenticator: Authenticator::new(
            sigv4::Options::default(),
            Mode::Verify,
            Arc::new(principals),
            Arc::clone(&clock),
        ),
        checks: Checks::default(),
        in_flight: InFlight::new(IN_FLIGHT_MAX),
        limits: RequestLimits::default(),
        metrics: metrics.clone(),
        entropy: Arc::clone(&world.entropy),
        clock,
        audit: audit.map(|audit| audit as Arc<dyn AuditLog>),
    };
    let mut pages: Router = oidc::router(Arc::new(PoolIssuers(Arc::clone(world))), JWKS_MAX_AGE);
    pages = pages.merge(confirm_user::router(Arc::new(LinkedSignUps(Arc::clone(world)))));
    pages = pages.merge(auth_event_feedback::router(Arc::new(LinkedFeedback(Arc::clone(world)))));
    pages = pages.merge(user_import::router(Arc::new(Links(Arc::clone(world)))));
    pages = pages.merge(logo::router(Arc::new(PoolLogos(Arc::clone(world)))));
    if let Some(inbox) = inbox {
        pages = pages.merge(inbox::router(inbox)).merge(seed::router(Arc::clone(world)));
    }
    Gateway::new(Arc::new(api), Vec::new(), pages, readiness).context("the API cannot be served")
}
