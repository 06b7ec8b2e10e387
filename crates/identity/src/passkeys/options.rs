//! What browsers are given for a ceremony: `PublicKeyCredentialCreationOptionsJSON` and
//! `PublicKeyCredentialRequestOptionsJSON`, with the members that Cognito's have.

use conclave_crypto::{encoding, webauthn::cose};
use conclave_store::records::{Passkey, PoolRecord, UserRecord};
use serde_json::{Value, json};

use crate::users::attributes;

/// Options of a registration.
pub fn creation(
    pool: &PoolRecord,
    user: &UserRecord,
    passkeys: &[Passkey],
    (rp_id, challenge): (&str, &str),
    (user_verification, timeout_ms): (&str, i64),
) -> Value {
    let name = shown_name(pool, user);
    let kinds: Vec<_> =
        cose::ALGORITHMS.iter().map(|alg| json!({ "type": "public-key", "alg": alg })).collect();
    json!({
        "rp": { "id": rp_id, "name": rp_id },
        "user": {
            "id": encoding::base64url(user_handle(&user.sub)),
            "name": name,
            "displayName": name,
        },
        "challenge": challenge,
        "pubKeyCredParams": kinds,
        "timeout": timeout_ms,
        "excludeCredentials": descriptors(passkeys, rp_id),
        "authenticatorSelection": {
            "requireResidentKey": true,
            "residentKey": "required",
            "userVerification": user_verification,
        },
    })
}

/// Options of a sign-in. Without passkeys the authenticator looks for one itself.
pub fn request(
    passkeys: &[Passkey],
    (rp_id, challenge): (&str, &str),
    (user_verification, timeout_ms): (&str, i64),
) -> Value {
    json!({
        "challenge": challenge,
        "timeout": timeout_ms,
        "rpId": rp_id,
        "allowCredentials": descriptors(passkeys, rp_id),
        "userVerification": user_verification,
    })
}

/// What authenticators know a user by.
pub fn user_handle(sub: &str) -> &[u8] {
    sub.as_bytes()
}

fn descriptors(passkeys: &[Passkey], rp_id: &str) -> Vec<Value> {
    let of_this = passkeys.iter().filter(|passkey| passkey.relying_party_id == rp_id);
    of_this
        .map(|passkey| {
            let mut descriptor = json!({
                "type": "public-key",
                "id": encoding::base64url(&passkey.credential_id),
            });
            if !passkey.transports.is_empty() {
                descriptor["transports"] = Value::from(passkey.transports.clone());
            }
            descriptor
        })
        .collect()
}

/// What a person reads in a list of passkeys: the address by which a user signs in whose name is a UUID.
fn shown_name<'a>(pool: &PoolRecord, user: &'a UserRecord) -> &'a str {
    let by_attribute =
        pool.username_attributes.iter().find_map(|name| attributes::value(user, name));
    by_attribute.unwrap_or(&user.username)
}
