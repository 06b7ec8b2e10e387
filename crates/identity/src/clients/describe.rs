//! A client as CreateUserPoolClient and DescribeUserPoolClient answer it.

use conclave_api::types;
use conclave_crypto::secret::SecretString;
use conclave_store::records::ClientRecord;

/// The client as it is answered, with its newest secret.
pub fn describe(
    pool_id: &str,
    client: &ClientRecord,
    secrets: &[SecretString],
) -> types::UserPoolClientType {
    // the API's numbers are signed
    let number = |number: u32| i32::try_from(number).ok();
    types::UserPoolClientType {
        user_pool_id: Some(pool_id.to_owned()),
        client_name: Some(client.name.clone()),
        client_id: Some(client.client_id.clone()),
        client_secret: secrets.last().map(|secret| secret.expose().clone()),
        last_modified_date: Some(client.modified_ms),
        creation_date: Some(client.created_ms),
        refresh_token_validity: client.refresh_token_validity.and_then(number),
        access_token_validity: client.access_token_validity.and_then(number),
        id_token_validity: client.id_token_validity.and_then(number),
        token_validity_units: Some(types::TokenValidityUnitsType {
            access_token: client.access_token_unit.clone(),
            id_token: client.id_token_unit.clone(),
            refresh_token: client.refresh_token_unit.clone(),
        }),
        read_attributes: client.read_attributes.clone(),
        write_attributes: client.write_attributes.clone(),
        explicit_auth_flows: client.explicit_auth_flows.clone(),
        supported_identity_providers: client.supported_identity_providers.clone(),
        callback_urls: client.callback_urls.clone(),
        logout_urls: client.logout_urls.clone(),
        default_redirect_uri: client.default_redirect_uri.clone(),
        allowed_oauth_flows: client.allowed_oauth_flows.clone(),
        allowed_oauth_scopes: client.allowed_oauth_scopes.clone(),
        allowed_oauth_flows_user_pool_client: Some(client.allowed_oauth_flows_user_pool_client),
        prevent_user_existence_errors: client.prevent_user_existence_errors.clone(),
        enable_token_revocation: Some(client.enable_token_revocation),
        enable_propagate_additional_user_context_data: Some(
            client.enable_propagate_additional_user_context_data,
        ),
        auth_session_validity: number(client.auth_session_validity_minutes),
        refresh_token_rotation: client.refresh_token_rotation.map(|rotation| {
            let feature = if rotation.enabled { "ENABLED" } else { "DISABLED" };
            types::RefreshTokenRotationType {
                feature: Some(feature.to_owned()),
                retry_grace_period_seconds: number(rotation.retry_grace_period_seconds),
            }
        }),
        ..Default::default()
    }
}
