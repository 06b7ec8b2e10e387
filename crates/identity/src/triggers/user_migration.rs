//! UserMigration: a user whom another directory knows is made here, with the password that was typed in, or by
//! way of a reset. Nobody is written to: `messageAction` counts as SUPPRESS, because what Cognito sends
//! otherwise is the invitation of a new user.
//! Source: developer guide, "Migrate user Lambda trigger".

use std::collections::BTreeMap;

use conclave_api::ApiError;
use conclave_crypto::secret::SecretString;
use serde_json::{Map, Value, json};

use super::{Event, Trigger, Who, answer, ask, metadata};
use crate::{config::ClientConfig, tx::Tx, users::attributes::Values};

/// The attribute of an answer that is no attribute: the name of the user.
const USERNAME: &str = "username";
/// The state of a user whose password is as good here as it was there.
const CONFIRMED: &str = "CONFIRMED";

/// What somebody who is not known here has asked for.
#[derive(Clone, Copy)]
pub enum Wanted<'a> {
    /// To sign in by this password, with what the app has sent along.
    SignIn(&'a SecretString, Option<&'a BTreeMap<String, String>>),
    /// To reset the password.
    Reset,
}

/// A user of another directory.
pub struct Migrated {
    /// What the user is called, where that is not what was typed in.
    pub username: Option<String>,
    /// Attributes.
    pub values: Values,
    /// Whether the password that was typed in is the user's.
    pub keeps_password: bool,
    /// Whether addresses move from users who have them.
    pub force_alias_creation: bool,
    /// Whether text messages are a second factor.
    pub enable_sms_mfa: bool,
}

/// Asks for the user whom another directory knows by `username`; `None` where it knows nobody.
///
/// # Errors
/// Those of [`ask`].
pub async fn find(
    tx: &Tx<'_>,
    client: &ClientConfig,
    username: &str,
    wanted: Wanted<'_>,
) -> Result<Option<Migrated>, ApiError> {
    let mut request = Map::new();
    let (source, password, validation_data) = match wanted {
        Wanted::SignIn(password, given) => {
            ("UserMigration_Authentication", json!(password.expose()), given)
        }
        Wanted::Reset => ("UserMigration_ForgotPassword", Value::Null, None),
    };
    request.insert("password".to_owned(), password);
    request.insert("validationData".to_owned(), Value::Null);
    metadata(&mut request, "validationData", validation_data);
    metadata(&mut request, "clientMetadata", tx.circumstances().client_metadata);
    let response = json!({
        "userAttributes": null,
        "finalUserStatus": null,
        "messageAction": null,
        "desiredDeliveryMediums": null,
        "forceAliasCreation": null,
        "enableSMSMFA": null,
    });
    let who = Who { username, client_id: Some(&client.record.client_id) };
    let trigger = Trigger::UserMigration;
    let event = Event::new(&*tx.pool()?, trigger, (source, "1"), who, request, response);
    let Some(event) = event else { return Ok(None) };
    let answer = ask(tx, &event).await?;
    let mut values: Values = answer::texts(&answer, "userAttributes")?.into_iter().collect();
    let username = values.remove(USERNAME).filter(|name| !name.is_empty());
    // what the pool gives itself
    values.remove("sub");
    values.retain(|name, _| !name.starts_with("cognito:"));
    if values.is_empty() {
        return Ok(None);
    }
    Ok(Some(Migrated {
        username,
        values,
        keeps_password: answer::text(&answer, "finalUserStatus")?.as_deref() == Some(CONFIRMED),
        force_alias_creation: answer::flag(&answer, "forceAliasCreation")?,
        enable_sms_mfa: answer::flag(&answer, "enableSMSMFA")?,
    }))
}
