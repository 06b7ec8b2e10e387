//! One import, from the first row to the root.

use std::{mem, sync::Arc, time::Duration};

use conclave_crypto::{entropy, ids};
use conclave_store::{
    keys::{self as rows, Tag},
    limits,
    proto::StoredRow,
    records::{PoolKeysRecord, PoolLocationRecord, PoolRecord},
};
use futures::future::try_join_all;
use prost::Message;
use tokio::time::Instant;

use super::{
    ImportError, PoolKeys,
    directory_rows::{self, Claims, Enter, Renew, Reserve, Reserved},
    keys,
    stage::{self, Place, Row},
};
use crate::{
    call::CallPrincipal,
    restore::{Fate, Keep, Rewind},
    tx::transact,
    world::World,
};

/// Rows of one commit, one less than a store takes: the root comes with them.
const ROWS_AT_ONCE: usize = limits::WRITES_MAX - 6;
/// Bytes of the rows of one commit; a row of any size has one.
const BYTES_AT_ONCE: usize = 512 << 10;
/// Commits under way at once.
const COMMITS_AT_ONCE: usize = 4;
/// Bytes of what comes before the first user: the configuration and the clients.
const HEAD_BYTES_MAX: usize = 64 << 20;
/// How often the import says that it goes on; well within what a leftover is given.
const RENEW_EVERY: Duration = Duration::from_secs(15);

/// What is to be imported, and how.
pub struct Order {
    /// The pool, by the id that it has and keeps.
    pub pool_id: String,
    /// Whose it becomes.
    pub account_id: String,
    /// What stays good of what was issued before.
    pub keep: Keep,
    /// When it was exported, in milliseconds since 1970.
    pub cut_ms: i64,
    /// The keys of the pool.
    pub keys: PoolKeys,
    /// Only look whether it could be imported.
    pub dry_run: bool,
}

/// What has been imported.
#[derive(Debug, Clone, Default)]
pub struct Imported {
    /// Rows that were written.
    pub rows: u64,
    /// Users.
    pub users: u64,
    /// Ids of the app clients.
    pub client_ids: Vec<String>,
    /// Domains.
    pub domains: Vec<String>,
    /// Whose the pool was before.
    pub account_before: String,
    /// Its name.
    pub name: String,
}

/// Takes the rows of a pool in their order. Dropped before [`Import::finish`], it leaves rows that nobody can read.
pub struct Import {
    world: Arc<World>,
    order: Order,
    import_id: [u8; 16],
    last_key: Vec<u8>,
    head: Vec<(Vec<u8>, StoredRow)>,
    head_bytes: usize,
    /// The pool's place in the directory is this import's.
    is_reserved: bool,
    begun: Option<Begun>,
    batches: Vec<Vec<Row>>,
    batch_bytes: usize,
    imported: Imported,
}

/// An import that has its place.
struct Begun {
    place: Place,
    rewind: Rewind,
    record: PoolRecord,
    keys_record: PoolKeysRecord,
    principal: CallPrincipal,
    renewed_at: Instant,
}

fn damaged(what: &str) -> ImportError {
    ImportError::Damaged(what.to_owned())
}

impl Import {
    /// Begins with nothing. `world` has to learn of other versions of the cluster's key for as long as this lives.
    pub fn new(world: Arc<World>, order: Order) -> Self {
        let import_id = entropy::bytes(&*world.entropy);
        Self {
            world,
            order,
            import_id,
            last_key: Vec::new(),
            head: Vec::new(),
            head_bytes: 0,
            is_reserved: false,
            begun: None,
            batches: vec![Vec::new()],
            batch_bytes: 0,
            imported: Imported::default(),
        }
    }

    /// Takes rows as their group's store had them: physical keys, stored values. The first of them that is not
    /// configuration begins the import.
    ///
    /// # Errors
    /// Every [`ImportError`]. The import is over then: [`Import::abandon`] it.
    pub async fn take(
        &mut self,
        rows: impl IntoIterator<Item = (Vec<u8>, Vec<u8>)>,
    ) -> Result<(), ImportError> {
        for (physical, value) in rows {
            let parsed = rows::parse_row(&physical);
            let key = parsed.filter(|(scope, _)| *scope == self.order.pool_id);
            let (_, key) = key.ok_or_else(|| damaged("it holds a row of something else"))?;
            if key.is_empty()
                || key <= self.last_key.as_slice()
                || key.len() > limits::KEY_BYTES_MAX
            {
                return Err(damaged("its rows are not in order"));
            }
            let row = StoredRow::decode(value.as_slice());
            let row = row.map_err(|_| damaged("a row cannot be decoded"))?;
            self.last_key = key.to_vec();
            if self.begun.is_none() {
                if key.first() <= Some(&(Tag::Client as u8)) {
                    self.head_bytes += key.len() + row.value.len();
                    if self.head_bytes > HEAD_BYTES_MAX {
                        return Err(damaged("its configuration is too large"));
                    }
                    self.head.push((key.to_vec(), row));
                    continue;
                }
                self.begin().await?;
            }
            self.stage(key.to_vec(), row).await?;
        }
        Ok(())
    }

    /// Looks whether the pool can come, takes its place, and writes what has come so far.
    async fn begin(&mut self) -> Result<(), ImportError> {
        let head = mem::take(&mut self.head);
        let value = |key: &[u8]| head.iter().find(|(k, _)| k == key).map(|(_, row)| &row.value);
        let root = value(rows::ROOT).ok_or_else(|| damaged("the pool's record is missing"))?;
        let mut record = PoolRecord::decode(root.clone())
            .map_err(|_| damaged("the pool's record cannot be decoded"))?;
        if record.encoded_len() != root.len() {
            return Err(damaged(
                "the pool has settings that this version does not know: it was exported by a later one",
            ));
        }
        let keys_record =
            value(&rows::pool_keys()).ok_or_else(|| damaged("the pool's keys are missing"))?;
        let keys_record = PoolKeysRecord::decode(keys_record.clone())
            .map_err(|_| damaged("the pool's keys cannot be decoded"))?;
        let pool_id = self.order.pool_id.clone();
        if record.pool_id != pool_id
            || ids::chosen_pool_region(&pool_id) != Some(record.region.as_str())
        {
            return Err(damaged("the pool's record is of another pool"));
        }
        keys::check(&pool_id, &keys_record, &self.order.keys)?;
        let hint_key = &self.world.hint_key;
        let group = ids::chosen_pool_group(&pool_id, hint_key, self.world.settings.pool_groups);
        let group = group.ok_or_else(|| ImportError::Misleading(pool_id.clone()))?;
        let prefix = rows::clients();
        let client_ids = head.iter().filter_map(|(key, _)| {
            String::from_utf8(key.strip_prefix(prefix.as_slice())?.to_vec()).ok()
        });
        let client_ids: Vec<String> = client_ids.collect();
        let leads_elsewhere = |id: &&String| {
            ids::client_pool(id, hint_key).is_some_and(|leads_to| leads_to != pool_id)
        };
        if let Some(client_id) = client_ids.iter().find(leads_elsewhere) {
            return Err(ImportError::Misleading(format!("client {client_id}")));
        }
        let domains: Vec<_> = record.domains.iter().map(|domain| domain.domain.clone()).collect();
        self.imported = Imported {
            account_before: mem::replace(&mut record.account_id, self.order.account_id.clone()),
            name: record.name.clone(),
            client_ids,
            domains,
            ..Imported::default()
        };
        let principal = CallPrincipal {
            account_id: self.order.account_id.clone(),
            region: record.region.clone(),
            arn: String::new(),
        };
        let place = self.take_place(group, &principal).await?;
        let rewind = Rewind {
            now_ms: place.now_ms,
            keep: self.order.keep,
            because: "The user pool was moved from another cluster.",
        };
        let renewed_at = Instant::now();
        self.begun = Some(Begun { place, rewind, record, keys_record, principal, renewed_at });
        for (key, row) in head {
            self.stage(key, row).await?;
        }
        Ok(())
    }

    async fn take_place(
        &mut self,
        group: u32,
        principal: &CallPrincipal,
    ) -> Result<Place, ImportError> {
        let (world, pool_id) = (&*self.world, self.order.pool_id.as_str());
        let claims = Claims {
            pool_id,
            client_ids: &self.imported.client_ids,
            domains: &self.imported.domains,
        };
        let taken = directory_rows::taken(world, &claims).await?;
        if !taken.is_empty() {
            return Err(ImportError::Taken(taken));
        }
        let account_id = &principal.account_id;
        if self.order.dry_run {
            let found = crate::directory::find_account(world, account_id).await?;
            return match found {
                Some(_) => Ok(Place::nowhere()),
                None => Err(ImportError::NoAccount(account_id.clone())),
            };
        }
        // what an earlier import has left; where it has arrived after all, `stage::begin` finds it
        if stage::clear(world, pool_id).await? {
            directory_rows::forget(world, pool_id, None, &[], &[]).await?;
        }
        let place = PoolLocationRecord {
            account_id: account_id.clone(),
            group,
            region: principal.region.clone(),
            arrival: None,
        };
        let import_id = &self.import_id;
        match transact(world, &Reserve { pool_id, place: &place, import_id }).await? {
            Reserved::Done => self.is_reserved = true,
            Reserved::Taken => return Err(ImportError::Taken(vec![format!("pool {pool_id}")])),
            Reserved::NoAccount => return Err(ImportError::NoAccount(account_id.clone())),
        }
        conclave_fault::point("import.after_directory");
        let place = stage::begin(world, pool_id, import_id).await?;
        if place.now_ms <= self.order.cut_ms {
            return Err(ImportError::ClockBehind);
        }
        Ok(place)
    }

    /// Lets a row wait for its commit.
    async fn stage(&mut self, key: Vec<u8>, row: StoredRow) -> Result<(), ImportError> {
        let Some(begun) = &self.begun else { return Err(ImportError::Lost) };
        let expired = row.expires_at_ms != 0 && row.expires_at_ms <= begun.rewind.now_ms;
        if expired || is_made_anew(&key) {
            return Ok(());
        }
        let row = match begun.rewind.fate(&key, &row.encode_to_vec())? {
            Fate::Stays => row,
            Fate::Goes => return Ok(()),
            Fate::Becomes(value) => StoredRow::decode(value.as_slice())
                .map_err(|_| damaged("a row cannot be decoded"))?,
        };
        if row.value.len() > limits::VALUE_BYTES_MAX {
            return Err(damaged("a row is too large"));
        }
        self.imported.rows += 1;
        self.imported.users += u64::from(key.first() == Some(&(Tag::User as u8)));
        let bytes = key.len() + row.value.len();
        let full = self.batches.last().is_none_or(|batch| batch.len() >= ROWS_AT_ONCE)
            || self.batch_bytes + bytes > BYTES_AT_ONCE;
        if full {
            if self.batches.len() >= COMMITS_AT_ONCE {
                self.write().await?;
            }
            self.batches.push(Vec::new());
            self.batch_bytes = 0;
        }
        self.batch_bytes += bytes;
        let expires_at_ms = (row.expires_at_ms != 0).then_some(row.expires_at_ms);
        if let Some(batch) = self.batches.last_mut() {
            batch.push(Row { key, value: row.value, expires_at_ms });
        }
        Ok(())
    }

    /// Commits what waits.
    async fn write(&mut self) -> Result<(), ImportError> {
        let batches = mem::take(&mut self.batches);
        self.batch_bytes = 0;
        if self.order.dry_run {
            return Ok(());
        }
        self.renew(false).await?;
        let Some(begun) = &self.begun else { return Err(ImportError::Lost) };
        let (world, pool_id) = (&*self.world, self.order.pool_id.as_str());
        let batches = batches.into_iter().filter(|batch| !batch.is_empty());
        let commits =
            batches.map(|batch| stage::write(world, pool_id, &self.import_id, begun.place, batch));
        try_join_all(commits).await?;
        conclave_fault::point("import.rows");
        Ok(())
    }

    /// Says that the import goes on, from time to time, or now.
    pub(super) async fn renew(&mut self, now: bool) -> Result<(), ImportError> {
        let (pool_id, import_id) = (self.order.pool_id.as_str(), &self.import_id);
        let Some(begun) = &mut self.begun else { return Err(ImportError::Lost) };
        if !now && begun.renewed_at.elapsed() < RENEW_EVERY {
            return Ok(());
        }
        let renew = Renew { pool_id, import_id, has_arrived: false };
        if !transact(&self.world, &renew).await? {
            return Err(ImportError::Lost);
        }
        begun.place = stage::look(&self.world, pool_id, import_id).await?;
        begun.renewed_at = Instant::now();
        Ok(())
    }

    /// All rows have come, and are known to be what was exported. When this returns, the pool is there.
    ///
    /// # Errors
    /// Every [`ImportError`].
    pub async fn finish(&mut self) -> Result<Imported, ImportError> {
        if self.begun.is_none() {
            self.begin().await?;
        }
        self.write().await?;
        if self.order.dry_run {
            return Ok(self.imported.clone());
        }
        self.renew(true).await?;
        let Some(begun) = &self.begun else { return Err(ImportError::Lost) };
        let (world, pool_id) = (&*self.world, self.order.pool_id.as_str());
        let enter = Enter {
            principal: &begun.principal,
            record: &begun.record,
            client_ids: &self.imported.client_ids,
            import_id: &self.import_id,
        };
        let entered_ms = enter.run(world).await?;
        conclave_fault::point("import.before_root");
        let finish = stage::Finish {
            record: &begun.record,
            keys_record: &begun.keys_record,
            keys: &self.order.keys,
            import_id: &self.import_id,
            entered_ms,
            ends_tokens: self.order.keep != Keep::Tokens,
        };
        if !transact(world, &finish).await? {
            return Err(ImportError::Lost);
        }
        conclave_fault::point("import.after_root");
        let import_id = &self.import_id;
        // the pool is there, whatever its place says of the way
        let arrived = transact(world, &Renew { pool_id, import_id, has_arrived: true }).await;
        if let Err(error) = arrived {
            tracing::debug!(code = error.code.as_str(), "the arrival could not be noted");
        }
        Ok(self.imported.clone())
    }

    /// Clears away what there is of it, as far as that is possible. Answers whether the pool is there all the same:
    /// the answer to its last commit can have been lost.
    ///
    /// # Errors
    /// The store's: then the next import, or the reconciler, clears away the rest.
    pub async fn abandon(self) -> Result<bool, ImportError> {
        let (world, pool_id) = (&*self.world, self.order.pool_id.as_str());
        if !self.is_reserved {
            return Ok(false);
        }
        match stage::look(world, pool_id, &self.import_id).await {
            Ok(_) => {
                if !stage::clear(world, pool_id).await? {
                    return Ok(true);
                }
            }
            // what is there is not this import's
            Err(ImportError::Lost) => {
                if self.is_there().await? {
                    return Ok(true);
                }
            }
            Err(error) => return Err(error),
        }
        let Imported { client_ids, domains, .. } = &self.imported;
        directory_rows::forget(world, pool_id, Some(&self.import_id), client_ids, domains).await?;
        Ok(false)
    }

    async fn is_there(&self) -> Result<bool, ImportError> {
        let scope = self.order.pool_id.clone();
        let read = conclave_store::proto::Read { scope, ..Default::default() };
        Ok(self.world.store.read(read).await?.scope_exists)
    }
}

/// What is written at the end, counts from the beginning here, or is found by a key of the other cluster.
fn is_made_anew(key: &[u8]) -> bool {
    let is = |tag: Tag| key.first() == Some(&(tag as u8));
    is(Tag::Root)
        || is(Tag::Epoch)
        || is(Tag::PoolKeys)
        || is(Tag::UnknownAttempts)
        || is(Tag::PoolImport)
        || is(Tag::PoolFreeze)
}

/// For the bounded memory of an import: what waits is at most this.
const _: () = assert!(COMMITS_AT_ONCE * (BYTES_AT_ONCE + limits::VALUE_BYTES_MAX) <= 4 << 20);
