//! The transaction context: an operation's only way to the world.
//!
//! An operation is a [`Transaction`]: it loads rows, decides by plain functions, and states its
//! writes. [`transact`] commits them with the versions of everything that was relied on, and after
//! a conflict decides again on fresh rows, at most [`TRIES_MAX`] times. What must happen only when the
//! commit is certain (messages, token signatures) is stated as an effect and done afterwards.

use std::collections::BTreeMap;

use async_trait::async_trait;
use bytes::Bytes;
use conclave_api::ApiError;
use conclave_crypto::entropy;
use conclave_outbound::SendError;
use conclave_store::{
    StoreError, keys,
    proto::{self, check::Expect, write::Action},
};
use futures::future::BoxFuture;
use prost::Message;
use tokio::time::Instant;
use tracing::{Instrument as _, field::Empty};

use crate::{
    config::{ClientConfig, PoolConfig},
    errors,
    memo::Memo,
    threat_protection::enforcement::Enforcement,
    triggers::{self, Circumstances},
    world::World,
};
use std::sync::Arc;

mod outgoing;
mod settle;

use outgoing::{Outgoing, Undone};
pub(crate) use settle::read;
use settle::{Settled, settle};

/// How often an operation is decided before the caller is told to come again.
pub const TRIES_MAX: u32 = 8;

/// A decision over the rows of one scope.
#[async_trait]
pub trait Transaction: Send + Sync {
    /// What it answers.
    type Output: Send;

    /// The pool id, or [`conclave_store::DIRECTORY_SCOPE`].
    fn scope(&self) -> &str;

    /// What the request brings along for the pool's triggers.
    fn circumstances(&self) -> Circumstances<'_> {
        Circumstances::default()
    }

    /// Whether it is done in a pool that is frozen, too.
    fn works_when_frozen(&self) -> bool {
        false
    }

    /// What the caller is told when the scope is gone by the time of the commit.
    fn scope_is_gone(&self) -> ApiError {
        errors::user_pool_not_found(self.scope())
    }

    /// Loads, decides and states writes. Runs again after a conflict, so it has no effects of its own.
    async fn decide(&self, tx: &mut Tx<'_>) -> Decision<Self::Output>;
}

/// What a decision comes to.
pub type Decision<T> = Result<Reply<T>, Failure>;

/// An answer: ready, or to be finished after the commit.
pub enum Reply<T> {
    /// The answer.
    Ready(T),
    /// Work that must not be done before the commit is certain, such as signing tokens.
    AfterCommit(Finish<T>),
}

/// Finishes an answer after the commit.
pub type Finish<T> =
    Box<dyn for<'w> FnOnce(&'w World) -> BoxFuture<'w, Result<T, ApiError>> + Send>;

impl<T> From<T> for Reply<T> {
    fn from(answer: T) -> Self {
        Self::Ready(answer)
    }
}

/// Why a decision does not answer.
#[derive(Debug)]
pub enum Failure {
    /// Refused; nothing is written.
    Refused(ApiError),
    /// Refused, and the refusal is told only after the writes are committed: a failed attempt counts
    /// before anybody learns that it failed.
    RefusedAfterCommit(ApiError),
    /// What was read at different times does not agree: it is decided again.
    Again,
    /// The store gave no answer.
    Store(StoreError),
}

impl Failure {
    /// The same refusal, told only after the writes are committed.
    #[must_use]
    pub fn after_commit(self) -> Self {
        match self {
            Self::Refused(error) => Self::RefusedAfterCommit(error),
            other => other,
        }
    }
}

impl From<ApiError> for Failure {
    fn from(error: ApiError) -> Self {
        Self::Refused(error)
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

/// What to load, in one round trip.
#[derive(Default)]
pub struct Query {
    gets: Vec<Bytes>,
    follows: Vec<proto::Follow>,
    scans: Vec<proto::Scan>,
    client_id: Option<String>,
}

impl Query {
    /// Nothing yet. In a pool, the pool's configuration always comes with it.
    pub fn new() -> Self {
        Self::default()
    }

    /// The configuration of an app client, for [`Tx::client`].
    #[must_use]
    pub fn client(mut self, client_id: &str) -> Self {
        self.client_id = Some(client_id.to_owned());
        self
    }

    /// One row.
    #[must_use]
    pub fn get(mut self, key: Vec<u8>) -> Self {
        self.gets.push(key.into());
        self
    }

    /// The row `index`, and under the id that it holds the rows `before ++ id ++ after`.
    #[must_use]
    pub fn follow(mut self, index: Vec<u8>, hops: &[(Vec<u8>, Vec<u8>)]) -> Self {
        let hops = hops
            .iter()
            .map(|(before, after)| proto::Hop {
                before: before.clone().into(),
                after: after.clone().into(),
                prefix_limit: 0,
            })
            .collect();
        self.follows.push(proto::Follow { index: index.into(), hops });
        self
    }

    /// Under the id of every [`Self::follow`] so far, also the row `before ++ id ++ after`.
    #[must_use]
    pub fn of_each_follow(self, hop: (Vec<u8>, Vec<u8>)) -> Self {
        self.under_each_follow(hop.0, hop.1, 0)
    }

    /// Under the id of every [`Self::follow`] so far, also the first `limit` rows whose keys begin with
    /// `before ++ id ++ after`, for [`Tx::loaded_under`].
    #[must_use]
    pub fn under_each_follow(mut self, before: Vec<u8>, after: Vec<u8>, limit: u32) -> Self {
        let (before, after) = (Bytes::from(before), Bytes::from(after));
        for follow in &mut self.follows {
            follow.hops.push(proto::Hop {
                before: before.clone(),
                after: after.clone(),
                prefix_limit: limit,
            });
        }
        self
    }

    /// The first `limit` rows that begin with `prefix`, after the key `after`.
    #[must_use]
    pub fn scan(mut self, prefix: Vec<u8>, after: Vec<u8>, limit: u32) -> Self {
        self.scans.push(proto::Scan { prefix: prefix.into(), after: after.into(), limit });
        self
    }
}

/// A stored record with the version at which it was read.
#[derive(Clone)]
pub struct Stored<R> {
    /// The record.
    pub record: R,
    /// Its version.
    pub version: u64,
}

/// One page of a scan.
pub struct Page {
    /// Live rows: relative key and value.
    pub rows: Vec<(Bytes, Bytes)>,
    /// The last key that was looked at, when there may be more behind it.
    pub next: Option<Bytes>,
}

/// See the module.
pub struct Tx<'w> {
    world: &'w World,
    memo: &'w Memo,
    until: Instant,
    scope: &'w str,
    circumstances: Circumstances<'w>,
    config: Option<Arc<PoolConfig>>,
    client: Option<Arc<ClientConfig>>,
    now_ms: i64,
    asked_at: Instant,
    epoch: u64,
    rows: BTreeMap<Bytes, proto::Row>,
    pages: Vec<Page>,
    checks: BTreeMap<Bytes, Expect>,
    writes: BTreeMap<Bytes, Action>,
    bounds: BTreeMap<Bytes, ApiError>,
    relies_on_epoch: bool,
    relies_on_unloaded: bool,
    messages: Vec<Outgoing>,
    notices: Vec<Outgoing>,
    effects: Vec<Effect>,
    delivery_refusal: fn(&SendError) -> ApiError,
    enforcement: Enforcement,
}

/// What is done once the commit is certain, and cannot fail.
pub type Effect = Box<dyn FnOnce() + Send + Sync>;

impl<'w> Tx<'w> {
    fn new(
        world: &'w World,
        (memo, until): (&'w Memo, Instant),
        scope: &'w str,
        circumstances: Circumstances<'w>,
    ) -> Self {
        Self {
            world,
            memo,
            until,
            scope,
            circumstances,
            config: None,
            client: None,
            now_ms: 0,
            asked_at: Instant::now(),
            epoch: 0,
            rows: BTreeMap::new(),
            pages: Vec::new(),
            checks: BTreeMap::new(),
            writes: BTreeMap::new(),
            bounds: BTreeMap::new(),
            relies_on_epoch: false,
            relies_on_unloaded: false,
            messages: Vec::new(),
            notices: Vec::new(),
            effects: Vec::new(),
            delivery_refusal: errors::code_delivery,
            enforcement: Enforcement::default(),
        }
    }

    // ---- reading ----------------------------------------------------------------------------

    /// Loads rows in one round trip (two, when the pool's configuration has changed since it was
    /// cached). Answers the pages of the query's scans, in order.
    ///
    /// # Errors
    /// The store's, and in a pool scope ResourceNotFoundException when there is no such pool. When the
    /// configuration has changed since an earlier load of this decision, it is decided again.
    pub async fn load(&mut self, query: Query) -> Result<Vec<Page>, Failure> {
        if self.scope == conclave_store::DIRECTORY_SCOPE {
            let result = read(self.world, self.request(&query, false)).await?;
            self.take(result, 0);
            return Ok(std::mem::take(&mut self.pages));
        }
        let cached = match &self.config {
            Some(config) => Some(Arc::clone(config)),
            None => self.world.configs.get(self.scope),
        };
        let client_cached = match (&cached, &query.client_id) {
            (Some(config), Some(client_id)) => config.client(client_id).is_some(),
            (_, client_id) => client_id.is_none(),
        };
        let mut with_config = cached.is_none() || !client_cached;
        let mut known = cached;
        self.asked_at = Instant::now();
        // twice at most: a read that holds the configuration agrees with itself
        loop {
            let request = self.request(&query, with_config);
            let result = read(self.world, request).await?;
            if !result.scope_exists {
                self.world.configs.remove(self.scope);
                return Err(errors::user_pool_not_found(self.scope).into());
            }
            if self.config.as_ref().is_some_and(|config| config.epoch != result.epoch) {
                return Err(Failure::Again);
            }
            let current = known.take().filter(|config| config.epoch == result.epoch);
            match current {
                Some(config) if !with_config => {
                    self.client = query.client_id.as_deref().and_then(|id| config.client(id));
                    self.config = Some(config);
                }
                _ if !with_config => {
                    with_config = true;
                    continue;
                }
                current => {
                    let config = match current {
                        Some(config) => config,
                        None => Arc::new(PoolConfig::from_rows(self.world, self.scope, &result)?),
                    };
                    if let Some(client_id) = &query.client_id {
                        self.client = config.learn_client(client_id, &result)?;
                    }
                    self.world.configs.insert(self.scope, &config);
                    self.config = Some(config);
                }
            }
            let config_scans = usize::from(with_config);
            self.take(result, config_scans);
            return Ok(std::mem::take(&mut self.pages));
        }
    }

    /// Learns the time for a transaction that makes this scope, instead of [`Tx::load`].
    ///
    /// # Errors
    /// The store's; InternalErrorException when the scope exists.
    pub async fn begin_scope(&mut self) -> Result<(), Failure> {
        match self.begin_scope_unless_there().await? {
            true => Ok(()),
            false => Err(errors::internal("a scope that was to be made exists").into()),
        }
    }

    /// [`Tx::begin_scope`] for a scope whose name somebody has chosen. Answers whether it is to be made.
    ///
    /// # Errors
    /// The store's.
    pub async fn begin_scope_unless_there(&mut self) -> Result<bool, Failure> {
        let (is_there, _) = self.load_unmade(Query::new()).await?;
        Ok(!is_there)
    }

    /// Loads rows of a pool's scope that may have no root yet, without a configuration. Answers whether it has one, and
    /// the pages.
    ///
    /// # Errors
    /// The store's.
    pub async fn load_unmade(&mut self, query: Query) -> Result<(bool, Vec<Page>), Failure> {
        let result = read(self.world, self.request(&query, false)).await?;
        let is_there = result.scope_exists;
        self.take(result, 0);
        Ok((is_there, std::mem::take(&mut self.pages)))
    }

    fn request(&self, query: &Query, with_config: bool) -> proto::Read {
        let mut read = proto::Read {
            scope: self.scope.to_owned(),
            gets: query.gets.clone(),
            follows: query.follows.clone(),
            scans: Vec::with_capacity(query.scans.len() + 1),
        };
        if with_config {
            read.gets.extend(PoolConfig::gets());
            read.scans.push(PoolConfig::scan());
            read.gets.extend(query.client_id.as_deref().map(|id| Bytes::from(keys::client(id))));
        }
        read.scans.extend(query.scans.iter().cloned());
        read
    }

    fn take(&mut self, mut result: proto::ReadResult, config_scans: usize) {
        // time does not go back within one decision, even where two leaders answered
        self.now_ms = self.now_ms.max(result.now_ms);
        self.epoch = result.epoch;
        let scanned: usize = result.scan_ends.iter().map(|end| end.count as usize).sum();
        let mut scanned = result.rows.split_off(result.rows.len().saturating_sub(scanned));
        for (number, end) in result.scan_ends.iter().enumerate() {
            let rest = scanned.split_off((end.count as usize).min(scanned.len()));
            let rows = std::mem::replace(&mut scanned, rest);
            if number >= config_scans {
                let next = if end.more { rows.last().map(|row| row.key.clone()) } else { None };
                let live = rows.iter().filter_map(|row| {
                    row.value.as_ref().map(|value| (row.key.clone(), value.clone()))
                });
                self.pages.push(Page { rows: live.collect(), next });
            }
            self.rows.extend(rows.into_iter().map(|row| (row.key.clone(), row)));
        }
        self.rows.extend(result.rows.into_iter().map(|row| (row.key.clone(), row)));
    }

    /// The time of this decision: milliseconds since 1970, on the group's clock.
    pub fn now_ms(&self) -> i64 {
        self.now_ms
    }

    /// When the time for the functions of this request is over.
    pub fn until(&self) -> Instant {
        self.until
    }

    /// When this process has asked for what was loaded last: the pool's configuration was the present one then, or later.
    pub fn asked_at(&self) -> Instant {
        self.asked_at
    }

    /// The services that are not transactional: randomness, processor, keys.
    pub fn world(&self) -> &'w World {
        self.world
    }

    /// What the request brings along for the pool's triggers.
    pub fn circumstances(&self) -> Circumstances<'w> {
        self.circumstances
    }

    /// What is computed once for a request, however often it is decided.
    pub fn memo(&self) -> &'w Memo {
        self.memo
    }

    /// What threat protection does in this sign-in.
    pub fn enforcement(&self) -> Enforcement {
        self.enforcement
    }

    /// From now on this is what threat protection does in this sign-in.
    pub fn enforce(&mut self, enforcement: Enforcement) {
        self.enforcement = enforcement;
    }

    /// The pool's configuration, as of the last load.
    ///
    /// # Errors
    /// InternalErrorException when nothing was loaded in a pool scope: our fault.
    pub fn pool(&self) -> Result<Arc<PoolConfig>, ApiError> {
        self.config
            .clone()
            .ok_or_else(|| errors::internal("the pool's configuration is not loaded"))
    }

    /// The app client of the last load's query.
    pub fn client(&self) -> Option<Arc<ClientConfig>> {
        self.client.clone()
    }

    /// The record of a loaded row.
    ///
    /// # Errors
    /// InternalErrorException when the row was not loaded, or cannot be decoded.
    pub fn get<R: Message + Default>(&self, key: &[u8]) -> Result<Option<Stored<R>>, ApiError> {
        let Some(row) = self.rows.get(key) else {
            return Err(errors::internal("a row was used that was not loaded"));
        };
        let Some(value) = &row.value else { return Ok(None) };
        let record = R::decode(value.clone()).map_err(|error| {
            errors::internal(&format!("a stored record cannot be decoded: {error}"))
        })?;
        Ok(Some(Stored { record, version: row.version }))
    }

    /// The bytes of a loaded row, for the indexes.
    pub fn get_bytes(&self, key: &[u8]) -> Option<Bytes> {
        self.rows.get(key).and_then(|row| row.value.clone())
    }

    /// The text of a loaded row: an index's sub, or a pool's id.
    pub fn get_text(&self, key: &[u8]) -> Option<String> {
        self.get_bytes(key).and_then(|value| String::from_utf8(value.to_vec()).ok())
    }

    /// The loaded rows that exist and whose keys begin with `prefix`, by key.
    pub fn loaded_under<'t>(
        &'t self,
        prefix: &'t [u8],
    ) -> impl Iterator<Item = (&'t Bytes, &'t Bytes)> {
        self.rows
            .range(Bytes::copy_from_slice(prefix)..)
            .take_while(move |(key, _)| key.starts_with(prefix))
            .filter_map(|(key, row)| row.value.as_ref().map(|value| (key, value)))
    }

    /// The loaded rows that exist and whose keys begin with `prefix`, with their versions.
    pub fn versions_under<'t>(
        &'t self,
        prefix: &'t [u8],
    ) -> impl Iterator<Item = (&'t Bytes, u64)> {
        self.rows
            .range(Bytes::copy_from_slice(prefix)..)
            .take_while(move |(key, _)| key.starts_with(prefix))
            .filter(|(_, row)| row.value.is_some())
            .map(|(key, row)| (key, row.version))
    }

    // ---- writing ----------------------------------------------------------------------------

    /// Writes a record. Where the row was loaded, the commit fails if it has changed since.
    pub fn put(&mut self, key: Vec<u8>, record: &impl Message) {
        self.put_bytes(key, record.encode_to_vec().into(), None);
    }

    /// Writes a record that reads as absent from `expires_at_ms` on.
    pub fn put_expiring(&mut self, key: Vec<u8>, record: &impl Message, expires_at_ms: i64) {
        self.put_bytes(key, record.encode_to_vec().into(), Some(expires_at_ms));
    }

    /// Writes bytes, as [`Tx::put`] does.
    pub fn put_bytes(&mut self, key: Vec<u8>, value: Bytes, expires_at_ms: Option<i64>) {
        let key = Bytes::from(key);
        self.rely_on_loaded(&key);
        self.writes.insert(key, Action::Put(proto::Put { value, expires_at_ms }));
    }

    /// Writes a row that must not exist when the commit takes effect.
    pub fn put_new(&mut self, key: Vec<u8>, value: Bytes, expires_at_ms: Option<i64>) {
        let key = Bytes::from(key);
        self.checks.insert(key.clone(), Expect::Absent(true));
        self.writes.insert(key, Action::Put(proto::Put { value, expires_at_ms }));
    }

    /// Deletes a row. Where it was loaded, the commit fails if it has changed since.
    pub fn delete(&mut self, key: Vec<u8>) {
        let key = Bytes::from(key);
        self.rely_on_loaded(&key);
        self.writes.insert(key, Action::Delete(proto::Delete {}));
    }

    /// Deletes all rows under a root, which must be deleted in the same transaction.
    pub fn delete_children(&mut self, prefix: Vec<u8>) {
        self.writes.insert(prefix.into(), Action::DeletePrefix(proto::DeletePrefix {}));
    }

    /// Adds to a counter; when that would take it above `max`, the transaction fails with `refusal`.
    pub fn add(
        &mut self,
        key: Vec<u8>,
        delta: i64,
        max: Option<(i64, ApiError)>,
        expires_at_ms: Option<i64>,
    ) {
        let key = Bytes::from(key);
        let bound = max.as_ref().map(|(max, _)| *max);
        if let Some((_, refusal)) = max {
            self.bounds.insert(key.clone(), refusal);
        }
        let add = proto::Add { delta, min: None, max: bound, expires_at_ms };
        self.writes.insert(key, Action::Add(add));
    }

    /// The commit fails if this loaded row has changed since; a row that was not loaded is our fault,
    /// and fails the operation rather than being relied on without a check.
    pub fn rely_on(&mut self, key: &[u8]) {
        self.relies_on_unloaded |= !self.rows.contains_key(key);
        self.rely_on_loaded(&Bytes::copy_from_slice(key));
    }

    /// The commit fails unless this row exists: every write of a child carries it for its root.
    pub fn rely_on_root(&mut self, key: Vec<u8>) {
        self.checks.entry(key.into()).or_insert(Expect::Exists(true));
    }

    /// The commit fails if the pool's configuration, or any of its clients, has changed since.
    pub fn rely_on_config(&mut self) {
        self.relies_on_epoch = true;
    }

    /// Marks a change of configuration: every gateway's cache of it ends with this commit.
    pub fn bump_epoch(&mut self) {
        self.rely_on_config();
        let add = proto::Add { delta: 1, ..Default::default() };
        self.writes.insert(Bytes::from_static(keys::EPOCH), Action::Add(add));
    }

    /// Begins the epochs of a scope whose name may have been another scope's before: at the group's time
    /// rather than at 1, so that no gateway takes what it remembers of that one for true.
    pub fn begin_epoch_of_chosen_scope(&mut self) {
        self.rely_on_config();
        let add = proto::Add { delta: self.now_ms, ..Default::default() };
        self.writes.insert(Bytes::from_static(keys::EPOCH), Action::Add(add));
    }

    /// Something to be done once the commit is certain, also where it tells a refusal.
    pub fn on_commit(&mut self, effect: Effect) {
        self.effects.push(effect);
    }

    /// Whether anything is written so far.
    pub fn has_writes(&self) -> bool {
        !self.writes.is_empty()
    }

    fn rely_on_loaded(&mut self, key: &Bytes) {
        if conclave_fault::bug("read-then-write") {
            return;
        }
        if let Some(row) = self.rows.get(key) {
            self.checks.insert(key.clone(), Expect::AtVersion(row.version));
        }
    }

    /// The commit, or `None` when nothing is written.
    fn commit(&mut self) -> Option<proto::Commit> {
        if self.writes.is_empty() {
            return None;
        }
        let id: [u8; 16] = entropy::bytes(&*self.world.entropy);
        let checks = std::mem::take(&mut self.checks);
        let writes = std::mem::take(&mut self.writes);
        Some(proto::Commit {
            id: Bytes::copy_from_slice(&id),
            scope: self.scope.to_owned(),
            decided_ms: self.now_ms,
            epoch: self.relies_on_epoch.then_some(self.epoch),
            checks: checks
                .into_iter()
                .map(|(key, expect)| proto::Check { key, expect: Some(expect) })
                .collect(),
            writes: writes
                .into_iter()
                .map(|(key, action)| proto::Write { key, action: Some(action) })
                .collect(),
        })
    }
}

/// Decides `transaction`, commits it, and finishes its answer.
///
/// # Errors
/// What the decision refuses; TooManyRequestsException after [`TRIES_MAX`] conflicts; what the
/// store's errors mean to a caller.
pub async fn transact<T: Transaction>(
    world: &World,
    transaction: &T,
) -> Result<T::Output, ApiError> {
    transact_until(world, transaction, triggers::until()).await
}

/// [`transact`], as one of several of a request, the functions of which have time until `until`.
///
/// # Errors
/// As [`transact`].
pub async fn transact_until<T: Transaction>(
    world: &World,
    transaction: &T,
    until: Instant,
) -> Result<T::Output, ApiError> {
    let span = tracing::info_span!("transact", tries = Empty, outcome = Empty);
    let mut tries = 0;
    let result = run(world, transaction, &mut tries, until).instrument(span.clone()).await;
    // signed: an exporter makes text of unsigned numbers
    span.record("tries", i64::from(tries));
    span.record("outcome", result.as_ref().map_or_else(|error| error.code.as_str(), |_| "OK"));
    result
}

/// Counts in `tries` how often it decides.
async fn run<T: Transaction>(
    world: &World,
    transaction: &T,
    tries: &mut u32,
    until: Instant,
) -> Result<T::Output, ApiError> {
    let memo = Memo::default();
    while *tries < TRIES_MAX {
        *tries += 1;
        let (scope, circumstances) = (transaction.scope(), transaction.circumstances());
        let mut tx = Tx::new(world, (&memo, until), scope, circumstances);
        let decision = transaction.decide(&mut tx).await;
        let answer = match decision {
            Ok(reply) => Ok(reply),
            Err(Failure::RefusedAfterCommit(error)) => Err(error),
            Err(Failure::Refused(error)) => return Err(error),
            Err(Failure::Again) => continue,
            Err(Failure::Store(error)) => return Err(errors::store(&error)),
        };
        if tx.relies_on_unloaded {
            return Err(errors::internal("a decision relies on a row that was not loaded"));
        }
        if let Some(commit) = tx.commit() {
            // also where a verdict waits for it: nobody learns what is not written down
            if tx.config.as_ref().is_some_and(|pool| pool.is_frozen)
                && !transaction.works_when_frozen()
            {
                return Err(errors::pool_is_frozen());
            }
            match settle(world, commit).await? {
                Settled::Committed => conclave_fault::point("gateway.after_commit_before_reply"),
                Settled::Again => continue,
                Settled::OutOfBounds(key) => {
                    let refusal = tx.bounds.remove(&key);
                    return Err(
                        refusal.unwrap_or_else(|| errors::internal("a counter left its bounds"))
                    );
                }
                Settled::ScopeGone => return Err(transaction.scope_is_gone()),
            }
        }
        for effect in std::mem::take(&mut tx.effects) {
            effect();
        }
        for notice in std::mem::take(&mut tx.notices) {
            notice.go_unheard(world, until).await;
        }
        let reply = answer?;
        for message in std::mem::take(&mut tx.messages) {
            message.go(world, until).await.map_err(|undone| match undone {
                Undone::Message(error) => (tx.delivery_refusal)(&error),
                Undone::Trigger(error) => error,
            })?;
        }
        return match reply {
            Reply::Ready(answer) => Ok(answer),
            Reply::AfterCommit(finish) => finish(world).await,
        };
    }
    Err(errors::too_many_requests())
}
