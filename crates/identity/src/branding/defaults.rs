//! What a style has that sets nothing: our own values, in the structure that Cognito's settings have. Our pages have
//! no images of their own, so there are no assets among them.

use conclave_api::ApiError;
use serde_json::{Map, Value};

use crate::errors;

const SETTINGS: &str = include_str!("defaults.json");

/// The defaults with `own` settings over them: objects are merged, everything else is replaced.
///
/// # Errors
/// InternalErrorException for stored settings that are no JSON object.
pub(super) fn merged(own: Option<&[u8]>) -> Result<Vec<u8>, ApiError> {
    let broken = |_| errors::internal("settings are no JSON object");
    let mut all: Map<String, Value> = serde_json::from_str(SETTINGS).map_err(broken)?;
    if let Some(own) = own {
        merge(&mut all, serde_json::from_slice(own).map_err(broken)?);
    }
    serde_json::to_vec(&all).map_err(broken)
}

/// A request's JSON is nested 64 deep at most, so this is too.
fn merge(into: &mut Map<String, Value>, own: Map<String, Value>) {
    for (name, value) in own {
        match (into.get_mut(&name), value) {
            (Some(Value::Object(into)), Value::Object(own)) => merge(into, own),
            (_, value) => {
                into.insert(name, value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_values_are_over_the_defaults() {
        let defaults: Value = serde_json::from_slice(&merged(None).unwrap()).unwrap();
        assert_eq!(defaults["categories"]["global"]["colorSchemeMode"], "LIGHT");
        let own = br#"{"categories":{"global":{"colorSchemeMode":"DARK"},"auth":null},"x":[1]}"#;
        let mut expected = defaults;
        expected["categories"]["global"]["colorSchemeMode"] = "DARK".into();
        expected["categories"]["auth"] = Value::Null;
        expected["x"] = serde_json::json!([1]);
        let merged: Value = serde_json::from_slice(&merged(Some(own)).unwrap()).unwrap();
        assert_eq!(merged, expected);
    }
}
