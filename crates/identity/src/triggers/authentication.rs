//! PreAuthentication and PostAuthentication: around every sign-in.
//! Source: developer guide, "Pre authentication Lambda trigger" and "Post authentication Lambda trigger".

use std::collections::BTreeMap;

use conclave_api::ApiError;
use conclave_store::records::UserRecord;
use serde_json::{Map, Value, json};

use super::{Event, Trigger, Who, ask, attributes, metadata};
use crate::{config::ClientConfig, tx::Tx};

/// Asks whether somebody may try to sign in, before anything is proved. A client that hides who exists asks for
/// users as for names that no user has, and says which it is.
///
/// # Errors
/// Those of [`ask`].
pub async fn before(
    tx: &Tx<'_>,
    client: &ClientConfig,
    username: &str,
    user: Option<&UserRecord>,
    validation_data: Option<&BTreeMap<String, String>>,
) -> Result<(), ApiError> {
    let pool = tx.pool()?;
    let mut request = Map::new();
    request.insert("userAttributes".to_owned(), user.map_or_else(|| json!({}), attributes));
    request.insert("validationData".to_owned(), Value::Null);
    metadata(&mut request, "validationData", validation_data);
    if client.hides_users() {
        request.insert("userNotFound".to_owned(), json!(user.is_none()));
    }
    let username = user.map_or(username, |user| user.username.as_str());
    let who = Who { username, client_id: Some(&client.record.client_id) };
    let source = ("PreAuthentication_Authentication", "1");
    let trigger = Trigger::PreAuthentication;
    match Event::new(&pool, trigger, source, who, request, json!({})) {
        Some(event) => ask(tx, &event).await.map(|_| ()),
        None => Ok(()),
    }
}

/// What is told of a user who has signed in: after the commit, and before there are tokens. `None` where the
/// pool has no such trigger.
///
/// # Errors
/// InternalErrorException when the pool is not loaded.
pub fn after(
    tx: &Tx<'_>,
    client: &ClientConfig,
    user: &UserRecord,
    is_new_device: bool,
) -> Result<Option<Event>, ApiError> {
    let pool = tx.pool()?;
    let mut request = Map::new();
    request.insert("userAttributes".to_owned(), attributes(user));
    request.insert("newDeviceUsed".to_owned(), json!(is_new_device));
    metadata(&mut request, "clientMetadata", tx.circumstances().client_metadata);
    let who = Who { username: &user.username, client_id: Some(&client.record.client_id) };
    let source = ("PostAuthentication_Authentication", "1");
    Ok(Event::new(&pool, Trigger::PostAuthentication, source, who, request, json!({})))
}
