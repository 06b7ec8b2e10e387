//! The claims of tokens, in the order in which Cognito writes them. Nothing may depend on the order,
//! but people compare tokens side by side.

use std::sync::Arc;

use conclave_store::records::{GroupRecord, UserRecord};
use serde_json::{Map, Value, json};

use crate::{
    config::ClientConfig,
    groups::claims as groups,
    users::{attributes, links},
};

/// What both tokens of a session say.
#[derive(Clone)]
pub struct Common<'a> {
    /// `iss`
    pub issuer: &'a str,
    /// `aud` of ID tokens, `client_id` of access tokens.
    pub client_id: &'a str,
    /// The same for all tokens that come from one sign-in; absent where revocation is disabled.
    pub origin_jti: Option<&'a str>,
    /// The request that signed in.
    pub event_id: &'a str,
    /// When the user signed in, seconds since 1970.
    pub auth_time: i64,
    /// Seconds since 1970.
    pub issued_at: i64,
    /// The device that the session belongs to, where devices are tracked.
    pub device_key: Option<&'a str>,
    /// The user's groups, those that take precedence first.
    pub groups: &'a [Arc<GroupRecord>],
}

/// The claims of an access token.
pub fn access(
    common: &Common<'_>,
    user: &UserRecord,
    jti: &str,
    expires_at: i64,
) -> Map<String, Value> {
    let mut claims = Map::new();
    claims.insert("sub".to_owned(), json!(user.sub));
    if let Some(device_key) = common.device_key {
        claims.insert("device_key".to_owned(), json!(device_key));
    }
    if !common.groups.is_empty() {
        claims.insert("cognito:groups".to_owned(), json!(groups::names(common.groups)));
    }
    claims.insert("iss".to_owned(), json!(common.issuer));
    claims.insert("client_id".to_owned(), json!(common.client_id));
    if let Some(origin_jti) = common.origin_jti {
        claims.insert("origin_jti".to_owned(), json!(origin_jti));
    }
    claims.insert("event_id".to_owned(), json!(common.event_id));
    claims.insert("token_use".to_owned(), json!("access"));
    claims.insert("scope".to_owned(), json!("aws.cognito.signin.user.admin"));
    claims.insert("auth_time".to_owned(), json!(common.auth_time));
    claims.insert("exp".to_owned(), json!(expires_at));
    claims.insert("iat".to_owned(), json!(common.issued_at));
    claims.insert("jti".to_owned(), json!(jti));
    claims.insert("username".to_owned(), json!(user.username));
    claims
}

/// The claims of an ID token: the user's attributes as far as the client may read them.
pub fn id(
    common: &Common<'_>,
    user: &UserRecord,
    client: &ClientConfig,
    jti: &str,
    expires_at: i64,
) -> Map<String, Value> {
    let mut claims = vec![("sub", json!(user.sub))];
    if !common.groups.is_empty() {
        claims.push(("cognito:groups", json!(groups::names(common.groups))));
    }
    let roles = groups::roles(common.groups);
    if !roles.is_empty() {
        claims.push(("cognito:roles", json!(roles)));
    }
    if let Some(role) = groups::preferred_role(common.groups) {
        claims.push(("cognito:preferred_role", json!(role)));
    }
    claims.push(("aud", json!(common.client_id)));
    claims.push(("event_id", json!(common.event_id)));
    claims.push(("token_use", json!("id")));
    claims.push(("auth_time", json!(common.auth_time)));
    claims.push(("iss", json!(common.issuer)));
    claims.push(("cognito:username", json!(user.username)));
    claims.push(("exp", json!(expires_at)));
    claims.push(("iat", json!(common.issued_at)));
    if let Some(origin_jti) = common.origin_jti {
        claims.push(("origin_jti", json!(origin_jti)));
        claims.push(("jti", json!(jti)));
    }
    for attribute in &user.attributes {
        let name = attribute.name.as_str();
        let reserved = claims.iter().any(|(claim, _)| *claim == name);
        if !reserved && attributes::is_readable(client, name) {
            claims.push((name, attribute_claim(name, &attribute.value)));
        }
    }
    let identities = links::claim(user);
    if let Some(identities) = identities.filter(|_| attributes::is_readable(client, "identities")) {
        claims.push(("identities", identities));
    }
    in_java_map_order(claims)
}

/// Verified flags are booleans, an address is an object (OpenID Connect Core, section 5.1), the rest
/// are texts.
fn attribute_claim(name: &str, value: &str) -> Value {
    match name {
        "email_verified" | "phone_number_verified" => Value::Bool(value == "true"),
        "address" => json!({ "formatted": value }),
        _ => Value::from(value),
    }
}

/// The order in which a Java `HashMap` that was copied from another lists its entries, which is the
/// order that Cognito's ID tokens show.
fn in_java_map_order(claims: Vec<(&str, Value)>) -> Map<String, Value> {
    // the capacity for n entries at load factor 0.75
    let capacity = (claims.len() * 4 / 3 + 1).next_power_of_two().max(1);
    let bucket = |name: &str| {
        let hash = java_hash(name);
        (hash ^ (hash >> 16)) as usize & (capacity - 1)
    };
    let mut claims: Vec<_> = claims.into_iter().map(|claim| (bucket(claim.0), claim)).collect();
    // stable: entries of one bucket stay in the order in which they were put
    claims.sort_by_key(|(bucket, _)| *bucket);
    claims.into_iter().map(|(_, (name, value))| (name.to_owned(), value)).collect()
}

/// `String.hashCode` of the Java language.
fn java_hash(text: &str) -> u32 {
    text.encode_utf16()
        .fold(0_u32, |hash, unit| hash.wrapping_mul(31).wrapping_add(u32::from(unit)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(names: &[&'static str]) -> Vec<String> {
        let claims = names.iter().map(|name| (*name, Value::Null)).collect();
        in_java_map_order(claims).into_iter().map(|(name, _)| name).collect()
    }

    #[test]
    fn id_token_claims_stand_in_cognitos_order() {
        let protocol = [
            "sub",
            "aud",
            "event_id",
            "token_use",
            "auth_time",
            "iss",
            "cognito:username",
            "exp",
            "iat",
            "origin_jti",
            "jti",
        ];
        assert_eq!(
            order(&protocol).join(" "),
            "origin_jti sub aud event_id token_use auth_time iss cognito:username exp iat jti"
        );
        let with_attributes = [
            &protocol[..],
            &[
                "custom:team",
                "custom:tenant",
                "email",
                "email_verified",
                "family_name",
                "given_name",
            ],
        ]
        .concat();
        assert_eq!(
            order(&with_attributes).join(" "),
            "sub email_verified custom:team iss cognito:username given_name origin_jti aud event_id \
             token_use auth_time custom:tenant exp iat family_name jti email"
        );
    }
}
