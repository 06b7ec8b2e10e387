//! UpdateUserPoolDomain.

use async_trait::async_trait;
use conclave_api::{ApiError, types};
use conclave_store::keys;

use super::{no_such_domain, settings, target};
use crate::{
    call::Call,
    errors,
    pool_access::owned_pool,
    pools::tier,
    tx::{Decision, Query, Transaction, Tx, transact},
    world::World,
};

/// Changes the version of a domain's pages, or the certificate of a domain of the customer's own. What
/// is left out stays.
///
/// # Errors
/// ResourceNotFoundException when the caller has no such pool; InvalidParameterException when the pool
/// has no such domain, and for a certificate where there is none to change;
/// FeatureUnavailableInTierException for pages that the pool's plan does not have.
pub async fn update_user_pool_domain(
    world: &World,
    call: &Call,
    input: types::UpdateUserPoolDomainRequest,
) -> Result<types::UpdateUserPoolDomainResponse, ApiError> {
    transact(world, &Update { call, input: &input }).await
}

struct Update<'a> {
    call: &'a Call,
    input: &'a types::UpdateUserPoolDomainRequest,
}

#[async_trait]
impl Transaction for Update<'_> {
    type Output = types::UpdateUserPoolDomainResponse;

    fn scope(&self) -> &str {
        self.input.user_pool_id.as_deref().unwrap_or_default()
    }

    async fn decide(&self, tx: &mut Tx<'_>) -> Decision<Self::Output> {
        tx.load(Query::new()).await?;
        let pool = owned_pool(tx, self.call)?;
        let mut record = pool.record.clone();
        let name = self.input.domain.as_deref().unwrap_or_default();
        let mut domains = record.domains.iter_mut();
        let domain = domains.find(|domain| domain.domain == name).ok_or_else(no_such_domain)?;
        if self.input.managed_login_version.is_some() {
            domain.managed_login_version = settings::version(self.input.managed_login_version)?;
        }
        if let Some(arn) = settings::certificate(self.input.custom_domain_config.as_ref()) {
            if domain.certificate_arn.is_none() {
                // judgement
                return Err(errors::invalid_parameter(
                    "CustomDomainConfig can only be updated for a custom domain.",
                )
                .into());
            }
            domain.certificate_arn = Some(arn);
        }
        let response = types::UpdateUserPoolDomainResponse {
            managed_login_version: i32::try_from(domain.managed_login_version).ok(),
            cloud_front_domain: domain.certificate_arn.is_some().then(|| target(tx.world())),
            ..Default::default()
        };
        tier::check(&pool.record.tier, &record)?;
        tx.put(keys::ROOT.to_vec(), &record);
        tx.bump_epoch();
        Ok(response.into())
    }
}
