//! What a function has answered: the event, with a `response` in it. Types are as lenient as Cognito's: a
//! text will do for a flag, and a flag for a text.

use conclave_api::{ApiError, ExceptionName};
use serde_json::{Map, Value};

/// The `response` of an answer.
///
/// # Errors
/// InvalidLambdaResponseException. Both texts are the service's, from reports of its answers.
pub fn response(body: &[u8]) -> Result<Map<String, Value>, ApiError> {
    let event: Value = serde_json::from_slice(body).map_err(|_| invalid("Invalid JSON"))?;
    // what a function of JavaScript returns that returns nothing
    if event.is_null() {
        return Err(invalid("Invalid JSON"));
    }
    let Value::Object(mut event) = event else { return Err(unrecognizable()) };
    match event.remove("response") {
        Some(Value::Object(response)) => Ok(response),
        _ => Err(unrecognizable()),
    }
}

/// `Invalid lambda function output : ...`
pub fn invalid(why: &str) -> ApiError {
    ExceptionName::InvalidLambdaResponseException
        .because(format!("Invalid lambda function output : {why}"))
}

/// `Unrecognizable lambda output`
pub fn unrecognizable() -> ApiError {
    ExceptionName::InvalidLambdaResponseException.because("Unrecognizable lambda output")
}

/// A flag; absent is false.
///
/// # Errors
/// InvalidLambdaResponseException.
pub fn flag(answer: &Map<String, Value>, name: &str) -> Result<bool, ApiError> {
    match answer.get(name) {
        None | Some(Value::Null) => Ok(false),
        Some(Value::Bool(flag)) => Ok(*flag),
        Some(Value::String(text)) if text == "true" => Ok(true),
        Some(Value::String(text)) if text == "false" || text.is_empty() => Ok(false),
        Some(_) => Err(unrecognizable()),
    }
}

/// A text; absent and null are none.
///
/// # Errors
/// InvalidLambdaResponseException.
pub fn text(answer: &Map<String, Value>, name: &str) -> Result<Option<String>, ApiError> {
    answer.get(name).map_or(Ok(None), scalar)
}

/// Texts by name, in the order in which they stand there.
///
/// # Errors
/// InvalidLambdaResponseException.
pub fn texts(answer: &Map<String, Value>, name: &str) -> Result<Vec<(String, String)>, ApiError> {
    let Some(given) = object(answer, name)? else { return Ok(Vec::new()) };
    let text =
        |(name, value): (&String, &Value)| Ok(scalar(value)?.map(|value| (name.clone(), value)));
    given.iter().filter_map(|pair| text(pair).transpose()).collect()
}

/// A list of texts; absent and null are empty.
///
/// # Errors
/// InvalidLambdaResponseException.
pub fn list(answer: &Map<String, Value>, name: &str) -> Result<Vec<String>, ApiError> {
    match answer.get(name) {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(Value::Array(items)) => {
            let text = |item: &Value| scalar(item)?.ok_or_else(unrecognizable);
            items.iter().map(text).collect()
        }
        Some(_) => Err(unrecognizable()),
    }
}

/// An object; absent and null are none.
///
/// # Errors
/// InvalidLambdaResponseException.
pub fn object<'a>(
    answer: &'a Map<String, Value>,
    name: &str,
) -> Result<Option<&'a Map<String, Value>>, ApiError> {
    match answer.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Object(object)) => Ok(Some(object)),
        Some(_) => Err(unrecognizable()),
    }
}

/// A scalar as a text.
///
/// # Errors
/// InvalidLambdaResponseException for a list or an object.
pub fn scalar(value: &Value) -> Result<Option<String>, ApiError> {
    match value {
        Value::Null => Ok(None),
        Value::String(text) => Ok(Some(text.clone())),
        Value::Bool(_) | Value::Number(_) => Ok(Some(value.to_string())),
        Value::Array(_) | Value::Object(_) => Err(unrecognizable()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s55_what_is_no_event_is_refused() {
        for (body, text) in [
            ("", "Invalid lambda function output : Invalid JSON"),
            ("{", "Invalid lambda function output : Invalid JSON"),
            ("null", "Invalid lambda function output : Invalid JSON"),
            ("\"yes\"", "Unrecognizable lambda output"),
            ("[]", "Unrecognizable lambda output"),
            ("{}", "Unrecognizable lambda output"),
            (r#"{"response":null}"#, "Unrecognizable lambda output"),
            (r#"{"response":[true]}"#, "Unrecognizable lambda output"),
        ] {
            let error = response(body.as_bytes()).unwrap_err();
            assert_eq!(error.code, ExceptionName::InvalidLambdaResponseException);
            assert_eq!(error.message, text, "{body}");
        }
        assert!(response(br#"{"response":{}}"#).unwrap().is_empty());
    }

    #[test]
    fn flags_and_texts_may_be_written_as_each_other_and_not_as_anything() {
        let answer = response(
            br#"{"response":{"yes":true,"also":"true","no":null,"number":1,"list":["a",2],"map":{"a":1,"b":null}}}"#,
        )
        .unwrap();
        assert!(flag(&answer, "yes").unwrap() && flag(&answer, "also").unwrap());
        assert!(!flag(&answer, "no").unwrap() && !flag(&answer, "absent").unwrap());
        assert!(flag(&answer, "number").is_err() && flag(&answer, "list").is_err());
        assert_eq!(text(&answer, "number").unwrap().as_deref(), Some("1"));
        assert!(text(&answer, "map").is_err());
        assert_eq!(list(&answer, "list").unwrap(), ["a", "2"]);
        assert_eq!(texts(&answer, "map").unwrap(), [("a".to_owned(), "1".to_owned())]);
    }
}
