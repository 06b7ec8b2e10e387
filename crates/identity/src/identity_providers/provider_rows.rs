//! The rows of a provider: its record, its details, and its identifiers.

use std::collections::BTreeMap;

use bytes::Bytes;
use conclave_api::{ApiError, ExceptionName, types};
use conclave_store::{
    keys,
    records::{IdentityProviderRecord, ProviderDetails, ProviderDetailsRecord},
};
use prost::Message;

use super::details::{self, Details};
use crate::{
    config::PoolConfig,
    errors,
    sealed::{self, Place},
    tx::{Failure, Query, Tx},
};

/// Asks for a provider with its details.
pub(super) fn query(query: Query, name: &str) -> Query {
    query.get(keys::identity_provider(name)).get(keys::provider_details(name))
}

/// The details of a provider that [`query`] has loaded.
///
/// # Errors
/// InternalErrorException when they do not open.
pub(super) fn open(tx: &Tx<'_>, pool: &PoolConfig, name: &str) -> Result<Details, ApiError> {
    let row = keys::provider_details(name);
    let missing = || errors::internal("a provider has no details");
    let stored = tx.get::<ProviderDetailsRecord>(&row)?.ok_or_else(missing)?;
    let place = Place { scope: pool.id(), key: &row, field: "details" };
    let plain = sealed::open(&pool.keyring, place, &stored.record.sealed)?;
    let record = ProviderDetails::decode(plain.expose().as_slice())
        .map_err(|_| errors::internal("a stored record cannot be decoded"))?;
    Ok(record.details.into_iter().collect())
}

/// Writes a provider's details.
///
/// # Errors
/// InternalErrorException when the pool's keys cannot be used.
pub(super) fn put_details(
    tx: &mut Tx<'_>,
    pool: &PoolConfig,
    name: &str,
    details: &Details,
) -> Result<(), ApiError> {
    let row = keys::provider_details(name);
    let place = Place { scope: pool.id(), key: &row, field: "details" };
    let plain = ProviderDetails { details: details.clone().into_iter().collect() }.encode_to_vec();
    let sealed = sealed::seal(tx.world(), &pool.keyring, place, &plain)?;
    tx.put(row, &ProviderDetailsRecord { sealed: sealed.into() });
    Ok(())
}

/// Gives `name` the identifiers `new` in the place of `old`.
///
/// # Errors
/// InvalidParameterException for one that another provider has.
pub(super) async fn put_identifiers(
    tx: &mut Tx<'_>,
    name: &str,
    old: &[String],
    new: &[String],
) -> Result<(), Failure> {
    let added: Vec<_> = new.iter().filter(|identifier| !old.contains(identifier)).collect();
    let get = |query: Query, id: &&String| query.get(keys::provider_identifier(id));
    if !added.is_empty() {
        tx.load(added.iter().fold(Query::new(), get)).await?;
    }
    for identifier in old.iter().filter(|identifier| !new.contains(identifier)) {
        tx.delete(keys::provider_identifier(identifier));
    }
    for identifier in added {
        let row = keys::provider_identifier(identifier);
        if tx.get_bytes(&row).is_some() {
            return Err(errors::invalid_parameter(format!(
                "The identifier {identifier} is used by another identity provider."
            ))
            .into());
        }
        tx.put_new(row, Bytes::copy_from_slice(name.as_bytes()), None);
    }
    Ok(())
}

/// A provider of that name is there already. The text is judgement.
pub(super) fn duplicate(name: &str) -> ApiError {
    ApiError::new(
        ExceptionName::DuplicateProviderException,
        format!("A provider with the name {name} already exists in this user pool."),
    )
}

/// A provider as every operation answers it.
///
/// # Errors
/// InternalErrorException when it has an unknown type.
pub(super) fn describe(
    pool_id: &str,
    provider: &IdentityProviderRecord,
    details: Details,
) -> Result<types::IdentityProviderType, ApiError> {
    let mapping: BTreeMap<_, _> = provider.attribute_mapping.clone().into_iter().collect();
    Ok(types::IdentityProviderType {
        user_pool_id: Some(pool_id.to_owned()),
        provider_name: Some(provider.name.clone()),
        provider_type: Some(provider.r#type.clone()),
        provider_details: details::shown(&provider.r#type, details)?,
        attribute_mapping: mapping,
        idp_identifiers: provider.identifiers.clone(),
        last_modified_date: Some(provider.modified_ms),
        creation_date: Some(provider.created_ms),
        ..Default::default()
    })
}
