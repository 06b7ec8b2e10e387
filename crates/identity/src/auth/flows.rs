//! Which flows an app client may use. Source: API reference, CreateUserPoolClient, ExplicitAuthFlows.

use conclave_api::ApiError;
use conclave_api::enums::AuthFlowType;

use crate::config::ClientConfig;

/// Refuses a flow that the client does not allow.
///
/// # Errors
/// InvalidParameterException.
pub fn check_enabled(client: &ClientConfig, flow: &AuthFlowType) -> Result<(), ApiError> {
    if is_enabled(&client.record.explicit_auth_flows, flow) {
        return Ok(());
    }
    match flow {
        AuthFlowType::AdminNoSrpAuth | AuthFlowType::AdminUserPasswordAuth => {
            Err(ApiError::invalid_parameter("Auth flow not enabled for this client"))
        }
        _ => Err(ApiError::invalid_parameter(format!("{flow} flow not enabled for this client"))),
    }
}

/// Refuses to go on with a sign-in that began by `flow`.
///
/// # Errors
/// InvalidParameterException.
pub fn check_still_enabled(client: &ClientConfig, flow: &str) -> Result<(), ApiError> {
    if flow.is_empty() { Ok(()) } else { check_enabled(client, &AuthFlowType::from(flow)) }
}

fn is_enabled(flows: &[String], flow: &AuthFlowType) -> bool {
    let listed = |name: &str| flows.iter().any(|listed| listed == name);
    // names from before the ALLOW_ ones; with them, a client may always refresh and use SRP
    let legacy = !flows.iter().any(|name| name.starts_with("ALLOW_"));
    match flow {
        AuthFlowType::UserSrpAuth => {
            listed("ALLOW_USER_SRP_AUTH") || (legacy && !listed("CUSTOM_AUTH_FLOW_ONLY"))
        }
        AuthFlowType::UserPasswordAuth => {
            listed("ALLOW_USER_PASSWORD_AUTH") || (legacy && listed("USER_PASSWORD_AUTH"))
        }
        AuthFlowType::RefreshToken | AuthFlowType::RefreshTokenAuth => {
            listed("ALLOW_REFRESH_TOKEN_AUTH") || legacy
        }
        AuthFlowType::AdminNoSrpAuth | AuthFlowType::AdminUserPasswordAuth => {
            listed("ALLOW_ADMIN_USER_PASSWORD_AUTH") || (legacy && listed("ADMIN_NO_SRP_AUTH"))
        }
        AuthFlowType::CustomAuth => listed("ALLOW_CUSTOM_AUTH") || legacy,
        AuthFlowType::UserAuth => listed("ALLOW_USER_AUTH"),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_without_flows_allows_srp_and_refresh_but_no_password() {
        assert!(is_enabled(&[], &AuthFlowType::UserSrpAuth));
        assert!(is_enabled(&[], &AuthFlowType::RefreshTokenAuth));
        assert!(!is_enabled(&[], &AuthFlowType::UserPasswordAuth));
    }

    #[test]
    fn with_new_names_only_what_is_listed_is_allowed() {
        let flows = ["ALLOW_USER_PASSWORD_AUTH".to_owned()];
        assert!(is_enabled(&flows, &AuthFlowType::UserPasswordAuth));
        assert!(!is_enabled(&flows, &AuthFlowType::UserSrpAuth));
        assert!(!is_enabled(&flows, &AuthFlowType::RefreshTokenAuth));
    }
}
