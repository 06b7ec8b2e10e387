//! PreSignUp: whether there is to be a user, and in which state.
//! Source: developer guide, "Pre sign-up Lambda trigger".

use std::collections::BTreeMap;

use conclave_api::{ApiError, types::AttributeType};
use conclave_store::records::UserRecord;
use serde_json::{Map, Value, json};

use super::{Event, Trigger, Who, answer, ask, metadata};
use crate::{
    tx::Tx,
    users::{attributes, status},
};

/// Who makes the user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Maker {
    /// SignUp.
    Person,
    /// AdminCreateUser.
    Admin,
}

/// What the function wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Wishes {
    /// The user is confirmed without a code.
    pub confirm: bool,
    /// The e-mail address counts as verified.
    pub verify_email: bool,
    /// The phone number does.
    pub verify_phone: bool,
}

/// Asks whether `user` is to be made. What is to be done is decided in full before; nothing is written yet.
///
/// # Errors
/// Those of [`ask`].
pub async fn check(
    tx: &Tx<'_>,
    maker: Maker,
    user: &UserRecord,
    validation_data: &[AttributeType],
) -> Result<Wishes, ApiError> {
    let pool = tx.pool()?;
    let given: BTreeMap<String, String> = validation_data
        .iter()
        .filter_map(|pair| Some((pair.name.clone()?, pair.value.clone().unwrap_or_default())))
        .collect();
    let mut shown = Map::new();
    for attribute in &user.attributes {
        // a flag that the user has not given is not there yet
        let is_flag = attributes::VERIFIED_FLAGS.iter().any(|(_, flag)| *flag == attribute.name);
        if !is_flag || attribute.value == "true" {
            shown.insert(attribute.name.clone(), json!(attribute.value));
        }
    }
    let mut request = Map::new();
    request.insert("userAttributes".to_owned(), Value::Object(shown));
    let given = if given.is_empty() { Value::Null } else { json!(given) };
    request.insert("validationData".to_owned(), given);
    metadata(&mut request, "clientMetadata", tx.circumstances().client_metadata);
    let source = match maker {
        Maker::Person => "PreSignUp_SignUp",
        Maker::Admin => "PreSignUp_AdminCreateUser",
    };
    let client = tx.client();
    let client_id = client.as_ref().map(|client| client.record.client_id.as_str());
    let who = Who { username: &user.username, client_id };
    let response =
        json!({ "autoConfirmUser": false, "autoVerifyEmail": false, "autoVerifyPhone": false });
    let event = Event::new(&pool, Trigger::PreSignUp, (source, "1"), who, request, response);
    let Some(event) = event else { return Ok(Wishes::default()) };
    let answer = ask(tx, &event).await?;
    Ok(Wishes {
        confirm: answer::flag(&answer, "autoConfirmUser")?,
        verify_email: answer::flag(&answer, "autoVerifyEmail")?,
        verify_phone: answer::flag(&answer, "autoVerifyPhone")?,
    })
}

impl Wishes {
    /// Gives `user`, who is not made yet, what the function wants of it.
    ///
    /// # Errors
    /// InvalidLambdaResponseException when an address is to be verified that there is not: "an error will
    /// occur", says the guide; which one is judgement.
    pub fn apply(self, user: &mut UserRecord) -> Result<(), ApiError> {
        for (wanted, attribute, member) in [
            (self.verify_email, "email", "autoVerifyEmail"),
            (self.verify_phone, "phone_number", "autoVerifyPhone"),
        ] {
            if !wanted {
                continue;
            }
            if attributes::value(user, attribute).is_none_or(str::is_empty) {
                let why = format!("{member} is set for a user without {attribute}");
                return Err(answer::invalid(&why));
            }
            if let Some(flag) = attributes::verified_flag(attribute) {
                attributes::set(user, flag, "true");
            }
        }
        if self.confirm {
            status::CONFIRMED.clone_into(&mut user.status);
        }
        Ok(())
    }
}
