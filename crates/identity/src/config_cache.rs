//! Pools' configurations. An entry is good for one epoch, and every answer of the store tells the
//! epoch: so nothing here is ever acted on when it is out of date.
//!
//! Beside them, which pool an app client belongs to, where the client's id does not say so. Whether
//! the client is there is seen in the pool.

use std::{collections::HashMap, sync::Arc};

use parking_lot::RwLock;
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::config::PoolConfig;

/// Clients whose pools are remembered.
const CLIENTS_MAX: usize = 10_000;
/// Clients that are looked up at once: anybody can make up ids, and one place answers for all of them.
const LOOKUPS_MAX: usize = 64;

/// See the module.
pub struct ConfigCache {
    pools: RwLock<HashMap<String, Arc<PoolConfig>>>,
    pools_max: usize,
    pools_of_clients: RwLock<HashMap<String, String>>,
    lookups: Semaphore,
}

impl ConfigCache {
    /// Keeps at most `pools_max` configurations.
    pub fn new(pools_max: usize) -> Self {
        Self {
            pools: RwLock::default(),
            pools_max,
            pools_of_clients: RwLock::default(),
            lookups: Semaphore::new(LOOKUPS_MAX),
        }
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

    pub(crate) fn pool_of_client(&self, client_id: &str) -> Option<String> {
        self.pools_of_clients.read().get(client_id).cloned()
    }

    pub(crate) fn keep_pool_of_client(&self, client_id: &str, pool_id: &str) {
        let mut clients = self.pools_of_clients.write();
        if clients.len() >= CLIENTS_MAX {
            clients.clear();
        }
        clients.insert(client_id.to_owned(), pool_id.to_owned());
    }

    /// A client is not where it was: the next request asks again.
    pub(crate) fn forget_pool_of_client(&self, client_id: &str) {
        if self.pools_of_clients.read().contains_key(client_id) {
            self.pools_of_clients.write().remove(client_id);
        }
    }

    /// A place for looking a client up; `None` when too many are being looked up.
    pub(crate) fn lookup(&self) -> Option<SemaphorePermit<'_>> {
        self.lookups.try_acquire().ok()
    }
}

#[cfg(test)]
mod tests {
    use conclave_store::proto;

    use super::*;
    use crate::testing::{TestWorld, new_pool, test_world};
    use crate::{config::PoolConfig, tx};

    /// The pool's configuration, said to be of `epoch`.
    async fn config(world: &TestWorld, pool_id: &str, epoch: u64) -> Arc<PoolConfig> {
        let read = proto::Read {
            scope: pool_id.to_owned(),
            gets: PoolConfig::gets().into(),
            scans: vec![PoolConfig::scan()],
            ..Default::default()
        };
        let mut result = tx::read(world, read).await.unwrap();
        result.epoch = epoch;
        Arc::new(PoolConfig::from_rows(world, pool_id, &result).unwrap())
    }

    #[tokio::test]
    async fn an_answer_that_comes_late_does_not_replace_a_newer_one() {
        let world = test_world().await;
        let pool_id = new_pool(&world).await;
        let cache = ConfigCache::new(10);
        for (epoch, kept) in [(2, 2), (1, 2), (3, 3), (2, 3), (3, 3)] {
            cache.insert(&pool_id, &config(&world, &pool_id, epoch).await);
            assert_eq!(cache.get(&pool_id).unwrap().epoch, kept);
        }
        cache.remove(&pool_id);
        assert!(cache.get(&pool_id).is_none());
    }

    #[tokio::test]
    async fn a_full_cache_forgets_one_for_each_that_comes() {
        let world = test_world().await;
        let pool_id = new_pool(&world).await;
        let config = config(&world, &pool_id, 1).await;
        let cache = ConfigCache::new(3);
        for number in 0..10 {
            cache.insert(&number.to_string(), &config);
            assert!(cache.get(&number.to_string()).is_some());
            assert!(cache.pools.read().len() <= 3);
        }
    }
}
