//! AdminLinkProviderForUser: whoever signs in with an identity at a provider becomes a user that there is.

use async_trait::async_trait;
use conclave_api::{ApiError, ExceptionName, types};
use conclave_store::{keys, records::UserRecord};

use super::{
    index,
    links::{self, Identity},
    lookup::{self, With},
};
use crate::{
    call::Call,
    config::PoolConfig,
    errors,
    pool_access::owned_pool,
    pools::schema,
    tx::{Decision, Query, Transaction, Tx, transact},
    world::World,
};

/// Links an identity that nobody has signed in with to a user. Two reads and one commit; one read more
/// where the user has as many links as there may be.
///
/// # Errors
/// Those of the API reference.
pub async fn admin_link_provider_for_user(
    world: &World,
    call: &Call,
    input: types::AdminLinkProviderForUserRequest,
) -> Result<types::AdminLinkProviderForUserResponse, ApiError> {
    let link = AdminLinkProviderForUser {
        call,
        pool_id: input.user_pool_id.unwrap_or_default(),
        destination: Identity::parse(input.destination_user, "DestinationUser")?,
        source: Identity::parse(input.source_user, "SourceUser")?,
    };
    transact(world, &link).await
}

struct AdminLinkProviderForUser<'a> {
    call: &'a Call,
    pool_id: String,
    destination: Identity,
    source: Identity,
}

#[async_trait]
impl Transaction for AdminLinkProviderForUser<'_> {
    type Output = types::AdminLinkProviderForUserResponse;

    fn scope(&self) -> &str {
        &self.pool_id
    }

    async fn decide(&self, tx: &mut Tx<'_>) -> Decision<Self::Output> {
        let (source, destination) = (&self.source, &self.destination);
        let provider_row = keys::identity_provider(&source.provider_name);
        let mut query = Query::new().get(provider_row.clone());
        query = if destination.is_local() {
            lookup::admin_query(query, &destination.value, &[With::Nothing])
        } else {
            query.get(keys::identity_provider(&destination.provider_name))
        };
        tx.load(query).await?;
        let pool = owned_pool(tx, self.call)?;
        if source.is_local() {
            return Err(errors::invalid_parameter(
                "Invalid SourceUser: Cognito users with a username/password may not be passed in as a \
                 SourceUser, only as a DestinationUser",
            )
            .into());
        }
        let provider = source.provider(tx)?;
        source.check_attribute(&provider, "SourceUser")?;
        let row = source.row(&provider);
        let user = if destination.is_local() {
            links::load(tx, &[&row]).await?;
            self.local_destination(tx, &pool)?
        } else {
            // for a user of a provider the attribute's name says nothing
            let attribute_name = links::SUBJECT.to_owned();
            let (provider_name, value) =
                (destination.provider_name.clone(), destination.value.clone());
            let identity = Identity { provider_name, attribute_name, value };
            let at = identity.row(&identity.provider(tx)?);
            links::load(tx, &[&row, &at]).await?;
            links::user_at(tx, &at)?.ok_or_else(errors::user_not_found)?.record
        };
        if let Some(linked) = links::user_at(tx, &row)? {
            return Err(taken(&linked.record, &user, &row).into());
        }
        check_mutable(&pool, &user)?;
        let mut linked = user.clone();
        linked.modified_ms = tx.now_ms();
        links::add(tx, &mut linked, source.link(&provider, tx.now_ms())).await?;
        // a provider that goes, or becomes another, takes no new links
        tx.rely_on(&provider_row);
        tx.rely_on_config();
        index::write_user(tx, Some(&user), &linked)?;
        Ok(types::AdminLinkProviderForUserResponse::default().into())
    }
}

impl AdminLinkProviderForUser<'_> {
    /// The user of that name. Not of that alias: an address moves from one user to another, and whoever
    /// has it must not get somebody else's identity with it.
    fn local_destination(&self, tx: &Tx<'_>, pool: &PoolConfig) -> Result<UserRecord, ApiError> {
        let found = lookup::find_for_admin(tx, pool, &self.destination.value)?;
        let found = found.filter(|found| found.alias.is_none());
        found.map(|found| found.user.record).ok_or_else(errors::user_not_found)
    }
}

/// Somebody has the identity. The second text is judgement.
fn taken(owner: &UserRecord, destination: &UserRecord, row: &[u8]) -> ApiError {
    let has_signed_up = owner.links.iter().any(|link| link.is_primary && links::row(link) == row);
    if has_signed_up {
        return errors::invalid_parameter(
            "Merging is not currently supported, provide a SourceUser that has not been signed up in \
             order to link",
        );
    }
    if owner.sub != destination.sub {
        return ExceptionName::AliasExistsException
            .because("SourceUser is already linked to another DestinationUser");
    }
    errors::invalid_parameter("SourceUser is already linked to DestinationUser")
}

/// A sign-in by a provider sets attributes anew, and one that cannot be set would keep the user out. The
/// text is judgement.
fn check_mutable(pool: &PoolConfig, user: &UserRecord) -> Result<(), ApiError> {
    let fixed = |name: &str| schema::find(&pool.record, name).is_some_and(|found| !found.mutable);
    let mut names = user.attributes.iter().map(|attribute| attribute.name.as_str());
    let Some(name) = names.find(|name| fixed(name)) else { return Ok(()) };
    Err(errors::invalid_parameter(format!(
        "Invalid DestinationUser: the attribute {name} of the user is immutable"
    )))
}

#[cfg(test)]
mod tests;
