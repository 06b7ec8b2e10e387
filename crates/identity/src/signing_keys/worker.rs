//! Looks after the keys of all pools, on one gateway at a time: a lease in the directory saves the others the work. What
//! is done to a pool does not rely on it.

use std::{collections::HashMap, time::Duration};

use async_trait::async_trait;
use conclave_api::{ApiError, ExceptionName};
use conclave_store::{
    DIRECTORY_SCOPE, keys,
    records::{KeyWorkerRecord, PoolLocationRecord},
};
use prost::Message as _;
use tokio::time::Instant;

use super::{Timing, advance::advance, ms};
use crate::{
    tx::{Decision, Query, Transaction, Tx, transact},
    world::World,
};

/// How long another gateway waits for one that is gone.
const LEASE: Duration = Duration::from_secs(10);
/// A pool is read again after this, whatever it said.
const LOOK_AGAIN_MS: i64 = 10 * 60 * 1_000;
/// Orders, and rows of pools, that are looked at together.
const ROWS_AT_ONCE: u32 = 100;
/// Pools whose next step is remembered. What is not is read again.
const POOLS_MAX: usize = 100_000;
/// No directory has more pages.
const PAGES_MAX: usize = 1_000_000;
/// Steps of one pool in a row.
const STEPS_MAX: usize = 8;
/// After work on a pool that nobody waits for, the processor is left to others for so many times as long as it took:
/// an upgrade has a key made for every pool.
const REST: u32 = 4;

/// What one look has come to.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Report {
    /// Whether this is the one that works.
    pub works: bool,
    /// Pools that were looked at.
    pub pools: u64,
    /// Those whose keys have changed.
    pub changed: u64,
}

/// See the module.
pub struct Worker {
    id: [u8; 16],
    timing: Timing,
    /// When a pool's keys have something to be done, on the clock of its group.
    next_ms: HashMap<String, i64>,
    looked_at: Option<Instant>,
}

impl Worker {
    /// `id` is random.
    pub fn new(id: [u8; 16], timing: Timing) -> Self {
        Self { id, timing, next_ms: HashMap::new(), looked_at: None }
    }

    /// Does what was ordered, and from time to time what is due in any pool.
    ///
    /// # Errors
    /// The directory's; what a single pool answers stops nothing.
    pub async fn look(&mut self, world: &World) -> Result<Report, ApiError> {
        let turn = transact(world, &TakeTurn { worker: &self.id }).await?;
        let mut report = Report { works: turn.ours, ..Report::default() };
        if !turn.ours {
            // whoever works changes what is remembered here
            self.next_ms.clear();
            self.looked_at = None;
            return Ok(report);
        }
        for (pool_id, version) in &turn.orders {
            if self.work(world, pool_id, &mut report).await {
                transact(world, &EndOrder { pool_id, version: *version }).await?;
            }
        }
        if self.looked_at.is_none_or(|at| at.elapsed() >= self.timing.check) {
            self.looked_at = Some(Instant::now());
            self.sweep(world, &mut report).await?;
        }
        Ok(report)
    }

    async fn sweep(&mut self, world: &World, report: &mut Report) -> Result<(), ApiError> {
        let mut after = Vec::new();
        for _ in 0..PAGES_MAX {
            let page = transact(world, &Pools { after }).await?;
            for pool_id in &page.pools {
                if self.next_ms.get(pool_id).is_some_and(|next_ms| *next_ms > page.now_ms) {
                    continue;
                }
                let (began, changed) = (Instant::now(), report.changed);
                self.work(world, pool_id, report).await;
                if report.changed > changed {
                    tokio::time::sleep(began.elapsed() * REST).await;
                    // it has taken a while
                    if !transact(world, &TakeTurn { worker: &self.id }).await?.ours {
                        return Ok(());
                    }
                }
            }
            match page.next {
                Some(next) => after = next,
                None => return Ok(()),
            }
        }
        Ok(())
    }

    /// Answers whether everything has been done that is due.
    async fn work(&mut self, world: &World, pool_id: &str, report: &mut Report) -> bool {
        report.pools += 1;
        let mut changed = false;
        let mut done = false;
        for _ in 0..STEPS_MAX {
            match advance(world, pool_id, &self.timing).await {
                Ok(step) if step.changed => changed = true,
                Ok(step) => {
                    self.remember(pool_id, step.next_ms, step.now_ms);
                    done = true;
                    break;
                }
                Err(error) if error.code == ExceptionName::ResourceNotFoundException => {
                    // in the making, or left by a crash
                    self.next_ms.remove(pool_id);
                    done = true;
                    break;
                }
                Err(error) => {
                    let code = error.code.as_str();
                    tracing::warn!(code, pool_id, "a pool's signing keys could not be looked at");
                    break;
                }
            }
        }
        report.changed += u64::from(changed);
        done
    }

    /// A pool is looked at again soon even where nothing is due: an order can be lost between the pool and the directory.
    fn remember(&mut self, pool_id: &str, next_ms: Option<i64>, now_ms: i64) {
        if self.next_ms.len() >= POOLS_MAX {
            self.next_ms.clear();
        }
        let again_ms = now_ms.saturating_add(LOOK_AGAIN_MS);
        self.next_ms
            .insert(pool_id.to_owned(), next_ms.map_or(again_ms, |next| next.min(again_ms)));
    }
}

/// Whether it is our turn to work, and what was ordered.
struct Turn {
    ours: bool,
    /// Pools, and the versions of the rows.
    orders: Vec<(String, u64)>,
}

struct TakeTurn<'a> {
    worker: &'a [u8],
}

#[async_trait]
impl Transaction for TakeTurn<'_> {
    type Output = Turn;

    fn scope(&self) -> &str {
        DIRECTORY_SCOPE
    }

    async fn decide(&self, tx: &mut Tx<'_>) -> Decision<Turn> {
        let row = keys::key_worker();
        let orders = keys::key_orders();
        tx.load(Query::new().get(row.clone()).scan(orders.clone(), Vec::new(), ROWS_AT_ONCE))
            .await?;
        let present = tx.get::<KeyWorkerRecord>(&row)?.map(|stored| stored.record);
        let now_ms = tx.now_ms();
        let is_ours = |record: &KeyWorkerRecord| record.worker == self.worker;
        if present.as_ref().is_some_and(|record| !is_ours(record) && record.until_ms > now_ms) {
            return Ok(Turn { ours: false, orders: Vec::new() }.into());
        }
        let lease_ms = ms(LEASE);
        let half_over = |record: &KeyWorkerRecord| record.until_ms - now_ms < lease_ms / 2;
        if !present.as_ref().is_some_and(|record| is_ours(record) && !half_over(record)) {
            let worker = self.worker.to_vec().into();
            tx.put(row, &KeyWorkerRecord { worker, until_ms: now_ms + lease_ms });
        }
        let orders = tx.versions_under(&orders).filter_map(|(key, version)| {
            keys::key_order_pool(key).map(|pool_id| (pool_id.to_owned(), version))
        });
        Ok(Turn { ours: true, orders: orders.collect() }.into())
    }
}

/// An order that has come meanwhile stays.
struct EndOrder<'a> {
    pool_id: &'a str,
    version: u64,
}

#[async_trait]
impl Transaction for EndOrder<'_> {
    type Output = ();

    fn scope(&self) -> &str {
        DIRECTORY_SCOPE
    }

    async fn decide(&self, tx: &mut Tx<'_>) -> Decision<()> {
        let row = keys::key_order(self.pool_id);
        tx.load(Query::new().get(row.clone())).await?;
        if tx.versions_under(&row).any(|(key, version)| key == &row && version == self.version) {
            tx.delete(row);
        }
        Ok(().into())
    }
}

struct PoolPage {
    pools: Vec<String>,
    next: Option<Vec<u8>>,
    now_ms: i64,
}

struct Pools {
    after: Vec<u8>,
}

#[async_trait]
impl Transaction for Pools {
    type Output = PoolPage;

    fn scope(&self) -> &str {
        DIRECTORY_SCOPE
    }

    async fn decide(&self, tx: &mut Tx<'_>) -> Decision<PoolPage> {
        let prefix = keys::pool_locations();
        let query = Query::new().scan(prefix.clone(), self.after.clone(), ROWS_AT_ONCE);
        let page = tx.load(query).await?.pop();
        let mut pools = Vec::new();
        let mut next = None;
        if let Some(page) = page {
            for (key, value) in &page.rows {
                let name = key.strip_prefix(&prefix[..]).map(std::str::from_utf8);
                // a row that cannot be read is the reconciler's affair
                if let (Some(Ok(name)), Ok(_)) = (name, PoolLocationRecord::decode(value.clone())) {
                    pools.push(name.to_owned());
                }
            }
            next = page.next.map(|next| next.to_vec());
        }
        Ok(PoolPage { pools, next, now_ms: tx.now_ms() }.into())
    }
}
