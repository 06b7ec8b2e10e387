//! A pool's rows in the directory: where it lives, its entry in the list of its account, and the count.
//!
//! They are written before the pool and deleted after it. What a crash in between leaves is an entry
//! without a pool, which the next DeleteUserPool of it or the reconciler clears away.

use async_trait::async_trait;
use conclave_api::{ApiError, ExceptionName};
use conclave_crypto::{entropy, ids};
use conclave_store::{
    DIRECTORY_SCOPE, keys,
    records::{PoolEntryRecord, PoolLocationRecord},
};
use prost::Message;

use crate::{
    call::CallPrincipal,
    errors,
    tx::{Decision, Query, Transaction, Tx},
};

/// How long after its row in the directory a pool, a client or a domain may be made. What is not there
/// after twice that time is a leftover; before, it can be in the making.
pub(crate) fn make_ms_max() -> i64 {
    conclave_fault::time_ms("make.within", 60_000).into()
}

fn location(account_id: &str, region: &str, group: u32) -> PoolLocationRecord {
    let (account_id, region) = (account_id.to_owned(), region.to_owned());
    PoolLocationRecord { account_id, group, region, arrival: None }
}

/// Chooses an id for a new pool, and enters it.
pub(super) struct Reserve<'a> {
    pub principal: &'a CallPrincipal,
    pub name: &'a str,
}

/// A pool that is entered, and not made yet.
pub(super) struct Reserved {
    pub pool_id: String,
    /// On the directory's clock.
    pub created_ms: i64,
}

#[async_trait]
impl Transaction for Reserve<'_> {
    type Output = Reserved;

    fn scope(&self) -> &str {
        DIRECTORY_SCOPE
    }

    async fn decide(&self, tx: &mut Tx<'_>) -> Decision<Reserved> {
        let CallPrincipal { account_id, region, .. } = self.principal;
        tx.load(Query::new()).await?;
        let world = tx.world();
        let groups = world.settings.pool_groups.max(1);
        let group = 1 + entropy::below(&*world.entropy, groups);
        let pool_id = ids::pool_id(region, group, &world.hint_key, &*world.entropy)
            .map_err(|error| errors::invalid_parameter(error.to_string()))?;
        let created_ms = tx.now_ms();
        let location = location(account_id, region, group);
        let entry = PoolEntryRecord {
            pool_id: pool_id.clone(),
            name: self.name.to_owned(),
            created_ms,
            modified_ms: created_ms,
            // Make takes the pool to its first epoch
            pool_epoch: 1,
        };
        let max = world.settings.pools_per_account_max;
        tx.put_new(keys::pool_location(&pool_id), location.encode_to_vec().into(), None);
        tx.put_new(
            keys::account_pool(account_id, region, &pool_id),
            entry.encode_to_vec().into(),
            None,
        );
        tx.add(keys::account_pool_count(account_id), 1, Some((max, too_many_pools())), None);
        Ok(Reserved { pool_id, created_ms }.into())
    }
}

/// Enters a new pool under an id that somebody has chosen. Rows of this account and region that are there
/// already are taken over: whether the pool is there too is seen where it lives.
pub(super) struct ReserveChosen<'a> {
    pub principal: &'a CallPrincipal,
    pub pool_id: &'a str,
    pub name: &'a str,
}

#[async_trait]
impl Transaction for ReserveChosen<'_> {
    type Output = Reserved;

    fn scope(&self) -> &str {
        DIRECTORY_SCOPE
    }

    async fn decide(&self, tx: &mut Tx<'_>) -> Decision<Reserved> {
        let CallPrincipal { account_id, region, .. } = self.principal;
        let pool_id = self.pool_id;
        if ids::chosen_pool_region(pool_id) != Some(region.as_str()) {
            return Err(errors::invalid_parameter(format!(
                "{pool_id} is not a pool ID of the region {region}: REGION_ and letters and digits."
            ))
            .into());
        }
        let world = tx.world();
        let group = ids::chosen_pool_group(pool_id, &world.hint_key, world.settings.pool_groups);
        let group = group.ok_or_else(|| {
            errors::invalid_parameter(format!("{pool_id} cannot be used here: choose another ID."))
        })?;
        let at = keys::pool_location(pool_id);
        let row = keys::account_pool(account_id, region, pool_id);
        tx.load(Query::new().get(at.clone()).get(row.clone())).await?;
        let location = location(account_id, region, group);
        let present = tx.get::<PoolLocationRecord>(&at)?;
        if present.is_some_and(|present| present.record != location) {
            return Err(pool_id_in_use(pool_id).into());
        }
        let created_ms = tx.now_ms();
        if tx.get::<PoolEntryRecord>(&row)?.is_none() {
            let max = world.settings.pools_per_account_max;
            tx.add(keys::account_pool_count(account_id), 1, Some((max, too_many_pools())), None);
        }
        let entry = PoolEntryRecord {
            pool_id: pool_id.to_owned(),
            name: self.name.to_owned(),
            created_ms,
            modified_ms: created_ms,
            pool_epoch: 1,
        };
        tx.put(at, &location);
        tx.put(row, &entry);
        Ok(Reserved { pool_id: pool_id.to_owned(), created_ms }.into())
    }
}

/// The id that was chosen for a pool is another pool's.
pub(super) fn pool_id_in_use(pool_id: &str) -> ApiError {
    errors::invalid_parameter(format!("The pool ID {pool_id} is in use."))
}

pub(crate) fn too_many_pools() -> ApiError {
    ApiError::new(
        ExceptionName::LimitExceededException,
        "The maximum number of user pools for this account has been reached.",
    )
}

/// Clears a pool's rows away. Answers whether there were any of this account and region.
pub(crate) struct Forget<'a> {
    pub principal: &'a CallPrincipal,
    pub pool_id: &'a str,
    /// Whether the pool was deleted just now; otherwise nobody knows why it is not there, and what can
    /// be a pool in the making stays.
    pub deleted: bool,
    /// When given, the row of the pool's place goes only if it is still this one.
    pub only: Option<&'a [u8]>,
}

#[async_trait]
impl Transaction for Forget<'_> {
    type Output = bool;

    fn scope(&self) -> &str {
        DIRECTORY_SCOPE
    }

    async fn decide(&self, tx: &mut Tx<'_>) -> Decision<bool> {
        let CallPrincipal { account_id, region, .. } = self.principal;
        let location = keys::pool_location(self.pool_id);
        let entry = keys::account_pool(account_id, region, self.pool_id);
        tx.load(Query::new().get(location.clone()).get(entry.clone())).await?;
        let Some(stored) = tx.get::<PoolLocationRecord>(&location)? else {
            return Ok(false.into());
        };
        if stored.record.account_id != *account_id || stored.record.region != *region {
            return Ok(false.into());
        }
        if self.only.is_some_and(|only| tx.get_bytes(&location).as_deref() != Some(only)) {
            return Ok(false.into());
        }
        if !self.deleted && stored.record.arrival.is_some() {
            return Ok(false.into());
        }
        let Some(listed) = tx.get::<PoolEntryRecord>(&entry)? else {
            tx.delete(location);
            return Ok(true.into());
        };
        let age_ms = tx.now_ms() - listed.record.created_ms;
        if !self.deleted && age_ms < 2 * make_ms_max() {
            return Ok(false.into());
        }
        tx.delete(location);
        tx.delete(entry);
        tx.add(keys::account_pool_count(account_id), -1, None, None);
        Ok(true.into())
    }
}

/// Clears the rows of a deleted pool's clients away, where they are still that pool's.
pub(crate) struct ForgetClients<'a> {
    pub pool_id: &'a str,
    pub client_ids: &'a [String],
}

impl ForgetClients<'_> {
    /// How many fit into one commit.
    pub(crate) const CLIENTS_MAX: usize = 100;
}

#[async_trait]
impl Transaction for ForgetClients<'_> {
    type Output = ();

    fn scope(&self) -> &str {
        DIRECTORY_SCOPE
    }

    async fn decide(&self, tx: &mut Tx<'_>) -> Decision<()> {
        let rows: Vec<_> = self.client_ids.iter().map(|id| keys::client_location(id)).collect();
        tx.load(rows.iter().cloned().fold(Query::new(), Query::get)).await?;
        for row in rows {
            if tx.get_bytes(&row).is_some_and(|value| value == self.pool_id.as_bytes()) {
                tx.delete(row);
            }
        }
        Ok(().into())
    }
}
