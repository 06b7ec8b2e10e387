//! AdminDisableProviderForUser: a user can no longer sign in with an identity at a provider, or with the
//! password.

use async_trait::async_trait;
use conclave_api::{ApiError, types};
use conclave_store::{keys, records::UserRecord};

use super::{
    credentials, index,
    links::{self, Identity},
    lookup::{self, With},
    password_history, status,
};
use crate::{
    call::Call,
    errors,
    pool_access::owned_pool,
    tx::{Decision, Query, Transaction, Tx, transact},
    world::World,
};

/// Takes a link away, or a password for good; until an administrator sets another one. Tokens stay valid, as
/// in Cognito. Two reads and one commit; one read for a password. Tested beside
/// [`super::admin_link_provider_for_user`].
///
/// # Errors
/// Those of the API reference, without AliasExistsException: nothing is given to anybody here.
pub async fn admin_disable_provider_for_user(
    world: &World,
    call: &Call,
    input: types::AdminDisableProviderForUserRequest,
) -> Result<types::AdminDisableProviderForUserResponse, ApiError> {
    let disable = AdminDisableProviderForUser {
        call,
        pool_id: input.user_pool_id.unwrap_or_default(),
        user: Identity::parse(input.user, "User")?,
    };
    transact(world, &disable).await
}

struct AdminDisableProviderForUser<'a> {
    call: &'a Call,
    pool_id: String,
    user: Identity,
}

#[async_trait]
impl Transaction for AdminDisableProviderForUser<'_> {
    type Output = types::AdminDisableProviderForUserResponse;

    fn scope(&self) -> &str {
        &self.pool_id
    }

    async fn decide(&self, tx: &mut Tx<'_>) -> Decision<Self::Output> {
        if self.user.is_local() {
            self.take_password(tx).await?;
        } else {
            self.take_link(tx).await?;
        }
        Ok(types::AdminDisableProviderForUserResponse::default().into())
    }
}

impl AdminDisableProviderForUser<'_> {
    async fn take_password(&self, tx: &mut Tx<'_>) -> Decision<()> {
        let query = lookup::admin_query(Query::new(), &self.user.value, &[With::Nothing]);
        tx.load(query).await?;
        let pool = owned_pool(tx, self.call)?;
        if self.user.attribute_name != links::SUBJECT {
            return Err(errors::invalid_parameter(format!(
                "Invalid User: ProviderAttributeName must be {} for Cognito",
                links::SUBJECT
            ))
            .into());
        }
        let found = lookup::find_for_admin(tx, &pool, &self.user.value)?;
        let found = found.filter(|found| found.alias.is_none());
        let user = found.ok_or_else(errors::user_not_found)?.user.record;
        tx.delete(credentials::key(&user.sub));
        tx.delete(password_history::key(&user.sub));
        write(tx, &user, |changed| status::EXTERNAL_PROVIDER.clone_into(&mut changed.status))?;
        Ok(().into())
    }

    async fn take_link(&self, tx: &mut Tx<'_>) -> Decision<()> {
        tx.load(Query::new().get(keys::identity_provider(&self.user.provider_name))).await?;
        owned_pool(tx, self.call)?;
        let provider = self.user.provider(tx)?;
        // others may have mapped the attribute when the link was made, and no more
        self.user.check_social(&provider, "User")?;
        let row = self.user.row(&provider);
        links::load(tx, &[&row]).await?;
        let user = links::user_at(tx, &row)?.ok_or_else(errors::user_not_found)?.record;
        write(tx, &user, |changed| changed.links.retain(|link| links::row(link) != row))?;
        Ok(().into())
    }
}

fn write(
    tx: &mut Tx<'_>,
    user: &UserRecord,
    change: impl FnOnce(&mut UserRecord),
) -> Result<(), ApiError> {
    let mut changed = user.clone();
    change(&mut changed);
    changed.modified_ms = tx.now_ms();
    index::write_user(tx, Some(user), &changed)
}
