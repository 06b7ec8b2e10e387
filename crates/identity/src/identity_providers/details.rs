//! `ProviderDetails`: what each type of provider needs, and what is known of it without being told.
//!
//! Source: API reference, `CreateIdentityProvider` (ProviderDetails). Texts are judgement unless they
//! say otherwise.

use std::collections::BTreeMap;

use conclave_api::ApiError;

use crate::errors;

/// Sealed and encoded, they have to fit into one value of the store.
const BYTES_MAX: usize = 200 << 10;

/// The details of one type of provider.
struct Kind {
    name: &'static str,
    /// Whether it is one provider of that name, rather than a protocol.
    social: bool,
    required: &'static [&'static str],
    optional: &'static [&'static str],
    /// What is the same for everybody.
    fixed: &'static [(&'static str, &'static str)],
    /// What is kept and never answered.
    hidden: &'static [&'static str],
    /// Where a user's name comes from, unless it is mapped.
    username: Option<&'static str>,
}

const KINDS: [Kind; 6] = [
    Kind {
        name: "SAML",
        social: false,
        required: &[],
        optional: &[
            "MetadataURL",
            "MetadataFile",
            "IDPSignout",
            "IDPInit",
            "EncryptedResponses",
            "RequestSigningAlgorithm",
        ],
        fixed: &[],
        hidden: &[],
        username: None,
    },
    Kind {
        name: "OIDC",
        social: false,
        required: &["client_id", "attributes_request_method", "oidc_issuer", "authorize_scopes"],
        optional: &["client_secret", "authorize_url", "token_url", "attributes_url", "jwks_uri"],
        fixed: &[("attributes_url_add_attributes", "false")],
        hidden: &[],
        username: Some("sub"),
    },
    Kind {
        name: "Google",
        social: true,
        required: &["client_id", "client_secret", "authorize_scopes"],
        optional: &[],
        fixed: &[
            ("attributes_url", "https://people.googleapis.com/v1/people/me?personFields="),
            ("attributes_url_add_attributes", "true"),
            ("authorize_url", "https://accounts.google.com/o/oauth2/v2/auth"),
            ("oidc_issuer", "https://accounts.google.com"),
            ("token_request_method", "POST"),
            ("token_url", "https://www.googleapis.com/oauth2/v4/token"),
        ],
        hidden: &[],
        username: Some("sub"),
    },
    Kind {
        name: "Facebook",
        social: true,
        required: &["client_id", "client_secret", "authorize_scopes"],
        optional: &["api_version"],
        fixed: &[
            ("attributes_url_add_attributes", "true"),
            ("token_request_method", "GET"),
            // these three follow the version
            ("attributes_url", ""),
            ("authorize_url", ""),
            ("token_url", ""),
        ],
        hidden: &[],
        username: Some("id"),
    },
    Kind {
        name: "LoginWithAmazon",
        social: true,
        required: &["client_id", "client_secret", "authorize_scopes"],
        optional: &[],
        fixed: &[
            ("attributes_url", "https://api.amazon.com/user/profile"),
            ("attributes_url_add_attributes", "false"),
            ("authorize_url", "https://www.amazon.com/ap/oa"),
            ("token_request_method", "POST"),
            ("token_url", "https://api.amazon.com/auth/o2/token"),
        ],
        hidden: &[],
        username: Some("user_id"),
    },
    Kind {
        name: "SignInWithApple",
        social: true,
        required: &["client_id", "team_id", "key_id", "authorize_scopes"],
        // required at creation: an update may leave the key as it is
        optional: &["private_key"],
        fixed: &[
            ("attributes_url_add_attributes", "false"),
            ("authorize_url", "https://appleid.apple.com/auth/authorize"),
            ("oidc_issuer", "https://appleid.apple.com"),
            ("token_request_method", "POST"),
            ("token_url", "https://appleid.apple.com/auth/token"),
        ],
        hidden: &["private_key"],
        username: Some("sub"),
    },
];

/// Facebook's version where none is given. API reference, `CreateIdentityProvider`.
const FACEBOOK_VERSION: &str = "v17.0";

/// `ProviderDetails`.
pub(super) type Details = BTreeMap<String, String>;

fn kind(provider_type: &str) -> Result<&'static Kind, ApiError> {
    let kind = KINDS.iter().find(|kind| kind.name == provider_type);
    kind.ok_or_else(|| errors::internal("a provider has an unknown type"))
}

/// Whether a name is that of a social provider, so that no other type may have it.
pub(crate) fn is_social(name: &str) -> bool {
    KINDS.iter().any(|kind| kind.social && kind.name == name)
}

/// Where a user's name comes from unless it is mapped.
pub(super) fn username_source(provider_type: &str) -> Result<Option<&'static str>, ApiError> {
    Ok(kind(provider_type)?.username)
}

/// Checks the details of a provider, and adds what is known of its type. `present` are those that an
/// update replaces.
///
/// # Errors
/// InvalidParameterException.
pub(super) fn complete(
    provider_type: &str,
    given: &Details,
    present: Option<&Details>,
) -> Result<Details, ApiError> {
    let kind = kind(provider_type)?;
    let refuse = |text: String| Err(errors::invalid_parameter(text));
    let is_fixed = |name: &str| kind.fixed.iter().any(|(fixed, _)| *fixed == name);
    let known = |name: &str| kind.required.contains(&name) || kind.optional.contains(&name);
    // what a description shows can be sent back
    if let Some(name) = given.keys().find(|name| !known(name) && !is_fixed(name)) {
        return refuse(format!("Unsupported provider detail {name} for {provider_type}."));
    }
    let is_absent = |name: &&&str| given.get(**name).is_none_or(|value| value.trim().is_empty());
    if let Some(name) = kind.required.iter().find(is_absent) {
        return refuse(format!("Missing provider detail {name} for {provider_type}."));
    }
    let mut details: Details = given.clone();
    details.retain(|name, _| !is_fixed(name));
    for name in kind.hidden {
        let kept = present.and_then(|present| present.get(*name)).cloned();
        match details.get(*name).cloned().or(kept) {
            Some(value) if !value.trim().is_empty() => details.insert((*name).to_owned(), value),
            _ => return refuse(format!("Missing provider detail {name} for {provider_type}.")),
        };
    }
    for (name, value) in kind.fixed.iter().filter(|(_, value)| !value.is_empty()) {
        details.insert((*name).to_owned(), (*value).to_owned());
    }
    match provider_type {
        "SAML" => check_saml(&details)?,
        "OIDC" => check_oidc(&details)?,
        "Facebook" => add_facebook(&mut details),
        _ => {}
    }
    let bytes: usize = details.iter().map(|(name, value)| name.len() + value.len()).sum();
    if bytes > BYTES_MAX {
        return refuse(format!("ProviderDetails cannot have more than {BYTES_MAX} bytes."));
    }
    Ok(details)
}

/// What is answered of the details.
pub(super) fn shown(provider_type: &str, mut details: Details) -> Result<Details, ApiError> {
    for hidden in kind(provider_type)?.hidden {
        details.remove(*hidden);
    }
    Ok(details)
}

fn check_saml(details: &Details) -> Result<(), ApiError> {
    let of = |name: &str| details.get(name).filter(|value| !value.trim().is_empty());
    match (of("MetadataURL"), of("MetadataFile")) {
        // known from a report of the service's answer
        (None, None) => {
            return Err(errors::invalid_parameter(
                "At least one of the MetadataURL or MetadataFile should be provided.",
            ));
        }
        (Some(url), _) => check_url("MetadataURL", url)?,
        (None, Some(file)) if !file.contains("EntityDescriptor") => {
            return Err(errors::invalid_parameter("MetadataFile is not SAML metadata."));
        }
        (None, Some(_)) => {}
    }
    for name in ["IDPSignout", "IDPInit", "EncryptedResponses"] {
        check_one_of(details, name, &["true", "false"])?;
    }
    check_one_of(details, "RequestSigningAlgorithm", &["rsa-sha256"])
}

fn check_oidc(details: &Details) -> Result<(), ApiError> {
    check_one_of(details, "attributes_request_method", &["GET", "POST"])?;
    for name in ["oidc_issuer", "authorize_url", "token_url", "attributes_url", "jwks_uri"] {
        if let Some(url) = details.get(name) {
            check_url(name, url)?;
        }
    }
    let has_openid = |scopes: &String| scopes.split([' ', ',']).any(|scope| scope == "openid");
    if !details.get("authorize_scopes").is_some_and(has_openid) {
        return Err(errors::invalid_parameter(
            "The authorize_scopes of an OIDC provider must contain openid.",
        ));
    }
    Ok(())
}

/// Tokens and metadata come over the network: only from where the answer is authentic.
fn check_url(name: &str, url: &str) -> Result<(), ApiError> {
    let host = url.strip_prefix("https://").unwrap_or_default();
    if host.is_empty() || host.starts_with('/') || url.contains(char::is_whitespace) {
        return Err(errors::invalid_parameter(format!("{name} must be an HTTPS URL.")));
    }
    Ok(())
}

fn check_one_of(details: &Details, name: &str, values: &[&str]) -> Result<(), ApiError> {
    match details.get(name) {
        Some(value) if !values.contains(&value.as_str()) => {
            Err(errors::invalid_parameter(format!("{name} must be one of: {}.", values.join(", "))))
        }
        _ => Ok(()),
    }
}

fn add_facebook(details: &mut Details) {
    let version = details.entry("api_version".to_owned()).or_default();
    if version.is_empty() {
        *version = FACEBOOK_VERSION.to_owned();
    }
    let version = version.clone();
    for (name, url) in [
        ("attributes_url", format!("https://graph.facebook.com/{version}/me?fields=")),
        ("authorize_url", format!("https://www.facebook.com/{version}/dialog/oauth")),
        ("token_url", format!("https://graph.facebook.com/{version}/oauth/access_token")),
    ] {
        details.insert(name.to_owned(), url);
    }
}
