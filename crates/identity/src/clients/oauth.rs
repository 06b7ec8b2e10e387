//! What a client may do at the OAuth 2.0 endpoints: the rules between flows, scopes and URLs.
//!
//! Sources: API reference, `CreateUserPoolClient`; developer guide, "Application-specific settings with
//! app clients". Texts are Cognito's as far as reports of them go; those that are judgement say so.

use conclave_api::{ApiError, ExceptionName, types};

use crate::{errors, resource_servers};

const CLIENT_CREDENTIALS: &str = "client_credentials";

/// Checks what does not depend on other records.
///
/// # Errors
/// InvalidOAuthFlowException for flows that do not go together or lack something;
/// InvalidParameterException for URLs.
pub(super) fn check(
    request: &types::CreateUserPoolClientRequest,
    has_secret: bool,
) -> Result<(), ApiError> {
    for url in request.callback_urls.iter().chain(&request.logout_urls) {
        check_url(url)?;
    }
    if let Some(default) = &request.default_redirect_uri {
        check_url(default)?;
        if !request.callback_urls.contains(default) {
            // judgement
            return Err(errors::invalid_parameter(
                "DefaultRedirectURI must be in the list of CallbackURLs.",
            ));
        }
    }
    let flows = &request.allowed_oauth_flows;
    let scopes = &request.allowed_oauth_scopes;
    let is_allowed = request.allowed_oauth_flows_user_pool_client == Some(true);
    if is_allowed && (flows.is_empty() || scopes.is_empty()) {
        return Err(invalid_flow(
            "AllowedOAuthFlows and AllowedOAuthScopes are required if user pool client is allowed to use OAuth flows.",
        ));
    }
    let machine = flows.iter().any(|flow| flow == CLIENT_CREDENTIALS);
    let user = flows.iter().any(|flow| flow != CLIENT_CREDENTIALS);
    if machine && user {
        return Err(invalid_flow(
            "client_credentials flow can not be selected along with code flow or implicit flow.",
        ));
    }
    if machine && !has_secret {
        return Err(invalid_flow(
            "client_credentials flow can not be selected if client does not have a client secret.",
        ));
    }
    if machine && let Some(scope) = scopes.iter().find(|s| resource_servers::is_reserved(s)) {
        return Err(invalid_flow(format!(
            "{scope} is not supported with client_credentials flow."
        )));
    }
    if user && request.callback_urls.is_empty() {
        return Err(invalid_flow(
            "CallbackUrls can not be empty when code flow or implicit flow is selected",
        ));
    }
    Ok(())
}

/// A redirect URL is absolute, has no fragment (RFC 6749, 3.1.2), and is plain HTTP only to the
/// machine that the browser is on. An app's own scheme, such as `app://`, is allowed.
fn check_url(url: &str) -> Result<(), ApiError> {
    // judgement: which text the service has for these two is not known
    let Some((scheme, rest)) = url.split_once("://").filter(|(_, rest)| !rest.is_empty()) else {
        return Err(errors::invalid_parameter(format!("{url} is not a valid URL.")));
    };
    let starts_well = scheme.starts_with(|first: char| first.is_ascii_alphabetic());
    let is_scheme = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.');
    if !starts_well || !scheme.chars().all(is_scheme) || rest.contains('#') {
        return Err(errors::invalid_parameter(format!("{url} is not a valid URL.")));
    }
    if scheme.eq_ignore_ascii_case("http") && !is_loopback(rest) {
        return Err(errors::invalid_parameter(format!("{url} cannot use the HTTP protocol.")));
    }
    Ok(())
}

fn is_loopback(rest: &str) -> bool {
    let authority = rest.split(['/', '?']).next().unwrap_or_default();
    ["localhost", "127.0.0.1", "[::1]"].iter().any(|host| {
        let port = authority.strip_prefix(host).map(|port| port.strip_prefix(':').unwrap_or(port));
        port.is_some_and(|port| port.bytes().all(|byte| byte.is_ascii_digit()))
    })
}

fn invalid_flow(text: impl Into<std::borrow::Cow<'static, str>>) -> ApiError {
    ApiError::new(ExceptionName::InvalidOAuthFlowException, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|text| (*text).to_owned()).collect()
    }

    fn client(
        flows: &[&str],
        scopes: &[&str],
        urls: &[&str],
    ) -> types::CreateUserPoolClientRequest {
        types::CreateUserPoolClientRequest {
            allowed_oauth_flows: texts(flows),
            allowed_oauth_scopes: texts(scopes),
            callback_urls: texts(urls),
            allowed_oauth_flows_user_pool_client: Some(true),
            ..Default::default()
        }
    }

    const URL: &[&str] = &["https://app.example.com/callback"];

    fn refusal(request: &types::CreateUserPoolClientRequest, has_secret: bool) -> (String, String) {
        let error = check(request, has_secret).unwrap_err();
        (error.code.as_str().to_owned(), error.message.into_owned())
    }

    fn flow(text: &str) -> (String, String) {
        ("InvalidOAuthFlowException".to_owned(), text.to_owned())
    }

    /// Of the three texts, that about openid stands in a report of the service's answer
    /// (hashicorp/terraform-provider-aws#4984); the other two are from memory of it.
    #[test]
    fn the_flows_of_users_and_of_machines_do_not_mix() {
        assert_eq!(check(&client(&["code", "implicit"], &["openid"], URL), false), Ok(()));
        assert_eq!(check(&client(&["client_credentials"], &["api/read"], &[]), true), Ok(()));
        assert_eq!(
            refusal(&client(&["client_credentials", "code"], &["api/read"], URL), true),
            flow(
                "client_credentials flow can not be selected along with code flow or implicit flow."
            )
        );
        assert_eq!(
            refusal(&client(&["client_credentials"], &["api/read"], &[]), false),
            flow(
                "client_credentials flow can not be selected if client does not have a client secret."
            )
        );
        assert_eq!(
            refusal(&client(&["client_credentials"], &["api/read", "openid"], &[]), true),
            flow("openid is not supported with client_credentials flow.")
        );
    }

    /// That about CallbackUrls stands in a report of the service's answer (cisagov/crossfeed#440); the other text is from
    /// memory of it.
    #[test]
    fn a_client_of_the_endpoints_has_flows_scopes_and_callbacks() {
        let text = "AllowedOAuthFlows and AllowedOAuthScopes are required if user pool client is allowed to use OAuth flows.";
        assert_eq!(refusal(&client(&[], &["openid"], URL), false), flow(text));
        assert_eq!(refusal(&client(&["code"], &[], URL), false), flow(text));
        assert_eq!(
            refusal(&client(&["code"], &["openid"], &[]), false),
            flow("CallbackUrls can not be empty when code flow or implicit flow is selected")
        );
        let not_allowed = types::CreateUserPoolClientRequest {
            allowed_oauth_flows_user_pool_client: Some(false),
            ..client(&[], &[], &[])
        };
        assert_eq!(check(&not_allowed, false), Ok(()));
    }

    /// That a URL cannot use HTTP is the service's text (aws-amplify/amplify-cli#5419), and that 127.0.0.1 and [::1] are
    /// excepted beside localhost the developer guide's; that a URL is not valid is judgement.
    #[test]
    fn urls_are_absolute_and_plain_http_stays_on_the_machine() {
        for url in [
            "https://app.example.com",
            "https://app.example.com/callback?a=b",
            "http://localhost",
            "http://localhost:3000/callback",
            "http://127.0.0.1:8080",
            "http://[::1]:8080/callback",
            "com.example.app://callback",
        ] {
            assert_eq!(check(&client(&["code"], &["openid"], &[url]), false), Ok(()), "{url}");
        }
        for url in [
            "http://example.com",
            "HTTP://example.com",
            "http://localhost.example.com",
            "http://localhost@example.com",
        ] {
            let text = format!("{url} cannot use the HTTP protocol.");
            let request = client(&["code"], &["openid"], &[url]);
            assert_eq!(check(&request, false), Err(errors::invalid_parameter(text)));
        }
        for url in ["example.com", "/callback", "https://", "https://a#b", "1a://b", "a b://c"] {
            let text = format!("{url} is not a valid URL.");
            let request = types::CreateUserPoolClientRequest {
                logout_urls: texts(&[url]),
                ..client(&["code"], &["openid"], URL)
            };
            assert_eq!(check(&request, false), Err(errors::invalid_parameter(text)));
        }
    }

    /// The rule is documented, its text is judgement and not asserted.
    #[test]
    fn the_default_redirect_is_one_of_the_callbacks() {
        let with = |url: &str| types::CreateUserPoolClientRequest {
            default_redirect_uri: Some(url.to_owned()),
            ..client(&["code"], &["openid"], URL)
        };
        assert_eq!(check(&with(URL[0]), false), Ok(()));
        assert_eq!(refusal(&with("https://app.example.com"), false).0, "InvalidParameterException");
    }
}
