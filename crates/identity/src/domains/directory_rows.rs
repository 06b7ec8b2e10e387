//! A domain's row in the directory, and the count of an account's custom domains.

use async_trait::async_trait;
use conclave_api::{ApiError, ExceptionName};
use conclave_store::{DIRECTORY_SCOPE, keys, records::DomainLocationRecord};

use crate::{
    call::CallPrincipal,
    errors,
    tx::{Decision, Query, Transaction, Tx},
};

/// Takes a domain for a pool. What a crash has left of the same pool is taken over.
pub(crate) struct Reserve<'a> {
    pub principal: &'a CallPrincipal,
    pub pool_id: &'a str,
    pub domain: &'a str,
    pub reservation: &'a str,
}

#[async_trait]
impl Transaction for Reserve<'_> {
    /// When it was taken, on the directory's clock.
    type Output = i64;

    fn scope(&self) -> &str {
        DIRECTORY_SCOPE
    }

    async fn decide(&self, tx: &mut Tx<'_>) -> Decision<i64> {
        let row = keys::domain_location(self.domain);
        tx.load(Query::new().get(row.clone())).await?;
        let present = tx.get::<DomainLocationRecord>(&row)?;
        if present.as_ref().is_some_and(|present| present.record.pool_id != self.pool_id) {
            // also of another account: a name is seen by everybody, so that it is taken is no secret
            return Err(errors::invalid_parameter(
                "Domain already associated with another user pool.",
            )
            .into());
        }
        let CallPrincipal { account_id, region, .. } = self.principal;
        let record = DomainLocationRecord {
            pool_id: self.pool_id.to_owned(),
            account_id: account_id.clone(),
            region: region.clone(),
            created_ms: tx.now_ms(),
            reservation: self.reservation.to_owned(),
        };
        if present.is_none() && is_custom(self.domain) {
            let max = tx.world().settings.limits.custom_domains_per_account;
            tx.add(keys::account_domain_count(account_id), 1, Some((max, too_many())), None);
        }
        tx.put(row, &record);
        Ok(record.created_ms.into())
    }
}

/// A prefix of ours has no dots.
fn is_custom(domain: &str) -> bool {
    domain.contains('.')
}

fn too_many() -> ApiError {
    ApiError::new(
        ExceptionName::LimitExceededException,
        "The maximum number of custom domains for this account has been reached.",
    )
}

/// Clears a domain's row away. Answers whether there was one that is `wanted`.
pub(crate) struct Forget<'a, F> {
    pub domain: &'a str,
    /// Whether this row may go.
    pub wanted: F,
}

#[async_trait]
impl<F: Fn(&DomainLocationRecord) -> bool + Send + Sync> Transaction for Forget<'_, F> {
    type Output = bool;

    fn scope(&self) -> &str {
        DIRECTORY_SCOPE
    }

    async fn decide(&self, tx: &mut Tx<'_>) -> Decision<bool> {
        let row = keys::domain_location(self.domain);
        tx.load(Query::new().get(row.clone())).await?;
        let Some(present) = tx.get::<DomainLocationRecord>(&row)? else { return Ok(false.into()) };
        if !(self.wanted)(&present.record) {
            return Ok(false.into());
        }
        tx.delete(row);
        if is_custom(self.domain) {
            let account_id = &present.record.account_id;
            tx.add(keys::account_domain_count(account_id), -1, None, None);
        }
        Ok(true.into())
    }
}

/// Whose a domain is.
pub(super) struct Find<'a> {
    pub domain: &'a str,
}

#[async_trait]
impl Transaction for Find<'_> {
    type Output = Option<DomainLocationRecord>;

    fn scope(&self) -> &str {
        DIRECTORY_SCOPE
    }

    async fn decide(&self, tx: &mut Tx<'_>) -> Decision<Self::Output> {
        let row = keys::domain_location(self.domain);
        tx.load(Query::new().get(row.clone())).await?;
        Ok(tx.get::<DomainLocationRecord>(&row)?.map(|present| present.record).into())
    }
}
