//! Clears away what a crash leaves between the directory and a pool: rows of pools, clients and domains
//! that are not there, and names in the list of pools that are not the pool's. Also assets that were written for
//! a style which then was not changed.
//!
//! A row goes only when its pool has denied it at two looks that are far enough apart: before that, it
//! can belong to something in the making (see [`make_ms_max`]). A pool that cannot be asked denies
//! nothing. Any number of reconcilers may run at once.

use std::collections::{BTreeMap, HashMap, HashSet};

use async_trait::async_trait;
use bytes::Bytes;
use conclave_api::{ApiError, ExceptionName};
use conclave_store::{
    DIRECTORY_SCOPE, keys,
    records::{DomainLocationRecord, PoolEntryRecord, PoolLocationRecord, PoolRecord},
};
use prost::Message;

use crate::{
    branding,
    call::CallPrincipal,
    domains, errors, pool_moves,
    pools::{self, Enter, make_ms_max},
    tx::{Decision, Query, Transaction, Tx, transact},
    world::World,
};

/// Rows of the directory that are looked at together; a pool is asked for as many clients in one read.
const ROWS_AT_ONCE: u32 = 100;
/// Rows that are remembered from one look to the next. Others have to wait.
const SUSPECTS_MAX: usize = 100_000;
/// No directory has more pages.
const PAGES_MAX: usize = 1_000_000;

/// What one look has come to.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Report {
    /// Rows of pools, clients and domains.
    pub rows: u64,
    /// Rows, and uploads of assets, that were cleared away.
    pub removed: u64,
    /// Names and dates that were put right in the list of pools.
    pub renamed: u64,
}

/// Remembers what it found missing.
#[derive(Default)]
pub struct Reconciler {
    suspects: HashMap<Bytes, Suspect>,
}

struct Suspect {
    /// The row as it was: one that has been written since is another one.
    value: Bytes,
    since_ms: i64,
}

/// A row of the directory that says that a pool has something.
struct Claim {
    key: Bytes,
    value: Bytes,
    pool_id: String,
    of: Claimed,
}

enum Claimed {
    Pool(PoolLocationRecord),
    Client(String),
    Domain(String),
}

impl Reconciler {
    /// Looks at every row once.
    ///
    /// # Errors
    /// The directory's; what a single pool answers stops nothing.
    pub async fn look(&mut self, world: &World) -> Result<Report, ApiError> {
        let mut report = Report::default();
        let mut missing = HashSet::new();
        for prefix in [keys::pool_locations(), keys::client_locations(), keys::domain_locations()] {
            let mut after = Vec::new();
            for _ in 0..PAGES_MAX {
                let page = transact(world, &Page { prefix: &prefix, after }).await?;
                self.judge(world, &page, &mut missing, &mut report).await?;
                match page.next {
                    Some(next) => after = next.to_vec(),
                    None => break,
                }
            }
        }
        self.suspects.retain(|key, _| missing.contains(key));
        Ok(report)
    }

    async fn judge(
        &mut self,
        world: &World,
        page: &Claims,
        missing: &mut HashSet<Bytes>,
        report: &mut Report,
    ) -> Result<(), ApiError> {
        let mut by_pool: BTreeMap<&str, Vec<&Claim>> = BTreeMap::new();
        for claim in &page.claims {
            by_pool.entry(&claim.pool_id).or_default().push(claim);
        }
        for (pool_id, claims) in by_pool {
            report.rows += claims.len() as u64;
            let Some(answer) = ask(world, pool_id, &claims).await else { continue };
            for claim in claims {
                if answer.has(claim) {
                    self.suspects.remove(&claim.key);
                } else {
                    missing.insert(claim.key.clone());
                    if self.is_certain(claim, page.now_ms) && clear(world, claim).await? {
                        report.removed += 1;
                    }
                }
            }
            if answer.has_uploads {
                report.removed +=
                    branding::clear_left_uploads(world, pool_id).await.unwrap_or_default();
            }
            if let Some(pool) = &answer.pool
                && page
                    .claims
                    .iter()
                    .any(|claim| claim.pool_id == pool_id && matches!(claim.of, Claimed::Pool(_)))
                && put_entry_right(world, pool, answer.epoch).await?
            {
                report.renamed += 1;
            }
        }
        Ok(())
    }

    /// Whether this row has been missing for long enough.
    fn is_certain(&mut self, claim: &Claim, now_ms: i64) -> bool {
        match self.suspects.get_mut(&claim.key) {
            Some(suspect) if suspect.value == claim.value => {
                now_ms - suspect.since_ms > 2 * make_ms_max()
            }
            Some(suspect) => {
                *suspect = Suspect { value: claim.value.clone(), since_ms: now_ms };
                false
            }
            None => {
                if self.suspects.len() < SUSPECTS_MAX {
                    let suspect = Suspect { value: claim.value.clone(), since_ms: now_ms };
                    self.suspects.insert(claim.key.clone(), suspect);
                }
                false
            }
        }
    }
}

/// Clears a row away, if it is still as it was. Answers whether it was there.
async fn clear(world: &World, claim: &Claim) -> Result<bool, ApiError> {
    match &claim.of {
        Claimed::Pool(location) => {
            let principal = CallPrincipal {
                account_id: location.account_id.clone(),
                region: location.region.clone(),
                arn: String::new(),
            };
            let (pool_id, only) = (&claim.pool_id, Some(&claim.value[..]));
            // what an import has left, while it is known where
            if !pool_moves::clear_staged(world, pool_id).await? {
                return Ok(false);
            }
            let forget = pools::Forget { principal: &principal, pool_id, deleted: true, only };
            transact(world, &forget).await
        }
        Claimed::Client(_) => transact(world, &ForgetRow { claim }).await,
        Claimed::Domain(domain) => {
            let wanted = |row: &DomainLocationRecord| row.encode_to_vec() == claim.value;
            transact(world, &domains::Forget { domain, wanted }).await
        }
    }
}

/// A page of claims.
struct Claims {
    claims: Vec<Claim>,
    next: Option<Bytes>,
    now_ms: i64,
}

struct Page<'a> {
    prefix: &'a [u8],
    after: Vec<u8>,
}

#[async_trait]
impl Transaction for Page<'_> {
    type Output = Claims;

    fn scope(&self) -> &str {
        DIRECTORY_SCOPE
    }

    async fn decide(&self, tx: &mut Tx<'_>) -> Decision<Claims> {
        let query = Query::new().scan(self.prefix.to_vec(), self.after.clone(), ROWS_AT_ONCE);
        let mut pages = tx.load(query).await?;
        let page = pages.pop().ok_or_else(|| errors::internal("a scan has no page"))?;
        let claims =
            page.rows.into_iter().map(|(key, value)| claim(self.prefix, key, value)).collect();
        let claims: Result<Vec<Claim>, ApiError> = claims;
        Ok(Claims { claims: claims?, next: page.next, now_ms: tx.now_ms() }.into())
    }
}

fn claim(prefix: &[u8], key: Bytes, value: Bytes) -> Result<Claim, ApiError> {
    let undecodable = || errors::internal("a stored record cannot be decoded");
    let name = key.get(prefix.len()..).and_then(|name| std::str::from_utf8(name).ok());
    let name = name.ok_or_else(undecodable)?.to_owned();
    let (pool_id, of) = if prefix == keys::pool_locations() {
        let location = PoolLocationRecord::decode(value.clone()).map_err(|_| undecodable())?;
        (name, Claimed::Pool(location))
    } else if prefix == keys::client_locations() {
        let pool_id = String::from_utf8(value.to_vec()).map_err(|_| undecodable())?;
        (pool_id, Claimed::Client(name))
    } else {
        let location = DomainLocationRecord::decode(value.clone()).map_err(|_| undecodable())?;
        (location.pool_id, Claimed::Domain(name))
    };
    Ok(Claim { key, value, pool_id, of })
}

/// What a pool says of the claims on it.
#[derive(Default)]
struct Answer {
    /// `None` when there is no such pool.
    pool: Option<PoolRecord>,
    epoch: u64,
    clients: HashSet<String>,
    /// Whether assets are being written, or were left half-way.
    has_uploads: bool,
}

impl Answer {
    fn has(&self, claim: &Claim) -> bool {
        let Some(pool) = &self.pool else { return false };
        match &claim.of {
            Claimed::Pool(_) => true,
            Claimed::Client(id) => self.clients.contains(id),
            Claimed::Domain(name) => pool.domains.iter().any(|domain| domain.domain == *name),
        }
    }
}

/// Asks a pool; `None` when it cannot be asked.
async fn ask(world: &World, pool_id: &str, claims: &[&Claim]) -> Option<Answer> {
    match transact(world, &Ask { pool_id, claims }).await {
        Ok(answer) => Some(answer),
        Err(error) if error.code == ExceptionName::ResourceNotFoundException => {
            Some(Answer::default())
        }
        Err(error) => {
            tracing::debug!(code = error.code.as_str(), "a pool could not be asked");
            None
        }
    }
}

struct Ask<'a> {
    pool_id: &'a str,
    claims: &'a [&'a Claim],
}

#[async_trait]
impl Transaction for Ask<'_> {
    type Output = Answer;

    fn scope(&self) -> &str {
        self.pool_id
    }

    async fn decide(&self, tx: &mut Tx<'_>) -> Decision<Answer> {
        let ids = self.claims.iter().filter_map(|claim| match &claim.of {
            Claimed::Client(id) => Some(id),
            _ => None,
        });
        let query = ids.clone().fold(Query::new(), |query, id| query.get(keys::client(id)));
        let uploads = tx.load(query.scan(keys::asset_uploads(), Vec::new(), 1)).await?;
        let clients = ids.filter(|id| tx.get_bytes(&keys::client(id)).is_some()).cloned().collect();
        let pool = tx.pool()?;
        let has_uploads = uploads.iter().any(|page| !page.rows.is_empty());
        let (pool, epoch) = (Some(pool.record.clone()), pool.epoch);
        Ok(Answer { pool, epoch, clients, has_uploads }.into())
    }
}

/// Deletes a row that is still as it was.
struct ForgetRow<'a> {
    claim: &'a Claim,
}

#[async_trait]
impl Transaction for ForgetRow<'_> {
    type Output = bool;

    fn scope(&self) -> &str {
        DIRECTORY_SCOPE
    }

    async fn decide(&self, tx: &mut Tx<'_>) -> Decision<bool> {
        let key = self.claim.key.to_vec();
        tx.load(Query::new().get(key.clone())).await?;
        if tx.get_bytes(&key).as_ref() != Some(&self.claim.value) {
            return Ok(false.into());
        }
        tx.delete(key);
        Ok(true.into())
    }
}

/// Puts a pool's name and date right in the list of its account. Answers whether they were wrong.
async fn put_entry_right(
    world: &World,
    pool: &PoolRecord,
    pool_epoch: u64,
) -> Result<bool, ApiError> {
    let entry = transact(world, &FindEntry { pool }).await?;
    let is_right = entry.is_none_or(|entry| {
        entry.name == pool.name && entry.modified_ms == pool.modified_ms
            || entry.pool_epoch >= pool_epoch
    });
    if is_right {
        return Ok(false);
    }
    transact(world, &Enter { record: pool, pool_epoch }).await?;
    Ok(true)
}

struct FindEntry<'a> {
    pool: &'a PoolRecord,
}

#[async_trait]
impl Transaction for FindEntry<'_> {
    type Output = Option<PoolEntryRecord>;

    fn scope(&self) -> &str {
        DIRECTORY_SCOPE
    }

    async fn decide(&self, tx: &mut Tx<'_>) -> Decision<Self::Output> {
        let PoolRecord { account_id, region, pool_id, .. } = self.pool;
        let row = keys::account_pool(account_id, region, pool_id);
        tx.load(Query::new().get(row.clone())).await?;
        Ok(tx.get::<PoolEntryRecord>(&row)?.map(|entry| entry.record).into())
    }
}

#[cfg(test)]
#[path = "reconciler_tests.rs"]
mod tests;
