//! Where a request comes from, as far as it is known: the address, and what tells devices apart.
//!
//! An app client may say its users' addresses where it has a secret and EnablePropagateAdditionalUserContextData is set; signed
//! calls may always. Elsewhere the address is that of the connection, which behind a load balancer is the balancer's.
//! Source: developer guide, "Collecting data for threat protection in applications".

use std::net::IpAddr;

use conclave_api::types;
use conclave_crypto::{encoding, mac};
use serde_json::Value;

use crate::config::ClientConfig;

/// Device data of more bytes is not read; Amplify's has some hundred.
const ENCODED_BYTES_MAX: usize = 16_384;
const TEXT_CHARS_MAX: usize = 256;

/// Where a request comes from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Context {
    /// The address at the other end of the connection.
    pub peer: Option<IpAddr>,
    /// The address that the caller says is the user's.
    pub said: Option<IpAddr>,
    /// What the device is called.
    pub device_name: Option<String>,
    /// The device's difference from UTC.
    pub timezone: Option<String>,
    /// Tells devices apart; empty where nothing is said.
    pub device_hash: Vec<u8>,
}

/// What Amplify's library collects of a browser or phone, of which this is used.
#[derive(Debug, Default)]
struct Collected {
    device_id: Option<String>,
    fingerprint: Option<String>,
    name: Option<String>,
    user_agent: Option<String>,
    timezone: Option<String>,
}

impl Context {
    /// Of an app's request.
    pub fn of_app(peer: Option<IpAddr>, given: Option<&types::UserContextDataType>) -> Self {
        let said = given.and_then(|given| address(given.ip_address.as_deref()));
        Self { peer, said, ..Self::default() }
            .with_device(given.and_then(|given| given.encoded_data.as_deref()), None)
    }

    /// Of a signed request.
    pub fn of_server(peer: Option<IpAddr>, given: Option<&types::ContextDataType>) -> Self {
        let said = given.and_then(|given| address(given.ip_address.as_deref()));
        let headers = given.and_then(|given| given.http_headers.as_ref());
        let headers = headers.map_or(&[][..], |headers| headers.items.as_slice());
        let user_agent = headers.iter().find(|header| {
            let name = header.header_name.as_deref().unwrap_or_default();
            name.eq_ignore_ascii_case("user-agent")
        });
        let user_agent = user_agent.and_then(|header| header.header_value.as_deref());
        Self { peer, said, ..Self::default() }
            .with_device(given.and_then(|given| given.encoded_data.as_deref()), user_agent)
    }

    fn with_device(mut self, encoded: Option<&str>, user_agent: Option<&str>) -> Self {
        let collected = encoded.and_then(decode).unwrap_or_default();
        let user_agent = collected.user_agent.as_deref().or(user_agent);
        let id = collected.device_id.as_deref().or(collected.fingerprint.as_deref()).or(user_agent);
        if let Some(id) = id.filter(|id| !id.is_empty()) {
            self.device_hash = mac::sha256(&[b"device", id.as_bytes()]).to_vec();
        }
        self.device_name = collected.name.as_deref().or(user_agent).map(short);
        self.timezone = collected.timezone.as_deref().map(short);
        self
    }

    /// The user's address. Only who may say it is believed.
    pub fn address(&self, client: &ClientConfig, is_signed: bool) -> Option<IpAddr> {
        let may_say = is_signed
            || (client.record.enable_propagate_additional_user_context_data
                && !client.secrets.is_empty());
        let said = self.said.filter(|_| may_say);
        said.or(self.peer).map(|address| address.to_canonical())
    }
}

fn address(text: Option<&str>) -> Option<IpAddr> {
    text.and_then(|text| text.trim().parse().ok())
}

fn decode(encoded: &str) -> Option<Collected> {
    if encoded.len() > ENCODED_BYTES_MAX {
        return None;
    }
    let encoded: Value = serde_json::from_slice(&encoding::base64_decode(encoded)?).ok()?;
    let payload: Value = serde_json::from_str(encoded.get("payload")?.as_str()?).ok()?;
    let context = payload.get("contextData")?.as_object()?;
    let text = |name: &str| context.get(name).and_then(Value::as_str).map(str::to_owned);
    Some(Collected {
        device_id: text("DeviceId"),
        fingerprint: text("DeviceFingerprint"),
        name: text("DeviceName"),
        user_agent: text("UserAgent"),
        timezone: text("ClientTimezone"),
    })
}

fn short(text: &str) -> String {
    text.chars().filter(|char| !char.is_control()).take(TEXT_CHARS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(context_data: &str) -> String {
        let payload = serde_json::json!({ "payload": format!(r#"{{"contextData":{context_data}}}"#), "signature": "s", "version": "1" });
        encoding::base64(payload.to_string())
    }

    #[test]
    fn a_device_is_told_by_its_id_whatever_else_changes() {
        let of = |context_data: &str| {
            let given = types::UserContextDataType {
                encoded_data: Some(encoded(context_data)),
                ..Default::default()
            };
            Context::of_app(None, Some(&given))
        };
        let first = of(r#"{"DeviceId":"a:1","UserAgent":"x","ClientTimezone":"01:00"}"#);
        let second = of(r#"{"DeviceId":"a:1","UserAgent":"y"}"#);
        assert_eq!(first.device_hash, second.device_hash);
        assert_eq!(
            (first.device_name.as_deref(), first.timezone.as_deref()),
            (Some("x"), Some("01:00"))
        );
        assert_ne!(first.device_hash, of(r#"{"DeviceId":"a:2"}"#).device_hash);
        assert!(of("{}").device_hash.is_empty());
    }

    #[test]
    fn data_that_cannot_be_read_says_nothing() {
        for text in ["", "x", "e30=", &encoding::base64("[1,2]"), &"A".repeat(20_000)] {
            let given = types::UserContextDataType {
                encoded_data: Some((*text).to_owned()),
                ip_address: Some("localhost".to_owned()),
            };
            assert_eq!(Context::of_app(None, Some(&given)), Context::default());
        }
    }
}
