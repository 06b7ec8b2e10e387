//! PreTokenGeneration: what tokens say. Claims by which tokens are trusted stay as they are.
//! Source: developer guide, "Pre token generation Lambda trigger", which lists the reserved claims.

use conclave_api::ApiError;
use conclave_store::records::{GroupRecord, UserRecord};
use serde_json::{Map, Value, json};
use std::sync::Arc;

use super::{Event, Occasion, Trigger, Who, answer, attributes, metadata};
use crate::{config::ClientConfig, groups::claims as groups, tx::Tx};

/// What a function adds to one token has at most so many bytes: judgement, so that tokens fit into headers.
const ADDED_BYTES_MAX: usize = 64 * 1024;
/// Claims that no function changes.
const RESERVED: [&str; 23] = [
    "acr",
    "amr",
    "aud",
    "at_hash",
    "auth_time",
    "azp",
    "client_id",
    "device_key",
    "event_id",
    "exp",
    "iat",
    "identities",
    "iss",
    "jti",
    "nbf",
    "nonce",
    "origin_jti",
    "scope",
    "sub",
    "token_use",
    "username",
    "version",
    "sid",
];
/// Nor those that begin like this: `cognito:groups` and its like change with the groups.
const RESERVED_PREFIXES: [&str; 3] = ["cognito:", "dev:", "aws:"];

/// What is asked before tokens are signed.
#[derive(Clone)]
pub struct Generation {
    /// The event.
    pub event: Event,
    is_first_version: bool,
}

/// The claims of the two tokens.
pub struct Claims<'a> {
    /// Of the ID token.
    pub id: &'a mut Map<String, Value>,
    /// Of the access token.
    pub access: &'a mut Map<String, Value>,
}

/// What is asked for tokens of `user`; `None` where the pool has no such trigger.
///
/// # Errors
/// InternalErrorException when the pool is not loaded.
pub fn of(
    tx: &Tx<'_>,
    client: &ClientConfig,
    user: &UserRecord,
    user_groups: &[Arc<GroupRecord>],
    occasion: Occasion,
    scope: &str,
) -> Result<Option<Generation>, ApiError> {
    let pool = tx.pool()?;
    let Some(triggers) = &pool.record.triggers else { return Ok(None) };
    let version = match triggers.pre_token_generation_version.as_str() {
        "V3_0" => "3",
        "V2_0" => "2",
        _ => "1",
    };
    let is_first_version = version == "1";
    let mut request = Map::new();
    request.insert("userAttributes".to_owned(), attributes(user));
    request.insert(
        "groupConfiguration".to_owned(),
        json!({
            "groupsToOverride": groups::names(user_groups),
            "iamRolesToOverride": groups::roles(user_groups),
            "preferredRole": groups::preferred_role(user_groups),
        }),
    );
    if !is_first_version {
        let scopes: Vec<&str> = scope.split_whitespace().collect();
        request.insert("scopes".to_owned(), json!(scopes));
    }
    metadata(&mut request, "clientMetadata", tx.circumstances().client_metadata);
    let response = if is_first_version {
        json!({ "claimsOverrideDetails": null })
    } else {
        json!({ "claimsAndScopeOverrideDetails": null })
    };
    let source = match occasion {
        Occasion::Authentication => "TokenGeneration_Authentication",
        Occasion::NewPassword => "TokenGeneration_NewPasswordChallenge",
        Occasion::Device => "TokenGeneration_AuthenticateDevice",
        Occasion::Refresh => "TokenGeneration_RefreshTokens",
    };
    let who = Who { username: &user.username, client_id: Some(&client.record.client_id) };
    let trigger = Trigger::PreTokenGeneration;
    let event = Event::new(&pool, trigger, (source, version), who, request, response);
    Ok(event.map(|event| Generation { event, is_first_version }))
}

impl Generation {
    /// Puts into the claims what the function has answered.
    ///
    /// # Errors
    /// InvalidLambdaResponseException.
    pub fn apply(&self, answer: &Map<String, Value>, claims: Claims<'_>) -> Result<(), ApiError> {
        let member = if self.is_first_version {
            "claimsOverrideDetails"
        } else {
            "claimsAndScopeOverrideDetails"
        };
        let Some(details) = answer::object(answer, member)? else { return Ok(()) };
        if let Some(given) = details.get("groupOverrideDetails") {
            let none = Map::new();
            let given = match given {
                // "an empty or null object suppresses the groups"
                Value::Null => &none,
                Value::Object(given) => given,
                _ => return Err(answer::unrecognizable()),
            };
            override_groups(given, claims.id, claims.access)?;
        }
        if self.is_first_version {
            return change(details, claims.id, Texts::Only, |_, _| false);
        }
        if let Some(details) = answer::object(details, "idTokenGeneration")? {
            change(details, claims.id, Texts::AndMore, |_, _| false)?;
        }
        if let Some(details) = answer::object(details, "accessTokenGeneration")? {
            // an access token may name its audience, which is the client
            let client_id = claims.access.get("client_id").cloned();
            let is_audience =
                |name: &str, value: &Value| name == "aud" && Some(value) == client_id.as_ref();
            change(details, claims.access, Texts::AndMore, is_audience)?;
            change_scopes(details, claims.access)?;
        }
        Ok(())
    }
}

/// What the values of claims can be.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Texts {
    /// Texts, and what can be written as one.
    Only,
    /// Any JSON.
    AndMore,
}

fn is_reserved(name: &str) -> bool {
    RESERVED.contains(&name) || RESERVED_PREFIXES.iter().any(|reserved| name.starts_with(reserved))
}

/// Adds, replaces, then suppresses: of a claim that is in both lists, nothing is left.
fn change(
    details: &Map<String, Value>,
    claims: &mut Map<String, Value>,
    texts: Texts,
    is_allowed: impl Fn(&str, &Value) -> bool,
) -> Result<(), ApiError> {
    if let Some(added) = answer::object(details, "claimsToAddOrOverride")? {
        let mut bytes = 0;
        for (name, value) in added {
            if is_reserved(name) && !is_allowed(name, value) {
                continue;
            }
            let value = match (name.as_str(), texts) {
                (_, _) if value.is_null() => continue,
                // what relying parties take for flags stays one
                ("email_verified" | "phone_number_verified", _) => {
                    Value::Bool(answer::flag(added, name)?)
                }
                ("address" | "updated_at", _) | (_, Texts::Only) => {
                    Value::from(answer::scalar(value)?.ok_or_else(answer::unrecognizable)?)
                }
                (_, Texts::AndMore) => value.clone(),
            };
            bytes += name.len() + value.to_string().len();
            claims.insert(name.clone(), value);
        }
        if bytes > ADDED_BYTES_MAX {
            let why = format!("claimsToAddOrOverride has more than {ADDED_BYTES_MAX} bytes");
            return Err(answer::invalid(&why));
        }
    }
    for name in answer::list(details, "claimsToSuppress")? {
        if !is_reserved(&name) {
            claims.shift_remove(&name);
        }
    }
    Ok(())
}

fn override_groups(
    given: &Map<String, Value>,
    id: &mut Map<String, Value>,
    access: &mut Map<String, Value>,
) -> Result<(), ApiError> {
    let names = answer::list(given, "groupsToOverride")?;
    let roles = answer::list(given, "iamRolesToOverride")?;
    let preferred = answer::text(given, "preferredRole")?;
    // with its quotes and comma
    let written = |text: &String| text.len() + 3;
    let bytes: usize = names.iter().chain(&roles).chain(&preferred).map(written).sum();
    if bytes > ADDED_BYTES_MAX {
        return Err(answer::invalid("groupOverrideDetails is too long"));
    }
    let put = |claims: &mut Map<String, Value>, name: &str, value: Option<Value>| match value {
        Some(value) => {
            claims.insert(name.to_owned(), value);
        }
        None => {
            claims.shift_remove(name);
        }
    };
    let listed = |list: &[String]| (!list.is_empty()).then(|| json!(list));
    put(id, "cognito:groups", listed(&names));
    put(access, "cognito:groups", listed(&names));
    put(id, "cognito:roles", listed(&roles));
    put(id, "cognito:preferred_role", preferred.filter(|role| !role.is_empty()).map(Value::from));
    Ok(())
}

fn change_scopes(
    details: &Map<String, Value>,
    access: &mut Map<String, Value>,
) -> Result<(), ApiError> {
    let added = answer::list(details, "scopesToAdd")?;
    let suppressed = answer::list(details, "scopesToSuppress")?;
    let present = access.get("scope").and_then(Value::as_str).unwrap_or_default().to_owned();
    let mut scopes: Vec<&str> = present.split_whitespace().collect();
    // RFC 6749, section 3.3: one scope is no two
    let is_scope = |text: &String| {
        !text.is_empty() && text.bytes().all(|b| matches!(b, 0x21 | 0x23..=0x5b | 0x5d..=0x7e))
    };
    if !added.iter().all(is_scope) || added.iter().map(String::len).sum::<usize>() > ADDED_BYTES_MAX
    {
        return Err(answer::invalid("scopesToAdd holds what is no scope"));
    }
    for scope in &added {
        if !scopes.contains(&scope.as_str()) {
            scopes.push(scope);
        }
    }
    scopes.retain(|scope| !suppressed.iter().any(|suppressed| suppressed == scope));
    let scopes = scopes.join(" ");
    access.insert("scope".to_owned(), Value::from(scopes));
    Ok(())
}

#[cfg(test)]
mod tests;
