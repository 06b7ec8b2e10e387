//! The keys of pools over time. Each pool's key seals what the pool holds; the cluster's key wraps it.
//!
//! An exchange goes over all pools three times. First each pool gets a new version of its key, which seals at once: it is
//! configuration, so no gateway that reads the pool acts without it. Then everything that older versions have sealed is
//! sealed again. When nothing of theirs can be committed any more, and what clients hold of them is over, the last pass looks
//! at everything again, and deletes the older versions of each pool in which it finds nothing that needs them. Codes and
//! uploaded files that were sealed before cannot be sealed again, and expire: their pools are looked at until they have.
//!
//! Each step is a commit on the versions of the rows that it writes, and one row in the directory says where it goes on. So
//! whoever dies in between leaves everything readable, and another gateway goes on.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use conclave_api::{ApiError, ExceptionName};
use conclave_crypto::seal::{self, Keyring, sealed_version};
use conclave_store::{
    DIRECTORY_SCOPE, keys,
    records::{PoolKeysRecord, PoolResealRecord, WrappedKey},
};

use crate::{
    config, errors,
    sealed::{self, Place},
    tx::{Decision, Failure, Query, Stored, Transaction, Tx, transact},
    world::World,
};

pub(crate) mod boxes;
pub mod order;

/// Rows that are looked at together: half as many as a commit can check.
const ROWS_AT_ONCE: u32 = 50;
/// Bytes of a commit after which the next one begins: a quarter of what it may hold, and one more row.
const BYTES_AT_ONCE: usize = 256 << 10;
/// Steps of one look. With a look in each second, this is the limit of the rate: 1,500 rows in a second.
const STEPS_AT_ONCE: usize = 30;
/// Rows of uploaded files in place of one of another kind: each has 128 KiB.
const ROWS_OF_A_CHUNK: u32 = 12;
/// How often in a row a pool's group may not answer, a look each second, before the next pool's turn.
const TRIES_MAX: u32 = 60;
/// Versions of a pool's key at a time.
const VERSIONS_MAX: usize = 8;
const UNKNOWN_USER_SECRET: &str = "unknown_user_secret";

/// How long things take.
#[derive(Debug, Clone, Copy)]
pub struct Timing {
    /// For how long what was sealed before may still be committed, at most.
    pub settle: Duration,
    /// For how long clients hold what was sealed before (sessions, page tokens), at least.
    pub keep: Duration,
}

/// Takes the next steps, by the one gateway whose turn it is. Answers whether there were any.
///
/// # Errors
/// ServiceUnavailable when the directory does not answer. What a single pool answers keeps its older keys and nothing else.
pub async fn advance(world: &World, timing: Timing) -> Result<bool, ApiError> {
    let mut progressed = false;
    for _ in 0..STEPS_AT_ONCE {
        match transact(world, &Step { timing }).await? {
            Next::Wait => break,
            Next::Again => {}
            Next::Work(before) => {
                let Worked { after, rests } = work(world, &before).await;
                transact(world, &Passed { before: &before, after: &after }).await?;
                if rests {
                    return Ok(after.tries == 0);
                }
            }
        }
        progressed = true;
    }
    Ok(progressed)
}

/// Where it goes on after some work.
struct Worked {
    after: PoolResealRecord,
    /// Not before the next look.
    rests: bool,
}

/// What was under way, asked for again: for a cluster that was restored, whose groups and directory were not cut at the same
/// time. `None` where nothing was.
pub(crate) fn begun_anew(record: PoolResealRecord, now_ms: i64) -> Option<PoolResealRecord> {
    (record.started_ms > 0).then(|| PoolResealRecord {
        asked_ms: now_ms.max(1),
        asked_pool: record.only_pool,
        finished_ms: record.finished_ms,
        finished_pool: record.finished_pool,
        ..Default::default()
    })
}

enum Next {
    /// Nothing to do now.
    Wait,
    /// A step has been taken.
    Again,
    /// The pool of this record is to be worked on.
    Work(Box<PoolResealRecord>),
}

fn reseal_record(tx: &Tx<'_>) -> Result<PoolResealRecord, ApiError> {
    let stored = tx.get::<PoolResealRecord>(&keys::pool_reseal())?;
    Ok(stored.map(|stored| stored.record).unwrap_or_default())
}

/// Where a pool is begun.
fn beginning() -> Bytes {
    Bytes::from(vec![boxes::TAGS.map(|tag| tag as u8).first().copied().unwrap_or_default()])
}

struct Step {
    timing: Timing,
}

#[async_trait]
impl Transaction for Step {
    type Output = Next;

    fn scope(&self) -> &str {
        DIRECTORY_SCOPE
    }

    async fn decide(&self, tx: &mut Tx<'_>) -> Decision<Next> {
        let row = keys::pool_reseal();
        tx.load(Query::new().get(row.clone())).await?;
        let record = reseal_record(tx)?;
        let now_ms = tx.now_ms();
        if record.started_ms == 0 {
            if record.asked_ms == 0 {
                return Ok(Next::Wait.into());
            }
            let begun = PoolResealRecord {
                started_ms: now_ms.max(1),
                only_pool: record.asked_pool,
                pass: 1,
                ..Default::default()
            };
            tx.put(row, &begun);
            return Ok(Next::Again.into());
        }
        if !record.after.is_empty() {
            return Ok(Next::Work(Box::new(record)).into());
        }
        if record.is_over {
            return Ok(self.after_pass(tx, record).into());
        }
        let next = match (next_pool(tx, &record).await?, record.pass) {
            (Some(pool_id), _) => PoolResealRecord { pool_id, after: beginning(), ..record },
            (None, 1) if record.failed == 0 => {
                PoolResealRecord { introduced_ms: now_ms, ..pass(record, 2) }
            }
            (None, _) => PoolResealRecord { is_over: true, since_ms: now_ms, ..record },
        };
        tx.put(row, &next);
        Ok(Next::Again.into())
    }
}

impl Step {
    /// What follows a pass that is over.
    fn after_pass(&self, tx: &mut Tx<'_>, record: PoolResealRecord) -> Next {
        let now_ms = tx.now_ms();
        let is_over = |since_ms: i64, time: Duration| {
            now_ms.saturating_sub(since_ms) >= i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
        };
        let Timing { settle, keep } = self.timing;
        let next = match record.pass {
            // pools that could not be reached are tried again, and none of the others gets another version
            1 if is_over(record.since_ms, settle) => pass(record, 1),
            2 if is_over(record.introduced_ms, settle.max(keep)) => pass(record, 3),
            3 if record.failed == 0 && record.waiting == 0 => {
                let (kept, damaged) = (record.kept, record.damaged);
                tracing::info!(
                    kept,
                    damaged,
                    resealed = record.resealed,
                    "pools were sealed again"
                );
                PoolResealRecord {
                    kept,
                    damaged,
                    looked_at: record.looked_at,
                    resealed: record.resealed,
                    finished_ms: now_ms,
                    finished_pool: record.only_pool,
                    ..Default::default()
                }
            }
            // whoever waits for what expires looks less often
            3 if is_over(record.since_ms, if record.failed > 0 { settle } else { keep }) => {
                pass(record, 3)
            }
            _ => return Next::Wait,
        };
        tx.put(keys::pool_reseal(), &next);
        Next::Again
    }
}

/// The beginning of a pass.
fn pass(record: PoolResealRecord, pass: u32) -> PoolResealRecord {
    PoolResealRecord {
        pass,
        is_over: false,
        pool_id: String::new(),
        after: Bytes::new(),
        keys_version: 0,
        left: 0,
        damaged_rows: 0,
        tries: 0,
        pools: 0,
        waiting: 0,
        failed: 0,
        kept: 0,
        damaged: 0,
        ..record
    }
}

async fn next_pool(tx: &mut Tx<'_>, record: &PoolResealRecord) -> Result<Option<String>, Failure> {
    if !record.only_pool.is_empty() {
        return Ok(record.pool_id.is_empty().then(|| record.only_pool.clone()));
    }
    let prefix = keys::pool_locations();
    let after = match record.pool_id.as_str() {
        "" => Vec::new(),
        pool_id => keys::pool_location(pool_id),
    };
    let page = tx.load(Query::new().scan(prefix.clone(), after, 1)).await?.pop();
    let page = page.ok_or_else(|| errors::internal("a scan has no page"))?;
    let name = page.rows.first().and_then(|(key, _)| key.strip_prefix(&prefix[..]));
    Ok(name.and_then(|name| std::str::from_utf8(name).ok()).map(str::to_owned))
}

/// Works on the pool whose turn it is. Answers where it goes on.
async fn work(world: &World, before: &PoolResealRecord) -> Worked {
    let done = match before.pass {
        1 => introduced(world, before).await,
        _ => resealed(world, before).await,
    };
    match done {
        Ok(worked) => worked,
        // deleted meanwhile, or left by a crash
        Err(error) if error.code == ExceptionName::ResourceNotFoundException => {
            at_once(end_of_pool(PoolResealRecord { left: 0, damaged_rows: 0, ..before.clone() }))
        }
        // an election, or more load than it can take: the same rows again
        Err(error) if is_passing(&error) && before.tries < TRIES_MAX => Worked {
            after: PoolResealRecord { tries: before.tries + 1, ..before.clone() },
            rests: true,
        },
        Err(error) => {
            let (code, pool_id) = (error.code.as_str(), &before.pool_id);
            tracing::warn!(code, pool_id, pass = before.pass, "a pool could not be sealed again");
            let after =
                end_of_pool(PoolResealRecord { left: 0, damaged_rows: 0, ..before.clone() });
            at_once(PoolResealRecord { failed: after.failed + 1, ..after })
        }
    }
}

fn is_passing(error: &ApiError) -> bool {
    matches!(
        error.code,
        ExceptionName::ServiceUnavailable | ExceptionName::TooManyRequestsException
    )
}

fn at_once(after: PoolResealRecord) -> Worked {
    Worked { after, rests: false }
}

fn end_of_pool(record: PoolResealRecord) -> PoolResealRecord {
    PoolResealRecord {
        after: Bytes::new(),
        keys_version: 0,
        pools: record.pools + 1,
        waiting: record.waiting + u64::from(record.left > 0),
        damaged: record.damaged + u64::from(record.damaged_rows > 0),
        left: 0,
        damaged_rows: 0,
        tries: 0,
        ..record
    }
}

/// The pool's end, where it keeps its key.
fn kept(record: PoolResealRecord) -> Worked {
    let record = PoolResealRecord { left: 0, damaged_rows: 0, ..record };
    at_once(end_of_pool(PoolResealRecord { kept: record.kept + 1, ..record }))
}

/// The pool from its beginning on.
fn pool_anew(record: PoolResealRecord) -> PoolResealRecord {
    PoolResealRecord { after: beginning(), keys_version: 0, left: 0, damaged_rows: 0, ..record }
}

async fn introduced(world: &World, before: &PoolResealRecord) -> Result<Worked, ApiError> {
    let (pool_id, started_ms) = (before.pool_id.as_str(), before.started_ms);
    Ok(match transact(world, &Introduce { pool_id, started_ms }).await? {
        Introduced::Kept => kept(before.clone()),
        Introduced::Already => at_once(end_of_pool(before.clone())),
        Introduced::Now(version) => {
            tracing::info!(pool_id, version, "a pool has another key");
            at_once(end_of_pool(before.clone()))
        }
    })
}

async fn resealed(world: &World, before: &PoolResealRecord) -> Result<Worked, ApiError> {
    let mut record = PoolResealRecord { tries: 0, ..before.clone() };
    let mut budget = ROWS_AT_ONCE;
    loop {
        let (pool_id, after) = (record.pool_id.as_str(), &record.after);
        let of_a_chunk = after.first() == Some(&(keys::Tag::UserImportChunk as u8));
        let cost = if of_a_chunk { ROWS_OF_A_CHUNK } else { 1 };
        let page = Page {
            pool_id,
            after,
            keys_version: record.keys_version,
            started_ms: record.started_ms,
            limit: (budget / cost).max(1),
        };
        let page = match transact(world, &page).await? {
            Outcome::Kept => return Ok(kept(record)),
            Outcome::OneVersion => return Ok(at_once(end_of_pool(record))),
            Outcome::OtherKeys => return Ok(at_once(pool_anew(record))),
            Outcome::Looked(page) => page,
        };
        record.keys_version = page.keys_version;
        record.looked_at += u64::from(page.rows);
        record.resealed += page.resealed;
        record.left += page.left;
        record.damaged_rows += page.damaged;
        budget = budget.saturating_sub(page.rows.saturating_mul(cost));
        match page.next {
            Some(next) => record.after = next,
            None if record.pass == 3 && record.left == 0 && record.damaged_rows == 0 => {
                let (pool_id, keys_version) = (record.pool_id.as_str(), record.keys_version);
                let deleted = transact(world, &DeleteOlder { pool_id, keys_version }).await?;
                if deleted {
                    tracing::info!(pool_id, "the older keys of a pool are deleted");
                }
                return Ok(at_once(match deleted {
                    true => end_of_pool(record),
                    false => pool_anew(record),
                }));
            }
            None => return Ok(at_once(end_of_pool(record))),
        }
        // each such page has every gateway read the pool's configuration again, and sign-ins decide again
        if page.changes_configuration {
            return Ok(Worked { after: record, rests: true });
        }
        if budget == 0 {
            return Ok(at_once(record));
        }
    }
}

fn pool_keys(tx: &Tx<'_>) -> Result<Stored<PoolKeysRecord>, ApiError> {
    let stored = tx.get::<PoolKeysRecord>(&keys::pool_keys())?;
    stored.ok_or_else(|| errors::internal("a pool has no keys"))
}

/// Gives a pool a new version of its key, unless it has one since.
struct Introduce<'a> {
    pool_id: &'a str,
    started_ms: i64,
}

enum Introduced {
    /// The pool is frozen.
    Kept,
    Already,
    /// With this version.
    Now(u32),
}

#[async_trait]
impl Transaction for Introduce<'_> {
    type Output = Introduced;

    fn scope(&self) -> &str {
        self.pool_id
    }

    async fn decide(&self, tx: &mut Tx<'_>) -> Decision<Introduced> {
        let row = keys::pool_keys();
        tx.load(Query::new().get(row.clone())).await?;
        let mut record = pool_keys(tx)?.record;
        if is_new(&record, self.started_ms) {
            return Ok(Introduced::Already.into());
        }
        // whoever moves it has taken its keys along
        if tx.pool()?.is_frozen {
            return Ok(Introduced::Kept.into());
        }
        if record.keys.len() >= VERSIONS_MAX {
            return Err(errors::internal("a pool's key has too many versions").into());
        }
        let (world, opening) = (tx.world(), tx.world().cluster_keys.get());
        let version = record.keys.iter().map(|key| key.version).max().unwrap_or(0) + 1;
        let wrapped = config::wrap_pool_key(
            world,
            self.pool_id,
            version,
            &seal::generate_key(&*world.entropy),
        )?;
        record.keys.push(WrappedKey {
            version,
            wrapped_by: sealed_version(&wrapped)
                .map(|version| format!("cluster key {version}"))
                .unwrap_or_default(),
            wrapped: wrapped.into(),
            created_ms: tx.now_ms().max(self.started_ms),
        });
        let mut versions = Vec::with_capacity(record.keys.len());
        for key in &record.keys {
            versions.push((key.version, config::unwrap_pool_key(&opening, self.pool_id, key)?));
        }
        let keyring = Keyring::new(version, versions)
            .map_err(|_| errors::internal("a new pool key cannot be used"))?;
        let place = Place { scope: self.pool_id, key: &row, field: UNKNOWN_USER_SECRET };
        let secret = sealed::open(&keyring, place, &record.sealed_unknown_user_secret)?;
        let again = sealed::seal(world, &keyring, place, secret.expose())?;
        record.sealed_unknown_user_secret = again.into();
        tx.put(row, &record);
        tx.bump_epoch();
        Ok(Introduced::Now(version).into())
    }
}

/// Whether a pool's key was made for an exchange.
fn is_new(record: &PoolKeysRecord, started_ms: i64) -> bool {
    record.keys.last().is_some_and(|key| key.created_ms >= started_ms)
}

/// Seals some rows of a pool again.
struct Page<'a> {
    pool_id: &'a str,
    /// The row before, or the tag alone at its beginning.
    after: &'a Bytes,
    /// 0 at the beginning of the pool.
    keys_version: u64,
    started_ms: i64,
    limit: u32,
}

enum Outcome {
    /// The pool is frozen, or has come since with an older key.
    Kept,
    /// There is nothing to do in the pool.
    OneVersion,
    /// The pool has other keys than when it was begun.
    OtherKeys,
    Looked(Looked),
}

struct Looked {
    keys_version: u64,
    rows: u32,
    resealed: u64,
    left: u64,
    damaged: u64,
    changes_configuration: bool,
    /// `None` at the end of the pool.
    next: Option<Bytes>,
}

#[async_trait]
impl Transaction for Page<'_> {
    type Output = Outcome;

    fn scope(&self) -> &str {
        self.pool_id
    }

    async fn decide(&self, tx: &mut Tx<'_>) -> Decision<Outcome> {
        let tag = self.after.first().copied().unwrap_or_default();
        let after = if self.after.len() > 1 { self.after.to_vec() } else { Vec::new() };
        let query = Query::new().get(keys::pool_keys()).scan(vec![tag], after, self.limit.max(1));
        let page = tx.load(query).await?.pop();
        let page = page.ok_or_else(|| errors::internal("a scan has no page"))?;
        let (config, stored) = (tx.pool()?, pool_keys(tx)?);
        if config.is_frozen || !is_new(&stored.record, self.started_ms) {
            return Ok(Outcome::Kept.into());
        }
        if self.keys_version != 0 && self.keys_version != stored.version {
            return Ok(Outcome::OtherKeys.into());
        }
        if config.keyring.versions().count() < 2 {
            return Ok(Outcome::OneVersion.into());
        }
        let mut looked = Looked {
            keys_version: stored.version,
            rows: 0,
            resealed: 0,
            left: 0,
            damaged: 0,
            changes_configuration: false,
            next: page.next.or_else(|| next_tag(tag)),
        };
        let mut bytes = 0;
        for (key, value) in &page.rows {
            looked.rows += 1;
            match boxes::reseal(tx, &config, key, value) {
                Ok(boxes::Found::Nothing) => {}
                Ok(boxes::Found::Passing) => looked.left += 1,
                Ok(boxes::Found::Resealed { value, is_configuration }) => {
                    bytes += value.len();
                    looked.changes_configuration |= is_configuration;
                    looked.resealed += 1;
                    tx.put_bytes(key.to_vec(), value, None);
                }
                // what may be mended some day keeps its key, and the others go on
                Err(error) => {
                    let (code, pool_id) = (error.code.as_str(), self.pool_id);
                    tracing::warn!(code, pool_id, tag, "something in a pool does not open");
                    looked.damaged += 1;
                }
            }
            if bytes >= BYTES_AT_ONCE {
                looked.next = Some(key.clone());
                break;
            }
        }
        if looked.changes_configuration {
            // nobody writes back what it remembers of such a row
            tx.bump_epoch();
        }
        Ok(Outcome::Looked(looked).into())
    }
}

/// The beginning of the next kind of rows.
fn next_tag(tag: u8) -> Option<Bytes> {
    let mut rest = boxes::TAGS.iter().map(|tag| *tag as u8).skip_while(|other| *other != tag);
    rest.nth(1).map(|tag| Bytes::from(vec![tag]))
}

/// Deletes the older versions of a pool's key, which nothing needs any more. Answers `false` where the keys have changed
/// since that was found out.
struct DeleteOlder<'a> {
    pool_id: &'a str,
    keys_version: u64,
}

#[async_trait]
impl Transaction for DeleteOlder<'_> {
    type Output = bool;

    fn scope(&self) -> &str {
        self.pool_id
    }

    async fn decide(&self, tx: &mut Tx<'_>) -> Decision<bool> {
        let row = keys::pool_keys();
        tx.load(Query::new().get(row.clone())).await?;
        let stored = pool_keys(tx)?;
        if stored.version != self.keys_version {
            return Ok(false.into());
        }
        let mut record = stored.record;
        let current = record.keys.last().map(|key| key.version);
        if sealed_version(&record.sealed_unknown_user_secret) != current {
            return Err(errors::internal("a pool's secret is not sealed by its present key").into());
        }
        record.keys.retain(|key| Some(key.version) == current);
        tx.put(row, &record);
        tx.bump_epoch();
        Ok(true.into())
    }
}

/// Writes down where it goes on, unless another gateway has done so.
struct Passed<'a> {
    before: &'a PoolResealRecord,
    after: &'a PoolResealRecord,
}

#[async_trait]
impl Transaction for Passed<'_> {
    type Output = ();

    fn scope(&self) -> &str {
        DIRECTORY_SCOPE
    }

    async fn decide(&self, tx: &mut Tx<'_>) -> Decision<()> {
        let row = keys::pool_reseal();
        tx.load(Query::new().get(row.clone())).await?;
        if reseal_record(tx)? == *self.before {
            tx.put(row, self.after);
        }
        Ok(().into())
    }
}
