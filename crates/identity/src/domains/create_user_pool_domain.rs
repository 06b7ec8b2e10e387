//! CreateUserPoolDomain.

use async_trait::async_trait;
use conclave_api::{ApiError, types};
use conclave_crypto::ids;
use conclave_store::{
    keys,
    records::{DomainConfig, PoolRecord},
};

use super::{custom_of, directory_rows::Reserve, prefix_of, settings, target};
use crate::{
    call::Call,
    errors,
    pool_access::{owned_pool, principal},
    pools::{make_ms_max, tier},
    tx::{Decision, Query, Transaction, Tx, transact},
    world::World,
};

/// Gives a pool a domain: in the directory first, so that nobody else has it, and then in the pool.
///
/// # Errors
/// ResourceNotFoundException when the caller has no such pool; InvalidParameterException for a name that
/// is not good or taken, and when the pool has a domain of that kind; LimitExceededException when the
/// account has too many of its own; FeatureUnavailableInTierException for pages that the pool's plan
/// does not have.
pub async fn create_user_pool_domain(
    world: &World,
    call: &Call,
    input: types::CreateUserPoolDomainRequest,
) -> Result<types::CreateUserPoolDomainResponse, ApiError> {
    let principal = principal(call)?;
    let domain = input.domain.as_deref().unwrap_or_default();
    let pool_id = input.user_pool_id.as_deref().unwrap_or_default();
    let certificate_arn = settings::certificate(input.custom_domain_config.as_ref());
    let is_custom = certificate_arn.is_some();
    let version = settings::version(input.managed_login_version)?;
    let mut config = DomainConfig {
        domain: domain.to_owned(),
        certificate_arn,
        managed_login_version: version,
        reservation: ids::uuid(&*world.entropy),
        created_ms: 0,
    };
    transact(world, &Check { call, pool_id, config: &config }).await?;
    settings::check_name(domain, is_custom)?;
    let reserve = Reserve { principal, pool_id, domain, reservation: &config.reservation };
    config.created_ms = transact(world, &reserve).await?;
    conclave_fault::point("create.after_directory");
    transact(world, &Make { call, pool_id, config: &config }).await?;
    Ok(types::CreateUserPoolDomainResponse {
        managed_login_version: i32::try_from(version).ok(),
        cloud_front_domain: is_custom.then(|| target(world)),
        ..Default::default()
    })
}

/// The pool with the domain.
fn with_domain(pool: &PoolRecord, config: &DomainConfig) -> Result<PoolRecord, ApiError> {
    let is_custom = config.certificate_arn.is_some();
    let same_kind = if is_custom { custom_of(pool) } else { prefix_of(pool) };
    if same_kind.is_some() {
        return Err(errors::invalid_parameter("User pool already has a domain configured."));
    }
    let mut record = pool.clone();
    record.domains.push(config.clone());
    tier::check(&pool.tier, &record)?;
    Ok(record)
}

/// Refuses what can be refused before anything is written.
struct Check<'a> {
    call: &'a Call,
    pool_id: &'a str,
    config: &'a DomainConfig,
}

#[async_trait]
impl Transaction for Check<'_> {
    type Output = ();

    fn scope(&self) -> &str {
        self.pool_id
    }

    async fn decide(&self, tx: &mut Tx<'_>) -> Decision<()> {
        tx.load(Query::new()).await?;
        with_domain(&owned_pool(tx, self.call)?.record, self.config)?;
        Ok(().into())
    }
}

/// Tells the pool of a domain that is reserved for it.
struct Make<'a> {
    call: &'a Call,
    pool_id: &'a str,
    config: &'a DomainConfig,
}

#[async_trait]
impl Transaction for Make<'_> {
    type Output = ();

    fn scope(&self) -> &str {
        self.pool_id
    }

    async fn decide(&self, tx: &mut Tx<'_>) -> Decision<()> {
        tx.load(Query::new()).await?;
        let pool = owned_pool(tx, self.call)?;
        // the reconciler may have cleared the reservation away by now
        if tx.now_ms() - self.config.created_ms > make_ms_max() {
            return Err(errors::unavailable().into());
        }
        let record = with_domain(&pool.record, self.config)?;
        tx.put(keys::ROOT.to_vec(), &record);
        tx.bump_epoch();
        Ok(().into())
    }
}
