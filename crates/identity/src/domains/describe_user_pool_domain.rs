//! DescribeUserPoolDomain.

use async_trait::async_trait;
use conclave_api::{ApiError, ExceptionName, types};

use super::{directory_rows::Find, target};
use crate::{
    call::Call,
    pool_access::{owned_pool, principal},
    tx::{Decision, Query, Transaction, Tx, transact},
    world::World,
};

/// Answers a domain of the caller's. For one that nobody has, or somebody else, the description is empty,
/// as Cognito's is.
///
/// # Errors
/// The store's.
pub async fn describe_user_pool_domain(
    world: &World,
    call: &Call,
    input: types::DescribeUserPoolDomainRequest,
) -> Result<types::DescribeUserPoolDomainResponse, ApiError> {
    let principal = principal(call)?;
    let domain = input.domain.unwrap_or_default();
    let location = transact(world, &Find { domain: &domain }).await?;
    let own = location.filter(|location| {
        location.account_id == principal.account_id && location.region == principal.region
    });
    let mut domain_description = types::DomainDescriptionType::default();
    if let Some(location) = own {
        let describe = Describe { call, pool_id: &location.pool_id, domain: &domain };
        match transact(world, &describe).await {
            Ok(description) => domain_description = description,
            // a deletion or a creation is under way, or was cut short
            Err(error) if error.code == ExceptionName::ResourceNotFoundException => {}
            Err(error) => return Err(error),
        }
    }
    Ok(types::DescribeUserPoolDomainResponse { domain_description: Some(domain_description) })
}

struct Describe<'a> {
    call: &'a Call,
    pool_id: &'a str,
    domain: &'a str,
}

#[async_trait]
impl Transaction for Describe<'_> {
    type Output = types::DomainDescriptionType;

    fn scope(&self) -> &str {
        self.pool_id
    }

    async fn decide(&self, tx: &mut Tx<'_>) -> Decision<Self::Output> {
        tx.load(Query::new()).await?;
        let pool = owned_pool(tx, self.call)?;
        let mut domains = pool.record.domains.iter();
        let Some(domain) = domains.find(|domain| domain.domain == self.domain) else {
            return Ok(types::DomainDescriptionType::default().into());
        };
        let certificate_arn = domain.certificate_arn.clone();
        Ok(types::DomainDescriptionType {
            user_pool_id: Some(pool.id().to_owned()),
            aws_account_id: Some(pool.record.account_id.clone()),
            domain: Some(domain.domain.clone()),
            cloud_front_distribution: Some(target(tx.world())),
            version: Some(domain.created_ms.to_string()),
            status: Some("ACTIVE".to_owned()),
            custom_domain_config: Some(types::CustomDomainConfigType {
                certificate_arn,
                ..Default::default()
            }),
            managed_login_version: i32::try_from(domain.managed_login_version).ok(),
            ..Default::default()
        }
        .into())
    }
}
