//! Pools' configurations. An entry is good for one epoch, and every answer of the store tells the
//! epoch: so nothing here is ever acted on when it is out of date.

use std::{collections::HashMap, sync::Arc};

use parking_lot::RwLock;

use crate::config::PoolConfig;

/// See the module.
pub struct ConfigCache {
    pools: RwLock<HashMap<String, Arc<PoolConfig>>>,
    pools_max: usize,
}

impl ConfigCache {
    /// Keeps at most `pools_max` configurations.
    pub fn new(pools_max: usize) -> Self {
        Self { pools: RwLock::default(), pools_max }
    }

    pub(crate) fn get(&self, pool_id: &str) -> Option<Arc<PoolConfig>> {
        self.pools.read().get(pool_id).cloned()
    }

    pub(crate) fn insert(&self, pool_id: &str, config: &Arc<PoolConfig>) {
        let mut pools = self.pools.write();
        match pools.get(pool_id) {
            Some(present) if present.epoch > config.epoch => return,
            Some(_) => {}
            None if pools.len() >= self.pools_max => {
                // any one: a configuration that is missed costs one longer read
                let victim = pools.keys().next().cloned();
                if let Some(victim) = victim {
                    pools.remove(&victim);
                }
            }
            None => {}
        }
        pools.insert(pool_id.to_owned(), Arc::clone(config));
    }

    pub(crate) fn remove(&self, pool_id: &str) {
        self.pools.write().remove(pool_id);
    }
}
