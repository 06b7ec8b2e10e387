//! The cluster's key over time. The key-encryption key wraps it; it wraps the keys of pools, and seals what the directory
//! holds.
//!
//! - When another key-encryption key wraps than the one that has wrapped what is stored, it is wrapped again: one commit.
//! - A new version of the cluster's key is entered in the directory first, and seals only when every gateway has had the
//!   time to learn of it. Then everything that older versions have sealed is sealed again, in two passes: the second one
//!   finds what was made by who had not learned of it yet. When it has found nothing, the older versions are deleted.
//!
//! Each step is a commit on the versions of what it has read, and the row of the rotation says where it goes on. So whoever
//! dies in between leaves everything readable, and another gateway goes on.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use conclave_api::{ApiError, ExceptionName};
use conclave_crypto::{
    seal::{self, KekError, KekProvider, Keyring, sealed_version},
    secret::Key256,
};
use conclave_store::{
    DIRECTORY_SCOPE, keys,
    records::{AccessKeyRecord, ClusterRecord, KeyRotationRecord, PoolKeysRecord, WrappedKey},
};
use parking_lot::RwLock;
use tokio::time::Instant;

use crate::{
    config, errors,
    sealed::{self, Place},
    tx::{Decision, Failure, Query, Transaction, Tx, transact},
    world::World,
};

pub mod order;
#[cfg(test)]
mod tests;

/// Rows that are looked at together.
const ROWS_AT_ONCE: u32 = 50;
/// Steps of one look: others wait for their turn.
const STEPS_AT_ONCE: usize = 20;
/// Versions of the cluster's key at a time.
const VERSIONS_MAX: usize = 8;

/// The cluster's keys as this process knows them.
pub struct ClusterKeys {
    known: RwLock<(Arc<Keyring>, Instant)>,
    fresh_for: Duration,
}

impl ClusterKeys {
    /// Nothing is sealed with keys that were read longer than `fresh_for` ago.
    pub fn new(keyring: Keyring, fresh_for: Duration) -> Self {
        Self { known: RwLock::new((Arc::new(keyring), Instant::now())), fresh_for }
    }

    /// For opening what is sealed.
    pub fn get(&self) -> Arc<Keyring> {
        Arc::clone(&self.known.read().0)
    }

    /// For sealing what is stored: with a version that will not be deleted before it is sealed again.
    ///
    /// # Errors
    /// ServiceUnavailable when the directory has not been read for too long.
    pub fn for_sealing(&self) -> Result<Arc<Keyring>, ApiError> {
        let known = self.known.read();
        match known.1.elapsed() < self.fresh_for {
            true => Ok(Arc::clone(&known.0)),
            false => Err(errors::unavailable()),
        }
    }

    fn learn(&self, keyring: Option<Keyring>, asked_at: Instant) {
        let mut known = self.known.write();
        if let Some(keyring) = keyring {
            known.0 = Arc::new(keyring);
        }
        known.1 = known.1.max(asked_at);
    }

    fn agrees(&self, record: &ClusterRecord) -> bool {
        let known = self.get();
        let versions = record.keys.iter().map(|key| key.version);
        current(record) == Some(known.current()) && versions.eq(known.versions())
    }
}

/// The version that seals: of directories that have never seen a rotation, the only one.
pub fn current(record: &ClusterRecord) -> Option<u32> {
    match record.current_key {
        0 => record.keys.last().map(|key| key.version),
        version => Some(version),
    }
}

/// Unwraps the keys of a record.
///
/// # Errors
/// Those of the provider; [`KekError::NotAuthentic`] also where the record names a version that it does not have.
pub async fn unwrap(record: &ClusterRecord, kek: &dyn KekProvider) -> Result<Keyring, KekError> {
    let mut versions = Vec::with_capacity(record.keys.len());
    for key in &record.keys {
        versions.push((key.version, unwrap_one(record, key, kek).await?));
    }
    let current = current(record).ok_or(KekError::NotAuthentic)?;
    Keyring::new(current, versions).map_err(|_| KekError::NotAuthentic)
}

pub(crate) async fn unwrap_one(
    record: &ClusterRecord,
    key: &WrappedKey,
    kek: &dyn KekProvider,
) -> Result<Key256, KekError> {
    let version = key.version.to_be_bytes();
    kek.decrypt(&[record.cluster_id.as_bytes(), b"cluster key", &version], &key.wrapped).await
}

/// Wraps one version of the cluster's key.
///
/// # Errors
/// Those of the provider.
pub async fn wrap(
    cluster_id: &str,
    version: u32,
    key: &Key256,
    kek: &dyn KekProvider,
    entropy: &dyn conclave_crypto::entropy::Entropy,
    now_ms: i64,
) -> Result<WrappedKey, KekError> {
    let number = version.to_be_bytes();
    let scope = [cluster_id.as_bytes(), b"cluster key", &number];
    let wrapped = kek.encrypt(&scope, key, entropy).await?;
    Ok(WrappedKey {
        version,
        wrapped_by: wrapped.key_id,
        wrapped: wrapped.ciphertext.into(),
        created_ms: now_ms,
    })
}

fn unavailable(error: &KekError) -> ApiError {
    // the text names keys by their ids alone
    tracing::warn!(%error, "the key-encryption key cannot be used");
    errors::unavailable()
}

/// Learns of versions that others have made. Every gateway does it, all the time.
///
/// # Errors
/// ServiceUnavailable when the directory or the key-encryption key does not answer.
pub async fn refresh(world: &World, kek: &dyn KekProvider) -> Result<(), ApiError> {
    let asked_at = Instant::now();
    let record = transact(world, &ReadCluster).await?;
    if world.cluster_keys.agrees(&record) {
        world.cluster_keys.learn(None, asked_at);
        return Ok(());
    }
    let keyring = unwrap(&record, kek).await.map_err(|error| unavailable(&error))?;
    tracing::info!(current = keyring.current(), "learned of another version of the cluster's key");
    world.cluster_keys.learn(Some(keyring), asked_at);
    Ok(())
}

struct ReadCluster;

#[async_trait]
impl Transaction for ReadCluster {
    type Output = ClusterRecord;

    fn scope(&self) -> &str {
        DIRECTORY_SCOPE
    }

    async fn decide(&self, tx: &mut Tx<'_>) -> Decision<ClusterRecord> {
        tx.load(Query::new().get(keys::cluster())).await?;
        Ok(cluster(tx)?.into())
    }
}

fn cluster(tx: &Tx<'_>) -> Result<ClusterRecord, ApiError> {
    let stored = tx.get::<ClusterRecord>(&keys::cluster())?;
    Ok(stored.ok_or_else(|| errors::internal("there is no cluster record"))?.record)
}

fn rotation(tx: &Tx<'_>) -> Result<KeyRotationRecord, ApiError> {
    let stored = tx.get::<KeyRotationRecord>(&keys::key_rotation())?;
    Ok(stored.map(|stored| stored.record).unwrap_or_default())
}

/// Wraps the cluster's keys again, where another key-encryption key wraps now: when it is due, or somebody has asked for it.
/// Answers whether it did.
///
/// # Errors
/// ServiceUnavailable when the directory or the key-encryption key does not answer.
pub async fn rewrap(world: &World, kek: &dyn KekProvider, is_due: bool) -> Result<bool, ApiError> {
    if !is_due && !transact(world, &RewrapIsAsked).await? {
        return Ok(false);
    }
    let key_id = kek.status().await.map_err(|error| unavailable(&error))?;
    transact(world, &Rewrap { kek, key_id: &key_id }).await
}

struct RewrapIsAsked;

#[async_trait]
impl Transaction for RewrapIsAsked {
    type Output = bool;

    fn scope(&self) -> &str {
        DIRECTORY_SCOPE
    }

    async fn decide(&self, tx: &mut Tx<'_>) -> Decision<bool> {
        tx.load(Query::new().get(keys::key_rotation())).await?;
        Ok((rotation(tx)?.rewrap_asked_ms > 0).into())
    }
}

struct Rewrap<'a> {
    kek: &'a dyn KekProvider,
    key_id: &'a str,
}

#[async_trait]
impl Transaction for Rewrap<'_> {
    type Output = bool;

    fn scope(&self) -> &str {
        DIRECTORY_SCOPE
    }

    async fn decide(&self, tx: &mut Tx<'_>) -> Decision<bool> {
        let (row, order) = (keys::cluster(), keys::key_rotation());
        tx.load(Query::new().get(row.clone()).get(order.clone())).await?;
        let mut record = cluster(tx)?;
        let asked = rotation(tx)?;
        if asked.rewrap_asked_ms > 0 {
            tx.put(order, &KeyRotationRecord { rewrap_asked_ms: 0, ..asked });
        }
        let old = |key: &WrappedKey| key.wrapped_by != self.key_id;
        if !record.keys.iter().any(old) {
            return Ok(false.into());
        }
        let mut wrapped_again = Vec::with_capacity(record.keys.len());
        for key in &record.keys {
            wrapped_again.push(match old(key) {
                false => key.clone(),
                true => rewrapped(tx, &record, key, self.kek)
                    .await
                    .map_err(|error| unavailable(&error))?,
            });
        }
        record.keys = wrapped_again;
        tx.put(row, &record);
        Ok(true.into())
    }
}

/// The key under the present key-encryption key, opened once to see that it can be.
async fn rewrapped(
    tx: &Tx<'_>,
    record: &ClusterRecord,
    key: &WrappedKey,
    kek: &dyn KekProvider,
) -> Result<WrappedKey, KekError> {
    let plain = unwrap_one(record, key, kek).await?;
    let entropy = &*tx.world().entropy;
    let (id, version) = (&record.cluster_id, key.version);
    let again = wrap(id, version, &plain, kek, entropy, key.created_ms).await?;
    match unwrap_one(record, &again, kek).await?.expose() == plain.expose() {
        true => Ok(again),
        false => Err(KekError::NotAuthentic),
    }
}

/// Takes the next steps of a rotation that was ordered, by the one gateway whose turn it is. `settle` is how long every
/// gateway takes to learn of a new version, at most, with what it has under way.
///
/// # Errors
/// ServiceUnavailable when the directory or the key-encryption key does not answer; what a single pool answers stops the
/// deletion of older versions and nothing else.
pub async fn advance(
    world: &World,
    kek: &dyn KekProvider,
    settle: Duration,
) -> Result<bool, ApiError> {
    let settle_ms = i64::try_from(settle.as_millis()).unwrap_or(i64::MAX);
    let mut progressed = false;
    for _ in 0..STEPS_AT_ONCE {
        let next = transact(world, &Step { kek, settle_ms }).await?;
        match next {
            Next::Wait => return Ok(progressed),
            Next::Again => {
                progressed = true;
                // whoever enters a version seals with what it knows like all others
                refresh(world, kek).await?;
            }
            Next::Pools { pools, target } => {
                progressed = true;
                let mut failed = 0;
                let mut resealed = 0;
                for pool_id in &pools {
                    match transact(world, &ResealPool { pool_id, target }).await {
                        Ok(did) => resealed += u64::from(did),
                        // deleted meanwhile, or left by a crash
                        Err(error) if error.code == ExceptionName::ResourceNotFoundException => {}
                        Err(error) => {
                            let code = error.code.as_str();
                            tracing::warn!(
                                code,
                                pool_id,
                                "the keys of a pool could not be sealed again"
                            );
                            failed += 1;
                        }
                    }
                }
                transact(world, &Passed { pools: &pools, target, resealed, failed }).await?;
            }
        }
    }
    Ok(progressed)
}

enum Next {
    /// Nothing to do now.
    Wait,
    /// A step has been taken.
    Again,
    /// These pools come next.
    Pools { pools: Vec<String>, target: u32 },
}

struct Step<'a> {
    kek: &'a dyn KekProvider,
    settle_ms: i64,
}

#[async_trait]
impl Transaction for Step<'_> {
    type Output = Next;

    fn scope(&self) -> &str {
        DIRECTORY_SCOPE
    }

    async fn decide(&self, tx: &mut Tx<'_>) -> Decision<Next> {
        let (cluster_row, row) = (keys::cluster(), keys::key_rotation());
        tx.load(Query::new().get(cluster_row.clone()).get(row.clone())).await?;
        let mut record = cluster(tx)?;
        let mut rotation = rotation(tx)?;
        let now_ms = tx.now_ms();
        if rotation.target == 0 {
            if rotation.asked_ms == 0 {
                return Ok(Next::Wait.into());
            }
            let key = new_version(tx, &record, self.kek).await?;
            // it does not seal yet
            record.current_key = current(&record).unwrap_or_default();
            rotation = KeyRotationRecord {
                target: key.version,
                started_ms: now_ms,
                since_ms: now_ms,
                rewrap_asked_ms: rotation.rewrap_asked_ms,
                ..Default::default()
            };
            record.keys.push(key);
            tx.put(cluster_row, &record);
            tx.put(row, &rotation);
            return Ok(Next::Again.into());
        }
        let settled = now_ms.saturating_sub(rotation.since_ms) >= self.settle_ms;
        if record.current_key != rotation.target {
            if !settled {
                return Ok(Next::Wait.into());
            }
            record.current_key = rotation.target;
            rotation.since_ms = now_ms;
            tx.put(cluster_row, &record);
            tx.put(row, &rotation);
            return Ok(Next::Again.into());
        }
        match rotation.pass {
            // of what was sealed before; and, once nobody seals with an older version, of what was sealed meanwhile
            0 => self.begin_pass(tx, rotation, &record),
            1 if rotation.is_over && settled => self.begin_pass(tx, rotation, &record),
            1 if rotation.is_over => Ok(Next::Wait.into()),
            2 if rotation.is_over => self.finish(tx, rotation, record),
            _ => self.go_on(tx, rotation).await,
        }
    }
}

impl Step<'_> {
    /// The directory's own rows, and then pool after pool.
    fn begin_pass(
        &self,
        tx: &mut Tx<'_>,
        rotation: KeyRotationRecord,
        record: &ClusterRecord,
    ) -> Decision<Next> {
        let mut record = record.clone();
        if sealed_version(&record.sealed_hint_key) != Some(rotation.target) {
            let world = tx.world();
            let keyring = world.cluster_keys.for_sealing()?;
            let place = [record.cluster_id.as_bytes(), b"hint key".as_slice()];
            let failed = |_| errors::internal("the hint key could not be sealed again");
            let open = keyring.unwrap_key(&place, &record.sealed_hint_key).map_err(failed)?;
            record.sealed_hint_key =
                keyring.wrap_key(&place, &open, &*world.entropy).map_err(failed)?.into();
            tx.put(keys::cluster(), &record);
        } else {
            tx.rely_on(&keys::cluster());
        }
        let next = KeyRotationRecord {
            pass: rotation.pass + 1,
            after: Bytes::from(keys::access_keys()),
            is_over: false,
            failed: 0,
            ..rotation
        };
        tx.put(keys::key_rotation(), &next);
        Ok(Next::Again.into())
    }

    async fn go_on(&self, tx: &mut Tx<'_>, rotation: KeyRotationRecord) -> Decision<Next> {
        let access_keys = keys::access_keys();
        let pools = keys::pool_locations();
        let prefix = match rotation.after.starts_with(&access_keys) {
            true => &access_keys,
            false => &pools,
        };
        let after = match rotation.after.len() == prefix.len() {
            true => Vec::new(),
            false => rotation.after.to_vec(),
        };
        let page = tx.load(Query::new().scan(prefix.clone(), after, ROWS_AT_ONCE)).await?.pop();
        let page = page.ok_or_else(|| errors::internal("a scan has no page"))?;
        if prefix == &pools {
            let name = |key: &Bytes| {
                let name = key.strip_prefix(&pools[..])?;
                std::str::from_utf8(name).ok().map(str::to_owned)
            };
            let found: Vec<String> = page.rows.iter().filter_map(|(key, _)| name(key)).collect();
            if !found.is_empty() {
                return Ok(Next::Pools { pools: found, target: rotation.target }.into());
            }
            let over = KeyRotationRecord {
                is_over: true,
                since_ms: if rotation.pass == 1 { rotation.since_ms } else { tx.now_ms() },
                ..rotation
            };
            tx.put(keys::key_rotation(), &over);
            return Ok(Next::Again.into());
        }
        let mut resealed = 0;
        for (key, _) in &page.rows {
            resealed += u64::from(reseal_access_key(tx, key, rotation.target)?);
        }
        let next = KeyRotationRecord {
            looked_at: rotation.looked_at + page.rows.len() as u64,
            resealed: rotation.resealed + resealed,
            after: page.next.unwrap_or_else(|| Bytes::from(pools.clone())),
            ..rotation
        };
        tx.put(keys::key_rotation(), &next);
        Ok(Next::Again.into())
    }

    /// Nothing is sealed with an older version any more, and nothing will be.
    fn finish(
        &self,
        tx: &mut Tx<'_>,
        rotation: KeyRotationRecord,
        mut record: ClusterRecord,
    ) -> Decision<Next> {
        if rotation.failed > 0 {
            // once more, from the beginning of the second pass
            let again = KeyRotationRecord { pass: 1, ..rotation };
            tx.put(keys::key_rotation(), &again);
            return Ok(Next::Wait.into());
        }
        record.keys.retain(|key| key.version == rotation.target);
        record.current_key = rotation.target;
        tx.put(keys::cluster(), &record);
        let over = KeyRotationRecord {
            finished_ms: tx.now_ms(),
            last_target: rotation.target,
            looked_at: rotation.looked_at,
            resealed: rotation.resealed,
            started_ms: rotation.started_ms,
            rewrap_asked_ms: rotation.rewrap_asked_ms,
            ..Default::default()
        };
        tx.put(keys::key_rotation(), &over);
        Ok(Next::Again.into())
    }
}

async fn new_version(
    tx: &Tx<'_>,
    record: &ClusterRecord,
    kek: &dyn KekProvider,
) -> Result<WrappedKey, Failure> {
    if record.keys.len() >= VERSIONS_MAX {
        return Err(errors::internal("the cluster's key has too many versions").into());
    }
    let version = record.keys.iter().map(|key| key.version).max().unwrap_or(0) + 1;
    let entropy = &*tx.world().entropy;
    let key = seal::generate_key(entropy);
    let wrapped = wrap(&record.cluster_id, version, &key, kek, entropy, tx.now_ms()).await;
    let wrapped = wrapped.map_err(|error| unavailable(&error))?;
    let open = unwrap_one(record, &wrapped, kek).await.map_err(|error| unavailable(&error))?;
    match open.expose() == key.expose() {
        true => Ok(wrapped),
        false => Err(errors::internal("a new cluster key does not unwrap").into()),
    }
}

/// Answers whether it was sealed by another version.
fn reseal_access_key(tx: &mut Tx<'_>, key: &[u8], target: u32) -> Result<bool, Failure> {
    let Some(stored) = tx.get::<AccessKeyRecord>(key)? else { return Ok(false) };
    if sealed_version(&stored.record.sealed_secret) == Some(target) {
        return Ok(false);
    }
    let world = tx.world();
    let keyring = world.cluster_keys.for_sealing()?;
    let place = Place { scope: DIRECTORY_SCOPE, key, field: "secret" };
    let open = sealed::open(&keyring, place, &stored.record.sealed_secret)?;
    let sealed = sealed::seal(world, &keyring, place, open.expose())?;
    tx.put(key.to_vec(), &AccessKeyRecord { sealed_secret: sealed.into(), ..stored.record });
    Ok(true)
}

/// The keys of one pool. Its configuration stays as it is: they are the same keys.
struct ResealPool<'a> {
    pool_id: &'a str,
    target: u32,
}

#[async_trait]
impl Transaction for ResealPool<'_> {
    type Output = bool;

    fn works_when_frozen(&self) -> bool {
        true
    }

    fn scope(&self) -> &str {
        self.pool_id
    }

    async fn decide(&self, tx: &mut Tx<'_>) -> Decision<bool> {
        let row = keys::pool_keys();
        tx.load(Query::new().get(row.clone())).await?;
        let stored = tx.get::<PoolKeysRecord>(&row)?;
        let mut record = stored.ok_or_else(|| errors::internal("a pool has no keys"))?.record;
        let old = |key: &WrappedKey| sealed_version(&key.wrapped) != Some(self.target);
        if !record.keys.iter().any(old) {
            return Ok(false.into());
        }
        let world = tx.world();
        let opening = world.cluster_keys.get();
        for key in record.keys.iter_mut().filter(|key| old(key)) {
            let open = config::unwrap_pool_key(&opening, self.pool_id, key)?;
            let wrapped = config::wrap_pool_key(world, self.pool_id, key.version, &open)?;
            if sealed_version(&wrapped) != Some(self.target) {
                return Err(errors::unavailable().into());
            }
            key.wrapped = wrapped.into();
            key.wrapped_by = format!("cluster key {}", self.target);
        }
        tx.put(row, &record);
        Ok(true.into())
    }
}

/// Writes down how far a pass has come.
struct Passed<'a> {
    pools: &'a [String],
    target: u32,
    resealed: u64,
    failed: u64,
}

#[async_trait]
impl Transaction for Passed<'_> {
    type Output = ();

    fn scope(&self) -> &str {
        DIRECTORY_SCOPE
    }

    async fn decide(&self, tx: &mut Tx<'_>) -> Decision<()> {
        let row = keys::key_rotation();
        tx.load(Query::new().get(row.clone())).await?;
        let rotation = rotation(tx)?;
        let Some(last) = self.pools.last() else { return Ok(().into()) };
        let after = keys::pool_location(last);
        // another gateway may have been here meanwhile: a place further on, or another rotation, is kept
        if rotation.target != self.target || rotation.is_over || rotation.after[..] >= after[..] {
            return Ok(().into());
        }
        let next = KeyRotationRecord {
            after: after.into(),
            looked_at: rotation.looked_at + self.pools.len() as u64,
            resealed: rotation.resealed + self.resealed,
            failed: rotation.failed + self.failed,
            ..rotation
        };
        tx.put(row, &next);
        Ok(().into())
    }
}
