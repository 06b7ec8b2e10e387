//! From a request's settings to a client's record: Cognito's defaults, and its rules between members and
//! with the pool. Limits of single members are checked before, and members whose effect is not built
//! are refused before (`proto/model/refusals.toml`). What it names in the pool is checked in `references.rs`.
//!
//! Sources: API reference, `CreateUserPoolClient` and `UpdateUserPoolClient`; texts are Cognito's.

use conclave_api::{ApiError, types};
use conclave_store::records::{ClientRecord, PoolRecord, RefreshTokenRotation};

use super::{oauth, validity};
use crate::{errors, pools::schema};

/// API reference, `CreateUserPoolClient`: AuthSessionValidity.
const AUTH_SESSION_VALIDITY_MINUTES: u32 = 3;

/// The record of a new client; id, secrets and times are still to be filled in.
///
/// # Errors
/// InvalidParameterException.
pub(super) fn new_client(
    pool: &PoolRecord,
    request: &types::CreateUserPoolClientRequest,
) -> Result<ClientRecord, ApiError> {
    let has_secret = request.generate_secret == Some(true) || request.client_secret.is_some();
    if request.generate_secret == Some(true) && request.client_secret.is_some() {
        return Err(errors::invalid_parameter(
            "Only one of GenerateSecret or ClientSecret can be set.",
        ));
    }
    settings(pool, request, has_secret, "creating")
}

/// The record of a client after UpdateUserPoolClient: what the request leaves out is as in a new client,
/// except for the name.
///
/// # Errors
/// As for [`new_client`].
pub(super) fn updated_client(
    pool: &PoolRecord,
    present: &ClientRecord,
    request: types::UpdateUserPoolClientRequest,
) -> Result<ClientRecord, ApiError> {
    let as_new = types::CreateUserPoolClientRequest {
        user_pool_id: request.user_pool_id,
        client_name: request.client_name.or_else(|| Some(present.name.clone())),
        // a client keeps its secrets, or its having none
        generate_secret: None,
        client_secret: None,
        refresh_token_validity: request.refresh_token_validity,
        access_token_validity: request.access_token_validity,
        id_token_validity: request.id_token_validity,
        token_validity_units: request.token_validity_units,
        read_attributes: request.read_attributes,
        write_attributes: request.write_attributes,
        explicit_auth_flows: request.explicit_auth_flows,
        supported_identity_providers: request.supported_identity_providers,
        callback_urls: request.callback_urls,
        logout_urls: request.logout_urls,
        default_redirect_uri: request.default_redirect_uri,
        allowed_oauth_flows: request.allowed_oauth_flows,
        allowed_oauth_scopes: request.allowed_oauth_scopes,
        allowed_oauth_flows_user_pool_client: request.allowed_oauth_flows_user_pool_client,
        analytics_configuration: request.analytics_configuration,
        prevent_user_existence_errors: request.prevent_user_existence_errors,
        enable_token_revocation: request.enable_token_revocation,
        enable_propagate_additional_user_context_data: request
            .enable_propagate_additional_user_context_data,
        auth_session_validity: request.auth_session_validity,
        refresh_token_rotation: request.refresh_token_rotation,
    };
    Ok(ClientRecord {
        client_id: present.client_id.clone(),
        secrets: present.secrets.clone(),
        created_ms: present.created_ms,
        ..settings(pool, &as_new, !present.secrets.is_empty(), "updating")?
    })
}

/// `doing` is how the texts call the operation.
fn settings(
    pool: &PoolRecord,
    request: &types::CreateUserPoolClientRequest,
    has_secret: bool,
    doing: &str,
) -> Result<ClientRecord, ApiError> {
    let propagates = request.enable_propagate_additional_user_context_data == Some(true);
    if propagates && !has_secret {
        return Err(errors::invalid_parameter(
            "Client Secret is required to set EnablePropagateAdditionalUserContextData as true",
        ));
    }
    oauth::check(request, has_secret)?;
    check_rotation(request)?;
    check_read_attributes(pool, &request.read_attributes, doing)?;
    check_write_attributes(pool, &request.write_attributes, doing)?;
    let units = request.token_validity_units.as_ref();
    let number = |number: Option<i32>| number.and_then(|number| u32::try_from(number).ok());
    let refresh_token_validity = number(request.refresh_token_validity).filter(|value| *value > 0);
    let record = ClientRecord {
        name: request.client_name.clone().unwrap_or_default(),
        refresh_token_validity: refresh_token_validity.or(Some(validity::REFRESH_DEFAULT)),
        access_token_validity: number(request.access_token_validity),
        id_token_validity: number(request.id_token_validity),
        refresh_token_unit: units.and_then(|units| units.refresh_token.clone()),
        access_token_unit: units.and_then(|units| units.access_token.clone()),
        id_token_unit: units.and_then(|units| units.id_token.clone()),
        has_token_validity_units: units.is_some(),
        read_attributes: request.read_attributes.clone(),
        write_attributes: request.write_attributes.clone(),
        explicit_auth_flows: auth_flows(&request.explicit_auth_flows)?,
        prevent_user_existence_errors: request.prevent_user_existence_errors.clone(),
        enable_token_revocation: request.enable_token_revocation.unwrap_or(true),
        enable_propagate_additional_user_context_data: propagates,
        auth_session_validity_minutes: number(request.auth_session_validity)
            .unwrap_or(AUTH_SESSION_VALIDITY_MINUTES),
        supported_identity_providers: request.supported_identity_providers.clone(),
        callback_urls: without_repetitions(&request.callback_urls),
        logout_urls: without_repetitions(&request.logout_urls),
        default_redirect_uri: request.default_redirect_uri.clone(),
        allowed_oauth_flows: without_repetitions(&request.allowed_oauth_flows),
        allowed_oauth_scopes: without_repetitions(&request.allowed_oauth_scopes),
        allowed_oauth_flows_user_pool_client: request
            .allowed_oauth_flows_user_pool_client
            .unwrap_or(false),
        refresh_token_rotation: request.refresh_token_rotation.as_ref().map(rotation),
        ..Default::default()
    };
    validity::check(&record)?;
    Ok(record)
}

/// What rotates is refreshed by GetTokensFromRefreshToken alone. Source: developer guide, "Refresh
/// tokens". A client that names no flows at all loses this one when it rotates.
fn check_rotation(request: &types::CreateUserPoolClientRequest) -> Result<(), ApiError> {
    let rotates =
        request.refresh_token_rotation.as_ref().is_some_and(|given| rotation(given).enabled);
    if rotates && request.explicit_auth_flows.iter().any(|flow| flow == "ALLOW_REFRESH_TOKEN_AUTH")
    {
        return Err(errors::invalid_parameter(
            "ALLOW_REFRESH_TOKEN_AUTH is not supported when refresh token rotation is enabled.",
        ));
    }
    Ok(())
}

/// Without a grace period there is none: the value that the API describes then is 0.
fn rotation(given: &types::RefreshTokenRotationType) -> RefreshTokenRotation {
    let seconds = given.retry_grace_period_seconds.unwrap_or_default();
    RefreshTokenRotation {
        enabled: given.feature.as_deref() == Some("ENABLED"),
        retry_grace_period_seconds: u32::try_from(seconds).unwrap_or_default(),
    }
}

fn check_read_attributes(pool: &PoolRecord, names: &[String], doing: &str) -> Result<(), ApiError> {
    let known = |name: &String| schema::find(pool, name).is_some() || name == "identities";
    if names.iter().all(known) {
        return Ok(());
    }
    Err(errors::invalid_parameter(format!(
        "Invalid read attributes specified while {doing} a client"
    )))
}

/// A client that may write some attributes may write all that a user must have, and none that only
/// the service or an administrator writes.
fn check_write_attributes(
    pool: &PoolRecord,
    names: &[String],
    doing: &str,
) -> Result<(), ApiError> {
    let writable = |name: &String| {
        let reserved = matches!(name.as_str(), "sub" | "email_verified" | "phone_number_verified");
        !reserved && schema::find(pool, name).is_some_and(|attribute| !attribute.developer_only)
    };
    let complete = || schema::required(pool).all(|attribute| names.contains(&attribute.name));
    if names.is_empty() || (names.iter().all(writable) && complete()) {
        return Ok(());
    }
    Err(errors::invalid_parameter(format!(
        "Invalid write attributes specified while {doing} a client"
    )))
}

/// The flows, once each, in the order in which Cognito answers them.
fn auth_flows(given: &[String]) -> Result<Vec<String>, ApiError> {
    let is_new = |flow: &&String| flow.starts_with("ALLOW_");
    let new = given.iter().filter(is_new).count();
    if new > 0 && new < given.len() {
        return Err(errors::invalid_parameter(
            "Auth flow name with prefix 'ALLOW' cannot be used with legacy auth flow names.",
        ));
    }
    let mut flows = without_repetitions(given);
    flows.sort_by_key(|flow| hash_set_bucket(flow));
    Ok(flows)
}

fn without_repetitions(given: &[String]) -> Vec<String> {
    let mut kept: Vec<String> = Vec::with_capacity(given.len());
    for text in given {
        if !kept.contains(text) {
            kept.push(text.clone());
        }
    }
    kept
}

/// The place of a name in a Java `HashSet` of at most twelve: Cognito answers the flows in the order of
/// such a set. Names in one place keep the request's order.
fn hash_set_bucket(name: &str) -> u32 {
    let hash = name
        .encode_utf16()
        .fold(0_u32, |hash, unit| hash.wrapping_mul(31).wrapping_add(u32::from(unit)));
    (hash ^ (hash >> 16)) & 15
}
