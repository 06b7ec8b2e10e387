//! Requests of the user pools API as bytes, signed with AWS Signature Version 4 where an
//! administrator calls.

use std::time::{SystemTime, UNIX_EPOCH};

use conclave_crypto::mac;
use serde_json::Value;
use time::OffsetDateTime;

const CONTENT_TYPE: &str = "application/x-amz-json-1.1";
const TARGET: &str = "AWSCognitoIdentityProviderService";
const SERVICE: &str = "cognito-idp";
const SIGNED_HEADERS: &str = "content-type;host;x-amz-date;x-amz-target";

/// An access key, and where it is used.
#[derive(Clone)]
pub struct AccessKey {
    pub id: String,
    pub secret: String,
    pub region: String,
}

/// Seconds since 1970.
pub fn now_s() -> u64 {
    #[expect(clippy::disallowed_methods, reason = "signatures and claims carry the real time")]
    let now = SystemTime::now();
    now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// A request that needs no signature.
pub fn unsigned(authority: &str, operation: &str, body: &Value) -> Vec<u8> {
    bytes(authority, operation, &body.to_string(), "")
}

/// A request signed with an access key.
pub fn signed(authority: &str, operation: &str, body: &Value, key: &AccessKey) -> Vec<u8> {
    let (body, at) = (body.to_string(), amz_date(now_s()));
    let headers = signature_headers(authority, operation, &body, key, &at);
    bytes(authority, operation, &body, &headers)
}

fn bytes(authority: &str, operation: &str, body: &str, headers: &str) -> Vec<u8> {
    format!(
        "POST / HTTP/1.1\r\nhost: {authority}\r\ncontent-type: {CONTENT_TYPE}\r\n\
         x-amz-target: {TARGET}.{operation}\r\n{headers}content-length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

fn signature_headers(
    authority: &str,
    operation: &str,
    body: &str,
    key: &AccessKey,
    at: &str,
) -> String {
    let canonical = format!(
        "POST\n/\n\ncontent-type:{CONTENT_TYPE}\nhost:{authority}\nx-amz-date:{at}\n\
         x-amz-target:{TARGET}.{operation}\n\n{SIGNED_HEADERS}\n{}",
        hex::encode(mac::sha256(&[body.as_bytes()]))
    );
    let day = at.get(..8).unwrap_or_default();
    let scope = format!("{day}/{}/{SERVICE}/aws4_request", key.region);
    let to_sign = format!(
        "AWS4-HMAC-SHA256\n{at}\n{scope}\n{}",
        hex::encode(mac::sha256(&[canonical.as_bytes()]))
    );
    let secret = format!("AWS4{}", key.secret);
    let signing_key = [day, &key.region, SERVICE, "aws4_request"]
        .iter()
        .fold(secret.into_bytes(), |k, part| mac::hmac_sha256(&k, &[part.as_bytes()]).to_vec());
    let signature = hex::encode(mac::hmac_sha256(&signing_key, &[to_sign.as_bytes()]));
    format!(
        "x-amz-date: {at}\r\nauthorization: AWS4-HMAC-SHA256 Credential={}/{scope}, \
         SignedHeaders={SIGNED_HEADERS}, Signature={signature}\r\n",
        key.id
    )
}

fn amz_date(epoch_s: u64) -> String {
    let at = i64::try_from(epoch_s).ok().and_then(|s| OffsetDateTime::from_unix_timestamp(s).ok());
    let at = at.unwrap_or(OffsetDateTime::UNIX_EPOCH);
    let (date, time) = (at.date(), at.time());
    format!(
        "{:04}{:02}{:02}T{:02}{:02}{:02}Z",
        date.year(),
        u8::from(date.month()),
        date.day(),
        time.hour(),
        time.minute(),
        time.second()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_signed_as_botocore_signs_it() {
        // the case "list user pools" of the gateway's vectors
        let key = AccessKey {
            id: "AKIDEXAMPLE".to_owned(),
            secret: "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY".to_owned(),
            region: "us-east-1".to_owned(),
        };
        let body = "{\"MaxResults\": 10}";
        let headers =
            signature_headers("127.0.0.1:9229", "ListUserPools", body, &key, "20260101T120000Z");
        let signature = "5d9a1fb06e55c1f02ab2f7545821af385110fd6a168abc5f715e81883b126775";
        assert!(headers.contains(signature), "{headers}");
    }

    #[test]
    fn dates_have_the_basic_form() {
        assert_eq!(amz_date(1_767_268_805), "20260101T120005Z");
    }
}
