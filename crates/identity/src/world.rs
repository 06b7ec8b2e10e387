//! What an operation may use of the world. Made once by the composition root; tests make their own.

use std::sync::Arc;

use conclave_crypto::{entropy::Entropy, password::PasswordHasher, secret::Key256};
use conclave_outbound::{DataKeys, Messenger, Triggers};
use conclave_store::Store;

use crate::{
    cluster_key::ClusterKeys, config_cache::ConfigCache, cpu::CpuPool, limits::Limits,
    signing_keys, threat_protection::compromised::CompromisedPasswords,
};

/// The services behind every operation. Cheap to clone by `Arc`.
pub struct World {
    /// Linearizable reads and checked transactions.
    pub store: Arc<dyn Store>,
    /// Randomness.
    pub entropy: Arc<dyn Entropy>,
    /// Threads for password hashing, SRP and signing: capped, with a bounded queue.
    pub cpu: CpuPool,
    /// Argon2id.
    pub passwords: Arc<PasswordHasher>,
    /// E-mail and SMS.
    pub messenger: Arc<dyn Messenger>,
    /// The functions that pools name.
    pub triggers: Arc<dyn Triggers>,
    /// Keys under which functions that send messages get codes.
    pub data_keys: Arc<dyn DataKeys>,
    /// Keys that wrap the pools' own keys.
    pub cluster_keys: Arc<ClusterKeys>,
    /// Authenticates the hints in pool and client ids.
    pub hint_key: Key256,
    /// Pools' configurations, each valid for one epoch.
    pub configs: ConfigCache,
    /// Passwords that are known to be compromised; `None`: the operator has given none, and none is looked at.
    pub compromised_passwords: Option<Arc<CompromisedPasswords>>,
    /// What the operator has set.
    pub settings: Settings,
}

/// What the operator has set.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The URL under which clients reach the gateways, without a slash at the end: the first part of `iss`.
    pub public_url: String,
    /// How many groups hold pools; they are numbered from 1.
    pub pool_groups: u32,
    /// Pools of one account, at most. AWS: "Quotas in Amazon Cognito", 1,000 by default.
    pub pools_per_account_max: i64,
    /// App clients of one pool, at most. AWS: 1,000 by default.
    pub clients_per_pool_max: i64,
    /// How much of everything else there may be.
    pub limits: Limits,
    /// Domains, with what is below them, that pools may send e-mail from; `None`: any.
    pub sender_domains: Option<Vec<String>>,
    /// How long things take in the life of a signing key.
    pub signing_keys: signing_keys::Timing,
}

impl Settings {
    /// Whether e-mail of a pool may be from an address.
    pub fn may_send_from(&self, address: &str) -> bool {
        let domains = self.sender_domains.as_deref();
        domains.is_none_or(|domains| conclave_outbound::is_of_domains(address, domains))
    }
}
