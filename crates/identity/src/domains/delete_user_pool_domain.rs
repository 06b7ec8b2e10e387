//! DeleteUserPoolDomain.

use async_trait::async_trait;
use conclave_api::{ApiError, types};
use conclave_store::{keys, records::DomainLocationRecord};

use super::{Forget, no_such_domain};
use crate::{
    call::Call,
    pool_access::owned_pool,
    pools::make_ms_max,
    tx::{Decision, Query, Transaction, Tx, transact},
    world::World,
};

/// Takes a domain away from a pool, and then from the directory. A repetition finishes what a crash has
/// left.
///
/// # Errors
/// ResourceNotFoundException when the caller has no such pool; InvalidParameterException when the pool
/// has no such domain.
pub async fn delete_user_pool_domain(
    world: &World,
    call: &Call,
    input: types::DeleteUserPoolDomainRequest,
) -> Result<types::DeleteUserPoolDomainResponse, ApiError> {
    let pool_id = input.user_pool_id.as_deref().unwrap_or_default();
    let domain = input.domain.as_deref().unwrap_or_default();
    let deleted = transact(world, &Delete { call, pool_id, domain }).await?;
    conclave_fault::point("delete.after_pool");
    let had_row = match &deleted.reservation {
        // a domain that was made anew since has another reservation
        Some(own) => {
            let wanted = |row: &DomainLocationRecord| row.reservation == *own;
            transact(world, &Forget { domain, wanted }).await?;
            true
        }
        // what the pool does not know can be a domain in the making
        None => {
            let wanted = |row: &DomainLocationRecord| {
                row.pool_id == pool_id && deleted.now_ms - row.created_ms > 2 * make_ms_max()
            };
            transact(world, &Forget { domain, wanted }).await?
        }
    };
    if had_row { Ok(types::DeleteUserPoolDomainResponse::default()) } else { Err(no_such_domain()) }
}

struct Delete<'a> {
    call: &'a Call,
    pool_id: &'a str,
    domain: &'a str,
}

/// What the pool said.
struct Deleted {
    /// Of the domain that the pool had; `None` when it had none of that name.
    reservation: Option<String>,
    now_ms: i64,
}

#[async_trait]
impl Transaction for Delete<'_> {
    type Output = Deleted;

    fn works_when_frozen(&self) -> bool {
        true
    }

    fn scope(&self) -> &str {
        self.pool_id
    }

    async fn decide(&self, tx: &mut Tx<'_>) -> Decision<Deleted> {
        tx.load(Query::new()).await?;
        let pool = owned_pool(tx, self.call)?;
        let now_ms = tx.now_ms();
        let mut record = pool.record.clone();
        let position = record.domains.iter().position(|domain| domain.domain == self.domain);
        let Some(position) = position else {
            return Ok(Deleted { reservation: None, now_ms }.into());
        };
        let reservation = Some(record.domains.remove(position).reservation);
        tx.put(keys::ROOT.to_vec(), &record);
        tx.bump_epoch();
        Ok(Deleted { reservation, now_ms }.into())
    }
}
