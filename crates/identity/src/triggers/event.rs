//! What all events have.

use std::collections::BTreeMap;

use bytes::Bytes;
use conclave_store::records::UserRecord;
use serde_json::{Map, Value, json};

use super::Trigger;
use crate::{config::PoolConfig, users::attributes as user_attributes};

/// Cognito writes this where it does not know better, which is nearly always.
const SDK: &str = "aws-sdk-unknown-unknown";
/// `clientId` where no app client takes part.
const NO_CLIENT: &str = "CLIENT_ID_NOT_APPLICABLE";

/// An event, ready to be sent. No `Debug`: it holds what users have typed.
#[derive(Clone)]
pub struct Event {
    /// Whom it is for.
    pub trigger: Trigger,
    /// The function, by ARN.
    pub function: String,
    /// `triggerSource`
    pub source: &'static str,
    /// JSON.
    pub payload: Bytes,
}

/// Whom an event is about, and by which app.
#[derive(Clone, Copy)]
pub struct Who<'a> {
    /// `userName`
    pub username: &'a str,
    /// `clientId`
    pub client_id: Option<&'a str>,
}

impl Event {
    /// An event for a trigger of the pool, with an empty response where there can be one; `None` where the pool
    /// has none.
    pub fn new(
        pool: &PoolConfig,
        trigger: Trigger,
        (source, version): (&'static str, &str),
        who: Who<'_>,
        request: Map<String, Value>,
        response: impl Into<Option<Value>>,
    ) -> Option<Self> {
        let function = trigger.function(&pool.record)?.to_owned();
        let mut event = json!({
            "version": version,
            "region": pool.record.region,
            "userPoolId": pool.id(),
            "userName": who.username,
            "callerContext": {
                "awsSdkVersion": SDK,
                "clientId": who.client_id.unwrap_or(NO_CLIENT),
            },
            "triggerSource": source,
            "request": request,
        });
        if let (Some(response), Value::Object(event)) = (response.into(), &mut event) {
            event.insert("response".to_owned(), response);
        }
        let payload = event.to_string().into();
        Some(Self { trigger, function, source, payload })
    }
}

/// `userAttributes` of a user: all of them, with `sub` and the status.
pub fn attributes(user: &UserRecord) -> Value {
    let mut shown = Map::new();
    shown.insert("sub".to_owned(), json!(user.sub));
    shown.insert("cognito:user_status".to_owned(), json!(user.status));
    for attribute in user_attributes::described(user) {
        if let (Some(name), Some(value)) = (attribute.name, attribute.value) {
            shown.insert(name, Value::from(value));
        }
    }
    Value::Object(shown)
}

/// Adds what an app has sent along, where there is something.
pub fn metadata(
    request: &mut Map<String, Value>,
    name: &str,
    given: Option<&BTreeMap<String, String>>,
) {
    if let Some(given) = given.filter(|given| !given.is_empty()) {
        request.insert(name.to_owned(), json!(given));
    }
}
