//! What the directory knows of a pool that is on its way: its place first, which is written again and again so that nobody
//! takes it for a leftover; its clients and its entry last, when all of its rows are there.

use async_trait::async_trait;
use bytes::Bytes;
use conclave_store::{
    DIRECTORY_SCOPE, keys,
    records::{
        AccountRecord, DomainLocationRecord, PoolArrival, PoolEntryRecord, PoolLocationRecord,
        PoolRecord,
    },
};
use prost::Message;

use super::ImportError;
use crate::{
    call::CallPrincipal,
    domains, errors,
    pools::{self, too_many_pools},
    tx::{Decision, Failure, Query, Transaction, Tx, transact},
    world::World,
};

/// Rows that one read asks for.
const ROWS_AT_ONCE: usize = 100;

/// What a pool claims in the directory.
pub(super) struct Claims<'a> {
    pub pool_id: &'a str,
    pub client_ids: &'a [String],
    pub domains: &'a [String],
}

/// What of a pool is there already, as texts for people. What an earlier import of the same pool has left is not.
pub(super) async fn taken(
    world: &World,
    claims: &Claims<'_>,
) -> Result<Vec<String>, conclave_api::ApiError> {
    let Claims { pool_id, client_ids, domains } = claims;
    let mut taken = Vec::new();
    let place = transact(world, &Rows { keys: vec![keys::pool_location(pool_id)] }).await?;
    if let Some(place) = place.into_iter().next().flatten()
        && decode::<PoolLocationRecord>(place)?.arrival.is_none()
    {
        taken.push(format!("pool {pool_id}"));
    }
    for some in client_ids.chunks(ROWS_AT_ONCE) {
        let keys = some.iter().map(|id| keys::client_location(id)).collect();
        for (id, row) in some.iter().zip(transact(world, &Rows { keys }).await?) {
            if row.is_some_and(|row| row != pool_id.as_bytes()) {
                taken.push(format!("client {id}"));
            }
        }
    }
    for some in domains.chunks(ROWS_AT_ONCE) {
        let keys = some.iter().map(|domain| keys::domain_location(domain)).collect();
        for (domain, row) in some.iter().zip(transact(world, &Rows { keys }).await?) {
            let row = row.map(decode::<DomainLocationRecord>).transpose()?;
            if row.is_some_and(|row| row.pool_id != *pool_id) {
                taken.push(format!("domain {domain}"));
            }
        }
    }
    Ok(taken)
}

fn decode<R: Message + Default>(value: Bytes) -> Result<R, conclave_api::ApiError> {
    R::decode(value).map_err(|_| errors::internal("a stored record cannot be decoded"))
}

/// Rows of the directory, in the order of their keys here.
struct Rows {
    keys: Vec<Vec<u8>>,
}

#[async_trait]
impl Transaction for Rows {
    type Output = Vec<Option<Bytes>>;

    fn scope(&self) -> &str {
        DIRECTORY_SCOPE
    }

    async fn decide(&self, tx: &mut Tx<'_>) -> Decision<Self::Output> {
        let query = self.keys.iter().cloned().fold(Query::new(), Query::get);
        tx.load(query).await?;
        let rows: Vec<_> = self.keys.iter().map(|key| tx.get_bytes(key)).collect();
        Ok(rows.into())
    }
}

/// Takes the pool's place for one import.
pub(super) struct Reserve<'a> {
    pub pool_id: &'a str,
    pub place: &'a PoolLocationRecord,
    pub import_id: &'a [u8],
}

pub(super) enum Reserved {
    Done,
    Taken,
    NoAccount,
}

#[async_trait]
impl Transaction for Reserve<'_> {
    type Output = Reserved;

    fn scope(&self) -> &str {
        DIRECTORY_SCOPE
    }

    async fn decide(&self, tx: &mut Tx<'_>) -> Decision<Reserved> {
        let row = keys::pool_location(self.pool_id);
        let account = keys::account(&self.place.account_id);
        tx.load(Query::new().get(row.clone()).get(account.clone())).await?;
        if tx.get::<AccountRecord>(&account)?.is_none() {
            return Ok(Reserved::NoAccount.into());
        }
        if tx.get::<PoolLocationRecord>(&row)?.is_some() {
            return Ok(Reserved::Taken.into());
        }
        tx.rely_on_root(account);
        let renewed_ms = tx.now_ms();
        let arrival = PoolArrival { import_id: self.import_id.to_vec().into(), renewed_ms };
        tx.put(row, &PoolLocationRecord { arrival: Some(arrival), ..self.place.clone() });
        Ok(Reserved::Done.into())
    }
}

/// Says that the import is still under way, or that the pool has arrived. Answers whether it is this import's place.
pub(super) struct Renew<'a> {
    pub pool_id: &'a str,
    pub import_id: &'a [u8],
    pub has_arrived: bool,
}

#[async_trait]
impl Transaction for Renew<'_> {
    type Output = bool;

    fn scope(&self) -> &str {
        DIRECTORY_SCOPE
    }

    async fn decide(&self, tx: &mut Tx<'_>) -> Decision<bool> {
        let row = keys::pool_location(self.pool_id);
        tx.load(Query::new().get(row.clone())).await?;
        let Some(mut place) = tx.get::<PoolLocationRecord>(&row)?.map(|stored| stored.record)
        else {
            return Ok(false.into());
        };
        let Some(arrival) = place.arrival.as_mut().filter(|a| a.import_id == self.import_id) else {
            return Ok(false.into());
        };
        arrival.renewed_ms = tx.now_ms();
        if self.has_arrived {
            place.arrival = None;
        }
        tx.put(row, &place);
        Ok(true.into())
    }
}

/// What goes into the directory when the pool is complete, and is to be there at once.
pub(super) struct Enter<'a> {
    pub principal: &'a CallPrincipal,
    pub record: &'a PoolRecord,
    pub client_ids: &'a [String],
    pub import_id: &'a [u8],
}

/// Whether it is still this import's place, at the commit as well: one that was held up is cleared away meanwhile, and
/// what it wrote then would belong to nobody.
fn holds_place(tx: &mut Tx<'_>, pool_id: &str, import_id: &[u8]) -> Result<bool, Failure> {
    let row = keys::pool_location(pool_id);
    let place = tx.get::<PoolLocationRecord>(&row)?;
    let arrival = place.and_then(|place| place.record.arrival);
    tx.rely_on(&row);
    Ok(arrival.is_some_and(|arrival| arrival.import_id == import_id))
}

impl Enter<'_> {
    /// Answers when the first of it was written, on the directory's clock: from then on the pool must be there within
    /// [`pools::make_ms_max`].
    pub(super) async fn run(&self, world: &World) -> Result<i64, ImportError> {
        let (pool_id, import_id) = (&self.record.pool_id, self.import_id);
        let entry = EnterPool { principal: self.principal, record: self.record, import_id };
        let entered_ms = transact(world, &entry).await?.ok_or(ImportError::Lost)?;
        for client_ids in self.client_ids.chunks(ROWS_AT_ONCE) {
            let enter = EnterClients { pool_id, client_ids, import_id };
            let taken = transact(world, &enter).await?.ok_or(ImportError::Lost)?;
            if !taken.is_empty() {
                return Err(ImportError::Taken(taken));
            }
        }
        for domain in &self.record.domains {
            let (principal, name) = (self.principal, &domain.domain);
            let ours = |row: &DomainLocationRecord| row.pool_id == *pool_id;
            // an earlier import may have taken it for another account
            transact(world, &domains::Forget { domain: name, wanted: ours }).await?;
            let reservation = &domain.reservation;
            let reserve = domains::Reserve { principal, pool_id, domain: name, reservation };
            transact(world, &reserve).await?;
        }
        Ok(entered_ms)
    }
}

/// `None` when it is not this import's place.
struct EnterPool<'a> {
    principal: &'a CallPrincipal,
    record: &'a PoolRecord,
    import_id: &'a [u8],
}

#[async_trait]
impl Transaction for EnterPool<'_> {
    type Output = Option<i64>;

    fn scope(&self) -> &str {
        DIRECTORY_SCOPE
    }

    async fn decide(&self, tx: &mut Tx<'_>) -> Decision<Option<i64>> {
        let CallPrincipal { account_id, region, .. } = self.principal;
        let row = keys::account_pool(account_id, region, &self.record.pool_id);
        tx.load(Query::new().get(keys::pool_location(&self.record.pool_id))).await?;
        if !holds_place(tx, &self.record.pool_id, self.import_id)? {
            return Ok(None.into());
        }
        let entry = PoolEntryRecord {
            pool_id: self.record.pool_id.clone(),
            name: self.record.name.clone(),
            created_ms: self.record.created_ms,
            modified_ms: self.record.modified_ms,
            pool_epoch: 1,
        };
        tx.put_new(row, entry.encode_to_vec().into(), None);
        let max = tx.world().settings.pools_per_account_max;
        tx.add(keys::account_pool_count(account_id), 1, Some((max, too_many_pools())), None);
        Ok(Some(tx.now_ms()).into())
    }
}

/// Answers what of them is another pool's; then nothing is written. `None` when it is not this import's place.
struct EnterClients<'a> {
    pool_id: &'a str,
    client_ids: &'a [String],
    import_id: &'a [u8],
}

#[async_trait]
impl Transaction for EnterClients<'_> {
    type Output = Option<Vec<String>>;

    fn scope(&self) -> &str {
        DIRECTORY_SCOPE
    }

    async fn decide(&self, tx: &mut Tx<'_>) -> Decision<Self::Output> {
        let rows = self.client_ids.iter().map(|id| keys::client_location(id));
        let place = keys::pool_location(self.pool_id);
        tx.load(rows.fold(Query::new().get(place), Query::get)).await?;
        if !holds_place(tx, self.pool_id, self.import_id)? {
            return Ok(None.into());
        }
        let pool_id = self.pool_id.as_bytes();
        let is_taken = |id: &&String| {
            let row = tx.get_bytes(&keys::client_location(id));
            row.is_some_and(|row| row != pool_id)
        };
        let taken: Vec<_> =
            self.client_ids.iter().filter(is_taken).map(|id| format!("client {id}")).collect();
        if taken.is_empty() {
            for id in self.client_ids {
                tx.put_bytes(keys::client_location(id), Bytes::copy_from_slice(pool_id), None);
            }
        }
        Ok(Some(taken).into())
    }
}

/// Takes back what an import of the pool has written here: any, or one. The pool must not be there.
pub(super) async fn forget(
    world: &World,
    pool_id: &str,
    import_id: Option<&[u8]>,
    client_ids: &[String],
    domains: &[String],
) -> Result<(), conclave_api::ApiError> {
    let place = transact(world, &Rows { keys: vec![keys::pool_location(pool_id)] }).await?;
    let Some(bytes) = place.into_iter().next().flatten() else { return Ok(()) };
    let place = decode::<PoolLocationRecord>(bytes.clone())?;
    let Some(arrival) = place.arrival else { return Ok(()) };
    if import_id.is_some_and(|import_id| arrival.import_id != import_id) {
        return Ok(());
    }
    for client_ids in client_ids.chunks(pools::ForgetClients::CLIENTS_MAX) {
        transact(world, &pools::ForgetClients { pool_id, client_ids }).await?;
    }
    for domain in domains {
        let wanted = |row: &DomainLocationRecord| row.pool_id == *pool_id;
        transact(world, &domains::Forget { domain, wanted }).await?;
    }
    let principal =
        CallPrincipal { account_id: place.account_id, region: place.region, arn: String::new() };
    let forget =
        pools::Forget { principal: &principal, pool_id, deleted: true, only: Some(&bytes) };
    transact(world, &forget).await.map(drop)
}
